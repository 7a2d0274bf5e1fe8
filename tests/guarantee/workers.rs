//! Workers that are killed.

use std::time::{Duration, Instant};

use crate::common::{Random, limit};
use crate::journal::Journal;
use crate::process::{Process, Role, alone, disturbed, master};

const WORKERS: usize = 4;
const MESSAGES: u64 = 200_000;
const EACH: Duration = Duration::from_millis(200);

/// How many are killed at the least.
const LEAST: u64 = 5;

#[test]
fn a_worker_killed_every_200_ms_costs_no_result_and_doubles_none() {
    let _alone = alone();
    let _limit = limit(240, "workers that are killed");
    let mut random = Random::new("workers that are killed");
    let journal = Journal::new();
    let (master, db) = master();
    let _master = master.start();
    let worker = Role::new("worker")
        .with("db", &db)
        .with("journal", journal.path());
    let mut workers: Vec<Process> = (0..WORKERS).map(|_| worker.start()).collect();
    let client = Role::new("client")
        .with("db", &db)
        .with("messages", MESSAGES);
    let mut killed = 0;
    let mut next = Instant::now() + EACH;
    let tallies = disturbed(&client, LEAST, || {
        if Instant::now() >= next {
            next += EACH;
            let victim = &mut workers[random.below(WORKERS)];
            victim.kill();
            *victim = worker.spawn();
            killed += 1;
        }
        killed
    });
    let messages = tallies.len() as u64 * MESSAGES;
    println!(
        "{messages} messages, {killed} workers killed, {} messages run again, in {:?}",
        journal.beyond(messages),
        tallies.iter().map(|tally| tally.took).sum::<Duration>(),
    );
}
