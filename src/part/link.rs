//! The palm link of a component: ROUTER, binds.
//!
//! ```text
//!           ┌──────────────── LinkService: one thread, its sockets, one Post ──────────────┐
//! clients ═►│ submitted ─► LinkClients ─► router   (Pull: the pylm wire)                   │
//! workers ◄═│ tasks ◄───── LinkWorkers ◄─ router   (WorkerPush, WorkerPull: the pylm wire) │
//!         ═►│ results ───► LinkWorkers ─► router                                           │
//! clients,◄═│ kept ◄────── LinkPublisher ◄─ router   (Pub: the pylm wire)                  │
//! steps     └──────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! The same thread owns the sockets of the pylm wire. So where no hook has a say a message
//! changes no thread on its way through a master ([`short`]), whichever wires it comes and goes
//! by.

mod connections;
#[cfg(test)]
mod cost;
mod exit;
mod short;
mod thread;
mod wired;

use std::sync::Arc;

use parking_lot::Mutex;
pub(crate) use short::ShortWays;
use thread::Linking;
use wired::{PULL, WORKER_PULL, WORKER_PUSH, Wired};

use super::publish::Topics;
use super::wiring::{Bypass, Inbound, Outbound, Part, Wiring};
use super::{
    Crew, Duty, Inlet, Outlet, PubService, PullService, WorkerPullService, WorkerPushService,
};
use crate::address::{self, Purpose};
use crate::bell::Bell;
use crate::core::custody::Ledger;
use crate::core::link::{Post, PostSettings};
use crate::core::outbox::Bounds;
use crate::core::queue::Settings;
use crate::error::{Error, Result};
use crate::message::DEFAULT_MAX_MESSAGE;
use crate::socket::{Kind, Socket};

/// The palm link of a component (a ROUTER socket that binds): what palm peers use in place of
/// the five sockets of the pylm wire, and what gives them palm's guarantee.
///
/// It has up to three faces, which are parts of an [`Assembly`](crate::Assembly) each:
/// [`clients`](Self::clients) gives what clients submit; [`workers`](Self::workers) takes what
/// workers shall run, and gives what comes of it; [`publisher`](Self::publisher) takes what goes
/// to clients and to later steps. The faces also serve those peers that speak the pylm wire, at
/// the addresses of the parts that they are made with. The link itself is a part beside the
/// stream: its thread does the work of all of them.
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
///     .preset_address("worker_push_address", "WorkerPush")
///     .preset_address("worker_pull_address", "WorkerPull")
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
    short: ShortWays,
    faces: Arc<Mutex<Faces>>,
}

/// What the faces of a link leave with it when they are started.
#[derive(Default)]
struct Faces {
    submit: Option<Submit>,
    work: Option<Work>,
    publish: Option<Publish>,
}

impl Faces {
    /// Has the start of the component fail unless the link takes them over.
    fn need_their_link(of: &Arc<Mutex<Self>>, crew: &mut Crew, name: &str) {
        let (faces, component, name) = (of.clone(), crew.name().to_owned(), name.to_owned());
        crew.demand(move || {
            let Self {
                submit,
                work,
                publish,
            } = &*faces.lock();
            if submit.is_none() && work.is_none() && publish.is_none() {
                return Ok(());
            }
            let reason = format!("the link that '{name}' is a face of is no part of it");
            Err(Error::setup(&component, reason))
        });
    }
}

struct Submit {
    submitted: Option<Outlet>,
    pull: PullService,
}

struct Work {
    tasks: Option<Inlet>,
    results: Option<Outlet>,
    push: WorkerPushService,
    pull: WorkerPullService,
}

struct Publish {
    name: String,
    messages: Inlet,
    publisher: PubService,
    topics: Topics,
    bounds: Bounds,
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
            short: ShortWays::default(),
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

    /// What needs not leave the link.
    pub(crate) fn short_ways(mut self, short: ShortWays) -> Self {
        self.short = short;
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
    const WITHIN: &'static [&'static str] = &[PULL];

    fn check(&self) -> Result<()> {
        self.pull.check()
    }

    /// The link's thread does the work.
    fn spawn(self, crew: &mut Crew, wiring: Wiring) -> Result<()> {
        Faces::need_their_link(&self.faces, crew, &wiring.name);
        self.faces.lock().submit = Some(Submit {
            submitted: wiring.outlet,
            pull: self.pull,
        });
        Ok(())
    }
}

impl Inbound for LinkClients {}

impl Part for LinkWorkers {
    const GIVES: bool = true;
    const TAKES: bool = true;
    const ANSWERS: bool = true;
    const BUNDLES: bool = true;
    const WITHIN: &'static [&'static str] = &[WORKER_PUSH, WORKER_PULL];

    fn check(&self) -> Result<()> {
        self.push.check()?;
        self.pull.check()
    }

    fn bell(&self) -> Option<Arc<Bell>> {
        Some(self.bell.clone())
    }

    /// The link's thread does the work.
    fn spawn(self, crew: &mut Crew, wiring: Wiring) -> Result<()> {
        Faces::need_their_link(&self.faces, crew, &wiring.name);
        self.faces.lock().work = Some(Work {
            tasks: wiring.inlet,
            results: wiring.outlet,
            push: self.push,
            pull: self.pull,
        });
        Ok(())
    }
}

impl Outbound for LinkWorkers {}

impl Part for LinkPublisher {
    const GIVES: bool = false;
    const TAKES: bool = true;
    const ANSWERS: bool = true;
    const BUNDLES: bool = true;

    fn check(&self) -> Result<()> {
        self.publisher.check()
    }

    fn bell(&self) -> Option<Arc<Bell>> {
        Some(self.bell.clone())
    }

    /// The link's thread does the work.
    fn spawn(self, crew: &mut Crew, wiring: Wiring) -> Result<()> {
        let Some(messages) = wiring.inlet else {
            return Ok(());
        };
        Faces::need_their_link(&self.faces, crew, &wiring.name);
        let mut publisher = self.publisher;
        let (topics, bounds) = publisher.beside();
        self.faces.lock().publish = Some(Publish {
            name: wiring.name,
            messages,
            publisher,
            topics,
            bounds,
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
        let faces = std::mem::take(&mut *self.faces.lock());
        let Some(publish) = faces.publish else {
            let reason = "a link needs a face for what goes out: `publisher`";
            return Err(Error::setup(crew.name(), reason));
        };
        let (submit, work, bell) = (faces.submit, faces.work, self.bell);
        let stalled = crew.stalled().clone();
        crew.spawn(&wiring.name, Duty::Carries, move |context| {
            context.wake_by(&bell);
            let mut socket = Socket::open(Kind::LinkServer, &context.part, self.max_message)?;
            let bound = socket.bind(&self.address)?;
            socket.attend();
            let wired = Wired::open(
                context,
                &bound,
                submit.as_ref().map(|submit| &submit.pull),
                work.as_ref().map(|work| (&work.push, &work.pull)),
                (&publish.name, &publish.publisher),
            )?;
            context.ready(Some(bound))?;
            let settings = PostSettings {
                epoch: uuid::Uuid::new_v4().to_string(),
                hold: publish.bounds.bytes,
                subscribers: publish.bounds.subscribers,
                patience: publish.bounds.patience,
                submits: submit.is_some(),
                max_message: self.max_message,
                stalled,
                workers: work.as_ref().map(|_| Settings {
                    max_attempts: self.max_attempts,
                    ..Settings::default()
                }),
            };
            let rung = bell.clone();
            let post = Post::new(settings, Ledger::new(move || rung.announce()));
            let submitted = submit.and_then(|submit| submit.submitted);
            let sockets = (socket, self.max_message, wired);
            let faces = (submitted, work, publish);
            let mut linking = Linking::new(context, sockets, post, self.short, faces, &bell);
            linking.run(&bell)
        });
        Ok(())
    }
}

impl Bypass for LinkService {}

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
