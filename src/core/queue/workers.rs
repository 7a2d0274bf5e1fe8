//! Workers come, leave, hand back and come back.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use super::{Leave, Order, Queue, SUSPECT, TaskId, WorkerId};
use crate::core::divide::Divide;

impl<T: Divide> Queue<T> {
    /// A worker has come, which has these functions; without any named, it runs whatever comes.
    /// If it was here already, it has been started again, and knows of nothing.
    pub(crate) fn join(&mut self, worker: WorkerId, functions: Option<Vec<String>>, now: Instant) {
        self.leave(worker, Leave::Died, now);
        let functions = functions.map(|names| {
            let names = BTreeSet::from_iter(names);
            let numbers = names.iter().map(|name| self.use_function(name, now));
            numbers.collect::<BTreeSet<_>>()
        });
        let used = functions.clone().unwrap_or_default();
        let (kind, is_new) = self.pool.join(worker, functions, &self.settings, now);
        if is_new {
            self.add_kind(kind, now);
        } else {
            self.unuse_functions(&used);
        }
    }

    /// A worker's connection is lost, or it is back. Meanwhile it is given nothing: if it is dead,
    /// that would be taken for what killed it.
    pub(crate) fn set_away(&mut self, worker: WorkerId, away: bool) {
        if self.pool.workers.contains_key(&worker) && !planted!(GivenWhileAway) {
            self.pool.set_away(worker, away);
        }
    }

    /// A worker has left. What it has not finished is the first to run again.
    pub(crate) fn leave(&mut self, worker: WorkerId, leave: Leave, now: Instant) {
        if !self.pool.workers.contains_key(&worker) {
            return;
        }
        self.close_recall(worker, now);
        self.retire(worker, now);
        let Some(lost) = self.pool.workers.remove(&worker) else {
            return;
        };
        self.cancelling.remove(&worker);
        for (place, id) in lost.given.into_iter().map(|(_, id)| id).enumerate() {
            self.not_given(id);
            let task = self.task(id);
            let ran_alone = task.count == 1;
            if leave == Leave::Died && !planted!(SuspectNotCharged) {
                task.losses += 1;
                task.deaths += u32::from(place == 0 && ran_alone);
            }
            let is_suspect = place == 0 && leave == Leave::Died || task.is_suspect();
            if is_suspect && !ran_alone {
                self.suspect_all_of(id, worker);
            } else {
                self.redeliver(id, worker);
            }
        }
    }

    /// Workers died that had this bundle, or one that ran it. Which of its messages killed them, if
    /// one did, is known when each runs alone.
    fn suspect_all_of(&mut self, id: TaskId, worker: WorkerId) {
        let task = self.task(id);
        task.losses = task.losses.max(SUSPECT);
        let count = task.count as u64;
        // Waits as one at first, so that its parts do.
        self.enqueue(id);
        self.scatter(id);
        for id in id..id + count {
            self.dequeue(id);
            self.redeliver(id, worker);
        }
    }

    /// A task that a worker had is to run elsewhere, if it may.
    fn redeliver(&mut self, id: TaskId, worker: WorkerId) {
        let most = self.settings.max_attempts;
        let task = self.task(id);
        let attempts = task.deaths;
        if task.cancelled {
            self.drop_cancelled(id);
        } else if attempts > 0 && attempts >= most {
            let item = self.forget(id);
            self.counters.given_up += 1;
            self.due.push(Order::GiveUp {
                item,
                attempts,
                worker,
            });
        } else {
            self.counters.redelivered += task.count as u64;
            self.enqueue(id);
        }
    }

    /// A worker is to get nothing more: it will hand back what it has not begun, and leave.
    pub(crate) fn drain(&mut self, worker: WorkerId, now: Instant) {
        if self.pool.workers.contains_key(&worker) {
            self.close_recall(worker, now);
            self.retire(worker, now);
        }
    }

    /// A worker is of no kind any more.
    fn retire(&mut self, worker: WorkerId, now: Instant) {
        if let Some((id, kind)) = self.pool.retire(worker) {
            self.remove_kind(id, &kind, now);
        }
    }

    /// A worker will not run these, because it was asked for them or wants to leave: each of so
    /// many messages, or all that it is.
    pub(crate) fn hand_back(
        &mut self,
        worker: WorkerId,
        ids: &[(TaskId, Option<usize>)],
        now: Instant,
    ) {
        if !self.pool.workers.contains_key(&worker) {
            self.counters.strays += ids.len() as u64;
            return;
        }
        for &(id, count) in ids {
            // It has begun with the messages before it, and has not told of them.
            self.begin_at(id, worker);
            let is_there =
                self.is_at(id, worker) && count.is_none_or(|count| self.isolate(id, count));
            if !is_there {
                self.counters.strays += 1;
                continue;
            }
            self.counters.handed_back += self.tasks[id].count as u64;
            self.take_back(id, now);
        }
        self.close_recall(worker, now);
        self.pool.refresh(worker);
    }

    /// A task that its worker has not begun waits again, if it is still wanted.
    fn take_back(&mut self, id: TaskId, now: Instant) {
        self.take_from_worker(id, now);
        match self.task(id).cancelled {
            true => self.drop_cancelled(id),
            false => self.enqueue(id),
        }
    }

    /// A worker that has connected again says what it holds, each with its attempt, and how many
    /// messages it is: what it does not, it has lost. A recall that was open may be lost, too.
    pub(crate) fn resume(
        &mut self,
        worker: WorkerId,
        holding: &[(TaskId, u32, usize)],
        now: Instant,
    ) {
        let Some(entry) = self.pool.workers.get(&worker) else {
            return;
        };
        let mut given: VecDeque<_> = entry.given.iter().map(|(_, id)| *id).collect();
        let held = holding
            .iter()
            .map(|(id, attempt, count)| ((*id, *attempt), *count));
        let mut held = BTreeMap::from_iter(held);
        let mut unwanted = BTreeSet::new();
        while let Some(id) = given.pop_front() {
            let Some(task) = self.tasks.get(id) else {
                continue; // Cannot be: what a worker has is not finished.
            };
            let of_task = held.remove(&(id, task.attempt));
            let of_task = of_task.filter(|count| *count <= task.count);
            if let Some(count) = of_task.filter(|count| *count < task.count) {
                // It has begun with a bundle, or has lost the rest of it.
                given.push_front(self.divide(id, count.max(1)));
            }
            if of_task.is_some() {
                unwanted.extend(self.tasks[id].cancelled.then_some(id));
            } else {
                self.take_from_worker(id, now);
                self.redeliver(id, worker);
            }
        }
        if !unwanted.is_empty() {
            self.pool.worker(worker).unwanted = unwanted;
            self.cancelling.insert(worker);
        }
        self.close_recall(worker, now);
        self.pool.refresh(worker);
        if !held.is_empty() {
            let ids = held.into_keys().map(|(id, _)| id).collect();
            self.due.push(Order::Recall { worker, ids });
        }
    }
}
