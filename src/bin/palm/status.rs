//! `palm status`

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use argh::FromArgs;

use crate::common::{FOREVER, Failure, Outcome, log_level, print, say, timeout};

mod report;

/// How often a status that is watched is asked for.
const PERIOD: Duration = Duration::from_secs(1);

/// What has a terminal forget what it shows, from its top left corner on.
const CLEAR: &str = "\x1b[H\x1b[J";

/// Tell what a component has, who is there, and why messages wait.
#[derive(FromArgs)]
#[argh(subcommand, name = "status", help_triggers("-h", "--help", "help"))]
pub struct Status {
    /// address of the component's cache (default: tcp://127.0.0.1:5559)
    #[argh(option, default = "String::from(\"tcp://127.0.0.1:5559\")")]
    db: String,
    /// print it as a line of JSON
    #[argh(switch)]
    json: bool,
    /// print it again every second, until a signal
    #[argh(switch)]
    watch: bool,
    /// how many seconds to wait for an answer, 0 for as long as it takes (default: 3)
    #[argh(option, default = "3.0")]
    timeout: f64,
    /// log what it does, on standard error
    #[argh(switch, short = 'i')]
    info: bool,
    /// log everything
    #[argh(switch, short = 'd')]
    debug: bool,
}

impl Status {
    pub fn run(self) -> Outcome {
        log_level(self.debug, self.info);
        let timeout = timeout(self.timeout)?.unwrap_or(FOREVER);
        let first = self.ask(timeout)?;
        match self.watch {
            true => self.watch(timeout, &first),
            false => print(self.text(&first)?.as_bytes()),
        }
    }

    fn ask(&self, timeout: Duration) -> Result<palm::Status, Failure> {
        palm::Status::of(&self.db, timeout).map_err(|error| match error {
            palm::Error::NotConfigured { .. } => {
                format!("{error}: only palm peers with a link have a status, and no reducers")
                    .into()
            }
            error => error.into(),
        })
    }

    fn text(&self, status: &palm::Status) -> Result<String, Failure> {
        match self.json {
            true => serde_json::to_string(status)
                .map(|line| line + "\n")
                .map_err(|error| format!("the status is no JSON: {error}").into()),
            false => Ok(report::of(status)),
        }
    }

    /// Prints it again and again, until a signal. A component that is away may come back.
    fn watch(&self, timeout: Duration, first: &palm::Status) -> Outcome {
        let redraws = io::stdout().is_terminal() && !self.json;
        let (before, after) = match (redraws, self.json) {
            (true, _) => (CLEAR, ""),
            (false, true) => ("", ""),
            (false, false) => ("", "\n"),
        };
        let mut text = self.text(first)?;
        loop {
            let next = Instant::now() + PERIOD;
            print(format!("{before}{text}{after}").as_bytes())?;
            text = loop {
                std::thread::sleep(next.saturating_duration_since(Instant::now()));
                match self.ask(timeout) {
                    Ok(status) => break self.text(&status)?,
                    Err(failure) => {
                        say(&format!("palm: {}", failure.message.unwrap_or_default()));
                        std::thread::sleep(PERIOD);
                    }
                }
            };
        }
    }
}
