//! Clients that read late: what they have not read yet waits for them.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::process::Command;
use std::time::Duration;

use crate::support::*;

const MESSAGES: usize = 20_000;

#[test]
fn a_pylm_client_that_reads_5_s_late_gets_all_its_large_results_from_a_palm_master() {
    let master = master(Palm);
    let _workers = ["one", "two"].map(|name| worker(Palm, name, master.db()));
    // It reads one result, so that its subscription stands, and then none for 5 s.
    let args = ["--function", "server.large", "--digest", "--pause", "5"];
    let lines = pylm_numbers(&master, &args, MESSAGES);

    let seen: BTreeSet<_> = lines.iter().cloned().collect();
    let expected: BTreeSet<_> = (0..MESSAGES)
        .map(|number| digest(&large(number.to_string().as_bytes())))
        .collect();
    let lost: Vec<_> = expected.difference(&seen).take(10).collect();
    assert!(lost.is_empty(), "{} came, but not {lost:?}", seen.len());
    assert_eq!(lines.len(), MESSAGES, "some came twice");
}

#[test]
fn a_palm_client_that_is_held_up_for_3_s_gets_all_its_large_results_from_a_pylm_server() {
    let host = server(Pylm);
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("numbers");
    let mut numbers = String::new();
    for number in 0..MESSAGES {
        let _ = writeln!(numbers, "{number}");
    }
    std::fs::write(&input, numbers).unwrap();
    let mut command = Command::new(palm_program());
    command.args(["job", "--db", host.db(), "--timeout", "10", "--input"]);
    command.arg(&input).arg("server.large");
    let client = Peer::start("palm job", command);

    // By then as much as it ever sends ahead is on its way.
    let begun = client.wait_for("2,000 results", SOON, |lines| lines.len() >= 2_000);
    begun.unwrap_or_else(|error| panic!("{error}"));
    // As on a machine that is short of time: nothing of it runs, so nothing is read. A pylm
    // publisher drops what is more than 1,000 messages ahead of its subscriber.
    client.signal("STOP");
    std::thread::sleep(Duration::from_secs(3));
    client.signal("CONT");
    let lines = client
        .finish(LONG)
        .unwrap_or_else(|error| panic!("{error}"));
    let number = |line: &String| line.split(' ').next().map(str::to_owned);
    let seen: BTreeSet<_> = lines.iter().filter_map(number).collect();
    assert_eq!((lines.len(), seen.len()), (MESSAGES, MESSAGES));
}
