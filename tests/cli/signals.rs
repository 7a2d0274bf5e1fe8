//! SIGINT and SIGTERM end every command within a second.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use crate::kit::{Palm, palm};

const SECOND: Duration = Duration::from_secs(1);

/// Sends a signal, and gives the exit code, which must come within a second.
fn ends(mut palm: Palm, signal: &str) -> Option<i32> {
    let start = Instant::now();
    palm.signal(signal);
    let code = palm.wait(10 * SECOND).code();
    let took = start.elapsed();
    assert!(took < SECOND, "it took {took:?}; its log:\n{}", palm.log());
    code
}

#[test]
fn a_master_ends_in_order() {
    for signal in ["INT", "TERM"] {
        assert_eq!(ends(Palm::master(&[]), signal), Some(0));
    }
}

#[test]
fn a_master_with_work_that_nobody_does_ends_too() {
    let master = Palm::master(&[]);
    let mut job = Palm::start(&["job", "--db", master.db(), "server.foo"]);
    let mut stdin = job.child.stdin.take().unwrap();
    // More than fits between the client and the master's end.
    let feeding = std::thread::spawn(move || {
        let line = vec![b'x'; 10_000];
        while stdin
            .write_all(&line)
            .and_then(|()| stdin.write_all(b"\n"))
            .is_ok()
        {}
    });
    // The iterator of lines is not read on once nothing moves: so the pipe is full, some time.
    assert_eq!(
        palm(&["cache", "--db", master.db(), "get", "name"], b"").stdout,
        b"server"
    );
    assert_eq!(ends(master, "TERM"), Some(0));
    assert_eq!(ends(job, "TERM"), Some(128 + 15));
    feeding.join().unwrap();
}

#[test]
fn an_idle_worker_ends_in_order() {
    for signal in ["INT", "TERM"] {
        let master = Palm::master(&[]);
        assert_eq!(ends(master.worker(&["cat"]), signal), Some(0));
    }
}

/// A worker whose command runs this script, and a call that it has begun. The script's first
/// line, its process id, is what the file has that is given.
fn busy(master: &Palm, script: &str, mark: &std::path::Path) -> (Palm, Palm) {
    let script = format!("echo $$ > {}; {script}", mark.display());
    let worker = master.worker(&["sh", "-c", &script]);
    let call = Palm::start(&["call", "--db", master.db(), "server.foo"]);
    let start = Instant::now();
    while !std::fs::read_to_string(mark).is_ok_and(|id| id.ends_with('\n')) {
        assert!(start.elapsed() < 20 * SECOND, "the command was not started");
        std::thread::sleep(Duration::from_millis(5));
    }
    (worker, call)
}

#[test]
fn a_busy_worker_finishes_its_command_and_the_client_gets_the_result() {
    let master = Palm::master(&[]);
    let folder = tempfile::tempdir().unwrap();
    let script = "sleep 0.7; echo done";
    let (mut worker, mut call) = busy(&master, script, &folder.path().join("started"));
    worker.signal("TERM");
    assert_eq!(worker.wait(10 * SECOND).code(), Some(0), "{}", worker.log());
    assert_eq!(call.wait(10 * SECOND).code(), Some(0), "{}", call.log());
    let mut result = String::new();
    let mut stdout = call.child.stdout.take().unwrap();
    stdout.read_to_string(&mut result).unwrap();
    assert_eq!(result.trim(), "done");
}

#[test]
fn a_second_signal_ends_a_busy_worker_and_its_command() {
    for script in [
        "exec sleep 60",
        "sleep 60 & wait",
        "trap '' TERM; sleep 60; sleep 60",
    ] {
        let master = Palm::master(&[]);
        let folder = tempfile::tempdir().unwrap();
        let mark = folder.path().join("started");
        let (mut worker, _call) = busy(&master, script, &mark);
        worker.signal("TERM");
        std::thread::sleep(SECOND / 2);
        assert_eq!(worker.child.try_wait().unwrap(), None, "{script}");
        assert_eq!(ends(worker, "TERM"), Some(128 + 15), "{script}");
        let id = std::fs::read_to_string(&mark).unwrap();
        let state = std::fs::read_to_string(format!("/proc/{}/stat", id.trim()));
        let ended = state.map_or(true, |state| state.contains(") Z"));
        assert!(ended, "{script}");
    }
}

#[test]
fn whoever_waits_for_a_server_ends() {
    let db = ["--db", "tcp://127.0.0.1:1"];
    for command in [
        [&["call"], &db[..], &["server.foo"]].concat(),
        [&["job"], &db[..], &["server.foo"]].concat(),
        [&["cache"], &db[..], &["get", "key"]].concat(),
        [&["worker"], &db[..], &["--", "cat"]].concat(),
    ] {
        let palm = Palm::start(&[&command[..1], &["-d"], &command[1..]].concat());
        palm.line_with("still waiting for");
        assert_eq!(ends(palm, "INT"), Some(128 + 2), "{command:?}");
    }
}

#[test]
fn a_call_that_waits_for_its_result_ends() {
    let master = Palm::master(&[]);
    let call = Palm::start(&["call", "-i", "--db", master.db(), "server.foo"]);
    call.line_with("starting part Link");
    assert_eq!(ends(call, "INT"), Some(128 + 2));
}

#[test]
fn a_job_whose_reader_has_enough_ends() {
    let master = Palm::master(&[]);
    let _worker = master.worker(&["cat"]);
    let mut job = Palm::start(&["job", "--db", master.db(), "server.foo"]);
    let mut stdin = job.child.stdin.take().unwrap();
    let feeding = std::thread::spawn(move || while stdin.write_all(b"line\n").is_ok() {});
    let mut stdout = job.child.stdout.take().unwrap();
    let mut first = [0; 5];
    stdout.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"line\n");
    drop(stdout);
    assert_eq!(job.wait(10 * SECOND).code(), Some(1));
    feeding.join().unwrap();
}
