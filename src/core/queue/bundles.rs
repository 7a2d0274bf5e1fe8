//! Bundles: tasks of several messages that follow each other, which are given and finished as one
//! as long as they take no time, and are taken apart when they have to run by themselves.

use super::{Given, Queue, Task, TaskId, WorkerId};
use crate::core::divide::Divide;

impl<T: Divide> Queue<T> {
    /// Takes a bundle apart: it is its first `count` messages from now on. Gives the number of the
    /// others, which are where it is.
    pub(super) fn divide(&mut self, id: TaskId, count: usize) -> TaskId {
        let task = self.task(id);
        let size = task.size / task.count * (task.count - count);
        let item = task.item.split_off(count);
        self.part_off(id, count, item, size)
    }

    /// The messages of a task after its first `count` are a task of their own from now on, of which
    /// this is kept, and which is so large.
    fn part_off(&mut self, id: TaskId, count: usize, item: T, size: usize) -> TaskId {
        let task = self.task(id);
        let rest = Task {
            item,
            count: task.count - count,
            size,
            given: task.given.map(|given| Given {
                turn: given.turn + count as u64,
                ..given
            }),
            ..*task
        };
        task.count = count;
        task.size -= size;
        let (rest_id, given) = (id + count as u64, rest.given);
        let (function, of_session) = (rest.function, rest.session);
        self.functions[function].users += 1;
        self.tasks.insert_part(rest_id, rest);
        match given {
            Some(given) => {
                self.pool.divided(given.worker, id, (given.turn, rest_id));
                if let Some(tasks) = self.called_back.get_mut(&of_session)
                    && tasks.contains(&id)
                {
                    tasks.insert(rest_id);
                }
            }
            None => {
                // It is counted with the bundle already.
                let waited = self.tasks[rest_id].count;
                self.sessions[of_session].waiting -= waited;
                self.enqueue(rest_id);
            }
        }
        rest_id
    }

    /// Takes a bundle apart: each of its messages is a task from now on, where it is.
    pub(crate) fn scatter(&mut self, id: TaskId) {
        let task = self.task(id);
        let (count, size) = (task.count, task.size);
        if count == 1 {
            return;
        }
        // From the end on, so that each is the rest of those before it.
        let mut others: Vec<T> = task.item.split_off(1).singles().collect();
        let share = size / count;
        while let Some(item) = others.pop() {
            self.part_off(id, others.len() + 1, item, share);
        }
    }

    /// Makes a task of what begins with this message of a bundle that a worker has, if it is one.
    pub(super) fn begin_at(&mut self, id: TaskId, worker: WorkerId) {
        if let Some(bundle) = self.tasks.bundle_of(id)
            && self.is_at(bundle, worker)
        {
            self.divide(bundle, (id - bundle) as usize);
        }
    }

    /// Makes a task of the first `count` messages of one that is there, with this number. False if
    /// there is none, or none of so many.
    pub(super) fn isolate(&mut self, id: TaskId, count: usize) -> bool {
        let messages = self.tasks.get(id).map_or(0, |task| task.count);
        if count < messages {
            self.divide(id, count);
        }
        (1..=messages).contains(&count)
    }
}
