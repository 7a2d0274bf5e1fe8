//! REP: requests come in, and are answered.

use std::time::Duration;

use super::reply::Reply;
use super::wiring::{Inbound, Part, Wiring};
use super::{Crew, Inlet, Outlet, Place, Running, start_alone};
use crate::address::{self, Purpose};
use crate::error::Result;
use crate::message::DEFAULT_MAX_MESSAGE;

/// How long a request may take, unless it is told otherwise.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Takes in requests, each a message, of peers that wait for an answer (as a REP socket that
/// binds; they have REQ sockets).
///
/// # Answers
/// If no route leads back to it, the answer is `1` when the message was taken. If one does, the
/// answer is the first message that comes back for the request, whole. On the way the request
/// has a fresh id in its `cache` field, by which the answer is known: workers send that back.
/// The requester's own stands in the answer again. (In pylm, `block` says so; its requests
/// wait for each other, though, and the answer is whatever an outbound part gave last.)
///
/// ```
/// use palm::part::{FunctionService, RepService};
/// use palm::{Assembly, Functions};
///
/// let functions = Functions::new().function("double", |call| Ok(call.payload().repeat(2)));
/// let server = Assembly::new("server")
///     .inbound("Rep", RepService::new("tcp://127.0.0.1:*"), "Functions")
///     .outbound("Functions", FunctionService::new(functions))
///     .replies("Functions", "Rep")
///     .start()?;
/// println!("send requests to {:?}", server.address_of("Rep"));
/// # Ok::<(), palm::Error>(())
/// ```
///
/// # Errors
/// The answer is `0` when the request is no message, when it has no answer in
/// [time](Self::timeout), and when the component ends before it has; what comes back later is
/// dropped. A function that failed has an answer: the message with payload `0`, and the failure
/// beside it. So has a request that is over [`max_message`](Self::max_message), unless no route
/// leads back: then that is `0`, too.
///
/// # Bounds
/// One slow request holds up no other: 1,024 may be open. While there are as many, or what they
/// lead to has no room, no more are taken. A result that comes back while 32 MiB of answers are
/// not taken by their peers waits.
#[derive(Clone, Debug)]
pub struct RepService {
    address: String,
    max_message: usize,
    timeout: Duration,
}

/// The same as [`RepService`] with a socket that connects: to a broker that deals requests out
/// (its DEALER socket), or to a REQ socket that binds.
///
/// That need not be there yet; libzmq connects to it, and connects again, when it is.
#[derive(Clone, Debug)]
pub struct RepConnection {
    address: String,
    max_message: usize,
    timeout: Duration,
}

macro_rules! rep_part {
    ($part:ty, $attach:ident, $place:expr, $new:literal) => {
        impl $part {
            #[doc = $new]
            pub fn new(address: impl Into<String>) -> Self {
                Self {
                    address: address.into(),
                    max_message: DEFAULT_MAX_MESSAGE,
                    timeout: TIMEOUT,
                }
            }

            /// The largest payload to take, in bytes: 64 MiB by default. A larger request is
            /// refused. One of more than twice as much, and 128 KiB, is not even read: it costs
            /// its sender the connection.
            pub fn max_message(mut self, bytes: usize) -> Self {
                self.max_message = bytes;
                self
            }

            /// How long a request may take before it is answered with `0`: 30 s by default.
            pub fn timeout(mut self, timeout: Duration) -> Self {
                self.timeout = timeout;
                self
            }

            /// Starts it, as a part named `Rep`, with a thread of its own. What comes in is
            /// answered by what comes from `answers`; with `1` if that is none.
            ///
            /// # Errors
            /// When the address is malformed or, if it is to be bound, cannot be.
            pub fn start(self, outlet: Outlet, answers: Option<Inlet>) -> Result<Running> {
                start_alone("Rep", self, Some(outlet), answers)
            }
        }

        impl Part for $part {
            const GIVES: bool = true;
            const TAKES: bool = true;

            fn check(&self) -> Result<()> {
                address::check(&self.address, Purpose::$attach)
            }

            fn spawn(self, crew: &mut Crew, wiring: Wiring) -> Result<()> {
                let reply = Reply {
                    name: wiring.name,
                    place: $place(self.address),
                    max_message: self.max_message,
                    timeout: self.timeout,
                };
                reply.spawn(crew, wiring.outlet, wiring.inlet)
            }
        }

        impl Inbound for $part {}
    };
}

rep_part!(
    RepService,
    Bind,
    Place::Bind,
    "A service that will bind this address."
);
rep_part!(
    RepConnection,
    Connect,
    Place::connect,
    "A connection to whoever sends requests from this address."
);
