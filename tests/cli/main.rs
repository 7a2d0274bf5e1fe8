//! The binary, as a user at a shell meets it.

mod bench;
mod chain;
mod failures;
mod gateway;
mod kit;
mod signals;
mod status;

use kit::{Palm, lines, palm};

#[test]
fn a_job_through_a_master_and_two_workers_gives_every_result() {
    let master = Palm::master(&[]);
    let _workers = [
        master.worker(&["sh", "-c", "cat; echo done"]),
        master.worker(&["sh", "-c", "cat; echo done"]),
    ];
    let input = lines(1..=1000);
    let output = palm(
        &["job", "--db", master.db(), "server.any"],
        input.as_bytes(),
    );
    assert!(output.status.success(), "{output:?}");
    let mut results: Vec<&str> = std::str::from_utf8(&output.stdout)
        .unwrap()
        .lines()
        .collect();
    results.sort_unstable();
    let mut expected: Vec<String> = (1..=1000).map(|n| format!("{n}done")).collect();
    expected.sort_unstable();
    assert_eq!(results, expected);
    let summary = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(summary.contains("1000 results, 0 errors"), "{summary}");
}

#[test]
fn a_job_reads_a_file_too() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("input");
    std::fs::write(&file, "one\ntwo\nthree").unwrap();
    let master = Palm::master(&["--name", "other"]);
    let _worker = master.worker(&["tr", "a-z", "A-Z"]);
    let file = file.to_str().unwrap();
    let output = palm(
        &["job", "--db", master.db(), "--input", file, "other.up"],
        b"",
    );
    assert!(output.status.success(), "{output:?}");
    let mut results: Vec<_> = output.stdout.split(|&byte| byte == b'\n').collect();
    results.sort_unstable();
    assert_eq!(results, [&b""[..], b"ONE", b"THREE", b"TWO"]);
}

#[test]
fn a_call_gives_the_commands_output_as_it_is() {
    let master = Palm::master(&[]);
    let _worker = master.worker(&["sh", "-c", "cat; printf ' by %s' $PALM_FUNCTION"]);
    let call = |arguments: &[&str], input: &[u8]| {
        let output = palm(&[&["call", "--db", master.db()], arguments].concat(), input);
        assert!(output.status.success(), "{output:?}");
        output.stdout
    };
    assert_eq!(call(&["server.foo", "text"], b""), b"text by foo");
    assert_eq!(call(&["server.bar", "-"], b"\x00\xff"), b"\x00\xff by bar");
    assert_eq!(call(&["server.baz"], b"not read"), b" by baz");
    assert_eq!(call(&["server.foo", "--", "-5"], b""), b"-5 by foo");
    assert_eq!(call(&["server.foo", "--", "-"], b"not read"), b"- by foo");
}

#[test]
fn a_command_that_reads_nothing_and_writes_much_is_no_deadlock() {
    let master = Palm::master(&[]);
    let _worker = master.worker(&["sh", "-c", "head -c 1000000 /dev/zero; echo log >&2"]);
    let payload = vec![b'x'; 1_000_000];
    let output = palm(&["call", "--db", master.db(), "server.foo", "-"], &payload);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(output.stdout.len(), 1_000_000);
}

#[test]
fn a_command_that_leaves_somebody_behind_with_its_output_is_done_when_it_ends() {
    let master = Palm::master(&[]);
    let worker = master.worker(&["sh", "-c", "setsid sleep 20 & echo done"]);
    let start = std::time::Instant::now();
    let output = palm(&["call", "--db", master.db(), "server.foo"], b"");
    assert_eq!(output.stdout, b"done\n", "{output:?}");
    worker.stop();
    assert!(start.elapsed().as_secs() < 10);
}

#[test]
fn a_worker_for_one_function_knows_no_other() {
    let master = Palm::master(&[]);
    let _worker = master.worker_with(&["--function", "foo", "--name", "w1"], &["cat"]);
    let foo = palm(&["call", "--db", master.db(), "server.foo", "x"], b"");
    assert_eq!(foo.stdout, b"x", "{foo:?}");
    let bar = palm(&["call", "--db", master.db(), "server.bar", "x"], b"");
    assert_eq!(bar.status.code(), Some(1));
    let said = String::from_utf8_lossy(&bar.stderr).into_owned();
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(
        said.contains("unknown function") && said.contains("'bar'"),
        "{said}"
    );
}

#[test]
fn the_cache_is_read_and_changed_from_the_shell() {
    let master = Palm::master(&[]);
    let cache = |arguments: &[&str], input: &[u8]| {
        palm(
            &[&["cache", "--db", master.db()], arguments].concat(),
            input,
        )
    };
    assert_eq!(cache(&["set", "key", "value"], b"").stdout, b"key\n");
    assert_eq!(cache(&["get", "key"], b"").stdout, b"value");
    assert_eq!(cache(&["get", "name"], b"").stdout, b"server");
    assert_eq!(
        cache(&["set", "key", "-"], b"\x00 from stdin").stdout,
        b"key\n"
    );
    assert_eq!(cache(&["get", "key"], b"").stdout, b"\x00 from stdin");
    let fresh = String::from_utf8(cache(&["set", "", "x"], b"").stdout).unwrap();
    assert_eq!(cache(&["get", fresh.trim_end()], b"").stdout, b"x");
    assert!(cache(&["delete", "key"], b"").status.success());
    assert!(cache(&["delete", "key"], b"").status.success());
    assert_eq!(cache(&["get", "key"], b"").status.code(), Some(1));
    assert_eq!(cache(&["set", "-", "dash"], b"").stdout, b"-\n");
    assert_eq!(cache(&["get", "-"], b"").stdout, b"dash");
}

#[cfg(feature = "rocksdb")]
#[test]
fn the_cache_survives_a_restart_when_a_folder_is_given() {
    let folder = tempfile::tempdir().unwrap();
    let data = ["--data", folder.path().to_str().unwrap()];
    let master = Palm::master(&data);
    palm(&["cache", "--db", master.db(), "set", "key", "kept"], b"");
    master.stop();
    let master = Palm::master(&data);
    let output = palm(&["cache", "--db", master.db(), "get", "key"], b"");
    assert_eq!(output.stdout, b"kept", "{output:?}");
    // And the keys that tell the addresses are those of now.
    let output = palm(&["cache", "--db", master.db(), "get", "db_address"], b"");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), master.db());
}

#[test]
fn every_command_explains_itself() {
    for command in [
        &["--help"][..],
        &["-h"],
        &["master", "-h"],
        &["worker", "-h"],
        &["call", "-h"],
        &["job", "-h"],
        &["cache", "-h"],
        &["cache", "set", "-h"],
        &["status", "-h"],
    ] {
        let output = palm(command, b"");
        assert!(output.status.success(), "{command:?}: {output:?}");
        assert!(output.stdout.starts_with(b"Usage: palm"), "{command:?}");
    }
    let version = palm(&["--version"], b"");
    assert_eq!(
        String::from_utf8(version.stdout).unwrap(),
        format!("palm {}\n", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn the_log_has_pylms_form_and_names_the_parts() {
    let master = Palm::master(&[]);
    let log = master.stop();
    for part in ["Pull", "WorkerPush", "WorkerPull", "Pub", "Cache", "Link"] {
        let line = log
            .lines()
            .find(|line| line.contains(&format!("starting part {part} at tcp://127.0.0.1:")))
            .unwrap_or_else(|| panic!("no line about {part} in:\n{log}"));
        let [time, name, level, _] = line.splitn(4, " - ").collect::<Vec<_>>()[..] else {
            panic!("not in pylm's form: {line}");
        };
        assert_eq!((name, level), ("server", "INFO"));
        assert_eq!(time.len(), "2017-02-01 10:11:41,485".len());
    }
    assert!(log.contains("Clients connects to Workers"), "{log}");
    assert!(log.contains("Workers connects to Pub"), "{log}");
}
