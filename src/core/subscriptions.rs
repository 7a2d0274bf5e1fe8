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

    pub(super) fn cover(&self, topic: &str) -> bool {
        let topic = topic.as_bytes();
        self.lengths
            .range(..=topic.len())
            .any(|(&length, _)| self.prefixes.contains(&topic[..length]))
    }
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
        assert!(subscriptions.cover("ab") && subscriptions.cover("abc"));
        assert!(!subscriptions.cover("a") && !subscriptions.cover("b"));
        subscriptions.remove(b"ab");
        subscriptions.remove(b"never there");
        assert!(!subscriptions.cover("ab"));
    }
}
