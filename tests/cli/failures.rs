//! What goes wrong is one clear line, and the right exit code.

use std::net::TcpListener;
use std::process::Output;

use crate::kit::{Palm, lines, palm};

/// Exactly one line on standard error, which contains all of `texts`.
fn one_line(output: &Output, code: i32, texts: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    for text in texts {
        assert!(said.contains(text), "no '{text}' in: {said}");
    }
    assert!(output.stdout.is_empty());
}

#[test]
fn a_port_in_use_is_one_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp://{}", taken.local_addr().unwrap());
    let mut arguments = vec!["master"];
    for flag in ["--pull", "--wpush", "--wpull", "--db"] {
        arguments.extend([flag, "tcp://127.0.0.1:*"]);
    }
    let output = palm(&[&arguments[..], &["--pub", &address]].concat(), b"");
    one_line(&output, 1, &["Pub", &address, "in use"]);
}

#[test]
fn a_malformed_address_is_one_line() {
    let output = palm(&["master", "--db", "tcp://nowhere"], b"");
    one_line(&output, 2, &["'tcp://nowhere'", "HOST:PORT"]);
    let output = palm(&["call", "--db", "127.0.0.1:5559", "server.foo"], b"");
    one_line(&output, 2, &["'127.0.0.1:5559'", "TRANSPORT://"]);
}

#[test]
fn an_unreachable_db_is_one_line() {
    // Bound, so that nobody else takes the port, but nobody speaks ZeroMQ there.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp://{}", silent.local_addr().unwrap());
    let db = ["--timeout", "0.3", "--db", &address];
    for command in [
        [&["call"], &db[..], &["server.foo"]].concat(),
        [&["job"], &db[..], &["server.foo"]].concat(),
        [&["cache"], &db[..], &["get", "key"]].concat(),
        [&["worker"], &db[..], &["--", "cat"]].concat(),
        [&["status"], &db[..]].concat(),
    ] {
        let output = palm(&command, b"");
        one_line(&output, 1, &["no answer", &address, "0.3 s"]);
    }
}

#[test]
fn a_wrong_server_name_is_one_line() {
    let master = Palm::master(&[]);
    let output = palm(&["call", "--db", master.db(), "other.foo"], b"");
    one_line(&output, 1, &["'other'", "'server'", master.db()]);
}

#[test]
fn a_failing_command_is_the_error_of_its_call() {
    let master = Palm::master(&[]);
    let _worker = master.worker(&["sh", "-c", "cat >/dev/null; echo 'no luck' >&2; exit 3"]);
    let output = palm(&["call", "--db", master.db(), "server.foo"], b"");
    one_line(&output, 1, &["server.foo failed", "exit code 3", "no luck"]);
}

#[test]
fn a_job_goes_on_after_errors_and_counts_them() {
    let master = Palm::master(&[]);
    let script = "read n; [ $((n % 2)) = 0 ] || { echo odd >&2; exit 1; }; echo $n";
    let _worker = master.worker(&["sh", "-c", script]);
    let output = palm(
        &["job", "--db", master.db(), "server.even"],
        lines(1..=100).as_bytes(),
    );
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(
        output.stdout.iter().filter(|&&byte| byte == b'\n').count(),
        50
    );
    assert!(said.contains("50 results, 50 errors"), "{said}");
    assert!(said.lines().count() < 30, "{said}");
}

#[test]
fn a_missing_program_is_one_line() {
    let output = palm(&["worker", "--", "/no/such/program"], b"");
    one_line(&output, 1, &["'/no/such/program'"]);
}

#[test]
fn a_missing_input_is_one_line() {
    let output = palm(&["job", "--input", "/no/such/file", "server.foo"], b"");
    one_line(&output, 1, &["/no/such/file"]);
}

#[test]
fn no_result_in_time_is_one_line() {
    let master = Palm::master(&[]);
    let output = palm(
        &[
            "call",
            "--timeout",
            "0.3",
            "--db",
            master.db(),
            "server.foo",
        ],
        b"",
    );
    one_line(&output, 1, &["timed out", "server.foo", "0.3 s"]);
}

#[cfg(feature = "rocksdb")]
#[test]
fn a_locked_folder_is_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let _master = Palm::master(&["--data", data]);
    let output = palm(&["master", "--data", data], b"");
    one_line(&output, 1, &[data, "lock"]);
}

#[cfg(not(feature = "rocksdb"))]
#[test]
fn a_folder_without_the_feature_is_one_line() {
    let output = palm(&["master", "--data", "/tmp"], b"");
    one_line(&output, 1, &["/tmp", "rocksdb"]);
}

#[test]
fn what_is_no_command_is_told_those_that_there_are() {
    let output = palm(&["nonsense"], b"");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    let names = ["'nonsense'", "master", "worker", "status", "bench"];
    assert!(names.iter().all(|name| said.contains(name)), "{said}");
    // A wrong flag of a command that there is leads to the help of that.
    let output = palm(&["bench", "--nonsense"], b"");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("'palm bench --help'"), "{said}");
}

#[test]
fn a_wrong_command_line_is_usage() {
    for command in [
        &[][..],
        &["nonsense"],
        &["master", "--nonsense"],
        &["master", "--name", "two words"],
        &["master", "--max-attempts", "0"],
        &["master", "--subscribers", "0"],
        &["hub", "--max-attempts", "0"],
        &["hub", "--subscribers", "0"],
        &["worker"],
        &["worker", "--timeout", "-1", "--", "cat"],
        &["call"],
        &["call", "no-dot"],
        &["call", "server.foo", "payload", "more"],
        &["job"],
        &["job", "--expect", "many", "server.foo"],
        &["cache"],
        &["cache", "get"],
        &["cache", "steal", "key"],
        &["status", "--timeout", "-1"],
        &["status", "more"],
    ] {
        let output = palm(command, b"");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{command:?}: {said}");
        assert!(said.starts_with("palm: "), "{command:?}: {said}");
        assert!(output.stdout.is_empty(), "{command:?}");
    }
}
