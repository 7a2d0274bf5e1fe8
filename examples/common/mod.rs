//! What the examples share: the flags, and how results are printed.

#![allow(dead_code, unused_imports, reason = "no example uses all of it")]

mod flags;

pub use flags::{
    ChainFlags, ClientFlags, ServerFlags, StepFlags, WorkerFlags, port, single_addresses,
};

use palm::logging::{self, Output};

/// Has the log written to standard output, as pylm does.
pub fn log(level: log::LevelFilter) {
    logging::init(level, Output::Stdout);
}

/// Bytes as Python prints them, so that the output can be compared.
pub fn python(bytes: &[u8]) -> String {
    format!("b'{}'", bytes.escape_ascii())
}

/// Why an example ends early, in words.
pub struct Failure(palm::BoxError);

impl<E: Into<palm::BoxError>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

/// What Rust prints when `main` fails.
impl std::fmt::Debug for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}
