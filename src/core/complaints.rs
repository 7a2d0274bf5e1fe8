//! Malformed input: counted always, logged once per peer and interval.

use std::collections::HashMap;
use std::fmt::Display;
use std::time::{Duration, Instant};

/// How long a peer's next malformed messages are only counted after one was logged.
const INTERVAL: Duration = Duration::from_secs(10);

/// How many peers are told apart. Beyond, all start anew: the log gets a few lines more.
const PEERS: usize = 256;

/// Counts what peers send wrong, and says what of it to log.
#[derive(Debug, Default)]
pub(crate) struct Complaints {
    total: u64,
    peers: HashMap<String, Peer>,
}

#[derive(Debug)]
struct Peer {
    logged: Instant,
    unlogged: u64,
}

impl Complaints {
    /// Notes one, and gives the line to log, if it is time for one.
    pub(crate) fn note(
        &mut self,
        peer: String,
        what: impl Display,
        now: Instant,
    ) -> Option<String> {
        self.total += 1;
        if self.peers.len() >= PEERS && !self.peers.contains_key(&peer) {
            self.peers.clear();
        }
        let Some(known) = self.peers.get_mut(&peer) else {
            let line = format!("refused from {peer}: {what}");
            let known = Peer {
                logged: now,
                unlogged: 0,
            };
            self.peers.insert(peer, known);
            return Some(line);
        };
        if now.duration_since(known.logged) < INTERVAL {
            known.unlogged += 1;
            return None;
        }
        let more = std::mem::take(&mut known.unlogged);
        known.logged = now;
        Some(format!(
            "refused from {peer}: {what} (and {more} more since the last such line)"
        ))
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
            lines += usize::from(complaints.note(peer, "garbage", now).is_some());
        }
        assert_eq!(lines, 2 * 3);
        assert_eq!(complaints.total(), 10_000);
    }

    #[test]
    fn many_peers_do_not_grow_it() {
        let mut complaints = Complaints::default();
        let now = Instant::now();
        for i in 0..10_000 {
            complaints.note(i.to_string(), "garbage", now);
        }
        assert!(complaints.peers.len() <= PEERS);
    }
}
