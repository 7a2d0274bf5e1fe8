use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use super::*;
use crate::core::link::{Line, Party, Taken};
use crate::message::link::{
    Envelope, Failed, Head, Hello, Outcome, Outgoing, Position, Welcome, differences, sums,
};
use crate::message::{Failure, FailureKind, FrameReader, PlaceRef};

/// One line of a session, as whoever drives it sees it.
struct Over(Rc<RefCell<Session>>, usize);

impl Party for Over {
    fn hello(&mut self) -> Hello {
        self.0.borrow_mut().hello(self.1)
    }
    fn welcomed(&mut self, welcome: Welcome, _: &mut Outgoing, _: Instant) {
        self.0.borrow_mut().welcomed(self.1, welcome);
    }
    fn heard(&mut self, head: Box<Head>, frames: Vec<Frame>, out: &mut Outgoing, _: Instant) {
        self.0.borrow_mut().heard(self.1, head, frames, out);
    }
    fn lost(&mut self, _: Instant) {
        self.0.borrow_mut().lost(self.1);
    }
    fn speak(&mut self, out: &mut Outgoing, _: Instant) {
        self.0.borrow_mut().speak(self.1, out);
    }
}

/// A server, or the last of a chain: what it takes it has in `work`; what is put into `stream`
/// it gives.
struct Server {
    epoch: String,
    run: u64,
    known: bool,
    taker: Taker,
    work: VecDeque<(u64, Frame)>,
    stream: Giver<Piece>,
    /// What the client has acknowledged: the numbers of the messages that it came of.
    acknowledged: Vec<Option<u64>>,
    /// How many are not acknowledged of each.
    pieces: BTreeMap<u64, usize>,
    cancelled: BTreeSet<u64>,
    out: Outgoing,
}

/// An output, and which message it is of.
struct Piece {
    of: Option<u64>,
    frame: Frame,
}

impl Divide for Piece {
    fn count(&self) -> usize {
        1
    }

    fn split_off(&mut self, _: usize) -> Self {
        panic!("it is one message")
    }

    fn singles(self) -> impl ExactSizeIterator<Item = Self> {
        std::iter::once(self)
    }
}

impl Server {
    fn new(epoch: &str) -> Self {
        Self {
            epoch: epoch.to_owned(),
            run: 0,
            known: false,
            taker: Taker::default(),
            work: VecDeque::new(),
            stream: Giver::new(),
            acknowledged: Vec::new(),
            pieces: BTreeMap::new(),
            cancelled: BTreeSet::new(),
            out: Outgoing::default(),
        }
    }

    fn hear(&mut self, head: Box<Head>, frames: Vec<Frame>) {
        let done: Vec<_> = head.done().collect();
        if let Some(hello) = head.hello {
            self.out.clear();
            self.stream.set_credit(hello.credit.unwrap());
            let position = hello
                .position
                .filter(|at| at.epoch == self.epoch && at.run == self.run && self.known);
            let resumed = position.is_some();
            match position {
                Some(at) => {
                    let (open, acknowledged) = (sums(&at.open), &mut self.acknowledged);
                    let whole = |piece: Piece, _| acknowledged.push(piece.of);
                    self.stream.resume(at.received, open, |_, _, _| {}, whole);
                }
                None => {
                    self.run += 1;
                    self.stream.restart(|_, _| {});
                }
            }
            let (received, open) = self.taker.position();
            let position = Position {
                received,
                open: differences(open),
                ..Position::default()
            };
            let welcome = Welcome {
                version: 1,
                nonce: hello.nonce,
                epoch: self.epoch.clone(),
                credit: Some(Credit {
                    messages: 4,
                    bytes: 1 << 20,
                }),
                position: self.known.then_some(position),
                run: self.run,
                resumed,
                max_message: 1_000,
            };
            self.known = true;
            self.out.note(|head| head.welcome = Some(welcome.into()));
            for (number, outcome) in self.taker.untold() {
                let outcome = told(*number, outcome);
                self.out.outcome(outcome);
            }
        }
        for (number, frame) in (head.first..).zip(frames) {
            match self.taker.take(number, 1) {
                Taken::New => self.work.push_back((number, frame)),
                Taken::Double => {}
                Taken::Gap => panic!("a gap before {number}"),
            }
        }
        for (number, count) in done {
            let acknowledged = &mut self.acknowledged;
            let whole = |piece: Piece, _| acknowledged.push(piece.of);
            self.stream.done(number, count, |_, _, _| {}, whole);
        }
        head.heard
            .iter()
            .for_each(|number| self.taker.heard(*number));
        self.cancelled.extend(head.cancel);
        if let Some(credit) = head.credit {
            self.stream.set_credit(credit);
        }
    }

    /// Gives outputs of one of its messages: at these paths.
    fn reply(&mut self, of: Option<u64>, frame: &Frame, paths: &[&[u8]]) {
        for path in paths {
            let mut result = frame.with_payload(frame.payload());
            if let Some(place) = frame.place() {
                result.set_place(place.number, path);
            }
            let size = result.len();
            if let Some(of) = of {
                *self.pieces.entry(of).or_default() += 1;
            }
            self.stream.push(size as u64, Piece { of, frame: result });
        }
    }

    fn done(&mut self, number: u64) {
        self.ended(number, custody::Outcome::default());
    }

    fn ended(&mut self, number: u64, outcome: custody::Outcome) {
        match self.taker.ended(number, 1, outcome) {
            super::super::Tell::Done => self.out.note(|head| head.done.push(number)),
            super::super::Tell::Outcome(outcome) => self.out.outcome(told(number, &outcome)),
            super::super::Tell::Nothing => {}
        }
    }

    fn speak(&mut self) -> Vec<Envelope> {
        while let Some((number, piece)) = self.stream.give() {
            self.out.item(number, piece.frame.clone());
        }
        self.out.take()
    }
}

fn told(number: u64, outcome: &custody::Outcome) -> Outcome {
    let failed = outcome.failed.iter().map(|(path, failure)| Failed {
        path: path.clone(),
        failure: Some(failure.clone()),
    });
    Outcome {
        number,
        failed: failed.collect(),
        untracked: outcome.untracked,
    }
}

/// A session, its lines and servers, and what carries messages between them.
struct World {
    session: Rc<RefCell<Session>>,
    lines: Vec<Line<Over>>,
    servers: Vec<Server>,
    now: Instant,
    /// How many more messages are carried before a connection breaks, and which one.
    cut: Option<(usize, usize)>,
    results: Vec<(Option<u64>, Vec<u64>, String)>,
}

fn through(envelope: &Envelope) -> (Box<Head>, Vec<Frame>) {
    let mut parts = envelope.encode().received();
    let (head, messages) = Envelope::decode(&mut parts).unwrap();
    let frames = messages.take_in(&mut FrameReader::of_link(), 1 << 20, "the peer");
    (head, frames.unwrap())
}

impl World {
    fn new(servers: usize) -> Self {
        let session = Rc::new(RefCell::new(Session::new("me", servers, 1_000)));
        let now = Instant::now();
        let mut world = Self {
            lines: (0..servers)
                .map(|line| Line::new(Over(session.clone(), line), now))
                .collect(),
            servers: (0..servers)
                .map(|line| Server::new(&format!("epoch {line}")))
                .collect(),
            session,
            now,
            cut: None,
            results: Vec::new(),
        };
        world.lines.iter_mut().for_each(|line| line.opened(now));
        world
    }

    fn open(&self, ordered: bool, one_each: bool) -> u64 {
        self.open_with(JobSettings {
            ordered,
            one_each,
            messages: 100,
            bytes: 1 << 20,
        })
    }

    fn open_with(&self, settings: JobSettings) -> u64 {
        self.session
            .borrow_mut()
            .open(settings, Box::new(|_| {}))
            .unwrap()
    }

    /// Submits messages `1..=count`, and no more.
    fn submit(&self, job: u64, count: u64) {
        let mut session = self.session.borrow_mut();
        for number in 1..=count {
            let topic = session.topic(job);
            let mut frame = Frame::new("", &topic, "s.f", "", number.to_string().as_bytes());
            frame.set_place(number, &[]);
            session.submit(Submitted { job, number, frame });
        }
        session.fed(job, None);
    }

    fn is_cut(&mut self, line: usize) -> bool {
        if let Some((at, left)) = &mut self.cut
            && *at == line
        {
            if *left == 0 {
                self.cut = None;
                return true;
            }
            *left -= 1;
        }
        false
    }

    /// Carries what both sides have to say, until neither has anything. Whether anything moved.
    fn carry(&mut self) -> bool {
        let mut moved = false;
        for line in 0..self.lines.len() {
            loop {
                self.lines[line].tick(self.now);
                let said = self.lines[line].take(self.now);
                let heard = said.is_empty();
                for envelope in said {
                    moved = true;
                    if self.is_cut(line) {
                        // The rest is lost, and what the server said meanwhile.
                        self.servers[line].out.clear();
                        self.lines[line].opened(self.now);
                        break;
                    }
                    let (head, frames) = through(&envelope);
                    self.servers[line].hear(head, frames);
                }
                let answers = self.servers[line].speak();
                if heard && answers.is_empty() {
                    break;
                }
                for envelope in answers {
                    moved = true;
                    if self.is_cut(line) {
                        self.lines[line].opened(self.now);
                        break;
                    }
                    let (head, frames) = through(&envelope);
                    self.lines[line].receive(head, frames, self.now);
                }
            }
        }
        moved
    }

    /// The first server takes its messages, and the last gives what comes of them.
    fn work(&mut self, paths: &[&[u8]]) -> bool {
        let last = self.servers.len() - 1;
        let mut moved = false;
        while let Some((number, frame)) = self.servers[0].work.pop_front() {
            self.servers[last].reply(Some(number), &frame, paths);
            moved = true;
            if paths.is_empty() {
                self.servers[0].done(number);
            }
        }
        for number in std::mem::take(&mut self.servers[last].acknowledged) {
            if let Some(number) = number
                && let Some(pieces) = self.servers[last].pieces.get_mut(&number)
            {
                *pieces -= 1;
                if *pieces == 0 {
                    self.servers[0].done(number);
                }
            }
        }
        moved
    }

    fn read(&mut self, job: u64) -> Option<Standing> {
        let mut outputs = VecDeque::new();
        let mut session = self.session.borrow_mut();
        let standing = session.take(job, 3, &mut outputs);
        for output in &outputs {
            let text = match &output.what {
                What::Frame(frame, at) => {
                    String::from_utf8_lossy(frame.payload_at(*at)).into_owned()
                }
                What::Failure(failure) => failure.cause.clone(),
            };
            self.results
                .push((output.number, output.path.clone(), text));
        }
        session.read(job, outputs);
        standing
    }

    /// Goes on until the job is complete.
    fn finish(&mut self, job: u64, paths: &[&[u8]]) {
        for _ in 0..1_000 {
            self.carry();
            self.work(paths);
            self.carry();
            if let Some(Standing::Complete(None)) = self.read(job) {
                self.session.borrow_mut().end(job);
                self.carry();
                return;
            }
        }
        panic!("it does not end: {:?}, cut {:?}", self.results, self.cut);
    }

    fn assert_empty(&mut self) {
        self.carry();
        let session = self.session.borrow_mut();
        assert!(session.giver.is_empty() && session.jobs.is_empty());
        assert!(session.cancelled.is_empty());
        let open = session
            .lines
            .iter()
            .map(|line| (line.taker.open(), line.bytes));
        assert!(open.into_iter().all(|open| open == (0, 0)));
    }

    fn numbers(&self) -> Vec<u64> {
        let mut numbers: Vec<_> = self.results.iter().filter_map(|(of, ..)| *of).collect();
        numbers.sort_unstable();
        numbers
    }
}

const WHOLE: &[&[u8]] = &[&[]];

#[test]
fn each_message_gives_its_result_and_the_job_ends_by_itself() {
    for servers in [1, 2] {
        let mut world = World::new(servers);
        let job = world.open(false, true);
        world.submit(job, 10);
        world.finish(job, WHOLE);
        assert_eq!(world.numbers(), (1..=10).collect::<Vec<_>>());
        world.assert_empty();
    }
}

#[test]
fn what_is_all_of_a_message_completes_it_and_is_acknowledged_with_the_next_thing_said() {
    let mut world = World::new(1);
    let job = world.open(false, true);
    world.submit(job, 2);
    while world.carry() {}
    let work = std::mem::take(&mut world.servers[0].work);
    for (number, frame) in work {
        let complete = Head {
            first: number,
            complete: vec![number],
            ..Head::default()
        };
        let mut out = Outgoing::default();
        let mut session = world.session.borrow_mut();
        session.heard(0, complete.into(), vec![frame], &mut out);
        session.speak(0, &mut out);
        assert_eq!(out.take_due(world.now).count(), 0);
        assert_eq!(out.take()[0].head.done, [number]);
    }
    assert!(world.read(job).is_none());
    assert!(matches!(world.read(job), Some(Standing::Complete(None))));
    assert_eq!(world.numbers(), [1, 2]);
}

#[test]
fn messages_of_which_nothing_or_several_things_come_need_no_count() {
    let mut world = World::new(1);
    let none = world.open(false, true);
    world.submit(none, 10);
    world.finish(none, &[]);
    assert_eq!(world.results, []);
    let several = world.open(false, true);
    world.submit(several, 3);
    world.finish(several, &[&[], &[1], &[2, 5]]);
    assert_eq!(world.numbers(), [1, 1, 1, 2, 2, 2, 3, 3, 3]);
    let paths = world.results.iter().map(|(_, path, _)| path.clone());
    assert_eq!(paths.filter(|path| *path == [2, 5]).count(), 3);
    world.assert_empty();
}

#[test]
fn a_connection_that_breaks_anywhere_loses_and_doubles_nothing() {
    for (servers, line) in [(1, 0), (2, 0), (2, 1)] {
        for cut in 0..60 {
            let mut world = World::new(servers);
            world.cut = Some((line, cut));
            let job = world.open(cut % 2 == 0, true);
            world.submit(job, 9);
            world.finish(job, &[&[0], &[1]]);
            let mut results = world.results.clone();
            results.sort();
            results.dedup();
            assert_eq!((results.len(), world.results.len()), (18, 18), "{cut}");
            world.assert_empty();
        }
    }
}

#[test]
fn a_restarted_server_gets_everything_again_and_its_doubles_are_dropped() {
    for restart in 1..20 {
        let mut world = World::new(1);
        let job = world.open(false, true);
        world.submit(job, 9);
        for round in 0..restart {
            world.carry();
            world.work(WHOLE);
            if round % 2 == 0 {
                world.read(job);
            }
        }
        world.servers[0] = Server::new("another");
        world.lines[0].opened(world.now);
        world.finish(job, WHOLE);
        assert_eq!(world.numbers(), (1..=9).collect::<Vec<_>>(), "{restart}");
        world.assert_empty();
    }
}

#[test]
fn a_restarted_last_step_sends_doubles_which_are_acknowledged_at_once() {
    let mut world = World::new(2);
    let job = world.open(false, true);
    world.submit(job, 4);
    world.carry();
    let copies = world.servers[0].work.clone();
    world.work(WHOLE);
    world.carry();
    world.servers[1] = Server::new("another");
    world.lines[1].opened(world.now);
    for (number, frame) in &copies {
        world.servers[1].reply(Some(*number), frame, WHOLE);
    }
    world.carry();
    assert_eq!(world.servers[1].acknowledged.len(), 4);
    world.finish(job, WHOLE);
    assert_eq!(world.numbers(), [1, 2, 3, 4]);
    world.assert_empty();
}

#[test]
fn what_comes_for_a_message_that_is_done_or_a_job_that_is_over_is_a_late_double() {
    let mut world = World::new(1);
    let job = world.open(false, true);
    world.submit(job, 2);
    world.carry();
    let (_, frame) = world.servers[0].work[0].clone();
    world.servers[0].reply(None, &frame, &[&[0]]);
    world.servers[0].done(1);
    world.carry();
    // It is not read yet, but there is no other.
    world.servers[0].reply(None, &frame, &[&[1]]);
    world.carry();
    assert_eq!(world.servers[0].acknowledged, [None, None]);
    assert!(world.read(job).is_none());
    world.carry();
    assert!(matches!(world.read(job), Some(Standing::Open)));
    world.results.clear();
    world.servers[0].acknowledged.clear();
    world.servers[0].reply(None, &frame, WHOLE);
    world.carry();
    assert_eq!(world.servers[0].acknowledged, [None]);
    assert!(matches!(world.read(job), Some(Standing::Open)));
    world.session.borrow_mut().end(job);
    world.servers[0].reply(None, &frame, &[&[7]]);
    world.carry();
    assert_eq!(world.servers[0].acknowledged, [None, None]);
    assert_eq!(world.results, []);
}

#[test]
fn an_output_is_acknowledged_at_once_while_there_is_room_and_else_when_it_is_read() {
    let mut world = World::new(1);
    let job = world.open_with(JobSettings {
        ordered: false,
        one_each: true,
        messages: 4,
        bytes: 1 << 20,
    });
    world.submit(job, 3);
    world.carry();
    world.work(WHOLE);
    world.carry();
    // Half of the window is room.
    assert_eq!(world.servers[0].acknowledged.len(), 2);
    while world.read(job).is_none() {}
    world.carry();
    assert_eq!(world.servers[0].acknowledged.len(), 3);
}

#[test]
fn a_cancelled_job_is_withdrawn_and_its_server_told_again_after_a_break() {
    let mut world = World::new(1);
    let job = world.open(false, true);
    world.submit(job, 10);
    world.carry();
    assert_eq!(world.servers[0].work.len(), 4);
    world.session.borrow_mut().end(job);
    assert_eq!(world.session.borrow_mut().giver.len(), 4);
    world.cut = Some((0, 0));
    world.carry();
    assert_eq!(world.servers[0].cancelled, BTreeSet::from([job]));
    (1..=4).for_each(|number| world.servers[0].done(number));
    world.carry();
    world.assert_empty();
    // A server that is new needs not be told: it never gets them.
    let job = world.open(false, true);
    world.submit(job, 10);
    world.carry();
    world.session.borrow_mut().end(job);
    world.servers[0] = Server::new("another");
    world.lines[0].opened(world.now);
    world.carry();
    assert!(world.servers[0].work.is_empty() && world.servers[0].cancelled.is_empty());
    world.assert_empty();
}

/// Of a job that its own window does not hold back.
const ROOMY: JobSettings = JobSettings {
    ordered: false,
    one_each: true,
    messages: 100_000,
    bytes: 1 << 30,
};

/// Counts how often a job is told that there is room.
fn counting() -> (Arc<AtomicU32>, Wake) {
    let woken = Arc::new(AtomicU32::new(0));
    let counts = woken.clone();
    let wake = move |news| {
        counts.fetch_add(u32::from(news == News::Room), Ordering::Relaxed);
    };
    (woken, Box::new(wake))
}

#[test]
fn a_job_that_waits_for_another_to_be_given_goes_on_when_that_ends() {
    let mut session = Session::new("me", 1, 1_000);
    let (woken, wake) = counting();
    let first = session.open(ROOMY, Box::new(|_| {})).unwrap();
    let other = session.open(ROOMY, wake).unwrap();
    let submit = |session: &mut Session, job, number| {
        let mut frame = Frame::new("", &session.topic(job), "s.f", "", b"x");
        frame.set_place(number, &[]);
        session.submit(Submitted { job, number, frame });
    };
    submit(&mut session, other, 1);
    (1..=MOST_WAITING as u64).for_each(|number| submit(&mut session, first, number));
    // Nobody takes any.
    assert_eq!(session.room(other, 1), Some(Room::default()));
    session.speak(0, &mut Outgoing::default());
    assert_eq!(woken.load(Ordering::Relaxed), 0);
    session.end(first);
    session.speak(0, &mut Outgoing::default());
    assert_eq!(woken.load(Ordering::Relaxed), 1);
    assert!(session.room(other, 1).unwrap().messages > 0);
}

#[test]
fn who_waits_until_less_waits_is_woken_by_that_alone() {
    let mut world = World::new(1);
    let (woken, wake) = counting();
    let job = world.session.borrow_mut().open(ROOMY, wake).unwrap();
    world.carry();
    world.submit(job, MOST_WAITING as u64 + 100);
    world.carry();
    let room = || world.session.borrow_mut().room(job, 1);
    assert_eq!(room(), Some(Room::default()));
    woken.store(0, Ordering::Relaxed);
    loop {
        world.work(WHOLE);
        world.carry();
        let waiting = world.session.borrow().giver.waiting();
        if waiting <= MOST_WAITING / 2 {
            break;
        }
        // There is room in its own window.
        while world.read(job).is_none() {}
        assert_eq!(woken.load(Ordering::Relaxed), 0, "{waiting} wait");
    }
    assert!(woken.load(Ordering::Relaxed) > 0);
    assert!(world.session.borrow_mut().room(job, 1).unwrap().messages > 0);
}

#[test]
fn a_job_that_has_all_it_can_get_is_ended_without_a_word() {
    let mut world = World::new(1);
    let job = world.open(false, true);
    world.submit(job, 1);
    world.carry();
    world.work(WHOLE);
    world.carry();
    world.read(job);
    world.session.borrow_mut().end(job);
    world.carry();
    world.work(WHOLE);
    assert!(world.servers[0].cancelled.is_empty());
    world.assert_empty();
}

#[test]
fn in_order_messages_come_as_they_were_submitted_and_their_outputs_by_their_paths() {
    let mut world = World::new(1);
    let job = world.open(true, true);
    world.submit(job, 4);
    world.carry();
    let work: Vec<_> = world.servers[0].work.drain(..).collect();
    let replies: [(usize, &[&[u8]]); 5] = [
        (3, WHOLE),
        (1, &[&[1], &[0]]),
        (2, &[]),
        (0, &[&[1, 1], &[0, 0]]),
        (0, &[&[1, 0], &[0x80, 1]]),
    ];
    let mut readable = Vec::new();
    for (index, paths) in replies {
        let (number, frame) = &work[index];
        world.servers[0].reply(Some(*number), frame, paths);
        world.carry();
        while world.read(job).is_none() {}
        readable.push(world.results.len());
    }
    // Of the first, what has nothing before it for certain is read at once.
    assert_eq!(readable, [0, 0, 0, 1, 1]);
    for number in [4, 3, 2, 1] {
        world.servers[0].done(number);
    }
    world.finish(job, WHOLE);
    let order: Vec<_> = world
        .results
        .iter()
        .map(|(of, path, _)| (of.unwrap(), path.clone()))
        .collect();
    let first = [vec![0, 0], vec![1, 0], vec![1, 1], vec![128]].map(|path| (1, path));
    let others = [(2, vec![0]), (2, vec![1]), (4, vec![])];
    assert_eq!(order, [&first[..], &others[..]].concat());
    world.assert_empty();
}

#[test]
fn a_failure_that_nobody_could_be_given_is_an_output_unless_one_was_seen_there() {
    let mut world = World::new(1);
    let job = world.open(false, true);
    world.submit(job, 1);
    world.carry();
    let (number, frame) = world.servers[0].work.pop_front().unwrap();
    world.servers[0].reply(Some(number), &frame, &[&[0]]);
    world.carry();
    let failure = Failure::new(FailureKind::Undelivered, "nobody");
    world.servers[0].ended(
        number,
        custody::Outcome {
            failed: vec![(vec![0], failure.clone()), (vec![1], failure)],
            ..custody::Outcome::default()
        },
    );
    world.finish(job, WHOLE);
    let results = world
        .results
        .iter()
        .map(|(_, path, text)| (path[0], text.as_str()));
    assert_eq!(results.collect::<Vec<_>>(), [(0, "1"), (1, "nobody")]);
    assert!(world.servers[0].taker.untold().is_empty());
}

#[test]
fn a_message_that_nobody_follows_is_open_until_something_has_come_of_it() {
    let untracked = || custody::Outcome {
        untracked: true,
        ..custody::Outcome::default()
    };
    let mut world = World::new(1);
    let job = world.open(false, true);
    world.submit(job, 4);
    world.carry();
    let work: Vec<_> = world.servers[0].work.drain(..).collect();
    // The first comes before it is known, the second after it, two without saying what they are.
    let mut nameless = work[2].1.with_payload(b"nameless");
    nameless.clear_place();
    world.servers[0].reply(None, &work[0].1, WHOLE);
    world.servers[0].reply(None, &nameless, WHOLE);
    world.carry();
    (1..=3).for_each(|number| world.servers[0].ended(number, untracked()));
    world.servers[0].done(4);
    world.carry();
    while world.read(job).is_none() {}
    assert!(matches!(world.read(job), Some(Standing::Open)));
    world.servers[0].reply(None, &work[2].1, WHOLE);
    world.finish(job, WHOLE);
    assert_eq!(world.results.len(), 3);
    // Where somebody counts, all of them stay open.
    let job = world.open(false, false);
    world.submit(job, 1);
    world.carry();
    let (number, frame) = world.servers[0].work.pop_front().unwrap();
    world.servers[0].ended(number, untracked());
    world.servers[0].reply(None, &frame, &[&[0], &[1]]);
    world.carry();
    assert!(world.read(job).is_none());
    assert!(matches!(world.read(job), Some(Standing::Open)));
}

#[test]
fn a_job_keeps_to_its_window_and_one_message_always_goes() {
    let mut session = Session::new("me", 1, 1_000);
    let settings = JobSettings {
        ordered: false,
        one_each: true,
        messages: 3,
        bytes: 100,
    };
    let job = session.open(settings, Box::new(|_| {})).unwrap();
    let room = |messages, bytes| Some(Room { messages, bytes });
    assert_eq!(session.room(job, 1_000), room(1, 1_000));
    assert_eq!(session.room(job, 10), room(3, 100));
    let frame = Frame::new("", "me/1", "s.f", "", &[0; 60]);
    let submit = |session: &mut Session, number| {
        let frame = frame.clone();
        session.submit(Submitted { job, number, frame });
    };
    submit(&mut session, 1);
    assert_eq!(session.room(job, 10), room(2, 40));
    assert_eq!(session.room(job, 41), room(0, 0));
    session.close();
    assert_eq!(session.room(job, 10), None);
    assert!(session.open(settings, Box::new(|_| {})).is_none());
}

#[test]
fn a_job_that_nobody_reads_does_not_hold_up_another() {
    let mut world = World::new(1);
    let unread = world.open(false, true);
    world.submit(unread, 1);
    world.carry();
    let (number, frame) = world.servers[0].work.pop_front().unwrap();
    let paths: Vec<_> = (0..10_000_u32)
        .map(|n| (n + 1_000_000).to_be_bytes())
        .collect();
    let paths: Vec<&[u8]> = paths.iter().map(|path| &path[..]).collect();
    world.servers[0].reply(Some(number), &frame, &paths);
    world.carry();
    assert!(world.servers[0].stream.waiting() > 5_000);
    let other = world.open(false, true);
    world.submit(other, 1);
    world.finish(other, WHOLE);
    assert_eq!(world.numbers(), [1]);
}

#[test]
fn what_a_server_makes_up_does_no_harm() {
    let mut session = Session::new("me", 2, 1_000);
    let mut out = Outgoing::default();
    let frame = Frame::new("", "me/7", "s.f", "", b"");
    let place = |frame: &Frame| frame.place().map(|PlaceRef { number, .. }| number);
    assert_eq!(place(&frame), None);
    let head = Head {
        first: u64::MAX,
        done: vec![0, 7, u64::MAX],
        outcomes: vec![Outcome::default()],
        ..Head::default()
    };
    session.heard(
        0,
        head.clone().into(),
        vec![frame.clone(), frame.clone()],
        &mut out,
    );
    session.heard(1, head.into(), vec![frame], &mut out);
    session.welcomed(
        0,
        Welcome {
            resumed: true,
            ..Welcome::default()
        },
    );
    session.speak(0, &mut out);
    assert_eq!(session.lines[0].taker.open(), 0);
}

#[test]
fn what_is_too_large_for_the_server_goes_as_its_failure() {
    let mut world = World::new(1);
    let job = world.open(false, true);
    let mut session = world.session.borrow_mut();
    let frame = Frame::new("", &session.topic(job), "s.f", "", &[7; 1_001]);
    session.submit(Submitted {
        job,
        number: 1,
        frame,
    });
    drop(session);
    world.carry();
    let (_, frame) = &world.servers[0].work[0];
    assert!(frame.is_failure() && frame.payload().len() < 1_000);
}

#[test]
fn who_waits_for_room_is_woken_by_what_ends_without_a_result_though_nobody_reads() {
    let settings = JobSettings {
        ordered: false,
        one_each: false,
        messages: 100,
        bytes: 1 << 20,
    };
    let (woken, wake) = counting();
    let mut job = Job::new(settings, wake);
    (1..=100).for_each(|number| job.submitted(number, 1));
    assert_eq!(job.room(1), Room::default());
    for number in 1..=100 {
        if number % 5 > 0 {
            let frame = Frame::new("", "me/1", "s.f", "", b"x");
            job.output(Some(number), &[], What::Frame(frame, 0), None);
            job.done(number, 1);
        }
    }
    assert_eq!(job.room(1), Room::default());
    woken.store(0, Ordering::Relaxed);
    job.done(5, 1);
    assert_eq!(job.room(1).messages, 1);
    assert_eq!(woken.load(Ordering::Relaxed), 1);
}
