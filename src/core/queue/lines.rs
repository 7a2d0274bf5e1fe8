//! How tasks wait: in a line for each function of each session, and the sessions in a ring for
//! each kind of worker.

use std::time::Instant;

use super::pool::KindId;
use super::{FunctionId, Order, Queue, SessionId, TaskId};
use crate::core::divide::Divide;
use crate::time::after;

/// How many of the sessions that do not read are asked each time while others have tasks.
const ASKED: usize = 16;

/// Who has no more tasks than these is one who calls now and then.
const FEW: usize = 16;

/// By how much of its time the end of a task may be late, so that several end at once.
const AT_A_TIME: u32 = 16;

impl<T: Divide> Queue<T> {
    /// A task waits, at the place that it has by its age.
    pub(super) fn enqueue(&mut self, id: TaskId) {
        let task = &self.tasks[id];
        let (number, function, is_suspect) = (task.session, task.function, task.is_suspect());
        let count = task.count;
        let session = &mut self.sessions[number];
        session.waiting += count;
        let stopped = session.stopped;
        let line = session.lines.entry(function).or_default();
        let was_empty = line.is_empty();
        let is_first = !is_suspect && line.normal.is_empty();
        if !is_suspect {
            line.normal.insert(id);
        } else {
            line.suspects.insert(id);
            if !stopped {
                self.suspects.insert((function, id));
            }
        }
        if was_empty {
            self.functions[function].sessions.insert(number);
            self.watch(function, id);
        }
        if is_first {
            self.seat_all(number, function);
        }
    }

    /// A task waits no more.
    pub(super) fn dequeue(&mut self, id: TaskId) {
        let task = &self.tasks[id];
        let (number, function, count) = (task.session, task.function, task.count);
        let session = &mut self.sessions[number];
        session.waiting -= count;
        let Some(line) = session.lines.get_mut(&function) else {
            return;
        };
        let was_last = line.normal.remove(id) && line.normal.is_empty();
        if line.suspects.remove(&id) {
            self.suspects.remove(&(function, id));
        }
        if line.is_empty() {
            session.lines.remove(&function);
            if session.lines.is_empty() {
                session.stopped = false;
                self.stopped.remove(&number);
            }
            self.functions[function].sessions.remove(&number);
            self.unwatch_if_unused(function);
        }
        if was_last {
            self.seat_all(number, function);
        }
    }

    /// Something has changed for the workers that have a function.
    fn seat_all(&mut self, session: SessionId, function: FunctionId) {
        let kinds = self.functions[function].kinds.clone();
        for &kind in &*kinds {
            self.seat(session, kind);
        }
    }

    /// Has a session be in the ring of a kind of worker, or not, as it belongs.
    pub(super) fn seat(&mut self, number: SessionId, kind: KindId) {
        let session = &mut self.sessions[number];
        let entry = self.pool.kind(kind);
        let belongs = !session.stopped && session.oldest_for(entry).is_some();
        match session.turns.get(&kind).copied() {
            None if belongs => {
                session.turns.insert(kind, self.next_turn);
                entry.ring.add(number, self.next_turn, session.tasks <= FEW);
                self.next_turn += 1;
            }
            Some(turn) if !belongs => {
                session.turns.remove(&kind);
                entry.ring.remove(number, turn);
            }
            _ => return,
        }
        self.pool.refresh_kind(kind);
    }

    /// A session has had so many more tasks given, of `most` in a row.
    pub(super) fn rotate(&mut self, number: SessionId, kind: KindId, given: usize, most: usize) {
        let place = self.sessions[number].turns.get_mut(&kind);
        let ring = &mut self.pool.kind(kind).ring;
        if ring.had(number, given, place.is_some(), most)
            && let Some(place) = place
            && ring.len() > 1
        {
            let before = std::mem::replace(place, self.next_turn);
            ring.put_back(number, before, self.next_turn);
            self.next_turn += 1;
        }
    }

    /// The client of a session does not read: its tasks wait.
    pub(super) fn stop(&mut self, number: SessionId) {
        let session = &mut self.sessions[number];
        session.stopped = true;
        self.stopped.insert(number);
        for suspect in session.suspects() {
            self.suspects.remove(&suspect);
        }
        let kinds: Vec<_> = session.turns.keys().copied().collect();
        for kind in kinds {
            self.seat(number, kind);
        }
    }

    /// It reads again.
    fn start(&mut self, number: SessionId) {
        let session = &mut self.sessions[number];
        session.stopped = false;
        self.stopped.remove(&number);
        self.suspects.extend(session.suspects());
        let functions: Vec<_> = session.lines.keys().copied().collect();
        for function in functions {
            self.seat_all(number, function);
        }
    }

    /// Asks whether those read again that did not, in turn: a few, or all.
    pub(super) fn ask_again(&mut self, all: bool, room: &mut impl FnMut(&str, u64) -> Option<u64>) {
        let most = if all { usize::MAX } else { ASKED };
        let after = self.stopped.range(self.asked.saturating_add(1)..);
        let before = self.stopped.range(..=self.asked);
        let sessions: Vec<_> = after.chain(before).copied().take(most).collect();
        for session in sessions {
            self.asked = session;
            let next = self.sessions[session].oldest();
            if next.is_some_and(|next| self.most_of(next, room).is_some()) {
                self.start(session);
            }
        }
    }

    /// Ends what has waited too long for a function that no worker has.
    pub(super) fn expire(&mut self, now: Instant, orders: &mut Vec<Order<T>>) {
        while let Some(&(end, function)) = self.ends.first() {
            if end > now {
                break;
            }
            self.unwatch(function);
            let mut oldest_left: Option<TaskId> = None;
            let sessions: Vec<_> = self.functions[function].sessions.iter().copied().collect();
            for session in sessions {
                while let Some(id) = self.oldest_in(session, function) {
                    if self.end_of(id).is_none_or(|end| end > now) {
                        oldest_left = Some(oldest_left.map_or(id, |left| left.min(id)));
                        break;
                    }
                    self.dequeue(id);
                    self.counters.no_function += self.tasks[id].count as u64;
                    let item = self.forget(id);
                    orders.push(Order::NoFunction { item });
                }
            }
            if let Some(end) = oldest_left.and_then(|id| self.end_of(id)) {
                // Some at a time: there may be many sessions to look through.
                let soon = after(now, self.settings.unknown_after / AT_A_TIME);
                self.watch_until(function, end.max(soon));
            }
        }
    }

    fn oldest_in(&self, session: SessionId, function: FunctionId) -> Option<TaskId> {
        let line = match self.functions.contains(function) && self.sessions.contains(session) {
            true => self.sessions[session].lines.get(&function),
            false => None,
        };
        line.and_then(|line| line.oldest())
    }
}
