//! The memory that a master and its client need, whatever goes through them.

use std::time::Duration;

use crate::common::limit;
use crate::process::{Process, Role, alone, master};

/// What a master holds by default, as a client's job does, and what may be needed beside that:
/// in MiB.
const BOUND: u64 = 32 + 64;

/// So many messages of this size go through a master with workers that take so many
/// microseconds for each.
fn stays_small(messages: u64, size: usize, nap: u64) {
    let _alone = alone();
    let _limit = limit(1_200, "memory");
    let (master, db) = master();
    let master = master.start();
    let worker = Role::new("worker").with("db", &db).with("nap", nap);
    let _workers: Vec<Process> = (0..4).map(|_| worker.start()).collect();
    let client = Role::new("client")
        .with("db", &db)
        .with("messages", messages)
        .with("size", size);
    let client = client.start();
    let tally = client.tally(Duration::from_secs(1_000));
    let peaks = (master.peak(), client.number("peak"));
    println!(
        "{messages} messages of {size} bytes in {:?}: the master needed {} MiB at the most, the \
         client {} MiB",
        tally.took, peaks.0, peaks.1
    );
    tally.is_whole();
    assert!(peaks.0 < BOUND, "the master needed {} MiB", peaks.0);
    assert!(peaks.1 < BOUND, "the client needed {} MiB", peaks.1);
}

#[test]
fn many_small_messages_and_slow_workers_need_no_more_memory_than_the_bound() {
    stays_small(60_000, 100, 200);
}

#[test]
fn large_messages_and_slow_workers_need_no_more_memory_than_the_bound() {
    stays_small(500, 1_000_000, 20_000);
}

#[test]
#[ignore = "the same in full size"]
fn a_million_small_messages_and_slow_workers_need_no_more_memory_than_the_bound() {
    stays_small(1_000_000, 100, 200);
}

#[test]
#[ignore = "the same in full size"]
fn ten_thousand_large_messages_and_slow_workers_need_no_more_memory_than_the_bound() {
    stays_small(10_000, 1_000_000, 20_000);
}
