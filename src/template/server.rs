//! A server that runs its functions itself.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

use super::common::Common;
use crate::address::Addresses;
use crate::cache::StoreCache;
use crate::error::Result;
use crate::handler::{Functions, Runner};
use crate::part::{Crew, Router, Running, channel, spawn_functions};

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
/// A closure from a [`Call`](crate::Call) to nothing, one payload or many, or an error, which its client
/// gets; see [`Reply`](crate::Reply). They run one after another, in order, unless [`threads`](Self::threads)
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
    common: Common,
    functions: Functions,
    threads: usize,
}

impl Server {
    /// A server of this name that will bind these addresses.
    pub fn new(name: impl Into<String>, addresses: Addresses) -> Self {
        Self {
            common: Common::new(name.into(), addresses),
            functions: Functions::new(),
            threads: 1,
        }
    }

    function_settings!();

    /// How many threads run functions: 1 by default, which keeps the order of the messages.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    common_settings!();

    /// Starts it. Returns when all parts are ready.
    ///
    /// # Errors
    /// An address that is malformed, in use or not to be bound; a name or number of threads
    /// that makes no sense; a store that cannot be written.
    pub fn start(self) -> Result<Running> {
        let mut common = self.common;
        common.check(|a| vec![&a.pull, &a.publish, &a.db])?;
        if self.threads == 0 {
            return Err(common.wrong("it needs at least one thread"));
        }
        let mut crew = Crew::new(&common.name);
        let (pulled, inbound) = channel()?;
        let (work, to_functions) = channel()?;
        let (done, results) = channel()?;
        let (publish, to_publish) = channel()?;

        common.spawn_pull(&mut crew, pulled)?;
        let runner = Runner {
            functions: self.functions,
            component: common.name.clone(),
            only_own_name: true,
            max_message: common.max_message,
            cache: Arc::new(StoreCache::new(common.store.clone())),
            complaints: Mutex::default(),
        };
        spawn_functions(&mut crew, self.threads, runner, to_functions, &done);
        drop(done);
        common.spawn_pub(&mut crew, to_publish);

        let mut router = Router::default();
        // Several threads share what comes one by one; a batch would go to one of them.
        let most = if self.threads > 1 { 1 } else { usize::MAX };
        let functions = router.exit("Functions", work, most);
        let publisher = router.exit("Pub", publish, usize::MAX);
        router.route("Pull", inbound, &[functions], move |frame, deliveries| {
            deliveries.deliver(functions, frame);
        });
        let mut way_out = common.take_way_out();
        router.route(
            "Functions",
            results,
            &[publisher],
            move |frame, deliveries| {
                deliveries.deliver(publisher, way_out.parcel(frame));
            },
        );
        router.spawn(&mut crew);
        common.start(
            crew,
            &[
                ("pull_address", |bound| &bound.pull),
                ("pub_address", |bound| &bound.publish),
            ],
        )
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("name", &self.common.name)
            .field("addresses", &self.common.addresses)
            .field("functions", &self.functions)
            .finish_non_exhaustive()
    }
}
