//! The palm link of a component: ROUTER, binds.
//!
//! ```text
//!           ┌──────────────── LinkService: one thread, one ROUTER, one Post ───────────────┐
//! clients ═►│ submitted ─► LinkClients ─► router                                           │
//! workers ◄═│ tasks ◄───── LinkWorkers ◄─ router   (WorkerPush, WorkerPull: the pylm wire) │
//!         ═►│ results ───► LinkWorkers ─► router                                           │
//! clients,◄═│ kept ◄────── LinkPublisher ◄─ router   (Pub: the pylm wire)                  │
//! steps     └──────────────────────────────────────────────────────────────────────────────┘
//! ```

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use parking_lot::Mutex;

use super::channel::channel_ringing;
use super::dealer::accept;
use super::publish::{BesideLink, Topics};
use super::wiring::{Bypass, Inbound, Outbound, Part, Wiring};
use super::{
    Batch, Context, Crew, Duty, Inlet, NotSent, Outlet, Parcel, PubService, PullService, Received,
    WorkerPullService, WorkerPushService,
};
use crate::address::{self, Purpose};
use crate::bell::Bell;
use crate::core::complaints::Complaints;
use crate::core::custody::Ledger;
use crate::core::link::{Conn, Made, Post, PostSettings};
use crate::core::outbox::{Bounds, Topic};
use crate::core::queue::Settings;
use crate::error::{Error, Result};
use crate::message::DEFAULT_MAX_MESSAGE;
use crate::message::link::{Envelope, Head};
use crate::message::status::Status;
use crate::socket::{Kind, Routed, Socket, Want};

/// How many envelopes are read from the socket before others have their turn, and when they have
/// it before that: when so many messages were in them.
const AT_ONCE: usize = 64;
const MESSAGES_AT_ONCE: usize = 512;

/// How many connections that are no peers may be remembered.
const STRANGERS: usize = 1_024;

/// How many batches are taken from the component before others have their turn: all that a
/// channel holds. What clients submit is handed on one batch at a time: so what is between the
/// clients' turns and those of the queue, in the order in which it came, stays little.
const BATCHES: usize = 8;

/// How often one peer is told the status, and how many are in that time: answers are long, and
/// nobody may have them pile up.
const ASKED: Duration = Duration::from_millis(100);
const ASKERS: usize = 16;

/// The palm link of a component (a ROUTER socket that binds): what palm peers use in place of
/// the five sockets of the pylm wire, and what gives them palm's guarantee.
///
/// It has up to three faces, which are parts of an [`Assembly`](crate::Assembly) each:
/// [`clients`](Self::clients) gives what clients submit; [`workers`](Self::workers) takes what
/// workers shall run, and gives what comes of it; [`publisher`](Self::publisher) takes what goes
/// to clients and to later steps. The faces also serve those peers that speak the pylm wire, by
/// the parts that they are made with. The link itself is a part beside the stream.
///
/// ```
/// use palm::part::{LinkService, PubService, PullService, WorkerPullService, WorkerPushService};
/// use palm::{Assembly, Client, Worker};
///
/// let free = "tcp://127.0.0.1:*";
/// let link = LinkService::new(free)?;
/// let push = WorkerPushService::new(free);
/// let master = Assembly::new("server")
///     .inbound("Clients", link.clients(PullService::new(free)), "Workers")
///     .outbound("Workers", link.workers(push, WorkerPullService::new(free)))
///     .replies("Workers", "Pub")
///     .outbound("Pub", link.publisher(PubService::new(free)))
///     .bypass("Link", link)
///     .cache("Cache", free)
///     .preset("name", "server")
///     .preset_address("pull_address", "Pull")
///     .preset_address("pub_address", "Pub")
///     .preset_address("link_address", "Link")
///     .start()?;
///
/// let db = &master.addresses().db;
/// let worker = Worker::new(db).function("twice", |call| Ok(call.payload().repeat(2))).start()?;
/// let client = Client::connect("server", db)?;
/// assert_eq!(client.eval("server.twice", "ab")?, b"abab");
/// # Ok::<(), palm::Error>(())
/// ```
pub struct LinkService {
    address: String,
    max_message: usize,
    max_attempts: u32,
    bell: Arc<Bell>,
    faces: Arc<Mutex<Faces>>,
}

/// What the faces of a link leave with it when they are started.
#[derive(Default)]
struct Faces {
    submitted: Option<Outlet>,
    work: Option<Work>,
    publish: Option<Publish>,
}

struct Work {
    tasks: Option<Inlet>,
    results: Option<Outlet>,
    to_wire: Outlet,
    from_wire: Inlet,
    crowd: Receiver<(usize, bool)>,
}

struct Publish {
    messages: Inlet,
    to_wire: Outlet,
    topics: Topics,
    bounds: Bounds,
    address: Sender<String>,
    subscribers: Receiver<(String, usize)>,
}

/// What clients submit, over a [link](LinkService::clients) and on the pylm wire.
pub struct LinkClients {
    faces: Arc<Mutex<Faces>>,
    pull: PullService,
}

/// What workers do, over a [link](LinkService::workers) and on the pylm wire.
pub struct LinkWorkers {
    faces: Arc<Mutex<Faces>>,
    bell: Arc<Bell>,
    push: WorkerPushService,
    pull: WorkerPullService,
}

/// What goes out, over a [link](LinkService::publisher) and on the pylm wire.
pub struct LinkPublisher {
    faces: Arc<Mutex<Faces>>,
    bell: Arc<Bell>,
    publisher: PubService,
}

impl LinkService {
    /// How many workers may die of a message unless told otherwise: 5.
    pub const DEFAULT_ATTEMPTS: u32 = 5;

    /// A link that will bind this address.
    ///
    /// # Errors
    /// [`Error::System`] when the process has no file descriptors left.
    pub fn new(address: impl Into<String>) -> Result<Self> {
        Ok(Self {
            address: address.into(),
            max_message: DEFAULT_MAX_MESSAGE,
            max_attempts: Self::DEFAULT_ATTEMPTS,
            bell: Bell::new()?,
            faces: Arc::default(),
        })
    }

    /// The largest payload to take, in bytes: 64 MiB by default.
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.max_message = bytes;
        self
    }

    /// How many workers may end while they run a message before it is given up, and its client
    /// told. 5 by default, and at least 1.
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = attempts.max(1);
        self
    }

    /// The face for clients: it gives what they submit. Clients on the pylm wire are served by
    /// this part, which is named `Pull`.
    pub fn clients(&self, pull: PullService) -> LinkClients {
        LinkClients {
            faces: self.faces.clone(),
            pull,
        }
    }

    /// The face for workers: it takes what they shall run, and gives what comes of it. Workers
    /// on the pylm wire are served by these two, which are named `WorkerPush` and `WorkerPull`.
    pub fn workers(&self, push: WorkerPushService, pull: WorkerPullService) -> LinkWorkers {
        LinkWorkers {
            faces: self.faces.clone(),
            bell: self.bell.clone(),
            push,
            pull,
        }
    }

    /// The face for clients and later steps: it takes what goes to them. Those on the pylm wire
    /// are served by this publisher, whose settings are those of the link, too.
    pub fn publisher(&self, publisher: PubService) -> LinkPublisher {
        LinkPublisher {
            faces: self.faces.clone(),
            bell: self.bell.clone(),
            publisher,
        }
    }
}

impl Part for LinkClients {
    const GIVES: bool = true;
    const TAKES: bool = false;
    const WITHIN: &'static [&'static str] = &["Pull"];

    fn check(&self) -> Result<()> {
        self.pull.check()
    }

    /// Starts the part for the pylm wire. The link's own thread does the rest.
    fn spawn(self, crew: &mut Crew, wiring: Wiring) -> Result<()> {
        self.faces.lock().submitted = wiring.outlet.clone();
        self.pull.spawn(
            crew,
            Wiring {
                outlet: wiring.outlet,
                ..Wiring::new("Pull", wiring.store)
            },
        )
    }
}

impl Inbound for LinkClients {}

impl Part for LinkWorkers {
    const GIVES: bool = true;
    const TAKES: bool = true;
    const ANSWERS: bool = true;
    const WITHIN: &'static [&'static str] = &["WorkerPush", "WorkerPull"];

    fn check(&self) -> Result<()> {
        self.push.check()?;
        self.pull.check()
    }

    fn bell(&self) -> Option<Arc<Bell>> {
        Some(self.bell.clone())
    }

    /// Starts the parts for the pylm wire. The link's own thread does the rest.
    fn spawn(self, crew: &mut Crew, wiring: Wiring) -> Result<()> {
        let (tell, crowd) = crossbeam_channel::unbounded();
        let bell = self.bell.clone();
        let push = self.push.with_crowd(
            "WorkerPush",
            Box::new(move |peers, gone| {
                // A link that is gone needs to hear nothing.
                let _ = tell.send((peers, gone));
                bell.announce();
            }),
        );
        let (to_wire, tasks) = super::channel_of(1)?;
        push.spawn(crew, Some(tasks));
        let (results, from_wire) = channel_ringing(self.bell.clone());
        self.pull.spawn(
            crew,
            Wiring {
                outlet: Some(results),
                ..Wiring::new("WorkerPull", wiring.store.clone())
            },
        )?;
        self.faces.lock().work = Some(Work {
            tasks: wiring.inlet,
            results: wiring.outlet,
            to_wire,
            from_wire,
            crowd,
        });
        Ok(())
    }
}

impl Outbound for LinkWorkers {}

impl Part for LinkPublisher {
    const GIVES: bool = false;
    const TAKES: bool = true;
    const ANSWERS: bool = true;

    fn check(&self) -> Result<()> {
        self.publisher.check()
    }

    fn bell(&self) -> Option<Arc<Bell>> {
        Some(self.bell.clone())
    }

    /// Starts the part for the pylm wire. The link's own thread does the rest.
    fn spawn(self, crew: &mut Crew, wiring: Wiring) -> Result<()> {
        let Some(messages) = wiring.inlet else {
            return Ok(());
        };
        let mut publisher = self.publisher;
        let (tell, subscribers) = crossbeam_channel::unbounded();
        let (say_where, address) = crossbeam_channel::bounded(1);
        let bell = self.bell.clone();
        let (topics, bounds) = publisher.beside(BesideLink {
            address,
            subscribers: Box::new(move |prefix, count| {
                let _ = tell.send((prefix.to_owned(), count));
                bell.announce();
            }),
        });
        let (to_wire, inlet) = super::channel()?;
        publisher.spawn(
            crew,
            Wiring {
                inlet: Some(inlet),
                ..Wiring::new(&wiring.name, wiring.store.clone())
            },
        )?;
        self.faces.lock().publish = Some(Publish {
            messages,
            to_wire,
            topics,
            bounds,
            address: say_where,
            subscribers,
        });
        Ok(())
    }
}

impl Outbound for LinkPublisher {}

impl Part for LinkService {
    const GIVES: bool = false;
    const TAKES: bool = false;

    fn check(&self) -> Result<()> {
        address::check(&self.address, Purpose::Bind)
    }

    /// Starts the link's thread. By then its faces are started.
    fn spawn(self, crew: &mut Crew, wiring: Wiring) -> Result<()> {
        let Faces {
            submitted,
            work,
            publish,
        } = std::mem::take(&mut *self.faces.lock());
        let Some(publish) = publish else {
            let reason = "a link needs a face for what goes out: `publisher`";
            return Err(Error::setup(crew.name(), reason));
        };
        let bell = self.bell;
        crew.spawn(&wiring.name, Duty::Carries, move |context| {
            context.wake_by(&bell);
            let mut socket = Socket::open(Kind::LinkServer, &context.part, self.max_message)?;
            let bound = socket.bind(&self.address)?;
            // Nobody hears it only if the publisher could not be started.
            let _ = publish.address.send(bound.clone());
            context.ready(Some(bound))?;
            let settings = PostSettings {
                epoch: uuid::Uuid::new_v4().to_string(),
                hold: publish.bounds.bytes,
                subscribers: publish.bounds.subscribers,
                patience: publish.bounds.patience,
                submits: submitted.is_some(),
                max_message: self.max_message,
                workers: work.as_ref().map(|_| Settings {
                    max_attempts: self.max_attempts,
                    ..Settings::default()
                }),
            };
            let rung = bell.clone();
            let ledger = Ledger::new(move || rung.announce());
            let rings = submitted.iter().chain(work.iter().flat_map(|work| {
                [Some(&work.to_wire), work.results.as_ref()]
                    .into_iter()
                    .flatten()
            }));
            rings
                .chain([&publish.to_wire])
                .for_each(|outlet| outlet.rings_for_room(&bell));
            let (results, tasks, to_workers, from_workers, crowd) = match work {
                Some(work) => (
                    work.results,
                    work.tasks,
                    Some(work.to_wire),
                    Some(work.from_wire),
                    Some(work.crowd),
                ),
                None => (None, None, None, None, None),
            };
            let mut linking = Linking {
                context,
                socket,
                max_message: self.max_message,
                post: Post::new(settings, ledger),
                peers: Connections::default(),
                since: Instant::now(),
                asked: Vec::new(),
                complaints: Complaints::default(),
                parts: Vec::new(),
                submitted: Exit::new(submitted),
                tasks,
                results: Exit::new(results),
                to_workers: Exit::new(to_workers),
                from_workers,
                crowd,
                messages: Some(publish.messages),
                topics: publish.topics,
                to_publisher: Exit::new(Some(publish.to_wire)),
                subscribers: publish.subscribers,
            };
            linking.run(&bell)
        });
        Ok(())
    }
}

impl Bypass for LinkService {}

/// The connections by their numbers, and by what libzmq calls them.
#[derive(Default)]
struct Connections {
    numbers: HashMap<Vec<u8>, Conn>,
    names: HashMap<Conn, Vec<u8>>,
    next: Conn,
    /// So many may be remembered before those are looked for that are gone.
    most: usize,
}

impl Connections {
    /// The number of a connection. Those of which `is_known` is not true are forgotten when there
    /// are many: they get another if they say something more.
    fn number(&mut self, name: &[u8], is_known: impl Fn(Conn) -> bool) -> Conn {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        if self.names.len() >= self.most {
            self.names.retain(|number, _| is_known(*number));
            self.numbers.retain(|_, number| is_known(*number));
            self.most = STRANGERS + 2 * self.names.len();
        }
        self.next += 1;
        self.numbers.insert(name.to_vec(), self.next);
        self.names.insert(self.next, name.to_vec());
        self.next
    }

    fn forget(&mut self, name: &[u8]) {
        if let Some(number) = self.numbers.remove(name) {
            self.names.remove(&number);
        }
    }

    fn remove(&mut self, number: Conn) {
        if let Some(name) = self.names.remove(&number) {
            self.numbers.remove(&name);
        }
    }
}

/// A way out of the link's thread, and what waits for room there.
struct Exit {
    outlet: Option<Outlet>,
    waiting: Batch,
}

impl Exit {
    fn new(outlet: Option<Outlet>) -> Self {
        Self {
            outlet,
            waiting: Batch::new(),
        }
    }

    /// Hands on what `next` gives, so many batches at the most, while there is room. Whether
    /// anything was; an error if nobody takes it.
    fn feed(
        &mut self,
        batches: usize,
        mut next: impl FnMut() -> Option<Parcel>,
    ) -> Result<bool, ()> {
        let Some(outlet) = &self.outlet else {
            return Ok(false);
        };
        let mut moved = false;
        for _ in 0..batches {
            while !self.waiting.is_full() {
                let Some(parcel) = next() else { break };
                self.waiting.push(parcel);
            }
            if self.waiting.is_empty() {
                return Ok(moved);
            }
            match outlet.try_send(std::mem::take(&mut self.waiting)) {
                Ok(()) => moved = true,
                Err(NotSent::Full(batch)) => {
                    self.waiting = batch;
                    return Ok(moved);
                }
                Err(NotSent::Closed(batch)) => {
                    self.waiting = batch;
                    self.outlet = None;
                    return Err(());
                }
            }
        }
        Ok(moved)
    }

    fn has_room(&self) -> bool {
        self.outlet.as_ref().is_some_and(Outlet::has_room)
    }

    fn is_blocked(&self) -> bool {
        !self.waiting.is_empty()
    }
}

struct Linking<'a> {
    context: &'a Context,
    socket: Socket,
    max_message: usize,
    post: Post,
    peers: Connections,
    since: Instant,
    /// Who was told the status of late.
    asked: Vec<(Vec<u8>, Instant)>,
    complaints: Complaints,
    parts: Vec<Vec<u8>>,
    submitted: Exit,
    tasks: Option<Inlet>,
    results: Exit,
    to_workers: Exit,
    from_workers: Option<Inlet>,
    crowd: Option<Receiver<(usize, bool)>>,
    messages: Option<Inlet>,
    topics: Topics,
    to_publisher: Exit,
    subscribers: Receiver<(String, usize)>,
}

impl Linking<'_> {
    fn run(&mut self, bell: &Bell) -> Result<()> {
        let ended = self.serve(bell);
        self.post.leave();
        self.say(Instant::now())?;
        let lost = [
            &self.submitted,
            &self.results,
            &self.to_workers,
            &self.to_publisher,
        ];
        self.context
            .say_lost(lost.iter().map(|exit| exit.waiting.len()).sum());
        match ended? {
            true => Ok(()),
            false => self.context.deserted("nobody takes its messages any more"),
        }
    }

    /// Until everybody ends, or a stop has let out what is inside. False when nobody takes its
    /// messages any more.
    fn serve(&mut self, bell: &Bell) -> Result<bool> {
        while !self.context.hard.is_raised() {
            bell.take_news();
            let mut more = self.receive()?;
            more |= self.take_in();
            self.post.tick(Instant::now());
            match self.hand_on() {
                Ok(moved) => more |= moved,
                Err(()) => return Ok(false),
            }
            more |= self.say(Instant::now())?;
            if self.context.soft.is_raised() && self.wind_up() {
                break;
            }
            if !more {
                self.sleep(bell)?;
            }
        }
        Ok(true)
    }

    /// Reads what peers have said. Whether there may be more.
    fn receive(&mut self) -> Result<bool> {
        let mut messages = 0;
        for _ in 0..AT_ONCE {
            if messages >= MESSAGES_AT_ONCE {
                break;
            }
            if !self.socket.try_recv(&mut self.parts)? {
                return Ok(false);
            }
            let Some((name, parts)) = self.parts.split_first_mut() else {
                continue;
            };
            let name = std::mem::take(name);
            match accept(parts, self.max_message, &self.context.component) {
                Ok((head, _)) if head.ask_status => self.tell_status(name)?,
                Ok((head, frames)) => {
                    let conn = self.peers.number(&name, |conn| self.post.knows(conn));
                    messages += frames.len();
                    self.post.receive(conn, head, frames, Instant::now());
                }
                Err(error) => {
                    self.peers.forget(&name);
                    self.post.note_refused();
                    let peer = self.socket.peer();
                    self.context.refuse(&mut self.complaints, &peer, error);
                }
            }
        }
        Ok(true)
    }

    /// Tells somebody how the component is, unless it was told just now.
    fn tell_status(&mut self, name: Vec<u8>) -> Result<()> {
        let now = Instant::now();
        self.asked
            .retain(|(_, at)| now.saturating_duration_since(*at) < ASKED);
        if self.asked.len() >= ASKERS || self.asked.iter().any(|(asker, _)| *asker == name) {
            return Ok(());
        }
        let status = Status {
            name: self.context.component.clone(),
            uptime: now.saturating_duration_since(self.since).as_millis() as u64,
            ..self.post.status()
        };
        let head = Head {
            status: Some(Box::new(status)),
            ..Head::default()
        };
        let frames = Vec::new();
        // One who is gone by now needs no answer.
        self.socket
            .say_to(&name, Envelope { head, frames }.encode())?;
        self.asked.push((name, now));
        Ok(())
    }

    /// Takes what the component and the parts of the pylm wire have. Whether there was any.
    fn take_in(&mut self) -> bool {
        let now = Instant::now();
        let mut moved = false;
        if let Some(crowd) = &self.crowd
            && let Some(tasks) = self.post.tasks()
        {
            for (peers, gone) in crowd.try_iter() {
                tasks.set_wired(peers, gone, now);
                moved = true;
            }
        }
        for (prefix, count) in self.subscribers.try_iter() {
            self.post.set_wire_subscribers(&prefix, count);
            moved = true;
        }
        for _ in 0..BATCHES {
            let taken = !self.post.is_busy()
                && take_from(&mut self.tasks, |parcel| {
                    let Parcel { frame, ticket, .. } = parcel;
                    self.post.work(Made { frame, ticket }, now);
                });
            moved |= taken;
            if !taken {
                break;
            }
        }
        if let Some(tasks) = self.post.tasks() {
            moved |= take_from(&mut self.from_workers, |parcel| {
                tasks.wired(parcel.frame, now);
            });
        }
        for _ in 0..BATCHES {
            if self.post.is_full() {
                break;
            }
            let (post, topics, name) = (&mut self.post, &mut self.topics, &self.context.component);
            let taken = take_from(&mut self.messages, |mut parcel| {
                let ticket = parcel.ticket.take();
                let (topic, frame) = topics.address(name, parcel);
                let made = Made { frame, ticket };
                match topic {
                    Topic::Client(topic) => post.give_client(topic, made, now),
                    Topic::Chosen(topic) if topic.is_empty() => post.give_nowhere(made),
                    Topic::Chosen(topic) => post.give_step(&topic, made, now),
                }
            });
            moved |= taken;
            if !taken {
                break;
            }
        }
        moved
    }

    /// Hands on what there is for the component and for the parts of the pylm wire. Whether
    /// there was any.
    fn hand_on(&mut self) -> Result<bool, ()> {
        let post = &mut self.post;
        let mut moved = false;
        moved |= self.results.feed(BATCHES, || {
            let Made { frame, ticket } = post.next_result()?;
            Some(Parcel {
                topic: None,
                frame,
                ticket,
            })
        })?;
        moved |= self.submitted.feed(1, || {
            let mut item = post.next_submitted()?;
            item.frame.fill_cache();
            Some(Parcel {
                topic: None,
                frame: item.frame,
                ticket: Some(item.ticket),
            })
        })?;
        moved |= self.to_workers.feed(BATCHES, || {
            let frame = post.tasks()?.next_wired()?;
            Some(frame.into())
        })?;
        moved |= self.to_publisher.feed(BATCHES, || {
            let (topic, frame) = post.next_published()?;
            Some(Parcel::new(Some(topic), frame))
        })?;
        Ok(moved)
    }

    /// Says what is to be said. Whether somebody turned out to be gone.
    fn say(&mut self, now: Instant) -> Result<bool> {
        let mut gone = false;
        for (conn, envelope) in self.post.take(now) {
            let Some(name) = self.peers.names.get(&conn) else {
                continue;
            };
            match self.socket.say_to(name, envelope.encode())? {
                Routed::Sent => {}
                Routed::Full | Routed::Gone => {
                    self.peers.remove(conn);
                    self.post.unreachable(conn, now);
                    gone = true;
                }
            }
        }
        Ok(gone)
    }

    /// After a stop: takes nothing new, and lets go of each way out when nothing can come for
    /// it any more. Whether that is all.
    fn wind_up(&mut self) -> bool {
        if !self.submitted.is_blocked() {
            self.submitted.outlet = None;
        }
        let works = !self.post.is_workless() || self.tasks.is_some();
        if !works && !self.results.is_blocked() {
            self.results.outlet = None;
            self.to_workers.outlet = None;
        }
        self.messages.is_none() && self.post.is_idle() && !self.to_publisher.is_blocked()
    }

    fn sleep(&self, bell: &Bell) -> Result<()> {
        let now = Instant::now();
        let until = self.post.deadline(now);
        let left = until.map(|until| until.saturating_duration_since(now));
        let is_ready = |inlet: &Option<Inlet>| inlet.as_ref().is_some_and(Inlet::is_ready);
        let ready = || {
            bell.has_news()
                || self.context.hard.is_raised()
                || (!self.post.is_busy() && is_ready(&self.tasks))
                || is_ready(&self.from_workers)
                || (!self.post.is_full() && is_ready(&self.messages))
                || self
                    .exits()
                    .any(|exit| exit.is_blocked() && exit.has_room())
        };
        bell.sleep(ready, || self.socket.wait(Want::Read, bell, left))
    }

    fn exits(&self) -> impl Iterator<Item = &Exit> {
        [
            &self.submitted,
            &self.results,
            &self.to_workers,
            &self.to_publisher,
        ]
        .into_iter()
    }
}

/// Takes a batch from an inlet. Whether there was one; at its end the inlet is let go.
fn take_from(inlet: &mut Option<Inlet>, take: impl FnMut(Parcel)) -> bool {
    match inlet.as_ref().map(Inlet::try_recv) {
        Some(Received::Batch(batch)) => {
            batch.into_iter().for_each(take);
            true
        }
        Some(Received::End) => {
            *inlet = None;
            true
        }
        Some(Received::Nothing) | None => false,
    }
}

macro_rules! debug_as_name {
    ($($part:ident),*) => {$(
        impl std::fmt::Debug for $part {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($part)).finish_non_exhaustive()
            }
        }
    )*};
}

debug_as_name!(LinkService, LinkClients, LinkWorkers, LinkPublisher);
