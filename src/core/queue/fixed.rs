//! A worker that stands for several whose doings cannot be told apart: it has as much credit as
//! it is given, and nothing is asked back from it.

use std::time::Instant;

use super::{Queue, Ran, Takes, TaskId, WorkerId};
use crate::core::divide::Divide;

impl<T: Divide> Queue<T> {
    /// It has come, and may hold so many tasks, and bytes.
    pub(crate) fn join_fixed(
        &mut self,
        worker: WorkerId,
        tasks: usize,
        bytes: usize,
        now: Instant,
    ) {
        self.join(worker, None, now);
        self.set_credit(worker, tasks, bytes);
    }

    /// Which bundles a worker is given.
    pub(crate) fn set_takes(&mut self, worker: WorkerId, takes: Takes) {
        if let Some(known) = self.pool.workers.get_mut(&worker) {
            known.takes = takes;
        }
    }

    /// It may hold so many tasks, and bytes, from now on.
    pub(crate) fn set_credit(&mut self, worker: WorkerId, tasks: usize, bytes: usize) {
        if let Some(known) = self.pool.workers.get_mut(&worker) {
            known.pace.fix(tasks, bytes);
            known.full = false;
            self.pool.refresh(worker);
        }
    }

    /// Whether there is something for it that was more, by bytes, than it may hold.
    pub(crate) fn is_held_up(&self, worker: WorkerId) -> bool {
        self.pool
            .workers
            .get(&worker)
            .is_some_and(|known| known.full)
    }

    /// It has finished a task, at whatever attempt. Gives what was kept of it, wherever it is
    /// now, unless it is finished.
    pub(crate) fn finish_any(
        &mut self,
        worker: WorkerId,
        id: TaskId,
        ran: impl Into<Ran>,
        now: Instant,
    ) -> Option<T> {
        let Some(task) = self.tasks.get(id) else {
            self.counters.fenced += 1;
            return None;
        };
        let attempt = task.attempt;
        match task.given.map(|given| given.worker) {
            Some(at) if at == worker => return self.finish(worker, id, attempt, ran, now),
            Some(other) => {
                self.take_from_worker(id, now);
                self.pool.refresh(other);
            }
            None => self.dequeue(id),
        }
        self.counters.finished += self.tasks[id].count as u64;
        Some(self.forget(id))
    }

    /// The jobs of a session are not wanted any more: see [`cancel`](Self::cancel).
    pub(crate) fn cancel_session(&mut self, session: &str) -> Vec<T> {
        let Some(session) = self.sessions.number_of(session) else {
            return Vec::new();
        };
        let count = self.sessions[session].tasks;
        self.cancel_all(count, |task| task.session == session)
    }
}
