//! REP: the cache answers.

use super::answer::Answer;
use super::wiring::{Bypass, Part, Wiring};
use super::{Context, Crew, Running, start_alone};
use crate::address::{self, Purpose};
use crate::error::{Error, Result, shown};
use crate::message::{DEFAULT_MAX_MESSAGE, ENVELOPE, Frame};
use crate::store::SharedStore;

/// Answers cache calls from a store (a REP socket that binds).
///
/// `set` answers the key, a fresh uuid for an empty one; `get` the value, empty for a key that
/// is not there; `delete` the key, there or not. Whatever it cannot do it answers with nothing.
#[derive(Clone)]
pub struct CacheService {
    address: String,
    store: SharedStore,
    max_message: usize,
}

impl CacheService {
    /// A service that will bind this address.
    pub fn new(address: impl Into<String>, store: SharedStore) -> Self {
        Self {
            address: address.into(),
            store,
            max_message: DEFAULT_MAX_MESSAGE,
        }
    }

    /// The largest value to take, in bytes. Larger ones are refused.
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.max_message = bytes;
        self
    }

    /// Starts it, as a part named `Cache`, with a thread of its own.
    ///
    /// # Errors
    /// When the address is malformed, in use or not to be bound.
    pub fn start(self) -> Result<Running> {
        start_alone("Cache", self, None, None)
    }
}

impl Part for CacheService {
    const GIVES: bool = false;
    const TAKES: bool = false;

    fn check(&self) -> Result<()> {
        address::check(&self.address, Purpose::Bind)
    }

    fn spawn(self, crew: &mut Crew, wiring: Wiring) -> Result<()> {
        let answer = Answer {
            name: wiring.name,
            address: self.address.clone(),
            max_message: self.max_message,
        };
        answer.spawn(crew, move |context, request| self.reply(context, request))
    }
}

impl Bypass for CacheService {}

impl std::fmt::Debug for CacheService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("CacheService").field(&self.address).finish()
    }
}

impl CacheService {
    fn reply(&self, context: &Context, request: Vec<u8>) -> Result<Vec<u8>> {
        let limit = self.max_message.saturating_add(ENVELOPE);
        let frame = Frame::parse(request, limit)?;
        let store = &self.store;
        match frame.path()?.step(0)?.function {
            "set" => {
                let key = match frame.cache() {
                    "" => uuid::Uuid::new_v4().to_string(),
                    key => key.to_owned(),
                };
                store.set(&key, frame.payload())?;
                log::debug!(target: &context.component, "Cache set '{}'", shown(&key));
                Ok(key.into_bytes())
            }
            "get" => Ok(store.get(key_of(&frame)?)?.unwrap_or_default()),
            "delete" => {
                let key = key_of(&frame)?;
                store.delete(key)?;
                log::debug!(target: &context.component, "Cache deleted '{}'", shown(key));
                Ok(key.as_bytes().to_vec())
            }
            _ => Err(Error::Malformed {
                reason: "a cache knows set, get and delete",
            }),
        }
    }
}

fn key_of(frame: &Frame) -> Result<&str> {
    std::str::from_utf8(frame.payload()).map_err(|_| Error::Malformed {
        reason: "a key is not UTF-8",
    })
}
