//! SUB: the results of what a component has others do come in.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::subscribe::{Hearing, Reader, Subscribe};
use super::wiring::{Inbound, Part, Wiring};
use super::{Batch, Crew, NotSent, Outlet, Running, Target, start_alone};
use crate::address::{self, Purpose};
use crate::error::Result;
use crate::message::{DEFAULT_MAX_MESSAGE, Frame};

/// Takes in what a server publishes for a client: under every topic that begins with its id (a
/// SUB socket that connects). For a component that is a client itself, as a gateway is, and
/// pushes its messages by a [`PushConnection`](super::PushConnection).
///
/// It is ready when its subscription stands: so no result comes too early for it. The publisher
/// must be there, or come within 10 s. While results have nowhere to go, no more are taken: a
/// palm publisher keeps them then, and one of pylm drops what is over its high-water mark.
#[derive(Clone, Debug)]
pub struct ResultConnection {
    address: String,
    id: String,
    timeout: Duration,
    max_message: usize,
    is_palm: Arc<AtomicBool>,
}

impl ResultConnection {
    /// A connection to the publisher at this address, for a client of this id.
    pub fn new(address: impl Into<String>, id: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            id: id.into(),
            timeout: Duration::from_secs(10),
            max_message: DEFAULT_MAX_MESSAGE,
            is_palm: Arc::default(),
        }
    }

    /// How long to wait for the publisher: 10 s by default.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The largest payload to take, in bytes: 64 MiB by default. A larger message is refused:
    /// in its place, its failure goes on, to tell its client. One of more than twice as much,
    /// and 128 KiB, is not even read: it costs its sender the connection.
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.max_message = bytes;
        self
    }

    /// What will tell, once it has started, whether the publisher is a palm peer.
    #[cfg(feature = "http")]
    pub(crate) fn is_palm(&self) -> Arc<AtomicBool> {
        self.is_palm.clone()
    }

    /// Starts it, as a part named `Sub`, with a thread of its own.
    ///
    /// # Errors
    /// When the address is malformed, or nobody is there in time.
    pub fn start(self, outlet: Outlet) -> Result<Running> {
        start_alone("Sub", self, Some(outlet), None)
    }
}

impl Part for ResultConnection {
    const GIVES: bool = true;
    const TAKES: bool = false;

    fn check(&self) -> Result<()> {
        address::check(&self.address, Purpose::Connect)
    }

    fn spawn(self, crew: &mut Crew, wiring: Wiring) -> Result<()> {
        let Some(outlet) = wiring.outlet else {
            return Ok(());
        };
        let hearing = Hearing::new()?;
        outlet.rings_for_room(hearing.bell());
        let subscribe = Subscribe {
            name: wiring.name,
            target: Target::new(self.address),
            prefix: self.id,
            max_message: self.max_message,
            timeout: self.timeout,
            is_palm: self.is_palm,
        };
        let hand_over = HandOver {
            outlet,
            waiting: Batch::new(),
            closed: false,
        };
        subscribe.spawn(crew, hearing, hand_over);
        Ok(())
    }
}

impl Inbound for ResultConnection {}

/// Gives each result to the router at once.
struct HandOver {
    outlet: Outlet,
    /// What another sender was quicker than, to the last room there was.
    waiting: Batch,
    /// Nobody takes results any more.
    closed: bool,
}

impl HandOver {
    fn flush(&mut self) {
        while !self.waiting.is_empty() && !self.closed {
            match self.outlet.try_send(self.waiting.take(self.outlet.most())) {
                Ok(()) => {}
                Err(NotSent::Full(batch)) => return self.waiting.put_back(batch),
                Err(NotSent::Closed(batch)) => {
                    self.waiting.put_back(batch);
                    self.closed = true;
                }
            }
        }
    }
}

impl Reader for HandOver {
    fn has_room(&mut self) -> bool {
        self.flush();
        self.closed || self.waiting.is_empty() && self.outlet.has_room()
    }

    fn take(&mut self, _: &str, frame: Frame) {
        self.waiting.push(frame);
        self.flush();
    }

    fn is_deserted(&self) -> bool {
        self.closed
    }

    fn kept(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Received;
    use super::super::channel::channel_of;
    use super::*;

    fn frame(payload: &[u8]) -> Frame {
        Frame::new("", "me", "s.f", "", payload)
    }

    #[test]
    fn a_result_that_another_was_quicker_than_is_kept_until_there_is_room() {
        let (outlet, inlet) = channel_of(1).unwrap();
        let mut hand_over = HandOver {
            outlet: outlet.clone(),
            waiting: Batch::new(),
            closed: false,
        };
        assert!(hand_over.has_room());
        outlet
            .send([frame(b"other")].into_iter().collect())
            .unwrap();
        hand_over.take("me", frame(b"ours"));
        assert!(!hand_over.has_room());
        assert_eq!(hand_over.kept(), 1);
        let next = |payload: &[u8]| {
            let batch = [frame(payload)].into_iter().collect();
            assert_eq!(inlet.try_recv(), Received::Batch(batch));
        };
        next(b"other");
        // It takes the room that there is now.
        assert!(!hand_over.has_room());
        assert_eq!(hand_over.kept(), 0);
        next(b"ours");
        assert!(hand_over.has_room());
        drop(inlet);
        hand_over.take("me", frame(b"late"));
        assert!(hand_over.is_deserted());
        assert_eq!(hand_over.kept(), 1);
    }
}
