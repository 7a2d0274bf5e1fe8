//! Malformed input: counted always, logged once per peer and interval, and not by too many
//! peers, as a peer may give itself any number of names.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How long a peer's next malformed messages are only counted after one was logged.
const INTERVAL: Duration = Duration::from_secs(10);

/// How many peers are logged in an interval; what the others do is only counted.
const PEERS: usize = 10;

/// Counts what peers send wrong, and says what of it to log.
#[derive(Debug, Default)]
pub(crate) struct Complaints {
    total: u64,
    unlogged: u64,
    /// When each peer was logged last.
    peers: HashMap<String, Instant>,
}

impl Complaints {
    /// Notes one. If it is to be logged, gives what to add to the line: how many were not.
    pub(crate) fn note(&mut self, peer: &str, now: Instant) -> Option<String> {
        self.total += 1;
        if self.is_known(peer, now) {
            self.unlogged += 1;
            return None;
        }
        self.peers.insert(peer.to_owned(), now);
        match std::mem::take(&mut self.unlogged) {
            0 => Some(String::new()),
            more => Some(format!(" (and {more} more since the last such line)")),
        }
    }

    /// Whether a peer, or as many as are logged, had their line just now.
    fn is_known(&mut self, peer: &str, now: Instant) -> bool {
        let recent = |logged: &Instant| now.duration_since(*logged) < INTERVAL;
        if self.peers.get(peer).is_some_and(recent) {
            return true;
        }
        if self.peers.len() >= PEERS {
            self.peers.retain(|_, logged| recent(logged));
        }
        self.peers.len() >= PEERS
    }

    /// How many there were.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_one_line_per_peer_and_interval() {
        let mut complaints = Complaints::default();
        let start = Instant::now();
        let mut lines = 0;
        for i in 0..10_000u64 {
            let peer = format!("peer {}", i % 2);
            let now = start + Duration::from_millis(i * 3);
            lines += usize::from(complaints.note(&peer, now).is_some());
        }
        assert_eq!(lines, 2 * 3);
        assert_eq!(complaints.total(), 10_000);
    }

    #[test]
    fn a_flood_of_names_is_a_few_lines_too() {
        let mut complaints = Complaints::default();
        let start = Instant::now();
        let mut lines = Vec::new();
        for i in 0..10_000u64 {
            let now = start + Duration::from_millis(i);
            lines.extend(complaints.note(&i.to_string(), now));
        }
        assert_eq!(lines.len(), PEERS);
        let later = start + 2 * INTERVAL;
        let line = complaints.note("late", later).unwrap();
        assert!(line.contains("9990 more"), "{line}");
        assert!(complaints.peers.len() <= PEERS);
    }
}
