//! Jobs: which messages belong together, how many have come, and when that is all.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use crate::message::Frame;

/// What the messages of a job have in common. A palm client gives each of its calls a client id
/// of its own. A pylm client does not: two of its jobs with the same function are one here.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct JobName {
    pipeline: String,
    client: String,
    function: String,
}

impl JobName {
    pub(crate) fn of(frame: &Frame) -> Self {
        Self {
            pipeline: frame.pipeline().to_owned(),
            client: frame.client().to_owned(),
            function: frame.function().to_owned(),
        }
    }
}

#[derive(Debug)]
pub(super) struct Job {
    /// The groups that are not closed, by key.
    pub(super) open: HashMap<Arc<[u8]>, u64>,
    /// How many groups have no result yet, closed or not.
    pub(super) groups: usize,
    /// How many of its messages have come.
    pub(super) taken: u64,
    /// How many results were sent, failures among them.
    pub(super) results: u64,
    /// The mark at its end, when it has come.
    pub(super) mark: Option<Frame>,
    /// A message of it failed, or was refused, and nobody knows which group lacks its value.
    pub(super) spoilt: bool,
    pub(super) touched: Instant,
}

impl Job {
    fn new(now: Instant) -> Self {
        Self {
            open: HashMap::new(),
            groups: 0,
            taken: 0,
            results: 0,
            mark: None,
            spoilt: false,
            touched: now,
        }
    }

    /// Whether all of its messages have come, as far as that is known.
    pub(super) fn is_complete(&self) -> bool {
        let end = self.mark.as_ref().and_then(Frame::end);
        end.is_some_and(|end| self.taken >= end.messages)
    }

    /// Why it was not finished, if it was meant to be, when nothing more has come for long.
    pub(super) fn lack(&self) -> Option<String> {
        let end = self.mark.as_ref().and_then(Frame::end)?;
        let (taken, messages) = (self.taken, end.messages);
        Some(format!("of the job's {messages} messages, {taken} came"))
    }
}

/// All jobs. Nobody knows whether one without a group goes on: so a number of them is kept.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    by_name: HashMap<Arc<JobName>, Job>,
}

impl Jobs {
    /// The job of this name: a new one, if there is none. When there are `most`, the older half
    /// of those that have no group are forgotten.
    pub(super) fn enter(&mut self, name: &JobName, most: usize, now: Instant) -> &mut Job {
        if !self.by_name.contains_key(name) {
            self.make_room(most);
        }
        let job = match self.by_name.get_key_value(name) {
            Some((known, _)) => known.clone(),
            None => Arc::new(name.clone()),
        };
        let job = self.by_name.entry(job).or_insert_with(|| Job::new(now));
        job.touched = now;
        job
    }

    fn make_room(&mut self, most: usize) {
        if self.by_name.len() < most {
            return;
        }
        let idle = self.by_name.iter().filter(|(_, job)| job.groups == 0);
        let mut idle: Vec<_> = idle
            .map(|(name, job)| (job.touched, name.clone()))
            .collect();
        idle.sort_by_key(|(touched, _)| *touched);
        for (_, name) in &idle[..idle.len().div_ceil(2)] {
            self.by_name.remove(name);
        }
    }

    pub(super) fn get_mut(&mut self, name: &JobName) -> Option<&mut Job> {
        self.by_name.get_mut(name)
    }

    /// The name as it is kept, to be shared.
    pub(super) fn shared(&self, name: &JobName) -> Arc<JobName> {
        match self.by_name.get_key_value(name) {
            Some((known, _)) => known.clone(),
            None => Arc::new(name.clone()),
        }
    }

    pub(super) fn remove(&mut self, name: &JobName) -> Option<Job> {
        self.by_name.remove(name)
    }

    /// Takes out the jobs without a group for which nothing has come since `before`.
    pub(super) fn take_idle(&mut self, before: Instant) -> Vec<Job> {
        let idle = |job: &Job| job.groups == 0 && job.touched <= before;
        let names = self.by_name.iter().filter(|(_, job)| idle(job));
        let names: Vec<_> = names.map(|(name, _)| name.clone()).collect();
        let jobs = names.iter().filter_map(|name| self.by_name.remove(name));
        jobs.collect()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.by_name.len()
    }
}
