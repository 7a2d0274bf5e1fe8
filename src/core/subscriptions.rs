//! Subscriptions, as ZeroMQ has them: to every topic with a certain beginning.

use std::collections::{BTreeMap, HashSet};

/// Who is subscribed, by the beginning of a topic.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    prefixes: HashSet<Vec<u8>>,
    /// How many prefixes there are of each length: a topic is looked up once for each.
    lengths: BTreeMap<usize, usize>,
}

impl Subscriptions {
    pub(super) fn add(&mut self, prefix: &[u8]) {
        if self.prefixes.insert(prefix.to_vec()) {
            *self.lengths.entry(prefix.len()).or_default() += 1;
        }
    }

    pub(super) fn remove(&mut self, prefix: &[u8]) {
        if !self.prefixes.remove(prefix) {
            return;
        }
        if let Some(count) = self.lengths.get_mut(&prefix.len()) {
            *count -= 1;
            if *count == 0 {
                self.lengths.remove(&prefix.len());
            }
        }
    }

    /// Whether somebody is subscribed to a topic.
    pub(super) fn cover(&self, topic: &str) -> Cover {
        let topic = topic.as_bytes();
        let has = |length: usize| self.prefixes.contains(&topic[..length]);
        let call = topic.iter().position(|&byte| byte == b'/');
        if has(topic.len()) || call.is_some_and(has) {
            return Cover::Own;
        }
        match self.listens(topic, topic.len()) {
            true => Cover::Beginning,
            false => Cover::None,
        }
    }

    /// Whether somebody is subscribed to a beginning of a topic, beside its own name.
    pub(super) fn cover_beginning(&self, topic: &str) -> bool {
        let topic = topic.as_bytes();
        let call = topic.iter().position(|&byte| byte == b'/');
        self.listens(topic, call.unwrap_or(topic.len()))
    }

    /// Whether somebody is subscribed to a beginning that is shorter than `below`.
    fn listens(&self, topic: &[u8], below: usize) -> bool {
        let mut lengths = self.lengths.range(..below);
        lengths.any(|(&length, _)| self.prefixes.contains(&topic[..length]))
    }
}

/// How a topic is subscribed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cover {
    /// By nobody.
    None,
    /// By somebody who listens to a beginning of it.
    Beginning,
    /// By its own name; for `CLIENT/CALL`, also by the client's.
    Own,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_beginnings_of_a_topic_cover_it() {
        let mut subscriptions = Subscriptions::default();
        subscriptions.add(b"ab");
        subscriptions.add(b"ab");
        subscriptions.add(b"\xff");
        assert_eq!(subscriptions.cover("ab"), Cover::Own);
        assert_eq!(subscriptions.cover("ab/17"), Cover::Own);
        assert_eq!(subscriptions.cover("abc"), Cover::Beginning);
        assert_eq!(subscriptions.cover("a"), Cover::None);
        assert_eq!(subscriptions.cover("b"), Cover::None);
        subscriptions.remove(b"ab");
        subscriptions.remove(b"never there");
        assert_eq!(subscriptions.cover("ab"), Cover::None);
    }
}
