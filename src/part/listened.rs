//! A connection that is heard by the thread that owns it, or in its place by one that waits for
//! what comes by it: so neither has the owner to wake up for that, nor to wake the other.
//!
//! While somebody listens, the owner sleeps at its bell alone. It hears again what comes when nobody
//! does any more: soon, because whoever listens is back as a rule when it has seen to what it heard.
//! The minder has it do that.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::minder::{Minded, Minder};
use crate::bell::Bell;
use crate::error::Result;
use crate::socket::{Ears, Socket};

/// For how long who listens waits at the most before it looks again.
pub(super) const LONG: Duration = Duration::from_secs(3_600);

/// What is shared by those who may hear a connection.
pub(super) struct Listened<C> {
    /// What the owner and those who leave something to it have to know.
    pub(super) owner: Arc<Minded>,
    /// While that is there.
    pub(super) connection: Mutex<Option<C>>,
    /// Wakes the thread that listens in its place.
    pub(super) ear: Arc<Bell>,
    minder: Arc<Minder>,
}

/// A connection as those see it who may hear it.
pub(super) trait Connection {
    /// Its socket, if it has one at present.
    fn socket(&self) -> Option<&Socket>;
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
    /// One of which this bell wakes the thread that listens.
    pub(super) fn new(ear: Arc<Bell>) -> Result<Self> {
        Ok(Self {
            owner: Minded::new()?,
            connection: Mutex::new(None),
            ear,
            minder: Minder::of_process()?,
        })
    }

    /// Wakes the owner's thread.
    pub(super) fn bell(&self) -> &Arc<Bell> {
        &self.owner.bell
    }

    /// Has it seen to soon what there is to see to: its thread need not wake up for it at once.
    pub(super) fn look_soon(&self) {
        self.minder.leave(&self.owner);
    }

    /// Has the owner hear what comes at once, though somebody has listened just now who might be
    /// back.
    pub(super) fn leave(&self) {
        // While somebody has it, the owner may be about to sleep.
        let connection = self.connection.try_lock();
        if connection.is_none() || self.owner.is_deaf() {
            self.bell().announce();
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
        if !self.owner.begin_hearing() {
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
                        self.bell().announce();
                    }
                    ears
                }
                Heard::Nothing => {
                    self.bell().announce();
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
        if news.peers && !Arc::ptr_eq(bell, self.bell()) {
            self.bell().announce();
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
        self.0.owner.end_hearing();
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
