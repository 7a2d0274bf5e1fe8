//! The simulator: clients, servers, pipelines, sinks, masters, hubs and their workers, made of
//! the real state machines, on a virtual network in virtual time.
//!
//! A seed decides everything: who there is, how much there is to do, how slow what is, which
//! connections break, who crashes, is stuck or leaves, and when. So a seed that fails fails
//! again, and
//!
//! ```text
//! PALM_SEED=123 cargo test --lib sim::replay -- --nocapture --include-ignored
//! ```
//!
//! prints step by step what happens. What is checked:
//! - each message of each client that lives has the outputs that it is to have, each once, or
//!   an error where what has happened excuses one;
//! - each job ends;
//! - every queue stays within its bound;
//! - when the clients have left, nothing is kept;
//! - nobody is busy with nothing.

mod check;
pub(crate) mod client;
mod component;
mod dealer;
mod net;
mod plan;
pub(crate) mod rng;
mod worker;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::core::planted::{self, FAULTS, Fault};
use parking_lot::Mutex;
use world::World;

/// What is wrong in the world of a seed, if anything is. A panic is.
fn failure(seed: u64) -> Option<String> {
    let run = AssertUnwindSafe(|| World::new(seed, false).run());
    match catch_unwind(run) {
        Ok(result) => result.err(),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or(panic.downcast_ref::<&str>().copied());
            Some(format!("a panic: {}", text.unwrap_or("?")))
        }
    }
}

/// Runs so many seeds on all cores, with this fault planted. Gives up to `enough` that failed,
/// and why.
fn failures(first: u64, count: u64, enough: usize, fault: Option<Fault>) -> Vec<(u64, String)> {
    let next = AtomicU64::new(first);
    let found = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while found.lock().len() < enough {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count {
                        break;
                    }
                    if let Some(failure) = planted::with(fault, || failure(seed)) {
                        found.lock().push((seed, failure));
                    }
                }
            });
        }
    });
    let mut found = found.into_inner();
    found.sort();
    found
}

fn assert_all_pass(first: u64, count: u64) {
    let failures = failures(first, count, 20, None);
    for (seed, failure) in &failures {
        println!("seed {seed}: {failure}");
        println!(
            "  PALM_SEED={seed} cargo test --lib sim::replay -- --nocapture --include-ignored"
        );
    }
    assert!(failures.is_empty(), "seeds fail, see above");
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn two_thousand_worlds_keep_the_guarantee() {
    assert_all_pass(0, 2_000);
}

/// A simulator that finds nothing may be blind.
#[test]
#[ignore = "half a minute in the release profile"]
fn each_planted_fault_is_found() {
    let seeds = number("PALM_SEEDS").unwrap_or(10_000);
    let mut unfound = Vec::new();
    for fault in FAULTS {
        match failures(0, seeds, 1, Some(fault)).first() {
            Some((seed, failure)) => {
                let line = failure.lines().next().unwrap_or_default();
                println!("{fault:?} by seed {seed}: {line}");
            }
            None => unfound.push(fault),
        }
    }
    assert!(unfound.is_empty(), "not found: {unfound:?}");
}

/// `PALM_SEEDS` says how many, `PALM_FIRST` from which on.
#[test]
#[ignore = "a few minutes, and only in the release profile"]
fn a_hundred_thousand_worlds_keep_the_guarantee() {
    let first = number("PALM_FIRST").unwrap_or(2_000);
    assert_all_pass(first, number("PALM_SEEDS").unwrap_or(100_000));
}

#[test]
#[ignore = "prints what happens in the world of PALM_SEED"]
fn replay() {
    let Some(seed) = number("PALM_SEED") else {
        return;
    };
    if let Err(failure) = World::new(seed, true).run() {
        panic!("seed {seed}: {failure}");
    }
}
