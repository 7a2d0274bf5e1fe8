//! A small kit for testing the binary.

#![allow(dead_code, reason = "no target uses all of it")]

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The longest that anything here may take.
pub const BOUND: Duration = Duration::from_secs(60);

/// Runs palm to its end.
pub fn palm(arguments: &[&str], input: &[u8]) -> Output {
    let mut palm = Palm::start(arguments);
    let mut stdin = palm.child.stdin.take().unwrap();
    let input = input.to_vec();
    // It may end before it has read all.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let mut stdout = palm.child.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut output = Vec::new();
        stdout.read_to_end(&mut output).map(|_| output).unwrap()
    });
    let status = palm.wait(BOUND);
    writer.join().unwrap();
    Output {
        status,
        stdout: reader.join().unwrap(),
        stderr: palm.log().into_bytes(),
    }
}

/// The numbers as lines.
pub fn lines(numbers: std::ops::RangeInclusive<u32>) -> String {
    numbers.map(|number| format!("{number}\n")).collect()
}

/// A running palm. It is killed when it is dropped.
pub struct Palm {
    pub child: Child,
    log: Arc<Mutex<String>>,
    logger: Option<JoinHandle<()>>,
    db: String,
}

impl Palm {
    /// Starts palm and listens to its standard error.
    pub fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_palm"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let shared = log.clone();
        let logger = std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let mut log = shared.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        Self {
            child,
            log,
            logger: Some(logger),
            db: String::new(),
        }
    }

    /// A master on free ports.
    pub fn master(more: &[&str]) -> Self {
        Self::serve(
            "master",
            &["--pull", "--pub", "--wpush", "--wpull", "--db"],
            more,
        )
    }

    /// A hub on free ports.
    pub fn hub(more: &[&str]) -> Self {
        Self::serve("hub", &["--pub", "--wpush", "--wpull", "--db"], more)
    }

    fn serve(command: &str, bound: &[&str], more: &[&str]) -> Self {
        let mut arguments = vec![command, "-i"];
        for flag in bound {
            arguments.extend([flag, "tcp://127.0.0.1:*"]);
        }
        arguments.extend(more);
        let mut running = Self::start(&arguments);
        running.line_with("ready: ");
        running.db = running.address("db");
        running
    }

    /// The address that it bound for a role: pull, pub, wpush, wpull or db.
    pub fn address(&self, role: &str) -> String {
        let line = self.line_with("ready: ");
        let (_, roles) = line.split_once("ready: ").unwrap();
        let of_role = |entry: &str| {
            entry
                .strip_prefix(role)?
                .strip_prefix(' ')
                .map(str::to_owned)
        };
        let found = roles.split(", ").find_map(of_role);
        found.unwrap_or_else(|| panic!("no {role} in: {line}"))
    }

    /// A worker of this master, once it has found it.
    pub fn worker(&self, command: &[&str]) -> Self {
        self.worker_with(&[], command)
    }

    pub fn worker_with(&self, flags: &[&str], command: &[&str]) -> Self {
        let arguments = [
            &["worker", "-i", "--db", self.db()],
            flags,
            &["--"],
            command,
        ]
        .concat();
        let worker = Self::start(&arguments);
        worker.line_with("ready");
        worker
    }

    pub fn db(&self) -> &str {
        &self.db
    }

    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Waits until a line of the log contains `text`.
    pub fn line_with(&self, text: &str) -> String {
        let start = Instant::now();
        loop {
            let log = self.log();
            if let Some(line) = log.lines().find(|line| line.contains(text)) {
                return line.to_owned();
            }
            assert!(start.elapsed() < BOUND, "no '{text}' in:\n{log}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Sends it a signal.
    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let status = Command::new("kill").args(["-s", name, &id]).status();
        assert!(status.unwrap().success());
    }

    /// Waits for its end.
    pub fn wait(&mut self, bound: Duration) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                if let Some(logger) = self.logger.take() {
                    logger.join().unwrap();
                }
                return status;
            }
            assert!(
                start.elapsed() < bound,
                "still running after {bound:?}; its log:\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Stops it in an orderly way, and gives its log.
    pub fn stop(mut self) -> String {
        self.signal("TERM");
        let status = self.wait(BOUND);
        assert!(status.success(), "{status}; its log:\n{}", self.log());
        self.log()
    }
}

impl Drop for Palm {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
