//! Has connections looked after soon by their own threads, if nobody else has done so by then.
//!
//! Whoever leaves something to a connection's thread that can wait a little need not wake it, if
//! somebody else comes back as a rule and sees to it. One thread of the process minds that for all
//! its connections, so that each needs no naps of its own: it sleeps as long as none is left to it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};

use crate::bell::{Bell, NAP};
use crate::error::{Error, Result};

/// What is known of a connection by those who leave it to its thread.
#[derive(Debug)]
pub(super) struct Minded {
    /// Wakes the connection's thread.
    pub(super) bell: Arc<Bell>,
    /// Whether another thread listens in its place.
    is_heard: AtomicBool,
    /// Whether its thread sleeps without hearing what comes: another listens, or did.
    is_deaf: AtomicBool,
    /// Whether something is left to be seen to that can wait a little.
    is_left: AtomicBool,
    /// Whether the minder looks at it soon.
    is_asked: AtomicBool,
}

impl Minded {
    pub(super) fn new() -> Result<Arc<Self>> {
        Ok(Arc::new(Self {
            bell: Bell::new()?,
            is_heard: AtomicBool::new(false),
            is_deaf: AtomicBool::new(false),
            is_left: AtomicBool::new(false),
            is_asked: AtomicBool::new(false),
        }))
    }

    /// Whether somebody listens.
    pub(super) fn is_heard(&self) -> bool {
        self.is_heard.load(Ordering::SeqCst)
    }

    /// Somebody listens from now on. False if another does.
    pub(super) fn begin_hearing(&self) -> bool {
        !self.is_heard.swap(true, Ordering::SeqCst)
    }

    /// Nobody listens any more.
    pub(super) fn end_hearing(&self) {
        self.is_heard.store(false, Ordering::SeqCst);
    }

    /// The connection's thread looks whether it is to hear what comes, before it sleeps.
    pub(super) fn hears(&self) -> bool {
        let is_deaf = self.is_heard();
        self.is_deaf.store(is_deaf, Ordering::SeqCst);
        !is_deaf
    }

    /// Whether the connection's thread sleeps without hearing what comes.
    pub(super) fn is_deaf(&self) -> bool {
        self.is_deaf.load(Ordering::SeqCst)
    }

    /// Whether something was left to be seen to: it is seen to now.
    pub(super) fn take_left(&self) -> bool {
        self.is_left.swap(false, Ordering::SeqCst)
    }

    /// Wakes the connection's thread, if nobody has seen to it by now.
    fn look(&self) {
        // First: what is left from now on is looked at again.
        self.is_asked.store(false, Ordering::SeqCst);
        let is_unheard = !self.is_heard() && self.is_deaf();
        if self.is_left.load(Ordering::SeqCst) || is_unheard {
            self.bell.announce();
        }
    }
}

/// The thread that looks after connections, as long as there are any.
pub(super) struct Minder {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    asked: Mutex<Asked>,
    news: Condvar,
}

#[derive(Default)]
struct Asked {
    /// Which connections are to be looked at.
    connections: Vec<Arc<Minded>>,
    /// Whether the thread sleeps until there are some.
    sleeps: bool,
    is_over: bool,
}

static MINDER: Mutex<Weak<Minder>> = Mutex::new(Weak::new());

impl Minder {
    /// That of the process.
    pub(super) fn of_process() -> Result<Arc<Self>> {
        let mut known = MINDER.lock();
        if let Some(minder) = known.upgrade() {
            return Ok(minder);
        }
        let shared = Arc::<Shared>::default();
        let thread = std::thread::Builder::new().name("palm:minder".to_owned());
        let of_thread = shared.clone();
        let thread = thread
            .spawn(move || of_thread.run())
            .map_err(Error::system("a thread cannot be started"))?;
        let minder = Arc::new(Self {
            shared,
            thread: Some(thread),
        });
        *known = Arc::downgrade(&minder);
        Ok(minder)
    }

    /// Something is left to be seen to at a connection: within [`NAP`] its thread is woken for it,
    /// unless that is done by then.
    pub(super) fn leave(&self, connection: &Arc<Minded>) {
        connection.is_left.store(true, Ordering::SeqCst);
        if connection.is_asked.swap(true, Ordering::SeqCst) {
            return;
        }
        let mut asked = self.shared.asked.lock();
        asked.connections.push(connection.clone());
        if std::mem::take(&mut asked.sleeps) {
            self.shared.news.notify_one();
        }
    }
}

impl Shared {
    fn run(&self) {
        let mut looked = Vec::new();
        let mut asked = self.asked.lock();
        while !asked.is_over {
            // Where something is left, more will be, as a rule: so it sleeps for long only when
            // nothing was for a while.
            if asked.connections.is_empty() && looked.is_empty() {
                asked.sleeps = true;
                self.news.wait(&mut asked);
                continue;
            }
            self.news.wait_for(&mut asked, NAP);
            looked.clear();
            looked.append(&mut asked.connections);
            drop(asked);
            looked.iter().for_each(|connection| connection.look());
            asked = self.asked.lock();
        }
    }
}

impl Drop for Minder {
    fn drop(&mut self) {
        self.shared.asked.lock().is_over = true;
        self.shared.news.notify_one();
        // It is never the thread itself that drops this: that knows what is shared only.
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    fn until(what: &str, ready: impl Fn() -> bool) {
        let end = Instant::now() + SOON;
        while !ready() {
            assert!(Instant::now() < end, "{what}");
            std::thread::yield_now();
        }
    }

    #[test]
    fn what_is_left_and_not_seen_to_wakes_the_connections_thread() {
        let minder = Minder::of_process().unwrap();
        let left = Minded::new().unwrap();
        // Also after it has slept for long.
        for _ in 0..3 {
            minder.leave(&left);
            until("it is not woken", || left.bell.take_news());
            assert!(left.take_left() && !left.take_left());
            until("it does not sleep", || minder.shared.asked.lock().sleeps);
        }
    }

    #[test]
    fn what_is_seen_to_by_another_wakes_nobody() {
        let minder = Minder::of_process().unwrap();
        let (seen, other) = (Minded::new().unwrap(), Minded::new().unwrap());
        assert!(seen.begin_hearing() && !seen.begin_hearing());
        assert!(!seen.hears());
        minder.leave(&seen);
        assert!(seen.take_left());
        minder.leave(&other);
        until("the other is not woken", || other.bell.has_news());
        assert!(!seen.bell.has_news());
    }

    #[test]
    fn one_that_nobody_hears_any_more_wakes_up() {
        let minder = Minder::of_process().unwrap();
        let deaf = Minded::new().unwrap();
        assert!(deaf.begin_hearing() && !deaf.hears() && deaf.is_deaf());
        deaf.end_hearing();
        minder.leave(&deaf);
        // There is nothing to see to but that.
        assert!(deaf.take_left());
        until("it is not woken", || deaf.bell.take_news());
        assert!(deaf.hears() && !deaf.is_deaf());
    }
}
