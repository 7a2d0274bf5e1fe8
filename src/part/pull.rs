//! PULL: messages come in.

use super::receive::{Intake, Receive, Source};
use super::wiring::{Inbound, Part, Wiring};
use super::{Context, Crew, Outlet, Place, Running, start_alone};
use crate::address::{self, Purpose};
use crate::error::Result;
use crate::message::DEFAULT_MAX_MESSAGE;
use crate::socket::{Kind, Socket};

/// Takes in what clients push (a PULL socket that binds). A message without an id in its
/// `cache` field gets a fresh uuid there.
#[derive(Clone, Debug)]
pub struct PullService {
    address: String,
    max_message: usize,
}

/// Takes in what others push (a PULL socket that connects), from a [`PushService`] for
/// instance. A message without an id in its `cache` field gets a fresh uuid there.
///
/// Whoever pushes need not be there yet; libzmq connects to it, and connects again, when it is.
/// While what comes in has nowhere to go, no more is taken: it stays with whoever pushes.
///
/// [`PushService`]: super::PushService
#[derive(Clone, Debug)]
pub struct PullConnection {
    address: String,
    max_message: usize,
}

/// Takes in what workers have done (a PULL socket that binds), and changes nothing of it.
#[derive(Clone, Debug)]
pub struct WorkerPullService {
    address: String,
    max_message: usize,
}

macro_rules! pull_part {
    ($part:ty, $name:literal, $attach:ident, $place:expr, $fill_id:literal, $new:literal) => {
        impl $part {
            #[doc = $new]
            pub fn new(address: impl Into<String>) -> Self {
                Self {
                    address: address.into(),
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

            #[doc = concat!("Starts it, as a part named `", $name, "`, with a thread of its own.")]
            ///
            /// # Errors
            /// When the address is malformed or, if it is to be bound, cannot be.
            pub fn start(self, outlet: Outlet) -> Result<Running> {
                start_alone($name, self, Some(outlet), None)
            }
        }

        impl Part for $part {
            const GIVES: bool = true;
            const TAKES: bool = false;

            fn check(&self) -> Result<()> {
                address::check(&self.address, Purpose::$attach)
            }

            fn spawn(self, crew: &mut Crew, wiring: Wiring) -> Result<()> {
                let receive = Receive {
                    name: wiring.name,
                    source: Source::Pull,
                    place: $place(self.address),
                    max_message: self.max_message,
                    fill_id: $fill_id,
                    high_water: None,
                };
                receive.spawn(crew, wiring.outlet)
            }
        }

        impl Inbound for $part {}
    };
}

pull_part!(
    PullService,
    "Pull",
    Bind,
    Place::Bind,
    true,
    "A service that will bind this address."
);
pull_part!(
    WorkerPullService,
    "WorkerPull",
    Bind,
    Place::Bind,
    false,
    "A service that will bind this address."
);
pull_part!(
    PullConnection,
    "Pull",
    Connect,
    Place::connect,
    true,
    "A connection to whoever pushes at this address."
);

macro_rules! open {
    ($part:ty, $fill_id:literal) => {
        impl $part {
            /// Its socket, for another thread that does its work, and what makes messages of what
            /// comes in over it.
            pub(super) fn open(&self, context: &Context) -> Result<(Socket, Intake)> {
                let mut socket = Socket::open(Kind::Pull, &context.part, self.max_message)?;
                context.has_bound(socket.bind(&self.address)?);
                Ok((socket, Intake::new(None, self.max_message, $fill_id)))
            }
        }
    };
}

open!(PullService, true);
open!(WorkerPullService, false);
