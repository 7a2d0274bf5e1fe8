//! Components put together from parts.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::Arc;

use super::entry::{Body, Entry, Joints, Role};
use super::route::NamedWay;
use super::wiring::{Bypass, Inbound, Outbound};
use super::{CacheService, Crew, Inlet, Outlet, Route, Running};
use crate::address::Addresses;
use crate::error::{Error, Result};
use crate::message::{DEFAULT_MAX_MESSAGE, is_name};
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
/// The order of all this is free. [`Running::address_of`] tells what each part has bound;
/// [`Running::addresses`] knows those named `Pull`, `Pub`, `WorkerPush`, `WorkerPull`,
/// `Cache` and `Link`, as in the templates.
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
    /// The names and addresses of cache services: their store may still be set.
    caches: Vec<(String, String)>,
    presets: Vec<Preset>,
    max_message: usize,
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
            caches: Vec::new(),
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

    /// Where that goes which an outbound part gives back; one part has one such route. Without
    /// it is dropped.
    pub fn replies(mut self, part: impl Into<String>, route: impl Into<Route>) -> Self {
        self.replies.push((part.into(), route.into()));
        self
    }

    /// Adds a part beside the stream of messages.
    pub fn bypass<P: Bypass>(self, name: impl Into<String>, part: P) -> Self {
        self.add(Entry::of(name.into(), Role::Bypass, part), None)
    }

    /// Adds a [cache service](CacheService) for this component's store.
    pub fn cache(mut self, name: impl Into<String>, address: impl Into<String>) -> Self {
        self.caches.push((name.into(), address.into()));
        self
    }

    /// Adds the end of a [channel](super::channel()) as a source of messages: whoever has the
    /// other end feeds them in. A stop waits for that end to be dropped, for 0.25 s at most. When
    /// all the sources of a component have ended so, it ends, with all that they gave let out.
    pub fn inlet(self, name: impl Into<String>, inlet: Inlet, route: impl Into<Route>) -> Self {
        let entry = Entry::end(name.into(), Role::Inbound, Body::Inlet(inlet));
        self.add(entry, Some(route.into()))
    }

    /// Adds the end of a [channel](super::channel()) as something that messages go to: whoever
    /// has the other end takes them out. Routes to it wait while it is full; when that end is
    /// dropped and there is something for it, the component ends.
    pub fn outlet(self, name: impl Into<String>, outlet: Outlet) -> Self {
        let entry = Entry::end(name.into(), Role::Outbound, Body::Outlet(outlet));
        self.add(entry, None)
    }

    fn add(mut self, entry: Entry, route: Option<Route>) -> Self {
        self.parts.push(Entry { route, ..entry });
        self
    }

    /// The store of its keys: by default one in memory.
    pub fn store(mut self, store: SharedStore) -> Self {
        self.store = store;
        self
    }

    /// The largest value that its cache takes, in bytes: 64 MiB by default.
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
    /// name, no inbound part, a route to a part that there is not or that takes nothing, or to
    /// none, an outbound part that nothing leads to, a second route for the replies of one part or
    /// any for one without replies, outbound parts whose replies lead round in a circle in which
    /// every way waits, a key for an address that no part binds. [`Error::Address`] or
    /// [`Error::Bind`] for an address that is malformed, in use or not to be bound;
    /// [`Error::Store`] when the store cannot be written.
    pub fn start(mut self) -> Result<Running> {
        self.add_caches();
        self.check_names()?;
        self.join_replies()?;
        self.check()?;
        let reached: HashSet<String> = self.ways().map(|way| way.part.clone()).collect();
        let mut crew = Crew::new(&self.name);
        let mut joints = Joints::of(&self.parts)?;
        // Those beside the stream come last: one may be what others are faces of.
        self.parts.sort_by_key(|entry| entry.role == Role::Bypass);
        for entry in self.parts {
            let reached = reached.contains(&entry.name);
            joints.add(entry, reached, &mut crew, &self.store)?;
        }
        let straight = joints.straight();
        joints.into_router(&self.name).spawn(&mut crew);
        let (name, presets, store) = (self.name, self.presets, self.store);
        let running = crew.start(|bound| {
            preset(&name, &presets, &*store, bound)?;
            Ok(addresses(bound))
        })?;
        for (from, to) in straight {
            log::info!(target: &name, "{from} connects to {to}");
        }
        Ok(running)
    }

    fn add_caches(&mut self) {
        for (name, address) in std::mem::take(&mut self.caches) {
            let service = CacheService::new(address, self.store.clone());
            let service = service.max_message(self.max_message);
            self.parts.push(Entry::of(name, Role::Bypass, service));
        }
    }

    fn check_names(&self) -> Result<()> {
        if !is_name(&self.name) {
            let reason = "a server's name has at least one character, and no dot or space";
            return Err(self.wrong(reason));
        }
        let mut names = HashSet::new();
        for Entry { name, .. } in &self.parts {
            if name.is_empty() || name.contains(char::is_control) {
                return Err(self.wrong(format!("{name:?} is no name for a part")));
            }
            if !names.insert(name) {
                return Err(self.wrong(format!("two of its parts are named '{name}'")));
            }
        }
        Ok(())
    }

    /// Gives the outbound parts the routes of what they give back.
    fn join_replies(&mut self) -> Result<()> {
        for (part, route) in std::mem::take(&mut self.replies) {
            let entry = self.parts.iter_mut().find(|entry| entry.name == part);
            let reason = match entry {
                Some(entry) if entry.role != Role::Outbound || !entry.gives => {
                    format!("'{part}' gives nothing back to be routed")
                }
                Some(entry) if entry.route.is_some() => {
                    format!("what '{part}' gives back has two routes")
                }
                Some(entry) => {
                    entry.route = Some(route);
                    continue;
                }
                None => format!("there are replies of '{part}', which it does not have"),
            };
            return Err(self.wrong(reason));
        }
        Ok(())
    }

    fn check(&mut self) -> Result<()> {
        for index in 0..self.parts.len() {
            let entry = &mut self.parts[index];
            match std::mem::replace(&mut entry.checked, Ok(())) {
                Err(Error::Setup { reason, .. }) => {
                    let reason = format!("'{}': {reason}", entry.name);
                    return Err(self.wrong(reason));
                }
                checked => checked?,
            }
        }
        if !self.parts.iter().any(|entry| entry.role == Role::Inbound) {
            return Err(self.wrong("it has no inbound part"));
        }
        for entry in &self.parts {
            self.check_ways(entry)?;
        }
        self.check_circles()?;
        self.check_presets()
    }

    /// Checks that what leads from a part leads somewhere, and that something leads to it if
    /// it is there for that.
    fn check_ways(&self, entry: &Entry) -> Result<()> {
        for way in entry.route.iter().flat_map(Route::ways) {
            let reason = match self.part(&way.part) {
                Some(target) if target.takes => continue,
                Some(_) => "takes nothing",
                None => "it does not have",
            };
            let (from, to) = (&entry.name, &way.part);
            return Err(self.wrong(format!("'{from}' leads to '{to}', which {reason}")));
        }
        if entry.route.as_ref().is_some_and(Route::leads_nowhere) {
            let from = &entry.name;
            return Err(self.wrong(format!("the route of '{from}' needs a part to lead to")));
        }
        if entry.role == Role::Outbound && !self.ways().any(|way| way.part == entry.name) {
            return Err(self.wrong(format!("nothing leads to '{}'", entry.name)));
        }
        Ok(())
    }

    /// Checks that no outbound parts wait for each other: full, they would do so for ever. (What
    /// leads round through an inbound part that answers requests has a bound: what is open there.)
    fn check_circles(&self) -> Result<()> {
        let mut sound = HashSet::new();
        for entry in &self.parts {
            if let Some(circle) = self.circle(entry, &mut Vec::new(), &mut sound) {
                let reason = format!(
                    "a circle of ways that wait for each other: {circle}; one of them must not \
                     wait (see `Route::and_unbounded`)"
                );
                return Err(self.wrong(reason));
            }
        }
        Ok(())
    }

    /// The circle that a part's replies get into, if they do. `path` leads to it; nothing that
    /// is `sound` does.
    fn circle<'a>(
        &'a self,
        entry: &'a Entry,
        path: &mut Vec<&'a str>,
        sound: &mut HashSet<&'a str>,
    ) -> Option<String> {
        let name = entry.name.as_str();
        if let Some(start) = path.iter().position(|before| *before == name) {
            let names = path[start..].iter().chain([&name]);
            let names: Vec<_> = names.map(|name| format!("'{name}'")).collect();
            return Some(names.join(" to "));
        }
        if entry.role != Role::Outbound || sound.contains(name) {
            return None;
        }
        path.push(name);
        for way in entry.route.iter().flat_map(Route::ways) {
            let target = self.part(&way.part).filter(|_| way.waits);
            let circle = target.and_then(|target| self.circle(target, path, sound));
            if circle.is_some() {
                return circle;
            }
        }
        path.pop();
        sound.insert(name);
        None
    }

    fn check_presets(&self) -> Result<()> {
        for Preset { key, value } in &self.presets {
            if let Value::AddressOf(part) = value
                && !self.has_thread(part)
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

    /// Whether it has a part of this name, or one that has others within it.
    fn has_thread(&self, name: &str) -> bool {
        let mut parts = self.parts.iter();
        parts.any(|entry| entry.name == name || entry.within.contains(&name))
    }

    fn ways(&self) -> impl Iterator<Item = &NamedWay> {
        let routes = self.parts.iter().filter_map(|entry| entry.route.as_ref());
        routes.flat_map(Route::ways)
    }

    /// The error of a component that is put together wrongly.
    fn wrong(&self, reason: impl Into<String>) -> Error {
        Error::setup(&self.name, reason)
    }
}

/// Writes the keys by which peers configure themselves.
fn preset(
    component: &str,
    presets: &[Preset],
    store: &dyn Store,
    bound: &BTreeMap<String, String>,
) -> Result<()> {
    for Preset { key, value } in presets {
        match value {
            Value::Bytes(value) => store.set(key, value)?,
            Value::AddressOf(part) => {
                let Some(address) = bound.get(part) else {
                    let reason = format!("'{key}' is the address of '{part}', which binds none");
                    return Err(Error::setup(component, reason));
                };
                store.set(key, address.as_bytes())?;
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
        link: of("Link"),
    }
}

impl fmt::Debug for Assembly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = self.parts.iter().map(|entry| &entry.name);
        let parts = parts.chain(self.caches.iter().map(|(name, _)| name));
        f.debug_struct("Assembly")
            .field("name", &self.name)
            .field("parts", &parts.collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}
