//! A parallel reduction: values are grouped, and each group is combined in pairs until one value
//! is left, in as many rounds as it takes.
//!
//! A group keeps at most one value. The second that comes makes a task with it at once, whether
//! it is a message's or the result of another task: so as many workers as there are have work,
//! and the pairs become a tree by themselves.
//!
//! ```text
//!  offer ──► value ──► another waits? ── no ──► it waits ──► group closed, and no task open?
//!              ▲            │ yes                                 │ yes
//!  combined ───┘            ▼                                     ▼
//!     ▲                 Combine ──► a worker                Send the result
//!     └───────────────────────────────┘                     all of the job's groups done, and
//!                                                           its end known: Send the mark
//! ```
//!
//! A value may meet any other of its group, on either side: the function must be associative
//! and commutative.
//!
//! Of each group comes exactly one message: its result, or a failure, unless it has no value at
//! all. A group that is closed by its marker or by the end of its job is no result when a
//! message of the job has failed, because that may have been one of its values; one that is
//! closed by its number of values is, for none of them lacks.
//!
//! Bounds: groups that are not finished (failed ones that are remembered until they are closed
//! among them), the bytes of the values that wait and of what groups cost beside, jobs that have
//! no group and the bytes of their names, and the time in which nothing happens to
//! a group or a job. What they refuse, its client hears. What is at the workers is not counted:
//! whoever calls offers no more while they have no room, and of two values that come back from
//! them comes at most one task.

mod group;
mod job;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use group::Group;
pub(crate) use job::JobName;

use group::State;
use job::{Job, Jobs, Most};

use crate::message::{End, Failure, FailureKind, Frame, Pair, number_under};

/// How many jobs without a group are remembered: of one that goes on, the count is needed.
const IDLE_JOBS: usize = 4_096;

/// How many bytes their names may have, which peers choose.
const IDLE_BYTES: usize = 32 << 20;

/// How much is held, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// Groups that are not finished.
    pub(crate) groups: usize,
    /// Bytes of values that wait for another, and of what groups cost beside.
    pub(crate) bytes: usize,
    /// The largest payload of a task: workers do not take more.
    pub(crate) message: usize,
    /// How long nothing may happen to a group, or a job whose mark has come.
    pub(crate) idle: Duration,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Give this task to a worker.
    Combine(Frame),
    /// Send this on: a result, a job's mark, or what failed elsewhere.
    Send(Frame),
    /// Send this failure on, which is one of the reduction itself: nobody has logged it yet.
    Fail(Frame),
}

#[derive(Debug)]
pub(crate) struct Reduction {
    bounds: Bounds,
    /// What the ids of its tasks begin with: another reduction's are not taken for its own.
    id: String,
    jobs: Jobs,
    groups: HashMap<u64, State>,
    /// The tasks at the workers, and their groups.
    tasks: HashMap<u64, u64>,
    next: u64,
    bytes: usize,
    strangers: u64,
    next_look: Option<Instant>,
    actions: Vec<Action>,
}

impl Reduction {
    pub(crate) fn new(id: impl Into<String>, bounds: Bounds) -> Self {
        Self {
            bounds,
            id: id.into(),
            jobs: Jobs::default(),
            groups: HashMap::new(),
            tasks: HashMap::new(),
            next: 0,
            bytes: 0,
            strangers: 0,
            next_look: None,
            actions: Vec::new(),
        }
    }

    /// What is to be done since it was last asked.
    pub(crate) fn actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    /// Takes a message, or one of several that were made of it: a value of a group.
    pub(crate) fn offer(&mut self, frame: Frame, group: Group, now: Instant) {
        let name = JobName::of(&frame);
        let job = self.enter(&name, now);
        let open = job.open.get(group.key.as_slice()).copied();
        let number = match open {
            Some(number) => number,
            None => match self.open(&name, &group.key, &frame, now) {
                Ok(number) => number,
                Err(cause) => return self.refuse(&frame, &cause, now),
            },
        };
        let Some(state) = self.groups.get_mut(&number) else {
            return;
        };
        state.touched = now;
        state.expects = group.expects.or(state.expects);
        state.values += u64::from(group.has_value);
        let closes = group.closes || state.is_counted_out();
        if group.has_value {
            self.add(number, frame);
        }
        if closes {
            self.close(number);
        }
    }

    fn enter(&mut self, name: &JobName, now: Instant) -> &mut Job {
        let most = Most {
            jobs: self.bounds.groups.saturating_add(IDLE_JOBS),
            idle_bytes: IDLE_BYTES,
        };
        for job in self.jobs.make_room(name, most) {
            self.give_up_job(job, "there is no room for so many jobs: ");
        }
        self.jobs.enter(name, now)
    }

    /// Opens a group with its first message, or says why there is no room for one.
    fn open(
        &mut self,
        name: &JobName,
        key: &[u8],
        first: &Frame,
        now: Instant,
    ) -> Result<u64, String> {
        if self.groups.len() >= self.bounds.groups {
            return Err(format!("{} groups are open already", self.bounds.groups));
        }
        let key: Arc<[u8]> = key.into();
        let state = State {
            job: self.jobs.shared(name),
            key: key.clone(),
            head: first.with_payload(b""),
            waiting: None,
            in_flight: 0,
            values: 0,
            expects: None,
            closed: false,
            failed: false,
            touched: now,
        };
        if self.bytes.saturating_add(state.overhead()) > self.bounds.bytes {
            return Err(self.full());
        }
        self.next += 1;
        let number = self.next;
        self.jobs.opened(name, key, number);
        self.bytes += state.overhead();
        self.groups.insert(number, state);
        Ok(number)
    }

    /// Why there is no room for more values.
    fn full(&self) -> String {
        let most = self.bounds.bytes;
        format!("{most} bytes of values, or nearly so many, wait already")
    }

    /// A value for a group: it waits, or makes a task with the one that does.
    fn add(&mut self, number: u64, value: Frame) {
        let Some(state) = self.groups.get_mut(&number) else {
            return;
        };
        if state.failed {
            return;
        }
        if let Some(other) = state.waiting.take() {
            self.bytes -= other.len();
            self.combine(number, &other, &value);
        } else if self.bytes.saturating_add(value.len()) <= self.bounds.bytes {
            self.bytes += value.len();
            state.waiting = Some(value);
        } else {
            let cause = self.full();
            self.fail(number, &unfinished(cause), Action::Fail);
        }
    }

    /// Makes a task of two values.
    fn combine(&mut self, number: u64, left: &Frame, right: &Frame) {
        let Some(state) = self.groups.get_mut(&number) else {
            return;
        };
        let payload = Pair::payload_of(left.payload(), right.payload());
        if payload.len() > self.bounds.message {
            let (size, limit) = (payload.len(), self.bounds.message);
            let cause = format!("two values of {size} bytes are over the limit of {limit} bytes");
            return self.fail(number, &unfinished(cause), Action::Fail);
        }
        self.next += 1;
        let mut task = state.head.with_payload(&payload);
        task.set_cache(&format!("{}/{}", self.id, self.next));
        state.in_flight += 1;
        self.tasks.insert(self.next, number);
        self.actions.push(Action::Combine(task));
    }

    /// A worker has done a task. False for what is none of its open ones, which is ignored.
    pub(crate) fn combined(&mut self, result: Frame, now: Instant) -> bool {
        let number = self.task_of(&result);
        let Some((number, state)) = number.and_then(|n| Some((n, self.groups.get_mut(&n)?))) else {
            self.strangers += 1;
            return false;
        };
        state.in_flight -= 1;
        state.touched = now;
        match result.failure() {
            Some(failure) => self.fail(number, &failure, Action::Send),
            None => self.add(number, result),
        }
        self.settle(number);
        true
    }

    /// The group of the task that this is the result of. The task is over.
    fn task_of(&mut self, result: &Frame) -> Option<u64> {
        let number = number_under(&self.id, result.cache())?;
        self.tasks.remove(&number)
    }

    /// Nothing more comes for a group.
    fn close(&mut self, number: u64) {
        if let Some(state) = self.groups.get_mut(&number) {
            state.closed = true;
            if let Some(job) = self.jobs.get_mut(&state.job)
                // The key may have a younger group by now, when this one was closed before.
                && job.open.get(&state.key) == Some(&number)
            {
                job.open.remove(&state.key);
            }
            self.settle(number);
        }
    }

    /// Sends the result of a group, if it is finished.
    fn settle(&mut self, number: u64) {
        let finished = |state: &State| state.closed && state.in_flight == 0;
        if !self.groups.get(&number).is_some_and(finished) {
            return;
        }
        let Some((state, value)) = self.forget(number) else {
            return;
        };
        let spoilt = self.jobs.get_mut(&state.job).is_some_and(|job| job.spoilt);
        if let Some(value) = value {
            let result = match state.flaw(spoilt) {
                None => Action::Send(state.head.with_payload(value.payload())),
                Some(flaw) => Action::Fail(state.head.with_failure(&unfinished(flaw))),
            };
            self.send(&state.job, result);
        }
        self.finish(&state.job);
    }

    /// Lets go of a group, and gives the value that waited.
    fn forget(&mut self, number: u64) -> Option<(State, Option<Frame>)> {
        let mut state = self.groups.remove(&number)?;
        let value = state.waiting.take();
        self.bytes -= state.overhead() + value.as_ref().map_or(0, Frame::len);
        self.jobs.finished_one(&state.job);
        Some((state, value))
    }

    /// A group has no result: its client hears why, once, by an action of this kind.
    fn fail(&mut self, number: u64, failure: &Failure, how: fn(Frame) -> Action) {
        let Some(state) = self.groups.get_mut(&number) else {
            return;
        };
        if !state.failed {
            state.failed = true;
            self.bytes -= state.waiting.take().map_or(0, |value| value.len());
            let (job, failed) = (state.job.clone(), state.head.with_failure(failure));
            self.send(&job, how(failed));
        }
    }

    /// Takes a message that has failed before: it is sent on as it is.
    pub(crate) fn failed(&mut self, frame: Frame, now: Instant) {
        self.spoil(&JobName::of(&frame), Action::Send(frame), now);
    }

    fn refuse(&mut self, frame: &Frame, cause: &str, now: Instant) {
        let failure = unfinished(format!("there is no room for the message: {cause}"));
        let refused = Action::Fail(frame.with_failure(&failure));
        self.spoil(&JobName::of(frame), refused, now);
    }

    /// A message of a job has no value for any group.
    fn spoil(&mut self, name: &JobName, failed: Action, now: Instant) {
        self.enter(name, now).spoilt = true;
        self.send(name, failed);
    }

    /// Sends a result of a job, a failure maybe.
    fn send(&mut self, job: &JobName, result: Action) {
        if let Some(job) = self.jobs.get_mut(job) {
            job.results += 1;
        }
        self.actions.push(result);
    }

    /// All that came of one message of a job has been offered.
    pub(crate) fn took(&mut self, name: &JobName, now: Instant) {
        self.enter(name, now).taken += 1;
        self.end(name);
    }

    /// Takes the mark at the end of a job.
    pub(crate) fn ended(&mut self, mark: Frame, now: Instant) {
        let name = JobName::of(&mark);
        self.enter(&name, now);
        self.jobs.mark(&name, mark);
        self.end(&name);
    }

    /// Closes the groups of a job, if all of its messages have come.
    fn end(&mut self, name: &JobName) {
        let Some(job) = self.jobs.get_mut(name) else {
            return;
        };
        if job.is_complete() {
            let mut open: Vec<u64> = job.open.values().copied().collect();
            // In the order in which they were opened: so that the same stream gives the same.
            open.sort_unstable();
            for number in open {
                self.close(number);
            }
            self.finish(name);
        }
    }

    /// Sends the mark of a job, if all of its groups have been sent.
    fn finish(&mut self, name: &JobName) {
        let job = self.jobs.get_mut(name);
        if !job.is_some_and(|job| job.groups == 0 && job.is_complete()) {
            return;
        }
        let Some(job) = self.jobs.remove(name) else {
            return;
        };
        if let Some(mark) = job.mark {
            let messages = job.results;
            self.actions
                .push(Action::Send(mark.with_end(End { messages })));
        }
    }

    /// Gives up the groups and the jobs to which nothing has happened for long.
    pub(crate) fn expire(&mut self, now: Instant) {
        let look = self.next_look.get_or_insert(now + self.bounds.idle / 4);
        let Some(before) = now.checked_sub(self.bounds.idle) else {
            return;
        };
        if now < *look {
            return;
        }
        self.next_look = Some(now + self.bounds.idle / 4);
        let idle = self
            .groups
            .iter()
            .filter(|(_, state)| state.touched <= before);
        let mut idle: Vec<u64> = idle.map(|(&number, _)| number).collect();
        idle.sort_unstable();
        for number in &idle {
            self.give_up(*number);
        }
        if !idle.is_empty() {
            let groups = &self.groups;
            self.tasks.retain(|_, group| groups.contains_key(group));
        }
        for job in self.jobs.take_idle(before) {
            self.give_up_job(job, "");
        }
    }

    /// Tells the client of a job that is forgotten, if the job was meant to be finished.
    fn give_up_job(&mut self, job: Job, cause: &str) {
        if let (Some(lack), Some(mark)) = (job.lack(), job.mark) {
            let messages = job.results + 1;
            let failed = mark.with_failure(&unfinished(format!("{cause}{lack}")));
            self.actions.push(Action::Fail(failed));
            self.actions
                .push(Action::Send(mark.with_end(End { messages })));
        }
    }

    fn give_up(&mut self, number: u64) {
        let idle = self.bounds.idle.as_secs_f64();
        let cause = format!("nothing has come for its group for {idle:.0} s");
        self.fail(number, &unfinished(cause), Action::Fail);
        if let Some(state) = self.groups.get_mut(&number) {
            state.in_flight = 0;
        }
        self.close(number);
    }

    /// How many tasks are at the workers.
    pub(crate) fn in_flight(&self) -> usize {
        self.tasks.len()
    }

    /// How many results came that belong to no open task.
    pub(crate) fn strangers(&self) -> u64 {
        self.strangers
    }

    /// How many groups are not finished.
    pub(crate) fn open_groups(&self) -> usize {
        self.groups.len()
    }
}

fn unfinished(cause: impl Into<String>) -> Failure {
    Failure::new(FailureKind::Unfinished, cause)
}

#[cfg(test)]
mod tests;
