//! Several steps, from a shell.

use crate::kit::{Palm, lines, palm};

/// A master and a hub behind it, each with a worker.
fn chain() -> [Palm; 4] {
    let master = Palm::master(&["--pipelined"]);
    let publish = master.address("pub");
    let hub = Palm::hub(&[
        "--name",
        "second",
        "--previous",
        "server",
        "--sub",
        &publish,
    ]);
    let first = master.worker(&["sh", "-c", "cat; printf ' one'"]);
    let second = hub.worker(&["sh", "-c", "cat; printf ' two'"]);
    [master, hub, first, second]
}

#[test]
fn a_call_takes_several_steps() {
    let [master, hub, ..] = &chain();
    let sub = hub.address("pub");
    for path in [
        &["server.any", "--then", "second.any"][..],
        &["server.any second.any"],
    ] {
        let flags = ["call", "--db", master.db(), "--sub", &sub];
        let output = palm(&[&flags, path, &["zero"]].concat(), b"");
        assert!(output.status.success(), "{output:?}");
        assert_eq!(output.stdout, b"zero one two");
    }
}

#[test]
fn a_job_takes_several_steps() {
    let [master, hub, ..] = &chain();
    let sub = hub.address("pub");
    let output = palm(
        &[
            "job",
            "--db",
            master.db(),
            "--sub",
            &sub,
            "--then",
            "second.any",
            "server.any",
        ],
        lines(1..=300).as_bytes(),
    );
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let mut results: Vec<&str> = text.lines().collect();
    results.sort_unstable();
    let mut expected: Vec<_> = (1..=300)
        .map(|number| format!("{number} one two"))
        .collect();
    expected.sort_unstable();
    assert_eq!(results, expected);
}

#[test]
fn a_hub_that_is_silent_passes_no_earlier_failure_on() {
    let master = Palm::master(&["--pipelined"]);
    let _worker = master.worker(&["sh", "-c", "exit 3"]);
    let publish = master.address("pub");
    let chain = [
        "--name",
        "second",
        "--previous",
        "server",
        "--sub",
        &publish,
    ];
    for (more, said) in [(&[][..], "exit code 3"), (&["--silent"], "gave no result")] {
        let hub = Palm::hub(&[&chain, more].concat());
        let (sub, path) = (hub.address("pub"), ["server.any", "--then", "second.any"]);
        let flags = ["call", "--timeout", "2", "--db", master.db(), "--sub", &sub];
        let output = palm(&[&flags[..], &path, &["zero"]].concat(), b"");
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn a_chain_that_cannot_be_is_a_wrong_command_line() {
    for (arguments, said) in [
        (&["hub", "--previous", "server"][..], "--sub"),
        (&["hub", "--sub", "tcp://127.0.0.1:5556"], "--previous"),
        (&["call", "server.any", "--then", "nonsense"], "nonsense"),
        (&["call", "server.any", "--then", "hub.any"], "--sub"),
        (&["job", "server.any hub.any"], "--sub"),
        (
            &["hub", "--previous", "p", "--sub", "p", "--name", "a.b"],
            "'a.b'",
        ),
    ] {
        let output = palm(arguments, b"");
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains(said), "{error}");
    }
}
