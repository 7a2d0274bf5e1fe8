//! Starting and ending both sides, and what both compute.

mod functions;
mod hosts;
mod job;
mod peer;
mod ports;
mod programs;
mod python;

pub use functions::{digest, functions, large};
pub use hosts::{
    Host, master, mux_worker, palm_master, pylm_first_step, pylm_master_at, server, worker,
};
pub use job::{check_squares, pylm_client, pylm_client_within, pylm_numbers, squares};
pub use peer::Peer;
pub use ports::{free_addresses, free_port};
pub use programs::palm_program;
pub use python::{interpreter, script};

use std::time::Duration;

/// Whose implementation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Palm,
    Pylm,
}

pub use Side::{Palm, Pylm};

/// For what takes a moment: a process that starts, a single call.
pub const SOON: Duration = Duration::from_secs(30);

/// For a job of many messages, on a machine that is busy with other tests.
pub const LONG: Duration = Duration::from_secs(150);
