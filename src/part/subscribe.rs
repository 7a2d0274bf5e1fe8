//! SUB: what a client gets back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{Context, Crew, Duty, Target, WELCOME};
use crate::bell::Bell;
use crate::core::complaints::Complaints;
use crate::error::{Error, Result};
use crate::message::{Frame, FrameReader};
use crate::socket::{Kind, Monitor, Socket, Want};

/// How long a peer that has answered at all may take to say that it is a palm peer. One that
/// says nothing may be one that publishes to nobody while our subscription is on its way.
const SETTLE: Duration = Duration::from_millis(300);

/// What a publisher sends that does not keep to its form.
pub(super) const UNPUBLISHED: Error = Error::Malformed {
    reason: "a published message has a topic and a message",
};

/// Receives what is published under the topics that begin with `prefix`.
///
/// It is ready when the subscription is: a palm publisher says so; of another, it is taken to
/// be a little after the connection was made.
pub(crate) struct Subscribe {
    /// The name of the part.
    pub(crate) name: String,
    pub(crate) target: Target,
    pub(crate) prefix: String,
    pub(crate) max_message: usize,
    /// How long to wait for the subscription.
    pub(crate) timeout: Duration,
    /// Is told whether the publisher is a palm peer, before the part is ready.
    pub(crate) is_palm: Arc<AtomicBool>,
}

impl Subscribe {
    /// Gives each topic and message to `reader`, while it has room for them.
    pub(crate) fn spawn(self, crew: &mut Crew, bell: Arc<Bell>, reader: impl Reader) {
        let name = self.name.clone();
        crew.spawn(&name, Duty::Serves, move |context| {
            context.wake_by(&bell);
            let mut subscription = Subscription::open(&self, context)?;
            let is_palm = subscription.settle(&bell)?;
            self.is_palm.store(is_palm, Ordering::SeqCst);
            context.ready(None)?;
            subscription.run(&bell, reader)
        });
    }
}

/// What takes published messages.
pub(crate) trait Reader: Send + 'static {
    /// Whether it has room for more. When that changes, it rings the part's bell.
    fn has_room(&mut self) -> bool;
    /// Takes a message. Must not block.
    fn take(&mut self, topic: &str, frame: Frame);
    /// Nothing more has come at present: what it has taken it is to give away by now.
    fn hand_over(&mut self) {}
    /// Whether nobody is there any more for whom it takes messages.
    fn is_deserted(&self) -> bool {
        false
    }
    /// How many messages it has taken that did not get on.
    fn kept(&self) -> usize {
        0
    }
}

struct Subscription<'a> {
    config: &'a Subscribe,
    context: &'a Context,
    socket: Socket,
    complaints: Complaints,
    parts: Vec<Vec<u8>>,
    reader: FrameReader,
}

impl<'a> Subscription<'a> {
    fn open(config: &'a Subscribe, context: &'a Context) -> Result<Self> {
        let socket = Socket::open(Kind::Sub, &config.name, config.max_message)?;
        socket.subscribe(&config.prefix)?;
        socket.subscribe(WELCOME)?;
        Ok(Self {
            config,
            context,
            socket,
            complaints: Complaints::default(),
            parts: Vec::new(),
            reader: FrameReader::default(),
        })
    }

    /// Waits for the publisher's welcome, or until one that gives none must have heard us.
    /// Whether there was a welcome.
    fn settle(&mut self, bell: &Bell) -> Result<bool> {
        let monitor = self.socket.monitor()?;
        self.socket.connect(&self.config.target.address())?;
        let is_palm = self.is_welcomed(&monitor, bell);
        self.socket.end_monitor(monitor);
        is_palm
    }

    fn is_welcomed(&mut self, monitor: &Monitor, bell: &Bell) -> Result<bool> {
        let start = Instant::now();
        let mut connected = None;
        loop {
            if self.socket.try_recv(&mut self.parts)? {
                return Ok(true);
            }
            if self.context.hard.is_raised() {
                return Err(self.context.stopped());
            }
            let now = Instant::now();
            if connected.is_none() && monitor.connected() {
                connected = Some(now);
            }
            match connected {
                Some(at) if now.duration_since(at) >= SETTLE => return Ok(false),
                None if now.duration_since(start) >= self.config.timeout => {
                    return Err(Error::Unreachable {
                        what: "the publisher (pub)",
                        address: self.config.target.address(),
                        waited: self.config.timeout,
                    });
                }
                _ => {}
            }
            // The monitor is another socket: so look at both, every few milliseconds.
            let pause = Some(Duration::from_millis(5));
            let wait = || self.socket.wait(Want::Read, bell, pause);
            bell.sleep(|| self.context.hard.is_raised(), wait)?;
        }
    }

    fn run(&mut self, bell: &Bell, mut reader: impl Reader) -> Result<()> {
        let result = self.read(bell, &mut reader);
        reader.hand_over();
        self.context.say_lost(reader.kept());
        result?;
        match reader.is_deserted() {
            true => self.context.deserted("nobody takes its messages any more"),
            false => Ok(()),
        }
    }

    fn read(&mut self, bell: &Bell, reader: &mut impl Reader) -> Result<()> {
        while !self.context.hard.is_raised() && !reader.is_deserted() {
            if !reader.has_room() {
                reader.hand_over();
                let ready = || self.context.hard.is_raised() || reader.has_room();
                bell.sleep(ready, || self.socket.wait(Want::Nothing, bell, None))?;
                continue;
            }
            if !self.socket.try_recv(&mut self.parts)? {
                reader.hand_over();
                let wait = || self.socket.wait(Want::Read, bell, None);
                bell.sleep(|| self.context.hard.is_raised(), wait)?;
                continue;
            }
            if self.parts.len() == 1 && self.parts[0].starts_with(WELCOME.as_bytes()) {
                continue; // After a reconnection.
            }
            match self.accept() {
                Ok((topic, frame)) => reader.take(&topic, frame),
                Err(error) => self.refuse(&error),
            }
        }
        Ok(())
    }

    /// A message and its topic. One that is too large is taken as its failure: so whoever waits
    /// for it is told.
    fn accept(&mut self) -> Result<(String, Frame)> {
        let [topic, frame] = self.parts.as_mut_slice() else {
            return Err(UNPUBLISHED);
        };
        let (limit, component) = (self.config.max_message, &self.context.component);
        let (frame, refused) = self
            .reader
            .take_in(std::mem::take(frame), limit, component)?;
        let topic = String::from_utf8(std::mem::take(topic)).map_err(|_| Error::Malformed {
            reason: "its topic is not UTF-8",
        })?;
        if let Some(error) = refused {
            self.refuse(&error);
        }
        Ok((topic, frame))
    }

    fn refuse(&mut self, error: &Error) {
        let peer = self.socket.peer();
        self.context.refuse(&mut self.complaints, &peer, error);
    }
}
