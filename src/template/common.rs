//! What templates have in common: their settings, and the assemblies they begin with.

use std::sync::Arc;
use std::time::Duration;

use crate::address::Addresses;
use crate::error::{Error, Result};
use crate::handler::Functions;
use crate::message::DEFAULT_MAX_MESSAGE;
use crate::part::{
    Assembly, Choose, FunctionService, Inbound, LinkService, PubService, PullService, Route,
    Running, ShortWays, Sorting, Spread, SubConnection, WorkerPullService, WorkerPushService,
};
use crate::store::{Memory, SharedStore};

/// The settings that all templates have.
pub(crate) struct Common {
    pub(crate) name: String,
    pub(crate) addresses: Addresses,
    pub(crate) store: SharedStore,
    /// Whether results go to the next step.
    pub(crate) pipelined: bool,
    pub(crate) route: Option<Choose>,
    pub(crate) subscribers: usize,
    pub(crate) max_message: usize,
    pub(crate) hold: usize,
    pub(crate) patience: Duration,
    pub(crate) max_attempts: u32,
}

/// The methods for them, in a template that has them in its field `common`.
macro_rules! common_settings {
    () => {
        /// The store behind its cache: by default one in memory.
        pub fn store(mut self, store: $crate::store::SharedStore) -> Self {
            self.common.store = store;
            self
        }

        /// A hook that chooses the topic of each result, and may change the result: the id of
        /// its client, or a name that next steps subscribe to; for those it sets the next
        /// stage. In place of what is usual, whatever else says where results go. (pylm's
        /// `handle_stream`.)
        pub fn route(
            mut self,
            hook: impl FnMut(&mut $crate::message::PalmMessage) -> String + Send + 'static,
        ) -> Self {
            self.common.route = Some(Box::new(hook));
            self
        }

        /// How many next steps are to get a copy of each result that goes to next steps: so many
        /// are waited for. 1 by default. They run the same step of a call, so they have the same
        /// name.
        pub fn subscribers(mut self, subscribers: usize) -> Self {
            self.common.subscribers = subscribers;
            self
        }

        /// The largest payload to take and to give, in bytes: 64 MiB by default.
        pub fn max_message(mut self, bytes: usize) -> Self {
            self.common.max_message = bytes;
            self
        }

        /// How many bytes of results to hold for clients or next steps that have not subscribed
        /// yet or read slowly: 32 MiB by default. One client may leave a quarter of that unread, and
        /// some 100 KiB or what comes of one message where others leave much: nothing more of it is
        /// run until it reads, and what was on its way is kept besides. When what nobody answers for,
        /// as on the pylm wire, has filled it, no more messages are taken.
        pub fn hold(mut self, bytes: usize) -> Self {
            self.common.hold = bytes;
            self
        }

        /// How long to hold results for a client or a next step that takes none: 30 s by
        /// default.
        pub fn patience(mut self, patience: std::time::Duration) -> Self {
            self.common.patience = patience;
            self
        }
    };
}

/// The setting of those that begin a chain or stand alone.
macro_rules! pipelined_setting {
    () => {
        /// Whether results go to the next step of a chain, which subscribes to this one's name,
        /// instead of to their clients. By default they do not.
        pub fn pipelined(mut self, pipelined: bool) -> Self {
            self.common.pipelined = pipelined;
            self
        }
    };
}

/// The setting of those that come later in a chain.
macro_rules! to_client_setting {
    () => {
        /// Whether results go to their clients. By default they do; if not, they go to the next
        /// step of the chain, which subscribes to this one's name.
        pub fn to_client(mut self, to_client: bool) -> Self {
            self.common.pipelined = !to_client;
            self
        }
    };
}

/// The settings of those that run functions, in their fields `functions` and `threads`.
macro_rules! local_settings {
    () => {
        function_settings!();

        /// How many threads run functions, from 1 to 1,024: 1 by default, which keeps the order of
        /// the messages.
        pub fn threads(mut self, threads: usize) -> Self {
            self.threads = threads;
            self
        }
    };
}

/// The settings of those that have workers over the link.
macro_rules! worker_settings {
    () => {
        /// How many workers may end while they run a message before it is given up, and its
        /// client told: 5 by default.
        pub fn max_attempts(mut self, attempts: u32) -> Self {
            self.common.max_attempts = attempts;
            self
        }
    };
}

/// The hooks of those that have workers, in their field `hooks`.
macro_rules! hook_settings {
    () => {
        /// A hook that makes none, one or many messages for the workers of each that comes in.
        /// What has failed in an earlier step goes past it, to the client.
        pub fn scatter<F, M>(mut self, hook: F) -> Self
        where
            F: FnMut($crate::message::PalmMessage) -> M + Send + 'static,
            M: IntoIterator<Item = $crate::message::PalmMessage>,
        {
            self.hooks.scatter = Some($crate::part::spread(hook));
            self
        }

        /// A hook that makes none, one or many messages of each result.
        ///
        /// It sees results only: what has failed, at a worker or in an earlier step, goes past
        /// it to the client. One that counts results must know that not all of them need come.
        /// (A worker of pylm tells of a failure by the payload `0`, which cannot be told from a
        /// result and so does get here.)
        pub fn gather<F, M>(mut self, hook: F) -> Self
        where
            F: FnMut($crate::message::PalmMessage) -> M + Send + 'static,
            M: IntoIterator<Item = $crate::message::PalmMessage>,
        {
            self.hooks.gather = Some($crate::part::spread(hook));
            self
        }
    };
}

/// The hooks of a template with workers.
#[derive(Default)]
pub(crate) struct Hooks {
    pub(crate) scatter: Option<Spread>,
    pub(crate) gather: Option<Spread>,
    /// Whether the workers give nothing, so that what has failed before ends here too.
    pub(crate) silent: bool,
}

/// An earlier step of a chain.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Previous {
    pub(crate) name: String,
    pub(crate) address: String,
}

impl Previous {
    pub(crate) fn new(name: impl Into<String>, address: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            address: address.into(),
        }
    }
}

/// The setting of those that come after one other step at the most, in their field `previous`.
macro_rules! after_setting {
    ($($default:literal)?) => {
        /// The step before: its name, or another topic that it publishes under, and the address
        /// where it publishes (pub). There is one: with a second, it does not start.
        $(#[doc = $default])?
        pub fn after(mut self, name: impl Into<String>, publish: impl Into<String>) -> Self {
            let previous = $crate::template::common::Previous::new(name, publish);
            self.previous.push(previous);
            self
        }
    };
}

impl Common {
    pub(crate) fn new(name: String, addresses: Addresses) -> Self {
        Self {
            name,
            addresses,
            store: Arc::new(Memory::new()),
            pipelined: false,
            route: None,
            subscribers: 1,
            max_message: DEFAULT_MAX_MESSAGE,
            hold: PubService::DEFAULT_HOLD,
            patience: PubService::DEFAULT_PATIENCE,
            max_attempts: LinkService::DEFAULT_ATTEMPTS,
        }
    }

    /// The error of a component that is put together wrongly.
    pub(crate) fn wrong(&self, reason: &str) -> Error {
        Error::setup(&self.name, reason)
    }

    /// The step before, if there is one: an error, with these words, if there are several.
    pub(crate) fn only(&self, steps: Vec<Previous>, several: &str) -> Result<Option<Previous>> {
        match steps.len() {
            0 | 1 => Ok(steps.into_iter().next()),
            _ => Err(self.wrong(several)),
        }
    }

    /// Where clients push messages.
    pub(crate) fn pull(&self) -> PullService {
        PullService::new(&self.addresses.pull).max_message(self.max_message)
    }

    /// Where messages of an earlier step come from.
    pub(crate) fn sub(&self, previous: &Previous) -> SubConnection {
        SubConnection::new(&previous.address, &previous.name)
            .beside(&self.addresses.db)
            .max_message(self.max_message)
    }

    /// What runs functions and gives the results to clients or later steps: to be completed with
    /// a source whose messages go to `Functions`.
    pub(crate) fn with_functions(self, functions: Functions, threads: usize) -> Result<Linked> {
        let functions = FunctionService::new(functions)
            .threads(threads)
            .max_message(self.max_message);
        let Linked { assembly, link } = self.linked()?;
        let assembly = assembly
            .outbound("Functions", functions)
            .replies("Functions", "Pub");
        Ok(Linked { assembly, link })
    }

    /// What has workers and gives their results to clients or later steps: to be completed with
    /// a source that takes the route which is given with it.
    pub(crate) fn with_workers(self, hooks: Hooks) -> Result<(Linked, Route)> {
        let mut way_in = match hooks.silent {
            true => Route::to("Workers").own_failures_to("Pub"),
            false => Route::to("Workers").failures_to("Pub"),
        };
        let short = ShortWays {
            to_workers: hooks
                .scatter
                .is_none()
                .then(|| Sorting::new(&self.name, hooks.silent)),
            from_workers: hooks.gather.is_none(),
        };
        if let Some(scatter) = hooks.scatter {
            way_in = way_in.spread("scatter", scatter);
        }
        let mut way_out = Route::to("Pub");
        if let Some(gather) = hooks.gather {
            way_out = way_out.spread("gather", gather);
        }
        let (push, pull) = self.worker_parts();
        let Linked { assembly, link } = self.linked()?;
        let link = link.short_ways(short);
        let assembly = assembly
            .outbound("Workers", link.workers(push, pull))
            .replies("Workers", way_out)
            .preset_address("worker_pull_address", "WorkerPull")
            .preset_address("worker_push_address", "WorkerPush");
        Ok((Linked { assembly, link }, way_in))
    }

    /// What has workers on the pylm wire only, with the route of what comes from them.
    pub(crate) fn with_wired_workers(self, way_out: Route) -> Assembly {
        let (push, pull) = self.worker_parts();
        let (assembly, publisher) = self.basis();
        assembly
            .outbound("Pub", publisher)
            .inbound("WorkerPull", pull, way_out)
            .outbound("WorkerPush", push)
            .preset_address("worker_pull_address", "WorkerPull")
            .preset_address("worker_push_address", "WorkerPush")
    }

    fn worker_parts(&self) -> (WorkerPushService, WorkerPullService) {
        let pull =
            WorkerPullService::new(&self.addresses.worker_pull).max_message(self.max_message);
        let push = WorkerPushService::new(&self.addresses.worker_push);
        (push, pull)
    }

    /// What all have that speak to palm peers over the link.
    fn linked(self) -> Result<Linked> {
        let link = LinkService::new(self.addresses.link_place())?
            .max_message(self.max_message)
            .max_attempts(self.max_attempts);
        let (assembly, publisher) = self.basis();
        let assembly = assembly
            .outbound("Pub", link.publisher(publisher))
            .preset_address("link_address", "Link");
        Ok(Linked { assembly, link })
    }

    /// What all have: a cache, and a publisher.
    fn basis(self) -> (Assembly, PubService) {
        let mut publisher = PubService::new(&self.addresses.publish)
            .pipelined(self.pipelined)
            .subscribers(self.subscribers)
            .hold(self.hold)
            .patience(self.patience);
        if let Some(route) = self.route {
            publisher = publisher.choose(route);
        }
        let assembly = Assembly::new(&self.name)
            .store(self.store)
            .max_message(self.max_message)
            .cache("Cache", &self.addresses.db)
            .preset("name", self.name)
            .preset_address("db_address", "Cache")
            .preset_address("pub_address", "Pub");
        (assembly, publisher)
    }
}

/// An assembly, and the link that it has.
pub(crate) struct Linked {
    pub(crate) assembly: Assembly,
    pub(crate) link: LinkService,
}

impl Linked {
    /// Adds a source.
    pub(crate) fn inbound<P: Inbound>(
        self,
        name: impl Into<String>,
        part: P,
        route: impl Into<Route>,
    ) -> Self {
        Self {
            assembly: self.assembly.inbound(name, part, route),
            link: self.link,
        }
    }

    /// Adds where clients submit messages: over the link, and on the pylm wire.
    pub(crate) fn for_clients(self, pull: PullService, route: impl Into<Route>) -> Self {
        let clients = self.link.clients(pull);
        let assembly = self
            .assembly
            .inbound("Clients", clients, route)
            .preset_address("pull_address", "Pull");
        Self {
            assembly,
            link: self.link,
        }
    }

    /// Sets a key of its store.
    pub(crate) fn preset(self, key: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        Self {
            assembly: self.assembly.preset(key, value),
            link: self.link,
        }
    }

    pub(crate) fn start(self) -> Result<Running> {
        self.assembly.bypass("Link", self.link).start()
    }
}
