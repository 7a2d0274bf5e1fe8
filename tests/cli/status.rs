//! What `palm status` says, and to whom.

use std::io::{BufRead, BufReader, Write};
use std::time::{Duration, Instant};

use palm::reduce::Group;
use palm::status::Why;
use palm::{Addresses, Client, Master, Reducer, Status, Worker};
use serde_json::Value;

use crate::kit::{BOUND, Palm, palm};

/// The text of a status, once it contains something.
fn text_with(db: &str, text: &str) -> String {
    let start = Instant::now();
    loop {
        let output = palm(&["status", "--db", db], b"");
        assert!(output.status.success(), "{output:?}");
        let said = String::from_utf8(output.stdout).unwrap();
        if said.contains(text) {
            return said;
        }
        assert!(start.elapsed() < BOUND, "no '{text}' in:\n{said}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn json(db: &str) -> Value {
    let output = palm(&["status", "--json", "--db", db], b"");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(
        output.stdout.iter().filter(|byte| **byte == b'\n').count(),
        1
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A job with so many lines, of which it does not hear that there are no more.
fn job(db: &str, function: &str, lines: usize) -> Palm {
    let mut job = Palm::start(&["job", "--db", db, function]);
    let input = job.child.stdin.as_mut().unwrap();
    input.write_all("line\n".repeat(lines).as_bytes()).unwrap();
    input.flush().unwrap();
    job
}

#[test]
fn what_was_done_and_by_whom_is_counted() {
    let master = Palm::master(&[]);
    let _worker = master.worker_with(&["--name", "w1"], &["cat"]);
    let input = "line\n".repeat(20);
    let output = palm(
        &["job", "--db", master.db(), "server.any"],
        input.as_bytes(),
    );
    assert!(output.status.success(), "{output:?}");
    // The client's last acknowledgements may come after it has ended.
    let start = Instant::now();
    let status = loop {
        let status = json(master.db());
        if status["totals"]["settled"] == 20 || start.elapsed() >= BOUND {
            break status;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(status["name"], "server");
    let totals = &status["totals"];
    for (key, count) in [
        ("submitted", 20),
        ("settled", 20),
        ("accepted", 20),
        ("completed", 20),
        ("running", 0),
        ("waiting", 0),
        ("redelivered", 0),
        ("refused", 0),
    ] {
        assert_eq!(totals[key], count, "{key} of {totals}");
    }
    let worker = &status["workers"][0];
    assert_eq!(worker["name"], "w1");
    assert_eq!(worker["finished"], 20);
    assert!(worker["average"].as_f64().unwrap() > 0.0, "{worker}");
    assert_eq!(status["waits"], Value::Array(Vec::new()));
    let said = text_with(master.db(), "nothing waits");
    assert!(said.starts_with("server, with workers: up "), "{said}");
    assert!(
        said.contains("20 accepted, 0 waiting, 0 running, 20 completed"),
        "{said}"
    );
}

#[test]
fn messages_that_wait_for_a_busy_worker_say_so() {
    let master = Palm::master(&[]);
    let _worker = master.worker(&["sleep", "5"]);
    let _job = job(master.db(), "server.any", 50);
    let said = text_with(master.db(), "the worker is busy");
    assert!(said.contains("messages wait: the worker is busy"), "{said}");
    let status = json(master.db());
    let running = status["totals"]["running"].as_u64().unwrap();
    assert_eq!(status["workers"][0]["given"], running);
    assert!(running > 0);
    let wait = &status["waits"][0];
    assert_eq!(
        (&wait["why"], &wait["workers"]),
        (&"all_busy".into(), &1.into())
    );
}

#[test]
fn messages_that_wait_for_any_worker_say_so() {
    let master = Palm::master(&[]);
    let _job = job(master.db(), "server.any", 3);
    text_with(master.db(), ": 3 messages wait: there is no worker\n");
}

#[test]
fn messages_that_wait_for_a_function_name_it() {
    let master = Palm::master(&[]);
    let _worker = master.worker_with(&["--function", "foo"], &["cat"]);
    let _job = job(master.db(), "server.bar", 1);
    text_with(
        master.db(),
        ": 1 message waits: no worker has the function 'bar'\n",
    );
    // They do not wait for ever.
    text_with(master.db(), "1 without a function");
}

#[test]
fn messages_that_wait_for_a_next_step_name_its_topic() {
    let master = Palm::master(&["--pipelined"]);
    let _worker = master.worker(&["cat"]);
    let _job = job(master.db(), "server.any", 4);
    text_with(
        master.db(),
        "topic server: 4 messages wait: a next step that subscribes to it is missing\n",
    );
}

#[test]
fn a_client_that_does_not_read_is_told_apart() {
    let master = Master::new("server", Addresses::ephemeral())
        .hold(100_000)
        .start()
        .unwrap();
    let db = &master.addresses().db;
    let worker = Worker::new(db)
        .function("echo", |call| Ok(call.payload().to_vec()))
        .start()
        .unwrap();
    let client = Client::connect("server", db).unwrap();
    let payloads = std::iter::repeat_n(vec![7; 100_000], 1_000);
    let job = client.job("server.echo", payloads).unwrap();
    // Once nothing moves any more.
    let (mut before, mut status) = (None, Status::of(db, BOUND).unwrap());
    while before != Some(status.totals) || status.totals.settled == 0 {
        before = Some(status.totals);
        std::thread::sleep(Duration::from_millis(300));
        status = Status::of(db, BOUND).unwrap();
    }
    let session = &status.clients[0].session;
    let why = |wait: &palm::status::Wait| wait.whose == *session && wait.why == Why::NotReading;
    assert!(status.waits.iter().any(why), "{status:?}");
    let said = text_with(db, "the client has not read what it was given");
    assert!(said.contains(&format!("client {session}: ")), "{said}");
    drop(job);
    drop(client);
    worker.stop().unwrap();
    master.stop().unwrap();
}

#[test]
fn a_server_has_a_status_too() {
    let server = palm::Server::new("plain", Addresses::ephemeral())
        .function("foo", |_| Ok("done"))
        .start()
        .unwrap();
    let db = &server.addresses().db;
    let client = Client::connect("plain", db).unwrap();
    client.eval("plain.foo", "").unwrap();
    let said = text_with(db, "1 submitted, 1 done with");
    assert!(
        said.starts_with("plain: up ") && !said.contains("accepted"),
        "{said}"
    );
    drop(client);
    server.stop().unwrap();
}

#[test]
fn who_is_gone_has_no_status() {
    let mut master = Palm::master(&[]);
    master.child.kill().unwrap();
    master.wait(BOUND);
    let output = palm(&["status", "--timeout", "0.3", "--db", master.db()], b"");
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("no answer") && said.contains(master.db()),
        "{said}"
    );
    assert!(output.stdout.is_empty());
}

#[test]
fn who_has_no_link_has_no_status() {
    let reducer = Reducer::new("reducer", Addresses::ephemeral());
    let reducer = reducer.key(|_| Group::of("key")).start().unwrap();
    let output = palm(&["status", "--db", &reducer.addresses().db], b"");
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("no reducers") && said.lines().count() == 1,
        "{said}"
    );
    reducer.stop().unwrap();
}

#[test]
fn a_watched_status_is_told_again_until_a_signal() {
    let master = Palm::master(&[]);
    let mut watch = Palm::start(&["status", "--watch", "--json", "--db", master.db()]);
    let lines = BufReader::new(watch.child.stdout.take().unwrap()).lines();
    let uptimes = lines.take(3).map(|line| {
        let status: Value = serde_json::from_str(&line.unwrap()).unwrap();
        status["uptime"].as_f64().unwrap()
    });
    let uptimes: Vec<_> = uptimes.collect();
    assert!(
        uptimes.is_sorted_by(|before, after| before < after),
        "{uptimes:?}"
    );
    watch.signal("INT");
    assert_eq!(watch.wait(BOUND).code(), Some(130));
}

#[test]
fn many_may_ask_at_once() {
    let master = Palm::master(&[]);
    std::thread::scope(|scope| {
        for _ in 0..40 {
            scope.spawn(|| Status::of(master.db(), BOUND).unwrap());
        }
    });
}
