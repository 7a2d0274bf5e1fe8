//! How long functions run.

use std::time::{Duration, Instant};

/// What has taken so long is looked at more closely.
const LONG: Duration = Duration::from_micros(50);

/// The time that a thread takes for what it does: it stands still while the thread would go on, and
/// others run in its place. So on a machine with more threads than processors, a function that takes
/// no time is not taken for one that does, which would be run message by message.
///
/// Where the system does not tell (it does on Linux), all time that passes counts.
pub(crate) struct RunClock {
    /// How long it has stood still.
    stood: Duration,
    /// When it was asked last.
    last: Instant,
    /// What was known of the thread at some time since it began.
    seen: Option<Seen>,
}

/// What the system tells of a thread.
#[derive(Clone, Copy)]
struct Seen {
    at: Instant,
    /// For how long it has had a processor.
    ran: Duration,
    /// How often it has waited for something.
    waits: i64,
}

impl RunClock {
    /// Of the thread that calls.
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        Self {
            stood: Duration::ZERO,
            last: now,
            seen: look(now),
        }
    }

    /// The thread begins with something, after it has waited.
    pub(crate) fn begin(&mut self) {
        self.last = Instant::now();
        self.seen = look(self.last);
    }

    /// What time it is.
    pub(crate) fn now(&mut self) -> Instant {
        self.pass(Instant::now(), look)
    }

    fn pass(&mut self, now: Instant, look: impl FnOnce(Instant) -> Option<Seen>) -> Instant {
        let passed = now.saturating_duration_since(self.last);
        self.last = now;
        if passed >= LONG {
            let before = std::mem::replace(&mut self.seen, look(now));
            if let (Some(before), Some(seen)) = (before, self.seen)
                && before.waits == seen.waits
            {
                let all = seen.at.saturating_duration_since(before.at);
                let ran = seen.ran.saturating_sub(before.ran);
                self.stood += all.saturating_sub(ran).min(passed);
            }
        }
        now.checked_sub(self.stood).unwrap_or(now)
    }
}

#[cfg(target_os = "linux")]
fn look(at: Instant) -> Option<Seen> {
    use nix::sys::resource::{UsageWho, getrusage};
    use nix::time::{ClockId, clock_gettime};

    let usage = getrusage(UsageWho::RUSAGE_THREAD).ok()?;
    Some(Seen {
        at,
        // What the usage tells of that may be behind by a tick of the scheduler, some milliseconds.
        ran: clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).ok()?.into(),
        waits: usage.voluntary_context_switches(),
    })
}

#[cfg(not(target_os = "linux"))]
fn look(_: Instant) -> Option<Seen> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// A clock, and what it shows after so much has passed of which the thread ran so much, and
    /// waited so often.
    struct World {
        clock: RunClock,
        seen: Seen,
    }

    impl World {
        fn new() -> Self {
            let at = Instant::now();
            let seen = Seen {
                at,
                ran: MS,
                waits: 7,
            };
            let clock = RunClock {
                stood: Duration::ZERO,
                last: at,
                seen: Some(seen),
            };
            Self { clock, seen }
        }

        fn pass(&mut self, passed: Duration, ran: Duration, waits: i64) -> Duration {
            let before = self.clock.last.checked_sub(self.clock.stood).unwrap();
            self.seen.at += passed;
            self.seen.ran += ran;
            self.seen.waits += waits;
            let now = self.clock.pass(self.seen.at, |_| Some(self.seen));
            now.duration_since(before)
        }
    }

    #[test]
    fn it_stands_still_while_others_run() {
        let mut world = World::new();
        assert_eq!(world.pass(3 * MS, 3 * MS, 0), 3 * MS);
        assert_eq!(world.pass(3 * MS, MS, 0), MS);
        assert_eq!(world.pass(3 * MS, 3 * MS, 0), 3 * MS);
    }

    #[test]
    fn what_a_function_waits_for_is_its_time() {
        let mut world = World::new();
        assert_eq!(world.pass(3 * MS, MS, 1), 3 * MS);
        assert_eq!(world.pass(3 * MS, MS, 0), MS);
    }

    #[test]
    fn it_never_goes_back() {
        let mut world = World::new();
        let little = LONG / 2;
        for _ in 0..100 {
            assert_eq!(world.pass(little, Duration::ZERO, 0), little);
        }
        assert_eq!(world.pass(2 * LONG, LONG, 0), Duration::ZERO);
        assert_eq!(world.pass(2 * LONG, LONG, 0), LONG);
    }

    #[test]
    fn what_a_thread_waits_for_is_told_and_what_it_works() {
        const WORK: Duration = Duration::from_micros(200);
        const TIMES: u32 = 100;
        let mut clock = RunClock::new();
        clock.begin();
        let start = clock.now();
        std::thread::sleep(20 * MS);
        assert!(clock.now() - start >= 20 * MS);
        if !cfg!(target_os = "linux") {
            return;
        }
        // So much of a processor each time, however long that takes.
        let ran = || look(Instant::now()).unwrap().ran;
        let mut told = Duration::ZERO;
        for _ in 0..TIMES {
            clock.begin();
            let (start, end) = (clock.now(), ran() + WORK);
            while ran() < end {}
            told += clock.now() - start;
        }
        assert!(told / TIMES >= WORK * 4 / 5, "{:?}", told / TIMES);
    }
}
