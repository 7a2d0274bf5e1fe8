use std::sync::Arc;

use super::*;
use crate::core::custody::Ledger;
use crate::core::queue::{Order, Settings};
use crate::message::{FrameReader, Gathering};
use crate::sim::rng::Rng;

const RUN: u64 = 7;
const MS: Duration = Duration::from_millis(1);

struct Master {
    wire: Wire,
    queue: Queue<Made>,
    ledger: Arc<Ledger>,
    pushed: u64,
    /// How large each message is taken to be, in bytes.
    size: usize,
    now: Instant,
}

impl Master {
    /// With so many workers.
    fn new(peers: usize) -> Self {
        let mut master = Self {
            wire: Wire::new(RUN),
            queue: Queue::new(Settings::default()),
            ledger: Ledger::new(|| {}),
            pushed: 0,
            size: 1,
            now: Instant::now(),
        };
        master.peers(peers, false);
        master
    }

    fn peers(&mut self, peers: usize, gone: bool) {
        self.wire.set_peers(peers, gone, &mut self.queue, self.now);
    }

    fn push(&mut self, count: usize) {
        for _ in 0..count {
            self.pushed += 1;
            let mut frame = Frame::new("", "c/1", "s.f", "key", b"x");
            frame.set_place(self.pushed, &[]);
            let kept = Made {
                frame,
                ticket: Some(self.ledger.ticket(1, self.pushed)),
            };
            self.queue.push("c", "c/1", "f", self.size, kept, self.now);
        }
    }

    /// What goes to the workers now.
    fn given(&mut self) -> Vec<Frame> {
        let mut orders = Vec::new();
        self.queue
            .assign(self.now, |_, _| Some(u64::MAX), &mut orders);
        for order in orders {
            if let Order::Give { id, attempt, .. } = order {
                let frame = &mut self.queue.item_mut(id).unwrap().frame;
                self.wire.give(id, attempt, frame, self.now);
            }
        }
        let mut buffer = Vec::new();
        let mut given = Vec::new();
        while let Some(next) = self.wire.next(&mut buffer) {
            given.push(match next {
                ToWorker::Frame(frame) => frame,
                ToWorker::Written => Frame::parse(buffer.clone(), 1_000).unwrap(),
            });
        }
        given
    }

    /// A bundle of messages that nobody answers for.
    fn push_bundle(&mut self, count: usize) {
        let mut gathering = Gathering::default();
        let mut reader = FrameReader::default();
        for _ in 0..count {
            let frame = Frame::new("", "c/1", "s.f", "", b"x");
            let added = gathering.add(&mut reader, frame.as_bytes(), 1_000);
            assert_eq!(added, Some(None));
        }
        let kept = Made {
            frame: gathering.take().unwrap(),
            ticket: None,
        };
        assert_eq!(kept.frame.count(), count);
        self.queue.push("c", "c/1", "f", count, kept, self.now);
    }

    /// Answers each of these, with the number of its task.
    fn answer_all<'a>(&mut self, given: impl IntoIterator<Item = &'a Frame>) -> Vec<u64> {
        let made = given.into_iter().filter_map(|frame| {
            let task = frame.giving().unwrap().task;
            let made = self.answer(frame, &task.to_be_bytes())?;
            assert!(made.ticket.is_none() && made.frame.place().is_none());
            Some(u64::from_be_bytes(made.frame.payload().try_into().unwrap()))
        });
        made.collect()
    }

    fn answer(&mut self, frame: &Frame, payload: &[u8]) -> Option<Made> {
        let result = frame.with_payload(payload);
        self.wire.finished(result, &mut self.queue, self.now)
    }

    fn wait(&mut self, time: Duration) -> usize {
        self.now += time;
        self.wire.expire(self.now, &mut self.queue).len()
    }

    /// The messages that are settled, and whether each was tracked.
    fn settled(&self) -> Vec<(u64, bool)> {
        let settled = self.ledger.take().into_iter();
        settled
            .map(|of| (of.number, !of.result.untracked))
            .collect()
    }
}

fn settle(made: Option<Made>) -> Vec<u8> {
    let made = made.unwrap();
    if let Some(ticket) = made.ticket {
        ticket.done();
    }
    made.frame.payload().to_vec()
}

#[test]
fn several_results_of_a_message_are_all_of_it_and_stand_apart() {
    let mut master = Master::new(1);
    master.push(1);
    let given = master.given();
    let mut places = Vec::new();
    for part in 0..5 {
        let made = master.answer(&given[0], &[part]).unwrap();
        places.push(made.frame.place().unwrap().path.to_vec());
        settle(Some(made));
        assert_eq!(master.wait(400 * MS), 0);
    }
    places.dedup();
    assert_eq!(places.len(), 5);
    assert!(master.settled().is_empty());
    master.wait(MORE);
    assert_eq!(master.settled(), [(1, true)]);
    assert!(master.wire.by_cache.is_empty() && master.wire.ends.is_empty());
}

#[test]
fn nothing_is_kept_of_what_came_over_the_pylm_wire_and_each_result_of_it_passes() {
    let mut master = Master::new(1);
    let frame = Frame::new("", "c", "s.f", "key", b"x");
    for _ in 0..3 {
        let kept = Made {
            frame: frame.clone(),
            ticket: None,
        };
        master.queue.push("c", "c", "f", 1, kept, master.now);
    }
    let given = master.given();
    for frame in &given {
        assert_eq!(settle(master.answer(frame, b"1")), b"1");
        assert_eq!(settle(master.answer(frame, b"2")), b"2");
    }
    assert!(master.wire.answered.is_empty() && master.wire.ends.is_empty());
    assert_eq!(master.queue.counters().fenced, 0);
}

#[test]
fn of_what_was_given_twice_the_result_of_one_counts_however_late_the_other() {
    let mut master = Master::new(2);
    let kept = Made {
        frame: Frame::new("", "c", "s.f", "key", b"x"),
        ticket: None,
    };
    master.queue.push("c", "c", "f", 1, kept, master.now);
    let first = master.given();
    master.peers(1, true);
    master.wait(SUSPECT);
    let again = master.given();
    assert_eq!(settle(master.answer(&again[0], b"1")), b"1");
    master.wait(2 * MORE);
    assert!(master.answer(&first[0], b"2").is_none());
}

#[test]
fn what_an_earlier_run_of_the_master_gave_is_no_task_of_this_one() {
    let mut master = Master::new(1);
    master.push(1);
    let given = master.given();
    let mut old = given[0].clone();
    let giving = old.giving().unwrap();
    old.set_giving(Giving { run: 1, ..giving });
    let passed = master.answer(&old, b"old").unwrap();
    assert!(passed.ticket.is_none());
    assert_eq!(settle(master.answer(&given[0], b"new")), b"new");
}

#[test]
fn what_was_out_when_a_worker_left_is_given_again_and_the_first_result_counts() {
    let mut master = Master::new(2);
    master.push(2);
    let first = master.given();
    master.peers(1, true);
    master.wait(SUSPECT);
    let again = master.given();
    assert_eq!(again.len(), 2);
    assert_eq!(settle(master.answer(&first[0], b"1")), b"1");
    assert!(master.answer(&again[0], b"2").is_none());
    assert_eq!(settle(master.answer(&again[1], b"3")), b"3");
}

#[test]
fn a_message_that_is_with_every_worker_that_ends_is_given_up() {
    let mut master = Master::new(2);
    master.push(1);
    let mut given_up = 0;
    for _ in 0..=MOST_ATTEMPTS {
        master.given();
        master.peers(1, true);
        given_up += master.wait(SUSPECT);
        master.peers(2, false);
    }
    assert_eq!(given_up, 1);
    assert!(master.given().is_empty());
}

#[test]
fn what_is_silent_makes_room_when_later_ones_are_answered_and_may_answer_after_all() {
    let mut master = Master::new(1);
    master.push(2 * AHEAD_ALONE);
    let given = master.given();
    assert_eq!(given.len(), AHEAD_ALONE);
    assert!(master.given().is_empty());
    // Every second one gives nothing: in the end all that is out are such.
    let mut out = given.clone();
    for _ in 0..20 {
        for frame in out.iter().skip(1).step_by(2) {
            settle(master.answer(frame, b"y"));
        }
        master.wait(OVERTAKEN);
        out = master.given();
    }
    assert_eq!(master.pushed, 2 * AHEAD_ALONE as u64);
    assert_eq!(master.queue.len(), master.wire.out.len());
    assert!(master.wire.out.len() < AHEAD_ALONE);
    let late = master.answer(&given[0], b"late").unwrap();
    assert_eq!(
        (late.frame.payload(), late.ticket.is_none()),
        (&b"late"[..], true)
    );
    assert!(master.settled().contains(&(1, false)));
}

#[test]
fn functions_that_all_give_nothing_do_not_stop_the_rest_for_ever() {
    let mut master = Master::new(1);
    master.push(AHEAD_ALONE + 1);
    assert_eq!(master.given().len(), AHEAD_ALONE);
    master.wait(LOOK);
    assert!(master.given().is_empty());
    assert!(
        master
            .wire
            .deadline(&master.queue)
            .is_some_and(|look| look > master.now)
    );
    master.wait(SILENT);
    assert_eq!(master.given().len(), 1);
}

#[test]
fn large_messages_that_are_silent_do_not_stop_the_rest_for_ever() {
    let mut master = Master::new(1);
    master.size = 100_000;
    master.push(100);
    let given = master.given();
    assert!((10..50).contains(&given.len()));
    assert!(master.given().is_empty());
    // A function may take its time.
    master.wait(2 * SILENT);
    assert!(master.given().is_empty());
    assert!(master.wire.deadline(&master.queue).is_some());
    master.wait(LARGE_SILENT);
    assert_eq!(master.given().len(), given.len());
}

#[test]
fn more_workers_have_room_for_a_large_message_at_once() {
    let mut master = Master::new(1);
    master.size = BYTES;
    master.push(3);
    assert_eq!(master.given().len(), 1);
    assert!(master.given().is_empty());
    master.peers(2, false);
    assert_eq!(master.given().len(), 1);
}

#[test]
fn results_of_a_bundle_go_on_as_they_come_and_nothing_is_kept_of_it() {
    let mut master = Master::new(2);
    master.push_bundle(64);
    master.push_bundle(2);
    let given = master.given();
    assert_eq!(given.len(), 66);
    let mut caches: Vec<_> = given.iter().map(Frame::cache).collect();
    caches.sort_unstable();
    caches.dedup();
    assert_eq!(caches.len(), 66);
    assert_eq!(master.queue.counters().finished, 0);
    let order = |id: u64| id * 29 % 66;
    let shuffled = (0..66).map(|at| &given[order(at) as usize]);
    let made = master.answer_all(shuffled);
    assert_eq!(made, (0..66).map(order).collect::<Vec<_>>());
    assert_eq!(master.queue.counters().finished, 66);
    // Others of the same are one more each.
    assert_eq!(master.answer_all(&given[..1]), [0]);
    assert_eq!(master.wire.open() + master.queue.len(), 0);
    assert!(master.wire.by_cache.is_empty() && master.wire.bundles.is_empty());
    assert_eq!(master.queue.counters().fenced, 0);
}

#[test]
fn a_message_of_a_bundle_is_known_by_its_cache_if_its_worker_says_nothing_else() {
    let mut master = Master::new(1);
    master.push_bundle(5);
    let given = master.given();
    // It is of none of them.
    let other = Frame::new("", "c/1", "s.f", "no uuid", b"z");
    let made = master.wire.finished(other, &mut master.queue, master.now);
    assert_eq!((settle(made), master.queue.len()), (b"z".to_vec(), 5));
    for frame in given.iter().rev() {
        let result = Frame::new("", "c/1", "s.f", frame.cache(), b"y");
        let made = master.wire.finished(result, &mut master.queue, master.now);
        assert_eq!(settle(made), b"y");
    }
    assert_eq!(master.queue.len(), 0);
}

#[test]
fn a_cache_key_that_comes_back_in_another_message_is_not_that_of_the_one_before() {
    let mut master = Master::new(1);
    master.push_bundle(3);
    let given = master.given();
    let key = given[1].cache().to_owned();
    assert_eq!(master.answer_all(&given[1..2]), [1]);
    // A message of a client that has the key from that result.
    let frame = Frame::new("", "c/2", "s.f", &key, b"x");
    let kept = Made {
        frame: frame.clone(),
        ticket: None,
    };
    master.queue.push("c", "c/2", "f", 1, kept, master.now);
    assert_eq!(master.given().len(), 1);
    assert!(master.answer(&frame, b"y").is_some());
    assert_eq!(master.queue.len(), 3);
}

#[test]
fn only_what_has_no_result_of_a_bundle_is_given_again() {
    let mut master = Master::new(1);
    master.push_bundle(6);
    let first = master.given();
    assert_eq!(master.answer_all([&first[1], &first[4]]), [1, 4]);
    master.peers(0, true);
    master.peers(1, false);
    let again = master.given();
    assert_eq!(master.answer_all(&again), [0, 2, 3, 5]);
    // These came after all.
    assert!(master.answer_all([&first[0], &first[5]]).is_empty());
    assert_eq!(master.queue.len(), 0);
}

#[test]
fn what_is_silent_of_a_bundle_makes_room_for_others() {
    let mut master = Master::new(1);
    for _ in 0..2 * AHEAD_ALONE / 64 {
        master.push_bundle(64);
    }
    let mut out = master.given();
    assert_eq!(out.len(), AHEAD_ALONE);
    let mut answered = 0;
    for _ in 0..20 {
        let made = master.answer_all(out.iter().skip(1).step_by(2));
        answered += made.len();
        master.wait(OVERTAKEN);
        out = master.given();
    }
    assert!(answered >= AHEAD_ALONE - 20);
    assert_eq!(master.queue.len(), master.wire.open());
    assert!(master.wire.open() < AHEAD_ALONE);
}

#[test]
fn where_one_of_each_bundle_is_silent_the_others_make_room_soon() {
    let mut master = Master::new(1);
    for _ in 0..4 * AHEAD_ALONE / 64 {
        master.push_bundle(64);
    }
    let mut answered = 0;
    for _ in 0..10 {
        let given = master.given();
        let answers = given.iter().filter(|frame| {
            let task = frame.giving().unwrap().task;
            task % 64 != 0
        });
        answered += master.answer_all(answers).len();
        master.wait(LOOK);
    }
    assert!(answered >= 3 * AHEAD_ALONE, "{answered}");
}

/// Workers come and go, with what they have: each message has one result that counts.
#[test]
fn whatever_becomes_of_workers_each_message_has_one_result() {
    for seed in 0..300 {
        let mut rng = Rng::new(seed);
        let mut master = Master::new(2);
        let mut at_workers = [Vec::new(), Vec::new()];
        let mut late: Vec<Frame> = Vec::new();
        let (mut pushed, mut made) = (0, Vec::new());
        for step in 0.. {
            assert!(step < 2_000, "it does not end in world {seed}");
            let ends = step > 150;
            if ends && master.queue.len() == 0 {
                break;
            }
            if !ends && rng.one_in(2) {
                let count = rng.between(2, 64);
                master.push_bundle(count);
                pushed += count as u64;
            }
            for (at, frame) in master.given().into_iter().enumerate() {
                let worker = at % at_workers.len();
                at_workers[worker].push(frame);
            }
            let worker = rng.below(at_workers.len());
            let queue: &mut Vec<Frame> = &mut at_workers[worker];
            for _ in 0..rng.below(if ends { 200 } else { 100 }).min(queue.len()) {
                let at = rng.below(3.min(queue.len()));
                let frame = queue.remove(at);
                made.extend(master.answer_all([&frame]));
            }
            if !ends && rng.one_in(15) {
                let gone = std::mem::take(&mut at_workers[worker]);
                // Some of it is on its way back.
                late.extend(gone.into_iter().filter(|_| rng.one_in(3)));
                let left = at_workers.len() - 1;
                if rng.one_in(3) {
                    at_workers.iter_mut().for_each(Vec::clear);
                    master.peers(0, true);
                } else {
                    master.peers(left, true);
                }
                master.peers(left + 1, false);
            }
            if !late.is_empty() && rng.one_in(3) {
                let at = rng.below(late.len());
                made.extend(master.answer_all([&late.swap_remove(at)]));
            }
            master.wait(rng.time(SUSPECT));
        }
        made.sort_unstable();
        assert_eq!(made, (0..pushed).collect::<Vec<_>>(), "world {seed}");
        assert_eq!(master.wire.open(), 0, "world {seed}");
    }
}
