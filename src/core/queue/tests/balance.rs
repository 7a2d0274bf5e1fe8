//! Workers that run their tasks one by one, messages that take their time, and a clock that
//! is set.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use super::*;

/// How long a message is on its way.
const LATENCY: Duration = Duration::from_micros(100);

enum Event {
    Given(TaskId, u32),
    Recalled(Vec<TaskId>),
    Ran,
    Finished(TaskId, u32, Duration),
    HandedBack(Vec<TaskId>),
    Deadline,
}

#[derive(Default)]
struct Runner {
    slowness: u32,
    waiting: VecDeque<(TaskId, u32)>,
    runs: Option<(TaskId, u32)>,
}

struct Simulation {
    world: World,
    runners: Vec<Runner>,
    durations: Vec<Duration>,
    events: BinaryHeap<Reverse<(Instant, usize)>>,
    /// By number, with the worker.
    what: Vec<Option<(WorkerId, Event)>>,
    woken: Option<Instant>,
}

impl Simulation {
    /// How long it takes to run all, by workers of which each takes so many times as long.
    fn run(durations: Vec<Duration>, slowness: &[u32]) -> Duration {
        let mut world = World::new();
        (0..durations.len()).for_each(|item| _ = world.push("session", item as u32));
        world.join(0..slowness.len() as u64);
        let start = world.now;
        let runner = |slowness: &u32| Runner {
            slowness: *slowness,
            ..Runner::default()
        };
        let mut simulation = Self {
            world,
            runners: slowness.iter().map(runner).collect(),
            durations,
            events: BinaryHeap::new(),
            what: Vec::new(),
            woken: None,
        };
        simulation.assign();
        while let Some(Reverse((at, number))) = simulation.events.pop() {
            simulation.world.now = at;
            let (worker, event) = simulation.what[number].take().unwrap();
            simulation.on(worker, event);
            if simulation.world.queue.len() == 0 {
                break;
            }
        }
        assert_eq!(simulation.world.queue.len(), 0);
        simulation.world.now - start
    }

    fn after(&mut self, by: Duration, worker: WorkerId, event: Event) {
        let at = self.world.now + by;
        self.events.push(Reverse((at, self.what.len())));
        self.what.push(Some((worker, event)));
    }

    fn on(&mut self, worker: WorkerId, event: Event) {
        let now = self.world.now;
        let runner = &mut self.runners[worker as usize];
        match event {
            Event::Given(id, attempt) => {
                runner.waiting.push_back((id, attempt));
                self.start(worker);
            }
            Event::Recalled(mut ids) => {
                ids.retain(|id| runner.waiting.iter().any(|(held, _)| held == id));
                runner.waiting.retain(|(id, _)| !ids.contains(id));
                self.after(LATENCY, worker, Event::HandedBack(ids));
            }
            Event::Ran => {
                let (id, attempt) = runner.runs.take().unwrap();
                let ran = self.duration(worker, id);
                self.after(LATENCY, worker, Event::Finished(id, attempt, ran));
                self.start(worker);
            }
            Event::Finished(id, attempt, ran) => {
                let queue = &mut self.world.queue;
                assert!(queue.finish(worker, id, attempt, ran, now).is_some());
                self.assign();
            }
            Event::HandedBack(ids) => {
                let ids: Vec<_> = ids.into_iter().map(|id| (id, Some(1))).collect();
                self.world.queue.hand_back(worker, &ids, now);
                self.assign();
            }
            Event::Deadline => self.assign(),
        }
    }

    fn duration(&self, worker: WorkerId, id: TaskId) -> Duration {
        self.durations[id as usize] * self.runners[worker as usize].slowness
    }

    fn start(&mut self, worker: WorkerId) {
        let runner = &mut self.runners[worker as usize];
        if runner.runs.is_none() {
            runner.runs = runner.waiting.pop_front();
            if let Some((id, _)) = runner.runs {
                self.after(self.duration(worker, id), worker, Event::Ran);
            }
        }
    }

    fn assign(&mut self) {
        for order in self.world.assign() {
            match order {
                Order::Give {
                    worker,
                    id,
                    attempt,
                } => self.after(LATENCY, worker, Event::Given(id, attempt)),
                Order::Recall { worker, ids } => {
                    self.after(LATENCY, worker, Event::Recalled(ids));
                }
                other => panic!("{other:?}"),
            }
        }
        let deadline = self.world.queue.next_deadline();
        if deadline.is_some() && deadline != self.woken {
            let by = deadline.map(|at| at.saturating_duration_since(self.world.now));
            self.after(by.unwrap(), 0, Event::Deadline);
        }
        self.woken = deadline;
    }
}

#[track_caller]
fn assert_near(took: Duration, ideal: Duration, ratio: f64) {
    let is = took.as_secs_f64() / ideal.as_secs_f64();
    assert!(is <= ratio, "{took:?} of ideally {ideal:?}: {is:.3}");
}

#[test]
fn long_tasks_among_short_ones_are_shared_by_two_workers() {
    let durations: Vec<_> = (0..200)
        .map(|item| MS * if item % 2 == 0 { 0 } else { 50 })
        .collect();
    assert_near(Simulation::run(durations, &[1, 1]), 2_500 * MS, 1.05);
}

#[test]
fn a_slow_worker_gets_only_as_much_as_it_can_do() {
    let took = Simulation::run(vec![MS; 10_000], &[1, 1, 1, 10]);
    assert_near(took, Duration::from_secs_f64(10.0 / 3.1), 1.1);
}

#[test]
fn long_tasks_after_many_short_ones_are_shared_although_one_worker_was_given_them() {
    let short = vec![Duration::from_micros(5); 4_000];
    let durations = [short, vec![20 * MS; 200]].concat();
    assert_near(Simulation::run(durations, &[1, 1, 1, 1]), 1_005 * MS, 1.1);
}

#[test]
fn rare_long_tasks_do_not_hold_up_short_ones() {
    let duration = |item: u32| {
        if item.is_multiple_of(100) {
            200 * MS
        } else {
            MS / 10
        }
    };
    let durations: Vec<_> = (0..4_000).map(duration).collect();
    let ideal = durations.iter().sum::<Duration>() / 4;
    assert_near(Simulation::run(durations, &[1, 1, 1, 1]), ideal, 1.1);
}

#[test]
fn short_tasks_hide_the_latency() {
    let took = Simulation::run(vec![Duration::from_micros(1); 100_000], &[1]);
    assert_near(took, 100 * MS, 1.1);
}
