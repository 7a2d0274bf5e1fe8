//! How many tasks a worker may hold: as much work as is needed to keep it busy while the next
//! is on its way, and no more.

use std::time::Duration;

use super::Settings;

/// How many tasks the average looks back, about.
const MEMORY: u64 = 8;

/// What a new worker may hold.
const FIRST_CREDIT: usize = 2;

/// What others may wait for a turn that a session has more than one task in, and how many it has
/// at the most.
const NO_TIME: Duration = Duration::from_micros(200);
const IN_A_ROW: usize = 512;

/// What another does in this time is not worth it that a worker which has nothing to do wakes up for
/// a share of it: on a busy machine, that takes longer.
const WAKE_UP: Duration = Duration::from_micros(150);
const AT_ONCE: usize = 1_024;

/// Longer than any task is said to have run, so that no sum overflows.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// What a worker tells of a task that it has run; of the messages of a bundle, on average.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ran {
    pub(crate) time: Duration,
    /// How large its results are.
    pub(crate) bytes: usize,
}

impl From<Duration> for Ran {
    fn from(time: Duration) -> Self {
        Self { time, bytes: 0 }
    }
}

#[derive(Debug)]
pub(super) struct Pace {
    /// How long tasks run, in nanoseconds.
    time: Average,
    /// How much comes of them, in bytes.
    made: Average,
    credit: usize,
    /// How many tasks were finished with this credit.
    finished: usize,
    /// The bytes that it may hold, when these and the credit are not ours to choose.
    fixed: Option<usize>,
}

impl Pace {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            time: Average::default(),
            made: Average::default(),
            credit: FIRST_CREDIT.min(settings.most_tasks.max(1)),
            finished: 0,
            fixed: None,
        }
    }

    /// It may hold so many tasks, and bytes, whatever they take.
    pub(super) fn fix(&mut self, tasks: usize, bytes: usize) {
        self.credit = tasks;
        self.fixed = Some(bytes);
    }

    /// The bytes that it may hold, if that is fixed.
    pub(super) fn fixed(&self) -> Option<usize> {
        self.fixed
    }

    /// How many tasks it may hold, with the one that runs.
    pub(super) fn credit(&self) -> usize {
        self.credit
    }

    /// How long its tasks run, once one was finished.
    pub(super) fn average(&self) -> Option<Duration> {
        self.time.mean.map(Duration::from_nanos)
    }

    /// How many tasks of one session are given in a row while others wait: what comes of them
    /// goes back together, which costs less than one by one. Not more than are done in no time.
    pub(super) fn in_a_row(&self) -> usize {
        self.time.in_a_row()
    }

    /// Whether its tasks take no time.
    pub(super) fn is_quick(&self) -> bool {
        self.in_a_row() > 1
    }

    /// So many messages of a task were finished. The credit falls at once, and grows in steps: so one short task
    /// among long ones is no reason to give it hundreds.
    pub(super) fn note(&mut self, ran: Ran, count: usize, settings: &Settings) {
        self.time.note_time(ran.time);
        self.made.note(ran.bytes as u64);
        if self.fixed.is_some() {
            return;
        }
        let target = self.target(settings);
        self.finished += count;
        if target < self.credit {
            self.credit = target;
            self.finished = 0;
        } else if self.finished >= self.credit {
            self.credit = target.min(2 * self.credit);
            self.finished = 0;
        }
    }

    /// The one that runs, and those that are done within the time that may be given ahead, as
    /// far as what comes of them is not too much to take in at once.
    fn target(&self, settings: &Settings) -> usize {
        let ahead = nanos(settings.ahead.min(LONGEST)).saturating_sub(1) / self.time.rather();
        let bytes = settings.most_bytes as u64 / self.made.rather();
        usize::try_from(ahead.min(bytes))
            .unwrap_or(usize::MAX)
            .saturating_add(1)
            .min(settings.most_tasks.max(1))
    }
}

/// What something is on average, and how far from that it is on average: who runs now short, now
/// long tasks gets as few as if all were rather long.
#[derive(Debug, Default)]
pub(super) struct Average {
    mean: Option<u64>,
    deviation: u64,
}

impl Average {
    pub(super) fn note(&mut self, new: u64) {
        let mean = self.mean.unwrap_or(new);
        let smooth = |old: u64, new: u64| (old * (MEMORY - 1) + new) / MEMORY;
        self.deviation = smooth(self.deviation, mean.abs_diff(new));
        self.mean = Some(smooth(mean, new));
    }

    /// The same, of a time.
    pub(super) fn note_time(&mut self, time: Duration) {
        self.note(nanos(time.min(LONGEST)));
    }

    /// How many are done in no time, if this is how long each takes.
    pub(super) fn in_a_row(&self) -> usize {
        self.done_within(NO_TIME).clamp(1, IN_A_ROW)
    }

    /// How many are done within so long.
    fn done_within(&self, time: Duration) -> usize {
        match self.mean {
            None => 1,
            Some(_) => usize::try_from(nanos(time) / self.rather()).unwrap_or(usize::MAX),
        }
    }

    /// How many are done in the time for which nobody else needs to wake up.
    pub(super) fn while_one_wakes(&self) -> usize {
        self.done_within(WAKE_UP).clamp(1, AT_ONCE)
    }

    /// What one has to reckon with, if anything is known.
    pub(super) fn rather_known(&self) -> Option<u64> {
        self.mean.map(|_| self.rather())
    }

    /// The same, at least 1.
    fn rather(&self) -> u64 {
        (self.mean.unwrap_or(0) + self.deviation).max(1)
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
