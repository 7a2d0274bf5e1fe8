//! A signal that is raised once, for all threads that look at it or wait for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Receiver, Sender};
use parking_lot::Mutex;

use crate::bell::Bell;

/// Raised once and for good. Threads look ([`is_raised`](Self::is_raised)), wait with a
/// `select` ([`raised`](Self::raised)), or are rung awake ([`rings`](Self::rings)).
#[derive(Clone)]
pub(crate) struct Signal(Arc<Inner>);

struct Inner {
    raised: AtomicBool,
    receiver: Receiver<()>,
    /// Nothing is ever sent: it is dropped when the signal is raised, and the receiver ends.
    sender: Mutex<Option<Sender<()>>>,
    bells: Mutex<Vec<Arc<Bell>>>,
}

impl Signal {
    pub(crate) fn new() -> Self {
        let (sender, receiver) = crossbeam_channel::bounded(0);
        Self(Arc::new(Inner {
            raised: AtomicBool::new(false),
            receiver,
            sender: Mutex::new(Some(sender)),
            bells: Mutex::default(),
        }))
    }

    /// Raises it. Again is no harm.
    pub(crate) fn raise(&self) {
        self.0.raised.store(true, Ordering::SeqCst);
        drop(self.0.sender.lock().take());
        for bell in self.0.bells.lock().iter() {
            bell.ring();
        }
    }

    pub(crate) fn is_raised(&self) -> bool {
        self.0.raised.load(Ordering::SeqCst)
    }

    /// A channel that ends when the signal is raised.
    pub(crate) fn raised(&self) -> &Receiver<()> {
        &self.0.receiver
    }

    /// Has it ring a bell when it is raised. The sleeper must look before it sleeps.
    pub(crate) fn rings(&self, bell: Arc<Bell>) {
        self.0.bells.lock().push(bell);
    }
}
