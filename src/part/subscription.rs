//! SUB: what an earlier step of a chain publishes comes in.

use super::receive::{Receive, Source};
use super::wiring::{Inbound, Part, Wiring};
use super::{Crew, Outlet, Place, Running, start_alone};
use crate::address::{self, Purpose};
use crate::error::Result;
use crate::message::DEFAULT_MAX_MESSAGE;

/// Takes in what is published under a topic: the name of an earlier step, as a rule (a SUB
/// socket that connects). A message without an id in its `cache` field gets a fresh uuid there.
///
/// The publisher need not be there yet; libzmq connects to it, and connects again, when it is.
/// While what comes in has nowhere to go, no more is taken: a palm publisher keeps it then, and
/// one of pylm drops what is over its high-water mark of 1,000 messages.
#[derive(Clone, Debug)]
pub struct SubConnection {
    address: String,
    topic: String,
    max_message: usize,
}

impl SubConnection {
    /// A connection to the publisher at this address, for what it publishes under exactly this
    /// topic. An empty topic stands for all.
    pub fn new(address: impl Into<String>, topic: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            topic: topic.into(),
            max_message: DEFAULT_MAX_MESSAGE,
        }
    }

    /// The largest payload to take, in bytes: 64 MiB by default. A larger message is refused:
    /// in its place, its failure goes on, to tell its client. One of more than twice as much,
    /// and 128 KiB, is not even read: it costs its sender the connection.
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.max_message = bytes;
        self
    }

    /// Starts it, as a part named `Sub`, with a thread of its own.
    ///
    /// # Errors
    /// When the address is malformed.
    pub fn start(self, outlet: Outlet) -> Result<Running> {
        start_alone("Sub", self, Some(outlet), None)
    }
}

impl Part for SubConnection {
    const GIVES: bool = true;
    const TAKES: bool = false;

    fn check(&self) -> Result<()> {
        address::check(&self.address, Purpose::Connect)
    }

    fn spawn(self, crew: &mut Crew, wiring: Wiring) -> Result<()> {
        let receive = Receive {
            name: wiring.name,
            source: Source::Sub(self.topic),
            place: Place::connect(self.address),
            max_message: self.max_message,
            fill_id: true,
            high_water: None,
        };
        receive.spawn(crew, wiring.outlet)
    }
}

impl Inbound for SubConnection {}
