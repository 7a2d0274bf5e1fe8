//! The processes of a measurement: each runs this program again, in a role.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::role::Role;
use crate::common::Failure;

/// How long a process may take to end by itself.
const GRACE: Duration = Duration::from_secs(5);

/// The command by which this program is run in a role.
pub const COMMAND: &str = "bench-role";

/// A process in a role. It ends when this is dropped, or when this process ends.
pub struct Process {
    name: &'static str,
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    limit: Duration,
}

impl Process {
    /// Starts it. Whatever is awaited of it later has to come within `limit`.
    pub fn start(role: &Role, limit: Duration) -> Result<Self, Failure> {
        let name = role.name();
        let cannot = |error: &dyn std::fmt::Display| {
            Failure::from(format!("a {name} cannot be started: {error}"))
        };
        let program = std::env::current_exe().map_err(|error| cannot(&error))?;
        let role = serde_json::to_string(role).map_err(|error| cannot(&error))?;
        let mut child = Command::new(program)
            .args([COMMAND, &role])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| cannot(&error))?;
        let (said, lines) = mpsc::channel();
        if let Some(stdout) = child.stdout.take() {
            std::thread::spawn(move || {
                for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                    if said.send(line).is_err() {
                        break;
                    }
                }
            });
        }
        Ok(Self {
            name,
            stdin: child.stdin.take(),
            child,
            lines,
            limit,
        })
    }

    /// What it says next.
    pub fn hear<T: DeserializeOwned>(&mut self) -> Result<T, Failure> {
        let name = self.name;
        let line = self
            .lines
            .recv_timeout(self.limit)
            .map_err(|error| match error {
                RecvTimeoutError::Timeout => format!("a {name} says nothing for {:?}", self.limit),
                RecvTimeoutError::Disconnected => format!("a {name} has ended"),
            })?;
        serde_json::from_str(&line)
            .map_err(|error| format!("a {name} says what makes no sense: {error}").into())
    }

    /// Tells it to begin.
    pub fn go(&mut self) -> Result<(), Failure> {
        let name = self.name;
        let told = self.stdin.as_mut().map(|stdin| stdin.write_all(b"go\n"));
        match told {
            Some(Ok(())) => Ok(()),
            _ => Err(format!("a {name} has ended").into()),
        }
    }

    /// The processor time that it has used so far.
    pub fn cpu(&self) -> Duration {
        usage::cpu(self.child.id()).unwrap_or_default()
    }

    /// The most memory that it has had so far, in bytes.
    pub fn peak(&self) -> u64 {
        usage::peak(self.child.id()).unwrap_or_default()
    }

    pub fn name(&self) -> &'static str {
        self.name
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It ends when its input does.
        self.stdin = None;
        let until = Instant::now() + GRACE;
        while Instant::now() < until {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        // It may have ended by now.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the system tells of a process.
mod usage {
    use std::fs;
    use std::time::Duration;

    /// From `/proc/PID/stat`, whose name may have spaces and brackets: so from the last of these.
    pub fn cpu(pid: u32) -> Option<Duration> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
        let user: u64 = fields.next()?.parse().ok()?;
        let system: u64 = fields.next()?.parse().ok()?;
        let a_second = rustix::param::clock_ticks_per_second().max(1);
        Some(Duration::from_secs(user + system) / u32::try_from(a_second).ok()?)
    }

    pub fn peak(pid: u32) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))?;
        let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
        Some(kib * 1024)
    }
}

/// Says something to whoever started this process.
pub fn tell(what: &impl Serialize) -> Result<(), Failure> {
    let line = serde_json::to_string(what).map_err(|error| error.to_string())?;
    crate::common::print(format!("{line}\n").as_bytes())
}

/// Waits until whoever started this process says to begin. False if it has ended.
pub fn wait_for_go() -> bool {
    let mut line = String::new();
    matches!(std::io::stdin().read_line(&mut line), Ok(1..))
}

/// Waits for the end of whoever started this process, or for it to say that this one may end.
pub fn wait_for_end() {
    while wait_for_go() {}
}

/// Ends this process when whoever started it ends, or says so, whatever it does then.
pub fn end_when_told() {
    std::thread::spawn(|| {
        wait_for_end();
        std::process::exit(0);
    });
}

/// Says the last thing, after [`end_when_told`].
pub fn tell_last(what: &impl Serialize) -> crate::common::Outcome {
    tell(what)?;
    loop {
        std::thread::park();
    }
}
