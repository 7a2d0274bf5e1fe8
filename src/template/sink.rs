//! A later step of a chain where several streams come together.

use std::fmt;

use super::common::{Common, Previous};
use crate::address::Addresses;
use crate::error::Result;
use crate::handler::Functions;
use crate::part::Running;

/// A sink: a [`Pipeline`](crate::Pipeline) after several earlier steps.
///
/// ```text
/// earlier steps' Pubs ─► Sub_0, Sub_1, … ─► Router ─► Functions ─► Pub ─► clients
/// ```
///
/// # Building
/// As a pipeline, with one [`after`](Self::after) for each step before. Those may have the same
/// name, or be different topics of the same publisher.
///
/// # Order
/// The messages of each earlier step come in their order; those of different ones as they come.
///
/// # Starting, errors, lifecycle
/// As a pipeline's.
///
/// ```
/// use palm::{Addresses, Client, Pipeline, Server, Sink};
///
/// let mut even = false;
/// let server = Server::new("first", Addresses::ephemeral())
///     .function("echo", |call| Ok(call.payload().to_vec()))
///     .route(move |message| {
///         message.stage += 1;
///         even = !even;
///         if even { "even" } else { "odd" }.to_owned()
///     })
///     .start()?;
/// let branch = |topic: &'static str| {
///     Pipeline::new("branch", Addresses::ephemeral())
///         .after(topic, &server.addresses().publish)
///         .function("mark", move |call| Ok([call.payload(), topic.as_bytes()].concat()))
///         .to_client(false)
///         .start()
/// };
/// let (even, odd) = (branch("even")?, branch("odd")?);
/// let sink = Sink::new("last", Addresses::ephemeral())
///     .after("branch", &even.addresses().publish)
///     .after("branch", &odd.addresses().publish)
///     .function("echo", |call| Ok(call.payload().to_vec()))
///     .start()?;
/// let client = Client::builder("first", &server.addresses().db)
///     .publish(&sink.addresses().publish)
///     .connect()?;
/// let steps = ["first.echo", "branch.mark", "last.echo"];
/// let mut results = client.job(steps, ["1 ", "2 "])?.collect::<palm::Result<Vec<_>>>()?;
/// results.sort();
/// assert_eq!(results, [b"1 even".to_vec(), b"2 odd".to_vec()]);
/// # Ok::<(), palm::Error>(())
/// ```
pub struct Sink {
    common: Common,
    previous: Vec<Previous>,
    functions: Functions,
    threads: usize,
}

impl Sink {
    /// A sink of this name that will bind these addresses.
    pub fn new(name: impl Into<String>, addresses: Addresses) -> Self {
        Self {
            common: Common::new(name.into(), addresses),
            previous: Vec::new(),
            functions: Functions::new(),
            threads: 1,
        }
    }

    /// One more step before: its name, or another topic that it publishes under, and the
    /// address where it publishes (pub).
    pub fn after(mut self, name: impl Into<String>, publish: impl Into<String>) -> Self {
        self.previous.push(Previous::new(name, publish));
        self
    }

    local_settings!();
    to_client_setting!();
    common_settings!();

    /// Starts it. Returns when all parts are ready; the steps before need not be there yet.
    ///
    /// # Errors
    /// No step before it, or one twice; an address that is malformed, in use or not to be bound; a name or
    /// number of threads that makes no sense; a store that cannot be written.
    pub fn start(self) -> Result<Running> {
        if self.previous.is_empty() {
            return Err(self.common.wrong("a sink comes after other steps"));
        }
        for (number, step) in self.previous.iter().enumerate() {
            if self.previous[..number].contains(step) {
                let (name, address) = (&step.name, &step.address);
                let reason = format!("it comes after '{name}' at {address} twice");
                return Err(self.common.wrong(&reason));
            }
        }
        let subs: Vec<_> = self
            .previous
            .iter()
            .map(|step| self.common.sub(step))
            .collect();
        let mut assembly = self.common.with_functions(self.functions, self.threads)?;
        for (number, (sub, step)) in subs.into_iter().zip(self.previous).enumerate() {
            assembly = assembly
                .inbound(format!("Sub_{number}"), sub, "Functions")
                .preset(format!("sub_address_{number}"), step.address);
        }
        assembly.start()
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sink")
            .field("name", &self.common.name)
            .field("previous", &self.previous)
            .field("functions", &self.functions)
            .finish_non_exhaustive()
    }
}
