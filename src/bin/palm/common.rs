//! What the subcommands share: failures, addresses, input and output.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::time::Duration;

use log::LevelFilter;
use palm::logging::{self, Output};
use palm::{Addresses, Running, Wire};

use crate::signals;

/// The exit code of a wrong command line.
pub const USAGE: u8 = 2;

/// Why a subcommand ends with another exit code than 0.
#[derive(Debug)]
pub struct Failure {
    /// The line to print, if it is not said already.
    pub message: Option<String>,
    pub code: u8,
}

impl Failure {
    pub fn usage(message: impl Into<String>) -> Self {
        Self {
            message: Some(message.into()),
            code: USAGE,
        }
    }

    /// Checks that the value of an option is not 0.
    pub fn unless_zero(value: usize, flag: &str) -> Result<(), Self> {
        match value {
            0 => Err(Self::usage(format!("{flag} is at least 1"))),
            _ => Ok(()),
        }
    }

    /// A failure that needs no more words.
    pub fn silent() -> Self {
        Self {
            message: None,
            code: 1,
        }
    }
}

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Self {
            message: Some(message),
            code: 1,
        }
    }
}

impl From<palm::Error> for Failure {
    fn from(error: palm::Error) -> Self {
        // What the user typed wrongly is usage; what the world answers is failure.
        let code = match error {
            palm::Error::Path { .. } | palm::Error::Setup { .. } | palm::Error::Address { .. } => {
                USAGE
            }
            _ => 1,
        };
        let hint = match error {
            palm::Error::Timeout { .. } => " ('palm status' tells what waits, and why)",
            _ => "",
        };
        Self {
            message: Some(format!("{error}{hint}")),
            code,
        }
    }
}

/// What a subcommand comes to.
pub type Outcome = Result<(), Failure>;

/// Sets up the log on standard error.
pub fn log_level(debug: bool, info: bool) {
    let level = match (debug, info) {
        (true, _) => LevelFilter::Debug,
        (_, true) => LevelFilter::Info,
        _ => LevelFilter::Warn,
    };
    logging::init(level, Output::Stderr);
}

/// Reads a time-out as `--timeout` gives it: 0 stands for none.
pub fn timeout(seconds: f64) -> Result<Option<Duration>, Failure> {
    if seconds == 0.0 {
        return Ok(None);
    }
    match Duration::try_from_secs_f64(seconds) {
        Ok(time) => Ok(Some(time)),
        Err(_) => Err(Failure::usage(format!(
            "a time-out of {seconds} seconds makes no sense"
        ))),
    }
}

/// How long to wait where there is no time-out. Longer than any process lives, and short enough
/// to be added to any time.
pub const FOREVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Reads a wire as `--wire` gives it.
pub fn wire(name: &str) -> Result<Wire, String> {
    match name {
        "link" => Ok(Wire::Link),
        "pylm" => Ok(Wire::Pylm),
        _ => Err(format!("'{name}' is no wire: there are link and pylm")),
    }
}

/// What stands for `-`, which argh takes for an option: an argument that nobody can type.
const STDIN: &str = "\0-";

/// Marks the arguments that stand for standard input. What follows `--` is nobody's business.
pub fn mark_stdin<'a>(arguments: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut ended = false;
    arguments
        .map(|argument| {
            ended |= argument == "--";
            if argument == "-" && !ended {
                STDIN
            } else {
                argument
            }
        })
        .collect()
}

/// A text as it was typed: what argh says, or an argument that does not stand for input.
pub fn unmark_stdin(text: &str) -> String {
    text.replace(STDIN, "-")
}

/// The payload that an argument stands for: `-` is standard input.
pub fn payload(argument: Option<&str>) -> Result<Vec<u8>, Failure> {
    match argument {
        None => Ok(Vec::new()),
        Some(STDIN) => {
            let mut bytes = Vec::new();
            io::stdin()
                .lock()
                .read_to_end(&mut bytes)
                .map_err(|error| format!("standard input cannot be read: {error}"))?;
            Ok(bytes)
        }
        Some(text) => Ok(text.as_bytes().to_vec()),
    }
}

/// Opens what lines are read from.
pub fn input(file: Option<&str>) -> Result<Box<dyn Read + Send>, Failure> {
    match file {
        None | Some(STDIN) => Ok(Box::new(io::stdin())),
        Some(path) => match File::open(path) {
            Ok(file) => Ok(Box::new(file)),
            Err(error) => Err(format!("{path} cannot be opened: {error}").into()),
        },
    }
}

/// Says something on standard error; nobody need be there to hear it.
pub fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Writes a result as it is; on a terminal, with a newline where it has none.
pub fn print(result: &[u8]) -> Outcome {
    let mut out = io::stdout().lock();
    let newline = out.is_terminal() && !result.ends_with(b"\n");
    out.write_all(result)
        .and_then(|()| {
            if newline {
                out.write_all(b"\n")
            } else {
                Ok(())
            }
        })
        .and_then(|()| out.flush())
        .map_err(|error| unwritable(&error))
}

/// Standard output does not take what we have. That its reader has had enough is said by no
/// program, and by none here.
pub fn unwritable(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::silent(),
        _ => format!("standard output cannot be written: {error}").into(),
    }
}

/// The default addresses, with those that were given in their place.
pub fn addresses(
    pull: Option<String>,
    publish: Option<String>,
    wpush: Option<String>,
    wpull: Option<String>,
    db: Option<String>,
    link: Option<String>,
) -> Addresses {
    let usual = Addresses::default();
    Addresses {
        pull: pull.unwrap_or(usual.pull),
        publish: publish.unwrap_or(usual.publish),
        worker_push: wpush.unwrap_or(usual.worker_push),
        worker_pull: wpull.unwrap_or(usual.worker_pull),
        db: db.unwrap_or(usual.db),
        link: link.unwrap_or(usual.link),
    }
}

/// Runs a component until it ends, or a signal ends it. Says where it can be reached.
pub fn run(running: &Running) -> Outcome {
    let bound = running.addresses();
    let roles = [
        ("pull", &bound.pull),
        ("pub", &bound.publish),
        ("wpush", &bound.worker_push),
        ("wpull", &bound.worker_pull),
        ("db", &bound.db),
        ("link", &bound.link),
    ];
    let bound = roles.iter().filter(|(_, address)| !address.is_empty());
    let bound: Vec<_> = bound
        .map(|(role, address)| format!("{role} {address}"))
        .collect();
    run_at(running, &bound.join(", "))
}

/// The same, with the words for where it can be reached.
pub fn run_at(running: &Running, bound: &str) -> Outcome {
    let stopper = running.stopper();
    signals::on_first(move |_| stopper.stop());
    log::info!(target: running.name(), "ready: {bound}");
    Ok(running.wait()?)
}
