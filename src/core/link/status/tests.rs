use std::time::{Duration, Instant};

use super::*;
use crate::core::custody::Ledger;
use crate::core::link::{Conn, Made, PostSettings};
use crate::core::queue::Settings;
use crate::core::turns::Portion;
use crate::message::Frame;
use crate::message::link::{Credit, Head, Hello, Kind, Outgoing, TaskId};

/// The connection of the client, and that of the worker.
const CLIENT: Conn = 1;
const WORKER: Conn = 2;

/// How much the component of these tests may keep.
const HOLD: usize = 200_000;

/// A master without its sockets.
struct Master {
    post: Post,
    now: Instant,
    submitted: u64,
}

impl Master {
    fn new() -> Self {
        let settings = PostSettings {
            epoch: "epoch".to_owned(),
            hold: HOLD,
            subscribers: 2,
            patience: Duration::from_secs(30),
            submits: true,
            max_message: 1 << 20,
            stalled: Default::default(),
            workers: Some(Settings::default()),
        };
        Self {
            post: Post::new(settings, Ledger::new(|| {})),
            now: Instant::now(),
            submitted: 0,
        }
    }

    fn hello(&mut self, conn: Conn, kind: Kind, session: &str, topic: &str, functions: &[&str]) {
        let hello = Hello {
            version: 1,
            kind: kind.into(),
            session: session.to_owned(),
            name: format!("name of {session}"),
            topic: topic.to_owned(),
            credit: Some(Credit {
                messages: 2,
                bytes: 1 << 20,
            }),
            functions: functions.iter().map(|name| (*name).to_owned()).collect(),
            ..Hello::default()
        };
        let head = Head {
            hello: Some(hello.into()),
            ..Head::default()
        };
        self.post.receive(conn, head.into(), Vec::new(), self.now);
    }

    /// The client connects, and submits so many messages.
    fn submit(&mut self, count: u64) {
        self.hello(CLIENT, Kind::Client, "c", "c", &[]);
        let head = Head {
            first: self.submitted + 1,
            ..Head::default()
        };
        self.submitted += count;
        let frames = (0..count).map(|_| frame(b"")).collect();
        self.post.receive(CLIENT, head.into(), frames, self.now);
    }

    /// What was submitted goes to the workers.
    fn work(&mut self) {
        while let Some(item) = self.post.next_submitted(Portion::SINGLES) {
            let made = Made {
                frame: item.frame,
                ticket: Some(item.ticket),
            };
            self.post.work(made, self.now);
        }
        self.post.tick(self.now);
    }

    /// The tasks that the worker was told of.
    fn given(&mut self) -> Vec<TaskId> {
        let said = self.post.take(self.now).into_iter();
        let heads = said.filter(|(conn, _)| *conn == WORKER);
        let tasks = heads.flat_map(|(_, said)| said.head.tasks().collect::<Vec<_>>());
        tasks.map(|(task, _)| task).collect()
    }

    fn finish(&mut self, id: TaskId) {
        let mut out = Outgoing::default();
        out.result(id, 2_000, &[]);
        let head = out.take().remove(0).head;
        self.post.receive(WORKER, head, Vec::new(), self.now);
    }

    /// The only thing that waits.
    fn wait(&self) -> Wait {
        let mut waits = self.post.status(self.now).waits;
        assert_eq!(waits.len(), 1, "{waits:?}");
        waits.remove(0)
    }
}

fn frame(payload: &[u8]) -> Frame {
    Frame::new("", "c/1", "s.f", "", payload)
}

fn made(size: usize) -> Made {
    Made {
        frame: frame(&vec![0; size]),
        ticket: None,
    }
}

/// What waits of the client's.
fn of_client(messages: u64, why: Why) -> Wait {
    Wait {
        whose: "c".to_owned(),
        is_client: true,
        messages,
        why: why.into(),
        ..Wait::default()
    }
}

#[test]
fn what_was_done_and_who_has_what_is_counted() {
    let mut master = Master::new();
    master.hello(WORKER, Kind::Worker, "w", "", &[]);
    master.submit(5);
    master.work();
    let given = master.given();
    let first = given[0];
    master.finish(first);
    master.finish(first);
    master.post.note_refused();
    master.post.tick(master.now);
    let status = master.post.status(master.now);
    let totals = status.totals.unwrap();
    assert_eq!((totals.submitted, totals.settled), (5, 1));
    assert_eq!((totals.accepted, totals.completed), (5, 1));
    assert_eq!(totals.running + totals.waiting, 4);
    assert_eq!((totals.doubles, totals.refused), (1, 1));
    assert!(totals.task_bytes > 0);
    assert_eq!((status.has_clients, status.has_workers), (true, true));
    assert_eq!(status.epoch, "epoch");

    let [worker] = &status.workers[..] else {
        panic!("{status:?}");
    };
    assert_eq!((&*worker.name, &*worker.session), ("name of w", "w"));
    assert_eq!((worker.finished, worker.average), (1, 2_000));
    assert_eq!(worker.given, totals.running);
    let [client] = &status.clients[..] else {
        panic!("{status:?}");
    };
    assert_eq!((client.open, client.connected), (4, true));
    assert_eq!(client.running, totals.running);
}

#[test]
fn without_a_worker_that_is_why() {
    let mut master = Master::new();
    master.submit(3);
    // Whether the component has taken them or not.
    assert_eq!(master.wait(), of_client(3, Why::NoWorker));
    master.work();
    assert_eq!(master.wait(), of_client(3, Why::NoWorker));
}

#[test]
fn without_a_worker_that_has_the_function_it_is_named() {
    let mut master = Master::new();
    master.hello(WORKER, Kind::Worker, "w", "", &["other"]);
    master.submit(3);
    master.work();
    let wait = Wait {
        function: "f".to_owned(),
        ..of_client(3, Why::NoFunction)
    };
    assert_eq!(master.wait(), wait);
    master.now += Duration::from_millis(1_500);
    master.work();
    let status = master.post.status(master.now);
    assert_eq!(status.totals.unwrap().no_function, 3);
    assert_eq!(status.waits, []);
}

#[test]
fn what_is_on_its_way_to_the_workers_does_not_wait() {
    let mut master = Master::new();
    master.hello(WORKER, Kind::Worker, "w", "", &["f"]);
    master.submit(3);
    assert_eq!(master.post.status(master.now).waits, []);
}

#[test]
fn when_all_workers_are_busy_it_says_how_many_there_are() {
    let mut master = Master::new();
    master.hello(WORKER, Kind::Worker, "w", "", &["f"]);
    master.submit(100);
    master.work();
    let given = master.given().len() as u64;
    let wait = Wait {
        workers: 1,
        ..of_client(100 - given, Why::AllBusy)
    };
    assert_eq!(master.wait(), wait);
}

#[test]
fn a_client_that_does_not_read_is_why_its_messages_wait() {
    let mut master = Master::new();
    master.hello(WORKER, Kind::Worker, "w", "", &[]);
    master.submit(10);
    for _ in 0..12 {
        master.post.give_client(made(10_000), master.now);
    }
    master.post.tick(master.now);
    let mut waits = master.post.status(master.now).waits;
    waits.sort_by_key(|wait| wait.messages);
    let both = [10, 12].map(|count| of_client(count, Why::NotReading));
    assert_eq!(waits, both);
    let [outlet] = &master.post.status(master.now).outlets[..] else {
        panic!("not one outlet");
    };
    assert_eq!((outlet.kept, outlet.waiting), (12, 10));
}

#[test]
fn a_client_that_is_done_with_nothing_for_long_does_not_read() {
    let mut master = Master::new();
    master.submit(0);
    master.post.give_client(made(10), master.now);
    master.post.give_client(made(10), master.now);
    // What the client says, and what waits some time after that.
    let mut later = |done: &[u64], ms| {
        let head = Head {
            done: done.to_vec(),
            ..Head::default()
        };
        master
            .post
            .receive(CLIENT, head.into(), Vec::new(), master.now);
        master.now += Duration::from_millis(ms);
        master.post.tick(master.now);
        master.post.status(master.now).waits
    };
    assert_eq!(later(&[], 100), []);
    assert_eq!(later(&[], 900), []);
    assert_eq!(later(&[], 200), [of_client(2, Why::NotReading)]);
    assert_eq!(later(&[1], 100), []);
    assert_eq!(later(&[], 1_100), [of_client(1, Why::NotReading)]);
}

#[test]
fn a_topic_that_too_few_subscribe_to_tells_how_many_are_missing() {
    let mut master = Master::new();
    master.hello(3, Kind::Step, "p", "topic", &[]);
    master.post.give_step("topic", made(10), master.now);
    let wait = Wait {
        whose: "topic".to_owned(),
        messages: 1,
        why: Why::NoSubscriber.into(),
        missing: 1,
        ..Wait::default()
    };
    assert_eq!(master.wait(), wait);
}

#[test]
fn who_was_there_and_is_not_is_away() {
    let mut master = Master::new();
    master.hello(3, Kind::Step, "p", "topic", &[]);
    master.hello(4, Kind::Step, "q", "topic", &[]);
    master.post.give_step("topic", made(10), master.now);
    assert_eq!(master.post.status(master.now).waits, []);
    master.post.unreachable(4, &[], master.now);
    let wait = Wait {
        whose: "topic".to_owned(),
        messages: 1,
        why: Why::Away.into(),
        ..Wait::default()
    };
    assert_eq!(master.wait(), wait);
}

#[test]
fn when_what_was_made_is_not_taken_the_rest_waits_for_room() {
    let mut master = Master::new();
    master.hello(WORKER, Kind::Worker, "w", "", &[]);
    master.submit(2);
    master.post.give_step("topic", made(HOLD), master.now);
    let waits = master.post.status(master.now).waits;
    assert_eq!(waits[0], of_client(2, Why::NoRoom));
    assert_eq!(waits[1].why(), Why::NoSubscriber);
}

#[test]
fn a_crowd_is_told_in_part_and_long_names_are_cut() {
    let mut master = Master::new();
    for conn in 10..1_510 {
        let session = format!("{conn}{}", "ä".repeat(1_000));
        master.hello(conn, Kind::Worker, &session, "", &[]);
    }
    let status = master.post.status(master.now);
    assert_eq!((status.workers.len(), status.more_workers), (MOST, 500));
    let size = prost::Message::encoded_len(&status);
    assert!(size < 200 * MOST, "{size}");
}

#[test]
fn a_component_without_workers_says_so() {
    let settings = PostSettings {
        epoch: String::new(),
        hold: HOLD,
        subscribers: 1,
        patience: Duration::ZERO,
        submits: false,
        max_message: 1,
        stalled: Default::default(),
        workers: None,
    };
    let status = Post::new(settings, Ledger::new(|| {})).status(Instant::now());
    assert_eq!((status.has_clients, status.has_workers), (false, false));
    assert_eq!(status.totals, Some(Totals::default()));
}
