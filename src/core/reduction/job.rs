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

    /// How many bytes it has, which peers choose: twice, because the mark has it as well.
    fn bytes(&self) -> usize {
        2 * (self.pipeline.len() + self.client.len() + self.function.len())
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
    /// The bytes of the names of those without a group. (Those of the others are no more than
    /// what their groups are counted for.)
    idle_bytes: usize,
}

/// How much of jobs is remembered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Most {
    /// Jobs, with those that have groups.
    pub(super) jobs: usize,
    /// Bytes of the names of those that have none.
    pub(super) idle_bytes: usize,
}

/// When there is too much of it, one in so many is forgotten at once: to look for them takes time.
const SHARE: usize = 16;

impl Jobs {
    /// Forgets jobs that have no group, if there is no room for a new one of this name: first
    /// those whose mark has not come, the oldest first. Gives what is forgotten.
    pub(super) fn make_room(&mut self, name: &JobName, most: Most) -> Vec<Job> {
        let bytes = self.idle_bytes + name.bytes();
        let has_room = self.by_name.len() < most.jobs && bytes <= most.idle_bytes;
        if has_room || self.by_name.contains_key(name) {
            return Vec::new();
        }
        let idle = self.by_name.iter().filter(|(_, job)| job.groups == 0);
        let mut idle: Vec<_> = idle
            .map(|(name, job)| (job.mark.is_some(), job.touched, name.clone()))
            .collect();
        idle.sort_by_key(|(is_marked, touched, _)| (*is_marked, *touched));
        let (jobs, bytes) = (most.jobs, most.idle_bytes);
        let (jobs, bytes) = (jobs - jobs.div_ceil(SHARE), bytes - bytes / SHARE);
        let mut forgotten = Vec::new();
        for (_, _, idle) in idle {
            if self.by_name.len() <= jobs && self.idle_bytes + name.bytes() <= bytes {
                break;
            }
            forgotten.extend(self.remove(&idle));
        }
        forgotten
    }

    /// The job of this name: a new one, if there is none.
    pub(super) fn enter(&mut self, name: &JobName, now: Instant) -> &mut Job {
        let job = self.shared(name);
        let job = self.by_name.entry(job).or_insert_with(|| {
            self.idle_bytes += name.bytes();
            Job::new(now)
        });
        job.touched = now;
        job
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

    /// A job has a group more, under a key that had none that is open.
    pub(super) fn opened(&mut self, name: &JobName, key: Arc<[u8]>, number: u64) {
        if let Some(job) = self.by_name.get_mut(name) {
            if job.groups == 0 {
                self.idle_bytes -= name.bytes();
            }
            job.groups += 1;
            job.open.insert(key, number);
        }
    }

    /// A group of a job is finished.
    pub(super) fn finished_one(&mut self, name: &JobName) {
        if let Some(job) = self.by_name.get_mut(name) {
            job.groups -= 1;
            if job.groups == 0 {
                self.idle_bytes += name.bytes();
            }
        }
    }

    /// The mark at the end of a job has come. Kept is what is known of the job anyway: so it
    /// costs no more than the name, whatever stands in its other fields.
    pub(super) fn mark(&mut self, name: &JobName, mut mark: Frame) {
        let end = mark.end();
        if let (Some(end), Some(job)) = (end, self.by_name.get_mut(name)) {
            mark.set_cache("");
            job.mark = Some(mark.with_end(end));
        }
    }

    pub(super) fn remove(&mut self, name: &JobName) -> Option<Job> {
        let job = self.by_name.remove(name)?;
        if job.groups == 0 {
            self.idle_bytes -= name.bytes();
        }
        Some(job)
    }

    /// Takes out the jobs without a group for which nothing has come since `before`.
    pub(super) fn take_idle(&mut self, before: Instant) -> Vec<Job> {
        let idle = |job: &Job| job.groups == 0 && job.touched <= before;
        let names = self.by_name.iter().filter(|(_, job)| idle(job));
        let names: Vec<_> = names.map(|(name, _)| name.clone()).collect();
        let jobs = names.iter().filter_map(|name| self.remove(name));
        jobs.collect()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Checks the count of bytes.
    #[cfg(test)]
    pub(super) fn assert_counted(&self) {
        let idle = self.by_name.iter().filter(|(_, job)| job.groups == 0);
        let bytes: usize = idle.map(|(name, _)| name.bytes()).sum();
        assert_eq!(self.idle_bytes, bytes);
    }
}
