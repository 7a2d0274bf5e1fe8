//! What is to be published, and when: nothing is sent that the one who waits for it would miss.
//!
//! A message goes out at once when its topic has its subscriber, and that has room. Otherwise it
//! is held, in order, until then. Bounds: in bytes over all topics, after which the owner takes
//! no more (that is the back-pressure); and in time by topic, after which it is counted and said
//! that its messages are not waited for any more: they go to whoever is there and has room.
//!
//! ```text
//!  offer ─► what does the topic wait for?
//!            nothing ─────────────────────────────► sent, or it waits for room
//!            a subscription ── it comes ──────────► sent     30 s: not waited for any more
//!            the client's own subscription ── " ──► sent      1 s: the listeners will do
//!            the end of an old subscription ──────► waits   0.1 s: it is still in use
//!            room at its subscriber ── it reads ──► sent     30 s: not waited for any more
//! ```
//!
//! Whose subscription? ZeroMQ delivers a topic to whoever subscribed to a beginning of it. A
//! client subscribes to its id, but a message for it must not go out because somebody else
//! listens to everything. So for a topic that is a client's id, only a subscription to that id
//! counts at once; one to a shorter beginning counts after [`PROBATION`], when the client's own,
//! if there were one, would have come.
//!
//! And a pylm client subscribes anew for each of its calls, by a new connection, and always to
//! the same id: the result of a call may be ready while the last call's subscription still
//! stands, which nobody reads any more. So the first message that goes out by a subscription
//! does so at once, but the second waits for [`SETTLE`], in which the old one would go and the
//! new one come; if neither does, it is the same call, which gets the rest without delay. (A
//! palm client keeps its subscription, and gives each call a topic of its own.)
//!
//! What libzmq does not tell: who of several subscribers has no room (but one that was passed
//! over once is left out of what follows until it has read), and whether anybody was there at
//! all. A stranger's cancel of somebody else's subscription looks like the client's own: so
//! even what nobody seems to want is sent in the end, and not thrown away.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Bound;
use std::time::{Duration, Instant};

use super::subscriptions::{Cover, Subscriptions, Use};
use crate::message::Frame;
use crate::time::after;

/// What a held message costs beside its bytes, for the bound.
const OVERHEAD: usize = 200;

/// Of how many clients, and other topics, a decision is remembered; of more, the oldest are
/// forgotten, and wait their time again.
const REMEMBERED: usize = 4_096;

/// How long a client's topic waits for the client's own subscription while somebody listens to
/// a beginning of it.
const PROBATION: Duration = Duration::from_secs(1);

/// How long the second message by a subscription of a pylm client is held.
const SETTLE: Duration = Duration::from_millis(100);

/// How much is held, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) bytes: usize,
    pub(crate) patience: Duration,
    /// How many subscribers a topic waits for that is not the id of a client.
    pub(crate) subscribers: usize,
    /// Whether each subscriber's cancel is told, though no more than one is waited for.
    pub(crate) counts: bool,
}

impl Bounds {
    /// Whether it matters how many are subscribed to a topic: then each cancel is to be told,
    /// else only the last.
    pub(crate) fn counts_subscribers(&self) -> bool {
        self.counts || self.subscribers > 1
    }
}

/// Under what a message is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Topic {
    /// The id of the message's client.
    Client,
    /// Something else: a name that next steps subscribe to.
    Chosen(String),
}

impl Topic {
    /// What somebody chose for a message.
    pub(crate) fn of(topic: String, frame: &Frame) -> Self {
        match topic == frame.client() {
            true => Self::Client,
            false => Self::Chosen(topic),
        }
    }
}

/// What sends.
pub(crate) trait Publish {
    type Error;
    /// Sends a message to all subscribers of a topic, if all have room: else `Ok(false)`.
    fn send(&mut self, topic: &str, frame: &mut Frame) -> Result<bool, Self::Error>;
    /// Sends a message to those subscribers of a topic that have room.
    fn pass_over(&mut self, topic: &str, frame: &mut Frame) -> Result<(), Self::Error>;
}

/// A topic that is not waited for any more.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct GivenUp {
    pub(crate) topic: String,
    pub(crate) messages: usize,
    /// It has a subscriber, which has no room; else nobody seems to be there.
    pub(crate) subscribed: bool,
}

#[derive(Debug)]
pub(crate) struct Outbox {
    bounds: Bounds,
    subscriptions: Subscriptions,
    held: BTreeMap<String, Held>,
    bytes: usize,
    blocked: usize,
    /// No deadline is before. It is worked out anew when it has come.
    earliest: Option<Instant>,
    decided: Decided,
    unwaited: u64,
}

#[derive(Debug)]
struct Held {
    frames: VecDeque<Frame>,
    of_client: bool,
    waits: Waits,
    /// When it waits no longer, unless something happens.
    deadline: Instant,
}

/// What a held topic waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waits {
    /// A subscription.
    Subscription,
    /// The client's own subscription: somebody else listens already.
    OwnSubscription,
    /// The end of the subscription, which may be that of the client's last call.
    Settling,
    /// Room at its subscriber.
    Room,
}

impl Outbox {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self {
            bounds: Bounds {
                bytes: bounds.bytes.max(1),
                ..bounds
            },
            subscriptions: Subscriptions::new(bounds.counts_subscribers()),
            held: BTreeMap::new(),
            bytes: 0,
            blocked: 0,
            earliest: None,
            decided: Decided::default(),
            unwaited: 0,
        }
    }

    /// A message to publish.
    pub(crate) fn offer<S: Publish>(
        &mut self,
        topic: Topic,
        mut frame: Frame,
        now: Instant,
        send: &mut S,
    ) -> Result<(), S::Error> {
        let (topic, of_client) = match topic {
            Topic::Client => (frame.client().to_owned(), true),
            Topic::Chosen(topic) => (topic, false),
        };
        // No client has no name: what came without one is garbage, and its answer for nobody.
        if topic.is_empty() {
            self.unwaited += 1;
            return Ok(());
        }
        if let Some(held) = self.held.get_mut(&topic) {
            // Behind what is held already, so that the order stays.
            self.bytes += cost(&frame);
            held.frames.push_back(frame);
            return Ok(());
        }
        let waits = self.waits_for(&topic, of_client);
        if waits.is_none() && send.send(&topic, &mut frame)? {
            self.note_sent(&topic, of_client, 1);
            return Ok(());
        }
        self.bytes += cost(&frame);
        let held = Held {
            frames: VecDeque::from([frame]),
            of_client,
            waits: Waits::Subscription,
            deadline: now,
        };
        self.held.insert(topic.clone(), held);
        self.wait(&topic, waits.unwrap_or(Waits::Room), now);
        Ok(())
    }

    /// Whether a message for this client would be sent at once, and change nothing here.
    pub(crate) fn goes_at_once(&self, client: &str) -> bool {
        let is_free = !self.is_full() && !self.held.contains_key(client);
        is_free
            && self.decided.of(key(client, true)).is_none()
            && self.subscriptions.cover(client) == Cover::Own(Use::Often)
    }

    /// What a topic waits for before it is worth while to send.
    fn waits_for(&self, topic: &str, of_client: bool) -> Option<Waits> {
        if !of_client {
            return self.waits_for_steps(topic);
        }
        match (
            self.decided.of(key(topic, true)),
            self.subscriptions.cover(topic),
        ) {
            (Some(Decision::NotWaitedFor), _) => None,
            (_, Cover::None) => Some(Waits::Subscription),
            (None, Cover::Beginning) => Some(Waits::OwnSubscription),
            (_, Cover::Own(Use::Once)) => Some(Waits::Settling),
            (_, Cover::Beginning | Cover::Own(_)) => None,
        }
    }

    /// The same for a topic that next steps subscribe to.
    fn waits_for_steps(&self, topic: &str) -> Option<Waits> {
        let decided = self.decided.of(key(topic, false));
        if decided == Some(Decision::NotWaitedFor)
            || self.subscriptions.count(topic) >= self.bounds.subscribers
        {
            return None;
        }
        // When it is said how many there are, nobody else counts.
        if self.bounds.counts_subscribers() || !self.subscriptions.is_listened_to(topic) {
            return Some(Waits::Subscription);
        }
        match decided {
            Some(_) => None,
            None => Some(Waits::OwnSubscription),
        }
    }

    /// Messages were sent: to whom, only libzmq knows.
    fn note_sent(&mut self, topic: &str, of_client: bool, messages: u64) {
        self.subscriptions.use_up(topic, Use::Once);
        if self.decided.of(key(topic, of_client)) == Some(Decision::NotWaitedFor) {
            self.unwaited += messages;
        }
    }

    /// Has a held topic wait for something, from now on.
    fn wait(&mut self, topic: &str, waits: Waits, now: Instant) {
        let Some(held) = self.held.get_mut(topic) else {
            return;
        };
        if waits == Waits::Room {
            // Somebody is there, and has read since it was passed over, or is new.
            let key = key(topic, held.of_client);
            self.decided.forget(key, Decision::NotWaitedFor);
        }
        let patience = match waits {
            Waits::OwnSubscription => PROBATION.min(self.bounds.patience),
            Waits::Settling => SETTLE.min(self.bounds.patience),
            Waits::Subscription | Waits::Room => self.bounds.patience,
        };
        self.blocked -= usize::from(held.waits == Waits::Room);
        self.blocked += usize::from(waits == Waits::Room);
        held.waits = waits;
        held.deadline = after(now, patience);
        let earliest = self.earliest.get_or_insert(held.deadline);
        *earliest = held.deadline.min(*earliest);
    }

    /// Something has changed: sends what is held for a topic, or has it wait for what it takes.
    fn look<S: Publish>(
        &mut self,
        topic: &str,
        now: Instant,
        send: &mut S,
    ) -> Result<(), S::Error> {
        let Some(held) = self.held.get(topic) else {
            return Ok(());
        };
        match self.waits_for(topic, held.of_client) {
            None => self.flush_topic(topic, now, send),
            Some(waits) => {
                if waits != held.waits {
                    self.wait(topic, waits, now);
                }
                Ok(())
            }
        }
    }

    /// Sends what is held for a topic, as far as there is room.
    fn flush_topic<S: Publish>(
        &mut self,
        topic: &str,
        now: Instant,
        send: &mut S,
    ) -> Result<(), S::Error> {
        let mut sent = 0;
        let mut full = false;
        let mut of_client = false;
        if let Some(held) = self.held.get_mut(topic) {
            of_client = held.of_client;
            while let Some(frame) = held.frames.front_mut() {
                if !send.send(topic, frame)? {
                    full = true;
                    break;
                }
                self.bytes -= cost(frame);
                held.frames.pop_front();
                sent += 1;
            }
            let waited_for_room = held.waits == Waits::Room;
            if !full {
                self.blocked -= usize::from(waited_for_room);
                self.held.remove(topic);
            } else if sent > 0 || !waited_for_room {
                self.wait(topic, Waits::Room, now);
            }
        }
        if sent > 0 {
            self.note_sent(topic, of_client, sent);
        }
        Ok(())
    }

    /// How many are subscribed to exactly this topic.
    pub(crate) fn subscribers(&self, topic: &str) -> usize {
        self.subscriptions.count(topic)
    }

    /// Somebody subscribed to all topics that begin with `prefix`.
    pub(crate) fn subscribed<S: Publish>(
        &mut self,
        prefix: &[u8],
        now: Instant,
        send: &mut S,
    ) -> Result<(), S::Error> {
        self.subscriptions.add(prefix);
        if let Ok(prefix) = std::str::from_utf8(prefix) {
            self.decided.forget(prefix, Decision::NotWaitedFor);
            self.look_at_all(prefix, now, send)?;
        }
        Ok(())
    }

    /// One less, it seems, is subscribed to exactly `prefix`.
    pub(crate) fn unsubscribed<S: Publish>(
        &mut self,
        prefix: &[u8],
        now: Instant,
        send: &mut S,
    ) -> Result<(), S::Error> {
        let was_last = self.subscriptions.remove(prefix);
        if was_last && let Ok(prefix) = std::str::from_utf8(prefix) {
            self.decided.forget_listened(prefix);
            self.look_at_all(prefix, now, send)?;
        }
        Ok(())
    }

    fn look_at_all<S: Publish>(
        &mut self,
        prefix: &str,
        now: Instant,
        send: &mut S,
    ) -> Result<(), S::Error> {
        let from = (Bound::Included(prefix), Bound::Unbounded);
        let begins = self.held.range::<str, _>(from);
        let begins = begins.take_while(|(topic, _)| topic.starts_with(prefix));
        let topics: Vec<String> = begins.map(|(topic, _)| topic.clone()).collect();
        for topic in topics {
            self.look(&topic, now, send)?;
        }
        Ok(())
    }

    /// Tries again to send what waits for subscribers with no room.
    pub(crate) fn flush<S: Publish>(&mut self, now: Instant, send: &mut S) -> Result<(), S::Error> {
        if self.blocked == 0 {
            return Ok(());
        }
        let blocked = self
            .held
            .iter()
            .filter(|(_, held)| held.waits == Waits::Room);
        let topics: Vec<String> = blocked.map(|(topic, _)| topic.clone()).collect();
        for topic in topics {
            self.flush_topic(&topic, now, send)?;
        }
        Ok(())
    }

    /// Does what is due: decides for the topics that have waited long enough.
    pub(crate) fn expire<S: Publish>(
        &mut self,
        now: Instant,
        send: &mut S,
    ) -> Result<Vec<GivenUp>, S::Error> {
        if self.earliest.is_none_or(|earliest| now < earliest) {
            return Ok(Vec::new());
        }
        let due = self.held.iter().filter(|(_, held)| held.deadline <= now);
        let due: Vec<_> = due
            .map(|(topic, held)| (topic.clone(), held.of_client, held.waits))
            .collect();
        let mut given_up = Vec::new();
        for (topic, of_client, waits) in due {
            match waits {
                Waits::OwnSubscription => {
                    let key = key(&topic, of_client);
                    self.decided.remember(key, Decision::Listened);
                    self.look(&topic, now, send)?;
                }
                Waits::Settling => {
                    self.subscriptions.use_up(&topic, Use::Often);
                    self.look(&topic, now, send)?;
                }
                Waits::Subscription | Waits::Room => {
                    given_up.extend(self.give_up(topic, send)?);
                }
            }
        }
        self.earliest = self.held.values().map(|held| held.deadline).min();
        Ok(given_up)
    }

    /// Sends what is held for a topic to whoever has room, and waits for it no more.
    fn give_up<S: Publish>(
        &mut self,
        topic: String,
        send: &mut S,
    ) -> Result<Option<GivenUp>, S::Error> {
        let Some(mut held) = self.held.remove(&topic) else {
            return Ok(None);
        };
        let key = key(&topic, held.of_client);
        self.decided.remember(key, Decision::NotWaitedFor);
        let subscribed = held.waits == Waits::Room;
        self.blocked -= usize::from(subscribed);
        self.bytes -= held.frames.iter().map(cost).sum::<usize>();
        self.unwaited += held.frames.len() as u64;
        for frame in &mut held.frames {
            send.pass_over(&topic, frame)?;
        }
        Ok(Some(GivenUp {
            topic,
            messages: held.frames.len(),
            subscribed,
        }))
    }

    /// When [`expire`](Self::expire) should be called, at the latest.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.earliest.filter(|_| !self.held.is_empty())
    }

    /// Whether the bound in bytes is reached: the owner should take no more.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes >= self.bounds.bytes
    }

    /// Whether nothing is held.
    pub(crate) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Whether something waits for room at a subscriber.
    pub(crate) fn is_blocked(&self) -> bool {
        self.blocked > 0
    }

    /// How many messages are held.
    pub(crate) fn waiting(&self) -> usize {
        self.held.values().map(|held| held.frames.len()).sum()
    }

    /// How many messages went out without being waited for: some of them, perhaps to nobody.
    pub(crate) fn unwaited(&self) -> u64 {
        self.unwaited
    }
}

/// What decisions about a topic are made for: the client, of which each call has a topic of its
/// own (`CLIENT/CALL`), or the whole topic.
fn key(topic: &str, of_client: bool) -> &str {
    match of_client {
        true => topic.split_once('/').map_or(topic, |(client, _)| client),
        false => topic,
    }
}

fn cost(frame: &Frame) -> usize {
    frame.len() + OVERHEAD
}

/// What was decided of a client, or another topic, so that each costs its time only once.
#[derive(Debug, Default)]
struct Decided {
    order: VecDeque<(String, u64)>,
    decisions: HashMap<String, (Decision, u64)>,
    next: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decision {
    /// It goes to those who listen to a beginning of it.
    Listened,
    /// It goes to whoever has room, if there is anybody.
    NotWaitedFor,
}

impl Decided {
    fn of(&self, key: &str) -> Option<Decision> {
        if self.decisions.is_empty() {
            return None;
        }
        self.decisions.get(key).map(|(decision, _)| *decision)
    }

    fn remember(&mut self, key: &str, decision: Decision) {
        self.next += 1;
        let decided = (decision, self.next);
        self.decisions.insert(key.to_owned(), decided);
        self.order.push_back((key.to_owned(), self.next));
        while self.order.len() > REMEMBERED {
            if let Some((oldest, number)) = self.order.pop_front()
                && self
                    .decisions
                    .get(&oldest)
                    .is_some_and(|(_, latest)| *latest == number)
            {
                self.decisions.remove(&oldest);
            }
        }
    }

    fn forget(&mut self, key: &str, decision: Decision) {
        if self.of(key) == Some(decision) {
            self.decisions.remove(key);
        }
    }

    /// The listener to topics that begin with `prefix` has gone.
    fn forget_listened(&mut self, prefix: &str) {
        if !self.decisions.is_empty() {
            self.decisions.retain(|key, (decision, _)| {
                *decision != Decision::Listened || !key.starts_with(prefix)
            });
        }
    }
}

#[cfg(test)]
mod tests;
