//! A master, whose workers run the functions.

use std::fmt;

use super::common::{Common, WayOut};
use super::{Spread, spread, spread_each};
use crate::address::Addresses;
use crate::core::complaints::Complaints;
use crate::error::Result;
use crate::handler::complain;
use crate::message::{Failure, FailureKind, Frame, PalmMessage};
use crate::part::{
    Crew, Deliveries, ExitId, Router, Running, WorkerPullService, WorkerPushService, channel,
};

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
    common: Common,
    scatter: Option<Spread>,
    gather: Option<Spread>,
}

impl Master {
    /// A master of this name that will bind these addresses.
    pub fn new(name: impl Into<String>, addresses: Addresses) -> Self {
        Self {
            common: Common::new(name.into(), addresses),
            scatter: None,
            gather: None,
        }
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

    common_settings!();

    /// Starts it. Returns when all parts are ready.
    ///
    /// # Errors
    /// An address that is malformed, in use or not to be bound; a name that is none; a store
    /// that cannot be written.
    pub fn start(self) -> Result<Running> {
        let mut common = self.common;
        common.check(|a| vec![&a.pull, &a.publish, &a.worker_push, &a.worker_pull, &a.db])?;
        let mut crew = Crew::new(&common.name);
        let (pulled, inbound) = channel()?;
        let (work, to_workers) = channel()?;
        let (done, results) = channel()?;
        let (publish, to_publish) = channel()?;

        common.spawn_pull(&mut crew, pulled)?;
        WorkerPushService::new(&common.addresses.worker_push).spawn(&mut crew, to_workers)?;
        WorkerPullService::new(&common.addresses.worker_pull)
            .max_message(common.max_message)
            .spawn(&mut crew, done)?;
        common.spawn_pub(&mut crew, to_publish);

        let mut router = Router::default();
        let workers = router.exit("WorkerPush", work, usize::MAX);
        let publisher = router.exit("Pub", publish, usize::MAX);
        let way_in = way_in(common.name.clone(), self.scatter, workers, publisher);
        router.route("Pull", inbound, &[workers, publisher], way_in);
        let way_out = way_out(common.take_way_out(), self.gather, publisher);
        router.route("WorkerPull", results, &[publisher], way_out);
        router.spawn(&mut crew);
        common.start(
            crew,
            &[
                ("db_address", |bound| &bound.db),
                ("pull_address", |bound| &bound.pull),
                ("pub_address", |bound| &bound.publish),
                ("worker_pull_address", |bound| &bound.worker_pull),
                ("worker_push_address", |bound| &bound.worker_push),
            ],
        )
    }
}

/// From the clients to the workers: what makes no sense is answered at once, the rest scattered.
fn way_in(
    component: String,
    mut scatter: Option<Spread>,
    workers: ExitId,
    publisher: ExitId,
) -> impl FnMut(Frame, &mut Deliveries<'_>) {
    let mut complaints = Complaints::default();
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
    }
}

/// From the workers to the clients: gathered, and under the topic that the route gives.
fn way_out(
    mut way_out: WayOut,
    mut gather: Option<Spread>,
    publisher: ExitId,
) -> impl FnMut(Frame, &mut Deliveries<'_>) {
    let component = way_out.component.clone();
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
            .field("name", &self.common.name)
            .field("addresses", &self.common.addresses)
            .finish_non_exhaustive()
    }
}
