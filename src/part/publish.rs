//! PUB: results go out, each to whoever subscribed to its topic.

use std::time::{Duration, Instant};

use super::wiring::{Outbound, Part, Wiring};
use super::{Context, Crew, Duty, Inlet, Parcel, Received, Running, start_alone};
use crate::address::{self, Purpose};
use crate::bell::Bell;
use crate::core::complaints::Complaints;
use crate::core::outbox::{Bounds, GivenUp, Outbox, Publish, Topic};
use crate::error::{Error, Result, shown};
use crate::handler::guarded;
use crate::message::{DEFAULT_MAX_MESSAGE, Frame, PalmMessage};
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
/// The topic is the id of the message's client; or, if it is [`pipelined`](Self::pipelined), the
/// name of the component, for the next step; or what a hook says ([`route`](Self::route)).
///
/// A message that has no subscriber yet, or whose subscriber has no room, is held, in order and
/// without holding up the others. When its topic has made no progress for
/// [`patience`](Self::patience), it goes to those of its subscribers that have room, if there are
/// any, and what comes later is not waited for; that is counted and logged. When
/// [`hold`](Self::hold) bytes are held, the part takes no more until there is room again. libzmq
/// keeps up to 256 messages for each subscriber beside.
pub struct PubService {
    address: String,
    topics: Topics,
    bounds: Bounds,
}

/// A hook that chooses the topic under which a message is published, and may change it.
pub(crate) type Choose = Box<dyn FnMut(&mut PalmMessage) -> String + Send>;

/// What messages are published under.
pub(super) enum Topics {
    /// The id of their client.
    Client,
    /// The name of the component, which the next step subscribes to.
    Step,
    /// What a hook chooses.
    Chosen {
        choose: Choose,
        /// The last topic that was not a client's.
        step: Option<String>,
    },
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
            topics: Topics::Client,
            bounds: Bounds {
                bytes: Self::DEFAULT_HOLD,
                patience: Self::DEFAULT_PATIENCE,
                subscribers: 1,
                counts: false,
            },
        }
    }

    /// What it has for a link, which finds the topics and does its work: those, and the bounds.
    pub(super) fn beside(&mut self) -> (Topics, Bounds) {
        let topics = std::mem::replace(&mut self.topics, Topics::Client);
        let bounds = self.bounds;
        // The link waits until there are enough, of which only some may subscribe here.
        self.bounds.counts = bounds.counts_subscribers();
        self.bounds.subscribers = 1;
        (topics, bounds)
    }

    /// Its socket, and what is held for subscribers. Its welcome tells where the link of its
    /// component is, if it has one. Gives the address that it has bound, too.
    pub(super) fn open(&self, context: Context, link: Option<&str>) -> Result<(Publisher, String)> {
        let mut socket = Socket::open(Kind::Pub, &context.part, DEFAULT_MAX_MESSAGE)?;
        let welcome = link.map_or(WELCOME.to_owned(), |at| format!("{WELCOME} {at}"));
        socket.set_welcome(welcome.as_bytes())?;
        if self.bounds.counts_subscribers() {
            socket.tell_every_cancel()?;
        }
        let bound = socket.bind(&self.address)?;
        let publisher = Publisher {
            context,
            socket,
            outbox: Outbox::new(self.bounds),
            complaints: Complaints::default(),
            late: Complaints::default(),
            parts: Vec::new(),
        };
        Ok((publisher, bound))
    }

    /// Whether messages go to the next step of a chain, under the name of this component and
    /// with the next stage, instead of to their clients. A hook, when there is one, chooses in
    /// place of this, whichever is set first.
    pub fn pipelined(mut self, pipelined: bool) -> Self {
        self.topics = match (self.topics, pipelined) {
            (chosen @ Topics::Chosen { .. }, _) => chosen,
            (_, true) => Topics::Step,
            (_, false) => Topics::Client,
        };
        self
    }

    /// A hook that chooses the topic of each message, and may change the message: it sets the
    /// next stage, for a next step. It also gets what has failed, and the mark at the end of a
    /// job: both have to go the way of the others. A panic in it is the error of that message,
    /// which goes to its client, or to the next step that was chosen last. A message whose topic
    /// is empty goes nowhere; that is counted. In place of [`pipelined`](Self::pipelined), and of
    /// an earlier hook.
    pub fn route(self, hook: impl FnMut(&mut PalmMessage) -> String + Send + 'static) -> Self {
        self.choose(Box::new(hook))
    }

    pub(crate) fn choose(mut self, hook: Choose) -> Self {
        self.topics = Topics::Chosen {
            choose: hook,
            step: None,
        };
        self
    }

    /// How many subscribers a message waits for whose topic is not the id of its client: as
    /// many as there are next steps that each get a copy. 1 by default, and at least. (Each is to
    /// subscribe once: libzmq tells of every subscription, but of one cancel for each peer.)
    pub fn subscribers(mut self, subscribers: usize) -> Self {
        self.bounds.subscribers = subscribers.max(1);
        self
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
        start_alone("Pub", self, None, Some(inlet))
    }
}

impl Part for PubService {
    const GIVES: bool = false;
    const TAKES: bool = true;

    fn check(&self) -> Result<()> {
        address::check(&self.address, Purpose::Bind)
    }

    fn spawn(self, crew: &mut Crew, wiring: Wiring) -> Result<()> {
        let Some(inlet) = wiring.inlet else {
            return Ok(());
        };
        crew.spawn(&wiring.name, Duty::Carries, move |context| {
            let bell = inlet.bell().clone();
            context.wake_by(&bell);
            let (publisher, bound) = self.open(context.of(&context.part), None)?;
            context.ready(Some(bound))?;
            let mut publishing = Publishing {
                context,
                topics: self.topics,
                publisher,
            };
            publishing.run(&inlet, &bell)
        });
        Ok(())
    }
}

impl Outbound for PubService {}

impl std::fmt::Debug for PubService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("PubService").field(&self.address).finish()
    }
}

/// Where a message goes whose hook has panicked: along the chain, if there was a next step before,
/// because its client listens to the last one; else to its client.
fn failed(mut frame: Frame, step: Option<String>) -> (Topic, Frame) {
    match step {
        Some(step) => {
            frame.set_stage(frame.stage().saturating_add(1));
            (Topic::Chosen(step), frame)
        }
        None => (Topic::Client, frame),
    }
}

impl Topics {
    /// The topic of a message, and the message as it is to be published.
    pub(super) fn address(&mut self, component: &str, parcel: Parcel) -> (Topic, Frame) {
        let Parcel {
            topic, mut frame, ..
        } = parcel;
        if let Some(topic) = topic {
            return (Topic::of(topic, &frame), frame);
        }
        match self {
            Self::Client => (Topic::Client, frame),
            Self::Step => {
                frame.set_stage(frame.stage().saturating_add(1));
                (Topic::Chosen(component.to_owned()), frame)
            }
            Self::Chosen { choose, step } => {
                let mut message = frame.to_message();
                match guarded(component, "route", || choose(&mut message)) {
                    Ok(topic) => {
                        let frame = Frame::from(&message);
                        let topic = Topic::of(topic, &frame);
                        if let Topic::Chosen(name) = &topic
                            && step.as_ref() != Some(name)
                        {
                            *step = Some(name.clone());
                        }
                        (topic, frame)
                    }
                    Err(failure) => failed(frame.with_failure(&failure), step.clone()),
                }
            }
        }
    }
}

struct Publishing<'a> {
    context: &'a Context,
    topics: Topics,
    publisher: Publisher,
}

impl Publishing<'_> {
    fn run(&mut self, inlet: &Inlet, bell: &Bell) -> Result<()> {
        let result = self.publish(inlet, bell);
        self.publisher.say_end(inlet.drain());
        result
    }

    fn publish(&mut self, inlet: &Inlet, bell: &Bell) -> Result<()> {
        let mut ended = false;
        while !self.context.hard.is_raised() {
            self.publisher.keep_up(Instant::now(), |_, _| {})?;
            if !ended && !self.publisher.is_full() {
                match inlet.try_recv() {
                    Received::Batch(batch) => {
                        self.offer(batch)?;
                        continue;
                    }
                    Received::End => ended = true,
                    Received::Nothing => {}
                }
            }
            if ended && self.publisher.is_empty() {
                break;
            }
            self.sleep(!ended, inlet, bell)?;
        }
        Ok(())
    }

    fn offer(&mut self, batch: impl IntoIterator<Item = Parcel>) -> Result<()> {
        let now = Instant::now();
        for parcel in batch {
            let (topic, frame) = self.topics.address(&self.context.component, parcel);
            self.publisher.offer(topic, frame, now)?;
        }
        Ok(())
    }

    /// Waits for subscriptions, for messages (if they have room), for readers that were slow
    /// to read on, or for the time to give something up.
    fn sleep(&self, takes: bool, inlet: &Inlet, bell: &Bell) -> Result<()> {
        let takes = takes && !self.publisher.is_full();
        let ready = || self.context.hard.is_raised() || (takes && inlet.is_ready());
        let (socket, want) = self.publisher.wants();
        let until = self.publisher.deadline(Instant::now());
        bell.sleep(ready, || socket.wait(want, bell, until))?;
        self.publisher.catch_up()
    }
}

/// Publishes messages, and holds those for which there is no room yet.
pub(super) struct Publisher {
    context: Context,
    socket: Socket,
    outbox: Outbox,
    complaints: Complaints,
    late: Complaints,
    parts: Vec<Vec<u8>>,
}

impl Publisher {
    /// Publishes a message, or holds it.
    pub(super) fn offer(&mut self, topic: Topic, frame: Frame, now: Instant) -> Result<()> {
        self.outbox
            .offer(topic, frame, now, &mut Over(&mut self.socket))
    }

    /// Publishes a message for a client as it stands, if nothing is to be waited for. Whether it
    /// was.
    pub(super) fn pass(&mut self, client: &str, message: &[u8]) -> Result<bool> {
        Ok(self.outbox.goes_at_once(client) && self.socket.try_publish_bytes(client, message)?)
    }

    /// Takes subscriptions in, publishes what there is room for now, and gives up what is late.
    /// `report` is told how many subscribe to exactly what.
    pub(super) fn keep_up(
        &mut self,
        now: Instant,
        mut report: impl FnMut(&str, usize),
    ) -> Result<()> {
        self.take_subscriptions(now, &mut report)?;
        let mut over = Over(&mut self.socket);
        self.outbox.flush(now, &mut over)?;
        self.give_up_late(now)
    }

    /// Whether no more may be held.
    pub(super) fn is_full(&self) -> bool {
        self.outbox.is_full()
    }

    /// Whether nothing is held.
    pub(super) fn is_empty(&self) -> bool {
        self.outbox.is_empty()
    }

    /// Its socket is read only when there is news of it: see [`Socket::attend`].
    pub(super) fn attend(&mut self) {
        self.socket.attend();
    }

    /// What to wait for, beside messages.
    pub(super) fn wants(&self) -> (&Socket, Want) {
        let want = match self.outbox.is_blocked() {
            true => Want::ReadOrNews,
            false => Want::Read,
        };
        (&self.socket, want)
    }

    /// For how long to wait at the longest.
    pub(super) fn deadline(&self, now: Instant) -> Option<Duration> {
        let until = self.outbox.deadline();
        let until = until.map(|at| at.saturating_duration_since(now));
        match self.outbox.is_blocked() {
            // News that come just before the wait may be taken for read already.
            true => Some(until.map_or(LOOK, |until| until.min(LOOK))),
            false => until,
        }
    }

    /// After a wait: looks what peers did.
    pub(super) fn catch_up(&self) -> Result<()> {
        self.socket.catch_up()
    }

    fn take_subscriptions(
        &mut self,
        now: Instant,
        report: &mut impl FnMut(&str, usize),
    ) -> Result<()> {
        for _ in 0..SUBSCRIPTIONS_AT_ONCE {
            if !self.socket.try_recv(&mut self.parts)? {
                break;
            }
            self.take_subscription(now, report)?;
        }
        Ok(())
    }

    fn take_subscription(
        &mut self,
        now: Instant,
        report: &mut impl FnMut(&str, usize),
    ) -> Result<()> {
        let send = &mut Over(&mut self.socket);
        let prefix = match self.parts.first().and_then(|part| part.split_first()) {
            Some((1, prefix)) => {
                self.outbox.subscribed(prefix, now, send)?;
                prefix
            }
            Some((0, prefix)) => {
                self.outbox.unsubscribed(prefix, now, send)?;
                prefix
            }
            _ => {
                let peer = self.socket.peer();
                let complaints = &mut self.complaints;
                self.context.refuse(complaints, &peer, "no subscription");
                return Ok(());
            }
        };
        if let Ok(prefix) = std::str::from_utf8(prefix) {
            report(prefix, self.outbox.subscribers(prefix));
        }
        Ok(())
    }

    fn give_up_late(&mut self, now: Instant) -> Result<()> {
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
                    "{}: {messages} messages under {topics} topics such as '{topic}' {what}; \
                     what comes later is not waited for{more}",
                    self.context.part
                );
            }
        }
        Ok(())
    }

    /// At the end: what did not get out, with so many that were not even offered.
    pub(super) fn say_end(&self, left: usize) {
        let waiting = self.outbox.waiting() + left;
        let dropped = self.outbox.unwaited();
        if waiting > 0 || dropped > 0 {
            log::warn!(
                target: &self.context.component,
                "{} ended with {waiting} messages that nobody took, and {dropped} before that were not waited for",
                self.context.part
            );
        }
    }
}

/// Sends over a socket.
struct Over<'a>(&'a mut Socket);

impl Publish for Over<'_> {
    type Error = Error;

    fn send(&mut self, topic: &str, frame: &mut Frame) -> Result<bool> {
        self.0.try_publish(topic, frame)
    }

    fn pass_over(&mut self, topic: &str, frame: &mut Frame) -> Result<()> {
        self.0.publish_to_who_has_room(topic, frame)
    }
}
