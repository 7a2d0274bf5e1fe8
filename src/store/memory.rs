//! A store in memory.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use parking_lot::RwLock;

use super::{Each, Store};
use crate::error::{Error, Result};

/// A store in memory, bounded in bytes. It is gone with its process.
#[derive(Debug)]
pub struct Memory {
    limit: usize,
    content: RwLock<Content>,
}

#[derive(Debug, Default)]
struct Content {
    values: BTreeMap<String, Vec<u8>>,
    bytes: usize,
}

impl Memory {
    /// What keys and values may take together unless told otherwise: 1 GiB.
    pub const DEFAULT_LIMIT: usize = 1 << 30;

    /// An empty store with the default limit.
    pub fn new() -> Self {
        Self::with_limit(Self::DEFAULT_LIMIT)
    }

    /// An empty store whose keys and values take at most `limit` bytes together.
    pub fn with_limit(limit: usize) -> Self {
        Self {
            limit,
            content: RwLock::default(),
        }
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

impl Store for Memory {
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.content.read().values.get(key).cloned())
    }

    fn set(&self, key: &str, value: &[u8]) -> Result<()> {
        let mut content = self.content.write();
        let freed = content
            .values
            .get(key)
            .map_or(0, |old| key.len() + old.len());
        let bytes = content.bytes - freed + key.len() + value.len();
        if bytes > self.limit {
            return Err(Error::Store {
                store: "memory".to_owned(),
                reason: format!(
                    "'{key}' would take it over its limit of {} bytes",
                    self.limit
                ),
            });
        }
        content.bytes = bytes;
        content.values.insert(key.to_owned(), value.to_vec());
        Ok(())
    }

    fn delete(&self, key: &str) -> Result<()> {
        let mut content = self.content.write();
        if let Some(old) = content.values.remove(key) {
            content.bytes -= key.len() + old.len();
        }
        Ok(())
    }

    fn scan(&self, prefix: &str, each: &mut Each<'_>) -> Result<()> {
        let content = self.content.read();
        let from = content.values.range::<str, _>((
            std::ops::Bound::Included(prefix),
            std::ops::Bound::Unbounded,
        ));
        for (key, value) in from.take_while(|(key, _)| key.starts_with(prefix)) {
            if let ControlFlow::Break(()) = each(key, value) {
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
    fn a_memory_store_behaves() {
        super::super::tests::behaves(&Memory::new());
    }

    #[test]
    fn the_limit_holds_and_what_is_there_stays() {
        let store = Memory::with_limit(10);
        store.set("key", b"1234567").unwrap();
        assert!(store.set("k", b"").is_err());
        assert!(store.set("key", b"12345678").is_err());
        assert_eq!(store.get("key").unwrap().as_deref(), Some(&b"1234567"[..]));
        store.set("key", b"").unwrap();
        store.set("k", b"123456").unwrap();
        store.delete("k").unwrap();
        store.set("k", b"654321").unwrap();
    }
}
