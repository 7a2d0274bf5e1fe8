//! What is to be published, and when: nothing is sent that nobody would get.
//!
//! A message goes out at once when its topic has a subscriber with room. Otherwise it is held,
//! in order, until there is one: until the subscription comes (there is no slow joiner), or
//! until a subscriber that is slow has read on. Bounds: in bytes over all topics, after which
//! the owner takes no more (that is the back-pressure); and in time by topic, after which what
//! is held for it is given up, counted and said, and its later messages with it, until somebody
//! subscribes to it again.
//!
//! ```text
//!            subscribed, room                      no progress for `patience`
//!  offer ───────────────────────► sent    held ────────────────────────────► given up
//!        └── else ► held ── subscription or room ► sent            subscription ► held, sent
//! ```

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Bound;
use std::time::{Duration, Instant};

use super::subscriptions::Subscriptions;
use crate::message::Frame;

/// What a held message costs beside its bytes, for the bound.
const OVERHEAD: usize = 200;

/// How many topics are remembered as given up; of more, the oldest are forgotten, and wait
/// their time again.
const REMEMBERED: usize = 4_096;

/// How much is held, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) bytes: usize,
    pub(crate) patience: Duration,
}

/// Tries to send a message under a topic: `Ok(false)` when its subscriber has no room.
pub(crate) trait Publish {
    type Error;
    fn send(&mut self, topic: &str, frame: &Frame) -> Result<bool, Self::Error>;
}

impl<F, E> Publish for F
where
    F: FnMut(&str, &Frame) -> Result<bool, E>,
{
    type Error = E;
    fn send(&mut self, topic: &str, frame: &Frame) -> Result<bool, E> {
        self(topic, frame)
    }
}

/// What was given up for a topic.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct GivenUp {
    pub(crate) topic: String,
    pub(crate) messages: usize,
    pub(crate) subscribed: bool,
}

#[derive(Debug)]
pub(crate) struct Outbox {
    bounds: Bounds,
    subscriptions: Subscriptions,
    held: BTreeMap<String, Held>,
    bytes: usize,
    blocked: usize,
    /// Nothing expires before. Progress only puts it off, and what is new expires last: so it is
    /// worked out anew only when it has come.
    earliest: Option<Instant>,
    given_up: Forgotten,
    dropped: u64,
}

#[derive(Debug)]
struct Held {
    frames: VecDeque<Frame>,
    progress: Instant,
    /// Has a subscriber, which has no room.
    blocked: bool,
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
            given_up: Forgotten::default(),
            dropped: 0,
        }
    }

    /// A message to publish.
    pub(crate) fn offer<S: Publish>(
        &mut self,
        topic: &str,
        frame: Frame,
        now: Instant,
        send: &mut S,
    ) -> Result<(), S::Error> {
        // No client has no name: what came without one is garbage, and its answer for nobody.
        if topic.is_empty() || self.given_up.knows(topic) {
            self.dropped += 1;
            return Ok(());
        }
        let subscribed = self.subscriptions.cover(topic);
        if let Some(held) = self.held.get_mut(topic) {
            // Behind what is held already, so that the order stays.
            self.bytes += cost(&frame);
            held.frames.push_back(frame);
            return Ok(());
        }
        if subscribed && send.send(topic, &frame)? {
            return Ok(());
        }
        self.bytes += cost(&frame);
        self.blocked += usize::from(subscribed);
        let held = Held {
            frames: VecDeque::from([frame]),
            progress: now,
            blocked: subscribed,
        };
        self.held.insert(topic.to_owned(), held);
        self.earliest.get_or_insert(now + self.bounds.patience);
        Ok(())
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
        let topics: Vec<String> = self
            .held
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            .map(|(topic, _)| topic)
            .take_while(|topic| topic.starts_with(prefix))
            .cloned()
            .collect();
        for topic in topics {
            if let Some(held) = self.held.get_mut(&topic) {
                self.blocked += usize::from(!held.blocked);
                held.blocked = true;
                held.progress = now;
            }
            self.flush_topic(&topic, now, send)?;
        }
        Ok(())
    }

    /// Nobody is subscribed to exactly `prefix` any more.
    pub(crate) fn unsubscribed(&mut self, prefix: &[u8], now: Instant) {
        self.subscriptions.remove(prefix);
        if self.blocked == 0 {
            return;
        }
        for (topic, held) in &mut self.held {
            if held.blocked && !self.subscriptions.cover(topic) {
                held.blocked = false;
                held.progress = now;
                self.blocked -= 1;
            }
        }
    }

    /// Tries again to send what waits for subscribers with no room.
    pub(crate) fn flush<S: Publish>(&mut self, now: Instant, send: &mut S) -> Result<(), S::Error> {
        if self.blocked == 0 {
            return Ok(());
        }
        let topics: Vec<String> = self
            .held
            .iter()
            .filter(|(_, held)| held.blocked)
            .map(|(topic, _)| topic.clone())
            .collect();
        for topic in topics {
            self.flush_topic(&topic, now, send)?;
        }
        Ok(())
    }

    fn flush_topic<S: Publish>(
        &mut self,
        topic: &str,
        now: Instant,
        send: &mut S,
    ) -> Result<(), S::Error> {
        let Some(held) = self.held.get_mut(topic) else {
            return Ok(());
        };
        while let Some(frame) = held.frames.front() {
            if !send.send(topic, frame)? {
                return Ok(());
            }
            self.bytes -= cost(frame);
            held.frames.pop_front();
            held.progress = now;
        }
        self.blocked -= usize::from(held.blocked);
        self.held.remove(topic);
        Ok(())
    }

    /// Gives up what has waited for too long.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<GivenUp> {
        if self.earliest.is_none_or(|earliest| now < earliest) {
            return Vec::new();
        }
        let patience = self.bounds.patience;
        let late = |held: &Held| now.duration_since(held.progress) >= patience;
        let topics: Vec<String> = self
            .held
            .iter()
            .filter(|(_, held)| late(held))
            .map(|(topic, _)| topic.clone())
            .collect();
        let given_up = topics
            .into_iter()
            .filter_map(|topic| self.give_up(topic))
            .collect();
        let oldest = self.held.values().map(|held| held.progress).min();
        self.earliest = oldest.map(|progress| progress + patience);
        given_up
    }

    fn give_up(&mut self, topic: String) -> Option<GivenUp> {
        let held = self.held.remove(&topic)?;
        self.blocked -= usize::from(held.blocked);
        self.bytes -= held.frames.iter().map(cost).sum::<usize>();
        self.dropped += held.frames.len() as u64;
        self.given_up.remember(&topic);
        Some(GivenUp {
            topic,
            messages: held.frames.len(),
            subscribed: held.blocked,
        })
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

    /// Whether something waits for a subscriber that is there.
    pub(crate) fn is_blocked(&self) -> bool {
        self.blocked > 0
    }

    /// How many messages are held.
    pub(crate) fn waiting(&self) -> usize {
        self.held.values().map(|held| held.frames.len()).sum()
    }

    /// How many messages were given up.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }
}

fn cost(frame: &Frame) -> usize {
    frame.len() + OVERHEAD
}

/// Topics that were given up, so that each costs its patience only once.
#[derive(Debug, Default)]
struct Forgotten {
    order: VecDeque<(String, u64)>,
    topics: HashMap<String, u64>,
    next: u64,
}

impl Forgotten {
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
                .offer("client/1", frame(number), now, &mut peers)
                .unwrap();
        }
        assert!(peers.got.is_empty());
        outbox.subscribed(b"client", now, &mut peers).unwrap();
        outbox.offer("client/1", frame(3), now, &mut peers).unwrap();
        assert_eq!(got(&peers, "client/1"), [0, 1, 2, 3]);
        assert!(outbox.is_empty() && outbox.bytes == 0);
    }

    #[test]
    fn a_slow_reader_holds_up_only_itself_and_loses_nothing() {
        let (mut outbox, mut peers) = (outbox(1 << 20), Peers::default());
        let now = Instant::now();
        outbox.subscribed(b"", now, &mut peers).unwrap();
        peers.room.insert("slow".into(), 1);
        for number in 0..5 {
            outbox
                .offer("slow", frame(number), now, &mut peers)
                .unwrap();
            outbox
                .offer("fast", frame(number), now, &mut peers)
                .unwrap();
        }
        assert_eq!(got(&peers, "slow"), [0]);
        assert_eq!(got(&peers, "fast"), [0, 1, 2, 3, 4]);
        assert!(outbox.is_blocked());
        peers.room.insert("slow".into(), 2);
        outbox.flush(now, &mut peers).unwrap();
        assert_eq!(got(&peers, "slow"), [0, 1, 2]);
        peers.room.insert("slow".into(), 9);
        outbox.flush(now, &mut peers).unwrap();
        assert_eq!(got(&peers, "slow"), [0, 1, 2, 3, 4]);
        assert!(outbox.is_empty() && !outbox.is_blocked());
    }

    #[test]
    fn the_bound_in_bytes_is_told_and_released() {
        let (mut outbox, mut peers) = (outbox(1_000), Peers::default());
        let now = Instant::now();
        while !outbox.is_full() {
            outbox.offer("late", frame(1), now, &mut peers).unwrap();
        }
        assert!(outbox.waiting() >= 3);
        outbox.subscribed(b"late", now, &mut peers).unwrap();
        assert!(!outbox.is_full());
    }

    #[test]
    fn patience_ends_and_costs_only_once_until_somebody_subscribes() {
        let (mut outbox, mut peers) = (outbox(1 << 20), Peers::default());
        let start = Instant::now();
        outbox.offer("gone", frame(1), start, &mut peers).unwrap();
        assert_eq!(outbox.deadline(), Some(start + PATIENCE));
        assert!(outbox.expire(start + PATIENCE / 2).is_empty());
        let given_up = outbox.expire(start + PATIENCE);
        assert_eq!(given_up.len(), 1);
        assert_eq!((given_up[0].messages, given_up[0].subscribed), (1, false));
        let later = start + PATIENCE;
        outbox.offer("gone", frame(2), later, &mut peers).unwrap();
        assert!(outbox.is_empty());
        assert_eq!(outbox.dropped(), 2);
        outbox.subscribed(b"gone", later, &mut peers).unwrap();
        outbox.offer("gone", frame(3), later, &mut peers).unwrap();
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
                .offer("slow", frame(number), now, &mut peers)
                .unwrap();
        }
        for _ in 0..5 {
            now += PATIENCE * 2 / 3;
            peers.room.insert("slow".into(), 1);
            outbox.flush(now, &mut peers).unwrap();
            assert!(outbox.expire(now).is_empty());
        }
        assert_eq!(got(&peers, "slow"), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn a_client_that_comes_back_gets_what_was_held() {
        let (mut outbox, mut peers) = (outbox(1 << 20), Peers::default());
        let now = Instant::now();
        outbox.subscribed(b"c", now, &mut peers).unwrap();
        peers.room.insert("c".into(), 0);
        outbox.offer("c", frame(1), now, &mut peers).unwrap();
        outbox.unsubscribed(b"c", now);
        assert!(!outbox.is_blocked());
        outbox.offer("c", frame(2), now, &mut peers).unwrap();
        peers.room.insert("c".into(), 9);
        outbox.flush(now, &mut peers).unwrap();
        assert!(peers.got.is_empty(), "nobody is there");
        outbox.subscribed(b"c", now, &mut peers).unwrap();
        assert_eq!(got(&peers, "c"), [1, 2]);
    }

    #[test]
    fn what_is_remembered_as_given_up_is_bounded() {
        let mut given_up = Forgotten::default();
        for number in 0..3 * REMEMBERED {
            given_up.remember(&number.to_string());
        }
        assert!(given_up.topics.len() <= REMEMBERED && given_up.order.len() <= REMEMBERED);
        assert!(given_up.knows(&(3 * REMEMBERED - 1).to_string()));
        assert!(!given_up.knows("0"));
    }
}
