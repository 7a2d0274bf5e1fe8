//! Processes with a role.

use std::collections::VecDeque;
use std::fmt::Display;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::common::{fixed, until_within};
use crate::tally::Tally;

/// The environment variable that tells a process its role: `ROLE KEY=VALUE …`.
pub const ROLE: &str = "PALM_TEST_ROLE";

/// How long a process may take to be ready.
pub const READY: Duration = Duration::from_secs(30);

/// How many lines of a process' log are kept for when something goes wrong.
const LOG: usize = 12;

static MACHINE: Mutex<()> = Mutex::new(());

/// The machine for oneself: these tests run one after another.
pub fn alone() -> MutexGuard<'static, ()> {
    // One that failed has left nothing behind.
    MACHINE
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// What a process is to be.
#[derive(Clone, Debug)]
pub struct Role {
    text: String,
    /// The network namespace that it is in.
    namespace: Option<String>,
}

impl Role {
    pub fn new(role: &str) -> Self {
        Self {
            text: role.to_owned(),
            namespace: None,
        }
    }

    pub fn with(mut self, key: &str, value: impl Display) -> Self {
        self.text.push_str(&format!(" {key}={value}"));
        self
    }

    pub fn within(mut self, namespace: &str) -> Self {
        self.namespace = Some(namespace.to_owned());
        self
    }

    /// Starts it, and waits until it is ready.
    pub fn start(&self) -> Process {
        let process = self.spawn();
        process.wait_for("ready", READY);
        process
    }

    /// Starts it.
    pub fn spawn(&self) -> Process {
        let program = std::env::current_exe().unwrap();
        let mut command = match &self.namespace {
            Some(namespace) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", namespace]).arg(program);
                command
            }
            None => Command::new(program),
        };
        let mut child = command
            .args(["role::play", "--exact", "--nocapture", "--test-threads=1"])
            .env(ROLE, &self.text)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let heard = Arc::new(Mutex::new(Heard::default()));
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let shared = heard.clone();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                shared.lock().unwrap().hear(line);
            }
        });
        Process {
            child,
            heard,
            text: self.text.clone(),
        }
    }
}

/// What a process has said.
#[derive(Default)]
struct Heard {
    told: std::collections::HashMap<String, String>,
    log: VecDeque<String>,
}

impl Heard {
    fn hear(&mut self, line: String) {
        if let Some(told) = line.strip_prefix("@ ") {
            let (key, value) = told.split_once(' ').unwrap_or((told, ""));
            self.told.insert(key.to_owned(), value.to_owned());
            return;
        }
        if self.log.len() == LOG {
            self.log.pop_front();
        }
        self.log.push_back(line);
    }
}

/// Runs the job of a client while somebody disturbs it, and once more while that was not often
/// enough, however fast the machine. `disturb` is called all the time, and returns how often it
/// has disturbed so far. Returns the tally of each job.
pub fn disturbed(client: &Role, least: u64, mut disturb: impl FnMut() -> u64) -> Vec<Tally> {
    let mut tallies = Vec::new();
    loop {
        let mut client = client.start();
        let mut disturbed = 0;
        while client.ended().is_none() {
            disturbed = disturb();
            std::thread::sleep(Duration::from_millis(5));
        }
        let tally = client.tally(Duration::from_secs(1));
        tally.is_whole();
        tallies.push(tally);
        if disturbed >= least {
            return tallies;
        }
    }
}

/// A running process. It is killed when it is dropped.
pub struct Process {
    child: Child,
    heard: Arc<Mutex<Heard>>,
    text: String,
}

impl Process {
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has told last under this key.
    pub fn told(&self, key: &str) -> Option<String> {
        self.heard.lock().unwrap().told.get(key).cloned()
    }

    /// A number that it has told last under this key; 0 when it has not.
    pub fn number(&self, key: &str) -> u64 {
        self.told(key).map_or(0, |number| number.parse().unwrap())
    }

    /// Waits until it tells something under this key.
    pub fn wait_for(&self, key: &str, limit: Duration) -> String {
        let start = Instant::now();
        loop {
            if let Some(told) = self.told(key) {
                return told;
            }
            if start.elapsed() >= limit {
                panic!("no '{key}' within {limit:?}: {self}");
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// What came of a client's job.
    pub fn tally(&self, limit: Duration) -> Tally {
        self.wait_for("tally", limit).parse().unwrap()
    }

    /// The last lines of its log.
    pub fn log(&self) -> String {
        let heard = self.heard.lock().unwrap();
        heard.log.iter().map(|line| format!("  {line}\n")).collect()
    }

    pub fn signal(&self, name: &str) {
        let id = self.id().to_string();
        let status = Command::new("kill").args(["-s", name, &id]).status();
        assert!(status.unwrap().success());
    }

    /// Kills it. It has no time for anything any more.
    pub fn kill(&mut self) {
        // That is SIGKILL.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Whether it has ended, and how.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// The most memory that it ever had, in MiB.
    pub fn peak(&self) -> u64 {
        peak(&self.id().to_string())
    }
}

/// The most memory that a process ever had, in MiB.
pub fn peak(id: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    kib.unwrap().parse::<u64>().unwrap() / 1024
}

impl Display for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "'{}', which said last:\n{}", self.text, self.log())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{self}");
        }
        self.kill();
    }
}

/// A master's role at addresses of its own, which stay when it is started again. Its link is at
/// any free port, so that its peers have to learn it anew.
pub fn master() -> (Role, String) {
    let db = fixed();
    let role = Role::new("master")
        .with("db", &db)
        .with("pull", fixed())
        .with("pub", fixed())
        .with("wpush", fixed())
        .with("wpull", fixed());
    (role, db)
}

/// Waits until a process has come so far.
pub fn until_number(process: &Process, key: &str, number: u64, limit: Duration) {
    until_within(limit, &format!("{key} {number} of {process}"), || {
        process.number(key) >= number
    });
}
