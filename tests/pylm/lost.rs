//! pylm workers of a palm master that are killed: what they had is run by others.

use palm::{Client, Wire};

use crate::support::*;

const MESSAGES: usize = 600;

/// A job at two pylm workers, one of which is killed in the midst of it.
fn job_with_a_killed_worker(wire: Wire) {
    let master = master(Palm);
    let killed = worker(Pylm, "one", master.db());
    let mut other = worker(Pylm, "two", master.db());
    let client = Client::builder("server", master.db()).wire(wire);
    let client = client.connect().unwrap();
    let payloads = (0..MESSAGES).map(|number| number.to_string());
    let request = client.request("server.slow").timeout(SOON);
    let mut job = request.job(payloads).unwrap();
    let mut results = Vec::new();
    let mut next = || {
        let result = job.next().map(Result::unwrap);
        result.map(|result| String::from_utf8(result).unwrap())
    };
    while results.len() < 50 {
        results.extend(next());
    }
    drop(killed);
    while let Some(result) = next() {
        results.push(result);
    }
    assert!(other.is_alive());
    let mut numbers: Vec<usize> = results.iter().map(|text| text.parse().unwrap()).collect();
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..MESSAGES), "{wire:?}");
}

#[test]
fn what_a_killed_pylm_worker_had_is_run_by_another_and_comes_once_over_the_link() {
    job_with_a_killed_worker(Wire::Link);
}

#[test]
fn what_a_killed_pylm_worker_had_is_run_by_another_and_comes_once_on_the_pylm_wire() {
    job_with_a_killed_worker(Wire::Pylm);
}

#[test]
fn pylm_and_palm_workers_share_a_job_and_either_may_be_killed() {
    let master = master(Palm);
    let pylm = worker(Pylm, "one", master.db());
    let _palm = worker(Palm, "two", master.db());
    let client = Client::connect("server", master.db()).unwrap();
    let payloads = (0..MESSAGES).map(|number| number.to_string());
    let request = client.request("server.square").timeout(SOON);
    let mut job = request.job(payloads).unwrap();
    let mut lines = Vec::new();
    while lines.len() < 20 {
        let line = job.next().unwrap().unwrap();
        lines.push(String::from_utf8(line).unwrap());
    }
    drop(pylm);
    lines.extend(job.map(|line| String::from_utf8(line.unwrap()).unwrap()));
    check_squares(&lines, MESSAGES);
}
