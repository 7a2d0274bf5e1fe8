//! Who gets what: suspects first, then the sessions in turn.

use std::collections::BTreeSet;
use std::time::Instant;

use super::pool::KindId;
use super::{Given, Order, Queue, SessionId, Takes, Task, TaskId, WorkerId};
use crate::core::divide::Divide;

/// So many tasks of a session are many.
const MANY: usize = 16;

/// So many bytes may come of a message of a function that has not run yet, as far as one can tell.
const UNKNOWN: u64 = 1 << 20;

impl<T: Divide> Queue<T> {
    /// Gives the orders that follow from what was told and from the time. `room` says how many bytes may
    /// come of the tasks of a session, if anything may, while so many are to come of all that workers
    /// have.
    pub(crate) fn assign(
        &mut self,
        now: Instant,
        mut room: impl FnMut(&str, u64) -> Option<u64>,
        orders: &mut Vec<Order<T>>,
    ) {
        self.pool.refresh_all();
        orders.append(&mut self.due);
        self.expire(now, orders);
        self.ask_again(false, &mut room);
        self.give_all(now, &mut room, orders);
        // With nothing else to do, there is time to ask everybody.
        if !self.stopped.is_empty() && self.pool.kinds.values().any(|kind| kind.has_free()) {
            self.ask_again(true, &mut room);
            self.give_all(now, &mut room, orders);
        }
        self.recall(now, orders);
    }

    /// When `assign` is to be called, if nothing happens until then.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let end = self.ends.first().map(|(end, _)| *end);
        end.into_iter().chain(self.look_again).min()
    }

    fn give_all(
        &mut self,
        now: Instant,
        room: &mut impl FnMut(&str, u64) -> Option<u64>,
        orders: &mut Vec<Order<T>>,
    ) {
        self.give_suspects(now, room, orders);
        while let Some(&(_, kind)) = self.pool.ready.first() {
            let entry = &self.pool.kinds[&kind];
            let Some((worker, session)) = entry.next() else {
                break;
            };
            let Some(id) = self.sessions[session].oldest_for(entry) else {
                break;
            };
            let worker = self.last_if_quick(session, kind).unwrap_or(worker);
            let has_room = self.has_room(worker, self.tasks[id].size, now);
            let Some(most) = self.may_run(id, room) else {
                continue;
            };
            if has_room {
                self.give_some((id, most), kind, worker, now, orders);
            } else {
                self.pool.worker(worker).full = true;
                self.pool.refresh(worker);
            }
        }
    }

    /// How many messages of the session of a task may run, if any may. If not, it is stopped.
    fn may_run(
        &mut self,
        id: TaskId,
        room: &mut impl FnMut(&str, u64) -> Option<u64>,
    ) -> Option<usize> {
        let most = self.most_of(id, room);
        if most.is_none() {
            self.stop(self.tasks[id].session);
        }
        most
    }

    /// How many messages such as a task may run: as many as there is room for what comes of them, and one
    /// for each worker.
    pub(super) fn most_of(
        &self,
        id: TaskId,
        room: &mut impl FnMut(&str, u64) -> Option<u64>,
    ) -> Option<usize> {
        let number = self.tasks[id].session;
        if self.called_back.contains_key(&number) {
            return None;
        }
        let bytes = room(self.sessions.name(number), self.coming)?;
        let session = &self.sessions[number];
        let left = bytes.saturating_sub(session.coming) / self.expected(id);
        let given = session.tasks - session.waiting;
        let has_idle = given < self.pool.workers.len();
        let most = usize::try_from(left).unwrap_or(usize::MAX);
        Some(most.max(usize::from(has_idle))).filter(|most| *most > 0)
    }

    /// How many bytes come of each message of a task, as far as one can tell: at least 1. (What comes of a
    /// function may be large for some, and small for others.)
    fn expected(&self, id: TaskId) -> u64 {
        let task = &self.tasks[id];
        let of_function = self.functions[task.function].made.rather_known();
        let of_session = self.sessions[task.session].made.rather_known();
        let own = (task.size / task.count) as u64;
        of_function
            .max(of_session)
            .unwrap_or(UNKNOWN)
            .max(own)
            .max(1)
    }

    /// Where many tasks wait that take no time, they are for the worker that has had some last: so as
    /// few wake up as can do it all.
    fn last_if_quick(&self, session: SessionId, kind: KindId) -> Option<WorkerId> {
        if self.sessions[session].waiting < MANY {
            return None;
        }
        let last = self.pool.kinds[&kind].last();
        last.filter(|worker| self.pool.workers[worker].pace.is_quick())
    }

    /// Whether a worker may have one more: not if it has many bytes already, or if it has been
    /// at one task for so long that what it was given ahead should have been done.
    fn has_room(&self, worker: WorkerId, size: usize, now: Instant) -> bool {
        let worker = &self.pool.workers[&worker];
        let elapsed = now.saturating_duration_since(worker.since);
        if let Some(bytes) = worker.pace.fixed() {
            return worker.given.is_empty() || worker.bytes.saturating_add(size) <= bytes;
        }
        worker.given.is_empty()
            || (worker.bytes.saturating_add(size) <= self.settings.most_bytes
                && elapsed <= self.settings.ahead)
    }

    /// Gives a worker a task, and those after it of the same session if they take no time: as many
    /// as other free workers would not go without, or as few as they need not wake up for.
    fn give_some(
        &mut self,
        (id, may_run): (TaskId, usize),
        kind: KindId,
        worker: WorkerId,
        now: Instant,
        orders: &mut Vec<Order<T>>,
    ) {
        let Task {
            session, function, ..
        } = self.tasks[id];
        let in_a_row = self.pool.workers[&worker].pace.in_a_row();
        let most = self.pool.kinds[&kind].ring.left_of_turn(session, in_a_row);
        let share = self.sessions[session].waiting / self.pool.kinds[&kind].free().max(1);
        let few = self.functions[function].time.while_one_wakes();
        let most = match self.pool.kinds[&kind].ring.len() {
            ..=1 => most.max(few), // Nobody else has a turn.
            _ => most,
        };
        let most = most.min(may_run);
        let begin = orders.len();
        let first = share.max(few).min(may_run);
        let mut given = self.give_first_of(id, first, worker, now, orders);
        while given < most
            && let Some(id) = self.sessions[session].oldest_for(&self.pool.kinds[&kind])
            && let next = &self.tasks[id]
            && let upto = if next.function == function {
                share.max(few)
            } else {
                share
            }
            && let upto = upto.min(may_run)
            && given + next.count.div_ceil(2) <= upto
            && self.pool.workers[&worker].has_place()
            && self.has_room(worker, next.size, now)
        {
            given += self.give_first_of(id, upto - given, worker, now, orders);
        }
        self.settle(worker, &orders[begin..], now);
        self.rotate(session, kind, given, in_a_row);
    }

    /// Gives a worker as much of a task as it may have, but no more than `most` messages: one at
    /// the least. (A bundle that is done in no time may be twice as many, or more than its turn, or
    /// its credit: to take it apart costs more than that is worth.) Gives how many that were.
    fn give_first_of(
        &mut self,
        id: TaskId,
        most: usize,
        worker: WorkerId,
        now: Instant,
        orders: &mut Vec<Order<T>>,
    ) -> usize {
        let Task {
            count,
            function,
            ref item,
            ..
        } = self.tasks[id];
        if count > 1 {
            let entry = &self.pool.workers[&worker];
            let at_once = entry.pace.in_a_row();
            let at_once = at_once.min(self.functions[function].time.in_a_row());
            let most = match entry.takes {
                Takes::Bundles if at_once >= count && most >= count.div_ceil(2) => count,
                Takes::Bundles if at_once >= count => most,
                Takes::Bundles => most.min(at_once).min(entry.places()),
                Takes::Loose if !item.is_tracked() => most.min(entry.places()),
                Takes::Loose | Takes::Singles => 1,
            };
            match most {
                0 | 1 => self.scatter(id),
                _ if most < count => drop(self.divide(id, most)),
                _ => {}
            }
        }
        let count = self.tasks[id].count;
        self.give(id, worker, now, orders);
        count
    }

    /// Gives a task; `settle` is to be called after that.
    fn give(&mut self, id: TaskId, worker: WorkerId, now: Instant, orders: &mut Vec<Order<T>>) {
        self.dequeue(id);
        let turn = self.next_turn;
        let to_come = self.expected(id);
        let task = self.task(id);
        task.attempt += 1;
        task.given = Some(Given {
            worker,
            turn,
            to_come,
        });
        let (attempt, count, size) = (task.attempt, task.count, task.size);
        let (session, to_come) = (task.session, to_come.saturating_mul(count as u64));
        self.sessions[session].coming += to_come;
        self.coming += to_come;
        // So that each message of a bundle has a turn, if it is taken apart.
        self.next_turn += count as u64;
        self.pool.gave(worker, turn, (id, count), size, now);
        orders.push(Order::Give {
            worker,
            id,
            attempt,
        });
    }

    /// Puts a worker where it belongs after it was given these. What it has ahead now, those
    /// workers might want that could run it too.
    fn settle(&mut self, worker: WorkerId, given: &[Order<T>], now: Instant) {
        self.pool.refresh(worker);
        if !self.pool.deep.contains(&worker) {
            return;
        }
        let mut before = None;
        for order in given {
            let Order::Give { id, .. } = order else {
                continue;
            };
            let function = self.tasks[*id].function;
            if before.replace(function) != Some(function) {
                for &kind in &*self.functions[function].kinds {
                    self.pool.kind(kind).look_at.get_or_insert(now);
                }
            }
        }
    }

    /// Gives suspects to workers that hold nothing, which get nothing else. If there is none,
    /// one worker is kept until it holds nothing: others may be busy for ever.
    fn give_suspects(
        &mut self,
        now: Instant,
        room: &mut impl FnMut(&str, u64) -> Option<u64>,
        orders: &mut Vec<Order<T>>,
    ) {
        let mut waiting = BTreeSet::new();
        let mut next = (0, 0);
        while let Some(&(function, id)) = self.suspects.range(next..).next() {
            let kinds = self.functions[function].kinds.clone();
            if kinds.is_empty() {
                next = (function + 1, 0);
            } else if self.may_run(id, room).is_none() {
                continue;
            } else if let Some(worker) = self.pool.idle(&kinds) {
                self.give_alone(id, worker, now, orders);
            } else {
                waiting.insert((id, function));
                next = (function + 1, 0);
            }
        }
        self.reserve(&waiting);
    }

    fn give_alone(
        &mut self,
        id: TaskId,
        worker: WorkerId,
        now: Instant,
        orders: &mut Vec<Order<T>>,
    ) {
        self.pool.worker(worker).alone = true;
        if self.pool.reserved == Some(worker) {
            self.pool.reserved = None;
        }
        let begin = orders.len();
        self.give(id, worker, now, orders);
        self.settle(worker, &orders[begin..], now);
    }

    /// Keeps a worker for one of these suspects, the oldest of their functions.
    fn reserve(&mut self, waiting: &BTreeSet<(TaskId, u64)>) {
        let reserved = self
            .pool
            .reserved
            .and_then(|id| self.pool.workers[&id].kind);
        if let Some(kind) = reserved {
            let entry = &self.pool.kinds[&kind];
            if waiting.iter().any(|(_, function)| entry.has(*function)) {
                return;
            }
            self.pool.release();
        }
        if let Some((_, function)) = waiting.first() {
            let kinds = self.functions[*function].kinds.clone();
            self.pool.reserve(&kinds);
        }
    }
}
