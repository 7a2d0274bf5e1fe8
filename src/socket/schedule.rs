//! How the system schedules the threads that carry messages: libzmq's, and those of the parts.
//!
//! One that wakes up for a message interrupts, as a rule, the thread that runs on its processor: often
//! the one that has sent that message, and would have sent more in a moment. So of a stream, what could
//! go together goes in many small pieces, each with a change of threads. Threads of the batch policy
//! wait until the other one has nothing more to do, or has had its time, some milliseconds at the most;
//! where a processor is free, they run at once as any other. So the threads that carry messages have
//! that policy as long as much goes through them, and for some dozens of messages more. One call after
//! the other is not much: each of its hops would have to wait for whoever else computes on the machine.
//!
//! What a hook of the user's starts on such a thread, threads or processes, begins with the policy that
//! it has then.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// After so many bytes, or frames, it is looked at how long they took.
const LOOK_BYTES: usize = 64 << 10;
const LOOK_FRAMES: usize = 256;

/// So many bytes in a millisecond are much.
const MUCH: u128 = 8 << 10;

thread_local! {
    /// Whether the thread carries messages, and if so, whether it does not interrupt others now.
    static CARRIES: Cell<Option<bool>> = const { Cell::new(None) };
}

/// The calling thread carries messages and nothing else, from now on. (Where somebody has chosen
/// another policy than the usual one, that stays.)
pub(crate) fn carry() {
    if system::is_usual(system::CALLER) {
        CARRIES.set(Some(false));
    }
}

/// What goes through the sockets of a context.
pub(super) struct Traffic {
    is_much: AtomicBool,
    seen: Mutex<Seen>,
}

struct Seen {
    /// The threads of libzmq, as the system numbers them.
    threads: Vec<i32>,
    /// What has gone through since then.
    since: Instant,
    bytes: usize,
    frames: usize,
}

impl Traffic {
    /// Of a context whose threads start in `start`.
    pub(super) fn of(start: impl FnOnce() + Send) -> Self {
        Self {
            is_much: AtomicBool::new(false),
            seen: Mutex::new(Seen {
                threads: started_in(start),
                since: Instant::now(),
                bytes: 0,
                frames: 0,
            }),
        }
    }

    /// So much has gone through a socket, by the calling thread.
    fn note(&self, bytes: usize, frames: usize) {
        // Where several threads do this at once, what one has seen will do.
        if let Some(mut seen) = self.seen.try_lock()
            && let Some(is_much) = seen.note(bytes, frames, Instant::now)
            && self.is_much.swap(is_much, Ordering::Relaxed) != is_much
        {
            for thread in &seen.threads {
                system::set_patient(*thread, is_much);
            }
        }
        let is_much = self.is_much.load(Ordering::Relaxed);
        if CARRIES.get() == Some(!is_much) {
            system::set_patient(system::CALLER, is_much);
            CARRIES.set(Some(is_much));
        }
    }
}

impl Seen {
    /// Whether that is much, if it is time to look.
    fn note(&mut self, bytes: usize, frames: usize, now: impl FnOnce() -> Instant) -> Option<bool> {
        self.bytes += bytes;
        self.frames += frames;
        if self.bytes < LOOK_BYTES && self.frames < LOOK_FRAMES {
            return None;
        }
        let now = now();
        let took = now.saturating_duration_since(self.since);
        let bytes = std::mem::take(&mut self.bytes) as u128;
        (self.since, self.frames) = (now, 0);
        Some(bytes * Duration::from_millis(1).as_nanos() >= MUCH * took.as_nanos())
    }
}

/// What has gone through one socket, and is not noted yet.
#[derive(Default)]
pub(super) struct Passed {
    bytes: usize,
    frames: usize,
}

impl Passed {
    /// A frame of so many bytes goes through.
    pub(super) fn add(&mut self, bytes: usize, traffic: &Traffic) {
        self.bytes += bytes;
        self.frames += 1;
        if self.bytes >= LOOK_BYTES / 16 || self.frames >= LOOK_FRAMES / 16 {
            let Self { bytes, frames } = std::mem::take(self);
            traffic.note(bytes, frames);
        }
    }
}

/// Runs this in a thread of its own, and finds the threads that it has started: the system gives them
/// its name.
fn started_in(start: impl FnOnce() + Send) -> Vec<i32> {
    static STARTED: AtomicUsize = AtomicUsize::new(0);
    let name = format!(
        "palm:io {}",
        STARTED.fetch_add(1, Ordering::Relaxed) % 1_000_000
    );
    let is_patient = CARRIES.get() == Some(true);
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name(name.clone());
        let started = thread.spawn_scoped(scope, || {
            if is_patient {
                // It is not of the thread that opens the first socket how the others begin.
                system::set_patient(system::CALLER, false);
            }
            start();
            let mut threads = system::threads_named(&name);
            threads.retain(|thread| system::is_usual(*thread));
            threads
        });
        // Without a thread there is no context to look after: its first socket tells why.
        started.map_or(Vec::new(), |thread| thread.join().unwrap_or_default())
    })
}

#[cfg(target_os = "linux")]
mod system {
    use libc::{SCHED_BATCH, SCHED_OTHER, sched_getscheduler, sched_param, sched_setscheduler};

    /// The calling thread.
    pub(super) const CALLER: i32 = 0;

    /// Has a thread wait for those that run, or interrupt them again. Does nothing if it has another
    /// policy than these two, or the system does not allow it.
    pub(super) fn set_patient(thread: i32, is_patient: bool) {
        let (from, to) = match is_patient {
            true => (SCHED_OTHER, SCHED_BATCH),
            false => (SCHED_BATCH, SCHED_OTHER),
        };
        let none = sched_param { sched_priority: 0 };
        // SAFETY: they take numbers, and parameters that are read during the call only; a number that
        // no thread has is an error. A policy changes when a thread runs, and nothing of what it does.
        unsafe {
            if sched_getscheduler(thread) == from {
                sched_setscheduler(thread, to, &raw const none);
            }
        }
    }

    /// Whether a thread has the usual policy.
    pub(super) fn is_usual(thread: i32) -> bool {
        // SAFETY: it takes a number and gives one.
        unsafe { sched_getscheduler(thread) == SCHED_OTHER }
    }

    /// Whether a thread has the batch policy.
    #[cfg(test)]
    pub(super) fn is_patient(thread: i32) -> bool {
        // SAFETY: it takes a number and gives one.
        unsafe { sched_getscheduler(thread) == SCHED_BATCH }
    }

    /// The threads of the process that have this name, without the calling one. None if what the
    /// system tells of them is not by the numbers that it knows here, as in some containers.
    pub(super) fn threads_named(name: &str) -> Vec<i32> {
        let own = std::fs::read_link("/proc/thread-self").unwrap_or_default();
        // SAFETY: it gives a number.
        let number = unsafe { libc::gettid() }.to_string();
        if own.file_name() != Some(number.as_ref()) {
            return Vec::new();
        }
        let tasks = std::fs::read_dir("/proc/self/task");
        let tasks = tasks.into_iter().flatten().flatten();
        let others = tasks.filter(|task| Some(task.file_name().as_os_str()) != own.file_name());
        let named = others.filter(|task| {
            let known = std::fs::read_to_string(task.path().join("comm"));
            known.is_ok_and(|known| known.trim_end() == name)
        });
        let numbers = named.filter_map(|task| task.file_name().to_str()?.parse().ok());
        numbers.collect()
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    pub(super) const CALLER: i32 = 0;

    pub(super) fn set_patient(_: i32, _: bool) {}

    pub(super) fn is_usual(_: i32) -> bool {
        false
    }

    pub(super) fn threads_named(_: &str) -> Vec<i32> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn much_is_what_goes_through_in_little_time() {
        let start = Instant::now();
        let mut seen = Seen {
            threads: Vec::new(),
            since: start,
            bytes: 0,
            frames: 0,
        };
        let mut note = |bytes, frames, after| {
            seen.note(bytes, frames, || start + Duration::from_millis(after))
        };
        assert_eq!(note(LOOK_BYTES - 1, 1, 1), None);
        // 64 KiB in 8 ms.
        assert_eq!(note(1, 1, 8), Some(true));
        assert_eq!(note(LOOK_BYTES, 1, 17), Some(false));
        // Calls, one after the other.
        assert_eq!(note(4_000, LOOK_FRAMES - 1, 18), None);
        assert_eq!(note(100, 1, 20), Some(false));
        assert_eq!(note(1 << 20, 1, 100), Some(true));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn as_long_as_much_goes_through_threads_that_carry_it_interrupt_nobody() {
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let traffic = Traffic::of(|| {
            // As libzmq does, it starts one that goes on.
            std::thread::Builder::new()
                .spawn(move || ended.recv())
                .unwrap();
        });
        let threads = traffic.seen.lock().threads.clone();
        if !system::is_usual(system::CALLER) {
            // Somebody has chosen another policy for all of this process.
            assert!(threads.is_empty());
            return;
        }
        let [thread] = threads[..] else {
            panic!("its threads are {threads:?}");
        };
        let is_patient = || [thread, system::CALLER].map(system::is_patient);
        traffic.note(1 << 30, 1);
        assert_eq!(is_patient(), [true, false]);
        carry();
        traffic.note(1, 1);
        assert_eq!(is_patient(), [true, true]);
        traffic.note(1, LOOK_FRAMES);
        assert_eq!(is_patient(), [false, false]);
        drop(end);
    }
}
