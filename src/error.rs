//! The one error type of the crate.

use std::fmt::Display;
use std::io;
use std::time::Duration;

/// What can go wrong, each variant with what was tried and where.
///
/// Errors are told apart by their variant, never by their text.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An address is not one that a socket could take.
    #[error("bad address '{address}': {reason}")]
    Address {
        /// The address as it was given.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A part could not bind its address: in use, not of this machine, not permitted.
    #[error("{part} cannot bind {address}: {source}")]
    Bind {
        /// The part that tried.
        part: String,
        /// The address it tried.
        address: String,
        /// What the system says.
        source: io::Error,
    },
    /// A part could not connect to an address. A peer that is merely absent is no error here.
    #[error("{part} cannot connect to {address}: {source}")]
    Connect {
        /// The part that tried.
        part: String,
        /// The address it tried.
        address: String,
        /// What the system says.
        source: io::Error,
    },
    /// A peer did not answer in time.
    #[error("no answer from {what} at {address} within {}", seconds(.waited))]
    Unreachable {
        /// What was asked, for instance `the cache (db)`.
        what: &'static str,
        /// The address it was asked at.
        address: String,
        /// How long the caller waited.
        waited: Duration,
    },
    /// The peer is another server than the one that the caller named.
    #[error("wrong server: expected '{expected}', but '{found}' answers at {address}")]
    WrongServer {
        /// The name that the caller gave.
        expected: String,
        /// The name of the server that is there.
        found: String,
        /// Where it was found.
        address: String,
    },
    /// A server does not tell an address that its peers need.
    #[error("the server at {address} tells no '{key}'")]
    NotConfigured {
        /// The cache key that is empty.
        key: String,
        /// The address of its cache.
        address: String,
    },
    /// A function path is not `server.function`, or several of them separated by single spaces.
    #[error("bad function '{path}': {reason}")]
    Path {
        /// The path as it was given.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A frame is no message of the pylm wire.
    #[error("malformed message: {reason}")]
    Malformed {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A message is larger than the limit.
    #[error("message of {size} bytes is over the limit of {limit} bytes")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// A function ran and failed.
    #[error("{function} failed: {cause}")]
    Function {
        /// The path that was called.
        function: String,
        /// What the function says.
        cause: String,
    },
    /// Nobody at the called server has a function of this name.
    #[error("unknown function: {cause}")]
    UnknownFunction {
        /// The path that was called.
        function: String,
        /// Who does not know it.
        cause: String,
    },
    /// The called server refused the message for another reason.
    #[error("{function} was refused: {cause}")]
    Refused {
        /// The path that was called.
        function: String,
        /// Why.
        cause: String,
    },
    /// A message was given up after several attempts: each time, whoever ran its function was
    /// lost, or silent for too long.
    #[error("{function} was given up after {attempts} attempt{}: {cause}", if *attempts == 1 { "" } else { "s" })]
    GivenUp {
        /// The path that was called.
        function: String,
        /// How often it was tried.
        attempts: u32,
        /// What became of the last attempt.
        cause: String,
    },
    /// Nobody was there to take a message, or what came of it, for too long.
    #[error("{function} was not delivered: {cause}")]
    Undelivered {
        /// The path that was called.
        function: String,
        /// Who was missing.
        cause: String,
    },
    /// The job was cancelled.
    #[error("{function} was cancelled")]
    Cancelled {
        /// The path that was called.
        function: String,
    },
    /// The time that the caller allowed is over.
    #[error("timed out after {} waiting for {what}", seconds(.after))]
    Timeout {
        /// What did not come, with the counts as they stood.
        what: String,
        /// The time that was allowed.
        after: Duration,
    },
    /// A cache call was refused by the server.
    #[error("the cache at {address} refused to {call} '{key}'")]
    Cache {
        /// The call: `set` or `delete`.
        call: &'static str,
        /// The key it was about.
        key: String,
        /// The address of the cache.
        address: String,
    },
    /// A store could not be opened, read or written.
    #[error("store {store}: {reason}")]
    Store {
        /// Which store: its folder, or `memory`.
        store: String,
        /// What went wrong.
        reason: String,
    },
    /// A part of a component died, and the component with it.
    #[error("part {part} died: {cause}")]
    Died {
        /// The part.
        part: String,
        /// Its last words.
        cause: String,
    },
    /// The component was stopped.
    #[error("{component} was stopped")]
    Stopped {
        /// Its name.
        component: String,
    },
    /// A component is put together wrongly.
    #[error("{component}: {reason}")]
    Setup {
        /// Its name.
        component: String,
        /// What is wrong.
        reason: String,
    },
    /// The operating system refused something that every part needs.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system says.
        source: io::Error,
    },
}

/// The result of whatever can fail with an [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Any error: what handlers return, so that `?` works on whatever they call.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl Error {
    pub(crate) fn system(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::System { what, source }
    }

    /// The error of a component that is put together wrongly.
    pub(crate) fn setup(component: &str, reason: impl Into<String>) -> Self {
        Self::Setup {
            component: format!("'{component}'"),
            reason: reason.into(),
        }
    }

    pub(crate) fn died(part: &str, cause: impl Display) -> Self {
        Self::Died {
            part: part.to_owned(),
            cause: cause.to_string(),
        }
    }
}

/// A text of a peer's as it may stand in a log or an error: not long, and on one line.
pub(crate) fn shown(text: &str) -> String {
    const MOST: usize = 80;
    let mut cut: String = text.chars().take(MOST).collect();
    if cut.len() < text.len() {
        cut.push('…');
    }
    cut.escape_debug().to_string()
}

pub(crate) fn seconds(time: &Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}
