//! With subscribers that behave as libzmq's do.

use std::convert::Infallible;

use super::*;

const PATIENCE: Duration = Duration::from_secs(30);

/// A subscriber behind a pipe.
struct Pipe {
    prefix: &'static str,
    room: usize,
    /// Passed over, and left out until it reads.
    left_out: bool,
    got: Vec<u8>,
}

/// A publisher and its subscribers.
struct World {
    outbox: Outbox,
    pipes: Vec<Pipe>,
    now: Instant,
}

struct Pipes<'a>(&'a mut Vec<Pipe>);

impl Pipes<'_> {
    fn matching(&mut self, topic: &str) -> impl Iterator<Item = &mut Pipe> {
        let pipes = self.0.iter_mut();
        pipes.filter(move |pipe| topic.starts_with(pipe.prefix) && !pipe.left_out)
    }
}

impl Publish for Pipes<'_> {
    type Error = Infallible;

    fn send(&mut self, topic: &str, frame: &mut Frame) -> Result<bool, Infallible> {
        if self.matching(topic).any(|pipe| pipe.room == 0) {
            return Ok(false);
        }
        self.pass_over(topic, frame).map(|()| true)
    }

    fn pass_over(&mut self, topic: &str, frame: &mut Frame) -> Result<(), Infallible> {
        for pipe in self.matching(topic) {
            if pipe.room == 0 {
                pipe.left_out = true;
            } else {
                pipe.room -= 1;
                pipe.got.push(frame.payload()[0]);
            }
        }
        Ok(())
    }
}

impl World {
    fn new() -> Self {
        Self::with_bytes(1 << 20)
    }

    fn with_bytes(bytes: usize) -> Self {
        Self::with(bytes, 1)
    }

    fn with(bytes: usize, subscribers: usize) -> Self {
        Self {
            outbox: Outbox::new(Bounds {
                bytes,
                patience: PATIENCE,
                subscribers,
                counts: false,
            }),
            pipes: Vec::new(),
            now: Instant::now(),
        }
    }

    fn subscribe(&mut self, prefix: &'static str, room: usize) {
        self.pipes.push(Pipe {
            prefix,
            room,
            left_out: false,
            got: Vec::new(),
        });
        let (now, mut pipes) = (self.now, Pipes(&mut self.pipes));
        let Ok(()) = self.outbox.subscribed(prefix.as_bytes(), now, &mut pipes);
    }

    fn unsubscribe(&mut self, prefix: &str) {
        self.pipes.retain(|pipe| pipe.prefix != prefix);
        self.cancel(prefix);
    }

    /// A cancel is told, whoever it came from.
    fn cancel(&mut self, prefix: &str) {
        let (now, mut pipes) = (self.now, Pipes(&mut self.pipes));
        let Ok(()) = self.outbox.unsubscribed(prefix.as_bytes(), now, &mut pipes);
    }

    fn publish(&mut self, topic: &str, number: u8) {
        self.offer(Topic::Client, topic, number);
    }

    fn offer(&mut self, topic: Topic, client: &str, number: u8) {
        let frame = Frame::new("", client, "s.f", "", &[number]);
        let (now, mut pipes) = (self.now, Pipes(&mut self.pipes));
        let Ok(()) = self.outbox.offer(topic, frame, now, &mut pipes);
    }

    /// The subscriber reads, and has room for so many more.
    fn read(&mut self, prefix: &str, room: usize) {
        for pipe in &mut self.pipes {
            if pipe.prefix == prefix {
                pipe.room += room;
                pipe.left_out = false;
            }
        }
        let Ok(()) = self.outbox.flush(self.now, &mut Pipes(&mut self.pipes));
    }

    fn pass(&mut self, time: Duration) -> Vec<GivenUp> {
        self.now += time;
        let Ok(given_up) = self.outbox.expire(self.now, &mut Pipes(&mut self.pipes));
        given_up
    }

    fn got(&self, prefix: &str) -> Vec<u8> {
        let pipe = self.pipes.iter().find(|pipe| pipe.prefix == prefix);
        pipe.map(|pipe| pipe.got.clone()).unwrap_or_default()
    }
}

#[test]
fn results_wait_for_the_subscription_and_keep_their_order() {
    let mut world = World::new();
    for number in 0..3 {
        world.publish("client/1", number);
    }
    world.subscribe("client", 9);
    world.publish("client/1", 3);
    assert_eq!(world.got("client"), [0, 1, 2, 3]);
    assert!(world.outbox.is_empty() && world.outbox.bytes == 0);
}

#[test]
fn a_slow_reader_holds_up_only_itself_and_loses_nothing() {
    let mut world = World::new();
    world.subscribe("slow", 1);
    world.subscribe("fast", 9);
    for number in 0..5 {
        world.publish("slow/1", number);
        world.publish("fast/1", number);
    }
    assert_eq!(world.got("slow"), [0]);
    assert_eq!(world.got("fast"), [0, 1, 2, 3, 4]);
    assert!(world.outbox.is_blocked());
    world.read("slow", 2);
    assert_eq!(world.got("slow"), [0, 1, 2]);
    world.read("slow", 9);
    assert_eq!(world.got("slow"), [0, 1, 2, 3, 4]);
    assert!(world.outbox.is_empty() && !world.outbox.is_blocked());
}

#[test]
fn the_bound_in_bytes_is_told_and_released() {
    let mut world = World::with_bytes(1_000);
    while !world.outbox.is_full() {
        world.publish("late/1", 1);
    }
    assert!(world.outbox.waiting() >= 3);
    world.subscribe("late", 99);
    assert!(!world.outbox.is_full());
    assert!(!World::with_bytes(0).outbox.is_full());
}

#[test]
fn patience_ends_and_costs_only_once_until_somebody_subscribes() {
    let mut world = World::new();
    world.publish("gone/1", 1);
    assert_eq!(world.outbox.deadline(), Some(world.now + PATIENCE));
    assert!(world.pass(PATIENCE / 2).is_empty());
    let given_up = world.pass(PATIENCE / 2);
    assert_eq!((given_up[0].messages, given_up[0].subscribed), (1, false));
    world.publish("gone/2", 2);
    assert!(world.outbox.is_empty());
    assert_eq!(world.outbox.unwaited(), 2);
    world.subscribe("gone", 9);
    world.publish("gone/3", 3);
    assert_eq!(world.got("gone"), [3]);
    assert_eq!(world.outbox.unwaited(), 2);
}

#[test]
fn a_reader_that_reads_at_all_is_waited_for() {
    let mut world = World::new();
    world.subscribe("slow", 0);
    for number in 0..5 {
        world.publish("slow/1", number);
    }
    for _ in 0..5 {
        assert!(world.pass(PATIENCE * 2 / 3).is_empty());
        world.read("slow", 1);
    }
    assert_eq!(world.got("slow"), [0, 1, 2, 3, 4]);
}

#[test]
fn a_client_that_comes_back_gets_what_was_held() {
    let mut world = World::new();
    world.subscribe("c", 0);
    world.publish("c/1", 1);
    world.unsubscribe("c");
    assert!(!world.outbox.is_blocked());
    world.publish("c/1", 2);
    world.subscribe("c", 9);
    assert_eq!(world.got("c"), [1, 2]);
}

#[test]
fn a_subscriber_that_reads_nothing_is_passed_over_until_it_reads() {
    let mut world = World::new();
    world.subscribe("c", 0);
    world.publish("c/1", 1);
    assert!(world.pass(PATIENCE)[0].subscribed);
    // It is left out: libzmq takes what comes, and nobody gets it. That is counted.
    world.publish("c/1", 2);
    assert_eq!(world.outbox.unwaited(), 2);
    world.read("c", 1);
    world.publish("c/1", 3);
    assert_eq!(world.got("c"), [3]);
    // It is full, so it has read: it is waited for again.
    world.publish("c/1", 4);
    assert!(world.outbox.is_blocked());
    world.read("c", 1);
    assert_eq!(world.got("c"), [3, 4]);
}

#[test]
fn a_listener_that_reads_nothing_costs_all_clients_together_one_patience() {
    let mut world = World::new();
    world.subscribe("", 0);
    for client in ["a", "b"] {
        world.subscribe(client, 9);
    }
    world.publish("a/1", 1);
    assert_eq!(world.pass(PATIENCE).len(), 1);
    world.publish("a/2", 2);
    world.publish("b/1", 3);
    assert_eq!(world.got("a"), [1, 2]);
    assert_eq!(world.got("b"), [3]);
    assert!(world.outbox.is_empty());
}

#[test]
fn who_listens_to_everything_does_not_take_a_clients_result_away() {
    let mut world = World::new();
    world.subscribe("", 9);
    world.publish("client/1", 1);
    assert!(world.got("").is_empty());
    world.subscribe("client", 9);
    assert_eq!(world.got("client"), [1]);
    // Nor what is meant for a next step.
    world.offer(Topic::Chosen("even".to_owned()), "", 2);
    assert_eq!(world.got(""), [1]);
    world.subscribe("even", 9);
    assert_eq!(world.got("even"), [2]);
}

#[test]
fn who_listens_to_everything_gets_results_that_no_client_claims() {
    let mut world = World::new();
    world.publish("client", 1);
    world.subscribe("cl", 9);
    assert_eq!(world.outbox.deadline(), Some(world.now + PROBATION));
    assert!(world.pass(PROBATION).is_empty());
    assert_eq!(world.got("cl"), [1]);
    // From then on at once, until the listener goes.
    world.publish("client", 2);
    assert_eq!(world.got("cl"), [1, 2]);
    world.unsubscribe("cl");
    world.publish("client", 3);
    assert_eq!(world.outbox.waiting(), 1);
}

#[test]
fn a_result_waits_on_when_the_listener_goes_before_the_client_comes() {
    let mut world = World::new();
    world.subscribe("", 9);
    world.publish("client/1", 1);
    world.unsubscribe("");
    assert!(world.pass(PROBATION).is_empty());
    world.subscribe("client", 9);
    assert_eq!(world.got("client"), [1]);
}

#[test]
fn a_strangers_cancel_delays_a_clients_results_but_loses_none() {
    let mut world = World::new();
    world.subscribe("client", 9);
    world.cancel("client");
    world.publish("client/1", 1);
    assert_eq!(world.pass(PATIENCE).len(), 1);
    world.publish("client/1", 2);
    assert_eq!(world.got("client"), [1, 2]);
}

#[test]
fn a_result_does_not_go_to_the_subscription_of_a_pylm_clients_last_call() {
    let mut world = World::new();
    world.subscribe("client", 9);
    world.publish("client", 1);
    assert_eq!(world.got("client"), [1]);
    // The next call's result, before the last call's subscription has gone.
    world.publish("client", 2);
    assert_eq!(world.got("client"), [1]);
    world.unsubscribe("client");
    world.pass(SETTLE);
    world.subscribe("client", 9);
    assert_eq!(world.got("client"), [2]);
    // And again: what was held for the new call is its first.
    world.publish("client", 3);
    assert_eq!(world.got("client"), [2]);
}

#[test]
fn a_pylm_clients_job_is_held_up_once() {
    let mut world = World::new();
    world.subscribe("client", 9);
    for number in 1..=3 {
        world.publish("client", number);
    }
    assert_eq!(world.got("client"), [1]);
    assert_eq!(world.outbox.deadline(), Some(world.now + SETTLE));
    assert!(world.pass(SETTLE).is_empty());
    world.publish("client", 4);
    assert_eq!(world.got("client"), [1, 2, 3, 4]);
}

#[test]
fn what_is_remembered_is_bounded_and_forgotten_by_name() {
    let mut decided = Decided::default();
    for number in 0..3 * REMEMBERED {
        decided.remember(&number.to_string(), Decision::NotWaitedFor);
    }
    assert!(decided.decisions.len() <= REMEMBERED && decided.order.len() <= REMEMBERED);
    assert_eq!(decided.of("0"), None);
    let last = (3 * REMEMBERED - 1).to_string();
    assert!(decided.of(&last).is_some());
    decided.forget(&last[..1], Decision::NotWaitedFor);
    decided.forget(&last, Decision::Listened);
    assert!(decided.of(&last).is_some());
    decided.forget(&last, Decision::NotWaitedFor);
    assert_eq!(decided.of(&last), None);
}

#[test]
fn what_several_steps_shall_have_waits_for_all_of_them() {
    let mut world = World::with(1 << 20, 2);
    let step = || Topic::Chosen("server".to_owned());
    world.subscribe("", 9);
    world.subscribe("server", 9);
    world.offer(step(), "", 1);
    assert_eq!(world.outbox.waiting(), 1);
    world.subscribe("server", 9);
    assert_eq!(world.outbox.waiting(), 0);
    // One goes: what comes then waits for it to come back, and for its patience at most.
    world.pipes.pop();
    world.cancel("server");
    world.offer(step(), "", 2);
    assert!(world.pass(PROBATION).is_empty());
    assert_eq!(world.outbox.waiting(), 1);
    world.subscribe("server", 9);
    assert_eq!(world.got("server"), [1, 2]);
    assert_eq!(world.pipes.last().map(|pipe| &pipe.got[..]), Some(&[2][..]));
    assert_eq!(world.got(""), [1, 2]);
    // A client's results wait for nobody but the client.
    world.subscribe("client", 9);
    world.publish("client", 3);
    assert_eq!(world.got("client"), [3]);
}

#[test]
fn who_subscribed_twice_and_left_is_not_taken_to_be_there() {
    let mut world = World::new();
    world.subscribe("server", 9);
    world.subscribe("server", 9);
    // Only the last cancel is told.
    world.unsubscribe("server");
    world.offer(Topic::Chosen("server".to_owned()), "", 1);
    assert_eq!(world.outbox.waiting(), 1);
    world.subscribe("server", 9);
    assert_eq!(world.got("server"), [1]);
}

#[test]
fn a_name_with_a_stroke_is_one_name() {
    let mut world = World::new();
    world.subscribe("region", 9);
    world.offer(Topic::Chosen("region/eu".to_owned()), "", 1);
    // Who listens to a beginning of it is a listener, as with any other name.
    assert_eq!(world.outbox.deadline(), Some(world.now + PROBATION));
    assert!(world.pass(PROBATION).is_empty());
    assert_eq!(world.got("region"), [1]);

    let mut world = World::new();
    world.offer(Topic::Chosen("zone/a".to_owned()), "", 1);
    assert_eq!(world.pass(PATIENCE).len(), 1);
    // That nobody came for one says nothing of another.
    world.offer(Topic::Chosen("zone/b".to_owned()), "", 2);
    assert_eq!(world.outbox.waiting(), 1);
    world.subscribe("zone/b", 9);
    assert_eq!(world.got("zone/b"), [2]);
}
