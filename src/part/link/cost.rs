//! What a message costs on its way through a master: client, master and workers in one thread,
//! with all they do but to wait and to hand bytes to libzmq. Under callgrind this counts
//! instructions, which do not depend on what else the machine does: so a change can be held
//! against what was counted before it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::process::Command;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::short::{ShortWays, WayOut};
use crate::core::custody::Ledger;
use crate::core::link::client::{Inbox, JobSettings, Output, Session, Standing, What};
use crate::core::link::{Line, Post, PostSettings, WorkerSession};
use crate::core::queue::Settings;
use crate::message::link::Envelope;
use crate::message::spare::Buffer;
use crate::message::{Frame, FrameReader};
use crate::part::dealer::accept;
use crate::part::publish::Topics;
use crate::part::route::Sorting;
use crate::sim::client::Over;

/// What lies on a wire, in order.
type Wire = Vec<Vec<Buffer>>;

struct Client {
    session: Rc<RefCell<Session>>,
    line: Line<Over>,
    job: u64,
    empty: Frame,
    inbox: Inbox,
    submitted: u64,
    read: u64,
    reader: FrameReader,
    outputs: VecDeque<Output>,
}

struct Worker {
    line: Line<WorkerSession>,
    reader: FrameReader,
}

struct Master {
    post: Post,
    short: ShortWays,
    topics: Topics,
    reader: FrameReader,
}

fn onto_wire(said: Vec<Envelope>) -> Wire {
    said.iter()
        .map(|envelope| envelope.encode().received())
        .collect()
}

impl Client {
    fn new(id: usize, window: usize, now: Instant) -> Self {
        let id = format!("0b0e3a1c-5d1f-4c63-9f3e-{id:012}");
        let session = Rc::new(RefCell::new(Session::new(&id, 1, 1 << 20)));
        let settings = JobSettings {
            ordered: false,
            one_each: false,
            messages: window,
            bytes: 1 << 30,
        };
        let job = session.borrow_mut().open(settings, Box::new(|_| {}));
        let job = job.expect("it has not ended");
        let topic = session.borrow().topic(job);
        let mut line = Line::new(Over(session.clone(), 0), now);
        line.opened(now);
        Self {
            session,
            line,
            job,
            empty: Frame::new("", &topic, "server.echo", "", b""),
            inbox: Inbox::default(),
            submitted: 0,
            read: 0,
            reader: FrameReader::of_link(),
            outputs: VecDeque::new(),
        }
    }

    fn submits(&mut self, upto: u64, payload: &[u8], now: Instant) -> Wire {
        while self.submitted < upto {
            let mut session = self.session.borrow_mut();
            let Some(room) = session.room(self.job, payload.len()) else {
                break;
            };
            if room.messages == 0 {
                break;
            }
            for _ in 0..room.messages {
                if self.submitted == upto {
                    break;
                }
                self.submitted += 1;
                self.inbox
                    .add(self.job, self.submitted, &self.empty, payload);
            }
            for message in self.inbox.take() {
                session.submit(message);
            }
        }
        self.line.tick(now);
        onto_wire(self.line.take(now))
    }

    fn reads(&mut self, wire: Wire, now: Instant) {
        for mut parts in wire {
            let (head, frames) =
                accept(&mut parts, &mut self.reader, 1 << 20, "client").expect("it is a message");
            self.line.receive(head, frames, now);
        }
        loop {
            let mut session = self.session.borrow_mut();
            match session.take(self.job, 64, &mut self.outputs) {
                Some(Standing::Open) => break,
                Some(standing) => panic!("{standing:?}"),
                None => {}
            }
            self.read += self.outputs.len() as u64;
            let mut read = Vec::with_capacity(self.outputs.len());
            for mut output in self.outputs.drain(..) {
                match output.take() {
                    What::Frame(frame, at) => drop(frame.payload_at(at).to_vec()),
                    What::Failure(failure) => panic!("{failure:?}"),
                }
                read.push(output);
            }
            session.read(self.job, read);
        }
    }
}

impl Master {
    fn hears(&mut self, conn: u64, wire: Wire, now: Instant) {
        for mut parts in wire {
            let (head, frames) =
                accept(&mut parts, &mut self.reader, 1 << 20, "server").expect("it is a message");
            self.post.receive(conn, head, frames, now);
        }
    }

    fn works(&mut self, now: Instant) {
        for _ in 0..2 {
            let mut out = WayOut {
                topics: &mut self.topics,
                component: "server",
            };
            self.short.hand_on(&mut self.post, &mut out, true, now);
            self.post.tick(now);
        }
    }

    fn says(&mut self, now: Instant) -> Vec<(u64, Wire)> {
        let said = self.post.take(now);
        said.into_iter()
            .map(|(conn, envelope)| (conn, onto_wire(vec![envelope])))
            .collect()
    }
}

impl Worker {
    fn new(id: usize, now: Instant) -> Self {
        let name = format!("w{id}");
        let session = WorkerSession::new(name.clone(), name, vec!["echo".to_owned()]);
        let mut line = Line::new(session, now);
        line.opened(now);
        Self {
            line,
            reader: FrameReader::of_link(),
        }
    }

    fn runs(&mut self, wire: Wire, now: Instant) -> Wire {
        for mut parts in wire {
            let (head, frames) =
                accept(&mut parts, &mut self.reader, 1 << 20, "worker").expect("it is a message");
            self.line.receive(head, frames, now);
        }
        while let Some((_, frame)) = self.line.party_mut().next() {
            let session = self.line.party_mut();
            let progress = session.begin_bundle(frame.clone(), now, now);
            for at in 0..frame.count() {
                // As a function does that gives it back.
                let payload = frame.payload_at(at).to_vec();
                progress.ran(|parts| parts.one(&payload, now));
            }
            session.gather();
        }
        self.line.tick(now);
        onto_wire(self.line.take(now))
    }
}

/// How much there is of everything.
#[derive(Clone, Copy)]
struct Case {
    clients: usize,
    workers: usize,
    /// How many messages a client may have open.
    window: usize,
}

/// What is held against: instructions a message, when they were counted last.
const CASES: [(Case, u64); 9] = [
    (case(1, 2, 1), 65_300),
    (case(1, 2, 1_000), 3_300),
    (case(1, 2, 100_000), 3_200),
    (case(10, 2, 4_096), 3_400),
    (case(100, 2, 4_096), 3_700),
    (case(500, 2, 4_096), 3_800),
    (case(1, 1, 4_096), 3_200),
    (case(1, 16, 4_096), 3_300),
    (case(1, 64, 4_096), 3_400),
];

const fn case(clients: usize, workers: usize, window: usize) -> Case {
    Case {
        clients,
        workers,
        window,
    }
}

/// A run of so many messages.
fn run(case: Case, messages: u64) {
    let mut now = Instant::now();
    let settings = PostSettings {
        epoch: "e".to_owned(),
        hold: 32 << 20,
        subscribers: 1,
        patience: Duration::from_secs(30),
        submits: true,
        max_message: 1 << 20,
        stalled: Default::default(),
        workers: Some(Settings::default()),
    };
    let mut master = Master {
        post: Post::new(settings, Ledger::new(|| {})),
        short: ShortWays {
            to_workers: Some(Sorting::new("server", false)),
            from_workers: true,
        },
        topics: Topics::Client,
        reader: FrameReader::of_link(),
    };
    let each = messages / case.clients as u64;
    let clients = (0..case.clients).map(|id| Client::new(id, case.window, now));
    let mut clients: Vec<_> = clients.collect();
    let mut workers: Vec<_> = (0..case.workers).map(|id| Worker::new(id, now)).collect();
    let mut inboxes: Vec<Wire> = vec![Wire::new(); workers.len()];
    let mut rounds = 0;
    while clients.iter().any(|client| client.read < each) {
        rounds += 1;
        assert!(rounds < 100 * messages, "it does not end");
        now += Duration::from_micros(100);
        for (id, client) in clients.iter_mut().enumerate() {
            let wire = client.submits(each, &[7; SIZE], now);
            master.hears(id as u64, wire, now);
        }
        for (id, worker) in workers.iter_mut().enumerate() {
            let wire = worker.runs(std::mem::take(&mut inboxes[id]), now);
            master.hears(WORKERS + id as u64, wire, now);
        }
        master.works(now);
        for (conn, wire) in master.says(now) {
            match conn.checked_sub(WORKERS) {
                Some(worker) => inboxes[worker as usize].extend(wire),
                None => clients[conn as usize].reads(wire, now),
            }
        }
    }
}

/// Where the connections of workers begin.
const WORKERS: u64 = 1_000_000;

/// How long a payload is, in bytes.
const SIZE: usize = 100;

/// How many messages of each client are measured, at the least.
const EACH: usize = 256;

/// Which of the cases to run, and with how many messages, when it runs under callgrind.
const WHICH: &str = "PALM_COST_CASE";
const MESSAGES: &str = "PALM_COST_MESSAGES";

fn number(variable: &str) -> Option<usize> {
    std::env::var(variable).ok()?.parse().ok()
}

/// How many instructions callgrind counts in a run of this case.
fn instructions(which: usize, messages: usize) -> u64 {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let output = Command::new("valgrind")
        .arg("--tool=callgrind")
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "part::link::cost::instructions_of_a_message",
            "--ignored",
        ])
        .env(WHICH, which.to_string())
        .env(MESSAGES, messages.to_string())
        .output()
        .expect("valgrind is installed");
    assert!(output.status.success(), "{output:?}");
    let text = std::fs::read_to_string(&out).unwrap();
    let summary = text.lines().find_map(|line| line.strip_prefix("summary: "));
    summary
        .and_then(|count| count.trim().parse().ok())
        .expect("a count")
}

/// What each message costs once all is running: the difference between a run and a longer one.
/// In the release profile, with `--nocapture`.
#[test]
#[ignore = "a measurement, which needs valgrind and some minutes"]
fn instructions_of_a_message() {
    if let (Some(which), Some(messages)) = (number(WHICH), number(MESSAGES)) {
        return run(CASES[which].0, messages as u64);
    }
    println!("clients  workers    window  instructions  of those kept");
    for (which, (case, kept)) in CASES.iter().enumerate() {
        // So many of each client that its bundles are full.
        let some = 20_000.max(EACH * case.clients);
        let few = some.max(case.window);
        let more = few + some;
        let (few, all) = (instructions(which, few), instructions(which, more));
        let each = (all - few) / some as u64;
        let ratio = each as f64 / *kept as f64;
        let Case {
            clients,
            workers,
            window,
        } = case;
        println!("{clients:7}  {workers:7}  {window:8}  {each:12}  {ratio:13.2}");
    }
}
