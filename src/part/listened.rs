//! A connection that is heard by the thread that owns it, or in its place by one that waits for
//! what comes by it: so neither has the owner to wake up for that, nor to wake the other.
//!
//! While somebody listens, the owner sleeps at its bell alone. It hears again what comes when nobody
//! does any more: soon, because whoever listens is back as a rule when it has seen to what it heard.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::bell::Bell;
use crate::error::Result;
use crate::socket::{Ears, Socket};

/// For how long who listens waits at the most before it looks again.
pub(super) const LONG: Duration = Duration::from_secs(3_600);

/// What is shared by those who may hear a connection.
pub(super) struct Listened<C> {
    /// Wakes the owner's thread.
    pub(super) bell: Arc<Bell>,
    /// While that is there.
    pub(super) connection: Mutex<Option<C>>,
    /// Wakes the thread that listens in its place.
    pub(super) ear: Arc<Bell>,
    /// Whether there is one.
    is_heard: AtomicBool,
}

/// A connection as those see it who may hear it.
pub(super) trait Connection {
    /// Its socket, if it has one at present.
    fn socket(&self) -> Option<&Socket>;
    /// Whether its owner wakes up soon, whatever happens.
    fn is_soon(&self) -> bool;
    /// Whether its owner sleeps without hearing what comes: another listens, or did.
    fn is_deaf(&self) -> bool;
}

/// What has become of a turn of a thread that listens.
pub(super) enum Heard {
    /// There may be more.
    More,
    /// How to wait for more, and whether the owner's thread will wake up soon enough.
    All(Ears, bool),
    /// It is for the owner to see to.
    Nothing,
}

impl<C: Connection> Listened<C> {
    pub(super) fn new() -> Result<Self> {
        Ok(Self {
            bell: Bell::new()?,
            connection: Mutex::new(None),
            ear: Bell::new()?,
            is_heard: AtomicBool::new(false),
        })
    }

    /// Whether somebody listens.
    pub(super) fn is_heard(&self) -> bool {
        self.is_heard.load(Ordering::SeqCst)
    }

    /// Has the owner look at it soon: its thread need not wake up for it at once.
    pub(super) fn look_soon(&self) {
        let connection = self.connection.try_lock();
        // Whoever has it may have looked already at what there is.
        let is_soon = connection.is_some_and(|known| known.as_ref().is_some_and(C::is_soon));
        if !is_soon {
            self.bell.announce();
        }
    }

    /// Has the owner hear what comes at once, though somebody has listened just now who might be
    /// back.
    pub(super) fn leave(&self) {
        let connection = self.connection.try_lock();
        if connection.is_none_or(|known| known.as_ref().is_some_and(C::is_deaf)) {
            self.bell.announce();
        }
    }

    /// Waits in the caller's thread until there is something to do, as `ready` says, or the
    /// time-out, and hears meanwhile what comes, by `hear`, which is told whether it has slept
    /// before. `rests` is called before it sleeps. Whoever else makes something to do announces it
    /// by the ear.
    ///
    /// False when it does not wait: there is no connection at present, it is for the owner to see
    /// to, or somebody listens already.
    pub(super) fn listen(
        &self,
        until: Option<Instant>,
        ready: impl Fn() -> bool,
        rests: impl Fn(),
        mut hear: impl FnMut(&mut C, bool) -> Heard,
    ) -> bool {
        if self.is_heard.swap(true, Ordering::SeqCst) {
            return false;
        }
        let _listening = Listening(self);
        let mut has_slept = false;
        loop {
            self.ear.take_news();
            if ready() {
                return true;
            }
            let heard = match self.connection.lock().as_mut() {
                Some(connection) => hear(connection, has_slept),
                None => return false,
            };
            let ears = match heard {
                Heard::More if until.is_some_and(|until| Instant::now() >= until) => return true,
                Heard::More => continue,
                Heard::All(ears, is_enough) => {
                    if !is_enough {
                        self.bell.announce();
                    }
                    ears
                }
                Heard::Nothing => {
                    self.bell.announce();
                    return false;
                }
            };
            rests();
            let left = until.map_or(LONG, |until| {
                until.saturating_duration_since(Instant::now())
            });
            let is_due = || self.ear.has_news() || ready();
            let slept = self.ear.sleep(is_due, || self.wait(ears, &self.ear, left));
            if slept.is_err() {
                return false;
            }
            if left.is_zero() {
                return true;
            }
            has_slept = true;
        }
    }

    /// Waits for something to hear, a bell, or the time-out. Of peers the owner is told if another
    /// hears of them.
    pub(super) fn wait(&self, ears: Ears, bell: &Arc<Bell>, left: Duration) -> Result<()> {
        let news = ears.wait(bell, left)?;
        if let Some(socket) = self.connection.lock().as_ref().and_then(C::socket) {
            socket.note(news);
        }
        if news.peers && !Arc::ptr_eq(bell, &self.bell) {
            self.bell.announce();
        }
        Ok(())
    }

    /// The owner's thread has begun: when what this gives is dropped, the connection goes, and
    /// whoever listens knows.
    pub(super) fn begin(&self, connection: C) -> Owned<'_, C> {
        *self.connection.lock() = Some(connection);
        Owned(self)
    }
}

/// Has the owner hear again what nobody listens for any more: soon.
struct Listening<'a, C: Connection>(&'a Listened<C>);

impl<C: Connection> Drop for Listening<'_, C> {
    fn drop(&mut self) {
        self.0.is_heard.store(false, Ordering::SeqCst);
        self.0.look_soon();
    }
}

/// Takes the connection away from those who may hear it, and who may be what it shares.
pub(super) struct Owned<'a, C>(&'a Listened<C>);

impl<C> Owned<'_, C> {
    /// Takes it for its owner, if it is there still.
    pub(super) fn end(self) -> Option<C> {
        self.0.connection.lock().take()
    }
}

impl<C> Drop for Owned<'_, C> {
    fn drop(&mut self) {
        let connection = self.0.connection.lock().take();
        drop(connection);
        self.0.ear.announce();
    }
}
