//! The work queue of a master: which worker runs which task.
//!
//! ```text
//!  push ─► waits in its session ── assign ──► given to a worker ── finish ──► its owner's again
//!             ▲       │    │                    │      │
//!             │       │    │ no such function   │      │ its job was cancelled
//!             │       │    ▼                    │      ▼
//!             │       │   NoFunction            │     Cancelled
//!             │       │ cancel                  │
//!             └───────┼─────────────────────────┘ handed back; its worker was lost, or lost it
//!                     ▼                           (killed too many of them: GivenUp)
//! ```
//!
//! Sessions take turns, of one task, or of some that take no time; within a session, tasks run in
//! the order in which they came, as far as there are workers that have their functions. What comes
//! back is the first to run again.
//!
//! A worker runs its tasks in the order in which it was given them, one at a time. So when it
//! dies, it was the oldest one that ran, and that may be what killed it: it becomes a suspect,
//! which is run only by a worker that holds nothing else. It may also have been a later one, and
//! the results of those before it were lost with the worker: so whatever two workers held when
//! they died is a suspect, too.
//!
//! Each giving of a task has a number, its attempt. A result counts only when it comes from
//! the worker that has the task now, and with its attempt: so each task has one result.
//!
//! Whatever is told to the queue, `assign` is to be called after it: that is what gives orders.

mod assign;
mod bundles;
mod fixed;
mod functions;
mod lines;
mod names;
mod pace;
mod pool;
mod recall;
mod ring;
mod session;
mod stats;
mod store;
#[cfg(test)]
mod tests;
mod workers;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::core::divide::Divide;
use functions::Function;
use names::Named;
pub(crate) use pace::Ran;
use pool::Pool;
pub(crate) use pool::Takes;
use session::Session;
pub(crate) use stats::{Counters, Stats, Why};
use store::Store;

pub(crate) type WorkerId = u64;
pub(crate) type TaskId = u64;
type SessionId = u64;
type JobId = u64;
type FunctionId = u64;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// How many workers may die of a task before it is given up.
    pub(crate) max_attempts: u32,
    /// How much work a worker may have waiting.
    pub(crate) ahead: Duration,
    /// How long a task waits for a worker with its function while there are others.
    pub(crate) unknown_after: Duration,
    /// How many bytes a worker may hold, and how many may come of what it holds, as far as one
    /// can tell. One task always goes.
    pub(crate) most_bytes: usize,
    /// How many tasks a worker may hold.
    pub(crate) most_tasks: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_attempts: 5,
            ahead: Duration::from_millis(5),
            unknown_after: Duration::from_secs(1),
            most_bytes: 4 << 20,
            most_tasks: 1_024,
        }
    }
}

/// How a worker left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leave {
    /// It was silent for too long, or its connection was lost for too long.
    Died,
    /// It said good-bye.
    Drained,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Order<T> {
    /// A task goes to a worker, or a bundle. `Queue::item` has what is to be sent.
    Give {
        worker: WorkerId,
        id: TaskId,
        attempt: u32,
    },
    /// A worker is asked to hand back those of these that it has not begun.
    Recall { worker: WorkerId, ids: Vec<TaskId> },
    /// So many workers died of it, this one last.
    GiveUp {
        item: T,
        attempts: u32,
        worker: WorkerId,
    },
    /// No worker has its function.
    NoFunction { item: T },
    /// Its job was cancelled, and its worker has not run it.
    Cancelled { item: T },
}

/// The tasks of a master, and its workers. `T` is what is kept of a task.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    settings: Settings,
    tasks: Store<T>,
    sessions: Named<Session>,
    /// How many messages each job has.
    jobs: Named<usize>,
    functions: Named<Function>,
    pool: Pool,
    /// Those that wait, of sessions whose clients read.
    suspects: BTreeSet<(FunctionId, TaskId)>,
    /// Sessions with something waiting whose clients did not read when they were asked last.
    stopped: BTreeSet<SessionId>,
    /// Who of them was asked last.
    asked: SessionId,
    /// When tasks for functions that no worker has end, by function: not before.
    ends: BTreeSet<(Instant, FunctionId)>,
    /// What workers are asked for of a session: until it is back, or has run, nothing more of it is given,
    /// which would run before that.
    called_back: BTreeMap<SessionId, BTreeSet<TaskId>>,
    /// Workers that hold tasks which are to be recalled: of cancelled jobs, and of clients that do not read.
    cancelling: BTreeSet<WorkerId>,
    /// When there may be something to recall.
    look_again: Option<Instant>,
    /// What is to be ordered next time, whatever happens until then.
    due: Vec<Order<T>>,
    next_task: TaskId,
    next_turn: u64,
    bytes: usize,
    /// How many of these are of tasks that are not [tracked](Divide::is_tracked).
    loose_bytes: usize,
    /// How many bytes are to come of all that workers have, as far as one can tell.
    coming: u64,
    counters: Counters,
}

#[derive(Debug)]
struct Task<T> {
    item: T,
    /// How many messages it is.
    count: usize,
    session: SessionId,
    job: JobId,
    function: FunctionId,
    size: usize,
    is_tracked: bool,
    pushed: Instant,
    /// How often it was given.
    attempt: u32,
    /// How many workers died when they ran it.
    deaths: u32,
    /// How many workers died that had it.
    losses: u32,
    cancelled: bool,
    given: Option<Given>,
}

/// What as many workers held when they died is a suspect.
const SUSPECT: u32 = 2;

impl<T> Task<T> {
    /// Whether it may be what workers died of.
    fn is_suspect(&self) -> bool {
        self.deaths > 0 || self.losses >= SUSPECT
    }
}

/// Where a task is.
#[derive(Clone, Copy, Debug)]
struct Given {
    worker: WorkerId,
    turn: u64,
    /// How many bytes are to come of each of its messages, as far as one could tell.
    to_come: u64,
}

impl<T: Divide> Queue<T> {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            settings,
            tasks: Store::default(),
            sessions: Named::new(),
            jobs: Named::new(),
            functions: Named::new(),
            pool: Pool::default(),
            suspects: BTreeSet::new(),
            stopped: BTreeSet::new(),
            asked: 0,
            ends: BTreeSet::new(),
            called_back: BTreeMap::new(),
            cancelling: BTreeSet::new(),
            look_again: None,
            due: Vec::new(),
            next_task: 0,
            next_turn: 0,
            bytes: 0,
            coming: 0,
            loose_bytes: 0,
            counters: Counters::default(),
        }
    }

    /// A task has come in, or a bundle.
    pub(crate) fn push(
        &mut self,
        session: &str,
        job: &str,
        function: &str,
        size: usize,
        item: T,
        now: Instant,
    ) -> TaskId {
        let count = item.count();
        let id = self.next_task;
        self.next_task += count as u64;
        let (session, _) = self.sessions.note(session, Session::default);
        let (job, _) = self.jobs.note(job, || 0);
        let function = self.use_function(function, now);
        let is_tracked = item.is_tracked();
        let task = Task {
            item,
            count,
            session,
            job,
            function,
            size,
            is_tracked,
            pushed: now,
            attempt: 0,
            deaths: 0,
            losses: 0,
            cancelled: false,
            given: None,
        };
        self.tasks.insert(id, task);
        self.sessions[session].tasks += count;
        self.sessions[session].bytes += size;
        self.jobs[job] += count;
        self.bytes += size;
        if !is_tracked {
            self.loose_bytes += size;
        }
        self.counters.accepted += count as u64;
        self.enqueue(id);
        id
    }

    /// What is kept of a task that is not finished.
    pub(crate) fn item(&self, id: TaskId) -> Option<&T> {
        self.tasks.get(id).map(|task| &task.item)
    }

    /// The same, to change it.
    pub(crate) fn item_mut(&mut self, id: TaskId) -> Option<&mut T> {
        self.tasks.get_mut(id).map(|task| &mut task.item)
    }

    /// Whether a worker has this giving of a task.
    pub(crate) fn has_given(&self, worker: WorkerId, id: TaskId, attempt: u32) -> bool {
        let task = self.tasks.get(id);
        task.is_some_and(|task| task.attempt == attempt) && self.is_at(id, worker)
    }

    fn is_at(&self, id: TaskId, worker: WorkerId) -> bool {
        let given = self.tasks.get(id).and_then(|task| task.given);
        given.is_some_and(|given| given.worker == worker)
    }

    fn take_from_worker(&mut self, id: TaskId, now: Instant) {
        if let Some(Given { worker, turn, .. }) = self.not_given(id) {
            let task = &self.tasks[id];
            self.pool.took(worker, turn, task.count, task.size, now);
        }
    }

    /// A task is with no worker any more, or was with none. Gives where it was.
    fn not_given(&mut self, id: TaskId) -> Option<Given> {
        let task = self.task(id);
        let given = task.given.take()?;
        let (session, coming) = (
            task.session,
            given.to_come.saturating_mul(task.count as u64),
        );
        self.sessions[session].coming -= coming;
        self.coming -= coming;
        if let Some(tasks) = self.called_back.get_mut(&session) {
            tasks.remove(&id);
            if tasks.is_empty() {
                self.called_back.remove(&session);
            }
        }
        Some(given)
    }

    /// A worker has finished a task. Gives what was kept of it, unless the result is too late.
    pub(crate) fn finish(
        &mut self,
        worker: WorkerId,
        id: TaskId,
        attempt: u32,
        ran: impl Into<Ran>,
        now: Instant,
    ) -> Option<T> {
        let count = self.tasks.get(id).map_or(1, |task| task.count);
        self.finish_part(worker, (id, count), attempt, ran, now)
    }

    /// The same of so many messages of a bundle, from its first one on: the others are still to
    /// come. What it took is what each of them took on average.
    pub(crate) fn finish_part(
        &mut self,
        worker: WorkerId,
        (id, count): (TaskId, usize),
        attempt: u32,
        ran: impl Into<Ran>,
        now: Instant,
    ) -> Option<T> {
        if !self.has_given(worker, id, attempt) || !self.isolate(id, count) {
            self.counters.fenced += count as u64;
            return None;
        }
        self.take_from_worker(id, now);
        let ran = ran.into();
        let Task {
            function, session, ..
        } = self.tasks[id];
        self.functions[function].time.note_time(ran.time);
        self.functions[function].made.note(ran.bytes as u64);
        self.sessions[session].made.note(ran.bytes as u64);
        let entry = self.pool.worker(worker);
        entry.finished += count as u64;
        entry.pace.note(ran, count, &self.settings);
        let recall = entry.recall.as_ref();
        if recall.is_some_and(|recall| recall.ids.is_empty()) {
            self.close_recall(worker, now);
        }
        self.pool.refresh_later(worker);
        self.counters.finished += count as u64;
        Some(self.forget(id))
    }

    /// Some jobs are not wanted any more. Gives what waited of them; what workers have is
    /// recalled.
    pub(crate) fn cancel(&mut self, jobs: impl Iterator<Item = impl AsRef<str>>) -> Vec<T> {
        let jobs = jobs.filter_map(|job| self.jobs.number_of(job.as_ref()));
        let jobs: BTreeSet<_> = jobs.collect();
        let count = jobs.iter().map(|job| self.jobs[*job]).sum();
        self.cancel_all(count, |task| jobs.contains(&task.job))
    }

    /// Cancels those that are meant, of which there are so many.
    fn cancel_all(&mut self, count: usize, which: impl Fn(&Task<T>) -> bool) -> Vec<T> {
        let ids = self
            .tasks
            .iter()
            .filter(|(_, task)| which(task))
            .take(count);
        let mut items = Vec::new();
        for id in ids.map(|(id, _)| id).collect::<Vec<_>>() {
            let task = self.task(id);
            if let Some(Given { worker, .. }) = task.given {
                if !std::mem::replace(&mut task.cancelled, true) {
                    self.pool.worker(worker).unwanted.insert(id);
                    self.cancelling.insert(worker);
                }
            } else {
                let count = task.count as u64;
                self.dequeue(id);
                self.counters.cancelled += count;
                items.push(self.forget(id));
            }
        }
        items
    }

    /// What was cancelled has come back.
    fn drop_cancelled(&mut self, id: TaskId) {
        self.counters.cancelled += self.tasks[id].count as u64;
        let item = self.forget(id);
        self.due.push(Order::Cancelled { item });
    }

    fn task(&mut self, id: TaskId) -> &mut Task<T> {
        self.tasks.get_mut(id).expect("it is not finished")
    }

    /// Removes a task that is neither waiting nor given, and what was kept for its sake.
    fn forget(&mut self, id: TaskId) -> T {
        let task = self.tasks.remove(id).expect("it is not finished");
        self.bytes -= task.size;
        if !task.is_tracked {
            self.loose_bytes -= task.size;
        }
        let session = &mut self.sessions[task.session];
        session.tasks -= task.count;
        session.bytes -= task.size;
        if session.tasks == 0 {
            self.sessions.remove(task.session);
        }
        let job = &mut self.jobs[task.job];
        *job -= task.count;
        if *job == 0 {
            self.jobs.remove(task.job);
        }
        self.unuse_function(task.function);
        task.item
    }
}
