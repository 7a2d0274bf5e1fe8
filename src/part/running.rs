//! The handle of what runs: to stop it, and to wait for its end.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

use super::signal::Signal;
use crate::address::Addresses;
use crate::error::{Error, Result};

#[derive(Clone)]
pub(super) struct Cause {
    pub(super) part: String,
    pub(super) reason: String,
}

#[derive(Default)]
struct End {
    is_over: bool,
    cause: Option<Cause>,
}

pub(super) struct Shared {
    name: String,
    soft: Signal,
    end: Mutex<End>,
    ended: Condvar,
}

impl Shared {
    pub(super) fn new(name: &str, soft: Signal) -> Arc<Self> {
        Arc::new(Self {
            name: name.to_owned(),
            soft,
            end: Mutex::default(),
            ended: Condvar::new(),
        })
    }

    /// All threads have ended, for this cause if there is one.
    pub(super) fn end(&self, cause: Option<Cause>) {
        let mut end = self.end.lock();
        end.cause = cause;
        end.is_over = true;
        self.ended.notify_all();
    }

    fn wait(&self) -> Result<()> {
        let mut end = self.end.lock();
        while !end.is_over {
            self.ended.wait(&mut end);
        }
        match &end.cause {
            None => Ok(()),
            Some(cause) => Err(Error::died(&cause.part, &cause.reason)),
        }
    }
}

/// A running component, or a running part. Dropping it stops it.
pub struct Running {
    shared: Arc<Shared>,
    addresses: Addresses,
    bound: BTreeMap<String, String>,
}

impl Running {
    pub(super) fn new(
        shared: Arc<Shared>,
        addresses: Addresses,
        bound: BTreeMap<String, String>,
    ) -> Self {
        Self {
            shared,
            addresses,
            bound,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// The addresses as they were bound, with the port in place of `*`. Those of roles that
    /// it does not have are empty.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// What the part of this name bound.
    pub fn address_of(&self, part: &str) -> Option<&str> {
        self.bound.get(part).map(String::as_str)
    }

    /// Whether it has ended.
    pub fn is_over(&self) -> bool {
        self.shared.end.lock().is_over
    }

    /// Stops it, and waits until it has ended. It takes no more messages; those inside have
    /// 0.25 s to get out. A function that runs is waited for, however long it takes. Any number
    /// of calls, from any thread, are one stop.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn stop(&self) -> Result<()> {
        self.shared.soft.raise();
        self.shared.wait()
    }

    /// Waits until it ends: by a [`stop`](Self::stop) elsewhere, or because a part died.
    ///
    /// # Errors
    /// [`Error::Died`] with the first part that died and its cause.
    pub fn wait(&self) -> Result<()> {
        self.shared.wait()
    }

    /// Something to stop it with, from another thread or a signal handler's.
    pub fn stopper(&self) -> Stopper {
        Stopper(self.shared.soft.clone())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.stop();
    }
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running")
            .field("name", &self.shared.name)
            .field("bound", &self.bound)
            .finish_non_exhaustive()
    }
}

/// Stops a running component without waiting for its end.
#[derive(Clone)]
pub struct Stopper(Signal);

impl Stopper {
    /// Asks the component to stop. Does not block; again is no harm.
    pub fn stop(&self) {
        self.0.raise();
    }
}

impl std::fmt::Debug for Stopper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Stopper").field(&self.0.is_raised()).finish()
    }
}
