//! Subscriptions, as ZeroMQ has them: to every topic with a certain beginning.

use std::collections::{BTreeMap, HashMap};

/// Who is subscribed, by the beginning of a topic.
#[derive(Debug)]
pub(super) struct Subscriptions {
    /// Whether the cancel of each subscriber is told, or only that of the last one.
    counts: bool,
    prefixes: HashMap<Vec<u8>, Known>,
    /// How many prefixes there are of each length: a topic is looked up once for each.
    lengths: BTreeMap<usize, usize>,
}

impl Subscriptions {
    /// None yet. When the cancel of each is told (`counts`), a peer that subscribes twice counts
    /// twice, and for ever: it cancels once.
    pub(super) fn new(counts: bool) -> Self {
        Self {
            counts,
            prefixes: HashMap::new(),
            lengths: BTreeMap::new(),
        }
    }

    pub(super) fn add(&mut self, prefix: &[u8]) {
        match self.prefixes.get_mut(prefix) {
            Some(known) => {
                known.subscribers += 1;
                known.used = Use::Never;
            }
            None => {
                let known = Known {
                    subscribers: 1,
                    used: Use::Never,
                };
                self.prefixes.insert(prefix.to_vec(), known);
                *self.lengths.entry(prefix.len()).or_default() += 1;
            }
        }
    }

    /// One subscriber less. Whether it was the last.
    pub(super) fn remove(&mut self, prefix: &[u8]) -> bool {
        match self.prefixes.get_mut(prefix) {
            Some(known) if self.counts && known.subscribers > 1 => {
                known.subscribers -= 1;
                return false;
            }
            Some(_) => self.prefixes.remove(prefix),
            None => return true,
        };
        if let Some(count) = self.lengths.get_mut(&prefix.len()) {
            *count -= 1;
            if *count == 0 {
                self.lengths.remove(&prefix.len());
            }
        }
        true
    }

    /// How many are subscribed to exactly this topic.
    pub(super) fn count(&self, topic: &str) -> usize {
        let known = self.prefixes.get(topic.as_bytes());
        known.map_or(0, |known| known.subscribers)
    }

    /// Whether somebody listens to a topic by a shorter beginning of it.
    pub(super) fn is_listened_to(&self, topic: &str) -> bool {
        self.listens(topic.as_bytes(), topic.len())
    }

    /// Whether somebody is subscribed to a topic that is the id of a client, or `CLIENT/CALL`.
    pub(super) fn cover(&self, topic: &str) -> Cover {
        let topic = topic.as_bytes();
        if let Some(known) = self.prefixes.get(topic) {
            return Cover::Own(known.used);
        }
        let call = topic.iter().position(|&byte| byte == b'/');
        if call.is_some_and(|client| self.prefixes.contains_key(&topic[..client])) {
            return Cover::Own(Use::Often);
        }
        match self.listens(topic, topic.len()) {
            true => Cover::Beginning,
            false => Cover::None,
        }
    }

    /// A message went out by the subscription to exactly this topic, if there is one.
    pub(super) fn use_up(&mut self, topic: &str, used: Use) {
        if let Some(known) = self.prefixes.get_mut(topic.as_bytes()) {
            known.used = used.max(known.used);
        }
    }

    /// Whether somebody is subscribed to a beginning that is shorter than `below`.
    fn listens(&self, topic: &[u8], below: usize) -> bool {
        let mut lengths = self.lengths.range(..below);
        lengths.any(|(&length, _)| self.prefixes.contains_key(&topic[..length]))
    }
}

/// What is known of a subscription.
#[derive(Clone, Copy, Debug)]
struct Known {
    subscribers: usize,
    /// What has gone out since the last one subscribed.
    used: Use,
}

/// How a topic is subscribed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cover {
    /// By nobody.
    None,
    /// By somebody who listens to a beginning of it.
    Beginning,
    /// By its own name, with what has gone out by that; for `CLIENT/CALL`, by the client's.
    Own(Use),
}

/// What has gone out by a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Use {
    /// Nothing.
    Never,
    /// One message, or several that were ready together.
    Once,
    /// It is known to be in use.
    Often,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_beginnings_of_a_topic_cover_it() {
        let mut subscriptions = Subscriptions::new(true);
        subscriptions.add(b"ab");
        subscriptions.add(b"ab");
        assert_eq!(subscriptions.count("ab"), 2);
        subscriptions.add(b"\xff");
        assert_eq!(subscriptions.cover("ab"), Cover::Own(Use::Never));
        assert_eq!(subscriptions.cover("ab/17"), Cover::Own(Use::Often));
        assert_eq!(subscriptions.cover("abc"), Cover::Beginning);
        assert_eq!(subscriptions.cover("a"), Cover::None);
        assert_eq!(subscriptions.cover("b"), Cover::None);
        subscriptions.remove(b"never there");
        assert!(!subscriptions.remove(b"ab"));
        assert_eq!(subscriptions.count("ab"), 1);
        assert!(subscriptions.remove(b"ab"));
        assert_eq!(subscriptions.cover("ab"), Cover::None);
    }

    #[test]
    fn where_only_the_last_cancel_is_told_nobody_is_left_after_it() {
        let mut subscriptions = Subscriptions::new(false);
        subscriptions.add(b"ab");
        subscriptions.add(b"ab");
        assert!(subscriptions.remove(b"ab"));
        assert_eq!(subscriptions.count("ab"), 0);
        assert_eq!(subscriptions.cover("ab"), Cover::None);
    }
}
