//! A master, whose workers run the functions.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::server::check_name;
use super::{Choose, Spread, WayOut, bound_addresses, preset, spread, spread_each};
use crate::address::Addresses;
use crate::core::complaints::Complaints;
use crate::error::Result;
use crate::handler::complain;
use crate::message::{DEFAULT_MAX_MESSAGE, Failure, FailureKind, Frame, PalmMessage};
use crate::part::{
    CacheService, Crew, PubService, PullService, Router, Running, WorkerPullService,
    WorkerPushService, channel,
};
use crate::store::{Memory, SharedStore};

/// A master: messages come in, workers in other processes run the functions, results go out.
///
/// ```text
/// clients ─► Pull ─► Router ─► WorkerPush ─► workers ─► WorkerPull ─► Router ─► Pub ─► clients
///                    scatter                                          gather, route
/// ```
///
/// # Building
/// [`Master::new`] with a name, which clients must give, and [`Addresses`]. Workers and clients
/// need to know its `db` address only, and learn the others there.
///
/// # Hooks
/// [`scatter`](Self::scatter) makes none, one or many messages of each that comes in,
/// [`gather`](Self::gather) of each result, and [`route`](Self::route) chooses its topic. They
/// run in the router's thread, one after another, so they should be quick; they may keep state.
/// A panic in one is the error of the message that it was called for.
///
/// # Lifecycle
/// [`start`](Self::start) returns when all its parts are ready. It runs until
/// [`Running::stop`], or until the [`Running`] is dropped, or until a part dies. On a stop,
/// results that have not come back from the workers are lost.
///
/// ```
/// use palm::{Addresses, Client, Master, Worker};
///
/// let master = Master::new("server", Addresses::ephemeral()).start()?;
/// let db = &master.addresses().db;
/// let worker = Worker::new(db)
///     .function("double", |call| Ok(call.payload().repeat(2)))
///     .start()?;
/// let client = Client::connect("server", db)?;
/// let results: Result<Vec<_>, _> = client.job("server.double", ["ab", "cd"])?.collect();
/// assert_eq!(results?, [b"abab", b"cdcd"]);
/// worker.stop()?;
/// master.stop()?;
/// # Ok::<(), palm::Error>(())
/// ```
pub struct Master {
    name: String,
    addresses: Addresses,
    store: SharedStore,
    scatter: Option<Spread>,
    gather: Option<Spread>,
    route: Option<Choose>,
    max_message: usize,
    hold: usize,
    patience: Duration,
}

impl Master {
    /// A master of this name that will bind these addresses.
    pub fn new(name: impl Into<String>, addresses: Addresses) -> Self {
        Self {
            name: name.into(),
            addresses,
            store: Arc::new(Memory::new()),
            scatter: None,
            gather: None,
            route: None,
            max_message: DEFAULT_MAX_MESSAGE,
            hold: PubService::DEFAULT_HOLD,
            patience: PubService::DEFAULT_PATIENCE,
        }
    }

    /// The store behind its cache: by default one in memory.
    pub fn store(mut self, store: SharedStore) -> Self {
        self.store = store;
        self
    }

    /// A hook that makes none, one or many messages for the workers of each that comes in.
    pub fn scatter<F, M>(mut self, hook: F) -> Self
    where
        F: FnMut(PalmMessage) -> M + Send + 'static,
        M: IntoIterator<Item = PalmMessage>,
    {
        self.scatter = Some(spread(hook));
        self
    }

    /// A hook that makes none, one or many messages of each result.
    pub fn gather<F, M>(mut self, hook: F) -> Self
    where
        F: FnMut(PalmMessage) -> M + Send + 'static,
        M: IntoIterator<Item = PalmMessage>,
    {
        self.gather = Some(spread(hook));
        self
    }

    /// A hook that chooses the topic of each result, and may change the result. By default it
    /// is the id of its client. (pylm's `handle_stream`.)
    pub fn route(mut self, hook: impl FnMut(&mut PalmMessage) -> String + Send + 'static) -> Self {
        self.route = Some(Box::new(hook));
        self
    }

    /// The largest payload to take, in bytes: 64 MiB by default.
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.max_message = bytes;
        self
    }

    /// How many bytes of results to hold for clients that have not subscribed yet or read
    /// slowly: 32 MiB by default. When it is full, no more results are taken.
    pub fn hold(mut self, bytes: usize) -> Self {
        self.hold = bytes;
        self
    }

    /// How long to hold results for a client that takes none: 30 s by default.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Starts it. Returns when all parts are ready.
    ///
    /// # Errors
    /// An address that is malformed, in use or not to be bound; a name that is none; a store
    /// that cannot be written.
    pub fn start(self) -> Result<Running> {
        check_name(&self.name)?;
        let name = self.name;
        let mut crew = Crew::new(&name);
        let (pulled, inbound) = channel()?;
        let (work, to_workers) = channel()?;
        let (done, results) = channel()?;
        let (publish, to_publish) = channel()?;

        PullService::new(self.addresses.pull)
            .max_message(self.max_message)
            .spawn(&mut crew, pulled)?;
        WorkerPushService::new(self.addresses.worker_push).spawn(&mut crew, to_workers)?;
        WorkerPullService::new(self.addresses.worker_pull)
            .max_message(self.max_message)
            .spawn(&mut crew, done)?;
        PubService::new(self.addresses.publish)
            .hold(self.hold)
            .patience(self.patience)
            .spawn(&mut crew, to_publish);

        let mut router = Router::default();
        let workers = router.exit("WorkerPush", work, usize::MAX);
        let publisher = router.exit("Pub", publish, usize::MAX);
        let (component, mut scatter) = (name.clone(), self.scatter);
        let mut complaints = Complaints::default();
        router.route(
            "Pull",
            inbound,
            &[workers, publisher],
            move |frame, deliveries| {
                if let Err(failure) = runnable(&frame) {
                    complain(&mut complaints, &component, &frame, &failure.cause);
                    return deliveries.deliver(publisher, frame.with_failure(&failure));
                }
                spread_each(
                    &component,
                    "scatter",
                    &mut scatter,
                    frame,
                    deliveries,
                    |frame, deliveries| deliveries.deliver(workers, frame),
                    |failed, deliveries| deliveries.deliver(publisher, failed),
                );
            },
        );
        let (component, mut gather) = (name.clone(), self.gather);
        let mut way_out = WayOut {
            component: name.clone(),
            route: self.route,
        };
        router.route(
            "WorkerPull",
            results,
            &[publisher],
            move |frame, deliveries| {
                spread_each(
                    &component,
                    "gather",
                    &mut gather,
                    frame,
                    deliveries,
                    |frame, deliveries| deliveries.deliver(publisher, way_out.parcel(frame)),
                    |failed, deliveries| deliveries.deliver(publisher, failed),
                );
            },
        );
        router.spawn(&mut crew);

        CacheService::new(self.addresses.db, self.store.clone())
            .max_message(self.max_message)
            .spawn(&mut crew)?;
        crew.start(|bound| {
            let bound = bound_addresses(bound);
            let keys = [
                ("name", name.as_str()),
                ("db_address", &bound.db),
                ("pull_address", &bound.pull),
                ("pub_address", &bound.publish),
                ("worker_pull_address", &bound.worker_pull),
                ("worker_push_address", &bound.worker_push),
            ];
            preset(&*self.store, &keys)?;
            Ok(bound)
        })
    }
}

/// Whether a worker can make sense of a message: a pylm worker dies of one whose function path
/// it cannot read.
fn runnable(frame: &Frame) -> Result<(), Failure> {
    let step = frame
        .path()
        .and_then(|path| path.step(frame.stage()).map(drop));
    step.map_err(|error| Failure::new(FailureKind::BadPath, error.to_string()))
}

impl fmt::Debug for Master {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Master")
            .field("name", &self.name)
            .field("addresses", &self.addresses)
            .finish_non_exhaustive()
    }
}
