//! A master, whose workers run the functions.

use std::fmt;

use super::common::{Common, Hooks};
use crate::address::Addresses;
use crate::error::Result;
use crate::part::Running;

/// A master: messages come in, workers in other processes run the functions, results go out.
///
/// ```text
/// clients ─► Pull ─► Router ─► WorkerPush ─► workers ─► WorkerPull ─► Router ─► Pub ─► clients
///                    scatter                                          gather, route
/// ```
///
/// # Building
/// [`Master::new`] with a name, which clients must give, and [`Addresses`]. Workers and clients
/// need to know its `db` address only, and learn the others there.
///
/// # Hooks
/// [`scatter`](Self::scatter) makes none, one or many messages of each that comes in,
/// [`gather`](Self::gather) of each result, and [`route`](Self::route) chooses its topic. They
/// run in the router's thread, one after another, so they should be quick; they may keep state.
/// A panic in one is the error of the message that it was called for. What has failed goes past
/// `scatter` and `gather` to its client.
///
/// # Lifecycle
/// [`start`](Self::start) returns when all its parts are ready. It runs until
/// [`Running::stop`], or until the [`Running`] is dropped, or until a part dies. What is not done
/// by then is still with its clients, if they are palm clients: they give it to the master that is
/// started next at the same addresses. Of clients on the pylm wire it is lost.
///
/// ```
/// use palm::{Addresses, Client, Master, Worker};
///
/// let master = Master::new("server", Addresses::ephemeral()).start()?;
/// let db = &master.addresses().db;
/// let worker = Worker::new(db)
///     .function("double", |call| Ok(call.payload().repeat(2)))
///     .start()?;
/// let client = Client::connect("server", db)?;
/// let results: Result<Vec<_>, _> = client.job("server.double", ["ab", "cd"])?.collect();
/// assert_eq!(results?, [b"abab", b"cdcd"]);
/// worker.stop()?;
/// master.stop()?;
/// # Ok::<(), palm::Error>(())
/// ```
pub struct Master {
    common: Common,
    hooks: Hooks,
}

impl Master {
    /// A master of this name that will bind these addresses.
    pub fn new(name: impl Into<String>, addresses: Addresses) -> Self {
        Self {
            common: Common::new(name.into(), addresses),
            hooks: Hooks::default(),
        }
    }

    hook_settings!();
    worker_settings!();
    pipelined_setting!();
    common_settings!();

    /// Starts it. Returns when all parts are ready.
    ///
    /// # Errors
    /// An address that is malformed, in use or not to be bound; a name that is none; a store
    /// that cannot be written.
    pub fn start(self) -> Result<Running> {
        let pull = self.common.pull();
        let (linked, way_in) = self.common.with_workers(self.hooks)?;
        linked.for_clients(pull, way_in).start()
    }
}

impl fmt::Debug for Master {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Master")
            .field("name", &self.common.name)
            .field("addresses", &self.common.addresses)
            .finish_non_exhaustive()
    }
}
