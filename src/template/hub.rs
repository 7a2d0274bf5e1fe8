//! A later step of a chain whose workers run the functions.

use std::fmt;

use super::common::{Common, Hooks, Previous};
use crate::address::Addresses;
use crate::error::Result;
use crate::part::Running;

/// A hub: a [`Master`](crate::Master) that gets its messages from an earlier step instead of
/// from clients.
///
/// ```text
/// earlier step's Pub ─► Sub ─► Router ─► WorkerPush ─► workers ─► WorkerPull ─► Router ─► Pub
///                              scatter                                          gather
/// ```
///
/// # Building
/// [`Hub::new`] with a name and [`Addresses`], of which `pull` is not used, and
/// [`after`](Self::after) with the step that comes before. Workers find it as they find a master.
///
/// # Starting and errors
/// As a [`Pipeline`](crate::Pipeline)'s.
///
/// # Hooks and lifecycle
/// As a [`Master`](crate::Master)'s. Of what comes to it, too, what has failed goes past both
/// hooks and the workers to the client, unless it is [`silent`](Self::silent).
///
/// ```
/// use palm::{Addresses, Client, Hub, Server, Worker};
///
/// let server = Server::new("first", Addresses::ephemeral())
///     .function("trim", |call| Ok(call.payload().trim_ascii().to_vec()))
///     .pipelined(true)
///     .start()?;
/// let hub = Hub::new("second", Addresses::ephemeral())
///     .after("first", &server.addresses().publish)
///     .start()?;
/// let worker = Worker::new(&hub.addresses().db)
///     .function("double", |call| Ok(call.payload().repeat(2)))
///     .start()?;
/// let client = Client::builder("first", &server.addresses().db)
///     .publish(&hub.addresses().publish)
///     .connect()?;
/// assert_eq!(client.eval(["first.trim", "second.double"], " ab ")?, b"abab");
/// # Ok::<(), palm::Error>(())
/// ```
pub struct Hub {
    common: Common,
    previous: Vec<Previous>,
    hooks: Hooks,
}

impl Hub {
    /// A hub of this name that will bind these addresses.
    pub fn new(name: impl Into<String>, addresses: Addresses) -> Self {
        Self {
            common: Common::new(name.into(), addresses),
            previous: Vec::new(),
            hooks: Hooks::default(),
        }
    }

    after_setting!();

    /// Whether its workers' functions give nothing, as in a branch of a tee that ends here. What
    /// has failed in an earlier step takes the way that its result would have taken; so it ends
    /// here too, and is left to the other branches. What fails here is its client's error all
    /// the same. By default they give something. (A step that runs its functions itself knows
    /// that of each: [`Handler::is_silent`](crate::Handler::is_silent).)
    pub fn silent(mut self, silent: bool) -> Self {
        self.hooks.silent = silent;
        self
    }

    hook_settings!();
    worker_settings!();
    pipelined_setting!();
    common_settings!();

    /// Starts it. Returns when all parts are ready; the step before need not be there yet.
    ///
    /// # Errors
    /// No step before it, or several; an address that is malformed, in use or not to be bound; a
    /// name that is none; a store that cannot be written.
    pub fn start(self) -> Result<Running> {
        let several = "a hub comes after one step: a Sink before it may come after several";
        let Some(previous) = self.common.only(self.previous, several)? else {
            return Err(self.common.wrong("a hub comes after another step"));
        };
        let sub = self.common.sub(&previous);
        let (assembly, way_in) = self.common.with_workers(self.hooks)?;
        assembly
            .inbound("Sub", sub, way_in)
            .preset("sub_address", previous.address)
            .start()
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub")
            .field("name", &self.common.name)
            .field("previous", &self.previous)
            .finish_non_exhaustive()
    }
}
