use std::collections::{BTreeMap, BTreeSet};

use super::*;

const WIDE: Bounds = Bounds {
    groups: 1_000,
    bytes: 1 << 20,
    message: 1 << 16,
    idle: Duration::from_secs(60),
};

/// A reduction, and who does its tasks: values are sets of numbers, as texts.
struct Bench {
    reduction: Reduction,
    tasks: Vec<Frame>,
    sent: Vec<Frame>,
    now: Instant,
}

impl Bench {
    fn new(bounds: Bounds) -> Self {
        Self {
            reduction: Reduction::new("me", bounds),
            tasks: Vec::new(),
            sent: Vec::new(),
            now: Instant::now(),
        }
    }

    fn act(&mut self) {
        for action in self.reduction.actions() {
            match action {
                Action::Combine(task) => self.tasks.push(task),
                Action::Send(frame) | Action::Fail(frame) => self.sent.push(frame),
            }
        }
    }

    fn offer(&mut self, frame: Frame, group: Group) {
        let name = JobName::of(&frame);
        self.reduction.offer(frame, group, self.now);
        self.reduction.took(&name, self.now);
        self.act();
    }

    fn fail(&mut self, frame: Frame) {
        let name = JobName::of(&frame);
        let failed = frame.with_failure(&Failure::new(FailureKind::Function, "no luck"));
        self.reduction.failed(failed, self.now);
        self.reduction.took(&name, self.now);
        self.act();
    }

    fn end(&mut self, job: &str, messages: u64) {
        let mark = value(job, "").with_end(End { messages });
        self.reduction.ended(mark, self.now);
        self.act();
    }

    fn answer(&mut self, result: Frame) -> bool {
        let taken = self.reduction.combined(result, self.now);
        self.act();
        taken
    }

    /// Does the task at this place.
    fn work(&mut self, at: usize) {
        let task = self.tasks.swap_remove(at);
        let pair = Pair::decode_payload(task.payload()).unwrap();
        let payload = [&pair.left[..], b" ", &pair.right].concat();
        assert!(self.answer(task.with_payload(&payload)));
    }

    fn work_all(&mut self) {
        while !self.tasks.is_empty() {
            self.work(0);
        }
    }

    fn later(&mut self, time: Duration) {
        self.now += time;
        self.reduction.expire(self.now);
        self.act();
    }

    /// What was sent, each with its numbers in order: a failure as its cause, a mark as `=`.
    fn sent(&mut self) -> Vec<String> {
        let sent = std::mem::take(&mut self.sent);
        sent.iter().map(shown).collect()
    }

    fn assert_empty(&self) {
        assert_eq!(self.reduction.open_groups(), 0);
        assert_eq!(self.reduction.in_flight(), 0);
        assert_eq!(self.reduction.bytes, 0);
        self.reduction.jobs.assert_counted();
    }
}

fn shown(frame: &Frame) -> String {
    if let Some(end) = frame.end() {
        return format!("={}", end.messages);
    }
    if let Some(failure) = frame.failure() {
        return failure.cause;
    }
    let text = String::from_utf8(frame.payload().to_vec()).unwrap();
    let mut numbers: Vec<&str> = text.split(' ').collect();
    numbers.sort_unstable();
    numbers.join(" ")
}

fn value(job: &str, payload: &str) -> Frame {
    Frame::new("stream", job, "r.add", "key", payload.as_bytes())
}

#[test]
fn pairs_are_made_at_once_and_become_a_tree() {
    let mut bench = Bench::new(WIDE);
    for number in ["1", "2", "3", "4", "5", "6", "7", "8"] {
        bench.offer(value("c", number), Group::of("k").expecting(8));
    }
    assert_eq!(bench.tasks.len(), 4, "one round of work for four workers");
    for _ in 0..4 {
        bench.work(0);
    }
    assert_eq!(bench.tasks.len(), 2);
    bench.work_all();
    assert_eq!(bench.sent(), ["1 2 3 4 5 6 7 8"]);
    bench.assert_empty();
}

#[test]
fn a_result_has_the_fields_of_its_first_message() {
    let mut bench = Bench::new(WIDE);
    let mut first = value("c", "1");
    first.set_stage(2);
    bench.offer(first, Group::of("k"));
    bench.offer(value("c", "2"), Group::of("k").closing());
    let task = &bench.tasks[0];
    assert_eq!((task.function(), task.stage()), ("r.add", 2));
    assert_ne!(task.cache(), "key");
    bench.work_all();
    let result = &bench.sent[0];
    assert_eq!(result.client(), "c");
    assert_eq!(result.pipeline(), "stream");
    assert_eq!((result.stage(), result.cache()), (2, "key"));
}

#[test]
fn a_group_is_closed_by_its_number_whoever_tells_it() {
    let mut bench = Bench::new(WIDE);
    bench.offer(value("c", "1"), Group::of("k"));
    bench.offer(value("c", "2"), Group::of("k").expecting(3));
    bench.offer(value("c", "3"), Group::of("k"));
    bench.work_all();
    assert_eq!(bench.sent(), ["1 2 3"]);
    // The number may come last, and without a value.
    bench.offer(value("c", "4"), Group::of("k"));
    bench.offer(value("c", ""), Group::of("k").expecting(1).without_value());
    assert_eq!(bench.sent(), ["4"]);
    bench.offer(value("c", "5"), Group::of("k"));
    bench.offer(value("c", "6"), Group::of("k"));
    bench.offer(value("c", "7"), Group::of("k").expecting(2));
    bench.work_all();
    assert_eq!(bench.sent(), ["a group of 2 values was closed with 3"]);
    bench.assert_empty();
}

#[test]
fn a_marker_closes_a_group_and_the_next_of_its_key_is_another() {
    let mut bench = Bench::new(WIDE);
    bench.offer(value("c", "1"), Group::of("k"));
    bench.offer(value("c", "2"), Group::of("k"));
    bench.offer(value("c", ""), Group::of("k").closing().without_value());
    // The first is at a worker still.
    bench.offer(value("c", "3"), Group::of("k"));
    bench.offer(value("c", "4"), Group::of("k").closing());
    assert_eq!(bench.tasks.len(), 2);
    bench.work(1);
    assert_eq!(bench.sent(), ["3 4"]);
    bench.work(0);
    assert_eq!(bench.sent(), ["1 2"]);
    // No value, no result.
    bench.offer(value("c", ""), Group::of("k").closing().without_value());
    assert!(bench.sent().is_empty());
    bench.assert_empty();
}

#[test]
fn the_end_of_a_job_closes_all_of_its_groups_and_is_sent_last() {
    let mut bench = Bench::new(WIDE);
    bench.offer(value("c", "1"), Group::of("a"));
    bench.offer(value("other", "9"), Group::of("a"));
    // It may overtake messages of its job.
    bench.end("c", 3);
    bench.offer(value("c", "2"), Group::of("a"));
    assert!(bench.sent().is_empty());
    bench.offer(value("c", "3"), Group::of("b"));
    assert_eq!(bench.sent(), ["3"]);
    bench.work_all();
    assert_eq!(bench.sent(), ["1 2", "=2"]);
    assert_eq!(bench.reduction.open_groups(), 1, "the other client's");
    // A job of no messages.
    bench.end("empty", 0);
    assert_eq!(bench.sent(), ["=0"]);
}

#[test]
fn results_sent_before_the_end_and_failures_count_as_results() {
    let mut bench = Bench::new(WIDE);
    bench.offer(value("c", "1"), Group::of("a").closing());
    bench.fail(value("c", "x"));
    bench.offer(value("c", "2"), Group::of("b").expecting(1));
    bench.end("c", 3);
    assert_eq!(bench.sent(), ["1", "no luck", "2", "=3"]);
    bench.assert_empty();
}

#[test]
fn a_failed_message_spoils_what_is_not_counted_out() {
    let mut bench = Bench::new(WIDE);
    bench.offer(value("c", "1"), Group::of("open"));
    bench.fail(value("c", "x"));
    bench.offer(value("c", "2"), Group::of("counted").expecting(2));
    bench.offer(value("c", "3"), Group::of("counted"));
    bench.offer(value("other", "4"), Group::of("open").closing());
    bench.work_all();
    bench.end("c", 4);
    let sent = bench.sent();
    assert_eq!(sent[..3], ["no luck", "4", "2 3"]);
    assert!(sent[3].contains("may have been a value"), "{}", sent[3]);
    assert_eq!(sent[4..], ["=3"]);
}

#[test]
fn a_group_whose_number_is_not_reached_is_a_failure_at_the_end() {
    let mut bench = Bench::new(WIDE);
    bench.offer(value("c", "1"), Group::of("k").expecting(3));
    bench.end("c", 1);
    assert_eq!(
        bench.sent(),
        ["a group of 3 values was closed with 1", "=1"]
    );
}

#[test]
fn a_failed_combination_is_told_once_and_the_rest_of_the_group_dropped() {
    let mut bench = Bench::new(WIDE);
    for number in ["1", "2", "3", "4", "5"] {
        bench.offer(value("c", number), Group::of("k").expecting(7));
    }
    let failure = Failure::new(FailureKind::Function, "cannot add");
    let failed = bench.tasks.remove(0).with_failure(&failure);
    bench.answer(failed);
    assert_eq!(bench.sent(), ["cannot add"]);
    let failed = bench.tasks.remove(0).with_failure(&failure);
    bench.answer(failed);
    assert_eq!(bench.reduction.open_groups(), 1, "it is remembered");
    bench.offer(value("c", "6"), Group::of("k"));
    bench.offer(value("c", "7"), Group::of("k"));
    assert!(bench.tasks.is_empty() && bench.sent().is_empty());
    bench.assert_empty();
    // The next of that key has nothing to do with it.
    bench.offer(value("c", "8"), Group::of("k").closing());
    assert_eq!(bench.sent(), ["8"]);
}

#[test]
fn what_is_late_or_unknown_is_ignored_and_counted() {
    let mut bench = Bench::new(WIDE);
    bench.offer(value("c", "1"), Group::of("k"));
    bench.offer(value("c", "2"), Group::of("k").closing());
    let twice = bench.tasks[0].with_payload(b"1 2");
    bench.work(0);
    let mut odd = vec![twice, value("c", "x")];
    for id in ["", "me", "me/", "me/x", "you/2", "me/999", "me/-1"] {
        let mut frame = value("c", "x");
        frame.set_cache(id);
        odd.push(frame);
    }
    let count = odd.len() as u64;
    for frame in odd {
        assert!(!bench.answer(frame));
    }
    assert_eq!(bench.reduction.strangers(), count);
    assert_eq!(bench.sent(), ["1 2"]);
}

#[test]
fn a_group_too_many_is_refused_with_a_failure() {
    let mut bench = Bench::new(Bounds { groups: 2, ..WIDE });
    bench.offer(value("c", "1"), Group::of("a"));
    bench.offer(value("d", "2"), Group::of("a"));
    bench.offer(value("c", "3"), Group::of("b"));
    let refused = bench.sent();
    assert!(refused[0].contains("2 groups are open"), "{refused:?}");
    bench.offer(value("c", "4"), Group::of("a").expecting(2));
    bench.work_all();
    assert_eq!(bench.sent(), ["1 4"]);
    bench.offer(value("c", "5"), Group::of("b").expecting(1));
    assert_eq!(bench.sent(), ["5"]);
}

#[test]
fn values_over_the_bound_in_bytes_fail_their_group() {
    let bounds = Bounds {
        bytes: 5_000,
        ..WIDE
    };
    let mut bench = Bench::new(bounds);
    let large = "1".repeat(2_500);
    bench.offer(value("c", &large), Group::of("a"));
    bench.offer(value("c", &large), Group::of("b"));
    let sent = bench.sent();
    assert!(sent[0].contains("5000 bytes"), "{sent:?}");
    bench.offer(value("c", ""), Group::of("a").closing().without_value());
    bench.offer(value("c", &large), Group::of("b").closing());
    assert_eq!(bench.sent(), [large]);
    bench.assert_empty();
}

#[test]
fn a_pair_that_no_worker_would_take_fails_its_group() {
    let bounds = Bounds {
        message: 100,
        ..WIDE
    };
    let mut bench = Bench::new(bounds);
    bench.offer(value("c", &"1".repeat(60)), Group::of("k"));
    bench.offer(value("c", &"2".repeat(60)), Group::of("k").closing());
    let sent = bench.sent();
    assert!(sent[0].contains("limit of 100 bytes"), "{sent:?}");
    assert!(bench.tasks.is_empty());
    bench.assert_empty();
}

#[test]
fn groups_and_jobs_to_which_nothing_happens_are_given_up() {
    let mut bench = Bench::new(WIDE);
    bench.later(Duration::ZERO);
    bench.offer(value("c", "1"), Group::of("k"));
    bench.offer(value("c", "2"), Group::of("k"));
    bench.end("c", 3);
    bench.later(WIDE.idle / 2);
    bench.offer(value("d", "1"), Group::of("k"));
    assert!(bench.sent().is_empty());
    bench.later(WIDE.idle / 2);
    let sent = bench.sent();
    let lack = "nothing has come for its group for 60 s";
    assert_eq!(sent, [lack, "of the job's 3 messages, 2 came", "=2"]);
    let late = bench.tasks.remove(0);
    assert!(!bench.answer(late.with_payload(b"1 2")));
    bench.later(WIDE.idle);
    assert_eq!(bench.sent(), [lack], "the other client's, who tells no end");
    bench.assert_empty();
}

#[test]
fn jobs_without_groups_are_remembered_up_to_a_bound() {
    let mut bench = Bench::new(Bounds { groups: 10, ..WIDE });
    bench.offer(value("with a group", "1"), Group::of("k"));
    for number in 0..20_000 {
        let job = format!("job {number}");
        bench.offer(value(&job, "1"), Group::of("k").closing());
        bench.sent.clear();
    }
    assert!(bench.reduction.jobs.len() <= 10 + IDLE_JOBS);
    bench.end("with a group", 1);
    assert_eq!(bench.sent(), ["1", "=1"]);
}

#[test]
fn giving_up_a_closed_group_leaves_a_younger_one_of_its_key_as_it_is() {
    let mut bench = Bench::new(WIDE);
    bench.later(Duration::ZERO);
    bench.offer(value("c", "1"), Group::of("k").expecting(2));
    bench.offer(value("c", "2"), Group::of("k").expecting(2));
    // Its worker dies.
    bench.tasks.clear();
    bench.now += WIDE.idle * 3 / 4;
    bench.offer(value("c", "3"), Group::of("k"));
    bench.later(WIDE.idle / 2);
    assert_eq!(bench.sent(), ["nothing has come for its group for 60 s"]);
    bench.offer(value("c", "4"), Group::of("k"));
    bench.work_all();
    bench.end("c", 4);
    assert_eq!(bench.sent(), ["3 4", "=2"]);
    bench.assert_empty();
}

#[test]
fn the_names_and_marks_of_jobs_without_groups_are_bounded_in_bytes() {
    let mut bench = Bench::new(Bounds {
        groups: 65_536,
        ..WIDE
    });
    let long = "x".repeat(60_000);
    for number in 0..2_000 {
        bench.fail(value(&format!("{number} {long}"), "1"));
        bench.sent.clear();
    }
    let names = bench.reduction.jobs.len() * long.len();
    assert!(names <= 32 << 20, "{names} bytes of names");
    // What else stands in a mark is of no use.
    let mark = crate::message::PalmMessage {
        end: Some(End { messages: 1 }),
        cache: long.clone(),
        ..value("with a mark", &long).to_message()
    };
    let mark = Frame::from(&mark);
    bench.reduction.ended(mark.clone(), bench.now);
    let job = bench.reduction.jobs.get_mut(&JobName::of(&mark)).unwrap();
    assert!(job.mark.as_ref().unwrap().len() < 100);
    bench.assert_empty();
}

#[test]
fn keys_and_fields_of_groups_are_bounded_in_bytes() {
    let bounds = Bounds {
        bytes: 100_000,
        ..WIDE
    };
    let mut bench = Bench::new(bounds);
    for number in 0..100 {
        let key = format!("{number} {}", "x".repeat(30_000));
        bench.offer(value("c", ""), Group::of(key).without_value());
        assert!(bench.reduction.bytes <= 100_000);
    }
    let sent = bench.sent();
    assert_eq!(sent.len(), 97);
    assert!(sent[0].contains("no room"), "{}", sent[0]);
    assert!(sent[0].contains("100000 bytes"), "{}", sent[0]);
}

#[test]
fn jobs_that_wait_for_messages_are_forgotten_last() {
    let mut bench = Bench::new(Bounds { groups: 10, ..WIDE });
    bench.offer(value("c", "1"), Group::of("k").closing());
    bench.end("c", 2);
    for number in 0..20_000 {
        let job = format!("job {number}");
        bench.offer(value(&job, "x"), Group::of("k").closing());
    }
    bench.sent.clear();
    bench.offer(value("c", "2"), Group::of("k"));
    assert_eq!(bench.sent(), ["2", "=2"]);
}

#[test]
fn the_client_of_a_job_that_is_forgotten_while_it_waits_hears_of_it() {
    let mut bench = Bench::new(Bounds { groups: 10, ..WIDE });
    for number in 0..20_000 {
        bench.end(&format!("job {number}"), 1);
    }
    let sent = bench.sent();
    assert_eq!(bench.reduction.jobs.len() + sent.len() / 2, 20_000);
    assert!(sent[0].contains("no room"), "{}", sent[0]);
    bench.reduction.jobs.assert_counted();
    let lack = "of the job's 1 messages, 0 came";
    assert!(sent[0].contains(lack), "{}", sent[0]);
    assert_eq!(sent[1], "=1");
}

#[test]
fn what_failed_elsewhere_is_told_apart_from_what_fails_here() {
    let mut reduction = Reduction::new("me", Bounds { groups: 1, ..WIDE });
    let now = Instant::now();
    let failure = unfinished("elsewhere");
    reduction.offer(value("c", "1"), Group::of("k"), now);
    reduction.offer(value("c", "2"), Group::of("k"), now);
    let actions = reduction.actions();
    let [Action::Combine(task)] = &actions[..] else {
        panic!("{actions:?}")
    };
    reduction.combined(task.with_failure(&failure), now);
    reduction.failed(value("c", "3").with_failure(&failure), now);
    reduction.offer(value("c", "4"), Group::of("another"), now);
    let actions = reduction.actions();
    assert!(
        matches!(
            actions[..],
            [Action::Send(_), Action::Send(_), Action::Fail(_)]
        ),
        "{actions:?}"
    );
}

/// Numbers that can be had again by their seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as usize % limit
    }
}

/// How the groups of a job are closed.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    Count,
    Marker,
    End,
}

/// What comes in of a job, the last first, and the values of its groups.
struct Stream {
    messages: Vec<Message>,
    groups: BTreeMap<String, BTreeSet<String>>,
}

enum Message {
    Value(Frame, Group),
    Failed(Frame),
    Mark(Frame),
}

impl Stream {
    fn of(job: usize, faults: bool, random: &mut Random) -> Self {
        let way = [Way::Count, Way::Marker, Way::End][random.below(3)];
        let name = format!("job {job}");
        let keys = 1 + random.below(5);
        let mut messages = Vec::new();
        let mut groups = BTreeMap::<String, BTreeSet<String>>::new();
        for number in 0..random.below(60) {
            let key = format!("key {}", random.below(keys));
            let text = format!("{job}-{number}");
            messages.push(Message::Value(value(&name, &text), Group::of(&key)));
            groups.entry(key).or_default().insert(text);
            if faults && random.below(30) == 0 {
                messages.push(Message::Failed(value(&name, "x")));
            }
        }
        let end = End {
            messages: messages.len() as u64,
        };
        for (key, values) in &groups {
            let group = Group::of(key).without_value();
            let (at, group) = match way {
                Way::Count => (
                    random.below(messages.len() + 1),
                    group.expecting(values.len() as u64),
                ),
                Way::Marker => (messages.len(), group.closing()),
                Way::End => break,
            };
            messages.insert(at, Message::Value(value(&name, ""), group));
        }
        if way == Way::End {
            let at = random.below(messages.len() + 1);
            messages.insert(at, Message::Mark(value(&name, "").with_end(end)));
        }
        messages.reverse();
        Self { messages, groups }
    }
}

/// Jobs whose messages and completed tasks come in any order that the seed gives; with faults,
/// some of either fail.
fn shuffled(seed: u64, faults: bool) {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut bench = Bench::new(WIDE);
    let jobs = 1 + random.below(3);
    let mut open: Vec<Stream> = (0..jobs)
        .map(|job| Stream::of(job, faults, &mut random))
        .collect();
    let groups = open.iter().flat_map(|stream| stream.groups.values());
    let groups: Vec<_> = groups.cloned().collect();
    let mut failed = 0;
    while !open.is_empty() || !bench.tasks.is_empty() {
        let choice = random.below(open.len() + bench.tasks.len().min(3));
        if choice >= open.len() {
            let at = random.below(bench.tasks.len());
            if faults && random.below(20) == 0 {
                let failure = Failure::new(FailureKind::Function, "no luck");
                let task = bench.tasks.swap_remove(at);
                bench.answer(task.with_failure(&failure));
            } else {
                bench.work(at);
            }
            continue;
        }
        match open[choice].messages.pop() {
            Some(Message::Value(frame, group)) => bench.offer(frame, group),
            Some(Message::Mark(mark)) => {
                bench.reduction.ended(mark, bench.now);
                bench.act();
            }
            Some(Message::Failed(frame)) => {
                failed += 1;
                bench.fail(frame);
            }
            None => drop(open.swap_remove(choice)),
        }
    }
    check(seed, &bench, groups, failed, faults);
}

/// Every value is in exactly one result, with all of its group and nothing else, unless the
/// group has a failure; and of every group, and of every message that failed, comes one message.
fn check(seed: u64, bench: &Bench, mut groups: Vec<BTreeSet<String>>, failed: usize, faults: bool) {
    let mut failures = 0;
    for frame in &bench.sent {
        if let Some(end) = frame.end() {
            let of_job = |other: &&Frame| other.client() == frame.client();
            let results = bench.sent.iter().filter(of_job).count() as u64 - 1;
            assert_eq!(end.messages, results, "seed {seed}");
        } else if frame.is_failure() {
            failures += 1;
            assert!(faults, "seed {seed}: {}", shown(frame));
        } else {
            let text = shown(frame);
            let values: Vec<&str> = text.split(' ').collect();
            let set: BTreeSet<String> = values.iter().map(|&value| value.to_owned()).collect();
            assert_eq!(set.len(), values.len(), "seed {seed}: twice in {text}");
            let at = groups.iter().position(|group| *group == set);
            let at = at.unwrap_or_else(|| panic!("seed {seed}: no group is {text}"));
            groups.swap_remove(at);
        }
    }
    let without = groups.len();
    assert_eq!(failures, failed + without, "seed {seed}: {groups:?}");
    assert_eq!(bench.reduction.open_groups(), 0, "seed {seed}");
    assert_eq!(bench.reduction.in_flight(), 0, "seed {seed}");
    assert_eq!(bench.reduction.bytes, 0, "seed {seed}");
    bench.reduction.jobs.assert_counted();
}

#[test]
fn every_value_is_in_exactly_one_result_in_whatever_order_things_happen() {
    for seed in 1..=3_000 {
        shuffled(seed, false);
    }
}

#[test]
fn whatever_fails_every_group_gives_one_message_and_every_result_is_whole() {
    for seed in 1..=3_000 {
        shuffled(seed, true);
    }
}
