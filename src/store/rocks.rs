//! A store in a folder, by RocksDB.

use std::ops::ControlFlow;
use std::path::Path;

use rocksdb::{DB, DBCompressionType, Direction, IteratorMode, Options};

use super::{Each, Store};
use crate::error::{Error, Result};

/// A store in a folder. What was set is there again after a restart.
///
/// One process at a time may have a folder open. A call returns when the system has the data;
/// the last moments before a power failure may be lost, a crash of the process loses nothing.
pub struct Rocks {
    db: DB,
    folder: String,
}

impl Rocks {
    /// Opens the store in a folder, which is made if there is none.
    ///
    /// # Errors
    /// [`Error::Store`] when the folder is corrupt, locked by another process or not writable.
    pub fn open(folder: &Path) -> Result<Self> {
        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_compression_type(DBCompressionType::Lz4);
        options.set_keep_log_file_num(4);
        let name = folder.display().to_string();
        match DB::open(&options, folder) {
            Ok(db) => Ok(Self { db, folder: name }),
            Err(error) => Err(failure(&name, &error)),
        }
    }

    fn failed(&self, error: rocksdb::Error) -> Error {
        failure(&self.folder, &error)
    }
}

fn failure(folder: &str, error: &rocksdb::Error) -> Error {
    Error::Store {
        store: folder.to_owned(),
        reason: error.to_string(),
    }
}

impl std::fmt::Debug for Rocks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Rocks").field(&self.folder).finish()
    }
}

impl Store for Rocks {
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        self.db.get(key).map_err(|error| self.failed(error))
    }

    fn set(&self, key: &str, value: &[u8]) -> Result<()> {
        self.db.put(key, value).map_err(|error| self.failed(error))
    }

    fn delete(&self, key: &str) -> Result<()> {
        self.db.delete(key).map_err(|error| self.failed(error))
    }

    fn scan(&self, prefix: &str, each: &mut Each<'_>) -> Result<()> {
        let from = IteratorMode::From(prefix.as_bytes(), Direction::Forward);
        for entry in self.db.iterator(from) {
            let (key, value) = entry.map_err(|error| self.failed(error))?;
            if !key.starts_with(prefix.as_bytes()) {
                break;
            }
            let key = String::from_utf8_lossy(&key);
            if let ControlFlow::Break(()) = each(&key, &value) {
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rocks_store_behaves_and_survives() {
        let folder = tempfile::tempdir().unwrap();
        let store = Rocks::open(folder.path()).unwrap();
        super::super::tests::behaves(&store);
        drop(store);
        let store = Rocks::open(folder.path()).unwrap();
        assert_eq!(store.get("ab").unwrap().as_deref(), Some(&b"2"[..]));
    }

    #[test]
    fn a_locked_folder_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let _held = Rocks::open(folder.path()).unwrap();
        let error = Rocks::open(folder.path()).unwrap_err().to_string();
        assert!(
            error.contains(&folder.path().display().to_string()),
            "{error}"
        );
        assert!(error.to_lowercase().contains("lock"), "{error}");
    }

    #[test]
    fn a_corrupt_folder_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        drop(Rocks::open(folder.path()).unwrap());
        std::fs::write(folder.path().join("CURRENT"), "garbage").unwrap();
        let error = Rocks::open(folder.path()).unwrap_err().to_string();
        assert!(
            error.contains(&folder.path().display().to_string()),
            "{error}"
        );
    }
}
