//! How a thread that waits at its socket is woken by another.

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use std::task::Waker;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::error::{Error, Result};

/// How often a thread lets others run before it sleeps: where there are fewer processors than
/// threads, one of those has what it waits for, and neither has to be woken for it.
const YIELDS: usize = 4;

/// One who runs for so long has something else to do: then so many sleeps begin without that.
const COSTLY: Duration = Duration::from_millis(1);
const SPARED: usize = 1_000;

/// For how long a thread sleeps at the most that has had something to do just now: what others have
/// for it that can wait so long needs not wake it.
pub(crate) const NAP: Duration = Duration::from_millis(5);

/// Wakes a thread that waits at its socket for something else than its socket.
///
/// Whoever has something for the thread makes it visible first and rings then. The thread
/// says that it is going to sleep first and looks then. So one of the two sees the other.
///
/// A task may sleep in place of a thread, but not now the one and now the other.
#[derive(Debug)]
pub struct Bell {
    asleep: AtomicBool,
    /// Whether it sleeps for a [`NAP`] at the most.
    naps: AtomicBool,
    /// Whether something was announced that the thread has not looked at yet.
    news: AtomicBool,
    /// How many more sleeps begin at once.
    spared: AtomicUsize,
    /// Of the task that sleeps, if it is one.
    task: Mutex<Option<Waker>>,
    reader: PipeReader,
    writer: PipeWriter,
}

impl AsRawFd for Bell {
    /// Readable when it has rung.
    fn as_raw_fd(&self) -> RawFd {
        self.reader.as_raw_fd()
    }
}

impl Bell {
    pub(crate) fn new() -> Result<Arc<Self>> {
        let (reader, writer) = io::pipe().map_err(Error::system("a pipe cannot be opened"))?;
        Ok(Arc::new(Self {
            asleep: AtomicBool::new(false),
            naps: AtomicBool::new(false),
            news: AtomicBool::new(false),
            spared: AtomicUsize::new(0),
            task: Mutex::default(),
            reader,
            writer,
        }))
    }

    /// Wakes the thread, if it sleeps. Costs a system call only then.
    pub(crate) fn ring(&self) {
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::SeqCst) {
            if let Some(task) = &*self.task.lock() {
                return task.wake_by_ref();
            }
            // One byte for each time that the thread went to sleep: the pipe cannot fill up, and
            // it cannot be closed while `self` holds both ends.
            let _ = (&self.writer).write(&[1]);
        }
    }

    /// The same for something that can wait for a [`NAP`].
    pub(crate) fn ring_soon(&self) {
        fence(Ordering::SeqCst);
        if !self.naps.load(Ordering::SeqCst) {
            self.ring();
        }
    }

    /// Says whether the next sleep is a [`NAP`] at the most.
    pub(crate) fn set_naps(&self, naps: bool) {
        self.naps.store(naps, Ordering::SeqCst);
    }

    /// Wakes the thread to look at something that it cannot see by itself before it sleeps: it
    /// asks for [`news`](Self::has_news) then.
    pub(crate) fn announce(&self) {
        self.news.store(true, Ordering::SeqCst);
        self.ring();
    }

    /// Whether something was announced since [`take_news`](Self::take_news).
    pub(crate) fn has_news(&self) -> bool {
        self.news.load(Ordering::SeqCst)
    }

    /// The same, and it is looked at now.
    pub(crate) fn take_news(&self) -> bool {
        self.news.swap(false, Ordering::SeqCst)
    }

    /// Whether the thread looks for the last time before it sleeps, or sleeps.
    #[cfg(test)]
    pub(crate) fn is_asleep(&self) -> bool {
        self.asleep.load(Ordering::SeqCst)
    }

    /// Lets others run some times over, unless that has proved costly. Whether there is something
    /// to do now.
    fn let_others_run(&self, ready: &mut impl FnMut() -> bool) -> bool {
        let spared = self.spared.load(Ordering::Relaxed);
        if spared > 0 {
            self.spared.store(spared - 1, Ordering::Relaxed);
            return false;
        }
        for _ in 0..YIELDS {
            let start = Instant::now();
            std::thread::yield_now();
            let is_costly = start.elapsed() >= COSTLY;
            if is_costly {
                self.spared.store(SPARED, Ordering::Relaxed);
            }
            if ready() {
                return true;
            }
            if is_costly {
                break;
            }
        }
        false
    }

    /// Calls `wait`, which should end when the bell rings, unless `ready` says that there is
    /// something to do already.
    pub(crate) fn sleep(
        &self,
        mut ready: impl FnMut() -> bool,
        wait: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        if self.let_others_run(&mut ready) {
            return Ok(());
        }
        self.asleep.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        let result = if ready() { Ok(()) } else { wait() };
        if !self.asleep.swap(false, Ordering::SeqCst) {
            // It rang, so there is a byte, or will be at once.
            let mut rung = [0];
            (&self.reader)
                .read_exact(&mut rung)
                .map_err(Error::system("a pipe cannot be read"))?;
        }
        result
    }

    /// Waits for a ring, or the time-out. For use within [`sleep`](Self::sleep) by a thread that
    /// has no socket at present.
    pub(crate) fn wait(&self, timeout: Duration) -> Result<()> {
        crate::socket::wait_for(self, timeout)
    }

    /// The sleep of a task: ends when it rings and there is something to do.
    #[cfg(feature = "http")]
    pub(crate) async fn until(&self, ready: impl Fn() -> bool) {
        std::future::poll_fn(|context| {
            *self.task.lock() = Some(context.waker().clone());
            self.asleep.store(true, Ordering::SeqCst);
            fence(Ordering::SeqCst);
            // When it has not slept, or is woken by another, a ring too many is no harm.
            match ready() {
                true => std::task::Poll::Ready(()),
                false => std::task::Poll::Pending,
            }
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::socket::{Kind, Socket, Want};

    #[test]
    fn a_bell_ends_every_sleep_that_it_is_rung_for() {
        const TIMES: usize = 2_000;
        let socket = Socket::open(Kind::Pull, "test", 1).unwrap();
        let bell = Bell::new().unwrap();
        let said = Arc::new(AtomicUsize::new(0));
        let ringer = std::thread::spawn({
            let (bell, said) = (bell.clone(), said.clone());
            move || {
                for _ in 0..TIMES {
                    said.fetch_add(1, Ordering::Relaxed);
                    bell.ring();
                }
            }
        });
        let mut heard = 0;
        while heard < TIMES {
            // Without a time-out: a ring that is missed would hang the test.
            let wait = || socket.wait(Want::Read, &bell, None);
            bell.sleep(|| said.load(Ordering::Relaxed) > heard, wait)
                .unwrap();
            heard = said.load(Ordering::Relaxed);
        }
        ringer.join().unwrap();
    }
}
