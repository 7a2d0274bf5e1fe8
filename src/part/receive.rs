//! What comes in over a socket, message by message.

use super::answer::one;
use super::attached::{Attached, Plan};
use super::subscribe::UNPUBLISHED;
use super::{Batch, Context, Crew, Duty, NotSent, Outlet, Place, WELCOME};
use crate::bell::Bell;
use crate::core::complaints::Complaints;
use crate::error::{Error, Result};
use crate::message::spare::Buffer;
use crate::message::{Frame, FrameReader, Gathering, Giving};
use crate::socket::{Got, Kind, Socket, Want};

/// What kind of messages come in.
pub(crate) enum Source {
    /// Messages that are pushed.
    Pull,
    /// Messages that are published under this topic; under any if it is empty.
    Sub(String),
}

/// What all parts are that messages come in at, one after another.
pub(crate) struct Receive {
    pub(crate) name: String,
    pub(crate) source: Source,
    pub(crate) place: Place,
    pub(crate) max_message: usize,
    /// Whether a message without an id gets one.
    pub(crate) fill_id: bool,
    /// The most messages in a batch and in libzmq's queue, if not the usual numbers.
    pub(crate) high_water: Option<u16>,
}

impl Receive {
    /// Starts it. Without an outlet, what comes in is thrown away.
    pub(crate) fn spawn(self, crew: &mut Crew, outlet: Option<Outlet>) -> Result<()> {
        let bell = Bell::new()?;
        let (kind, topic) = match self.source {
            Source::Pull => (Kind::Pull, None),
            Source::Sub(topic) => (Kind::Sub, Some(topic)),
        };
        let plan = Plan {
            kind,
            part: self.name.clone(),
            topic: topic.clone(),
            place: self.place,
            max_message: self.max_message,
            high_water: self.high_water,
        };
        crew.spawn(&self.name, Duty::Carries, move |context| {
            context.wake_by(&bell);
            let (attached, bound) = Attached::open(plan, &bell)?;
            context.ready(bound)?;
            let mut receiving = Receiving {
                context,
                attached,
                intake: Intake::new(topic, self.max_message, self.fill_id),
                outlet,
                most: self.high_water.map_or(256, usize::from),
            };
            receiving.run(&bell)
        });
        Ok(())
    }
}

struct Receiving<'a> {
    context: &'a Context,
    attached: Attached,
    intake: Intake,
    outlet: Option<Outlet>,
    /// The most messages in a batch.
    most: usize,
}

impl Receiving<'_> {
    fn run(&mut self, bell: &Bell) -> Result<()> {
        let taken = self.receive_all(bell)?;
        self.intake.say_refused(self.context);
        match taken {
            true => Ok(()),
            false => self.context.deserted("nobody takes its messages any more"),
        }
    }

    /// Hands on what comes, until a stop. False when nobody took it any more before.
    fn receive_all(&mut self, bell: &Bell) -> Result<bool> {
        while !self.context.soft.is_raised() {
            self.attached.follow(self.context);
            let batch = self.receive()?;
            if let Some(outlet) = self.outlet.as_ref().filter(|_| !batch.is_empty()) {
                match outlet.send_until(batch, &self.context.hard) {
                    Ok(()) => continue,
                    Err(NotSent::Full(lost)) => {
                        self.context.say_lost(lost.len());
                        break;
                    }
                    Err(NotSent::Closed(lost)) => {
                        self.context.say_lost(lost.len());
                        return Ok(false);
                    }
                }
            }
            let news = || self.context.soft.is_raised() || self.attached.has_moved();
            bell.sleep(news, || self.attached.socket.wait(Want::Read, bell, None))?;
        }
        Ok(true)
    }

    /// Receives what is there, up to a full batch.
    fn receive(&mut self) -> Result<Batch> {
        let mut batch = Batch::new();
        for _ in 0..self.most {
            let outlet = self.outlet.as_ref();
            if outlet.map_or(batch.is_full(), |outlet| outlet.next_in(&batch).is_none()) {
                break;
            }
            let socket = &mut self.attached.socket;
            match self.intake.receive(socket, self.context)? {
                Came::Message(frame) => batch.push(frame),
                Came::Other => {}
                Came::Nothing => break,
            }
        }
        Ok(batch)
    }
}

/// What is larger than this is taken in, in bytes: there it need not be copied.
const PASSED: usize = 16 << 10;

/// What makes messages of what comes in over a socket.
pub(super) struct Intake {
    /// What it subscribed to, if it did.
    topic: Option<String>,
    /// The largest payload to take.
    limit: usize,
    fill_id: bool,
    complaints: Complaints,
    parts: Vec<Buffer>,
    reader: FrameReader,
    gathering: Gathering,
    /// What came after what was gathered.
    next: Option<Frame>,
}

/// What has come in.
pub(super) enum Came {
    Message(Frame),
    /// Something that is none, or not for us.
    Other,
    Nothing,
}

impl Intake {
    /// Takes what comes under a topic, if one was subscribed to, with payloads up to a limit.
    pub(super) fn new(topic: Option<String>, limit: usize, fill_id: bool) -> Self {
        Self {
            topic,
            limit,
            fill_id,
            complaints: Complaints::default(),
            parts: Vec::new(),
            reader: FrameReader::default(),
            gathering: Gathering::default(),
            next: None,
        }
    }

    /// Receives the next message, if one is there.
    pub(super) fn receive(&mut self, socket: &mut Socket, context: &Context) -> Result<Came> {
        match socket.try_recv(&mut self.parts)? {
            false => Ok(Came::Nothing),
            true => Ok(self.take_parts(socket, context)),
        }
    }

    /// The same, but what a worker has made of one of the messages that it was given may be passed
    /// on as it stands: `pass` is told whose it is, and of which giving, and does so if it can.
    pub(super) fn receive_or(
        &mut self,
        socket: &mut Socket,
        context: &Context,
        pass: impl FnOnce(&str, Giving, &[u8]) -> Result<bool>,
    ) -> Result<Came> {
        let (reader, limit) = (&mut self.reader, self.limit.min(PASSED));
        let mut passed = Ok(false);
        let got = socket.try_recv_or(&mut self.parts, |bytes| {
            if bytes.len() <= limit
                && let Some((client, giving)) = reader.read_given(bytes)
            {
                passed = pass(client, giving, bytes);
            }
            !matches!(passed, Ok(false))
        })?;
        passed?;
        Ok(match got {
            Got::Taken => Came::Other,
            Got::Nothing => Came::Nothing,
            Got::Parts => self.take_parts(socket, context),
        })
    }

    /// The same of a PULL socket, but small messages of a client that come one after another are
    /// gathered: they come as a bundle before the next of others, or when
    /// [no more is waited for](Self::gathered).
    pub(super) fn gather(&mut self, socket: &mut Socket, context: &Context) -> Result<Came> {
        if let Some(next) = self.next.take() {
            return Ok(Came::Message(next));
        }
        let (gathering, reader, limit) = (&mut self.gathering, &mut self.reader, self.limit);
        let mut before = None;
        let got = socket.try_recv_or(&mut self.parts, |bytes| {
            let added = gathering.add(reader, bytes, limit);
            let is_taken = added.is_some();
            before = added.flatten();
            is_taken
        })?;
        let came = match got {
            Got::Taken => return Ok(before.map_or(Came::Other, Came::Message)),
            Got::Nothing => Came::Nothing,
            Got::Parts => self.take_parts(socket, context),
        };
        let Some(gathered) = self.gathering.take() else {
            return Ok(came);
        };
        if let Came::Message(next) = came {
            self.next = Some(next);
        }
        Ok(Came::Message(gathered))
    }

    /// What was gathered, if there is anything: nobody waits for more.
    pub(super) fn gathered(&mut self) -> Option<Frame> {
        self.next.take().or_else(|| self.gathering.take())
    }

    fn take_parts(&mut self, socket: &mut Socket, context: &Context) -> Came {
        match self.accept(socket, context) {
            Ok(Some(frame)) => Came::Message(frame),
            Ok(None) => Came::Other,
            Err(error) => {
                self.refuse(&error, socket, context);
                Came::Other
            }
        }
    }

    /// The message that was received; none if it is not for us. One that is too large goes on
    /// as its failure, so that its client does not wait for it.
    fn accept(&mut self, socket: &mut Socket, context: &Context) -> Result<Option<Frame>> {
        let bytes = match &self.topic {
            None => one(&mut self.parts)?,
            Some(topic) => match published(&mut self.parts, topic)? {
                Published::Message(bytes) => bytes,
                // To those who subscribed to everything.
                Published::Welcome(_) | Published::Other => return Ok(None),
            },
        };
        let (mut frame, refused) = self.reader.take_in(bytes, self.limit, &context.component)?;
        if let Some(error) = refused {
            self.refuse(&error, socket, context);
        }
        if self.fill_id {
            frame.fill_cache();
        }
        Ok(Some(frame))
    }

    fn refuse(&mut self, error: &Error, socket: &mut Socket, context: &Context) {
        context.refuse(&mut self.complaints, &socket.peer(), error);
    }

    /// At the end: how much was refused.
    pub(super) fn say_refused(&self, context: &Context) {
        let refused = self.complaints.total();
        if refused > 0 {
            log::warn!(target: &context.component, "{} refused {refused} messages in all", context.part);
        }
    }
}

/// What comes over a subscription.
pub(super) enum Published {
    /// A message under the topic.
    Message(Buffer),
    /// A palm publisher's welcome, and where its link is.
    Welcome(Option<String>),
    /// What is published under another topic.
    Other,
}

/// What has come over a subscription to this topic: under any, if it is empty.
pub(super) fn published(parts: &mut [Buffer], wanted: &str) -> Result<Published> {
    match parts {
        [topic, frame] => match wanted.is_empty() || *wanted.as_bytes() == **topic {
            true => Ok(Published::Message(std::mem::take(frame))),
            // ZeroMQ delivers every topic that begins with it.
            false => Ok(Published::Other),
        },
        [welcome] => {
            let welcome = std::str::from_utf8(welcome).map_err(|_| UNPUBLISHED)?;
            match welcome
                .strip_prefix(WELCOME)
                .map(|rest| rest.strip_prefix(' '))
            {
                Some(Some(address)) => Ok(Published::Welcome(Some(address.to_owned()))),
                Some(None) => Ok(Published::Welcome(None)),
                None => Err(UNPUBLISHED),
            }
        }
        _ => Err(UNPUBLISHED),
    }
}
