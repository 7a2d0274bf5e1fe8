//! What is to be published, and when: nothing is sent that the one who waits for it would miss.
//!
//! A message goes out at once when its topic has its subscriber, and that has room. Otherwise it
//! is held, in order, until then: until the subscription comes (there is no slow joiner), or
//! until a subscriber that is slow has read on. Bounds: in bytes over all topics, after which
//! the owner takes no more (that is the back-pressure); and in time by topic, after which it is
//! counted and said that
//! - what nobody subscribed to is given up, and what comes later with it, until somebody does;
//! - subscribers that read nothing are overrun: what they have no room for is lost to them, and
//!   goes to the others, until they have room again.
//!
//! ```text
//!            subscribed, room                      no subscription for `patience`
//!  offer ───────────────────────► sent    held ────────────────────────────► given up
//!        └── else ► held ── subscription or room ► sent   no room for `patience` ► overrun
//! ```
//!
//! Whose subscription? ZeroMQ delivers a topic to whoever subscribed to a beginning of it. A
//! client subscribes to its id, but a message for it must not go out because somebody else
//! listens to everything. So for a topic that is a client's id, only a subscription to that id
//! counts at once; one to a shorter beginning counts after [`PROBATION`], when the client's own,
//! if there were one, would have come. Nor must somebody who listens to everything, and reads
//! nothing, hold up all clients: libzmq cannot tell who has no room, but once a topic with such
//! a listener had to be overrun, the others with one are after [`PROBATION`] too.
//!
//! And a pylm client subscribes anew for each of its calls, by a new connection, and always to
//! the same id: the result of a call may be ready while the last call's subscription still
//! stands, which nobody reads any more. So the first message that goes out by a subscription
//! does so at once, but the second waits for [`SETTLE`], in which the old one would go and the
//! new one come; if neither does, it is the same call, which gets the rest without delay. (A
//! palm client keeps its subscription, and gives each call a topic of its own.)

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Bound;
use std::time::{Duration, Instant};

use super::subscriptions::{Cover, Subscriptions, Use};
use crate::message::Frame;

/// What a held message costs beside its bytes, for the bound.
const OVERHEAD: usize = 200;

/// How many topics are remembered as given up, or as listened to; of more, the oldest are
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
}

/// Under what a message is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Topic<'a> {
    /// The id of a client.
    Client(&'a str),
    /// Something that a hook chose: a name that next steps subscribe to.
    Chosen(&'a str),
}

impl<'a> Topic<'a> {
    fn text(self) -> &'a str {
        match self {
            Self::Client(text) | Self::Chosen(text) => text,
        }
    }
}

/// What sends.
pub(crate) trait Publish {
    type Error;
    /// Sends a message to all subscribers of a topic, if all have room: else `Ok(false)`.
    fn send(&mut self, topic: &str, frame: &Frame) -> Result<bool, Self::Error>;
    /// Sends a message to those subscribers of a topic that have room.
    fn overrun(&mut self, topic: &str, frame: &Frame) -> Result<(), Self::Error>;
}

/// A topic whose patience is over.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct GivenUp {
    pub(crate) topic: String,
    pub(crate) messages: usize,
    /// It has subscribers, which were overrun; else nobody got the messages.
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
    given_up: Remembered,
    listened: Remembered,
    /// Clients, and other topics, of which a subscriber had no room for too long.
    overrun: Remembered,
    /// One of those had somebody who listens to a beginning of it, perhaps the one to blame.
    listener_is_stuck: bool,
    dropped: u64,
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
            bounds,
            subscriptions: Subscriptions::default(),
            held: BTreeMap::new(),
            bytes: 0,
            blocked: 0,
            earliest: None,
            given_up: Remembered::default(),
            listened: Remembered::default(),
            overrun: Remembered::default(),
            listener_is_stuck: false,
            dropped: 0,
        }
    }

    /// A message to publish.
    pub(crate) fn offer<S: Publish>(
        &mut self,
        topic: Topic<'_>,
        frame: Frame,
        now: Instant,
        send: &mut S,
    ) -> Result<(), S::Error> {
        let text = topic.text();
        // No client has no name: what came without one is garbage, and its answer for nobody.
        if text.is_empty() || self.given_up.knows(text) {
            self.dropped += 1;
            return Ok(());
        }
        if let Some(held) = self.held.get_mut(text) {
            // Behind what is held already, so that the order stays.
            self.bytes += cost(&frame);
            held.frames.push_back(frame);
            return Ok(());
        }
        let of_client = matches!(topic, Topic::Client(_));
        let waits = self.would_wait(text, of_client);
        if waits == Waits::Room {
            if send.send(text, &frame)? {
                self.overrun.forget(client_of(text));
                self.subscriptions.use_up(text, Use::Once);
                return Ok(());
            }
            if self.overrun.knows(client_of(text)) {
                self.dropped += 1;
                return send.overrun(text, &frame);
            }
        }
        self.bytes += cost(&frame);
        let held = Held {
            frames: VecDeque::from([frame]),
            of_client,
            waits: Waits::Subscription,
            deadline: now,
        };
        self.held.insert(text.to_owned(), held);
        self.wait(text, waits, now);
        Ok(())
    }

    /// What a message of this topic waits for, if it does: for room at the most, if there is
    /// whoever it should go to.
    fn would_wait(&self, topic: &str, of_client: bool) -> Waits {
        match self.subscriptions.cover(topic) {
            Cover::None => Waits::Subscription,
            Cover::Beginning if of_client && !self.listened.knows(topic) => Waits::OwnSubscription,
            Cover::Own(Use::Once) if of_client => Waits::Settling,
            Cover::Beginning | Cover::Own(_) => Waits::Room,
        }
    }

    /// Has a held topic wait for something, from now on.
    fn wait(&mut self, topic: &str, waits: Waits, now: Instant) {
        let patience = match waits {
            Waits::OwnSubscription => PROBATION,
            Waits::Settling => SETTLE,
            Waits::Room if self.listener_is_stuck && self.subscriptions.cover_beginning(topic) => {
                PROBATION
            }
            Waits::Subscription | Waits::Room => self.bounds.patience,
        };
        let Some(held) = self.held.get_mut(topic) else {
            return;
        };
        self.blocked -= usize::from(held.waits == Waits::Room);
        self.blocked += usize::from(waits == Waits::Room);
        held.waits = waits;
        held.deadline = now + patience.min(self.bounds.patience);
        let earliest = self.earliest.get_or_insert(held.deadline);
        *earliest = held.deadline.min(*earliest);
    }

    /// Somebody subscribed to all topics that begin with `prefix`.
    pub(crate) fn subscribed<S: Publish>(
        &mut self,
        prefix: &[u8],
        now: Instant,
        send: &mut S,
    ) -> Result<(), S::Error> {
        self.subscriptions.add(prefix);
        let Ok(prefix) = std::str::from_utf8(prefix) else {
            return Ok(()); // No topic of ours begins with it.
        };
        self.given_up.forget(prefix);
        self.overrun.forget(prefix);
        let from = (Bound::Included(prefix), Bound::Unbounded);
        let begins = self.held.range::<str, _>(from);
        let begins = begins.take_while(|(topic, _)| topic.starts_with(prefix));
        let topics: Vec<String> = begins.map(|(topic, _)| topic.clone()).collect();
        for topic in topics {
            self.look_again(&topic, now);
            self.flush_topic(&topic, now, send)?;
        }
        Ok(())
    }

    /// Nobody is subscribed to exactly `prefix` any more.
    pub(crate) fn unsubscribed(&mut self, prefix: &[u8], now: Instant) {
        self.subscriptions.remove(prefix);
        self.listener_is_stuck = false;
        if let Ok(prefix) = std::str::from_utf8(prefix) {
            self.listened.forget(prefix);
        }
        for topic in self.blocked_topics() {
            self.look_again(&topic, now);
        }
        if let Ok(topic) = std::str::from_utf8(prefix) {
            self.look_again(topic, now);
        }
    }

    /// The subscriptions have changed: what does a held topic wait for now?
    fn look_again(&mut self, topic: &str, now: Instant) {
        if let Some(held) = self.held.get(topic) {
            let waits = self.would_wait(topic, held.of_client);
            if waits != held.waits {
                self.wait(topic, waits, now);
            }
        }
    }

    /// Tries again to send what waits for subscribers with no room.
    pub(crate) fn flush<S: Publish>(&mut self, now: Instant, send: &mut S) -> Result<(), S::Error> {
        for topic in self.blocked_topics() {
            self.flush_topic(&topic, now, send)?;
        }
        Ok(())
    }

    fn blocked_topics(&self) -> Vec<String> {
        if self.blocked == 0 {
            return Vec::new();
        }
        let blocked = self
            .held
            .iter()
            .filter(|(_, held)| held.waits == Waits::Room);
        blocked.map(|(topic, _)| topic.clone()).collect()
    }

    /// Sends what is held for a topic as far as there is room, if it waits for no more.
    fn flush_topic<S: Publish>(
        &mut self,
        topic: &str,
        now: Instant,
        send: &mut S,
    ) -> Result<(), S::Error> {
        let Some(held) = self.held.get_mut(topic) else {
            return Ok(());
        };
        if held.waits != Waits::Room {
            return Ok(());
        }
        while let Some(frame) = held.frames.front() {
            if !send.send(topic, frame)? {
                return Ok(());
            }
            self.bytes -= cost(frame);
            held.frames.pop_front();
            held.deadline = now + self.bounds.patience;
        }
        self.blocked -= 1;
        self.held.remove(topic);
        self.subscriptions.use_up(topic, Use::Once);
        Ok(())
    }

    /// Does what is due: sends to listeners what waited for a client's own subscription, and
    /// gives up what has waited for too long.
    pub(crate) fn expire<S: Publish>(
        &mut self,
        now: Instant,
        send: &mut S,
    ) -> Result<Vec<GivenUp>, S::Error> {
        if self.earliest.is_none_or(|earliest| now < earliest) {
            return Ok(Vec::new());
        }
        let due = self.held.iter().filter(|(_, held)| held.deadline <= now);
        let due: Vec<(String, Waits)> = due
            .map(|(topic, held)| (topic.clone(), held.waits))
            .collect();
        let mut given_up = Vec::new();
        for (topic, waits) in due {
            match waits {
                Waits::OwnSubscription => {
                    self.listened.remember(&topic);
                    self.wait(&topic, Waits::Room, now);
                    self.flush_topic(&topic, now, send)?;
                }
                Waits::Settling => {
                    self.subscriptions.use_up(&topic, Use::Often);
                    self.wait(&topic, Waits::Room, now);
                    self.flush_topic(&topic, now, send)?;
                }
                Waits::Subscription => {
                    self.given_up.remember(&topic);
                    given_up.extend(self.let_go(topic).map(|(_, given_up)| given_up));
                }
                Waits::Room => given_up.extend(self.run_over(topic, send)?),
            }
        }
        self.earliest = self.held.values().map(|held| held.deadline).min();
        Ok(given_up)
    }

    /// Sends what is held for a topic to those who have room, and the others lose it.
    fn run_over<S: Publish>(
        &mut self,
        topic: String,
        send: &mut S,
    ) -> Result<Option<GivenUp>, S::Error> {
        self.overrun.remember(client_of(&topic));
        self.listener_is_stuck |= self.subscriptions.cover_beginning(&topic);
        let Some((frames, given_up)) = self.let_go(topic) else {
            return Ok(None);
        };
        for frame in &frames {
            send.overrun(&given_up.topic, frame)?;
        }
        Ok(Some(given_up))
    }

    /// Holds nothing for a topic any more.
    fn let_go(&mut self, topic: String) -> Option<(VecDeque<Frame>, GivenUp)> {
        let held = self.held.remove(&topic)?;
        let subscribed = held.waits == Waits::Room;
        self.blocked -= usize::from(subscribed);
        self.bytes -= held.frames.iter().map(cost).sum::<usize>();
        self.dropped += held.frames.len() as u64;
        let given_up = GivenUp {
            topic,
            messages: held.frames.len(),
            subscribed,
        };
        Some((held.frames, given_up))
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

    /// How many messages were given up, or came when a subscriber had no room for too long.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }
}

/// The client of a topic, of which each call has a topic of its own (`CLIENT/CALL`).
fn client_of(topic: &str) -> &str {
    topic.split_once('/').map_or(topic, |(client, _)| client)
}

fn cost(frame: &Frame) -> usize {
    frame.len() + OVERHEAD
}

/// The topics that something was decided of last, so that each costs its time only once.
#[derive(Debug, Default)]
struct Remembered {
    order: VecDeque<(String, u64)>,
    topics: HashMap<String, u64>,
    next: u64,
}

impl Remembered {
    fn knows(&self, topic: &str) -> bool {
        !self.topics.is_empty() && self.topics.contains_key(topic)
    }

    fn remember(&mut self, topic: &str) {
        self.next += 1;
        self.topics.insert(topic.to_owned(), self.next);
        self.order.push_back((topic.to_owned(), self.next));
        while self.order.len() > REMEMBERED {
            if let Some((oldest, number)) = self.order.pop_front()
                && self.topics.get(&oldest) == Some(&number)
            {
                self.topics.remove(&oldest);
            }
        }
    }

    fn forget(&mut self, prefix: &str) {
        if !self.topics.is_empty() {
            self.topics.retain(|topic, _| !topic.starts_with(prefix));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    const PATIENCE: Duration = Duration::from_secs(30);

    /// A peer per topic that takes so many messages and then has no room.
    #[derive(Default)]
    struct Peers {
        room: HashMap<String, usize>,
        got: Vec<(String, Vec<u8>)>,
        overrun: Vec<(String, u8)>,
    }

    impl Publish for Peers {
        type Error = Infallible;
        fn send(&mut self, topic: &str, frame: &Frame) -> Result<bool, Infallible> {
            let room = self.room.entry(topic.to_owned()).or_insert(usize::MAX);
            if *room == 0 {
                return Ok(false);
            }
            *room -= 1;
            self.got.push((topic.to_owned(), frame.payload().to_vec()));
            Ok(true)
        }

        fn overrun(&mut self, topic: &str, frame: &Frame) -> Result<(), Infallible> {
            self.overrun.push((topic.to_owned(), frame.payload()[0]));
            Ok(())
        }
    }

    fn outbox(bytes: usize) -> Outbox {
        Outbox::new(Bounds {
            bytes,
            patience: PATIENCE,
        })
    }

    fn frame(number: u8) -> Frame {
        Frame::new("", "", "s.f", "", &[number])
    }

    fn got(peers: &Peers, topic: &str) -> Vec<u8> {
        let of_topic = peers.got.iter().filter(|(of, _)| of == topic);
        of_topic.map(|(_, payload)| payload[0]).collect()
    }

    #[test]
    fn results_wait_for_the_subscription_and_keep_their_order() {
        let (mut outbox, mut peers) = (outbox(1 << 20), Peers::default());
        let now = Instant::now();
        for number in 0..3 {
            outbox
                .offer(Topic::Client("client/1"), frame(number), now, &mut peers)
                .unwrap();
        }
        assert!(peers.got.is_empty());
        outbox.subscribed(b"client", now, &mut peers).unwrap();
        outbox
            .offer(Topic::Client("client/1"), frame(3), now, &mut peers)
            .unwrap();
        assert_eq!(got(&peers, "client/1"), [0, 1, 2, 3]);
        assert!(outbox.is_empty() && outbox.bytes == 0);
    }

    #[test]
    fn a_slow_reader_holds_up_only_itself_and_loses_nothing() {
        let (mut outbox, mut peers) = (outbox(1 << 20), Peers::default());
        let now = Instant::now();
        outbox.subscribed(b"slow", now, &mut peers).unwrap();
        outbox.subscribed(b"fast", now, &mut peers).unwrap();
        peers.room.insert("slow/1".into(), 1);
        for number in 0..5 {
            outbox
                .offer(Topic::Client("slow/1"), frame(number), now, &mut peers)
                .unwrap();
            outbox
                .offer(Topic::Client("fast/1"), frame(number), now, &mut peers)
                .unwrap();
        }
        assert_eq!(got(&peers, "slow/1"), [0]);
        assert_eq!(got(&peers, "fast/1"), [0, 1, 2, 3, 4]);
        assert!(outbox.is_blocked());
        peers.room.insert("slow/1".into(), 2);
        outbox.flush(now, &mut peers).unwrap();
        assert_eq!(got(&peers, "slow/1"), [0, 1, 2]);
        peers.room.insert("slow/1".into(), 9);
        outbox.flush(now, &mut peers).unwrap();
        assert_eq!(got(&peers, "slow/1"), [0, 1, 2, 3, 4]);
        assert!(outbox.is_empty() && !outbox.is_blocked());
    }

    #[test]
    fn the_bound_in_bytes_is_told_and_released() {
        let (mut outbox, mut peers) = (outbox(1_000), Peers::default());
        let now = Instant::now();
        while !outbox.is_full() {
            outbox
                .offer(Topic::Client("late"), frame(1), now, &mut peers)
                .unwrap();
        }
        assert!(outbox.waiting() >= 3);
        outbox.subscribed(b"late", now, &mut peers).unwrap();
        assert!(!outbox.is_full());
    }

    #[test]
    fn patience_ends_and_costs_only_once_until_somebody_subscribes() {
        let (mut outbox, mut peers) = (outbox(1 << 20), Peers::default());
        let start = Instant::now();
        outbox
            .offer(Topic::Client("gone"), frame(1), start, &mut peers)
            .unwrap();
        assert_eq!(outbox.deadline(), Some(start + PATIENCE));
        assert!(
            outbox
                .expire(start + PATIENCE / 2, &mut peers)
                .unwrap()
                .is_empty()
        );
        let given_up = outbox.expire(start + PATIENCE, &mut peers).unwrap();
        assert_eq!(given_up.len(), 1);
        assert_eq!((given_up[0].messages, given_up[0].subscribed), (1, false));
        let later = start + PATIENCE;
        outbox
            .offer(Topic::Client("gone"), frame(2), later, &mut peers)
            .unwrap();
        assert!(outbox.is_empty());
        assert_eq!(outbox.dropped(), 2);
        outbox.subscribed(b"gone", later, &mut peers).unwrap();
        outbox
            .offer(Topic::Client("gone"), frame(3), later, &mut peers)
            .unwrap();
        assert_eq!(got(&peers, "gone"), [3]);
    }

    #[test]
    fn a_reader_that_reads_at_all_is_not_given_up() {
        let (mut outbox, mut peers) = (outbox(1 << 20), Peers::default());
        let mut now = Instant::now();
        outbox.subscribed(b"slow", now, &mut peers).unwrap();
        peers.room.insert("slow".into(), 0);
        for number in 0..5 {
            outbox
                .offer(Topic::Client("slow"), frame(number), now, &mut peers)
                .unwrap();
        }
        for _ in 0..5 {
            now += PATIENCE * 2 / 3;
            peers.room.insert("slow".into(), 1);
            outbox.flush(now, &mut peers).unwrap();
            assert!(outbox.expire(now, &mut peers).unwrap().is_empty());
        }
        assert_eq!(got(&peers, "slow"), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn a_client_that_comes_back_gets_what_was_held() {
        let (mut outbox, mut peers) = (outbox(1 << 20), Peers::default());
        let now = Instant::now();
        outbox.subscribed(b"c", now, &mut peers).unwrap();
        peers.room.insert("c".into(), 0);
        outbox
            .offer(Topic::Client("c"), frame(1), now, &mut peers)
            .unwrap();
        outbox.unsubscribed(b"c", now);
        assert!(!outbox.is_blocked());
        outbox
            .offer(Topic::Client("c"), frame(2), now, &mut peers)
            .unwrap();
        peers.room.insert("c".into(), 9);
        outbox.flush(now, &mut peers).unwrap();
        assert!(peers.got.is_empty(), "nobody is there");
        outbox.subscribed(b"c", now, &mut peers).unwrap();
        assert_eq!(got(&peers, "c"), [1, 2]);
    }

    #[test]
    fn a_subscriber_that_reads_nothing_is_overrun_until_it_has_room_again() {
        let (mut outbox, mut peers) = (outbox(1 << 20), Peers::default());
        let start = Instant::now();
        outbox.subscribed(b"c", start, &mut peers).unwrap();
        peers.room.insert("c/1".into(), 0);
        let topic = Topic::Client("c/1");
        outbox.offer(topic, frame(1), start, &mut peers).unwrap();
        let later = start + PATIENCE;
        let given_up = outbox.expire(later, &mut peers).unwrap();
        assert!(given_up[0].subscribed);
        outbox.offer(topic, frame(2), later, &mut peers).unwrap();
        assert_eq!(
            peers.overrun,
            [("c/1".to_owned(), 1), ("c/1".to_owned(), 2)]
        );
        assert_eq!(outbox.dropped(), 2);
        peers.room.insert("c/1".into(), 1);
        outbox.offer(topic, frame(3), later, &mut peers).unwrap();
        assert_eq!(got(&peers, "c/1"), [3]);
        // Forgiven: it is waited for again.
        outbox.offer(topic, frame(4), later, &mut peers).unwrap();
        assert!(outbox.is_blocked());
    }

    #[test]
    fn a_listener_that_reads_nothing_costs_all_clients_together_one_patience() {
        let (mut outbox, mut peers) = (outbox(1 << 20), Peers::default());
        let start = Instant::now();
        outbox.subscribed(b"", start, &mut peers).unwrap();
        for client in ["a", "b"] {
            outbox
                .subscribed(client.as_bytes(), start, &mut peers)
                .unwrap();
            peers.room.insert(client.into(), 0);
        }
        outbox
            .offer(Topic::Client("a"), frame(1), start, &mut peers)
            .unwrap();
        let later = start + PATIENCE;
        assert_eq!(outbox.expire(later, &mut peers).unwrap().len(), 1);
        outbox
            .offer(Topic::Client("a"), frame(2), later, &mut peers)
            .unwrap();
        outbox
            .offer(Topic::Client("b"), frame(3), later, &mut peers)
            .unwrap();
        assert_eq!(outbox.deadline(), Some(later + PROBATION));
        outbox.expire(later + PROBATION, &mut peers).unwrap();
        assert_eq!(peers.overrun.len(), 3);
        assert!(outbox.is_empty());
    }

    #[test]
    fn a_result_does_not_go_to_the_subscription_of_a_pylm_clients_last_call() {
        let (mut outbox, mut peers) = (outbox(1 << 20), Peers::default());
        let now = Instant::now();
        let client = Topic::Client("client");
        outbox.subscribed(b"client", now, &mut peers).unwrap();
        outbox.offer(client, frame(1), now, &mut peers).unwrap();
        assert_eq!(got(&peers, "client"), [1]);
        // The next call's result, before the last call's subscription has gone.
        outbox.offer(client, frame(2), now, &mut peers).unwrap();
        assert_eq!(got(&peers, "client"), [1]);
        outbox.unsubscribed(b"client", now);
        outbox.expire(now + SETTLE, &mut peers).unwrap();
        assert_eq!(got(&peers, "client"), [1]);
        outbox
            .subscribed(b"client", now + SETTLE, &mut peers)
            .unwrap();
        assert_eq!(got(&peers, "client"), [1, 2]);
        // And again: what was held for the new call is its first.
        outbox
            .offer(client, frame(3), now + SETTLE, &mut peers)
            .unwrap();
        assert_eq!(got(&peers, "client"), [1, 2]);
    }

    #[test]
    fn a_pylm_clients_job_is_held_up_once() {
        let (mut outbox, mut peers) = (outbox(1 << 20), Peers::default());
        let now = Instant::now();
        let client = Topic::Client("client");
        outbox.subscribed(b"client", now, &mut peers).unwrap();
        for number in 1..=3 {
            outbox
                .offer(client, frame(number), now, &mut peers)
                .unwrap();
        }
        assert_eq!(got(&peers, "client"), [1]);
        assert_eq!(outbox.deadline(), Some(now + SETTLE));
        assert!(outbox.expire(now + SETTLE, &mut peers).unwrap().is_empty());
        outbox
            .offer(client, frame(4), now + SETTLE, &mut peers)
            .unwrap();
        assert_eq!(got(&peers, "client"), [1, 2, 3, 4]);
    }

    #[test]
    fn who_listens_to_everything_does_not_take_a_clients_result_away() {
        let (mut outbox, mut peers) = (outbox(1 << 20), Peers::default());
        let now = Instant::now();
        outbox.subscribed(b"", now, &mut peers).unwrap();
        let topic = Topic::Client("client/1");
        outbox.offer(topic, frame(1), now, &mut peers).unwrap();
        assert!(peers.got.is_empty());
        outbox.subscribed(b"client", now, &mut peers).unwrap();
        assert_eq!(got(&peers, "client/1"), [1]);
        // What a hook chose has no owner.
        let chosen = Topic::Chosen("even");
        outbox.offer(chosen, frame(2), now, &mut peers).unwrap();
        assert_eq!(got(&peers, "even"), [2]);
    }

    #[test]
    fn who_listens_to_everything_gets_results_that_no_client_claims() {
        let (mut outbox, mut peers) = (outbox(1 << 20), Peers::default());
        let now = Instant::now();
        let topic = Topic::Client("client");
        outbox.offer(topic, frame(1), now, &mut peers).unwrap();
        outbox.subscribed(b"cl", now, &mut peers).unwrap();
        assert_eq!(outbox.deadline(), Some(now + PROBATION));
        let later = now + PROBATION;
        assert!(outbox.expire(later, &mut peers).unwrap().is_empty());
        assert_eq!(got(&peers, "client"), [1]);
        // From then on at once, until the listener goes.
        outbox.offer(topic, frame(2), later, &mut peers).unwrap();
        assert_eq!(got(&peers, "client"), [1, 2]);
        outbox.unsubscribed(b"cl", later);
        outbox.offer(topic, frame(3), later, &mut peers).unwrap();
        assert_eq!(got(&peers, "client"), [1, 2]);
    }

    #[test]
    fn what_is_remembered_as_given_up_is_bounded() {
        let mut given_up = Remembered::default();
        for number in 0..3 * REMEMBERED {
            given_up.remember(&number.to_string());
        }
        assert!(given_up.topics.len() <= REMEMBERED && given_up.order.len() <= REMEMBERED);
        assert!(given_up.knows(&(3 * REMEMBERED - 1).to_string()));
        assert!(!given_up.knows("0"));
    }
}
