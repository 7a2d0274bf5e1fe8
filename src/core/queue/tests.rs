mod balance;
mod losses;
mod random;
mod rules;

use super::*;

const MS: Duration = Duration::from_millis(1);

/// A queue of numbers, and the orders that it gave.
struct World {
    queue: Queue<u32>,
    now: Instant,
    /// Sessions that do not read.
    deaf: Vec<&'static str>,
    asked: usize,
    /// How much may come of the tasks of the others.
    room: u64,
}

impl World {
    fn new() -> Self {
        Self {
            queue: Queue::new(Settings::default()),
            now: Instant::now(),
            deaf: Vec::new(),
            asked: 0,
            room: u64::MAX,
        }
    }

    fn push(&mut self, session: &str, item: u32) -> TaskId {
        self.push_for(session, "work", item)
    }

    fn push_for(&mut self, session: &str, function: &str, item: u32) -> TaskId {
        let job = format!("{session}'s job");
        self.queue.push(session, &job, function, 10, item, self.now)
    }

    fn join(&mut self, workers: impl IntoIterator<Item = WorkerId>) {
        for worker in workers {
            self.queue.join(worker, None, self.now);
        }
    }

    fn join_with(&mut self, worker: WorkerId, functions: &[&str]) {
        let functions = functions.iter().map(|name| name.to_string()).collect();
        self.queue.join(worker, Some(functions), self.now);
    }

    fn assign(&mut self) -> Vec<Order<u32>> {
        let mut orders = Vec::new();
        let (deaf, asked, bytes) = (&self.deaf, &mut self.asked, self.room);
        let room = |session: &str, _| {
            *asked += 1;
            (!deaf.contains(&session)).then_some(bytes)
        };
        self.queue.assign(self.now, room, &mut orders);
        orders
    }

    /// What each order gives, when they only give: the worker and the item.
    fn given(&mut self) -> Vec<(WorkerId, u32)> {
        let orders = self.assign();
        let given = orders.iter().map(|order| match order {
            Order::Give { worker, id, .. } => (*worker, *self.queue.item(*id).unwrap()),
            other => panic!("{other:?}"),
        });
        given.collect()
    }

    /// A worker finishes what it was given first.
    fn finish(&mut self, worker: WorkerId, ran: impl Into<Ran>) -> Option<u32> {
        let (id, attempt) = self.held(worker)[0];
        self.queue.finish(worker, id, attempt, ran, self.now)
    }

    fn held(&self, worker: WorkerId) -> Vec<(TaskId, u32)> {
        let given = self.queue.pool.workers[&worker]
            .given
            .iter()
            .map(|(_, id)| id);
        given
            .map(|id| (*id, self.queue.tasks[*id].attempt))
            .collect()
    }

    fn credit(&self, worker: WorkerId) -> usize {
        self.queue.pool.workers[&worker].pace.credit()
    }

    /// Finishes everything, in the order in which it runs.
    fn finish_all(&mut self, worker: WorkerId) -> Vec<u32> {
        let mut items = Vec::new();
        loop {
            self.assign();
            if self.held(worker).is_empty() {
                return items;
            }
            items.extend(self.finish(worker, MS));
        }
    }

    fn leave(&mut self, worker: WorkerId, leave: Leave) {
        self.queue.leave(worker, leave, self.now);
    }
}

impl<T: Divide> Queue<T> {
    /// Nothing is kept for what is finished, has left or is empty.
    fn assert_empty(&self) {
        assert_eq!((self.len(), self.bytes(), self.loose_bytes()), (0, 0, 0));
        assert_eq!(self.coming, 0);
        assert!(self.sessions.is_empty() && self.jobs.is_empty() && self.functions.is_empty());
        assert!(self.pool.is_empty(), "{:?}", self.pool);
        assert!(self.suspects.is_empty() && self.stopped.is_empty() && self.ends.is_empty());
        assert!(self.cancelling.is_empty() && self.due.is_empty() && self.called_back.is_empty());
    }

    /// What is kept twice is the same twice.
    fn assert_sound(&self) {
        let mut waiting = 0;
        for number in self.sessions.numbers() {
            let session = &self.sessions[number];
            let lines = session.lines.values();
            let waits =
                lines.flat_map(|line| line.normal.iter().chain(line.suspects.iter().copied()));
            let len: usize = waits.map(|id| self.tasks[id].count).sum();
            assert_eq!(len, session.waiting);
            assert_eq!(session.stopped, self.stopped.contains(&number));
            let suspects = session.suspects();
            let mut known = suspects.map(|suspect| self.suspects.contains(&suspect));
            assert!(known.all(|known| known != session.stopped));
            waiting += len;
            for (id, kind) in &self.pool.kinds {
                let belongs = !session.stopped && session.oldest_for(kind).is_some();
                let turn = session.turns.get(id);
                assert_eq!(turn.is_some(), belongs);
                assert!(turn.is_none_or(|turn| kind.ring.has(number, *turn)));
            }
        }
        let to_come = |(_, task): (TaskId, &Task<T>)| {
            let given = task.given?;
            Some((task.session, given.to_come * task.count as u64))
        };
        let to_come: Vec<_> = self.tasks.iter().filter_map(to_come).collect();
        assert_eq!(
            to_come.iter().map(|(_, bytes)| bytes).sum::<u64>(),
            self.coming
        );
        for number in self.sessions.numbers() {
            let own = to_come.iter().filter(|(session, _)| *session == number);
            assert_eq!(
                own.map(|(_, bytes)| bytes).sum::<u64>(),
                self.sessions[number].coming
            );
        }
        for (number, tasks) in &self.called_back {
            assert!(self.sessions.contains(*number) && !tasks.is_empty());
            for id in tasks {
                let task = &self.tasks[*id];
                assert!(task.given.is_some() && task.session == *number);
            }
        }
        let loose = self.tasks.iter().filter(|(_, task)| !task.is_tracked);
        let loose: usize = loose.map(|(_, task)| task.size).sum();
        assert_eq!(loose, self.loose_bytes);
        let workers = self.pool.workers.values();
        let given: usize = workers.map(|worker| worker.held).sum();
        assert_eq!(waiting + given, self.tasks.messages());
        assert!(
            self.tasks
                .iter()
                .all(|(_, task)| task.item.count() == task.count)
        );
        for (id, worker) in &self.pool.workers {
            let size = |task: &TaskId| self.tasks[*task].size;
            assert_eq!(
                worker
                    .given
                    .iter()
                    .map(|(_, id)| id)
                    .map(size)
                    .sum::<usize>(),
                worker.bytes
            );
            assert!(worker.given.iter().all(|(_, task)| self.is_at(*task, *id)));
            let held = worker.given.iter().map(|(_, id)| self.tasks[*id].count);
            assert_eq!(held.sum::<usize>(), worker.held);
        }
        self.pool.assert_sound();
    }
}
