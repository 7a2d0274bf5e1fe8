//! How soon the tasks of a worker that is gone are running elsewhere.

use std::time::Duration;

use palm::Client;

use crate::common::{limit, until_within};
use crate::journal::{Journal, Run, now};
use crate::process::{Process, Role, alone, master};
use crate::tally::{Plan, Tally, payload};

/// How many workers are taken away, and how many are left.
const GONE: u64 = 3;
const LEFT: usize = 2;

#[test]
fn a_killed_workers_task_is_running_elsewhere_within_one_second() {
    let after = taken_over_after("KILL");
    println!("a killed worker's task was running elsewhere after {after:?}");
    assert!(after.iter().all(|after| *after < Duration::from_secs(1)));
}

#[test]
fn the_task_of_a_worker_that_hangs_is_running_elsewhere_within_three_seconds() {
    let after = taken_over_after("STOP");
    println!("a stopped worker's task was running elsewhere after {after:?}");
    assert!(after.iter().all(|after| *after < Duration::from_secs(3)));
}

/// Workers get a signal while each runs a task that takes long: after how long the tasks were
/// begun elsewhere.
fn taken_over_after(signal: &str) -> Vec<Duration> {
    let _alone = alone();
    let _limit = limit(60, "tasks that are taken over");
    let journal = Journal::new();
    let (master, db) = master();
    let _master = master.start();
    let worker = Role::new("worker")
        .with("db", &db)
        .with("journal", journal.path())
        .with("long", 60_000_000);
    let count = GONE as usize + LEFT;
    let workers: Vec<Process> = (0..count).map(|_| worker.start()).collect();
    let client = Client::connect("m", &db).unwrap();
    let request = client.request("m.long_once");
    let job = request.timeout(Duration::from_secs(20));
    let job = job.job((0..GONE).map(|number| payload(number, 8))).unwrap();
    let runs_of = |number: u64| -> Vec<Run> {
        let runs = journal.runs().into_iter();
        runs.filter(|run| run.number == number).collect()
    };
    let mut after = Vec::new();
    for number in 0..GONE {
        until_within(Duration::from_secs(5), "a task to begin", || {
            !runs_of(number).is_empty()
        });
        let at = runs_of(number)[0].process;
        let victim = workers.iter().find(|worker| u64::from(worker.id()) == at);
        let sent = now();
        victim.unwrap().signal(signal);
        until_within(Duration::from_secs(10), "it to begin elsewhere", || {
            runs_of(number).len() > 1
        });
        after.push(Duration::from_nanos(runs_of(number)[1].at - sent));
    }
    // Those that only hang go on now: what they still say of their tasks is too late.
    if signal == "STOP" {
        workers.iter().for_each(|worker| worker.signal("CONT"));
    }
    let plan = Plan::of(GONE, 8);
    Tally::of(job, plan, |_| {}).is_whole();
    assert!(journal.again().1 == 2, "no task is run a third time");
    after
}
