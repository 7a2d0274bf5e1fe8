//! A reducer, whose workers make one value of each group of messages.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::common::{Common, Previous};
use crate::address::Addresses;
use crate::core::complaints::Complaints;
use crate::core::reduction::{Action, Bounds, Group, JobName, Reduction};
use crate::error::Result;
use crate::handler::{complain, guarded};
use crate::message::{Frame, PalmMessage};
use crate::part::{Route, Running, Spread, Ways, runnable, spread};

/// A reducer: messages come in, each a value of some group; workers combine the values of each
/// group in pairs, in parallel and in as many rounds as it takes, until one is left, which goes
/// out when its group is closed.
///
/// ```text
/// clients ──────────► Pull ─┐             ┌────────────── two values of a group ◄──┐
/// or                        ├─► Router ───┴─► WorkerPush ─► workers ─► WorkerPull ─┤
/// earlier step's Pub ─► Sub ┘   scatter, key                                       │
///                                         Pub ◄── the one value that is left ◄─────┘
/// ```
///
/// # Building
/// [`Reducer::new`] with a name and [`Addresses`], as a [`Master`](crate::Master): it takes its
/// messages from clients. With [`after`](Self::after) it is a later step of a chain, as a
/// [`Hub`](crate::Hub). Workers find it as they find those.
///
/// # Groups
/// [`key`](Self::key) is a function that tells of each message which [`Group`] of its job it
/// belongs to, and how the group is closed, which is one of:
///
/// - its number of values has come ([`Group::expecting`]), in whatever order;
/// - a message that says so ([`Group::closing`]), which no other of its group may come after:
///   it would begin another group. Server, Pipeline and Sink keep the order if they have one
///   thread; several workers do not;
/// - the end of the job. A client tells it by [`Request::end_mark`](crate::Request::end_mark):
///   when as many messages have come in as the client has sent, in whatever order, all of the
///   job's groups are closed, and the job ends with their results. For that, the steps before
///   make one message of each. What makes several is [`scatter`](Self::scatter), here.
///
/// Groups with the same key are apart when their messages differ in the stream, the client or
/// the function path. A palm client has a new id for each job. (A pylm client does not: there,
/// a key must not come back in the next job before its group is closed.)
///
/// # The function of its workers
/// The function that the clients call combines two values into one. It must be associative and
/// commutative, because a value may meet any other of its group, on either side. Workers get
/// the two as a [`Pair`](crate::reduce::Pair), with an id in `cache` that they send back
/// unchanged; [`reduce::combine`](crate::reduce::combine) makes such a function of a closure. A
/// group of one value is not combined at all, so a value has the same form as a result.
///
/// # Failures
/// Each group gives exactly one message, its result or a failure, unless it has no value at
/// all. When a combination fails, the client gets that failure, and what else comes of that
/// group is dropped. What has failed in an earlier step, and what `key` panics at, goes to the
/// client as it is; because nobody knows whether its value belongs to a group that would have
/// been closed by a message or by the end of the job, those groups of the job are failures too.
/// Groups that are closed by their number are not concerned.
///
/// A worker that is killed loses the pairs that it has been sent, and their groups have no
/// result: they are given up after [`max_idle`](Self::max_idle). (A worker of pylm tells of a
/// failure by the value `0`, which cannot be told from a result.)
///
/// # Lifecycle
/// As a [`Master`](crate::Master)'s. On a stop, open groups are lost, which is logged.
///
/// ```
/// use palm::reduce::{Group, combine};
/// use palm::{Addresses, Client, Reducer, Worker};
///
/// // Adds numbers up, the odd and the even ones.
/// let reducer = Reducer::new("sums", Addresses::ephemeral())
///     .key(|message| match message.payload.last() {
///         Some(digit) if digit % 2 == 1 => Group::of("odd"),
///         _ => Group::of("even"),
///     })
///     .start()?;
/// let db = &reducer.addresses().db;
///
/// let number = |bytes: &[u8]| -> Result<u64, palm::BoxError> {
///     Ok(std::str::from_utf8(bytes)?.parse()?)
/// };
/// let worker = Worker::new(db)
///     .handler("add", combine(move |left, right| {
///         Ok((number(left)? + number(right)?).to_string().into_bytes())
///     }))
///     .start()?;
///
/// let client = Client::connect("sums", db)?;
/// let numbers = (1..=100).map(|number| number.to_string());
/// let sums = client.request("sums.add").end_mark().job(numbers)?;
/// let mut sums: Vec<Vec<u8>> = sums.collect::<Result<_, _>>()?;
/// sums.sort();
/// assert_eq!(sums, [b"2500", b"2550"]);
/// worker.stop()?;
/// reducer.stop()?;
/// # Ok::<(), palm::Error>(())
/// ```
pub struct Reducer {
    common: Common,
    previous: Vec<Previous>,
    scatter: Option<Spread>,
    key: Option<Key>,
    max_groups: usize,
    hold_values: usize,
    max_idle: Duration,
}

/// A hook that tells which group a message belongs to.
type Key = Box<dyn FnMut(&PalmMessage) -> Group + Send>;

impl Reducer {
    /// A reducer of this name that will bind these addresses.
    pub fn new(name: impl Into<String>, addresses: Addresses) -> Self {
        Self {
            common: Common::new(name.into(), addresses),
            previous: Vec::new(),
            scatter: None,
            key: None,
            max_groups: 65_536,
            hold_values: 256 << 20,
            max_idle: Duration::from_secs(3_600),
        }
    }

    after_setting!("By default messages come from clients.");

    /// The function that tells which group a message belongs to. It runs in the router's thread,
    /// so it should be quick; it may keep state. A panic in it is the error of that message.
    pub fn key(mut self, hook: impl FnMut(&PalmMessage) -> Group + Send + 'static) -> Self {
        self.key = Some(Box::new(hook));
        self
    }

    /// A hook that makes none, one or many messages of each that comes in, before their keys are
    /// asked for. For the end of a job they count as the one message that they were made of.
    pub fn scatter<F, M>(mut self, hook: F) -> Self
    where
        F: FnMut(PalmMessage) -> M + Send + 'static,
        M: IntoIterator<Item = PalmMessage>,
    {
        self.scatter = Some(spread(hook));
        self
    }

    /// How many groups may be open, over all jobs: 65,536 by default. A message that would open
    /// one more is refused: its client gets a failure.
    pub fn max_groups(mut self, groups: usize) -> Self {
        self.max_groups = groups;
        self
    }

    /// How many bytes of values may wait for another of their group, with the keys of the groups
    /// that are open: 256 MiB by default. A group that one more would wait for fails; a message
    /// that would open one more group is refused.
    pub fn hold_values(mut self, bytes: usize) -> Self {
        self.hold_values = bytes;
        self
    }

    /// How long to wait when nothing happens to a group that is not finished, or to a job that
    /// lacks messages at its end: an hour by default. It is given up then: its client gets a
    /// failure. That is looked at when a message comes, of whatever job.
    pub fn max_idle(mut self, time: Duration) -> Self {
        self.max_idle = time;
        self
    }

    pipelined_setting!();
    common_settings!();

    /// Starts it. Returns when all parts are ready; a step before it need not be there yet.
    ///
    /// # Errors
    /// No key function; several steps before it; an address that is malformed, in use or not to
    /// be bound; a name that is none; a store that cannot be written.
    pub fn start(mut self) -> Result<Running> {
        let Some(key) = self.key.take() else {
            let reason = "a reducer needs a function that tells the keys of messages";
            return Err(self.common.wrong(reason));
        };
        let several = "a reducer comes after one step: a Sink before it may come after several";
        let previous = std::mem::take(&mut self.previous);
        let previous = self.common.only(previous, several)?;
        let shared = Arc::new(Mutex::new(self.reducing(key)));
        let taking = shared.clone();
        let way_in = Route::through(["WorkerPush", "Pub"], move |frame, ways| {
            let mut reducing = taking.lock();
            reducing.take(frame, Instant::now());
            reducing.act(ways, 0, 1);
        });
        let way_out = Route::through(["Pub"], move |frame, ways| {
            let mut reducing = shared.lock();
            reducing.combined(frame, Instant::now());
            reducing.act(ways, 1, 0);
        });
        // What comes from the workers must not wait for room at the workers. It is bounded: at
        // most one pair comes of the result of another.
        let way_out = way_out.and_unbounded("WorkerPush");
        let pull = self.common.pull();
        let sub = previous.map(|previous| (self.common.sub(&previous), previous.address));
        let assembly = self.common.with_wired_workers(way_out);
        let assembly = match sub {
            Some((sub, address)) => assembly
                .inbound("Sub", sub, way_in)
                .preset("sub_address", address),
            None => assembly
                .inbound("Pull", pull, way_in)
                .preset_address("pull_address", "Pull"),
        };
        assembly.start()
    }

    fn reducing(&mut self, key: Key) -> Reducing {
        let bounds = Bounds {
            groups: self.max_groups,
            bytes: self.hold_values,
            message: self.common.max_message,
            idle: self.max_idle,
        };
        Reducing {
            component: self.common.name.clone(),
            reduction: Reduction::new(uuid::Uuid::new_v4().to_string(), bounds),
            scatter: self.scatter.take(),
            key,
            refused: Complaints::default(),
            strange: Complaints::default(),
        }
    }
}

/// What the routes of a reducer share. Both run in the router's thread.
struct Reducing {
    component: String,
    reduction: Reduction,
    scatter: Option<Spread>,
    key: Key,
    refused: Complaints,
    strange: Complaints,
}

impl Reducing {
    /// Takes what comes from a client or an earlier step.
    fn take(&mut self, frame: Frame, now: Instant) {
        self.reduction.expire(now);
        if frame.end().is_some() {
            return self.reduction.ended(frame, now);
        }
        let job = JobName::of(&frame);
        if frame.is_failure() {
            self.reduction.failed(frame, now);
        } else if let Err(failure) = runnable(&frame) {
            complain(&mut self.refused, &self.component, &frame, &failure.cause);
            self.reduction.failed(frame.with_failure(&failure), now);
        } else {
            self.offer(&frame, now);
        }
        self.reduction.took(&job, now);
    }

    /// Offers what the hooks make of a message.
    fn offer(&mut self, frame: &Frame, now: Instant) {
        let whole = frame.to_message();
        let pieces = match &mut self.scatter {
            None => Ok(vec![whole]),
            Some(scatter) => guarded(&self.component, "scatter", || scatter(whole)),
        };
        let pieces = match pieces {
            Ok(pieces) => pieces,
            Err(failure) => return self.reduction.failed(frame.with_failure(&failure), now),
        };
        for piece in pieces {
            let frame = Frame::from(&piece);
            match guarded(&self.component, "key", || (self.key)(&piece)) {
                Ok(group) => self.reduction.offer(frame, group, now),
                Err(failure) => self.reduction.failed(frame.with_failure(&failure), now),
            }
        }
    }

    /// Takes what comes from a worker.
    fn combined(&mut self, frame: Frame, now: Instant) {
        self.reduction.expire(now);
        if !self.reduction.combined(frame, now)
            && let Some(more) = self.strange.note("workers", now)
        {
            let total = self.reduction.strangers();
            let what = "a result of a worker is none of an open task, and is ignored";
            log::warn!(target: &self.component, "{what}: the {total}th{more}");
        }
    }

    /// Sends what the reduction says, on these ways.
    fn act(&mut self, ways: &mut Ways<'_>, workers: usize, publisher: usize) {
        for action in self.reduction.actions() {
            match action {
                Action::Combine(task) => ways.send(workers, task),
                Action::Send(frame) => ways.send(publisher, frame),
                Action::Fail(frame) => {
                    let cause = frame.failure().map(|failure| failure.cause);
                    let cause = cause.unwrap_or_default();
                    complain(&mut self.refused, &self.component, &frame, &cause);
                    ways.send(publisher, frame);
                }
            }
        }
    }
}

impl Drop for Reducing {
    fn drop(&mut self) {
        let (groups, tasks) = (self.reduction.open_groups(), self.reduction.in_flight());
        if groups > 0 {
            log::warn!(target: &self.component, "lost: {groups} open groups, with {tasks} pairs at workers");
        }
    }
}

impl fmt::Debug for Reducer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reducer")
            .field("name", &self.common.name)
            .field("addresses", &self.common.addresses)
            .field("previous", &self.previous)
            .finish_non_exhaustive()
    }
}
