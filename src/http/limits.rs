//! Bounds: how many requests are open, and how many bytes they hold.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// How many bytes of bodies to hold at least, whatever the largest message is.
const LEAST_HELD: usize = 64 << 20;

/// How many of the largest messages may be held.
const LARGEST_HELD: usize = 4;

/// Bytes that may be held at once, by all requests together.
#[derive(Debug)]
pub(super) struct Budget {
    used: AtomicUsize,
    most: usize,
    less: Notify,
}

impl Budget {
    /// Room for four of the largest messages, or for 64 MiB.
    pub(super) fn for_messages_of(max_message: usize) -> Arc<Self> {
        Arc::new(Self {
            used: AtomicUsize::new(0),
            most: max_message.saturating_mul(LARGEST_HELD).max(LEAST_HELD),
            less: Notify::new(),
        })
    }

    pub(super) fn is_full(&self) -> bool {
        self.used.load(Ordering::SeqCst) >= self.most
    }

    /// Ends when something is given back; perhaps before.
    pub(super) async fn less(&self) {
        self.less.notified().await;
    }

    /// Holds nothing, so far.
    pub(super) fn hold(self: &Arc<Self>) -> Held {
        Held {
            budget: self.clone(),
            bytes: 0,
        }
    }

    /// Holds so many bytes, even if that is more than there is room for.
    pub(super) fn hold_all(self: &Arc<Self>, bytes: usize) -> Held {
        self.used.fetch_add(bytes, Ordering::SeqCst);
        Held {
            budget: self.clone(),
            bytes,
        }
    }
}

/// Bytes of a budget, until it is dropped.
#[derive(Debug)]
pub(super) struct Held {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Held {
    /// Holds more, if there is room for it.
    pub(super) fn grow(&mut self, by: usize) -> bool {
        let most = self.budget.most;
        let grown = |used: usize| used.checked_add(by).filter(|&used| used <= most);
        let used = &self.budget.used;
        let fits = used
            .try_update(Ordering::SeqCst, Ordering::SeqCst, grown)
            .is_ok();
        if fits {
            self.bytes += by;
        }
        fits
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::SeqCst);
        self.budget.less.notify_one();
    }
}

/// Counts what is open, up to a bound.
#[derive(Debug)]
pub(super) struct Gauge {
    open: AtomicUsize,
    most: AtomicUsize,
}

impl Gauge {
    pub(super) fn of(most: usize) -> Arc<Self> {
        Arc::new(Self {
            open: AtomicUsize::new(0),
            most: AtomicUsize::new(most),
        })
    }

    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    /// Lowers the bound.
    pub(super) fn limit(&self, most: usize) {
        self.most.fetch_min(most, Ordering::SeqCst);
    }

    /// One more, if that is within the bound.
    pub(super) fn enter(self: &Arc<Self>) -> Option<Entered> {
        let most = self.most.load(Ordering::SeqCst);
        let entered = |open: usize| (open < most).then_some(open + 1);
        self.open
            .try_update(Ordering::SeqCst, Ordering::SeqCst, entered)
            .ok()
            .map(|_| Entered(self.clone()))
    }
}

/// One that is open, until it is dropped.
#[derive(Debug)]
pub(super) struct Entered(Arc<Gauge>);

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_held_up_to_the_bound_and_given_back() {
        let budget = Budget::for_messages_of(1);
        let mut first = budget.hold();
        assert!(first.grow(LEAST_HELD - 1));
        let mut second = budget.hold();
        assert!(!second.grow(2) && second.grow(1) && budget.is_full());
        assert!(!second.grow(usize::MAX));
        drop(first);
        assert!(!budget.is_full() && second.grow(2));
        let over = budget.hold_all(LEAST_HELD);
        drop((second, over));
        assert_eq!(budget.used.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn no_more_than_the_bound_are_open() {
        let gauge = Gauge::of(2);
        let first = gauge.enter().unwrap();
        assert_eq!(gauge.open(), 1);
        gauge.limit(1);
        gauge.limit(2);
        assert!(gauge.enter().is_none());
        drop(first);
        assert!(gauge.enter().is_some());
        assert_eq!(gauge.open(), 0);
    }
}
