//! Access to a cache: the own store of a server, or a server's over the wire.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::address::seen_from;
use crate::bell::Bell;
use crate::error::{Error, Result};
use crate::handler::Cache;
use crate::message::{DEFAULT_MAX_MESSAGE, Frame};
use crate::socket::{Kind, Socket, Want};
use crate::store::SharedStore;
use crate::time::after;

/// A server's access to its own cache.
pub(crate) struct StoreCache(SharedStore);

impl StoreCache {
    pub(crate) fn new(store: SharedStore) -> Self {
        Self(store)
    }
}

impl Cache for StoreCache {
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.0.get(key)?.filter(|value| !value.is_empty()))
    }

    fn set(&self, key: &str, value: &[u8]) -> Result<String> {
        let key = match key {
            "" => uuid::Uuid::new_v4().to_string(),
            key => key.to_owned(),
        };
        self.0.set(&key, value)?;
        Ok(key)
    }

    fn delete(&self, key: &str) -> Result<()> {
        self.0.delete(key)
    }
}

/// How long a request may stay without an answer before it is made again, over a new
/// connection: the server may have been restarted with the request in its hands. Each attempt is
/// given twice the time of the last: the server may just be slow.
const RETRY: Duration = Duration::from_secs(1);

/// How often a caller that waits is asked whether it still wants to.
const LOOK: Duration = Duration::from_millis(100);

/// Access to a server's cache over the wire, without being a client of its functions.
///
/// Calls wait for the answer, for 10 s by default; those of several threads take turns. The
/// calls are those of the trait [`Cache`].
///
/// ```
/// use palm::{Addresses, Cache, CacheClient, Server};
///
/// let server = Server::new("my_server", Addresses::ephemeral()).start()?;
/// let cache = CacheClient::new(&server.addresses().db);
/// cache.set("key", b"value")?;
/// assert_eq!(cache.get("key")?.as_deref(), Some(&b"value"[..]));
/// # Ok::<(), palm::Error>(())
/// ```
pub struct CacheClient {
    /// Who asks, for the log and the wire.
    client: String,
    /// The server's name; `_` for a worker.
    server: String,
    address: String,
    timeout: Duration,
    max_message: usize,
    connection: Mutex<Option<Connection>>,
}

struct Connection {
    socket: Socket,
    bell: std::sync::Arc<Bell>,
    last_id: u64,
}

impl CacheClient {
    /// Access to the cache at `db`. Nothing is opened before the first call.
    pub fn new(db: impl Into<String>) -> Self {
        let timeout = Duration::from_secs(10);
        Self::of("palm", "_", &db.into(), timeout, DEFAULT_MAX_MESSAGE)
    }

    /// How long a call waits for its answer.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The access of a worker, or of a client of the named server.
    pub(crate) fn of(
        client: &str,
        server: &str,
        address: &str,
        timeout: Duration,
        max_message: usize,
    ) -> Self {
        Self {
            client: client.to_owned(),
            server: server.to_owned(),
            address: address.to_owned(),
            timeout,
            max_message,
            connection: Mutex::new(None),
        }
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The value of a key that a server presets for its peers. `give_up` is asked now and then
    /// whether to go on waiting.
    pub(crate) fn preset(
        &self,
        key: &str,
        timeout: Duration,
        give_up: &dyn Fn() -> bool,
    ) -> Result<String> {
        let value = self.request("get", "", key.as_bytes(), timeout, give_up)?;
        match String::from_utf8(value) {
            Ok(value) if !value.is_empty() => Ok(value),
            _ => Err(Error::NotConfigured {
                key: key.to_owned(),
                address: self.address.clone(),
            }),
        }
    }

    /// An address: the one that was given, or else what the server tells, as it is reached from
    /// here. The rest as for [`preset`](Self::preset).
    pub(crate) fn place(
        &self,
        given: &Option<String>,
        key: &str,
        timeout: Duration,
        give_up: &dyn Fn() -> bool,
    ) -> Result<String> {
        match given {
            Some(address) => Ok(address.clone()),
            None => {
                let told = self.preset(key, timeout, give_up)?;
                Ok(seen_from(&told, &self.address))
            }
        }
    }

    /// One request and its answer, made again for as long as the time allows.
    fn request(
        &self,
        call: &str,
        key: &str,
        payload: &[u8],
        timeout: Duration,
        give_up: &dyn Fn() -> bool,
    ) -> Result<Vec<u8>> {
        if payload.len() > self.max_message {
            return Err(Error::TooLarge {
                size: payload.len(),
                limit: self.max_message,
            });
        }
        let function = format!("{}.{call}", self.server);
        let frame = Frame::new(&self.client, &self.client, &function, key, payload);
        let deadline = after(Instant::now(), timeout);
        let unreachable = || Error::Unreachable {
            what: "the cache (db)",
            address: self.address.clone(),
            waited: timeout,
        };
        let Some(mut held) = self.connection.try_lock_until(deadline) else {
            return Err(unreachable());
        };
        let mut patience = RETRY;
        loop {
            let connection = match &mut *held {
                Some(connection) => connection,
                none => none.insert(Connection::open(&self.address, self.max_message)?),
            };
            let attempt = deadline.min(after(Instant::now(), patience));
            patience *= 2;
            if let Some(reply) = connection.request(frame.as_bytes(), attempt, give_up)? {
                return Ok(reply);
            }
            // What comes late must not be taken for the answer to a later request.
            *held = None;
            if give_up() || Instant::now() >= deadline {
                return Err(unreachable());
            }
            log::debug!(target: &self.client, "still waiting for the cache at {}", self.address);
        }
    }

    fn call(&self, call: &'static str, key: &str, payload: &[u8]) -> Result<Vec<u8>> {
        self.request(call, key, payload, self.timeout, &|| false)
    }

    fn refused(&self, call: &'static str, key: &str) -> Error {
        Error::Cache {
            call,
            key: key.to_owned(),
            address: self.address.clone(),
        }
    }
}

impl Connection {
    fn open(address: &str, max_message: usize) -> Result<Self> {
        // A DEALER that sends what a REQ would, with an id that a REP sends back: so an answer
        // is known to be the one to this request.
        let mut socket = Socket::open(Kind::Dealer, "cache client", max_message)?;
        socket.connect(address)?;
        Ok(Self {
            socket,
            bell: Bell::new()?,
            last_id: 0,
        })
    }

    /// Sends a request and waits for its answer until `deadline`; `None` when it did not come.
    fn request(
        &mut self,
        frame: &[u8],
        deadline: Instant,
        give_up: &dyn Fn() -> bool,
    ) -> Result<Option<Vec<u8>>> {
        self.last_id += 1;
        let id = self.last_id.to_be_bytes();
        if !self.socket.try_send_parts(&[&id, b"", frame])? {
            return Ok(None);
        }
        let mut parts: Vec<Vec<u8>> = Vec::new();
        loop {
            if self.socket.try_recv(&mut parts)? {
                match parts.as_mut_slice() {
                    [of, empty, reply] if *of == id && empty.is_empty() => {
                        return Ok(Some(std::mem::take(reply)));
                    }
                    _ => continue,
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || give_up() {
                return Ok(None);
            }
            self.socket
                .wait(Want::Read, &self.bell, Some(left.min(LOOK)))?;
        }
    }
}

impl Cache for CacheClient {
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        let value = self.call("get", "", key.as_bytes())?;
        Ok(Some(value).filter(|value| !value.is_empty()))
    }

    fn set(&self, key: &str, value: &[u8]) -> Result<String> {
        let fresh;
        let key = match key {
            // Made here, so that a request that is made again sets the same key.
            "" => {
                fresh = uuid::Uuid::new_v4().to_string();
                &fresh
            }
            key => key,
        };
        let set = String::from_utf8(self.call("set", key, value)?).unwrap_or_default();
        match set != key {
            true => Err(self.refused("set", key)),
            false => Ok(set),
        }
    }

    fn delete(&self, key: &str) -> Result<()> {
        match self.call("delete", "", key.as_bytes())? == key.as_bytes() {
            true => Ok(()),
            false => Err(self.refused("delete", key)),
        }
    }
}

impl std::fmt::Debug for CacheClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("CacheClient").field(&self.address).finish()
    }
}
