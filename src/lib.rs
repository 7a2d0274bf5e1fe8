//! palm builds clusters of components over ZeroMQ: clients, servers, pipelines, sinks, masters
//! with workers, hubs, and a key-value cache beside each. It speaks the wire of pylm, the Python
//! implementation, so that every pylm client, server and worker works with it.
//!
//! # Hello, world
//!
//! A master, a worker and a client. Here they are in one process; in earnest each is one of its
//! own, on any machine, and needs to know nothing but the address of the master's cache (db).
//!
//! ```
//! use palm::{Addresses, Client, Master, Worker};
//!
//! // Free ports of the loopback interface; `Addresses::default()` has pylm's usual ones.
//! let master = Master::new("server", Addresses::ephemeral()).start()?;
//! let db = &master.addresses().db;
//!
//! let worker = Worker::new(db)
//!     .function("shout", |call| Ok(call.payload().to_ascii_uppercase()))
//!     .start()?;
//!
//! let client = Client::connect("server", db)?;
//! assert_eq!(client.eval("server.shout", "hello")?, b"HELLO");
//! for result in client.job("server.shout", ["one", "two", "three"])? {
//!     println!("{}", String::from_utf8_lossy(&result?));
//! }
//! # Ok::<(), palm::Error>(())
//! ```
//!
//! # Templates
//!
//! | template | messages come from | the work is done by | results go to |
//! |----------|--------------------|---------------------|---------------|
//! | [`Server`] | clients | its own functions | clients, or a next step |
//! | [`Pipeline`] | an earlier step | its own functions | clients, or a next step |
//! | [`Sink`] | several earlier steps | its own functions | clients, or a next step |
//! | [`Master`] | clients | workers in other processes | clients, or a next step |
//! | [`Hub`] | an earlier step | workers in other processes | clients, or a next step |
//! | [`Reducer`] | clients, or an earlier step | workers, which combine values in pairs | clients, or a next step |
//! | [`Worker`] | its master, hub or reducer | its own functions | whom it works for |
//!
//! A [`Client`] calls a server, or a chain of several steps: it sends to the first and listens
//! to the last. A function is a closure, or a [`Handler`], from a [`Call`] to a [`Reply`] of
//! nothing, one payload or several, or an error; the same one runs in all of these. What fails,
//! or panics, is the error of that call, and no more.
//!
//! # Parts
//!
//! Templates are [assemblies](Assembly) of [parts](part), each a thread with a socket of its
//! own, around a router. Another combination is made from the same parts.
//!
//! A template of one's own takes as many lines as one of palm's. This one does small things
//! itself, and has workers for large ones:
//!
//! ```
//! use palm::part::{FunctionService, PubService, PullService, Route};
//! use palm::part::{WorkerPullService, WorkerPushService};
//! use palm::{Addresses, Assembly, Client, Functions, Running, Worker};
//!
//! struct TwoTier {
//!     name: String,
//!     functions: Functions,
//!     small: usize,
//! }
//!
//! impl TwoTier {
//!     fn new(name: &str, functions: Functions) -> Self {
//!         Self { name: name.to_owned(), functions, small: 1_000 }
//!     }
//!
//!     /// Up to how many bytes are small.
//!     fn small(mut self, bytes: usize) -> Self {
//!         self.small = bytes;
//!         self
//!     }
//!
//!     fn start(self, at: Addresses) -> palm::Result<Running> {
//!         let by_size = Route::through(["Functions", "WorkerPush"], move |frame, ways| {
//!             ways.send(usize::from(frame.payload().len() > self.small), frame);
//!         });
//!         Assembly::new(&self.name)
//!             .inbound("Pull", PullService::new(at.pull), by_size.failures_to("Pub"))
//!             .inbound("WorkerPull", WorkerPullService::new(at.worker_pull), "Pub")
//!             .outbound("Functions", FunctionService::new(self.functions))
//!             .replies("Functions", "Pub")
//!             .outbound("WorkerPush", WorkerPushService::new(at.worker_push))
//!             .outbound("Pub", PubService::new(at.publish))
//!             .cache("Cache", at.db)
//!             .preset("name", self.name)
//!             .preset_address("pull_address", "Pull")
//!             .preset_address("pub_address", "Pub")
//!             .preset_address("worker_pull_address", "WorkerPull")
//!             .preset_address("worker_push_address", "WorkerPush")
//!             .start()
//!     }
//! }
//!
//! let here = Functions::new().function("len", |call| Ok(format!("{} here", call.payload().len())));
//! let server = TwoTier::new("server", here).small(10).start(Addresses::ephemeral())?;
//! let db = &server.addresses().db;
//! let worker = Worker::new(db)
//!     .function("len", |call| Ok(format!("{} there", call.payload().len())))
//!     .start()?;
//!
//! let client = Client::connect("server", db)?;
//! assert_eq!(client.eval("server.len", "small")?, b"5 here");
//! assert_eq!(client.eval("server.len", "rather large")?, b"12 there");
//! # Ok::<(), palm::Error>(())
//! ```
//!
//! # What is promised
//!
//! Kill any process, cut any connection, at any time: as long as the client lives, every message
//! that it submitted yields its results at the client exactly once, or an error that names the
//! cause.
//!
//! That holds between palm peers, which speak the *palm link* ([`Addresses::link`]): they find it
//! by themselves. Whoever gives a message to another keeps it until that one says that it is
//! done, and it says so only when all that came of the message is done in turn. So a job ends by
//! itself, whatever becomes of its messages on the way; a killed worker's tasks run elsewhere; a
//! step may be restarted at will; and each result comes once, though after a crash a function may
//! run twice.
//!
//! - Every queue has a bound, and every wait an end. A client that does not read stops itself
//!   and nobody else.
//! - A worker is given what keeps it busy, and no more: what waits at a busy one while another is
//!   idle is called back. Clients are served in turn.
//! - An error tells its cause: see [`Error`].
//!
//! With pylm peers, or where [`Wire::Pylm`] is asked for, the pylm wire is spoken: five ZeroMQ
//! sockets and one message, of which nobody says what has become of it. As far as one side alone
//! can, palm does better there than ZeroMQ does:
//!
//! - A client's subscription stands before its first call, and a publisher holds each result
//!   until its client has subscribed: no answer is missed for being early.
//! - Nothing is dropped at a high-water mark. A reader that is slow holds up, in the end, the
//!   one who sends; only one that takes nothing for 30 s is not waited for any more, which is
//!   counted and logged.
//! - What a master gives to pylm workers it gives again when one of them vanishes.
//!
//! # What is going on
//!
//! [`Status::of`] asks any component that has a link how it is: its totals, its workers, its
//! clients and its next steps, and why messages wait. `palm status` prints that.
//!
//! # Features
//!
//! - `cli` (default): the binary `palm`, and [`logging`].
//! - `http`: functions by URL, and messages over HTTP.
//! - `rocksdb`: a cache that survives a restart, by [`store::open`]. It needs libclang, and
//!   some minutes of C++ at the first build.
#![warn(missing_docs)]

// First: the others use its macro.
#[macro_use]
mod handler;

mod address;
mod bell;
mod cache;
mod client;
mod core;
mod error;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "cli")]
pub mod logging;
pub mod message;
pub mod part;
pub mod reduce;
#[cfg(test)]
mod sim;
mod socket;
pub mod status;
pub mod store;
mod template;
mod time;
mod wire;
mod worker;

pub use address::Addresses;
pub use cache::CacheClient;
pub use client::{Canceller, Client, ClientBuilder, Job, JobResult, Request, Results};
pub use error::{BoxError, Error, Result};
pub use handler::{Cache, Call, Functions, Handler, Reply};
pub use message::{Frame, PalmMessage, Steps};
pub use part::{Assembly, Running, Stopper};
pub use status::Status;
pub use store::Store;
pub use template::{Hub, Master, Pipeline, Reducer, Server, Sink};
pub use wire::Wire;
pub use worker::Worker;

/// The program in the README is one that runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
