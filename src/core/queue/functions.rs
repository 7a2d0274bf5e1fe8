//! Which functions there are, and those that no worker has.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use super::pace::Average;
use super::pool::{Kind, KindId};
use super::{FunctionId, Queue, SessionId, TaskId};
use crate::core::divide::Divide;
use crate::time::after;

#[derive(Debug)]
pub(super) struct Function {
    /// How many tasks and kinds of workers have it.
    pub(super) users: usize,
    /// The kinds of workers that run it.
    pub(super) kinds: Arc<[KindId]>,
    /// The sessions with such tasks waiting.
    pub(super) sessions: BTreeSet<SessionId>,
    /// How long it runs.
    pub(super) time: Average,
    /// How much comes of each, in bytes.
    pub(super) made: Average,
    /// Since when there are workers, but none has it.
    unknown: Option<Instant>,
    /// When to end what waits for it, or to look at it again.
    end: Option<Instant>,
}

impl<T: Divide> Queue<T> {
    /// The number of a function, for one more user.
    pub(super) fn use_function(&mut self, name: &str, now: Instant) -> FunctionId {
        let pool = &self.pool;
        let (function, is_new) = self.functions.note(name, || Function {
            users: 0,
            kinds: pool.any().into_iter().collect(),
            sessions: BTreeSet::new(),
            time: Average::default(),
            made: Average::default(),
            unknown: None,
            end: None,
        });
        self.functions[function].users += 1;
        if is_new {
            self.judge(function, now);
        }
        function
    }

    pub(super) fn unuse_function(&mut self, function: FunctionId) {
        let entry = &mut self.functions[function];
        entry.users -= 1;
        if entry.users == 0 {
            self.functions.remove(function);
        }
    }

    pub(super) fn unuse_functions(&mut self, functions: &BTreeSet<FunctionId>) {
        for &function in functions {
            self.unuse_function(function);
        }
    }

    /// There is a new kind of worker.
    pub(super) fn add_kind(&mut self, kind: KindId, now: Instant) {
        for function in self.functions.numbers() {
            if self.pool.kinds[&kind].has(function) {
                let entry = &mut self.functions[function];
                entry.kinds = entry.kinds.iter().copied().chain([kind]).collect();
                for session in entry.sessions.clone() {
                    self.seat(session, kind);
                }
            }
            self.judge(function, now);
        }
    }

    /// There is no worker of a kind any more.
    pub(super) fn remove_kind(&mut self, id: KindId, kind: &Kind, now: Instant) {
        for session in kind.ring.iter() {
            self.sessions[session].turns.remove(&id);
        }
        for function in self.functions.numbers() {
            if kind.has(function) {
                let entry = &mut self.functions[function];
                entry.kinds = entry
                    .kinds
                    .iter()
                    .copied()
                    .filter(|kind| *kind != id)
                    .collect();
            }
            self.judge(function, now);
        }
        if let Some(functions) = kind.functions() {
            self.unuse_functions(functions);
        }
    }

    /// Says whether a function is one that no worker has.
    fn judge(&mut self, function: FunctionId, now: Instant) {
        let no_workers = self.pool.kinds.is_empty();
        let entry = &mut self.functions[function];
        if no_workers || !entry.kinds.is_empty() {
            entry.unknown = None;
            self.unwatch(function);
        } else if entry.unknown.is_none() {
            entry.unknown = Some(now);
            if !entry.sessions.is_empty() {
                let end = after(now, self.settings.unknown_after);
                self.watch_until(function, end);
            }
        }
    }

    /// When a task ends that waits for a function that no worker has.
    pub(super) fn end_of(&self, id: TaskId) -> Option<Instant> {
        let task = &self.tasks[id];
        let unknown = self.functions[task.function].unknown?;
        Some(after(unknown.max(task.pushed), self.settings.unknown_after))
    }

    /// A task waits for a function: if no worker has it, not for long.
    pub(super) fn watch(&mut self, function: FunctionId, id: TaskId) {
        if let Some(end) = self.end_of(id) {
            self.watch_until(function, end);
        }
    }

    pub(super) fn watch_until(&mut self, function: FunctionId, end: Instant) {
        let old = self.functions[function].end;
        if old.is_none_or(|old| end < old) {
            self.unwatch(function);
            self.functions[function].end = Some(end);
            self.ends.insert((end, function));
        }
    }

    pub(super) fn unwatch(&mut self, function: FunctionId) {
        if let Some(end) = self.functions[function].end.take() {
            self.ends.remove(&(end, function));
        }
    }

    /// Nothing waits for a function any more, maybe.
    pub(super) fn unwatch_if_unused(&mut self, function: FunctionId) {
        if self.functions[function].sessions.is_empty() {
            self.unwatch(function);
        }
    }
}
