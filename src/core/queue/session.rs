//! What a session has waiting, in order.

use std::collections::{BTreeMap, BTreeSet};

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
    pub(super) normal: BTreeSet<TaskId>,
    pub(super) suspects: BTreeSet<TaskId>,
}

impl Line {
    pub(super) fn is_empty(&self) -> bool {
        self.normal.is_empty() && self.suspects.is_empty()
    }

    pub(super) fn oldest(&self) -> Option<TaskId> {
        let heads = self.normal.first().into_iter().chain(self.suspects.first());
        heads.min().copied()
    }
}

impl Session {
    /// The oldest task, not a suspect, that such a worker could run.
    pub(super) fn oldest_for(&self, kind: &Kind) -> Option<TaskId> {
        let lines = self
            .lines
            .iter()
            .filter(|(function, _)| kind.has(**function));
        lines
            .filter_map(|(_, line)| line.normal.first())
            .min()
            .copied()
    }

    /// All suspects that wait.
    pub(super) fn suspects(&self) -> impl Iterator<Item = (FunctionId, TaskId)> {
        self.lines
            .iter()
            .flat_map(|(function, line)| line.suspects.iter().map(|id| (*function, *id)))
    }
}
