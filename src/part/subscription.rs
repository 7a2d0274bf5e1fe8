//! SUB: what an earlier step of a chain publishes comes in.

use super::follow::Follow;
use super::receive::{Receive, Source};
use super::wiring::{Inbound, Part, Wiring};
use super::{Crew, Outlet, Place, Running, start_alone};
use crate::address::{self, Purpose};
use crate::error::Result;
use crate::message::DEFAULT_MAX_MESSAGE;
use crate::wire::Wire;

/// Takes in what is published under a topic: the name of an earlier step, as a rule (a SUB
/// socket that connects). A message without an id in its `cache` field gets a fresh uuid there.
///
/// A palm publisher tells at the connection where its link is, if it has one: then the messages
/// come over that, in their order, and the publisher keeps each until it is done. From one of
/// pylm, which says nothing for 0.3 s, they come over the pylm wire.
///
/// The publisher need not be there yet. It may go and come back, elsewhere behind its address,
/// and as one of the other kind. While what comes in has nowhere to go, no more is taken: a palm
/// publisher keeps it then, and one of pylm drops what is over its high-water mark of 1,000
/// messages.
#[derive(Clone, Debug)]
pub struct SubConnection {
    address: String,
    topic: String,
    max_message: usize,
    wire: Wire,
    /// Whether it is not a part of a component.
    alone: bool,
    beside: Option<String>,
}

impl SubConnection {
    /// A connection to the publisher at this address, for what it publishes under exactly this
    /// topic. An empty topic stands for all, which come over the pylm wire.
    pub fn new(address: impl Into<String>, topic: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            topic: topic.into(),
            max_message: DEFAULT_MAX_MESSAGE,
            wire: Wire::default(),
            alone: false,
            beside: None,
        }
    }

    /// The largest payload to take, in bytes: 64 MiB by default. A larger message is refused:
    /// in its place, its failure goes on, to tell its client. One of more than twice as much,
    /// and 128 KiB, is not even read: it costs its sender the connection.
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.max_message = bytes;
        self
    }

    /// The wire to speak: the link by default, if the publisher has one.
    pub fn wire(mut self, wire: Wire) -> Self {
        self.wire = wire;
        self
    }

    /// An address of the component that it is a part of. The step before tells those of the same
    /// name apart by it, also when they, or it, are restarted.
    pub(crate) fn beside(mut self, address: &str) -> Self {
        self.beside = Some(address.to_owned());
        self
    }

    /// Starts it, as a part named `Sub`, with threads of its own.
    ///
    /// # Errors
    /// When the address is malformed.
    pub fn start(mut self, outlet: Outlet) -> Result<Running> {
        self.alone = true;
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
        let outlet = match wiring.outlet {
            Some(outlet) if self.wire == Wire::Link && !self.topic.is_empty() => {
                let follow = Follow {
                    part: wiring.name,
                    address: self.address,
                    topic: self.topic,
                    max_message: self.max_message,
                    alone: self.alone,
                    beside: self.beside,
                };
                return follow.spawn(crew, outlet);
            }
            outlet => outlet,
        };
        let receive = Receive {
            name: wiring.name,
            source: Source::Sub(self.topic),
            place: Place::connect(self.address),
            max_message: self.max_message,
            fill_id: true,
            high_water: None,
        };
        receive.spawn(crew, outlet)
    }
}

impl Inbound for SubConnection {}
