//! A server that runs its functions itself.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::{Choose, WayOut, bound_addresses, preset};
use crate::address::Addresses;
use crate::cache::StoreCache;
use crate::error::{BoxError, Error, Result};
use crate::handler::{Call, Functions, Handler, Reply, Runner};
use crate::message::{DEFAULT_MAX_MESSAGE, PalmMessage};
use crate::part::{
    CacheService, Crew, PubService, PullService, Router, Running, channel, spawn_functions,
};
use crate::store::{Memory, SharedStore};

/// A server: messages come in, its own functions run, results go out.
///
/// ```text
/// clients ─► Pull ─► Router ─► Functions ─► Router ─► Pub ─► clients       Cache ◄─► clients
/// ```
///
/// # Building
/// [`Server::new`] with a name, which callers must give, and [`Addresses`], of which `pull`,
/// `publish` and `db` are used. Then functions, and whatever else is not as it should be.
///
/// # Functions
/// A closure from a [`Call`] to nothing, one payload or many, or an error, which its client
/// gets; see [`Reply`]. They run one after another, in order, unless [`threads`](Self::threads)
/// says otherwise.
///
/// # Lifecycle
/// [`start`](Self::start) returns when all its parts are ready. It runs until
/// [`Running::stop`], or until the [`Running`] is dropped, or until a part dies.
///
/// ```
/// use palm::{Addresses, Client, Server};
///
/// let server = Server::new("my_server", Addresses::ephemeral())
///     .function("foo", |call| Ok([b"you sent me ", call.payload()].concat()))
///     .start()?;
/// let client = Client::connect("my_server", &server.addresses().db)?;
/// assert_eq!(client.eval("my_server.foo", b"a message")?, b"you sent me a message");
/// server.stop()?;
/// # Ok::<(), palm::Error>(())
/// ```
pub struct Server {
    name: String,
    addresses: Addresses,
    functions: Functions,
    threads: usize,
    store: SharedStore,
    route: Option<Choose>,
    max_message: usize,
    hold: usize,
    patience: Duration,
}

impl Server {
    /// A server of this name that will bind these addresses.
    pub fn new(name: impl Into<String>, addresses: Addresses) -> Self {
        Self {
            name: name.into(),
            addresses,
            functions: Functions::new(),
            threads: 1,
            store: Arc::new(Memory::new()),
            route: None,
            max_message: DEFAULT_MAX_MESSAGE,
            hold: PubService::DEFAULT_HOLD,
            patience: PubService::DEFAULT_PATIENCE,
        }
    }

    /// Adds a function.
    pub fn function<F, R>(mut self, name: impl Into<String>, function: F) -> Self
    where
        F: Fn(&Call<'_>) -> Result<R, BoxError> + Send + Sync + 'static,
        R: Into<Reply> + 'static,
    {
        self.functions = self.functions.function(name, function);
        self
    }

    /// Adds a function that is a trait object.
    pub fn handler(mut self, name: impl Into<String>, handler: Arc<dyn Handler>) -> Self {
        self.functions = self.functions.handler(name, handler);
        self
    }

    /// Sets all functions at once.
    pub fn functions(mut self, functions: Functions) -> Self {
        self.functions = functions;
        self
    }

    /// How many threads run functions: 1 by default, which keeps the order of the messages.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// The store behind its cache: by default one in memory.
    pub fn store(mut self, store: SharedStore) -> Self {
        self.store = store;
        self
    }

    /// A hook that chooses the topic of each result, and may change the result. By default it
    /// is the id of its client. (pylm's `handle_stream`.)
    pub fn route(mut self, hook: impl FnMut(&mut PalmMessage) -> String + Send + 'static) -> Self {
        self.route = Some(Box::new(hook));
        self
    }

    /// The largest payload to take and to give, in bytes: 64 MiB by default.
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.max_message = bytes;
        self
    }

    /// How many bytes of results to hold for clients that have not subscribed yet or read
    /// slowly: 32 MiB by default. When it is full, no more messages are taken.
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
    /// An address that is malformed, in use or not to be bound; a name or number of threads
    /// that makes no sense; a store that cannot be written.
    pub fn start(self) -> Result<Running> {
        self.check()?;
        let name = self.name;
        let mut crew = Crew::new(&name);
        let (pulled, to_router) = channel()?;
        let (work, to_functions) = channel()?;
        let (done, results) = channel()?;
        let (publish, to_publish) = channel()?;

        PullService::new(self.addresses.pull)
            .max_message(self.max_message)
            .spawn(&mut crew, pulled)?;
        let runner = Runner {
            functions: self.functions,
            component: name.clone(),
            only_own_name: true,
            max_message: self.max_message,
            cache: Arc::new(StoreCache::new(self.store.clone())),
            complaints: Default::default(),
        };
        spawn_functions(&mut crew, self.threads, runner, &to_functions, &done);
        drop((to_functions, done));

        let mut router = Router::default();
        // Several threads share what comes one by one; a batch would go to one of them.
        let most = if self.threads > 1 { 1 } else { usize::MAX };
        let functions = router.exit("Functions", work, most);
        let publisher = router.exit("Pub", publish, usize::MAX);
        router.route("Pull", to_router, &[functions], move |frame, deliveries| {
            deliveries.deliver(functions, frame);
        });
        let mut way_out = WayOut {
            component: name.clone(),
            route: self.route,
        };
        router.route(
            "Functions",
            results,
            &[publisher],
            move |frame, deliveries| {
                deliveries.deliver(publisher, way_out.parcel(frame));
            },
        );
        router.spawn(&mut crew);

        PubService::new(self.addresses.publish)
            .hold(self.hold)
            .patience(self.patience)
            .spawn(&mut crew, to_publish);
        CacheService::new(self.addresses.db, self.store.clone())
            .max_message(self.max_message)
            .spawn(&mut crew)?;
        crew.start(|bound| {
            let bound = bound_addresses(bound);
            let keys = [
                ("name", name.as_str()),
                ("pull_address", &bound.pull),
                ("pub_address", &bound.publish),
            ];
            preset(&*self.store, &keys)?;
            Ok(bound)
        })
    }

    fn check(&self) -> Result<()> {
        check_name(&self.name)?;
        if self.threads == 0 {
            return Err(Error::Setup {
                component: self.name.clone(),
                reason: "it needs at least one thread".to_owned(),
            });
        }
        Ok(())
    }
}

/// A name is part of a function path, so it has no dot and no space.
pub(crate) fn check_name(name: &str) -> Result<()> {
    match name.is_empty() || name.contains(['.', ' ']) {
        true => Err(Error::Setup {
            component: format!("'{name}'"),
            reason: "a server's name has at least one character, and no dot or space".to_owned(),
        }),
        false => Ok(()),
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("name", &self.name)
            .field("addresses", &self.addresses)
            .field("functions", &self.functions)
            .finish_non_exhaustive()
    }
}
