//! The tasks by their numbers.

use std::collections::BTreeMap;
use std::ops::Index;

use super::{Task, TaskId};
use crate::core::numbered::Numbered;

/// All tasks that are not finished. A bundle has the number of its first message; each of the
/// others has the next one, by which it is known when the bundle is taken apart.
#[derive(Debug)]
pub(super) struct Store<T> {
    singles: Numbered<Task<T>>,
    /// Bundles, and what was a part of one: there are far fewer of them, and they leave gaps.
    bundles: BTreeMap<TaskId, Task<T>>,
    /// How many messages they all are.
    messages: usize,
}

impl<T> Default for Store<T> {
    fn default() -> Self {
        Self {
            singles: Numbered::default(),
            bundles: BTreeMap::new(),
            messages: 0,
        }
    }
}

impl<T> Store<T> {
    /// Adds a task: as a rule with a number above those of all others.
    pub(super) fn insert(&mut self, id: TaskId, task: Task<T>) {
        self.messages += task.count;
        match task.count {
            1 => drop(self.singles.insert(id, task)),
            _ => drop(self.bundles.insert(id, task)),
        }
    }

    /// Adds what was a part of a bundle. The bundle is as much smaller.
    pub(super) fn insert_part(&mut self, id: TaskId, task: Task<T>) {
        self.bundles.insert(id, task);
    }

    pub(super) fn get(&self, id: TaskId) -> Option<&Task<T>> {
        self.bundles.get(&id).or_else(|| self.singles.get(id))
    }

    /// The bundle that has a message of this number, if that is not its first.
    pub(super) fn bundle_of(&self, id: TaskId) -> Option<TaskId> {
        let (first, task) = self.bundles.range(..id).next_back()?;
        (id - first < task.count as u64).then_some(*first)
    }

    pub(super) fn get_mut(&mut self, id: TaskId) -> Option<&mut Task<T>> {
        match self.bundles.get_mut(&id) {
            None => self.singles.get_mut(id),
            task => task,
        }
    }

    pub(super) fn remove(&mut self, id: TaskId) -> Option<Task<T>> {
        let task = self.bundles.remove(&id);
        let task = task.or_else(|| self.singles.remove(id))?;
        self.messages -= task.count;
        Some(task)
    }

    /// In no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (TaskId, &Task<T>)> {
        let bundles = self.bundles.iter().map(|(id, task)| (*id, task));
        self.singles.iter().chain(bundles)
    }

    /// How many messages they are.
    pub(super) fn messages(&self) -> usize {
        self.messages
    }
}

impl<T> Index<TaskId> for Store<T> {
    type Output = Task<T>;

    fn index(&self, id: TaskId) -> &Task<T> {
        self.get(id).expect("it is there")
    }
}
