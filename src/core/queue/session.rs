//! What a session has waiting, in order.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::pool::{Kind, KindId};
use super::{FunctionId, TaskId};

#[derive(Debug, Default)]
pub(super) struct Session {
    /// What waits, by function. A line that is empty is not here.
    pub(super) lines: BTreeMap<FunctionId, Line>,
    pub(super) waiting: usize,
    /// How many tasks it has, waiting or given.
    pub(super) tasks: usize,
    /// Its place in the ring of each kind of worker that could run something of it.
    pub(super) turns: BTreeMap<KindId, u64>,
    /// Its client does not read.
    pub(super) stopped: bool,
}

/// Tasks that wait, oldest first. One that comes back has its old place.
#[derive(Debug, Default)]
pub(super) struct Line {
    pub(super) normal: Ascending,
    pub(super) suspects: BTreeSet<TaskId>,
}

/// Tasks by their numbers. As a rule they come in that order, and go in it.
#[derive(Debug, Default)]
pub(super) struct Ascending(VecDeque<TaskId>);

impl Ascending {
    pub(super) fn insert(&mut self, id: TaskId) {
        match self.0.back() {
            Some(last) if *last >= id => {
                if let Err(place) = self.0.binary_search(&id) {
                    self.0.insert(place, id);
                }
            }
            _ => self.0.push_back(id),
        }
    }

    /// Whether it was there.
    pub(super) fn remove(&mut self, id: TaskId) -> bool {
        if self.first() == Some(id) {
            return self.0.pop_front().is_some();
        }
        let place = self.0.binary_search(&id);
        place.is_ok_and(|place| self.0.remove(place).is_some())
    }

    pub(super) fn first(&self) -> Option<TaskId> {
        self.0.front().copied()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

impl Line {
    pub(super) fn is_empty(&self) -> bool {
        self.normal.is_empty() && self.suspects.is_empty()
    }

    pub(super) fn oldest(&self) -> Option<TaskId> {
        let suspect = self.suspects.first().copied();
        self.normal.first().into_iter().chain(suspect).min()
    }
}

impl Session {
    /// The oldest task, not a suspect, that such a worker could run.
    pub(super) fn oldest_for(&self, kind: &Kind) -> Option<TaskId> {
        let lines = self
            .lines
            .iter()
            .filter(|(function, _)| kind.has(**function));
        lines.filter_map(|(_, line)| line.normal.first()).min()
    }

    /// All suspects that wait.
    pub(super) fn suspects(&self) -> impl Iterator<Item = (FunctionId, TaskId)> {
        self.lines
            .iter()
            .flat_map(|(function, line)| line.suspects.iter().map(|id| (*function, *id)))
    }
}
