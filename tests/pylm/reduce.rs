//! A reducer among pylm peers: its workers, its clients, and the step before it.

use std::time::Duration;

use palm::reduce::{Group, combine};
use palm::{Addresses, BoxError, Client, Reducer, Running, Worker};

use crate::support::*;

/// A reducer of values that begin with a number, with a group for each remainder by 5.
fn reducer(name: &str) -> Reducer {
    Reducer::new(name, Addresses::ephemeral()).key(|message| group(&message.payload))
}

fn group(value: &[u8]) -> Group {
    let remainder = number(value).expect("a number") % 5;
    Group::of(remainder.to_string())
}

fn number(value: &[u8]) -> Result<u64, BoxError> {
    let word = value.split(|&byte| byte == b' ').next();
    Ok(std::str::from_utf8(word.unwrap_or_default())?.parse()?)
}

fn palm_worker(reducer: &Running) -> Running {
    let add = |left: &[u8], right: &[u8]| {
        let sum = number(left)? + number(right)?;
        Ok(sum.to_string().into_bytes())
    };
    let worker = Worker::new(&reducer.addresses().db).handler("add", combine(add));
    worker.start().unwrap()
}

/// The sums of the numbers below `count`, by group, in order.
fn sums(count: u64) -> Vec<u64> {
    let sum = |remainder| (0..count).filter(|n| n % 5 == remainder).sum();
    let mut sums: Vec<u64> = (0..5).map(sum).collect();
    sums.sort_unstable();
    sums
}

/// The results of a job of the numbers below `count`, which marks its end, in order.
fn added(client: &Client, path: &str, count: u64, timeout: Duration) -> palm::Result<Vec<u64>> {
    let numbers = (0..count).map(|number| number.to_string());
    let job = client.request(path).end_mark().timeout(timeout);
    let results = job.job(numbers)?;
    let mut sums = Vec::new();
    for result in results {
        sums.push(number(&result?).expect("a number"));
    }
    sums.sort_unstable();
    Ok(sums)
}

#[test]
fn pylm_workers_combine_pairs() {
    let reducer = reducer("server").start().unwrap();
    let db = &reducer.addresses().db;
    let _workers = ["one", "two"].map(|name| worker(Pylm, name, db));
    let _palm = palm_worker(&reducer);
    let client = Client::connect("server", db).unwrap();
    let added = added(&client, "server.add", 1_000, SOON).unwrap();
    assert_eq!(added, sums(1_000));
}

#[test]
fn pylm_clients_get_the_results_of_groups_that_are_closed_by_their_number() {
    let reducer = reducer("server").key(|message| group(&message.payload).expecting(4));
    let reducer = reducer.start().unwrap();
    let _worker = palm_worker(&reducer);
    let numbers: Vec<String> = (0..20).map(|number| number.to_string()).collect();
    let mut args = vec!["--function", "server.add", "--count", "5", "payloads"];
    args.extend(numbers.iter().map(String::as_str));
    let host = Host::Palm(reducer);
    let lines = pylm_client(&host, &args);
    let mut added: Vec<u64> = lines.iter().map(|line| line.parse().unwrap()).collect();
    added.sort_unstable();
    assert_eq!(added, sums(20));
}

#[test]
fn the_mark_at_the_end_gets_through_a_pylm_step() {
    let first = pylm_first_step();
    let reducer = reducer("reducer")
        .after("server", &first.addresses().publish)
        .start()
        .unwrap();
    let _worker = palm_worker(&reducer);
    let client = Client::builder("server", first.db())
        .publish(&reducer.addresses().publish)
        .connect()
        .unwrap();
    let path = "server.square reducer.add";
    // pylm publishes whether or not the reducer has subscribed yet: only then does all arrive.
    let subscribed = (0..50).any(|_| added(&client, path, 5, Duration::from_millis(200)).is_ok());
    assert!(subscribed, "nothing gets through");
    assert_eq!(added(&client, path, 200, SOON).unwrap(), sums(200));
}
