//! A master that is killed and started again.

use std::time::Duration;

use crate::common::limit;
use crate::journal::Journal;
use crate::process::{Process, Role, alone, master, until_number};

const WORKERS: usize = 4;
const MESSAGES: u64 = 200_000;
const KILLED: u64 = 5;

#[test]
fn a_master_killed_five_times_costs_no_result_and_doubles_none() {
    let _alone = alone();
    let _limit = limit(240, "a master that is killed");
    let journal = Journal::new();
    let (role, db) = master();
    let mut master = role.start();
    let worker = Role::new("worker")
        .with("db", &db)
        .with("journal", journal.path());
    let _workers: Vec<Process> = (0..WORKERS).map(|_| worker.start()).collect();
    let client = Role::new("client")
        .with("db", &db)
        .with("messages", MESSAGES);
    let client = client.start();
    for time in 1..=KILLED {
        let come = MESSAGES * time / (KILLED + 1);
        until_number(&client, "come", come, Duration::from_secs(60));
        master.kill();
        master = role.start();
    }
    let tally = client.tally(Duration::from_secs(60));
    let (again, most) = journal.again();
    println!(
        "{MESSAGES} messages, the master killed {KILLED} times, {again} messages run again, one \
         {most} times, in {:?}",
        tally.took
    );
    tally.is_whole();
}
