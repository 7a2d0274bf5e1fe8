//! Components put together from parts.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use super::channel::channel;
use super::route::NamedWay;
use super::router::{Router, Way};
use super::wiring::{Bypass, Inbound, Outbound, Part, Wiring};
use super::{CacheService, Crew, Inlet, Outlet, Route, Running};
use crate::address::Addresses;
use crate::error::{Error, Result};
use crate::message::DEFAULT_MAX_MESSAGE;
use crate::store::{Memory, SharedStore, Store};

/// A component that is put together from parts, as all the templates are. (pylm's
/// `ServerTemplate`.)
///
/// # Building
/// [`Assembly::new`] with a name. Then parts, each under a name of its own: those that messages
/// come from ([`inbound`](Self::inbound)), each with the [`Route`] of its messages; those that
/// messages go to ([`outbound`](Self::outbound)), with a route for what they give back if they
/// do ([`replies`](Self::replies)); and those beside the stream ([`bypass`](Self::bypass),
/// [`cache`](Self::cache)). Then the keys by which peers configure themselves
/// ([`preset`](Self::preset), [`preset_address`](Self::preset_address)).
///
/// # Lifecycle
/// [`start`](Self::start) returns when all parts are ready, or with the error of an assembly
/// that is wrong, which says what is. It runs as any template does.
///
/// A master is this, and nothing more:
///
/// ```
/// use palm::part::{PubService, PullService, WorkerPullService, WorkerPushService};
/// use palm::{Assembly, Client, Worker};
///
/// let free = "tcp://127.0.0.1:*";
/// let master = Assembly::new("server")
///     .inbound("Pull", PullService::new(free), "WorkerPush")
///     .inbound("WorkerPull", WorkerPullService::new(free), "Pub")
///     .outbound("WorkerPush", WorkerPushService::new(free))
///     .outbound("Pub", PubService::new(free))
///     .cache("Cache", free)
///     .preset("name", "server")
///     .preset_address("pull_address", "Pull")
///     .preset_address("pub_address", "Pub")
///     .preset_address("worker_pull_address", "WorkerPull")
///     .preset_address("worker_push_address", "WorkerPush")
///     .start()?;
///
/// let db = &master.addresses().db;
/// let worker = Worker::new(db).function("twice", |call| Ok(call.payload().repeat(2))).start()?;
/// let client = Client::connect("server", db)?;
/// assert_eq!(client.eval("server.twice", "ab")?, b"abab");
/// # Ok::<(), palm::Error>(())
/// ```
pub struct Assembly {
    name: String,
    store: SharedStore,
    parts: Vec<Entry>,
    replies: Vec<(String, Route)>,
    presets: Vec<Preset>,
    max_message: usize,
}

/// A part of an assembly that is not started yet.
struct Entry {
    name: String,
    takes: bool,
    gives: bool,
    most: usize,
    role: Role,
    /// Where its messages go, if anywhere.
    route: Option<Route>,
    /// What could be checked of it at once.
    checked: Result<()>,
    body: Body,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Inbound,
    Outbound,
    Bypass,
}

/// Starts a part.
type Spawn = Box<dyn FnOnce(&mut Crew, Wiring) -> Result<()> + Send>;

enum Body {
    Part(Spawn),
    /// The end of a channel whose other end somebody else has.
    Inlet(Inlet),
    Outlet(Outlet),
}

impl Entry {
    fn of<P: Part>(name: String, role: Role, part: P) -> Self {
        Self {
            name,
            takes: P::TAKES,
            gives: P::GIVES,
            most: part.most(),
            role,
            route: None,
            checked: part.check(),
            body: Body::Part(Box::new(move |crew, wiring| part.spawn(crew, wiring))),
        }
    }

    fn end(name: String, role: Role, body: Body) -> Self {
        Self {
            name,
            takes: role == Role::Outbound,
            gives: role == Role::Inbound,
            most: usize::MAX,
            role,
            route: None,
            checked: Ok(()),
            body,
        }
    }
}

struct Preset {
    key: String,
    value: Value,
}

enum Value {
    Bytes(Vec<u8>),
    /// What the part of this name bound.
    AddressOf(String),
}

impl Assembly {
    /// A component of this name, without parts.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            store: Arc::new(Memory::new()),
            parts: Vec::new(),
            replies: Vec::new(),
            presets: Vec::new(),
            max_message: DEFAULT_MAX_MESSAGE,
        }
    }

    /// Adds a part that messages come from, and where they go.
    pub fn inbound<P: Inbound>(
        self,
        name: impl Into<String>,
        part: P,
        route: impl Into<Route>,
    ) -> Self {
        let entry = Entry::of(name.into(), Role::Inbound, part);
        self.add(entry, Some(route.into()))
    }

    /// Adds a part that messages go to: routes name it.
    pub fn outbound<P: Outbound>(self, name: impl Into<String>, part: P) -> Self {
        self.add(Entry::of(name.into(), Role::Outbound, part), None)
    }

    /// Where that goes which an outbound part gives back. Without a route it is dropped.
    pub fn replies(mut self, part: impl Into<String>, route: impl Into<Route>) -> Self {
        self.replies.push((part.into(), route.into()));
        self
    }

    /// Adds a part beside the stream of messages.
    pub fn bypass<P: Bypass>(self, name: impl Into<String>, part: P) -> Self {
        self.add(Entry::of(name.into(), Role::Bypass, part), None)
    }

    /// Adds a [cache service](CacheService) for this component's store.
    pub fn cache(self, name: impl Into<String>, address: impl Into<String>) -> Self {
        let service = CacheService::new(address, self.store.clone()).max_message(self.max_message);
        self.bypass(name, service)
    }

    /// Adds the end of a [channel](super::channel()) as a source of messages: whoever has the
    /// other end feeds them in. A stop waits for that end to be dropped, for 0.25 s at most.
    pub fn inlet(self, name: impl Into<String>, inlet: Inlet, route: impl Into<Route>) -> Self {
        let entry = Entry::end(name.into(), Role::Inbound, Body::Inlet(inlet));
        self.add(entry, Some(route.into()))
    }

    /// Adds the end of a [channel](super::channel()) as something that messages go to: whoever
    /// has the other end takes them out. Routes to it wait while it is full.
    pub fn outlet(self, name: impl Into<String>, outlet: Outlet) -> Self {
        let entry = Entry::end(name.into(), Role::Outbound, Body::Outlet(outlet));
        self.add(entry, None)
    }

    fn add(mut self, entry: Entry, route: Option<Route>) -> Self {
        self.parts.push(Entry { route, ..entry });
        self
    }

    /// The store of its keys: by default one in memory. Before [`cache`](Self::cache).
    pub fn store(mut self, store: SharedStore) -> Self {
        self.store = store;
        self
    }

    /// The largest value that its cache takes, in bytes: 64 MiB by default. Before
    /// [`cache`](Self::cache).
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.max_message = bytes;
        self
    }

    /// Sets a key of its store before any peer can ask.
    pub fn preset(mut self, key: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.presets.push(Preset {
            key: key.into(),
            value: Value::Bytes(value.into()),
        });
        self
    }

    /// Sets a key of its store to the address that one of its parts has bound.
    pub fn preset_address(mut self, key: impl Into<String>, part: impl Into<String>) -> Self {
        self.presets.push(Preset {
            key: key.into(),
            value: Value::AddressOf(part.into()),
        });
        self
    }

    /// Starts it. Returns when all parts are ready.
    ///
    /// # Errors
    /// [`Error::Setup`] when it is put together wrongly: a name that is none, two parts of one
    /// name, no inbound part, a route to a part that there is not or that takes nothing, an
    /// outbound part that nothing leads to. [`Error::Address`] or [`Error::Bind`] for an address
    /// that is malformed, in use or not to be bound; [`Error::Store`] when the store cannot be
    /// written.
    pub fn start(mut self) -> Result<Running> {
        self.join_replies()?;
        self.check()?;
        let reached: HashSet<String> = self.ways().map(|way| way.part.clone()).collect();
        let mut crew = Crew::new(&self.name);
        let mut router = Router::default();
        let mut exits = HashMap::new();
        let mut lines = Vec::new();
        for Entry {
            name,
            most,
            route,
            body,
            ..
        } in self.parts
        {
            match body {
                Body::Inlet(inlet) => lines.extend(route.map(|route| (name, inlet, route))),
                Body::Outlet(outlet) => {
                    exits.insert(name.clone(), router.exit(&name, outlet, most));
                }
                Body::Part(spawn) => {
                    let mut wiring = Wiring::new(&name, self.store.clone());
                    if let Some(route) = route {
                        let (outlet, inlet) = channel()?;
                        wiring.outlet = Some(outlet);
                        lines.push((name.clone(), inlet, route));
                    }
                    if reached.contains(&name) {
                        let (outlet, inlet) = channel()?;
                        wiring.inlet = Some(inlet);
                        exits.insert(name.clone(), router.exit(&name, outlet, most));
                    }
                    spawn(&mut crew, wiring)?;
                }
            }
        }
        for (name, inlet, route) in lines {
            let ways = route.ways.iter().filter_map(|way| {
                let exit = *exits.get(&way.part)?;
                Some(Way {
                    exit,
                    waits: way.waits,
                })
            });
            let ways = ways.collect();
            router.route(&name, inlet, ways, route.into_hook(&self.name));
        }
        router.spawn(&mut crew);
        crew.start(|bound| {
            preset(&self.presets, &*self.store, bound)?;
            Ok(addresses(bound))
        })
    }

    /// Gives the outbound parts the routes of what they give back.
    fn join_replies(&mut self) -> Result<()> {
        for (part, route) in std::mem::take(&mut self.replies) {
            let entry = self.parts.iter_mut().find(|entry| entry.name == part);
            match entry {
                Some(entry) if entry.role == Role::Outbound && entry.gives => {
                    entry.route = Some(route);
                }
                Some(_) => {
                    return Err(self.wrong(format!("'{part}' gives nothing back to be routed")));
                }
                None => return Err(self.wrong(format!("there is no part '{part}' with replies"))),
            }
        }
        Ok(())
    }

    fn check(&mut self) -> Result<()> {
        check_name(&self.name).map_err(|reason| self.wrong(reason))?;
        for index in 0..self.parts.len() {
            let entry = &mut self.parts[index];
            match std::mem::replace(&mut entry.checked, Ok(())) {
                Err(Error::Setup { reason, .. }) => return Err(self.wrong(reason)),
                checked => checked?,
            }
        }
        let mut names = HashSet::new();
        for entry in &self.parts {
            if !names.insert(&entry.name) {
                return Err(self.wrong(format!("two of its parts are named '{}'", entry.name)));
            }
        }
        if !self.parts.iter().any(|entry| entry.role == Role::Inbound) {
            return Err(self.wrong("it has no inbound part"));
        }
        for entry in &self.parts {
            self.check_ways(entry)?;
        }
        self.check_presets()
    }

    /// Checks that what leads from a part leads somewhere, and that something leads to it if
    /// it is there for that.
    fn check_ways(&self, entry: &Entry) -> Result<()> {
        for way in entry.route.iter().flat_map(|route| &route.ways) {
            match self.part(&way.part) {
                Some(target) if target.takes => {}
                Some(_) => {
                    let reason = format!(
                        "'{}' leads to '{}', which takes nothing",
                        entry.name, way.part
                    );
                    return Err(self.wrong(reason));
                }
                None => {
                    let reason = format!(
                        "'{}' leads to '{}', which it does not have",
                        entry.name, way.part
                    );
                    return Err(self.wrong(reason));
                }
            }
        }
        if entry.role == Role::Outbound && !self.ways().any(|way| way.part == entry.name) {
            return Err(self.wrong(format!("nothing leads to '{}'", entry.name)));
        }
        Ok(())
    }

    fn check_presets(&self) -> Result<()> {
        for Preset { key, value } in &self.presets {
            if let Value::AddressOf(part) = value
                && self.part(part).is_none()
            {
                let reason = format!("'{key}' is the address of '{part}', which it does not have");
                return Err(self.wrong(reason));
            }
        }
        Ok(())
    }

    fn part(&self, name: &str) -> Option<&Entry> {
        self.parts.iter().find(|entry| entry.name == name)
    }

    fn ways(&self) -> impl Iterator<Item = &NamedWay> {
        let routes = self.parts.iter().filter_map(|entry| entry.route.as_ref());
        routes.flat_map(|route| &route.ways)
    }

    /// The error of a component that is put together wrongly.
    fn wrong(&self, reason: impl Into<String>) -> Error {
        Error::Setup {
            component: format!("'{}'", self.name),
            reason: reason.into(),
        }
    }
}

/// A name is part of a function path, and so has no dot and no space.
fn check_name(name: &str) -> Result<(), &'static str> {
    let odd = |c: char| c == '.' || c.is_whitespace() || c.is_control();
    match name.is_empty() || name.contains(odd) {
        true => Err("a server's name has at least one character, and no dot or space"),
        false => Ok(()),
    }
}

/// Writes the keys by which peers configure themselves.
fn preset(presets: &[Preset], store: &dyn Store, bound: &BTreeMap<String, String>) -> Result<()> {
    for Preset { key, value } in presets {
        match value {
            Value::Bytes(value) => store.set(key, value)?,
            Value::AddressOf(part) => {
                let address = bound.get(part).map(String::as_bytes);
                store.set(key, address.unwrap_or_default())?;
            }
        }
    }
    Ok(())
}

/// What the parts of the usual names have bound, by role.
fn addresses(bound: &BTreeMap<String, String>) -> Addresses {
    let of = |part: &str| bound.get(part).cloned().unwrap_or_default();
    Addresses {
        pull: of("Pull"),
        publish: of("Pub"),
        worker_push: of("WorkerPush"),
        worker_pull: of("WorkerPull"),
        db: of("Cache"),
    }
}

impl fmt::Debug for Assembly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = self.parts.iter().map(|entry| &entry.name);
        f.debug_struct("Assembly")
            .field("name", &self.name)
            .field("parts", &parts.collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}
