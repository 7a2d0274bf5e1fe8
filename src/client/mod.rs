//! The client: submits messages to a server, and gets the results.

mod calls;
mod feeder;
mod request;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub use request::{Job, Request};

use calls::Calls;

use crate::address::Addresses;
use crate::bell::Bell;
use crate::cache::CacheClient;
use crate::error::{Error, Result};
use crate::handler::Cache;
use crate::message::{DEFAULT_MAX_MESSAGE, Frame, Steps};
use crate::part::{
    Crew, Inlet, Outlet, Place, Push, Reader, Running, Subscribe, Target, channel_of,
};
use crate::time::after;

/// How many hand-overs may wait for the socket: messages that were fed one by one.
const QUEUE: usize = 64;

/// How many messages a job has open at the most when their results are published by a pylm peer.
/// That drops what is over its high-water mark of 1,000, and libzmq tells it only of every 500th
/// message that it has got rid of: so it may drop when little more than 500 wait.
const OPEN_AT_PYLM: usize = 450;

/// A client of one server, or of the first and the last of a chain.
///
/// # Connecting
/// [`Client::connect`] with the server's name and the address of its cache (db), where it
/// learns the other addresses. It waits for a server that is not there yet, for 10 s by
/// default; [`Client::builder`] sets that and more. When it returns, its subscription stands:
/// no call can miss its answer. All calls use the same one.
///
/// # Calling
/// [`eval`](Self::eval) sends one message and waits for its result. [`job`](Self::job) sends
/// many, from a thread of its own, and iterates over the results as they come. Several threads
/// may do so with the same client at once. [`request`](Self::request) does both with other
/// than the default settings.
///
/// # Errors of a function
/// Between palm peers, a function that fails is an error here, with its cause. A pylm worker or
/// server tells of an error nothing but the payload `0`, which is then the result.
///
/// # The cache
/// [`set`](Self::set), [`get`](Self::get) and [`delete`](Self::delete) work on the server's
/// cache.
///
/// # Lifecycle
/// Dropping the client ends it. What it has sent by then is handed over, for 0.25 s at most.
pub struct Client {
    server: String,
    pipeline: String,
    has_session: bool,
    cache: CacheClient,
    calls: Arc<Calls>,
    outlet: Outlet,
    /// No job may have more messages open.
    most_open: usize,
    max_message: usize,
    // Dropped last: it ends the threads.
    running: Running,
}

/// A client's settings before it connects. Made by [`Client::builder`].
#[derive(Clone, Debug)]
pub struct ClientBuilder {
    server: String,
    db: String,
    pull: Option<String>,
    publish: Option<String>,
    session: Option<String>,
    timeout: Duration,
    max_message: usize,
}

impl ClientBuilder {
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

    /// The name of the session: what [`Client::set`] puts before its keys, and what messages
    /// carry as their `pipeline`. By default that is a fresh uuid, and keys stay as they are.
    pub fn session(mut self, name: impl Into<String>) -> Self {
        self.session = Some(name.into());
        self
    }

    /// How long to wait for the server when connecting, and in each cache call: 10 s by default.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The largest payload to send and to take, in bytes: 64 MiB by default.
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.max_message = bytes;
        self
    }

    /// Connects. Returns when the subscription stands.
    ///
    /// # Errors
    /// [`Error::Address`] for a malformed address, [`Error::Unreachable`] when nobody answers
    /// in time, [`Error::WrongServer`] when another server does, [`Error::NotConfigured`] when
    /// whoever does tells no addresses.
    pub fn connect(self) -> Result<Client> {
        let id = uuid::Uuid::new_v4().to_string();
        let deadline = after(Instant::now(), self.timeout);
        let cache = CacheClient::of(&id, &self.server, &self.db, self.timeout, self.max_message);
        let left = || deadline.saturating_duration_since(Instant::now());
        // What was left of it is not what the caller allowed.
        let in_all = |error| match error {
            Error::Unreachable { what, address, .. } => Error::Unreachable {
                what,
                address,
                waited: self.timeout,
            },
            other => other,
        };
        let found = cache.preset("name", left(), &|| false).map_err(in_all)?;
        if found != self.server {
            return Err(Error::WrongServer {
                expected: self.server,
                found,
                address: self.db,
            });
        }
        let place = |given, key| {
            let placed = cache.place(given, key, left(), &|| false);
            placed.map_err(in_all)
        };
        let publish = place(&self.publish, "pub_address")?;
        let pull = place(&self.pull, "pull_address")?;
        log::debug!(target: &id, "pushes to {pull}, subscribes at {publish}");

        let bell = Bell::new()?;
        let calls = Calls::new(&id, bell.clone());
        let (outlet, inlet) = channel_of(QUEUE)?;
        let is_palm = Arc::new(AtomicBool::new(false));
        let mut crew = Crew::new(&format!("client {id}"));
        self.spawn_push(&mut crew, inlet, &pull);
        let subscribe = Subscribe {
            name: "Sub".to_owned(),
            target: Target::new(&publish),
            prefix: id,
            max_message: self.max_message,
            timeout: left(),
            is_palm: is_palm.clone(),
        };
        subscribe.spawn(&mut crew, bell, Results(calls.clone()));
        let addresses = Addresses {
            pull,
            publish,
            db: self.db,
            ..Addresses::none()
        };
        let running = crew.start(|_| Ok(addresses))?;
        Ok(Client {
            has_session: self.session.is_some(),
            pipeline: self
                .session
                .unwrap_or_else(|| uuid::Uuid::new_v4().to_string()),
            server: self.server,
            cache,
            calls,
            outlet,
            most_open: if is_palm.load(Ordering::SeqCst) {
                usize::MAX
            } else {
                OPEN_AT_PYLM
            },
            max_message: self.max_message,
            running,
        })
    }

    fn spawn_push(&self, crew: &mut Crew, inlet: Inlet, pull: &str) {
        let push = Push {
            name: "Push".to_owned(),
            place: Place::Connect(Target::new(pull)),
            high_water: None,
            ends_when_idle: true,
            crowd: None,
        };
        push.spawn(crew, Some(inlet));
    }
}

/// Gives results to their calls, and ends all calls when it ends itself.
struct Results(Arc<Calls>);

impl Reader for Results {
    fn has_room(&mut self) -> bool {
        self.0.has_room()
    }

    fn take(&mut self, topic: &str, frame: Frame) {
        self.0.deliver(topic, frame);
    }
}

impl Drop for Results {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl Client {
    /// Connects to the server of this name whose cache is at `db`. Waits for it for 10 s.
    ///
    /// # Errors
    /// As [`ClientBuilder::connect`].
    pub fn connect(server: impl Into<String>, db: impl Into<String>) -> Result<Self> {
        Self::builder(server, db).connect()
    }

    /// Settings for a client of the server of this name whose cache is at `db`.
    pub fn builder(server: impl Into<String>, db: impl Into<String>) -> ClientBuilder {
        ClientBuilder {
            server: server.into(),
            db: db.into(),
            pull: None,
            publish: None,
            session: None,
            timeout: Duration::from_secs(10),
            max_message: DEFAULT_MAX_MESSAGE,
        }
    }

    /// Calls `server.function`, or the steps of a chain, with one payload and waits for its one
    /// result.
    ///
    /// # Errors
    /// As [`Request::eval`].
    pub fn eval(&self, function: impl Into<Steps>, payload: impl AsRef<[u8]>) -> Result<Vec<u8>> {
        self.request(function).eval(payload)
    }

    /// Calls `server.function`, or the steps of a chain, with many payloads. Returns at once; the iterator gives the
    /// results as they come, one for each payload.
    ///
    /// # Errors
    /// As [`Request::job`].
    pub fn job<I>(&self, function: impl Into<Steps>, payloads: I) -> Result<Job>
    where
        I: IntoIterator,
        I::IntoIter: Send + 'static,
        I::Item: AsRef<[u8]>,
    {
        self.request(function).job(payloads)
    }

    /// Settings for calls of `server.function`, or of the steps of a chain.
    pub fn request(&self, function: impl Into<Steps>) -> Request<'_> {
        Request::new(self, function.into())
    }

    /// Sets a key of the server's cache; `None` stands for a new key. With a session, its name
    /// is put before the key. Returns the key as it was set.
    ///
    /// # Errors
    /// [`Error::Unreachable`] when the server does not answer in time, [`Error::Cache`] when it
    /// refuses.
    pub fn set(&self, key: Option<&str>, value: &[u8]) -> Result<String> {
        match key {
            Some(key) if self.has_session => {
                self.cache.set(&format!("{}{key}", self.pipeline), value)
            }
            key => self.cache.set(key.unwrap_or_default(), value),
        }
    }

    /// The value of a key of the server's cache; `None` when there is none, or it is empty. The
    /// session's name is not put before it: [`set`](Self::set) returned the whole key.
    ///
    /// # Errors
    /// [`Error::Unreachable`] when the server does not answer in time.
    pub fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        self.cache.get(key)
    }

    /// Removes a key of the server's cache; it is no error if there is none.
    ///
    /// # Errors
    /// [`Error::Unreachable`] when the server does not answer in time, [`Error::Cache`] when it
    /// refuses.
    pub fn delete(&self, key: &str) -> Result<()> {
        self.cache.delete(key)
    }

    /// The name of the server.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// The addresses that it uses: pull, publish and db.
    pub fn addresses(&self) -> &Addresses {
        self.running.addresses()
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("server", &self.server)
            .field("db", &self.cache.address())
            .finish_non_exhaustive()
    }
}
