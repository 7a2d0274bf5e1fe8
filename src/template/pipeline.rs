//! A later step of a chain that runs its functions itself.

use std::fmt;

use super::common::{Common, Previous};
use crate::address::Addresses;
use crate::error::Result;
use crate::handler::Functions;
use crate::part::Running;

/// A pipeline: a server that gets its messages from an earlier step instead of from clients.
///
/// ```text
/// earlier step's Pub ─► Sub ─► Functions ─► Pub ─► clients, or next step
/// ```
///
/// # Building
/// [`Pipeline::new`] with a name and [`Addresses`], of which `publish` and `db` are used, and
/// [`after`](Self::after) with the step that comes before. Then functions, as a
/// [`Server`](crate::Server)'s: one that gives nothing ends the way of a message. A pipeline runs
/// the step of a call that has its turn, so clients name all of them, in order.
///
/// # Starting
/// The steps of a chain start in any order: each result waits until the next step, or the
/// client, has subscribed.
///
/// # Errors
/// What fails goes on along the chain to the client, past the functions of the later steps.
///
/// # Lifecycle
/// As a [`Server`](crate::Server)'s.
///
/// ```
/// use palm::{Addresses, Client, Pipeline, Server};
///
/// let server = Server::new("first", Addresses::ephemeral())
///     .function("trim", |call| Ok(call.payload().trim_ascii().to_vec()))
///     .pipelined(true)
///     .start()?;
/// let pipeline = Pipeline::new("second", Addresses::ephemeral())
///     .after("first", &server.addresses().publish)
///     .function("double", |call| Ok(call.payload().repeat(2)))
///     .start()?;
/// // Messages go to the first step, and results come from the last one.
/// let client = Client::builder("first", &server.addresses().db)
///     .publish(&pipeline.addresses().publish)
///     .connect()?;
/// assert_eq!(client.eval(["first.trim", "second.double"], " ab ")?, b"abab");
/// # Ok::<(), palm::Error>(())
/// ```
pub struct Pipeline {
    common: Common,
    previous: Vec<Previous>,
    functions: Functions,
    threads: usize,
}

impl Pipeline {
    /// A pipeline of this name that will bind these addresses.
    pub fn new(name: impl Into<String>, addresses: Addresses) -> Self {
        Self {
            common: Common::new(name.into(), addresses),
            previous: Vec::new(),
            functions: Functions::new(),
            threads: 1,
        }
    }

    after_setting!();

    local_settings!();
    to_client_setting!();
    common_settings!();

    /// Starts it. Returns when all parts are ready; the step before need not be there yet.
    ///
    /// # Errors
    /// No step before it, or several; an address that is malformed, in use or not to be bound; a
    /// name or number of threads that makes no sense; a store that cannot be written.
    pub fn start(self) -> Result<Running> {
        let several = "a pipeline comes after one step: a Sink, after several";
        let Some(previous) = self.common.only(self.previous, several)? else {
            return Err(self.common.wrong("a pipeline comes after another step"));
        };
        let sub = self.common.sub(&previous);
        self.common
            .with_functions(self.functions, self.threads)?
            .inbound("Sub", sub, "Functions")
            .preset("sub_address", previous.address)
            .start()
    }
}

impl fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipeline")
            .field("name", &self.common.name)
            .field("previous", &self.previous)
            .field("functions", &self.functions)
            .finish_non_exhaustive()
    }
}
