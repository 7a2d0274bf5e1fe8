//! Where a component's cache keeps its keys and values.

mod memory;
#[cfg(feature = "rocksdb")]
mod rocks;

use std::ops::ControlFlow;
use std::sync::Arc;

pub use memory::Memory;
#[cfg(feature = "rocksdb")]
pub use rocks::Rocks;

use crate::error::Result;

/// A key-value store behind a component's cache, shared by its parts.
///
/// Calls may block for as long as a disk takes. Implementations bring their own locking; a
/// call that returned `Ok` is seen by every call that starts later.
pub trait Store: Send + Sync {
    /// The value of a key, `None` when there is none.
    ///
    /// # Errors
    /// [`Error::Store`](crate::Error::Store) when it cannot be read.
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>>;

    /// Sets the value of a key, replacing an earlier one.
    ///
    /// # Errors
    /// [`Error::Store`](crate::Error::Store) when it cannot be written; the earlier value stands.
    fn set(&self, key: &str, value: &[u8]) -> Result<()>;

    /// Removes a key; it is no error if there is none.
    ///
    /// # Errors
    /// [`Error::Store`](crate::Error::Store) when it cannot be written.
    fn delete(&self, key: &str) -> Result<()>;

    /// Calls `each` with the keys that begin with `prefix` and their values, in the order of
    /// their bytes, until it breaks.
    ///
    /// # Errors
    /// [`Error::Store`](crate::Error::Store) when they cannot be read.
    fn scan(&self, prefix: &str, each: &mut Each<'_>) -> Result<()>;
}

/// What [`Store::scan`] calls with each key and value.
pub type Each<'a> = dyn FnMut(&str, &[u8]) -> ControlFlow<()> + 'a;

/// A store that several owners share.
pub type SharedStore = Arc<dyn Store>;

/// The store in a folder, which survives a restart. Needs the feature `rocksdb`.
///
/// # Errors
/// [`Error::Store`](crate::Error::Store) when the folder is corrupt, locked by another process
/// or not writable, and always when palm was built without the feature.
pub fn open(folder: &std::path::Path) -> Result<SharedStore> {
    #[cfg(feature = "rocksdb")]
    return Ok(Arc::new(Rocks::open(folder)?));
    #[cfg(not(feature = "rocksdb"))]
    return Err(crate::Error::Store {
        store: folder.display().to_string(),
        reason: "this palm was built without the feature 'rocksdb'".to_owned(),
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What every store must do.
    pub(super) fn behaves(store: &dyn Store) {
        assert_eq!(store.get("a").unwrap(), None);
        store.set("a", b"1").unwrap();
        store.set("ab", b"2").unwrap();
        store.set("b", b"").unwrap();
        store.set("a", b"3").unwrap();
        assert_eq!(store.get("a").unwrap().as_deref(), Some(&b"3"[..]));
        assert_eq!(store.get("b").unwrap().as_deref(), Some(&b""[..]));
        let found = |prefix: &str, most: usize| {
            let mut keys = Vec::new();
            store
                .scan(prefix, &mut |key, _| {
                    keys.push(key.to_owned());
                    if keys.len() == most {
                        ControlFlow::Break(())
                    } else {
                        ControlFlow::Continue(())
                    }
                })
                .unwrap();
            keys
        };
        assert_eq!(found("", 9), ["a", "ab", "b"]);
        assert_eq!(found("a", 9), ["a", "ab"]);
        assert_eq!(found("", 1), ["a"]);
        assert!(found("c", 9).is_empty());
        store.delete("a").unwrap();
        store.delete("never there").unwrap();
        assert_eq!(store.get("a").unwrap(), None);
    }
}
