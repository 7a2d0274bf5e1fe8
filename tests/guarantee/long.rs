//! A task that takes longer than anybody may be silent.

use std::time::Duration;

use palm::Client;

use crate::common::limit;
use crate::journal::Journal;
use crate::process::{Process, Role, master};
use crate::tally::{Plan, Tally, payload};

/// Heartbeats come every 250 ms, and a silence of 2 s is an end.
const LONG: Duration = Duration::from_secs(30);

// It sleeps: so it disturbs nobody, and runs beside the others.
#[test]
fn a_task_of_30_s_runs_once() {
    let _limit = limit(120, "a long task");
    let journal = Journal::new();
    let (master, db) = master();
    let _master = master.start();
    let worker = Role::new("worker")
        .with("db", &db)
        .with("journal", journal.path())
        .with("nap", LONG.as_micros());
    // The idle one would take it, if it were to be had.
    let _workers: Vec<Process> = (0..2).map(|_| worker.start()).collect();
    let client = Client::connect("m", &db).unwrap();
    let job = client.job("m.f", [payload(0, 8)]).unwrap();
    let plan = Plan::of(1, 8);
    let tally = Tally::of(job, plan, |_| {});
    tally.is_whole();
    assert!(tally.took >= LONG);
    println!(
        "a task of {:?} ran {} time",
        tally.took,
        journal.runs().len()
    );
    assert_eq!(journal.runs().len(), 1);
}
