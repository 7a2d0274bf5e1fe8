//! A function that is a command: one process for each message.

use std::io::{self, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use palm::message::DEFAULT_MAX_MESSAGE;
use palm::{BoxError, Call, Handler, Reply};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::common::Failure;

/// How much of a failed command's standard error is told.
const TAIL: usize = 2_000;

/// How long a command may take to end when the worker is stopped, before it is killed.
const GRACE: Duration = Duration::from_millis(150);

/// Runs a command for each message.
pub struct Command {
    program: String,
    arguments: Vec<String>,
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Default)]
struct State {
    running: Option<Pid>,
    stopped: bool,
}

impl Command {
    /// A command, after a look whether there is such a program.
    pub fn new(program: &str, arguments: &[String]) -> Result<Self, Failure> {
        if !is_program(program) {
            return Err(format!("there is no program '{program}' that could be run").into());
        }
        Ok(Self {
            program: program.to_owned(),
            arguments: arguments.to_vec(),
            state: Mutex::default(),
            ended: Condvar::new(),
        })
    }

    /// Ends the command that runs, with all that it started, and has no other be run.
    pub fn stop(&self) {
        let mut state = self.state();
        state.stopped = true;
        self.signal(&state, Signal::TERM);
        let runs = |state: &mut State| state.running.is_some();
        let (state, _) = self
            .ended
            .wait_timeout_while(state, GRACE, runs)
            .unwrap_or_else(PoisonError::into_inner);
        self.signal(&state, Signal::KILL);
    }

    /// The process is not reaped while the state is held: so its id is still its own.
    fn signal(&self, state: &State, signal: Signal) {
        if let Some(group) = state.running {
            let _ = kill_process_group(group, signal);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start(&self, function: &str) -> Result<Child, BoxError> {
        let mut state = self.state();
        if state.stopped {
            return Err("the worker was stopped".into());
        }
        let child = std::process::Command::new(&self.program)
            .args(&self.arguments)
            .env("PALM_FUNCTION", function)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A group of its own, so that it can be ended with all that it starts.
            .process_group(0)
            .spawn()
            .map_err(|error| format!("'{}' cannot be started: {error}", self.program))?;
        state.running = Pid::from_raw(i32::try_from(child.id())?);
        Ok(child)
    }

    fn finish(&self, mut child: Child) -> io::Result<(ExitStatus, bool)> {
        // First until it has ended, without reaping it; then, with the state held, reap it.
        let id = Pid::from_child(&child);
        let options =
            rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOWAIT;
        while let Err(error) = rustix::process::waitid(rustix::process::WaitId::Pid(id), options) {
            if error != rustix::io::Errno::INTR {
                return Err(error.into());
            }
        }
        let mut state = self.state();
        state.running = None;
        self.ended.notify_all();
        Ok((child.wait()?, state.stopped))
    }
}

impl Handler for Command {
    fn call(&self, call: &Call<'_>) -> Result<Reply, BoxError> {
        let message = call.message();
        let step = message.path()?.step(message.stage())?;
        let mut child = self.start(step.function)?;
        let (stdin, stdout, stderr) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        // All three at once: a command may write before it has read, or not read at all. In
        // threads that are left behind when somebody else whom it started keeps the pipes open.
        let payload = call.payload().to_vec();
        std::thread::spawn(move || stdin.map(|mut stdin| stdin.write_all(&payload)));
        let output = Reading::start(stdout, DEFAULT_MAX_MESSAGE, Part::Beginning);
        let error = Reading::start(stderr, TAIL, Part::End);
        let (status, stopped) = self.finish(child)?;
        if stopped && !status.success() {
            return Err("the worker was stopped".into());
        }
        let (error, _) = error.finish();
        if !status.success() {
            return Err(failure(status, &error).into());
        }
        match output.finish() {
            (output, false) => Ok(Reply::One(output)),
            (_, true) => {
                Err(format!("its output is over the limit of {DEFAULT_MAX_MESSAGE} bytes").into())
            }
        }
    }
}

/// Which part of more than there is room for is kept.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Beginning,
    End,
}

/// What a command writes, read by a thread.
struct Reading {
    read: Arc<Mutex<(Vec<u8>, bool)>>,
    ended: Receiver<()>,
}

impl Reading {
    fn start(from: Option<impl Read + Send + 'static>, most: usize, part: Part) -> Self {
        let read = Arc::new(Mutex::new((Vec::new(), false)));
        // Nothing is sent: the thread's end ends the channel.
        let (ending, ended) = mpsc::channel();
        let shared = read.clone();
        std::thread::spawn(move || {
            let _ending = ending;
            let Some(mut from) = from else { return };
            let mut buffer = [0; 16 << 10];
            // To the end, or the command would wait for ever.
            while let Ok(length @ 1..) = from.read(&mut buffer) {
                let mut read = shared.lock().unwrap_or_else(PoisonError::into_inner);
                let (kept, cut) = &mut *read;
                kept.extend_from_slice(&buffer[..length]);
                *cut |= kept.len() > most;
                match part {
                    Part::Beginning => kept.truncate(most),
                    Part::End => drop(kept.drain(..kept.len().saturating_sub(most))),
                }
            }
        });
        Self { read, ended }
    }

    /// What was read, and whether it was more. Waits a moment for the end, not for whoever the
    /// command may have left behind.
    fn finish(self) -> (Vec<u8>, bool) {
        let _ = self.ended.recv_timeout(GRACE);
        std::mem::take(&mut *self.read.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn failure(status: ExitStatus, error: &[u8]) -> String {
    let how = match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("ended by signal {signal}"),
        (None, None) => "ended".to_owned(),
    };
    match String::from_utf8_lossy(error).trim_end() {
        "" => how,
        said => format!("{how}: {said}"),
    }
}

/// Whether a program of this name can be run, as far as that can be seen without running it.
fn is_program(name: &str) -> bool {
    use std::os::unix::fs::PermissionsExt;
    let runs = |path: &std::path::Path| {
        let file = std::fs::metadata(path);
        file.is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    };
    if name.contains('/') {
        return runs(name.as_ref());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| runs(&folder.join(name)))
}
