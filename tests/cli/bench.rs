//! `palm bench`: that it measures, and not what.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::kit::{BOUND, Palm, palm};

/// The figures of a small measurement.
fn figures(arguments: &[&str]) -> Vec<Value> {
    let all = [&["bench", "--json", "--runs", "1"], arguments].concat();
    let output = palm(&all, b"");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    lines.collect()
}

fn assert_sound(figures: &[Value], names: &[&str], variants: &[&str], cases: usize) {
    assert_eq!(figures.len(), names.len() * variants.len() * cases);
    for figure in figures {
        assert!(
            names.contains(&figure["figure"].as_str().unwrap()),
            "{figure}"
        );
        assert!(
            variants.contains(&figure["by"].as_str().unwrap()),
            "{figure}"
        );
        assert_eq!(
            (&figure["lost"], &figure["doubled"]),
            (&0.into(), &0.into())
        );
        assert!(
            figure["peak_bytes"]["client"].as_u64().unwrap() > 0,
            "{figure}"
        );
        if figure["by"] == "bare ZeroMQ" && figure["median"] != 0.0 {
            assert_eq!(figure["ratio"], 1.0);
        }
    }
}

const ALL: [&str; 3] = ["bare ZeroMQ", "palm link", "pylm wire"];

#[test]
fn streams_through_a_master_are_measured_by_all_means() {
    let figures = figures(&["throughput", "large", "--count", "50"]);
    let (small, large) = figures.split_at(6);
    assert_sound(small, &["messages/s", "CPU, us/message"], &ALL, 1);
    assert_sound(large, &["MB/s", "CPU, us/message"], &ALL, 1);
    assert!(
        small
            .iter()
            .all(|figure| figure["figure"] != "messages/s"
                || figure["median"].as_f64().unwrap() > 0.0)
    );
}

#[test]
fn calls_one_at_a_time_and_late_readers_are_measured() {
    let latency = figures(&["latency", "--count", "20"]);
    assert_sound(
        &latency,
        &["p50, us", "p99, us", "CPU, us/message"],
        &ALL,
        1,
    );
    let late = figures(&["late-reader", "--count", "2000", "--wire", "link"]);
    assert_sound(&late, &["messages/s", "CPU, us/message"], &ALL[..2], 1);
}

#[test]
fn long_tasks_among_short_ones_and_caches_are_measured() {
    let uneven = figures(&["uneven", "--count", "20"]);
    assert_sound(&uneven, &["time / ideal"], &ALL, 1);
    for figure in &uneven {
        assert!(figure["median"].as_f64().unwrap() >= 1.0, "{figure}");
    }
    let cache = figures(&["cache", "--count", "20"]);
    let names = ["p50, us", "p99, us", "CPU, us/message"];
    assert_sound(&cache, &names, &ALL[..2], 1);
}

#[test]
fn servers_chains_and_crowds_are_measured() {
    let names = ["messages/s", "CPU, us/message"];
    let one = figures(&["single", "--count", "200", "--window", "10"]);
    assert_sound(&one, &names, &ALL, 1);
    let chains = figures(&["chain", "--count", "200", "--wire", "link"]);
    assert_sound(&chains, &names, &ALL[..2], 4);
}

#[test]
fn those_who_have_nothing_to_do_are_measured() {
    let idle = figures(&["idle", "--wire", "link"]);
    assert_sound(&idle, &["CPU of one, % of a core"], &ALL[..2], 1);
    for figure in &idle {
        let most = figure["median"].as_f64().unwrap();
        assert!((0.0..100.0).contains(&most), "{figure}");
        assert!(figure["cpu_percent"]["client"].is_number(), "{figure}");
    }
}

#[test]
fn people_get_tables() {
    let output = palm(
        &["bench", "throughput", "--runs", "1", "--count", "50"],
        b"",
    );
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    for part in [
        "50 messages of 100 bytes, a master, 2 workers",
        "ratio",
        "peak memory",
    ] {
        assert!(text.contains(part), "no '{part}' in:\n{text}");
    }
}

#[test]
fn what_cannot_be_measured_is_a_usage_error() {
    for (arguments, part) in [
        (
            &["bench", "speed"][..],
            "'speed' is no work: there are throughput",
        ),
        (&["bench", "--runs", "0"], "--runs is at least 1"),
        (&["bench", "--workers", "0"], "--workers is at least 1"),
        (&["bench", "--count", "0"], "--count is at least 1"),
        (&["bench", "--size", "7"], "--size is at least 8"),
        (&["bench", "--size", "99999999999"], "--size is at most"),
        (&["bench", "--wire", "morse"], "'morse' is no wire"),
    ] {
        let output = palm(arguments, b"");
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(part), "no '{part}' in:\n{said}");
    }
}

#[test]
fn a_python_that_is_not_there_is_named() {
    let arguments = [
        "bench",
        "latency",
        "--count",
        "1",
        "--with-pylm",
        "/no/python",
    ];
    let output = palm(&arguments, b"");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("cannot be started by '/no/python'"), "{said}");
}

#[test]
fn a_measurement_that_takes_too_long_is_given_up() {
    let arguments = ["throughput", "--count", "100000000", "--timeout", "2"];
    let output = palm(
        &[&["bench", "--wire", "link"], &arguments[..]].concat(),
        b"",
    );
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("a client says nothing for 2s"), "{said}");
}

#[test]
fn a_signal_ends_all_its_processes_whatever_they_do() {
    for (count, after) in [("1", 0), ("100000000", 0), ("100000000", 300)] {
        let mut bench = Palm::start(&["bench", "throughput", "--wire", "link", "--count", count]);
        let children = format!("/proc/{0}/task/{0}/children", bench.child.id());
        let end = Instant::now() + BOUND;
        let children = loop {
            let all = std::fs::read_to_string(&children).unwrap();
            let all: Vec<String> = all.split_whitespace().map(str::to_owned).collect();
            // Who is in the middle, two workers, a client.
            if all.len() == 4 {
                break all;
            }
            assert!(Instant::now() < end, "only {all:?}");
        };
        std::thread::sleep(Duration::from_millis(after));
        bench.signal("TERM");
        assert_eq!(bench.wait(BOUND).code(), Some(128 + 15));
        let lives = |pid: &String| std::path::Path::new("/proc").join(pid).exists();
        while children.iter().any(lives) {
            assert!(Instant::now() < end, "some of {children:?} live on");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
