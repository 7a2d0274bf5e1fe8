//! The client: submits messages to a server, and gets the results.

mod calls;
mod connect;
mod counted;
mod feeder;
mod find;
mod job;
mod link;
mod pusher;
mod request;
mod tracked;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use job::{Canceller, Job, JobResult, Results};
pub use request::Request;

use calls::Calls;
use connect::Search;
use link::Link;
use pusher::Pusher;

use crate::address::Addresses;
use crate::cache::CacheClient;
use crate::error::Result;
use crate::handler::Cache;
use crate::message::{DEFAULT_MAX_MESSAGE, Steps};
use crate::part::{Crew, Running};
use crate::time::after;
use crate::wire::Wire;

/// A client of one server, or of the first and the last of a chain.
///
/// # Connecting
/// [`Client::connect`] with the server's name and the address of its cache (db), where it
/// learns the other addresses. It waits for a server that is not there yet, for 10 s by
/// default; [`Client::builder`] sets that and more. When it returns, the server knows it, or its
/// subscription stands: no call can miss its answer. All calls use the same connections.
///
/// # Two wires
/// With palm servers it speaks the palm link. It keeps each message until all that came of it is
/// here, and submits it again when a connection breaks or the server is restarted; each result
/// comes once. With a pylm server, or with an address given by [`ClientBuilder::pull`] in place
/// of the server's, it speaks the pylm wire, which promises what ZeroMQ does.
/// [`wire`](Self::wire) tells which it is.
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
    id: String,
    server: String,
    pipeline: String,
    has_session: bool,
    cache: CacheClient,
    connected: Connected,
    max_message: usize,
    // Dropped last: it ends the threads.
    running: Running,
}

/// How a client is connected.
enum Connected {
    Pylm {
        calls: Arc<Calls>,
        pusher: Arc<Pusher>,
        /// No job may have more messages open.
        most_open: usize,
    },
    Link(Arc<Link>),
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
    wire: Wire,
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

    /// What to speak: the palm link by default, where there is one.
    pub fn wire(mut self, wire: Wire) -> Self {
        self.wire = wire;
        self
    }

    /// Connects. Returns when the server knows the client, or its subscription stands.
    ///
    /// # Errors
    /// [`Error::Address`](crate::Error::Address) for a malformed address, [`Error::Unreachable`](crate::Error::Unreachable) when nobody answers
    /// in time, [`Error::WrongServer`](crate::Error::WrongServer) when another server does, [`Error::NotConfigured`](crate::Error::NotConfigured) when
    /// whoever does tells no addresses.
    pub fn connect(self) -> Result<Client> {
        let id = uuid::Uuid::new_v4().to_string();
        let cache = self.cache(&id);
        let search = Search {
            builder: &self,
            cache: &cache,
            deadline: after(Instant::now(), self.timeout),
        };
        search.check_name()?;
        let addresses = Addresses {
            publish: search.place(&self.publish, "pub_address")?,
            pull: search.place(&self.pull, "pull_address")?,
            db: self.db.clone(),
            ..Addresses::none()
        };
        let mut crew = Crew::new(&format!("client {id}"));
        let (connected, running) = match search.links(&addresses)? {
            Some(places) => {
                log::debug!(target: &id, "submits to the link at {}", places.first);
                let first = places.first.clone();
                let link = Link::spawn(&id, places, self.cache(&id), self.max_message, &mut crew)?;
                let running = crew.start(|_| Ok(addresses))?;
                if !link.wait_welcome(search.left(), &running) {
                    if running.is_over() {
                        running.wait()?;
                    }
                    return Err(search.unreachable("the palm link", first));
                }
                (Connected::Link(link), running)
            }
            None => self.connect_pylm(&id, crew, addresses, search.left())?,
        };
        Ok(Client {
            id,
            has_session: self.session.is_some(),
            pipeline: self
                .session
                .unwrap_or_else(|| uuid::Uuid::new_v4().to_string()),
            server: self.server,
            cache,
            connected,
            max_message: self.max_message,
            running,
        })
    }

    fn cache(&self, id: &str) -> CacheClient {
        CacheClient::of(id, &self.server, &self.db, self.timeout, self.max_message)
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
            wire: Wire::default(),
        }
    }

    /// Calls `server.function`, or the steps of a chain, with one payload and waits for its first
    /// result.
    ///
    /// # Errors
    /// As [`Request::eval`].
    pub fn eval(&self, function: impl Into<Steps>, payload: impl AsRef<[u8]>) -> Result<Vec<u8>> {
        self.request(function).eval(payload)
    }

    /// Calls `server.function`, or the steps of a chain, with many payloads. Returns at once; the
    /// iterator gives the results as they come.
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
    /// [`Error::Unreachable`](crate::Error::Unreachable) when the server does not answer in time, [`Error::Cache`](crate::Error::Cache) when it
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
    /// [`Error::Unreachable`](crate::Error::Unreachable) when the server does not answer in time.
    pub fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        self.cache.get(key)
    }

    /// Removes a key of the server's cache; it is no error if there is none.
    ///
    /// # Errors
    /// [`Error::Unreachable`](crate::Error::Unreachable) when the server does not answer in time, [`Error::Cache`](crate::Error::Cache) when it
    /// refuses.
    pub fn delete(&self, key: &str) -> Result<()> {
        self.cache.delete(key)
    }

    /// Its id, a fresh uuid: by this `palm status` and log lines tell of it.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The name of the server.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// What it speaks with its servers.
    pub fn wire(&self) -> Wire {
        match self.connected {
            Connected::Pylm { .. } => Wire::Pylm,
            Connected::Link(_) => Wire::Link,
        }
    }

    /// The addresses that it uses over the pylm wire, and that of the cache: pull, publish and
    /// db.
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
