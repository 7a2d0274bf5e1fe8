//! How many tasks a worker may hold: as much work as is needed to keep it busy while the next
//! is on its way, and no more.

use std::time::Duration;

use super::Settings;

/// How many tasks the average looks back, about.
const MEMORY: u64 = 8;

/// What a new worker may hold.
const FIRST_CREDIT: usize = 2;

/// Longer than any task is said to have run, so that no sum overflows.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

#[derive(Debug)]
pub(super) struct Pace {
    /// In nanoseconds, once there is one.
    average: Option<u64>,
    /// How far from the average a task is on average: who runs now short, now long tasks gets
    /// as few as if all were rather long.
    deviation: u64,
    credit: usize,
    /// How many tasks were finished with this credit.
    finished: usize,
    /// The bytes that it may hold, when these and the credit are not ours to choose.
    fixed: Option<usize>,
}

impl Pace {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            average: None,
            deviation: 0,
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
        self.average.map(Duration::from_nanos)
    }

    /// A task was finished. The credit falls at once, and grows in steps: so one short task
    /// among long ones is no reason to give it hundreds.
    pub(super) fn note(&mut self, ran: Duration, settings: &Settings) {
        let ran = nanos(ran.min(LONGEST));
        let average = self.average.unwrap_or(ran);
        let smooth = |old: u64, new: u64| (old * (MEMORY - 1) + new) / MEMORY;
        self.deviation = smooth(self.deviation, average.abs_diff(ran));
        self.average = Some(smooth(average, ran));

        if self.fixed.is_some() {
            return;
        }
        let target = self.target(settings);
        self.finished += 1;
        if target < self.credit {
            self.credit = target;
            self.finished = 0;
        } else if self.finished >= self.credit {
            self.credit = target.min(2 * self.credit);
            self.finished = 0;
        }
    }

    /// The one that runs, and those that are done within the time that may be given ahead.
    fn target(&self, settings: &Settings) -> usize {
        let each = (self.average.unwrap_or(0) + self.deviation).max(1);
        let ahead = nanos(settings.ahead.min(LONGEST)).saturating_sub(1) / each;
        usize::try_from(ahead)
            .unwrap_or(usize::MAX)
            .saturating_add(1)
            .min(settings.most_tasks.max(1))
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
