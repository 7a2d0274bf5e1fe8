//! A gateway before a server that runs elsewhere.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::gateway::Gateway;
use crate::cache::CacheClient;
use crate::error::Result;
use crate::message::DEFAULT_MAX_MESSAGE;
use crate::part::{Assembly, Part, PushConnection, ResultConnection, Running};
use crate::time::after;

/// The name of the component, in the log.
const NAME: &str = "gateway";

/// How many requests may be open before a server whose results a pylm peer publishes: that drops
/// what is over its high-water mark of 1,000 messages, and libzmq tells it only of every 500th
/// that it has got rid of.
const OPEN_AT_PYLM: usize = 450;

/// Puts HTTP before a server, a master or a chain that runs elsewhere, palm's or pylm's: a
/// [`Gateway`] that is a client.
///
/// ```text
/// curl ─► Gateway ─► Push ─► server's pull ─► … ─► server's pub ─► Sub ─► Gateway ─► curl
/// ```
///
/// # Building
/// [`Front::new`] with the address of the server's cache (db), where it learns the others, and
/// the `HOST:PORT` to listen at. `/function` is a function of that server.
///
/// # Lifecycle
/// [`start`](Self::start) waits for the server, for 10 s by default; it returns when its
/// subscription stands and it listens. [`Running::address_of`] the part `Gateway` tells where.
/// While the server is away, requests time out; when it is back at the same addresses, it goes
/// on. On a stop, open requests have 0.25 s to be answered.
///
/// ```
/// use palm::http::Front;
/// use palm::{Addresses, Master, Worker};
///
/// let master = Master::new("server", Addresses::ephemeral()).start()?;
/// let db = &master.addresses().db;
/// let worker = Worker::new(db)
///     .function("shout", |call| Ok(call.payload().to_ascii_uppercase()))
///     .start()?;
///
/// let front = Front::new(db, "127.0.0.1:0").start()?;
/// let url = front.address_of("Gateway").unwrap().to_owned() + "/shout";
/// let mut reply = ureq::post(&url).send("hello").unwrap();
/// assert_eq!(reply.body_mut().read_to_string().unwrap(), "HELLO");
/// # Ok::<(), palm::Error>(())
/// ```
#[derive(Debug)]
pub struct Front {
    db: String,
    gateway: Gateway,
    pull: Option<String>,
    publish: Option<String>,
    wait: Duration,
    max_message: usize,
}

impl Front {
    /// HTTP at `listen`, before the server whose cache is at `db`.
    pub fn new(db: impl Into<String>, listen: impl Into<String>) -> Self {
        Self {
            db: db.into(),
            gateway: Gateway::new(listen),
            pull: None,
            publish: None,
            wait: Duration::from_secs(10),
            max_message: DEFAULT_MAX_MESSAGE,
        }
    }

    /// Where to push messages, in place of what the server tells.
    pub fn pull(mut self, address: impl Into<String>) -> Self {
        self.pull = Some(address.into());
        self
    }

    /// Where to subscribe for results, in place of what the server tells: the `pub` address of
    /// the last step when the server is the first of a chain.
    pub fn publish(mut self, address: impl Into<String>) -> Self {
        self.publish = Some(address.into());
        self
    }

    /// How long to wait for the server when starting: 10 s by default.
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// How long a result may take: 30 s by default.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.gateway = self.gateway.timeout(timeout);
        self
    }

    /// How many requests may be open at once: 1,024 by default, and at most 450 when the results
    /// are published by a pylm peer, which would drop some of more.
    pub fn concurrent(mut self, requests: usize) -> Self {
        self.gateway = self.gateway.concurrent(requests);
        self
    }

    /// How long a client may keep its connection waiting: as
    /// [`Gateway::patience`](Gateway::patience).
    pub fn patience(mut self, patience: Duration) -> Self {
        self.gateway = self.gateway.patience(patience);
        self
    }

    /// The largest body, and the largest result, to take, in bytes: 64 MiB by default.
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.gateway = self.gateway.max_message(bytes);
        self.max_message = bytes;
        self
    }

    /// Starts it. Returns when requests can be answered.
    ///
    /// # Errors
    /// [`Error::Address`](crate::Error::Address) for a malformed address,
    /// [`Error::Bind`](crate::Error::Bind) when it cannot listen,
    /// [`Error::Unreachable`](crate::Error::Unreachable) when nobody answers in time,
    /// [`Error::NotConfigured`](crate::Error::NotConfigured) when whoever does tells no addresses.
    pub fn start(self) -> Result<Running> {
        self.gateway.check()?;
        let deadline = after(Instant::now(), self.wait);
        let left = || deadline.saturating_duration_since(Instant::now());
        let cache = CacheClient::of(NAME, "_", &self.db, self.wait, DEFAULT_MAX_MESSAGE);
        let place = |given, key| cache.place(given, key, left(), &|| false);
        let server = cache.preset("name", left(), &|| false)?;
        let publish = place(&self.publish, "pub_address")?;
        let pull = place(&self.pull, "pull_address")?;
        log::info!(target: NAME, "calls '{server}': pushes to {pull}, subscribes at {publish}");
        let handle = self.gateway.handle();
        let results = ResultConnection::new(publish, handle.id())
            .timeout(left())
            .max_message(self.max_message);
        let is_palm = results.is_palm();
        let running = Assembly::new(NAME)
            .inbound("Gateway", self.gateway.server(server), "Push")
            .outbound("Push", PushConnection::new(pull))
            .inbound("Sub", results, "Gateway")
            .start()?;
        if !is_palm.load(Ordering::SeqCst) {
            handle.limit(OPEN_AT_PYLM);
        }
        Ok(running)
    }
}
