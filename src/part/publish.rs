//! PUB: results go out, each to whoever subscribed to its topic.

use std::time::{Duration, Instant};

use super::{Context, Crew, Duty, Inlet, Parcel, Received, Running, start_alone};
use crate::bell::Bell;
use crate::core::complaints::Complaints;
use crate::core::outbox::{Bounds, GivenUp, Outbox, Publish, Topic};
use crate::error::{Error, Result, shown};
use crate::message::{DEFAULT_MAX_MESSAGE, Frame};
use crate::socket::{Kind, Socket, Want};

/// What a publisher sends to each new subscriber that subscribed to it: so a palm peer knows
/// at once that it talks to another, which holds results until the subscription is there.
pub(crate) const WELCOME: &str = "_.link";

/// How often to look after subscribers that have no room, if nothing tells that they have.
const LOOK: Duration = Duration::from_millis(10);

/// How many subscriptions are taken in before the messages have their turn.
const SUBSCRIPTIONS_AT_ONCE: usize = 1_000;

/// Publishes messages by topic (an XPUB socket that binds, which is a PUB socket to its peers).
///
/// A message that has no subscriber yet, or whose subscriber has no room, is held, in order and
/// without holding up the others. When its topic has made no progress for
/// [`patience`](Self::patience), it goes to those of its subscribers that have room, if there are
/// any, and what comes later is not waited for; that is counted and logged. When
/// [`hold`](Self::hold) bytes are held, the part takes no more until there is room again. libzmq
/// keeps up to 128 messages for each subscriber beside.
#[derive(Clone, Debug)]
pub struct PubService {
    address: String,
    bounds: Bounds,
}

impl PubService {
    /// What is held at the most unless told otherwise: 32 MiB.
    pub const DEFAULT_HOLD: usize = 32 << 20;

    /// How long a topic may make no progress unless told otherwise: 30 s.
    pub const DEFAULT_PATIENCE: Duration = Duration::from_secs(30);

    /// A service that will bind this address.
    pub fn new(address: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            bounds: Bounds {
                bytes: Self::DEFAULT_HOLD,
                patience: Self::DEFAULT_PATIENCE,
            },
        }
    }

    /// How many bytes of messages to hold at the most, over all topics.
    pub fn hold(mut self, bytes: usize) -> Self {
        self.bounds.bytes = bytes;
        self
    }

    /// How long to hold messages for a topic that makes no progress: nobody subscribes to it,
    /// or its subscriber reads nothing.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.bounds.patience = patience;
        self
    }

    /// Starts it, as a part named `Pub`, with a thread of its own.
    ///
    /// # Errors
    /// When the address is malformed, in use or not to be bound.
    pub fn start(self, inlet: Inlet) -> Result<Running> {
        start_alone("Pub", |crew| {
            self.spawn(crew, inlet);
            Ok(())
        })
    }

    pub(crate) fn spawn(self, crew: &mut Crew, inlet: Inlet) {
        crew.spawn("Pub", Duty::Carries, move |context| {
            let bell = inlet.bell().clone();
            context.wake_by(&bell);
            let mut socket = Socket::open(Kind::Pub, "Pub", DEFAULT_MAX_MESSAGE)?;
            socket.set_welcome(WELCOME.as_bytes())?;
            let bound = socket.bind(&self.address)?;
            context.ready(Some(bound))?;
            let mut publishing = Publishing {
                context,
                socket,
                outbox: Outbox::new(self.bounds),
                complaints: Complaints::default(),
                late: Complaints::default(),
                parts: Vec::new(),
            };
            publishing.run(&inlet, &bell)
        });
    }
}

struct Publishing<'a> {
    context: &'a Context,
    socket: Socket,
    outbox: Outbox,
    complaints: Complaints,
    late: Complaints,
    parts: Vec<Vec<u8>>,
}

impl Publishing<'_> {
    fn run(&mut self, inlet: &Inlet, bell: &Bell) -> Result<()> {
        let mut ended = false;
        while !self.context.hard.is_raised() {
            self.take_subscriptions()?;
            let mut over = Over(&mut self.socket);
            self.outbox.flush(Instant::now(), &mut over)?;
            self.give_up_late()?;
            if !ended && !self.outbox.is_full() {
                match inlet.try_recv() {
                    Received::Batch(batch) => {
                        self.offer(batch)?;
                        continue;
                    }
                    Received::End => ended = true,
                    Received::Nothing => {}
                }
            }
            if ended && self.outbox.is_empty() {
                break;
            }
            self.sleep(!ended, inlet, bell)?;
        }
        self.say_end();
        Ok(())
    }

    fn offer(&mut self, batch: impl IntoIterator<Item = Parcel>) -> Result<()> {
        let now = Instant::now();
        let mut send = Over(&mut self.socket);
        for Parcel { topic, frame } in batch {
            let client = frame.client().to_owned();
            let topic = match &topic {
                Some(topic) if *topic != client => Topic::Chosen(topic),
                _ => Topic::Client(&client),
            };
            self.outbox.offer(topic, frame, now, &mut send)?;
        }
        Ok(())
    }

    fn take_subscriptions(&mut self) -> Result<()> {
        for _ in 0..SUBSCRIPTIONS_AT_ONCE {
            if !self.socket.try_recv(&mut self.parts)? {
                break;
            }
            let now = Instant::now();
            match self.parts.first().and_then(|part| part.split_first()) {
                Some((1, prefix)) => {
                    self.outbox
                        .subscribed(prefix, now, &mut Over(&mut self.socket))?;
                }
                Some((0, prefix)) => {
                    self.outbox
                        .unsubscribed(prefix, now, &mut Over(&mut self.socket))?;
                }
                _ => {
                    let peer = self.socket.peer();
                    if let Some(more) = self.complaints.note(&peer, now) {
                        let name = &self.context.component;
                        log::warn!(target: name, "Pub refused from {peer}: no subscription{more}");
                    }
                }
            }
        }
        Ok(())
    }

    /// Waits for subscriptions, for messages (if they have room), for readers that were slow
    /// to read on, or for the time to give something up.
    fn sleep(&self, takes: bool, inlet: &Inlet, bell: &Bell) -> Result<()> {
        let takes = takes && !self.outbox.is_full();
        let ready = || self.context.hard.is_raised() || (takes && inlet.is_ready());
        let want = if self.outbox.is_blocked() {
            Want::ReadOrNews
        } else {
            Want::Read
        };
        let now = Instant::now();
        let mut until = self
            .outbox
            .deadline()
            .map(|at| at.saturating_duration_since(now));
        if want == Want::ReadOrNews {
            // News that come just before the wait may be taken for read already.
            until = Some(until.map_or(LOOK, |until| until.min(LOOK)));
        }
        bell.sleep(ready, || self.socket.wait(want, bell, until))?;
        self.socket.catch_up()
    }

    fn give_up_late(&mut self) -> Result<()> {
        let now = Instant::now();
        let late = self.outbox.expire(now, &mut Over(&mut self.socket))?;
        for subscribed in [false, true] {
            let mut of_kind = late.iter().filter(|late| late.subscribed == subscribed);
            let Some(GivenUp { topic, .. }) = of_kind.clone().next() else {
                continue;
            };
            let what = match subscribed {
                true => "have no room at a subscriber that reads nothing, which misses them",
                false => "went to nobody, as it seems: nobody subscribes to them",
            };
            let topics = of_kind.clone().count();
            let messages: usize = of_kind.by_ref().map(|late| late.messages).sum();
            if let Some(more) = self.late.note(what, now) {
                let topic = shown(topic);
                log::warn!(
                    target: &self.context.component,
                    "Pub: {messages} messages under {topics} topics such as '{topic}' {what}; \
                     what comes later is not waited for{more}"
                );
            }
        }
        Ok(())
    }

    fn say_end(&self) {
        let (waiting, dropped) = (self.outbox.waiting(), self.outbox.unwaited());
        if waiting > 0 || dropped > 0 {
            log::warn!(
                target: &self.context.component,
                "Pub ended with {waiting} messages that nobody took, and {dropped} before that were not waited for"
            );
        }
    }
}

/// Sends over a socket.
struct Over<'a>(&'a mut Socket);

impl Publish for Over<'_> {
    type Error = Error;

    fn send(&mut self, topic: &str, frame: &Frame) -> Result<bool> {
        self.0.try_send_parts(&[topic.as_bytes(), frame.as_bytes()])
    }

    fn pass_over(&mut self, topic: &str, frame: &Frame) -> Result<()> {
        self.0
            .send_parts_to_who_has_room(&[topic.as_bytes(), frame.as_bytes()])
    }
}
