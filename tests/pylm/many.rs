//! Several results for a message, or none: functions that give many, `scatter` and `gather`.

use palm::{Addresses, Client, Master, PalmMessage};

use crate::support::*;

/// Each asks for so many results.
const ASKED: [&str; 4] = ["3", "0", "100", "5"];

fn expected_parts() -> Vec<String> {
    let parts = |asked: &&str| {
        let asked = asked.to_string();
        let count: usize = asked.parse().unwrap();
        (0..count).map(move |part| format!("{asked}.{part}"))
    };
    let mut expected: Vec<_> = ASKED.iter().flat_map(parts).collect();
    expected.sort();
    expected
}

/// A job of some payloads with so many results, sorted.
fn job(client: Side, host: &Host, function: &str, payloads: &[&str], count: usize) -> Vec<String> {
    let mut results = match client {
        Palm => palm_job(host, function, payloads, count),
        Pylm => pylm_job(host, function, payloads, count),
    };
    results.sort();
    results
}

fn palm_job(host: &Host, function: &str, payloads: &[&str], count: usize) -> Vec<String> {
    let client = Client::connect("server", host.db()).unwrap();
    let payloads: Vec<_> = payloads.iter().map(|payload| payload.to_string()).collect();
    let request = client.request(function).expect(count).timeout(SOON);
    let results = request.job(payloads).unwrap();
    results
        .map(|result| String::from_utf8(result.unwrap()).unwrap())
        .collect()
}

fn pylm_job(host: &Host, function: &str, payloads: &[&str], count: usize) -> Vec<String> {
    let count = count.to_string();
    let flags = ["--function", function, "--count", &count, "payloads"];
    pylm_client(host, &[&flags, payloads].concat())
}

fn assert_parts(client: Side, host: &Host) {
    let expected = expected_parts();
    let results = job(client, host, "server.parts", &ASKED, expected.len());
    assert_eq!(results, expected, "{client:?} client");
}

#[test]
fn every_result_of_a_pylm_mux_worker_reaches_both_clients_of_a_palm_master() {
    let master = master(Palm);
    let _workers = ["one", "two"].map(|name| mux_worker(name, master.db()));
    assert_parts(Palm, &master);
    assert_parts(Pylm, &master);
}

#[test]
fn every_result_of_a_palm_server_s_function_with_many_reaches_both_clients() {
    let host = server(Palm);
    assert_parts(Palm, &host);
    assert_parts(Pylm, &host);
}

#[test]
fn every_result_of_a_palm_worker_s_function_with_many_reaches_both_clients() {
    let master = master(Palm);
    let _workers = ["one", "two"].map(|name| worker(Palm, name, master.db()));
    assert_parts(Palm, &master);
    assert_parts(Pylm, &master);
}

#[test]
fn every_result_of_a_palm_worker_s_function_with_many_passes_a_pylm_master() {
    let master = master(Pylm);
    let _workers = ["one", "two"].map(|name| worker(Palm, name, master.db()));
    assert_parts(Palm, &master);
}

/// One message for each word.
fn scatter(message: PalmMessage) -> Vec<PalmMessage> {
    let words = message.payload.split(|&byte| byte == b' ');
    let of = |word: &[u8]| PalmMessage {
        payload: word.to_vec(),
        ..message.clone()
    };
    words.map(of).collect()
}

/// None of the multiples of three, two of the other even numbers, one of the others.
fn gather(message: PalmMessage) -> Vec<PalmMessage> {
    let text = String::from_utf8(message.payload.clone()).unwrap();
    let number: usize = text.split(' ').next().unwrap().parse().unwrap();
    match (number % 3, number % 2) {
        (0, _) => vec![],
        (_, 0) => vec![message; 2],
        _ => vec![message],
    }
}

#[test]
fn scatter_and_gather_of_a_palm_master_work_with_both_clients_and_both_workers() {
    let expected: Vec<_> = [1, 2, 2, 4, 4, 5, 7, 8, 8]
        .map(|n| format!("{n} {} one", n * n))
        .into();
    for worker_side in [Palm, Pylm] {
        let hooked = Master::new("server", Addresses::ephemeral());
        let master = palm_master(hooked.scatter(scatter).gather(gather));
        let _worker = worker(worker_side, "one", master.db());
        for client in [Palm, Pylm] {
            let payloads = ["0 1 2", "3 4 5", "6 7 8"];
            let results = job(client, &master, "server.square", &payloads, expected.len());
            assert_eq!(
                results, expected,
                "{client:?} client, {worker_side:?} worker"
            );
        }
    }
}
