//! `palm bench --with-pylm`

use std::process::Command;

use crate::support::{interpreter, palm_program};

#[test]
fn pylm_is_measured_beside_palm() {
    let output = Command::new(palm_program())
        .args(["bench", "throughput", "latency", "single", "cache"])
        .args([
            "--count",
            "100",
            "--runs",
            "1",
            "--wire",
            "pylm",
            "--with-pylm",
        ])
        .arg(interpreter())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{output:?}");
    // A cache it is not asked for: it has other requests.
    for (figure, times) in [("messages/s", 2), ("p50, us", 1), ("p99, us", 1)] {
        let own = text
            .lines()
            .filter(|line| line.trim_start().starts_with(figure) && by(line, figure) == "pylm");
        assert_eq!(own.count(), times, "of {figure}:\n{text}");
    }
}

/// Of a line of a table, by what means its figure was reached.
fn by<'a>(line: &'a str, figure: &str) -> &'a str {
    let rest = line.trim_start().strip_prefix(figure).unwrap_or_default();
    rest.trim_start().split("  ").next().unwrap_or_default()
}
