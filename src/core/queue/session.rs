//! What a session has waiting, in order.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::pace::Average;
use super::pool::{Kind, KindId};
use super::{FunctionId, TaskId};

#[derive(Debug, Default)]
pub(super) struct Session {
    /// What waits, by function. A line that is empty is not here.
    pub(super) lines: BTreeMap<FunctionId, Line>,
    pub(super) waiting: usize,
    /// How many tasks it has, waiting or given.
    pub(super) tasks: usize,
    /// How many bytes they have.
    pub(super) bytes: usize,
    /// How many bytes are to come of those that are given, as far as one can tell.
    pub(super) coming: u64,
    /// How much comes of each of its messages, in bytes.
    pub(super) made: Average,
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
pub(super) struct Ascending {
    ids: VecDeque<TaskId>,
    /// Those of them that are gone; never the first.
    gone: BTreeSet<TaskId>,
}

impl Ascending {
    pub(super) fn insert(&mut self, id: TaskId) {
        match self.ids.back() {
            Some(last) if *last >= id => {
                if let Err(place) = self.ids.binary_search(&id) {
                    self.ids.insert(place, id);
                } else {
                    self.gone.remove(&id);
                }
            }
            _ => self.ids.push_back(id),
        }
    }

    /// Whether it was there.
    pub(super) fn remove(&mut self, id: TaskId) -> bool {
        if self.first() != Some(id) {
            return self.ids.binary_search(&id).is_ok() && self.gone.insert(id);
        }
        self.ids.pop_front();
        while let Some(first) = self.ids.front()
            && self.gone.remove(first)
        {
            self.ids.pop_front();
        }
        true
    }

    pub(super) fn first(&self) -> Option<TaskId> {
        self.ids.front().copied()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = TaskId> {
        self.ids
            .iter()
            .copied()
            .filter(|id| !self.gone.contains(id))
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

    /// The oldest task that waits.
    pub(super) fn oldest(&self) -> Option<TaskId> {
        self.lines.values().filter_map(Line::oldest).min()
    }

    /// All suspects that wait.
    pub(super) fn suspects(&self) -> impl Iterator<Item = (FunctionId, TaskId)> {
        self.lines
            .iter()
            .flat_map(|(function, line)| line.suspects.iter().map(|id| (*function, *id)))
    }
}
