//! Log lines in pylm's form, for programs. Needs the feature `cli` (on by default).
//!
//! ```text
//! 2017-02-01 10:11:41,485 - server - INFO - Pull is ready
//! ```
//!
//! The library itself logs by the `log` crate, under the name of the component, and leaves it
//! to the program what becomes of that. This module is what palm's own programs use.

use std::io::Write;

use log::{Level, LevelFilter};

/// Where log lines go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Standard output, as in pylm.
    Stdout,
    /// Standard error, for programs whose output is data.
    Stderr,
}

/// Has log lines of this level and above written in pylm's form. The environment variable
/// `RUST_LOG` may choose otherwise. Only the first call of a process counts.
pub fn init(level: LevelFilter, output: Output) {
    let target = match output {
        Output::Stdout => env_logger::Target::Stdout,
        Output::Stderr => env_logger::Target::Stderr,
    };
    let _ = env_logger::Builder::new()
        .filter_level(level)
        .parse_default_env()
        .target(target)
        .format(|out, record| {
            let now = jiff::Zoned::now();
            let time = now.strftime("%Y-%m-%d %H:%M:%S,%3f");
            let level = level_name(record.level());
            writeln!(
                out,
                "{time} - {} - {level} - {}",
                record.target(),
                record.args()
            )
        })
        .try_init();
}

/// Python's names of the levels.
fn level_name(level: Level) -> &'static str {
    match level {
        Level::Error => "ERROR",
        Level::Warn => "WARNING",
        Level::Info => "INFO",
        Level::Debug => "DEBUG",
        Level::Trace => "TRACE",
    }
}
