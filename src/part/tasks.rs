//! Tasks that come over the palm link, and the thread that runs them.

use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, select};
use parking_lot::Mutex;

use super::run_clock::RunClock;
use super::signal::Signal;
use super::{Context, Crew, Dealer, Duty, Find, Voice};
use crate::bell::Bell;
use crate::core::link::{Party, WorkerSession};
use crate::error::Result;
use crate::handler::Runner;
use crate::message::Frame;
use crate::message::link::{Head, Hello, Outgoing, Welcome};

/// Runs the tasks of a master: one thread is there for the master, another runs functions. So
/// however long a function takes, its worker is heard of.
pub(crate) struct TaskLink {
    pub(crate) session: WorkerSession,
    /// Where the master's link is.
    pub(crate) find: Find,
    pub(crate) runner: Arc<Runner>,
    pub(crate) max_message: usize,
}

impl TaskLink {
    pub(crate) fn spawn(self, crew: &mut Crew) -> Result<()> {
        let voice = Voice::new()?;
        let session = Arc::new(Mutex::new(self.session));
        let (tell, told) = crossbeam_channel::bounded(1);
        let dealer = Dealer {
            name: "Link".to_owned(),
            party: Tasks {
                session: session.clone(),
                tell,
                ear: voice.ear().clone(),
                soft: crew.soft().clone(),
                max_message: self.max_message,
            },
            find: self.find,
            asks: true,
            max_message: self.max_message,
        };
        dealer.spawn(crew, Duty::Carries, voice.clone());
        let runner = self.runner;
        crew.spawn("Functions", Duty::Works, move |context| {
            context.wake_by(voice.ear());
            context.ready(None)?;
            run(context, &session, &told, &runner, &voice);
            Ok(())
        });
        Ok(())
    }
}

/// Runs one task after another, until a stop.
fn run(
    context: &Context,
    session: &Mutex<WorkerSession>,
    told: &Receiver<()>,
    runner: &Runner,
    voice: &Voice<Tasks>,
) {
    let mut is_said = false;
    let mut clock = RunClock::new();
    while !context.soft.is_raised() {
        let next = session.lock().next();
        let Some((id, frame)) = next else {
            let has_next = || session.lock().has_next();
            wait(context, (told, is_said), voice, has_next);
            clock.begin();
            continue;
        };
        if frame.count() > 1 {
            run_bundle(context, (session, told), runner, voice, &mut clock, &frame);
            is_said = false;
            continue;
        }
        let start = clock.now();
        let mut results = Vec::new();
        runner.run(&frame, &mut |result| results.push(result));
        let ran = clock.now().saturating_duration_since(start);
        let is_last = {
            let mut session = session.lock();
            session.finished(id, ran, results);
            !session.has_next()
        };
        is_said = speak(voice, is_last);
    }
}

/// Waits until more is to be run, as `ready` says, or until a stop, or for less.
fn wait(
    context: &Context,
    (told, is_said): (&Receiver<()>, bool),
    voice: &Voice<Tasks>,
    ready: impl Fn() -> bool,
) {
    if !voice.listen(None, is_said, || context.soft.is_raised() || ready()) {
        select! {
            recv(told) -> _ => {}
            recv(context.soft.raised()) -> _ => {}
        }
    }
}

/// Runs the messages of a bundle, as many as are to be run here.
fn run_bundle(
    context: &Context,
    (session, told): (&Mutex<WorkerSession>, &Receiver<()>),
    runner: &Runner,
    voice: &Voice<Tasks>,
    clock: &mut RunClock,
    frame: &Frame,
) {
    let progress = session
        .lock()
        .begin_bundle(frame.clone(), Instant::now(), clock.now());
    // While one of its messages takes its time, the connection's thread looks after the others.
    voice.speak_soon();
    runner.run_each(frame, &mut |ran| {
        let next = progress.ran(|parts| ran.note(parts, clock.now()));
        if next.is_due {
            let is_last = {
                let mut session = session.lock();
                session.gather() && !session.has_next()
            };
            match next.is_slow || is_last {
                true => drop(speak(voice, is_last)),
                false => voice.speak_soon(),
            }
            // Not by handing back the rest, which would run after what waits here.
            while session.lock().is_choked() && !context.soft.is_raised() {
                voice.announce();
                wait(context, (told, false), voice, || {
                    !session.lock().is_choked()
                });
            }
        }
        next.goes_on
    });
}

/// Has said what there is to say: at once if nothing is to be run after it. Whether it is said.
fn speak(voice: &Voice<Tasks>, is_last: bool) -> bool {
    if is_last {
        return voice.speak();
    }
    voice.announce();
    false
}

/// The session, as the connection's thread knows it.
struct Tasks {
    session: Arc<Mutex<WorkerSession>>,
    /// Says that there are tasks.
    tell: Sender<()>,
    /// The same, while the thread that runs them listens itself.
    ear: Arc<Bell>,
    soft: Signal,
    max_message: usize,
}

impl Party for Tasks {
    fn hello(&mut self) -> Hello {
        Hello {
            max_message: self.max_message as u64,
            ..self.session.lock().hello()
        }
    }

    fn welcomed(&mut self, welcome: Welcome, out: &mut Outgoing, now: Instant) {
        self.session.lock().welcomed(welcome, out, now);
    }

    fn heard(&mut self, head: Box<Head>, frames: Vec<Frame>, out: &mut Outgoing, now: Instant) {
        let mut session = self.session.lock();
        let was_choked = session.is_choked();
        session.heard(head, frames, out, now);
        if session.has_next() || was_choked && !session.is_choked() {
            // Once is enough, however often.
            let _ = self.tell.try_send(());
            self.ear.ring();
        }
    }

    fn lost(&mut self, now: Instant) {
        self.session.lock().lost(now);
    }

    fn speak(&mut self, out: &mut Outgoing, now: Instant) {
        self.session.lock().speak(out, now);
    }

    fn deadline(&self) -> Option<Instant> {
        self.session.lock().deadline()
    }

    /// The signal wakes the thread, which asks this first.
    fn is_over(&self) -> bool {
        let mut session = self.session.lock();
        if self.soft.is_raised() {
            session.drain();
        }
        session.is_over()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::Running;
    use super::*;
    use crate::address::Addresses;
    use crate::bell::Bell;
    use crate::cache::StoreCache;
    use crate::handler::Functions;
    use crate::message::link::{Envelope, Kind as HelloKind, TaskId, TaskIds};
    use crate::message::spare::Buffer;
    use crate::socket::{Kind, Socket, Want};
    use crate::store::Memory;

    const SOON: Duration = Duration::from_secs(10);

    /// A master as far as its worker sees one.
    struct Master {
        socket: Socket,
        bell: Arc<Bell>,
        peer: Vec<u8>,
        address: String,
        epoch: &'static str,
        beats: usize,
        /// Whether the worker has said hello.
        knows: bool,
    }

    impl Master {
        fn new(epoch: &'static str, address: &str) -> Self {
            let mut socket = Socket::open(Kind::LinkServer, "master", 1 << 20).unwrap();
            let address = socket.bind(address).unwrap();
            Self {
                socket,
                bell: Bell::new().unwrap(),
                peer: Vec::new(),
                address,
                epoch,
                beats: 0,
                knows: false,
            }
        }

        /// The next thing that is said but heartbeats.
        fn hear(&mut self) -> Head {
            let end = Instant::now() + SOON;
            let mut parts: Vec<Buffer> = Vec::new();
            loop {
                assert!(Instant::now() < end, "the worker says nothing");
                if !self.socket.try_recv(&mut parts).unwrap() {
                    let pause = Some(Duration::from_millis(100));
                    self.socket.wait(Want::Read, &self.bell, pause).unwrap();
                    continue;
                }
                self.peer = parts.remove(0).into_vec();
                let (head, _) = Envelope::decode(&mut parts).unwrap();
                if *head == Head::default() {
                    self.beats += 1;
                    // It wants to be sure of us, too.
                    let unknown = !self.knows;
                    self.say(|out| out.note(|head| head.unknown = unknown));
                    continue;
                }
                return *head;
            }
        }

        /// Says something, if only a heartbeat.
        fn say(&mut self, say: impl FnOnce(&mut Outgoing)) {
            let mut out = Outgoing::default();
            say(&mut out);
            let mut said = out.take();
            if said.is_empty() {
                said.push(Envelope::default());
            }
            for envelope in said {
                self.socket.say_to(&self.peer, envelope.encode()).unwrap();
            }
        }

        fn welcome(&mut self) -> Hello {
            loop {
                let head = self.hear();
                let Some(hello) = head.hello else {
                    self.say(|out| out.note(|head| head.unknown = true));
                    continue;
                };
                let welcome = Welcome {
                    version: 1,
                    nonce: hello.nonce,
                    epoch: self.epoch.to_owned(),
                    ..Welcome::default()
                };
                self.say(|out| out.note(|head| head.welcome = Some(welcome.into())));
                self.knows = true;
                return *hello;
            }
        }

        fn give(&mut self, ids: impl IntoIterator<Item = u64>, function: &str) {
            self.say(|out| {
                for id in ids {
                    let frame = Frame::new("", "c", function, "", &id.to_be_bytes());
                    out.task(TaskId::single(id, 1), frame);
                }
            });
        }

        fn done(&mut self, ids: impl IntoIterator<Item = u64>) {
            self.say(|out| out.note(|head| head.done.extend(ids)));
        }

        fn ids_of_results(&mut self) -> Vec<u64> {
            let head = self.hear();
            head.results().map(|result| result.id.id).collect()
        }
    }

    /// A worker that has its master at this address; `slow` runs until it is let go.
    fn worker(address: &str) -> (Running, Sender<()>) {
        let (go, gate) = crossbeam_channel::unbounded::<()>();
        let functions = Functions::new()
            .function("echo", |call| Ok(call.payload().to_vec()))
            .function("slow", move |call| {
                gate.recv_timeout(2 * SOON)?;
                Ok(call.payload().to_vec())
            });
        let runner = Runner {
            functions,
            component: "w".to_owned(),
            only_own_name: false,
            max_message: 1_000,
            cache: Arc::new(StoreCache::new(Arc::new(Memory::new()))),
            complaints: Mutex::default(),
        };
        let address = address.to_owned();
        let mut crew = Crew::new("w");
        let tasks = TaskLink {
            session: WorkerSession::new("id", "w", Vec::new()),
            find: Box::new(move |_| Ok(Some(address.clone()))),
            runner: Arc::new(runner),
            max_message: 1_000,
        };
        tasks.spawn(&mut crew).unwrap();
        (crew.start(|_| Ok(Addresses::none())).unwrap(), go)
    }

    fn ids(of: impl IntoIterator<Item = u64>) -> Vec<TaskId> {
        of.into_iter().map(|id| TaskId::single(id, 1)).collect()
    }

    #[test]
    fn results_come_back_while_the_next_function_runs() {
        let mut master = Master::new("first", "tcp://127.0.0.1:*");
        let (worker, go) = worker(&master.address);
        let hello = master.welcome();
        assert_eq!(hello.kind, i32::from(HelloKind::Worker));
        master.give([1, 2], "s.echo");
        master.give([3], "s.slow");
        let mut seen = Vec::new();
        while seen.len() < 2 {
            seen.extend(master.ids_of_results());
        }
        assert_eq!(seen, [1, 2]);
        master.done(seen);
        go.send(()).unwrap();
        assert_eq!(master.ids_of_results(), [3]);
        master.done([3]);
        worker.stop().unwrap();
        assert!(master.hear().drain);
    }

    #[test]
    fn a_worker_is_heard_of_while_a_function_runs_longer_than_any_silence() {
        let mut master = Master::new("first", "tcp://127.0.0.1:*");
        let (_worker, go) = worker(&master.address);
        master.welcome();
        master.give([1], "s.slow");
        let late = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(2_500));
            go.send(()).unwrap();
        });
        // Not a hello: it is the same connection.
        assert_eq!(master.ids_of_results(), [1]);
        assert!(master.beats >= 5, "{} heartbeats", master.beats);
        late.join().unwrap();
    }

    #[test]
    fn a_stop_hands_back_what_has_not_begun_and_waits_for_what_runs() {
        let mut master = Master::new("first", "tcp://127.0.0.1:*");
        let (worker, go) = worker(&master.address);
        master.welcome();
        master.give(1..=5, "s.slow");
        // It has begun the first when it can hand back the others only.
        master.say(|out| {
            let ids = ids([5]);
            out.note(|head| head.recall = Some(TaskIds { ids }));
        });
        assert_eq!(master.hear().returned.unwrap().ids, ids([5]));
        std::thread::sleep(Duration::from_millis(50));
        worker.stopper().stop();
        let head = master.hear();
        assert!(head.drain);
        assert_eq!(head.returned.unwrap().ids, ids([2, 3, 4]));
        // As long as it takes.
        std::thread::sleep(Duration::from_millis(700));
        assert!(!worker.is_over());
        go.send(()).unwrap();
        assert_eq!(master.ids_of_results(), [1]);
        master.done([1]);
        assert!(master.hear().bye);
        worker.wait().unwrap();
    }

    #[test]
    fn a_master_that_is_back_hears_of_the_results_again_and_another_does_not() {
        let mut master = Master::new("first", "tcp://127.0.0.1:*");
        let address = master.address.clone();
        let (_worker, _go) = worker(&address);
        master.welcome();
        master.give(1..=3, "s.echo");
        let mut seen = Vec::new();
        while seen.len() < 3 {
            seen.extend(master.ids_of_results());
        }
        master.done([2]);
        drop(master);
        let mut master = Master::new("first", &address);
        assert_eq!(master.welcome().holds, ids([1, 3]));
        assert_eq!(master.ids_of_results(), [1, 3]);
        drop(master);
        let mut master = Master::new("second", &address);
        assert_eq!(master.welcome().holds, ids([1, 3]));
        master.give([9], "s.echo");
        assert_eq!(master.ids_of_results(), [9]);
    }

    /// How many small tasks a worker runs in a second: `cargo test --release -- --ignored`.
    #[test]
    #[ignore = "it takes the processor for itself"]
    fn small_tasks_flow() {
        const TASKS: u64 = 300_000;
        const OPEN: u64 = 2_000;
        let mut master = Master::new("first", "tcp://127.0.0.1:*");
        let (_worker, _go) = worker(&master.address);
        master.welcome();
        let start = Instant::now();
        let (mut given, mut seen) = (OPEN, 0);
        master.give(0..OPEN, "s.echo");
        let mut heads: u64 = 0;
        while seen < TASKS {
            let ids = master.ids_of_results();
            heads += 1;
            let count = ids.len() as u64;
            seen += count;
            master.done(ids);
            let next = (given + count).min(TASKS);
            if next > given {
                master.give(given..next, "s.echo");
            }
            given = next;
        }
        let rate = TASKS as f64 / start.elapsed().as_secs_f64();
        println!("{rate:.0} tasks a second, {} a head", TASKS / heads);
    }
}
