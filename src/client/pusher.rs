//! Where a client's messages go on the pylm wire.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::bell::Bell;
use crate::error::Result;
use crate::message::{DEFAULT_MAX_MESSAGE, Frame};
use crate::socket::{Kind, Socket, Want};
use crate::time::after;

/// How many messages libzmq keeps: the windows of calls and jobs bound how many bytes those have,
/// and for each that had to be waited for, a thread would be woken.
const HIGH_WATER: u16 = 1_024;

/// How often who waits for room looks whether its call is over.
const LOOK: Duration = Duration::from_millis(100);

/// A PUSH socket that all calls and jobs of a client share: whoever has a message sends it.
pub(super) struct Pusher {
    id: String,
    socket: Mutex<Socket>,
    /// Nobody rings it.
    bell: Arc<Bell>,
}

/// What came of sending a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Handed {
    Over,
    /// There was no room in time.
    Late,
    /// The call or the client is over.
    Closed,
}

impl Pusher {
    /// Connects to whoever pulls there, whether or not it is there yet.
    pub(super) fn connect(id: &str, address: &str) -> Result<Self> {
        let mut socket = Socket::open(Kind::Push, "Push", DEFAULT_MAX_MESSAGE)?;
        socket.set_high_water(HIGH_WATER)?;
        socket.connect(address)?;
        Ok(Self {
            id: id.to_owned(),
            socket: Mutex::new(socket),
            bell: Bell::new()?,
        })
    }

    /// Sends a message; waits for room until `deadline`, if there is one, or until the call is
    /// over.
    pub(super) fn send(
        &self,
        frame: &mut Frame,
        deadline: Option<Instant>,
        is_over: impl Fn() -> bool,
    ) -> Handed {
        match self.try_send(frame, deadline, is_over) {
            Ok(handed) => handed,
            Err(error) => {
                log::error!(target: &self.id, "{error}");
                Handed::Closed
            }
        }
    }

    fn try_send(
        &self,
        frame: &mut Frame,
        deadline: Option<Instant>,
        is_over: impl Fn() -> bool,
    ) -> Result<Handed> {
        loop {
            let look = after(Instant::now(), LOOK);
            let until = deadline.map_or(look, |deadline| deadline.min(look));
            // Whoever waits for room has it, and the others wait for that one.
            if let Some(mut socket) = self.socket.try_lock_until(until) {
                if socket.try_send_frame(frame)? {
                    return Ok(Handed::Over);
                }
                if !is_over() {
                    let left = until.saturating_duration_since(Instant::now());
                    socket.wait(Want::Write, &self.bell, Some(left))?;
                    if socket.try_send_frame(frame)? {
                        return Ok(Handed::Over);
                    }
                }
            }
            if is_over() {
                return Ok(Handed::Closed);
            }
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return Ok(Handed::Late);
            }
        }
    }
}
