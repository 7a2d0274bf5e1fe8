//! Other processes: what they say, how they end, and that they do end.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A process that is killed when this is dropped. If a test fails, it tells what it said.
pub struct Peer {
    name: String,
    child: Child,
    out: Arc<Output>,
    err: Arc<Output>,
    readers: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Output {
    said: Mutex<Said>,
    news: Condvar,
}

#[derive(Default)]
struct Said {
    lines: Vec<String>,
    ended: bool,
}

impl Peer {
    pub fn start(name: &str, mut command: Command) -> Self {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{name} cannot be started: {error}"));
        let (out, err) = (Arc::<Output>::default(), Arc::<Output>::default());
        let readers = vec![
            read(child.stdout.take().expect("stdout is a pipe"), out.clone()),
            read(child.stderr.take().expect("stderr is a pipe"), err.clone()),
        ];
        Self {
            name: name.to_owned(),
            child,
            out,
            err,
            readers,
        }
    }

    /// Waits until what it has printed so far meets a condition.
    pub fn wait_for(
        &self,
        what: &str,
        timeout: Duration,
        condition: impl Fn(&[String]) -> bool,
    ) -> Result<(), String> {
        let deadline = Instant::now() + timeout;
        let mut said = self.out.said.lock().unwrap();
        while !condition(&said.lines) {
            let left = deadline.saturating_duration_since(Instant::now());
            if said.ended || left.is_zero() {
                let why = if said.ended { "it ended" } else { "time is up" };
                drop(said);
                return Err(format!(
                    "waited for {what}, but {why}\n{}",
                    self.transcript()
                ));
            }
            said = self.out.news.wait_timeout(said, left).unwrap().0;
        }
        Ok(())
    }

    /// How many of the lines that it has printed so far contain a text.
    pub fn said(&self, text: &str) -> usize {
        let said = self.out.said.lock().unwrap();
        let with_text = said.lines.iter().filter(|line| line.contains(text));
        with_text.count()
    }

    /// Waits until it ends by itself, without an error, and gives the lines that it printed.
    pub fn finish(mut self, timeout: Duration) -> Result<Vec<String>, String> {
        let deadline = Instant::now() + timeout;
        let status = loop {
            if let Some(status) = self.status() {
                break status;
            }
            if Instant::now() >= deadline {
                let late = format!("{} did not end within {timeout:?}", self.name);
                return Err(format!("{late}\n{}", self.transcript()));
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
        if !status.success() {
            return Err(format!(
                "{} ended with {status}\n{}",
                self.name,
                self.transcript()
            ));
        }
        Ok(std::mem::take(&mut self.out.said.lock().unwrap().lines))
    }

    /// The same, without the lines of its log.
    pub fn printed(self, timeout: Duration) -> Result<Vec<String>, String> {
        let mut lines = self.finish(timeout)?;
        lines.retain(|line| !is_log(line));
        Ok(lines)
    }

    /// Sends it a signal, such as `STOP`, by the system's `kill`.
    pub fn signal(&self, name: &str) {
        let mut kill = Command::new("kill");
        kill.arg(format!("-{name}"))
            .arg(self.child.id().to_string());
        assert!(kill.status().unwrap().success(), "kill -{name} failed");
    }

    pub fn is_alive(&mut self) -> bool {
        self.status().is_none()
    }

    fn status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be waited for")
    }

    /// The end of what it said.
    pub fn transcript(&self) -> String {
        let mut text = String::new();
        for (stream, output) in [("stdout", &self.out), ("stderr", &self.err)] {
            let lines = &output.said.lock().unwrap().lines;
            let _ = writeln!(text, "--- {} {stream}: {} lines", self.name, lines.len());
            for line in &lines[lines.len().saturating_sub(25)..] {
                let start: String = line.chars().take(200).collect();
                let _ = writeln!(text, "    {start}");
            }
        }
        text
    }
}

/// A line of a log begins with the year; palm and pylm write the same.
fn is_log(line: &str) -> bool {
    let date = line.as_bytes().get(..5);
    date.is_some_and(|date| date[..4].iter().all(u8::is_ascii_digit) && date[4] == b'-')
}

fn read(stream: impl Read + Send + 'static, output: Arc<Output>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            output.said.lock().unwrap().lines.push(line);
            output.news.notify_all();
        }
        output.said.lock().unwrap().ended = true;
        output.news.notify_all();
    })
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
        if std::thread::panicking() {
            eprintln!("{}", self.transcript());
        }
    }
}
