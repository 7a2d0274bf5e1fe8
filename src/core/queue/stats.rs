//! What the queue says about itself.

use std::time::Duration;

use super::{Queue, Task, WorkerId};
use crate::core::divide::Divide;

/// What has happened since the start, in messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    pub(crate) accepted: u64,
    pub(crate) finished: u64,
    /// Queued again because a worker had left or lost them.
    pub(crate) redelivered: u64,
    /// Results that came too late.
    pub(crate) fenced: u64,
    pub(crate) given_up: u64,
    pub(crate) no_function: u64,
    pub(crate) handed_back: u64,
    /// Handed back by who did not have them.
    pub(crate) strays: u64,
    /// Asked back.
    pub(crate) recalled: u64,
    pub(crate) cancelled: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stats {
    pub(crate) waiting: usize,
    pub(crate) given: usize,
    pub(crate) bytes: usize,
    pub(crate) sessions: Vec<SessionStats>,
    pub(crate) workers: Vec<WorkerStats>,
    pub(crate) counters: Counters,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SessionStats {
    pub(crate) name: String,
    pub(crate) waiting: usize,
    pub(crate) given: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WorkerStats {
    pub(crate) id: WorkerId,
    pub(crate) given: usize,
    pub(crate) bytes: usize,
    pub(crate) credit: usize,
    pub(crate) finished: u64,
    /// How long its tasks run, once one was finished.
    pub(crate) average: Option<Duration>,
    pub(crate) draining: bool,
}

/// Why something waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    NoWorker,
    NoWorkerWithFunction(String),
    AllBusy,
    /// The client of its session does not.
    NotReading,
    /// Nothing waits.
    Nothing,
}

impl<T: Divide> Queue<T> {
    /// How many messages are not finished.
    pub(crate) fn len(&self) -> usize {
        self.tasks.messages()
    }

    /// How many bytes they have.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many sessions have something that is not finished.
    pub(crate) fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// How many messages of a session are not finished, and how many bytes they have.
    pub(crate) fn load_of(&self, session: &str) -> (usize, usize) {
        let number = self.sessions.number_of(session);
        number.map_or((0, 0), |number| {
            let session = &self.sessions[number];
            (session.tasks, session.bytes)
        })
    }

    /// The same of those that are not [tracked](Divide::is_tracked).
    pub(crate) fn loose_bytes(&self) -> usize {
        self.loose_bytes
    }

    #[cfg(test)]
    pub(crate) fn counters(&self) -> Counters {
        self.counters
    }

    pub(crate) fn stats(&self) -> Stats {
        let sessions = self.sessions.iter().map(|(name, session)| SessionStats {
            name: name.to_owned(),
            waiting: session.waiting,
            given: session.tasks - session.waiting,
        });
        let workers = self.pool.workers.iter().map(|(id, worker)| WorkerStats {
            id: *id,
            given: worker.held,
            bytes: worker.bytes,
            credit: worker.pace.credit(),
            finished: worker.finished,
            average: worker.pace.average(),
            draining: worker.kind.is_none(),
        });
        let sessions: Vec<_> = sessions.collect();
        let waiting = sessions.iter().map(|session| session.waiting).sum();
        Stats {
            waiting,
            given: self.len() - waiting,
            bytes: self.bytes,
            sessions,
            workers: workers.collect(),
            counters: self.counters,
        }
    }

    /// A result came too late, and was not even asked for.
    pub(crate) fn note_late(&mut self) {
        self.counters.fenced += 1;
    }

    /// Why the oldest task of a session waits.
    pub(crate) fn why_session(&self, session: &str) -> Why {
        let Some(session) = self.sessions.number_of(session) else {
            return Why::Nothing;
        };
        let lines = self.sessions[session].lines.values();
        let oldest = lines.filter_map(|line| line.oldest()).min();
        self.why(oldest.map(|id| &self.tasks[id]))
    }

    /// Why the oldest task of a job waits.
    #[cfg(test)]
    pub(crate) fn why_job(&self, job: &str) -> Why {
        let Some(job) = self.jobs.number_of(job) else {
            return Why::Nothing;
        };
        let mut tasks = self.tasks.iter().map(|(_, task)| task);
        self.why(tasks.find(|task| task.job == job && task.given.is_none()))
    }

    fn why(&self, task: Option<&Task<T>>) -> Why {
        let Some(task) = task else {
            return Why::Nothing;
        };
        if self.pool.kinds.is_empty() {
            Why::NoWorker
        } else if self.functions[task.function].kinds.is_empty() {
            Why::NoWorkerWithFunction(self.functions.name(task.function).to_owned())
        } else if self.sessions[task.session].stopped {
            Why::NotReading
        } else {
            Why::AllBusy
        }
    }
}
