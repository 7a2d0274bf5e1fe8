//! How a component is: what it has, who is there, and why something waits.

use std::time::{Duration, Instant};

use crate::address::{self, Purpose};
use crate::bell::Bell;
use crate::cache::CacheClient;
use crate::error::{Error, Result};
use crate::message::link::{Envelope, Head};
use crate::message::status as proto;
use crate::socket::{Kind, Socket, Want};
use crate::time::after;

/// How long to wait before the question is put again: it may have met a server that starts.
const AGAIN: Duration = Duration::from_millis(200);

/// The longest answer to take is some times this, in bytes.
const MOST: usize = 1 << 20;

/// How a component is, as it says itself over its link. `palm status` prints it.
///
/// All counts are of messages, and of this run of the component. What goes over the pylm wire
/// from clients and to them is not counted, as nobody says there what becomes of it.
///
/// ```
/// use std::time::Duration;
/// use palm::{Addresses, Client, Master, Status, Worker};
///
/// let master = Master::new("server", Addresses::ephemeral()).start()?;
/// let db = &master.addresses().db;
/// let worker = Worker::new(db).name("w1").function("foo", |_| Ok("done")).start()?;
/// Client::connect("server", db)?.eval("server.foo", "")?;
///
/// let status = Status::of(db, Duration::from_secs(10))?;
/// assert_eq!(status.name, "server");
/// assert_eq!(status.workers[0].name, "w1");
/// assert_eq!(status.totals.completed, 1);
/// # Ok::<(), palm::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Status {
    /// The name of the component.
    pub name: String,
    /// The id of this run of it.
    pub epoch: String,
    /// How long it has been running. (As JSON, in seconds.)
    #[cfg_attr(feature = "cli", serde(serialize_with = "as_seconds"))]
    pub uptime: Duration,
    /// Whether clients submit to it: a server or a master, and not a later step.
    pub has_clients: bool,
    /// Whether it gives its work to workers: a master or a hub.
    pub has_workers: bool,
    /// What has happened since its start, and what there is now.
    pub totals: Totals,
    /// The clients that are connected or have messages inside, up to 1,000.
    pub clients: Vec<Client>,
    /// How many more there are.
    pub more_clients: u64,
    /// The workers on the link, up to 1,000.
    pub workers: Vec<Worker>,
    /// How many more there are.
    pub more_workers: u64,
    /// How many workers there are on the pylm wire, which does not tell them apart.
    pub pylm_workers: u64,
    /// Those who take what goes out over the link, up to 1,000.
    pub outlets: Vec<Outlet>,
    /// How many more there are.
    pub more_outlets: u64,
    /// What waits, and why, up to 1,000 entries, those with the most messages first.
    pub waits: Vec<Wait>,
    /// How many more there are.
    pub more_waits: u64,
}

/// What has happened in a component since its start, and what it has now, in messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Totals {
    /// Taken from clients over the link.
    pub submitted: u64,
    /// Of those: all that came of them is done with, and their client was told.
    pub settled: u64,
    /// Taken for workers.
    pub accepted: u64,
    /// With workers now: running, or given ahead.
    pub running: u64,
    /// Waiting now: for a worker, or to be taken from their client.
    pub waiting: u64,
    /// Of which a worker's result was taken.
    pub completed: u64,
    /// Given out again because a worker had gone, or lost them.
    pub redelivered: u64,
    /// Results that were dropped because another had come first.
    pub doubles: u64,
    /// Given up because too many workers ended while they ran them.
    pub given_up: u64,
    /// Failed because no worker had their function.
    pub no_function: u64,
    /// Not run because their job was cancelled, or their client had left.
    pub cancelled: u64,
    /// Given to clients and later steps over the link, which are done with them.
    pub delivered: u64,
    /// Given up because nobody took them for too long.
    pub undelivered: u64,
    /// Refused at the link because they were malformed. (At the other ports, the log tells.)
    pub refused: u64,
    /// Bytes that are held now of what clients have submitted and the component has not taken.
    pub inbox_bytes: u64,
    /// Bytes of what waits for workers or is with them.
    pub task_bytes: u64,
    /// Bytes of workers' results that the component has not taken.
    pub result_bytes: u64,
    /// Bytes of what is kept for those who take what goes out.
    pub outlet_bytes: u64,
}

impl Totals {
    /// All bytes that are held now.
    pub fn bytes(&self) -> u64 {
        self.inbox_bytes + self.task_bytes + self.result_bytes + self.outlet_bytes
    }
}

/// A client that is connected or has messages inside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Client {
    /// Its id: see [`Client::id`](crate::Client::id).
    pub session: String,
    /// Whether it is connected to this component. One that calls a chain is connected to the
    /// first and the last step of it only.
    pub connected: bool,
    /// How many of those that it has submitted here are not done.
    pub open: u64,
    /// How many of those the component has not taken yet.
    pub inbox: u64,
    /// How many of its messages wait for workers.
    pub waiting: u64,
    /// How many are with workers.
    pub running: u64,
}

/// A worker on the link.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Worker {
    /// Its name.
    pub name: String,
    /// Its id.
    pub session: String,
    /// Whether it is connected. One that is not has a moment to come back.
    pub connected: bool,
    /// Whether it takes nothing more, and is about to leave.
    pub draining: bool,
    /// How many messages it has: one runs, the others are given ahead.
    pub given: u64,
    /// How many it may have.
    pub credit: u64,
    /// How many it has finished.
    pub finished: u64,
    /// How long one runs on average, once one was finished. (As JSON, in seconds.)
    #[cfg_attr(feature = "cli", serde(serialize_with = "as_seconds_or_none"))]
    pub average: Option<Duration>,
}

/// A client or a later step of a chain, which takes what goes out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Outlet {
    /// What it takes: a client's id, or the topic that a step subscribes to.
    pub topic: String,
    /// Its id.
    pub session: String,
    /// Its name.
    pub name: String,
    /// Whether it is a client.
    pub is_client: bool,
    /// Whether it is connected. If not, what is kept for it waits for it to come back.
    pub connected: bool,
    /// How many messages are kept until it is done with them.
    pub kept: u64,
    /// How many of those it has not been given yet.
    pub waiting: u64,
    /// The bytes of what is kept.
    pub bytes: u64,
}

/// Messages that wait for the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Wait {
    /// Whose they are, or for whom: a client's id, or a topic that later steps subscribe to.
    pub whose: String,
    /// Whether that is a client.
    pub is_client: bool,
    /// How many wait.
    pub messages: u64,
    /// Why the oldest of them does.
    #[cfg_attr(feature = "cli", serde(flatten))]
    pub why: Why,
}

/// Why a message waits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "cli",
    derive(serde::Serialize),
    serde(tag = "why", rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum Why {
    /// There is no worker.
    NoWorker,
    /// There are workers, but none has its function.
    NoFunction {
        /// The name of the function.
        function: String,
    },
    /// All who could run it are busy.
    AllBusy {
        /// How many workers there are; none at a component that runs its functions itself.
        workers: u64,
    },
    /// Too few subscribe to its topic.
    NoSubscriber {
        /// How many are missing.
        missing: u64,
    },
    /// Whoever is to get it, or what comes of it, does not read what is there.
    NotReading,
    /// Whoever is to get it is not connected at present.
    Away,
    /// What has been made waits to be taken, and there is no room for more.
    NoRoom,
    /// The next step takes some of each client, and has as much of this one as it may: it is slow, or
    /// the client does not read what comes of that, as the status of a later step tells.
    StepShare,
    /// A reason that the component has and this version of palm does not know.
    #[default]
    Unknown,
}

impl Status {
    /// Asks the component whose cache is at `db`.
    ///
    /// # Errors
    /// [`Error::Unreachable`] when nobody answers in time, [`Error::NotConfigured`] when the
    /// component has no link to ask over: it is pylm's, or a reducer. [`Error::Address`] for a
    /// malformed address.
    pub fn of(db: &str, timeout: Duration) -> Result<Self> {
        let deadline = after(Instant::now(), timeout);
        let cache = CacheClient::new(db);
        let link = cache.place(&None, "link_address", timeout, &|| false)?;
        // What a cache tells, any of its clients may have set.
        address::check(&link, Purpose::Connect)?;
        let answer = ask(&link, deadline)?;
        answer.map(Self::from).ok_or(Error::Unreachable {
            what: "the link",
            address: link,
            waited: timeout,
        })
    }
}

/// Asks until there is an answer, or the time is over.
fn ask(link: &str, deadline: Instant) -> Result<Option<proto::Status>> {
    let bell = Bell::new()?;
    let mut socket = Socket::open(Kind::LinkPeer, "status", MOST)?;
    socket.connect(link)?;
    let mut parts = Vec::new();
    let mut again = Instant::now();
    loop {
        while socket.try_recv(&mut parts)? {
            // Whatever else it may say is not meant for one who only asks.
            if let Ok((head, _)) = Envelope::decode(&mut parts)
                && let Some(status) = head.status
            {
                return Ok(Some(*status));
            }
        }
        let now = Instant::now();
        if now >= deadline {
            return Ok(None);
        }
        if now >= again {
            let head = Head {
                ask_status: true,
                ..Head::default()
            };
            socket.say(Envelope::of(head).encode())?;
            again = now + AGAIN;
        }
        let left = deadline.min(again).saturating_duration_since(now);
        socket.wait(Want::Read, &bell, Some(left))?;
    }
}

impl From<proto::Status> for Status {
    fn from(told: proto::Status) -> Self {
        Self {
            name: told.name,
            epoch: told.epoch,
            uptime: Duration::from_millis(told.uptime),
            has_clients: told.has_clients,
            has_workers: told.has_workers,
            totals: told.totals.unwrap_or_default().into(),
            clients: all(told.clients),
            more_clients: told.more_clients,
            workers: all(told.workers),
            more_workers: told.more_workers,
            pylm_workers: told.pylm_workers,
            outlets: all(told.outlets),
            more_outlets: told.more_outlets,
            waits: all(told.waits),
            more_waits: told.more_waits,
        }
    }
}

fn all<T: Into<U>, U>(told: Vec<T>) -> Vec<U> {
    told.into_iter().map(T::into).collect()
}

impl From<proto::Totals> for Totals {
    fn from(told: proto::Totals) -> Self {
        Self {
            submitted: told.submitted,
            settled: told.settled,
            accepted: told.accepted,
            running: told.running,
            waiting: told.waiting,
            completed: told.completed,
            redelivered: told.redelivered,
            doubles: told.doubles,
            given_up: told.given_up,
            no_function: told.no_function,
            cancelled: told.cancelled,
            delivered: told.delivered,
            undelivered: told.undelivered,
            refused: told.refused,
            inbox_bytes: told.inbox_bytes,
            task_bytes: told.task_bytes,
            result_bytes: told.result_bytes,
            outlet_bytes: told.outlet_bytes,
        }
    }
}

impl From<proto::Client> for Client {
    fn from(told: proto::Client) -> Self {
        Self {
            session: told.session,
            connected: told.connected,
            open: told.open,
            inbox: told.inbox,
            waiting: told.waiting,
            running: told.running,
        }
    }
}

impl From<proto::Worker> for Worker {
    fn from(told: proto::Worker) -> Self {
        Self {
            name: told.name,
            session: told.session,
            connected: told.connected,
            draining: told.draining,
            given: told.given,
            credit: told.credit,
            finished: told.finished,
            average: (told.finished > 0).then(|| Duration::from_micros(told.average)),
        }
    }
}

impl From<proto::Outlet> for Outlet {
    fn from(told: proto::Outlet) -> Self {
        Self {
            topic: told.topic,
            session: told.session,
            name: told.name,
            is_client: told.is_client,
            connected: told.connected,
            kept: told.kept,
            waiting: told.waiting,
            bytes: told.bytes,
        }
    }
}

impl From<proto::Wait> for Wait {
    fn from(told: proto::Wait) -> Self {
        let why = match told.why() {
            proto::Why::NoWorker => Why::NoWorker,
            proto::Why::NoFunction => Why::NoFunction {
                function: told.function,
            },
            proto::Why::AllBusy => Why::AllBusy {
                workers: told.workers,
            },
            proto::Why::NoSubscriber => Why::NoSubscriber {
                missing: told.missing,
            },
            proto::Why::NotReading => Why::NotReading,
            proto::Why::Away => Why::Away,
            proto::Why::NoRoom => Why::NoRoom,
            proto::Why::StepShare => Why::StepShare,
            proto::Why::Unknown => Why::Unknown,
        };
        Self {
            whose: told.whose,
            is_client: told.is_client,
            messages: told.messages,
            why,
        }
    }
}

#[cfg(feature = "cli")]
fn as_seconds<S: serde::Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(time.as_secs_f64())
}

#[cfg(feature = "cli")]
fn as_seconds_or_none<S: serde::Serializer>(
    time: &Option<Duration>,
    to: S,
) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => as_seconds(time, to),
        None => to.serialize_none(),
    }
}
