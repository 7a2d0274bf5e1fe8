//! PULL: messages come in.

use std::time::Instant;

use super::attached::{Attached, Plan};
use super::{Batch, Context, Crew, Duty, NotSent, Outlet, Place, Running, start_alone};
use crate::bell::Bell;
use crate::core::complaints::Complaints;
use crate::error::{Error, Result};
use crate::message::{DEFAULT_MAX_MESSAGE, ENVELOPE, Frame};
use crate::socket::{Kind, Want};

/// Takes in what clients push (a PULL socket that binds). A message without an id in its
/// `cache` field gets a fresh uuid there.
#[derive(Clone, Debug)]
pub struct PullService {
    address: String,
    max_message: usize,
}

/// Takes in what workers have done (a PULL socket that binds), and changes nothing of it.
#[derive(Clone, Debug)]
pub struct WorkerPullService {
    address: String,
    max_message: usize,
}

macro_rules! pull_service {
    ($service:ty, $name:literal, $fill_id:literal) => {
        impl $service {
            /// A service that will bind this address.
            pub fn new(address: impl Into<String>) -> Self {
                Self {
                    address: address.into(),
                    max_message: DEFAULT_MAX_MESSAGE,
                }
            }

            /// The largest payload to take, in bytes. Larger messages are refused.
            pub fn max_message(mut self, bytes: usize) -> Self {
                self.max_message = bytes;
                self
            }

            #[doc = concat!("Starts it, as a part named `", $name, "`, with a thread of its own.")]
            ///
            /// # Errors
            /// When the address is malformed, in use or not to be bound.
            pub fn start(self, outlet: Outlet) -> Result<Running> {
                start_alone($name, |crew| self.spawn(crew, outlet))
            }

            pub(crate) fn spawn(self, crew: &mut Crew, outlet: Outlet) -> Result<()> {
                let pull = Pull {
                    name: $name,
                    place: Place::Bind(self.address),
                    max_message: self.max_message,
                    fill_id: $fill_id,
                    high_water: None,
                };
                pull.spawn(crew, outlet)
            }
        }
    };
}

pull_service!(PullService, "Pull", true);
pull_service!(WorkerPullService, "WorkerPull", false);

/// What all parts with a PULL socket are.
pub(crate) struct Pull {
    pub(crate) name: &'static str,
    pub(crate) place: Place,
    pub(crate) max_message: usize,
    /// Whether a message without an id gets one.
    pub(crate) fill_id: bool,
    /// The most messages in a batch and in libzmq's queue, if not the usual numbers.
    pub(crate) high_water: Option<u16>,
}

impl Pull {
    pub(crate) fn spawn(self, crew: &mut Crew, outlet: Outlet) -> Result<()> {
        let bell = Bell::new()?;
        let plan = Plan {
            kind: Kind::Pull,
            part: self.name,
            place: self.place,
            max_message: self.max_message,
            high_water: self.high_water,
        };
        crew.spawn(self.name, Duty::Carries, move |context| {
            context.wake_by(&bell);
            let (attached, bound) = Attached::open(plan, &bell)?;
            context.ready(bound)?;
            let mut pulling = Pulling {
                context,
                attached,
                outlet,
                limit: self.max_message.saturating_add(ENVELOPE),
                most: self.high_water.map_or(256, usize::from),
                fill_id: self.fill_id,
                complaints: Complaints::default(),
                parts: Vec::new(),
            };
            pulling.run(&bell)
        });
        Ok(())
    }
}

struct Pulling<'a> {
    context: &'a Context,
    attached: Attached,
    outlet: Outlet,
    /// The largest frame to take.
    limit: usize,
    /// The most messages in a batch.
    most: usize,
    fill_id: bool,
    complaints: Complaints,
    parts: Vec<Vec<u8>>,
}

impl Pulling<'_> {
    fn run(&mut self, bell: &Bell) -> Result<()> {
        while !self.context.soft.is_raised() {
            self.attached.follow(self.context);
            let batch = self.receive()?;
            if !batch.is_empty() {
                match self.outlet.send_until(batch, &self.context.hard) {
                    Ok(()) => continue,
                    Err(NotSent::Full(lost) | NotSent::Closed(lost)) => {
                        self.context.say_lost(lost.len());
                        break;
                    }
                }
            }
            let news = || self.context.soft.is_raised() || self.attached.has_moved();
            bell.sleep(news, || self.attached.socket.wait(Want::Read, bell, None))?;
        }
        let refused = self.complaints.total();
        if refused > 0 {
            log::warn!(target: &self.context.component, "{} refused {refused} messages in all", self.context.part);
        }
        Ok(())
    }

    /// Receives what is there, up to a full batch.
    fn receive(&mut self) -> Result<Batch> {
        let mut batch = Batch::new();
        for _ in 0..self.most {
            if batch.is_full() || !self.attached.socket.try_recv(&mut self.parts)? {
                break;
            }
            match self.accept() {
                Ok(frame) => batch.push(frame),
                Err(error) => self.complain(&error),
            }
        }
        Ok(batch)
    }

    fn accept(&mut self) -> Result<Frame> {
        let [frame] = self.parts.as_mut_slice() else {
            return Err(Error::Malformed {
                reason: "it has more than one frame",
            });
        };
        let mut frame = Frame::parse(std::mem::take(frame), self.limit)?;
        if self.fill_id && frame.cache().is_empty() {
            let mut buffer = uuid::Uuid::encode_buffer();
            let id = uuid::Uuid::new_v4();
            frame.set_cache(id.hyphenated().encode_lower(&mut buffer));
        }
        Ok(frame)
    }

    fn complain(&mut self, error: &Error) {
        let peer = self.attached.socket.peer();
        if let Some(more) = self.complaints.note(&peer, Instant::now()) {
            let part = &self.context.part;
            log::warn!(target: &self.context.component, "{part} refused from {peer}: {error}{more}");
        }
    }
}
