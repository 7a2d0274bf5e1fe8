//! What is asked back from workers: what was cancelled, what is of clients that do not read, and what
//! waits behind a busy worker while another that could run it has nothing to do.

use std::time::{Duration, Instant};

use super::pool::{Kind, KindId, Recall, Worker};
use super::{Order, Queue, Task, TaskId, WorkerId};
use crate::core::divide::Divide;

/// A recall takes a message there and back: it is worth while when the newest task at a worker
/// will wait for so long.
const WORTH: Duration = Duration::from_millis(1);

/// What was found for idle workers.
enum Found {
    /// It has the most to do.
    Busy(WorkerId),
    /// Nobody has much to do, as far as that is known now.
    Little,
    Nothing,
}

impl<T: Divide> Queue<T> {
    pub(super) fn recall(&mut self, now: Instant, orders: &mut Vec<Order<T>>) {
        self.recall_unwanted(orders);
        self.look_again = None;
        if self.pool.deep.is_empty() {
            return;
        }
        let kinds: Vec<_> = self.pool.kinds.keys().copied().collect();
        for kind in kinds {
            while self.pool.kinds[&kind].wants_more() {
                let Some(at) = self.pool.kinds[&kind].look_at else {
                    break;
                };
                if at > now {
                    self.look_again = self.look_again.into_iter().chain([at]).min();
                    break;
                }
                match self.find_busy(&self.pool.kinds[&kind], now) {
                    Found::Busy(worker) => self.recall_from(worker, kind, orders),
                    Found::Little => self.pool.kind(kind).look_at = Some(now + WORTH),
                    Found::Nothing => self.pool.kind(kind).look_at = None,
                }
            }
        }
    }

    /// The client of a session does not read what has come of its tasks: so of those that workers have
    /// not begun, nothing is to come for now.
    pub(crate) fn call_back(&mut self, session: &str) {
        let Some(number) = self.sessions.number_of(session) else {
            return;
        };
        let session = &self.sessions[number];
        if session.tasks == session.waiting {
            return;
        }
        for (id, worker) in &mut self.pool.workers {
            // To one on the pylm wire, nobody can say so.
            if worker.pace.fixed().is_some() {
                continue;
            }
            let given = worker.given.iter().map(|(_, id)| *id).enumerate();
            let begun = |place, task: &Task<T>| place == 0 && task.count == 1;
            let own = given.filter(|(place, id)| {
                let task = &self.tasks[*id];
                task.session == number && !begun(*place, task)
            });
            let own: Vec<_> = own.map(|(_, id)| id).collect();
            if !own.is_empty() {
                self.cancelling.insert(*id);
                worker.unwanted.extend(&own);
                self.called_back.entry(number).or_default().extend(own);
            }
        }
    }

    fn recall_unwanted(&mut self, orders: &mut Vec<Order<T>>) {
        let workers = std::mem::take(&mut self.cancelling);
        for id in workers {
            let worker = self.pool.worker(id);
            if worker.recall.is_some() {
                // One at a time.
                self.cancelling.insert(id);
                continue;
            }
            let ids = std::mem::take(&mut worker.unwanted);
            if !ids.is_empty() {
                self.open_recall(id, None, ids.into_iter().collect(), orders);
            }
        }
    }

    /// The worker with the most to do, of those with something that such a worker could run.
    fn find_busy(&self, kind: &Kind, now: Instant) -> Found {
        let mut found = Found::Nothing;
        let mut longest = Duration::ZERO;
        for worker in &self.pool.deep {
            let entry = &self.pool.workers[worker];
            let wait = entry.expected_wait(now);
            let could = |task| self.could_run(kind, task);
            let can_give =
                entry.unstarted().any(could) || self.rest_of_bundle(entry, kind).is_some();
            if wait < longest || !can_give {
                continue;
            }
            if wait < WORTH {
                found = Found::Little;
            } else if wait > longest {
                longest = wait;
                found = Found::Busy(*worker);
            }
        }
        found
    }

    /// The bundle that a worker runs, if that is all it has, and such a worker could run it: what it
    /// has not begun of it can be asked back.
    fn rest_of_bundle(&self, worker: &Worker, kind: &Kind) -> Option<TaskId> {
        let only = worker.only().filter(|id| self.tasks[*id].count > 1);
        only.filter(|id| self.could_run(kind, *id))
    }

    fn could_run(&self, kind: &Kind, id: TaskId) -> bool {
        let task = &self.tasks[id];
        !task.cancelled && kind.has(task.function)
    }

    /// Asks a worker for the newer half of what it has not begun.
    fn recall_from(&mut self, worker: WorkerId, id: KindId, orders: &mut Vec<Order<T>>) {
        let kind = &self.pool.kinds[&id];
        let entry = &self.pool.workers[&worker];
        let half = entry.given.len().saturating_sub(1).div_ceil(2);
        let could = entry.unstarted().filter(|task| self.could_run(kind, *task));
        let mut ids: Vec<_> = could.take(half).collect();
        if ids.is_empty() {
            ids.extend(self.rest_of_bundle(entry, kind));
        }
        self.pool.kind(id).recalls += 1;
        self.open_recall(worker, Some(id), ids, orders);
    }

    fn open_recall(
        &mut self,
        worker: WorkerId,
        kind: Option<KindId>,
        ids: Vec<TaskId>,
        orders: &mut Vec<Order<T>>,
    ) {
        let messages = ids.iter().map(|id| self.tasks[*id].count as u64);
        self.counters.recalled += messages.sum::<u64>();
        self.pool.worker(worker).recall = Some(Recall {
            ids: ids.iter().copied().collect(),
            kind,
        });
        self.pool.refresh(worker);
        orders.push(Order::Recall { worker, ids });
    }

    /// A worker has answered, or cannot any more.
    pub(super) fn close_recall(&mut self, worker: WorkerId, now: Instant) {
        let Some(recall) = self.pool.worker(worker).recall.take() else {
            return;
        };
        self.pool.refresh(worker);
        for (id, kind) in &mut self.pool.kinds {
            kind.recalls -= usize::from(recall.kind == Some(*id));
            kind.look_at.get_or_insert(now);
        }
    }
}
