//! PULL: messages come in.

use std::time::Instant;

use super::{Batch, Context, Crew, Duty, Outlet, Place, Running, start_alone};
use crate::bell::Bell;
use crate::core::complaints::Complaints;
use crate::error::{Error, Result};
use crate::message::{DEFAULT_MAX_MESSAGE, ENVELOPE, Frame};
use crate::socket::{Kind, Socket, Want};

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
        let name = self.name;
        crew.spawn(name, Duty::Carries, move |context| {
            context.wake_by(&bell);
            self.place.rings(&bell);
            let version = self.place.version();
            let (socket, bound) = self.open()?;
            context.ready(bound)?;
            let mut pulling = Pulling {
                config: self,
                context,
                socket,
                version,
                outlet,
                complaints: Complaints::default(),
                parts: Vec::new(),
            };
            pulling.run(&bell)
        });
        Ok(())
    }

    fn open(&self) -> Result<(Socket, Option<String>)> {
        let mut socket = Socket::open(Kind::Pull, self.name, self.max_message)?;
        if let Some(messages) = self.high_water {
            socket.set_high_water(messages)?;
        }
        let bound = self.place.attach(&mut socket)?;
        Ok((socket, bound))
    }
}

struct Pulling<'a> {
    config: Pull,
    context: &'a Context,
    socket: Socket,
    version: u64,
    outlet: Outlet,
    complaints: Complaints,
    parts: Vec<Vec<u8>>,
}

impl Pulling<'_> {
    fn run(&mut self, bell: &Bell) -> Result<()> {
        while !self.context.soft.is_raised() {
            self.follow()?;
            let batch = self.receive()?;
            if !batch.is_empty() {
                if self.outlet.send_until(batch, &self.context.hard).is_err() {
                    break;
                }
                continue;
            }
            let news =
                || self.context.soft.is_raised() || self.config.place.version() != self.version;
            bell.sleep(news, || self.socket.wait(Want::Read, bell, None))?;
        }
        let refused = self.complaints.total();
        if refused > 0 {
            log::warn!(target: &self.context.component, "{} refused {refused} messages in all", self.config.name);
        }
        Ok(())
    }

    /// Connects anew when the target has changed.
    fn follow(&mut self) -> Result<()> {
        let version = self.config.place.version();
        if version != self.version {
            self.version = version;
            self.socket = self.config.open()?.0;
        }
        Ok(())
    }

    /// Receives what is there, up to a full batch.
    fn receive(&mut self) -> Result<Batch> {
        let mut batch = Batch::new();
        let most = self.config.high_water.map_or(256, usize::from);
        for _ in 0..most {
            if batch.is_full() || !self.socket.try_recv(&mut self.parts)? {
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
        let limit = self.config.max_message.saturating_add(ENVELOPE);
        let mut frame = Frame::parse(std::mem::take(frame), limit)?;
        if self.config.fill_id && frame.cache().is_empty() {
            let mut buffer = uuid::Uuid::encode_buffer();
            let id = uuid::Uuid::new_v4();
            frame.set_cache(id.hyphenated().encode_lower(&mut buffer));
        }
        Ok(frame)
    }

    fn complain(&mut self, error: &Error) {
        let peer = self.socket.peer();
        if let Some(more) = self.complaints.note(&peer, Instant::now()) {
            let part = self.config.name;
            log::warn!(target: &self.context.component, "{part} refused from {peer}: {error}{more}");
        }
    }
}
