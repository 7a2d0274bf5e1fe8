//! A worker: runs functions for a master in another process.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::RecvTimeoutError;

use crate::address::{self, Addresses, Purpose};
use crate::cache::CacheClient;
use crate::core::link::WorkerSession;
use crate::error::{Error, Result};
use crate::handler::{Functions, Runner};
use crate::message::DEFAULT_MAX_MESSAGE;
use crate::part::{Context, Crew, Duty, Find, Running, Signal, Target, TaskLink, WiredTasks};
use crate::wire::Wire;

/// How often a worker on the pylm wire looks whether its master has moved, and how long one on
/// the link waits for each answer to where it is.
const WATCH: Duration = Duration::from_secs(1);

/// A worker of a master.
///
/// # Building
/// [`Worker::new`] with the address of the master's cache (db), where it learns the others.
/// Then functions: what follows the dot in a call names the one to run, the server's name
/// before it is not looked at.
///
/// # Functions
/// As a [`Server`](crate::Server)'s, and the same ones. They run one after another in a thread
/// of their own. [`Call::cache`](crate::Call::cache) reaches the master's cache.
///
/// # The wire
/// A palm master has a link, which it tells at db: over that it gives each worker as many tasks
/// as keep it busy, has the others back when another worker is idle, and keeps each until it has
/// the result. A worker that is killed, or cut off, costs no more than time: its tasks are given
/// to another. With a master that tells no link, or on request ([`Worker::wire`]), the worker
/// speaks the pylm wire. So it does if it was given the addresses of that.
///
/// # Lifecycle
/// [`start`](Self::start) waits for the master, for 10 s by default. A worker whose master ends
/// waits for it to come back at the same db, reads its configuration again and goes on. On a
/// stop it finishes the running function, however long that takes, and hands back over the link
/// what it has not begun. On the pylm wire that is lost: at most some tens of messages and what
/// the network holds.
///
/// ```no_run
/// use palm::Worker;
///
/// Worker::new("tcp://127.0.0.1:5559")
///     .function("foo", |call| Ok([b"processed ", call.payload()].concat()))
///     .start()?
///     .wait()?;
/// # Ok::<(), palm::Error>(())
/// ```
pub struct Worker {
    name: String,
    db: String,
    worker_push: Option<String>,
    worker_pull: Option<String>,
    functions: Functions,
    wire: Wire,
    timeout: Duration,
    max_message: usize,
}

impl Worker {
    /// A worker of the master whose cache is at `db`. Its name is a fresh uuid.
    pub fn new(db: impl Into<String>) -> Self {
        Self {
            name: uuid::Uuid::new_v4().to_string(),
            db: db.into(),
            worker_push: None,
            worker_pull: None,
            functions: Functions::new(),
            wire: Wire::default(),
            timeout: Duration::from_secs(10),
            max_message: DEFAULT_MAX_MESSAGE,
        }
    }

    /// Sets its name: for its functions and the log.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Where the master gives out work on the pylm wire, in place of what it tells at db.
    pub fn worker_push(mut self, address: impl Into<String>) -> Self {
        self.worker_push = Some(address.into());
        self
    }

    /// Where the master takes results on the pylm wire, in place of what it tells at db.
    pub fn worker_pull(mut self, address: impl Into<String>) -> Self {
        self.worker_pull = Some(address.into());
        self
    }

    function_settings!();

    /// The wire to speak: the link by default, if the master has one.
    pub fn wire(mut self, wire: Wire) -> Self {
        self.wire = wire;
        self
    }

    /// How long to wait for the master when starting, and in each cache call: 10 s by default.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The largest payload to take and to give, in bytes: 64 MiB by default.
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.max_message = bytes;
        self
    }

    /// Starts it. Returns when it has found its master.
    ///
    /// # Errors
    /// [`Error::Setup`](crate::Error::Setup) for a function of a name that no call can have,
    /// [`Error::Address`](crate::Error::Address) for a malformed address, [`Error::Unreachable`](crate::Error::Unreachable) when nobody answers
    /// at db in time, [`Error::NotConfigured`](crate::Error::NotConfigured) when whoever does is no master.
    pub fn start(self) -> Result<Running> {
        let checked = self.functions.check(1);
        checked.map_err(|reason| Error::setup(&self.name, reason))?;
        match self.link()? {
            Some(link) => self.start_on_link(link),
            None => self.start_on_pylm(),
        }
    }

    /// Where the master's link is, if it is to be used and there is one.
    fn link(&self) -> Result<Option<String>> {
        let given = self.worker_push.is_some() || self.worker_pull.is_some();
        if given || self.wire == Wire::Pylm {
            return Ok(None);
        }
        let cache = self.remote_cache();
        // A server has a link, too, but no workers.
        cache.preset("worker_push_address", self.timeout, &|| false)?;
        match find_link(&cache, self.timeout, &|| false) {
            Err(Error::NotConfigured { .. }) => Ok(None),
            link => link.map(Some),
        }
    }

    fn start_on_link(self, link: String) -> Result<Running> {
        log::info!(target: &self.name, "takes tasks over the link {link}");
        let addresses = Addresses {
            db: self.db.clone(),
            link: link.clone(),
            ..Addresses::none()
        };
        let mut crew = Crew::new(&self.name);
        let session = uuid::Uuid::new_v4().to_string();
        let tasks = TaskLink {
            session: WorkerSession::new(session, &self.name, self.functions.names()),
            find: follow(&self.name, link, self.remote_cache()),
            max_message: self.max_message,
            runner: Arc::new(self.runner()),
        };
        tasks.spawn(&mut crew)?;
        crew.start(|_| Ok(addresses))
    }

    fn start_on_pylm(self) -> Result<Running> {
        let master = Master {
            cache: self.remote_cache(),
            worker_push: self.worker_push.clone(),
            worker_pull: self.worker_pull.clone(),
            timeout: self.timeout,
        };
        let (from_master, to_master) = master.addresses(&|| false)?;
        log::info!(target: &self.name, "pulls from {from_master}, pushes to {to_master}");
        let addresses = Addresses {
            worker_push: from_master.clone(),
            worker_pull: to_master.clone(),
            db: self.db.clone(),
            ..Addresses::none()
        };
        let (from_master, to_master) = (Target::new(from_master), Target::new(to_master));

        let mut crew = Crew::new(&self.name);
        let tasks = WiredTasks {
            from: from_master.clone(),
            to: to_master.clone(),
            max_message: self.max_message,
            runner: Arc::new(self.runner()),
        };
        tasks.spawn(&mut crew)?;
        crew.spawn("Watch", Duty::Serves, move |context| {
            context.ready(None)?;
            watch(context, &master, &from_master, &to_master);
            Ok(())
        });
        crew.start(|_| Ok(addresses))
    }

    fn runner(self) -> Runner {
        Runner {
            cache: Arc::new(self.remote_cache()),
            functions: self.functions,
            component: self.name,
            only_own_name: false,
            max_message: self.max_message,
            complaints: Default::default(),
        }
    }

    fn remote_cache(&self) -> CacheClient {
        CacheClient::of(&self.name, "_", &self.db, self.timeout, self.max_message)
    }
}

/// Where the master at a cache has its link.
fn find_link(cache: &CacheClient, timeout: Duration, give_up: &dyn Fn() -> bool) -> Result<String> {
    let link = cache.place(&None, "link_address", timeout, give_up)?;
    // What a cache tells, any of its clients may have set.
    address::check(&link, Purpose::Connect)?;
    Ok(link)
}

/// Finds the master's link: at first there, later wherever its cache says.
fn follow(name: &str, first: String, cache: CacheClient) -> Find {
    let name = name.to_owned();
    let mut first = Some(first);
    let mut lost = false;
    Box::new(move |give_up| {
        if let Some(link) = first.take() {
            return Ok(Some(link));
        }
        match find_link(&cache, WATCH, give_up) {
            Ok(link) => {
                log::info!(target: &name, "looks for the master at the link {link}");
                lost = false;
                Ok(Some(link))
            }
            Err(_) if give_up() => Ok(None),
            Err(error) => {
                if !lost {
                    log::warn!(target: &name, "waiting for the master: {error}");
                }
                lost = true;
                Ok(None)
            }
        }
    })
}

/// The master on the pylm wire, as far as it tells where it is.
struct Master {
    cache: CacheClient,
    worker_push: Option<String>,
    worker_pull: Option<String>,
    timeout: Duration,
}

impl Master {
    /// Where to pull from and to push to.
    fn addresses(&self, give_up: &dyn Fn() -> bool) -> Result<(String, String)> {
        let place = |given, key| self.cache.place(given, key, self.timeout, give_up);
        let from = place(&self.worker_push, "worker_push_address")?;
        let to = place(&self.worker_pull, "worker_pull_address")?;
        // What a cache tells, any of its clients may have set.
        address::check(&from, Purpose::Connect)?;
        address::check(&to, Purpose::Connect)?;
        Ok((from, to))
    }
}

/// Follows the master: when it tells other addresses, the parts connect there.
fn watch(context: &Context, master: &Master, from_master: &Target, to_master: &Target) {
    let name = &context.component;
    let mut lost = false;
    while !over(&context.soft, WATCH) {
        match master.addresses(&|| context.soft.is_raised()) {
            Ok((from, to)) => {
                // In this order: a result must not go to where the master was.
                let moved = to_master.set(&to) | from_master.set(&from);
                if moved {
                    log::info!(target: name, "the master has moved: pulls from {from}, pushes to {to}");
                } else if lost {
                    log::info!(target: name, "the master is back");
                }
                lost = false;
            }
            Err(_) if context.soft.is_raised() => return,
            Err(error) => {
                if !lost {
                    log::warn!(target: name, "waiting for the master: {error}");
                }
                lost = true;
            }
        }
    }
}

/// Waits for some time. True when the worker shall end.
fn over(soft: &Signal, time: Duration) -> bool {
    !matches!(
        soft.raised().recv_timeout(time),
        Err(RecvTimeoutError::Timeout)
    )
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker")
            .field("name", &self.name)
            .field("db", &self.db)
            .field("functions", &self.functions)
            .finish_non_exhaustive()
    }
}
