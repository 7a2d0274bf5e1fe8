//! The processes of a measurement: each runs this program again, in a role.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::pylm;
use super::role::Role;
use crate::common::Failure;

/// How long a process may take to end by itself.
const GRACE: Duration = Duration::from_secs(5);

/// The command by which this program is run in a role.
pub const COMMAND: &str = "bench-role";

/// What a process is to run.
pub enum Program {
    /// This program, in a role.
    Own(Role),
    /// One of pylm's, by this Python.
    Pylm(String, pylm::Role),
}

impl Program {
    fn name(&self) -> &'static str {
        match self {
            Self::Own(role) => role.name(),
            Self::Pylm(_, role) => role.name(),
        }
    }

    fn command(&self) -> std::io::Result<Command> {
        match self {
            Self::Own(role) => {
                let mut command = Command::new(std::env::current_exe()?);
                command.args([COMMAND, &serde_json::to_string(role)?]);
                Ok(command)
            }
            Self::Pylm(python, role) => {
                let mut command = Command::new(python);
                command.args(["-c", pylm::SCRIPT, &serde_json::to_string(role)?]);
                Ok(command)
            }
        }
    }
}

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
    pub fn start(program: &Program, limit: Duration) -> Result<Self, Failure> {
        let name = program.name();
        let start = || {
            program
                .command()?
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
        };
        let mut child = start().map_err(|error| {
            let what = match program {
                Program::Own(_) => "",
                Program::Pylm(python, _) => &format!(" by '{python}'"),
            };
            format!("a {name} cannot be started{what}: {error}")
        })?;
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
                RecvTimeoutError::Timeout => {
                    format!("a {name} says nothing for {:?} (see --timeout)", self.limit)
                }
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

    /// Has it end. Does not wait for it, as dropping it does.
    pub fn end(&mut self) {
        // It ends when its input does.
        self.stdin = None;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
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

/// Ends this process when whoever started it ends, or says so, whatever it does then. Gives what
/// tells when to begin.
pub fn listen() -> Receiver<()> {
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        while matches!(std::io::stdin().read_line(&mut line), Ok(1..)) {
            // Who does not wait for it needs not hear it.
            let _ = tell.send(());
        }
        std::process::exit(0);
    });
    told
}

/// Leaves everything to other threads.
pub fn rest() -> ! {
    loop {
        std::thread::park();
    }
}
