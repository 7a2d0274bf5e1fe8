//! The guarantee, held by real processes: kill any of them, cut any connection, at any time; as
//! long as the client lives, each message yields its outputs at the client exactly once, or an
//! error that names the cause.
//!
//! Payloads are numbers, each step makes another number of each, and what comes back is compared
//! as a multiset. The processes are this test binary itself, started again with a role (`role`).
//! All that takes the machine for itself runs one after another.
//!
//! ```text
//! cargo test --test guarantee -- --nocapture                      # held, with the numbers
//! cargo test --release --test guarantee -- --nocapture --ignored  # measured, in full size
//! ```

#[path = "../common/mod.rs"]
mod common;

mod balance;
mod chain;
mod cuts;
mod failures;
mod journal;
mod long;
mod master;
mod memory;
mod partition;
mod process;
mod proxy;
mod role;
mod saw;
mod storm;
mod takeover;
mod tally;
mod workers;
