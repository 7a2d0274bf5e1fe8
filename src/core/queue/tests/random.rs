//! Whatever happens, in whatever order: each task ends once, and nothing is left.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use super::*;

const SEEDS: u64 = 3_000;

/// Xorshift.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % most
    }
}

/// A message, or a bundle of some, by their numbers.
#[derive(Clone, Debug, PartialEq)]
struct Items(Range<u32>);

impl Divide for Items {
    fn is_tracked(&self) -> bool {
        !self.0.start.is_multiple_of(3)
    }

    fn count(&self) -> usize {
        self.0.len()
    }

    fn split_off(&mut self, count: usize) -> Self {
        let middle = self.0.start + count as u32;
        assert!(count > 0 && middle < self.0.end);
        let rest = middle..self.0.end;
        self.0.end = middle;
        Self(rest)
    }

    fn singles(self) -> impl ExactSizeIterator<Item = Self> {
        self.0.map(|item| Self(item..item + 1))
    }
}

/// A task as a worker holds it: its number, its attempt, how many messages it is.
type HeldTask = (TaskId, u32, usize);

/// What a worker holds, as it knows it.
#[derive(Default)]
struct Held {
    tasks: VecDeque<HeldTask>,
    recalls: VecDeque<Vec<TaskId>>,
    draining: bool,
}

struct Chaos {
    queue: Queue<Items>,
    dice: Dice,
    now: Instant,
    workers: BTreeMap<WorkerId, Held>,
    next_worker: WorkerId,
    /// How often each task ended.
    ended: Vec<u32>,
    deaf: usize,
    /// Results that nobody waits for any more.
    late: Vec<(WorkerId, HeldTask)>,
}

const FUNCTIONS: [&str; 4] = ["f", "g", "h", "i"];

impl Chaos {
    fn new(seed: u64) -> Self {
        let settings = Settings {
            max_attempts: 2,
            most_bytes: 100,
            most_tasks: 8,
            ..Settings::default()
        };
        Self {
            queue: Queue::new(settings),
            dice: Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1),
            now: Instant::now(),
            workers: BTreeMap::new(),
            next_worker: 0,
            ended: Vec::new(),
            deaf: 0,
            late: Vec::new(),
        }
    }

    fn end(&mut self, items: Items) {
        for item in items.0 {
            self.ended[item as usize] += 1;
        }
    }

    fn any_worker(&mut self) -> Option<WorkerId> {
        let most = self.workers.len().max(1);
        let place = self.dice.below(most);
        self.workers.keys().nth(place).copied()
    }

    fn step(&mut self) {
        match self.dice.below(16) {
            0..=3 => self.push(),
            4 => self.join(),
            5 | 6 => self.leave(),
            7..=10 => self.finish(),
            11 | 12 => self.answer(),
            13 => self.resume(),
            14 => self.now += MS * [0, 1, 10, 700][self.dice.below(4)],
            _ => match self.dice.below(4) {
                0 => self.cancel(),
                1 => self.drain(),
                2 => {
                    self.deaf = self.dice.below(8);
                    let deaf = (0..3).filter(|session| self.deaf & (1 << session) != 0);
                    deaf.for_each(|session| self.queue.call_back(&session.to_string()));
                }
                _ => self.late(),
            },
        }
        self.assign();
        self.queue.assert_sound();
    }

    fn push(&mut self) {
        for _ in 0..=self.dice.below(6) {
            let (session, job) = (self.dice.below(3), self.dice.below(2));
            let (session, job) = (session.to_string(), format!("{session}/{job}"));
            let function = FUNCTIONS[self.dice.below(4)];
            let first = self.ended.len() as u32;
            let count = [1, 1, 2, 3, 7, 20][self.dice.below(6)];
            self.ended.extend((0..count).map(|_| 0));
            let item = Items(first..first + count);
            let size = self.dice.below(60);
            self.queue
                .push(&session, &job, function, size, item, self.now);
        }
    }

    fn join(&mut self) {
        let functions = FUNCTIONS.iter().filter(|_| self.dice.below(2) == 0);
        let functions: Vec<_> = functions.map(|name| name.to_string()).collect();
        let functions = (self.dice.below(8) > 0).then_some(functions);
        self.queue.join(self.next_worker, functions, self.now);
        self.workers.insert(self.next_worker, Held::default());
        self.next_worker += 1;
    }

    fn leave(&mut self) {
        let Some(worker) = self.any_worker() else {
            return;
        };
        let leave = [Leave::Died, Leave::Died, Leave::Drained][self.dice.below(3)];
        self.queue.leave(worker, leave, self.now);
        let held = self.workers.remove(&worker).unwrap();
        self.late
            .extend(held.tasks.into_iter().map(|task| (worker, task)));
    }

    fn finish(&mut self) {
        let Some(worker) = self.any_worker() else {
            return;
        };
        let tasks = &mut self.workers.get_mut(&worker).unwrap().tasks;
        if let Some((id, attempt, messages)) = tasks.pop_front() {
            // All of a bundle, or its first messages.
            let count = match self.dice.below(2) {
                0 => messages,
                _ => 1 + self.dice.below(messages),
            };
            if count < messages {
                tasks.push_front((id + count as u64, attempt, messages - count));
            }
            let ran = Duration::from_micros([1, 500, 3_000, 20_000][self.dice.below(4)]);
            let part = (id, count);
            let items = self.queue.finish_part(worker, part, attempt, ran, self.now);
            let items = items.expect("it was still its own");
            assert_eq!(items.count(), count);
            self.end(items);
            self.late.push((worker, (id, attempt, count)));
        }
    }

    /// A worker hands back what it was asked for, unless it is the first, which runs: of a bundle
    /// the first message does.
    fn answer(&mut self) {
        let Some(worker) = self.any_worker() else {
            return;
        };
        let held = self.workers.get_mut(&worker).unwrap();
        let Some(asked) = held.recalls.pop_front() else {
            return;
        };
        let running = held.tasks.pop_front();
        let is_asked = |id: &TaskId| asked.contains(id);
        let unstarted = held.tasks.iter().filter(|(id, ..)| is_asked(id));
        let mut ids: Vec<_> = unstarted.map(|(id, _, count)| (*id, *count)).collect();
        held.tasks.retain(|(id, ..)| !is_asked(id));
        if let Some((id, attempt, count)) = running {
            let yields = count > 1 && is_asked(&id);
            let left = if yields { 1 } else { count };
            held.tasks.push_front((id, attempt, left));
            if yields {
                ids.push((id + 1, count - 1));
            }
        }
        self.hand_back(worker, &ids);
    }

    fn hand_back(&mut self, worker: WorkerId, ids: &[(TaskId, usize)]) {
        let ids: Vec<_> = ids.iter().map(|(id, count)| (*id, Some(*count))).collect();
        self.queue.hand_back(worker, &ids, self.now);
    }

    fn drain(&mut self) {
        let Some(worker) = self.any_worker() else {
            return;
        };
        let held = self.workers.get_mut(&worker).unwrap();
        held.draining = true;
        let first = held.tasks.pop_front();
        let ids = held.tasks.drain(..).map(|(id, _, count)| (id, count));
        let ids: Vec<_> = ids.collect();
        held.tasks.extend(first);
        self.queue.drain(worker, self.now);
        self.hand_back(worker, &ids);
    }

    /// The connection was lost, and with it some tasks.
    fn resume(&mut self) {
        let Some(worker) = self.any_worker() else {
            return;
        };
        let held = self.workers.get_mut(&worker).unwrap();
        held.recalls.clear();
        let most = held.tasks.len() + 1;
        held.tasks.truncate(self.dice.below(most));
        let mut holding: Vec<_> = held.tasks.iter().copied().collect();
        if let Some(last) = holding.last_mut()
            && self.dice.below(2) == 0
        {
            // It has the first messages of the bundle, and not the others.
            last.2 = 1 + self.dice.below(last.2);
        }
        held.tasks = holding.iter().copied().collect();
        let known = |id: &TaskId| holding.iter().any(|(held, ..)| held == id);
        let late = self.late.last().filter(|(_, (id, ..))| !known(id));
        let late = late.map(|(_, task)| *task);
        holding.extend(late);
        self.queue.resume(worker, &holding, self.now);
    }

    fn cancel(&mut self) {
        let job = format!("{}/{}", self.dice.below(3), self.dice.below(2));
        for item in self.queue.cancel([&job].into_iter()) {
            self.end(item);
        }
    }

    /// A result comes from who was given up, or twice.
    fn late(&mut self) {
        if let Some((worker, (id, attempt, count))) = self.late.pop() {
            let part = (id, count);
            let result = self.queue.finish_part(worker, part, attempt, MS, self.now);
            assert_eq!(result, None);
        }
    }

    fn assign(&mut self) {
        let mut orders = Vec::new();
        let deaf = self.deaf;
        // At times hardly any.
        let room = [u64::MAX, u64::MAX, 1_000, 0][self.dice.below(4)];
        let room = |session: &str, _| {
            let reads = deaf & (1 << session.parse::<usize>().unwrap()) == 0;
            reads.then_some(room)
        };
        self.queue.assign(self.now, room, &mut orders);
        for order in orders {
            match order {
                Order::Give {
                    worker,
                    id,
                    attempt,
                } => self.give(worker, id, attempt),
                Order::Recall { worker, ids } => {
                    self.workers
                        .get_mut(&worker)
                        .unwrap()
                        .recalls
                        .push_back(ids);
                }
                Order::GiveUp { item, attempts, .. } => {
                    assert_eq!(attempts, 2);
                    self.end(item);
                }
                Order::NoFunction { item } | Order::Cancelled { item } => self.end(item),
            }
        }
    }

    fn give(&mut self, worker: WorkerId, id: TaskId, attempt: u32) {
        let held = self.workers.get_mut(&worker).unwrap();
        assert!(!held.draining);
        assert!(held.tasks.iter().all(|(other, ..)| *other != id));
        let before: usize = held.tasks.iter().map(|(.., count)| count).sum();
        let count = self.queue.item(id).unwrap().count();
        held.tasks.push_back((id, attempt, count));
        let entry = &self.queue.pool.workers[&worker];
        let credit = entry.pace.credit();
        assert!(before + count <= credit || before < credit && entry.pace.in_a_row() >= count);
        assert!(held.tasks.len() == 1 || entry.bytes <= 100);
        let mut held = held.tasks.iter();
        let suspect = held.any(|(id, ..)| self.queue.tasks[*id].is_suspect());
        assert!(!suspect || entry.given.len() == 1);
    }

    /// All clients read, a worker runs anything, and nothing fails.
    fn finish_all(&mut self) {
        self.deaf = 0;
        self.queue.join(self.next_worker, None, self.now);
        self.workers.insert(self.next_worker, Held::default());
        self.next_worker += 1;
        let mut rounds = 0;
        while self.queue.len() > 0 || !self.queue.due.is_empty() {
            self.assign();
            self.finish();
            self.answer();
            rounds += 1;
            assert!(rounds < 100_000, "{:?}", self.queue);
        }
        for worker in std::mem::take(&mut self.workers).into_keys() {
            self.queue.leave(worker, Leave::Drained, self.now);
        }
    }
}

#[test]
fn each_task_ends_once_and_nothing_is_left_whatever_happens() {
    let mut total = [0; 8];
    for seed in 0..SEEDS {
        let result = std::panic::catch_unwind(|| {
            let mut chaos = Chaos::new(seed);
            (0..120).for_each(|_| chaos.step());
            chaos.finish_all();
            assert!(
                chaos.ended.iter().all(|ends| *ends == 1),
                "{:?}",
                chaos.ended
            );
            chaos.queue.assert_empty();
            chaos.queue.counters()
        });
        let counters = result.unwrap_or_else(|_| panic!("seed {seed}"));
        for (sum, count) in total.iter_mut().zip(all(&counters)) {
            *sum += count;
        }
    }
    assert!(total.iter().all(|sum| *sum > SEEDS / 3), "{total:?}");
}

/// What is to have happened.
fn all(counters: &Counters) -> [u64; 8] {
    [
        counters.finished,
        counters.redelivered,
        counters.fenced,
        counters.given_up,
        counters.no_function,
        counters.handed_back,
        counters.recalled,
        counters.cancelled,
    ]
}
