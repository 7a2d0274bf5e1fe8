//! PUSH beside the stream: raw bytes go out, whoever in the process has them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, TrySendError};
use parking_lot::RwLock;

use super::attached::{Attached, Plan};
use super::wiring::{Bypass, Part, Wiring};
use super::{Context, Crew, Duty, Place, Running, start_alone};
use crate::address::{self, Purpose};
use crate::bell::Bell;
use crate::error::Result;
use crate::message::DEFAULT_MAX_MESSAGE;
use crate::socket::{Kind, Socket, Want};

/// How many messages may wait, and how many bytes of them.
const MESSAGES: usize = 1_024;
const BYTES: usize = 32 << 20;

/// Pushes raw bytes (a PUSH socket that connects): logs or metrics, say, for one who pulls them
/// there. (pylm's `PushBypassConnection`.)
///
/// They come from its [`sender`](Self::sender), which any thread may have, the functions of the
/// component among them. It never blocks: 1,024 messages may wait, and 32 MiB of them beside
/// one that is larger. More are given back, and it is the caller's to drop or to keep them.
///
/// The peer need not be there yet; libzmq connects to it, and holds 256 messages for it until
/// then. The part goes on until the others of its component have ended, and then has 0.15 s for
/// what waits.
///
/// ```
/// use palm::part::PushBypass;
///
/// let metrics = PushBypass::new("tcp://127.0.0.1:9000");
/// let sender = metrics.sender();
/// let running = metrics.start()?;
/// if let Err(unsent) = sender.send(b"calls 1".to_vec()) {
///     println!("{unsent}");
///     drop(unsent.into_bytes());
/// }
/// # running.stop()?;
/// # Ok::<(), palm::Error>(())
/// ```
#[derive(Debug)]
pub struct PushBypass {
    address: String,
    sender: BypassSender,
    queue: Receiver<Vec<u8>>,
}

/// Hands bytes to a [`PushBypass`].
#[derive(Clone, Debug)]
pub struct BypassSender {
    queue: Sender<Vec<u8>>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// How many bytes wait.
    held: AtomicUsize,
    max_message: AtomicUsize,
    /// Held by who sends while it does: so at the end, all that was taken is in the queue.
    is_over: RwLock<bool>,
    /// The part's bell, once it runs.
    bell: OnceLock<Arc<Bell>>,
}

/// Bytes that a [`BypassSender`] could not hand over, given back.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsent {
    /// As many wait as may.
    #[error("there is no room for more")]
    Full(Vec<u8>),
    /// The part has ended.
    #[error("the part has ended")]
    Closed(Vec<u8>),
    /// They are more than the part sends at once.
    #[error("{} bytes are over the limit", .0.len())]
    TooLarge(Vec<u8>),
}

impl Unsent {
    /// The bytes.
    pub fn into_bytes(self) -> Vec<u8> {
        match self {
            Self::Full(bytes) | Self::Closed(bytes) | Self::TooLarge(bytes) => bytes,
        }
    }
}

impl BypassSender {
    /// Hands bytes over, to be sent as one message. Does not block.
    ///
    /// # Errors
    /// [`Unsent`], with the bytes.
    pub fn send(&self, bytes: impl Into<Vec<u8>>) -> Result<(), Unsent> {
        let bytes = bytes.into();
        let size = bytes.len();
        let is_over = self.shared.is_over.read();
        if *is_over {
            return Err(Unsent::Closed(bytes));
        }
        if size > self.shared.max_message.load(Ordering::Relaxed) {
            return Err(Unsent::TooLarge(bytes));
        }
        if !self.shared.reserve(size) {
            return Err(Unsent::Full(bytes));
        }
        let sent = self.queue.try_send(bytes);
        drop(is_over);
        if sent.is_err() {
            self.shared.release(size);
        }
        if let Some(bell) = self.shared.bell.get() {
            bell.ring();
        }
        sent.map_err(|error| match error {
            TrySendError::Full(bytes) => Unsent::Full(bytes),
            TrySendError::Disconnected(bytes) => Unsent::Closed(bytes),
        })
    }
}

impl Shared {
    /// Makes room for so many bytes, if there is any.
    fn reserve(&self, size: usize) -> bool {
        let more = |held| (held < BYTES).then_some(held + size);
        let (set, fetch) = (Ordering::Relaxed, Ordering::Relaxed);
        self.held.fetch_update(set, fetch, more).is_ok()
    }

    fn release(&self, size: usize) {
        self.held.fetch_sub(size, Ordering::Relaxed);
    }

    /// Has all that is sent from now on be given back.
    fn close(&self) {
        *self.is_over.write() = true;
    }
}

impl PushBypass {
    /// A connection to whoever pulls at this address.
    pub fn new(address: impl Into<String>) -> Self {
        let (sender, queue) = crossbeam_channel::bounded(MESSAGES);
        let shared = Shared {
            held: AtomicUsize::new(0),
            max_message: AtomicUsize::new(DEFAULT_MAX_MESSAGE),
            is_over: RwLock::new(false),
            bell: OnceLock::new(),
        };
        let sender = BypassSender {
            queue: sender,
            shared: Arc::new(shared),
        };
        Self {
            address: address.into(),
            sender,
            queue,
        }
    }

    /// The most bytes to send at once: 64 MiB by default. What is larger is given back.
    pub fn max_message(self, bytes: usize) -> Self {
        let limit = &self.sender.shared.max_message;
        limit.store(bytes, Ordering::Relaxed);
        self
    }

    /// What hands it bytes, also before it runs.
    pub fn sender(&self) -> BypassSender {
        self.sender.clone()
    }

    /// Starts it, as a part named `Push`, with a thread of its own.
    ///
    /// # Errors
    /// When the address is malformed.
    pub fn start(self) -> Result<Running> {
        start_alone("Push", self, None, None)
    }

    fn run(&self, context: &Context, attached: &mut Attached, bell: &Bell) -> Result<()> {
        let mut unsent = None;
        let result = self.push(context, &mut attached.socket, bell, &mut unsent);
        // Also when the socket has failed.
        self.sender.shared.close();
        context.say_lost(usize::from(unsent.is_some()) + self.queue.len());
        result
    }

    /// Sends what comes, until a stop; what it has in hand is in `next`.
    fn push(
        &self,
        context: &Context,
        socket: &mut Socket,
        bell: &Bell,
        next: &mut Option<Vec<u8>>,
    ) -> Result<()> {
        let hard = || context.hard.is_raised();
        while !hard() {
            if !self.take(next) {
                let ready = || hard() || !self.queue.is_empty();
                bell.sleep(ready, || socket.wait(Want::Nothing, bell, None))?;
            } else if !send(socket, next)? {
                bell.sleep(hard, || socket.wait(Want::Write, bell, None))?;
            }
        }
        // No more is taken: so whoever goes on to send does not hold up the end.
        self.sender.shared.close();
        let end = context.last();
        while self.take(next) {
            if !send(socket, next)? {
                let left = end.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    break;
                }
                socket.wait(Want::Write, bell, Some(left))?;
            }
        }
        Ok(())
    }

    /// Takes the next bytes, unless there are some. Whether there are now.
    fn take(&self, next: &mut Option<Vec<u8>>) -> bool {
        if next.is_none() {
            *next = self.queue.try_recv().ok();
            let size = next.as_ref().map_or(0, Vec::len);
            self.sender.shared.release(size);
        }
        next.is_some()
    }
}

/// Sends the next bytes, if there is room.
fn send(socket: &mut Socket, next: &mut Option<Vec<u8>>) -> Result<bool> {
    if let Some(bytes) = next
        && !socket.try_send(bytes)?
    {
        return Ok(false);
    }
    *next = None;
    Ok(true)
}

impl Part for PushBypass {
    const GIVES: bool = false;
    const TAKES: bool = false;

    fn check(&self) -> Result<()> {
        address::check(&self.address, Purpose::Connect)
    }

    fn spawn(self, crew: &mut Crew, wiring: Wiring) -> Result<()> {
        let bell = Bell::new()?;
        let plan = Plan {
            kind: Kind::Push,
            part: wiring.name.clone(),
            topic: None,
            place: Place::connect(&self.address),
            max_message: DEFAULT_MAX_MESSAGE,
            high_water: None,
        };
        let _ = self.sender.shared.bell.set(bell.clone());
        crew.spawn(&wiring.name, Duty::Serves, move |context| {
            context.wake_by(&bell);
            let (mut attached, bound) = Attached::open(plan, &bell)?;
            context.ready(bound)?;
            self.run(context, &mut attached, &bell)
        });
        Ok(())
    }
}

impl Bypass for PushBypass {}

impl Drop for PushBypass {
    /// At its end; or it was never started.
    fn drop(&mut self) {
        self.sender.shared.close();
    }
}
