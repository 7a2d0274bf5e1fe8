//! PUSH: messages go out, each to one of those who pull.

use std::time::{Duration, Instant};

use super::attached::{Attached, Plan};
use super::wiring::{Outbound, Part, Wiring};
use super::{Context, Crew, Duty, Inlet, Place, Received, Running, start_alone};
use crate::address::{self, Purpose};
use crate::bell::Bell;
use crate::error::Result;
use crate::message::{DEFAULT_MAX_MESSAGE, Frame};
use crate::socket::{Kind, Socket, Want};

/// How many messages libzmq sends ahead to a worker, beside what the network holds: what a
/// busy worker hoards, and what is lost with it.
pub(super) const PREFETCH: u16 = 128;

/// After how long a message that nobody takes is worth a line of the log.
pub(super) const STALL: Duration = Duration::from_secs(5);

/// Gives messages to workers in turn (a PUSH socket that binds). While there is no worker, or
/// none has room, it takes no more. libzmq holds 128 messages for each worker, so that none
/// hoards what others could do.
#[derive(Clone, Debug)]
pub struct WorkerPushService {
    address: String,
}

/// Gives messages to whoever pulls, in turn (a PUSH socket that binds). While nobody does, or
/// nobody has room, it takes no more. libzmq holds 256 messages for each.
#[derive(Clone, Debug)]
pub struct PushService {
    address: String,
}

/// Gives messages to a component that pulls (a PUSH socket that connects), such as another's
/// [`PullService`](super::PullService).
///
/// That need not be there yet; libzmq connects to it, and connects again, when it is. libzmq
/// holds 256 messages for it until then; when it has no more room, the part takes no more. On
/// a stop, what was taken has the grace of 0.25 s to be handed over, and libzmq as long again
/// to send it. What libzmq could not send then is lost, and not counted.
#[derive(Clone, Debug)]
pub struct PushConnection {
    address: String,
}

macro_rules! push_part {
    ($part:ty, $name:literal, $attach:ident, $place:expr, $high_water:expr, $new:literal) => {
        impl $part {
            #[doc = $new]
            pub fn new(address: impl Into<String>) -> Self {
                Self {
                    address: address.into(),
                }
            }

            #[doc = concat!("Starts it, as a part named `", $name, "`, with a thread of its own.")]
            ///
            /// # Errors
            /// When the address is malformed or, if it is to be bound, cannot be.
            pub fn start(self, inlet: Inlet) -> Result<Running> {
                start_alone($name, self, None, Some(inlet))
            }
        }

        impl Part for $part {
            const GIVES: bool = false;
            const TAKES: bool = true;

            fn check(&self) -> Result<()> {
                address::check(&self.address, Purpose::$attach)
            }

            fn spawn(self, crew: &mut Crew, wiring: Wiring) -> Result<()> {
                let push = Push {
                    name: wiring.name,
                    place: $place(self.address),
                    high_water: $high_water,
                };
                push.spawn(crew, wiring.inlet);
                Ok(())
            }
        }

        impl Outbound for $part {}
    };
}

push_part!(
    WorkerPushService,
    "WorkerPush",
    Bind,
    Place::Bind,
    Some(PREFETCH),
    "A service that will bind this address."
);
push_part!(
    PushService,
    "Push",
    Bind,
    Place::Bind,
    None,
    "A service that will bind this address."
);
push_part!(
    PushConnection,
    "Push",
    Connect,
    Place::connect,
    None,
    "A connection to whoever pulls at this address."
);

/// What all parts with a PUSH socket are.
struct Push {
    name: String,
    place: Place,
    /// The most messages in libzmq's queue for a peer, if not the usual number.
    high_water: Option<u16>,
}

impl WorkerPushService {
    /// Its socket, for another thread that does its work, and wants to know who is there.
    pub(super) fn open(&self, context: &Context) -> Result<Socket> {
        let mut socket = Socket::open(Kind::Push, &context.part, DEFAULT_MAX_MESSAGE)?;
        socket.set_high_water(PREFETCH)?;
        socket.watch_peers()?;
        context.has_bound(socket.bind(&self.address)?);
        Ok(socket)
    }
}

impl Push {
    /// Starts it, if there is something to push.
    fn spawn(self, crew: &mut Crew, inlet: Option<Inlet>) {
        let Some(inlet) = inlet else { return };
        let plan = Plan {
            kind: Kind::Push,
            part: self.name.clone(),
            topic: None,
            place: self.place,
            max_message: DEFAULT_MAX_MESSAGE,
            high_water: self.high_water,
        };
        crew.spawn(&self.name, Duty::Carries, move |context| {
            let bell = inlet.bell().clone();
            context.wake_by(&bell);
            let (attached, bound) = Attached::open(plan, &bell)?;
            context.ready(bound)?;
            let mut pushing = Pushing {
                context,
                attached,
                bell: &bell,
            };
            pushing.run(&inlet)
        });
    }
}

struct Pushing<'a> {
    context: &'a Context,
    attached: Attached,
    bell: &'a Bell,
}

impl Pushing<'_> {
    /// Sends what comes, to the end. What does not get out by then is told as lost.
    fn run(&mut self, inlet: &Inlet) -> Result<()> {
        let mut lost = 0;
        let result = self.send_all(inlet, &mut lost);
        self.context.say_lost(lost + inlet.drain());
        result
    }

    fn send_all(&mut self, inlet: &Inlet, lost: &mut usize) -> Result<()> {
        loop {
            self.attached.follow(self.context);
            match inlet.try_recv() {
                Received::Batch(batch) => {
                    *lost = batch.len();
                    for mut parcel in batch {
                        if !self.send(&mut parcel.frame)? {
                            return Ok(());
                        }
                        *lost -= 1;
                    }
                }
                Received::End => return Ok(()),
                Received::Nothing => {
                    if self.context.hard.is_raised() {
                        return Ok(());
                    }
                    let ready = || inlet.is_ready() || self.news();
                    let wait = || self.attached.socket.wait(Want::Nothing, self.bell, None);
                    self.bell.sleep(ready, wait)?;
                }
            }
        }
    }

    /// Sends a message, after waiting until somebody has room for it. False when everybody
    /// shall end before.
    fn send(&mut self, frame: &mut Frame) -> Result<bool> {
        let mut stall = None;
        loop {
            // Before each attempt: what is given to the old connection is lost with it.
            self.attached.follow(self.context);
            if self.attached.socket.try_send_frame(frame)? {
                return Ok(true);
            }
            if self.context.hard.is_raised() {
                return Ok(false);
            }
            let stall = stall.get_or_insert_with(Stall::begin);
            let wait = || {
                self.attached
                    .socket
                    .wait(Want::Write, self.bell, Some(STALL))
            };
            self.bell.sleep(|| self.news(), wait)?;
            stall.tell(self.context);
        }
    }

    fn news(&self) -> bool {
        self.context.hard.is_raised() || self.attached.has_moved()
    }
}

/// Since when nobody takes a message, and whether that was said.
pub(super) struct Stall {
    since: Instant,
    said: bool,
}

impl Stall {
    pub(super) fn begin() -> Self {
        Self {
            since: Instant::now(),
            said: false,
        }
    }

    /// Says so once, after some time.
    pub(super) fn tell(&mut self, context: &Context) {
        if self.said || self.since.elapsed() < STALL {
            return;
        }
        self.said = true;
        let (name, part) = (&context.component, &context.part);
        log::warn!(target: name, "{part} has a message that nobody takes: all are busy, or nobody is there");
    }
}
