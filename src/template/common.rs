//! What all templates have: a name, addresses, a cache, a way out, limits.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::{Choose, guarded};
use crate::address::{self, Addresses, Purpose};
use crate::error::{Error, Result};
use crate::message::{DEFAULT_MAX_MESSAGE, Frame};
use crate::part::{CacheService, Crew, Inlet, Outlet, Parcel, PubService, PullService, Running};
use crate::store::{Memory, SharedStore};

/// The settings that all templates have.
pub(crate) struct Common {
    pub(crate) name: String,
    pub(crate) addresses: Addresses,
    pub(crate) store: SharedStore,
    pub(crate) route: Option<Choose>,
    pub(crate) max_message: usize,
    pub(crate) hold: usize,
    pub(crate) patience: Duration,
}

/// The methods for them, in a template that has them in its field `common`.
macro_rules! common_settings {
    () => {
        /// The store behind its cache: by default one in memory.
        pub fn store(mut self, store: $crate::store::SharedStore) -> Self {
            self.common.store = store;
            self
        }

        /// A hook that chooses the topic of each result, and may change the result. By default
        /// the topic is the id of its client. (pylm's `handle_stream`.)
        pub fn route(
            mut self,
            hook: impl FnMut(&mut $crate::message::PalmMessage) -> String + Send + 'static,
        ) -> Self {
            self.common.route = Some(Box::new(hook));
            self
        }

        /// The largest payload to take and to give, in bytes: 64 MiB by default.
        pub fn max_message(mut self, bytes: usize) -> Self {
            self.common.max_message = bytes;
            self
        }

        /// How many bytes of results to hold for clients that have not subscribed yet or read
        /// slowly: 32 MiB by default. When it is full, no more messages are taken.
        pub fn hold(mut self, bytes: usize) -> Self {
            self.common.hold = bytes;
            self
        }

        /// How long to hold results for a client that takes none: 30 s by default.
        pub fn patience(mut self, patience: std::time::Duration) -> Self {
            self.common.patience = patience;
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
            route: None,
            max_message: DEFAULT_MAX_MESSAGE,
            hold: PubService::DEFAULT_HOLD,
            patience: PubService::DEFAULT_PATIENCE,
        }
    }

    /// Checks what can be checked before anything is opened: the name, which is part of a
    /// function path and so has no dot and no space, and the addresses that are used.
    pub(crate) fn check(&self, used: fn(&Addresses) -> Vec<&str>) -> Result<()> {
        for address in used(&self.addresses) {
            address::check(address, Purpose::Bind)?;
        }
        let odd = |c: char| c == '.' || c.is_whitespace() || c.is_control();
        match self.name.is_empty() || self.name.contains(odd) {
            true => {
                Err(self.wrong("a server's name has at least one character, and no dot or space"))
            }
            false => Ok(()),
        }
    }

    /// The error of a component that is put together wrongly.
    pub(crate) fn wrong(&self, reason: &str) -> Error {
        Error::Setup {
            component: format!("'{}'", self.name),
            reason: reason.to_owned(),
        }
    }

    pub(crate) fn spawn_pull(&self, crew: &mut Crew, outlet: Outlet) -> Result<()> {
        PullService::new(&self.addresses.pull)
            .max_message(self.max_message)
            .spawn(crew, outlet)
    }

    pub(crate) fn spawn_pub(&self, crew: &mut Crew, inlet: Inlet) {
        PubService::new(&self.addresses.publish)
            .hold(self.hold)
            .patience(self.patience)
            .spawn(crew, inlet);
    }

    /// The way out of the component, once.
    pub(crate) fn take_way_out(&mut self) -> WayOut {
        WayOut {
            component: self.name.clone(),
            route: self.route.take(),
        }
    }

    /// Adds the cache, waits until all parts are ready, writes the keys that peers configure
    /// themselves by, and lets them work.
    pub(crate) fn start(self, mut crew: Crew, keys: &[Key]) -> Result<Running> {
        CacheService::new(self.addresses.db, self.store.clone())
            .max_message(self.max_message)
            .spawn(&mut crew)?;
        crew.start(|bound| {
            let addresses = bound_addresses(bound);
            self.store.set("name", self.name.as_bytes())?;
            for (key, address) in keys {
                self.store.set(key, address(&addresses).as_bytes())?;
            }
            Ok(addresses)
        })
    }
}

/// A key of the cache, and the address that it tells.
pub(crate) type Key = (&'static str, fn(&Addresses) -> &str);

/// The way out of a component: what its `route` hook makes of each result.
pub(crate) struct WayOut {
    pub(crate) component: String,
    pub(crate) route: Option<Choose>,
}

impl WayOut {
    /// What to publish for a result. Without a hook it goes to its client as it is.
    pub(crate) fn parcel(&mut self, frame: Frame) -> Parcel {
        let Some(route) = &mut self.route else {
            return frame.into();
        };
        let mut message = frame.to_message();
        match guarded(&self.component, "route", || route(&mut message)) {
            Ok(topic) => Parcel {
                topic: Some(topic),
                frame: Frame::from(&message),
            },
            Err(failure) => frame.with_failure(&failure).into(),
        }
    }
}

/// The addresses that the parts of a component bound, by their roles.
fn bound_addresses(bound: &BTreeMap<String, String>) -> Addresses {
    let of = |part: &str| bound.get(part).cloned().unwrap_or_default();
    Addresses {
        pull: of("Pull"),
        publish: of("Pub"),
        worker_push: of("WorkerPush"),
        worker_pull: of("WorkerPull"),
        db: of("Cache"),
    }
}
