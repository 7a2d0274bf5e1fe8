//! The connections of a server, and what is to be said over each.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use super::{BEAT, Conn, SILENCE};
use crate::message::link::{Envelope, Head, Kind, Outgoing};

/// Of how many connections that said no hello it is remembered that they were told so.
const STRANGERS: usize = 4_096;

/// Of how many peers whose connection is gone the last hello is remembered.
const LOST: usize = 4_096;

/// All who are connected and have said who they are.
#[derive(Default)]
pub(crate) struct Peers {
    known: BTreeMap<Conn, Peer>,
    by_session: HashMap<(Kind, String), Conn>,
    /// The last nonces of those whose connection is gone, the latest last: an older hello may
    /// still come by a connection of before.
    lost: VecDeque<((Kind, String), u64)>,
    /// Those with something to be said to them.
    spoken: Vec<Conn>,
    /// Those that have not said who they are, and when they were asked.
    strangers: HashMap<Conn, Instant>,
    asked: Vec<Conn>,
    /// When to look next whose heartbeat is due.
    beat: Option<Instant>,
}

/// Who is connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Who {
    pub(crate) kind: Kind,
    pub(crate) session: String,
    /// What it gets.
    pub(crate) topic: String,
}

struct Peer {
    who: Arc<Who>,
    nonce: u64,
    out: Outgoing,
    has_spoken: bool,
    heard: Instant,
    said: Option<Instant>,
}

impl Peers {
    /// Somebody has said who it is. Gives the connection that it had before.
    pub(crate) fn add(
        &mut self,
        conn: Conn,
        who: Arc<Who>,
        nonce: u64,
        now: Instant,
    ) -> Option<Conn> {
        self.strangers.remove(&conn);
        self.remove(conn);
        let key = (who.kind, who.session.clone());
        self.lost.retain(|(lost, _)| *lost != key);
        let before = self.by_session.insert(key, conn);
        if let Some(before) = before {
            self.known.remove(&before);
        }
        let peer = Peer {
            who,
            nonce,
            out: Outgoing::default(),
            has_spoken: false,
            heard: now,
            said: Some(now),
        };
        self.known.insert(conn, peer);
        before
    }

    /// Who is at a connection. Something was heard from there.
    pub(crate) fn heard(&mut self, conn: Conn, now: Instant) -> Option<&Arc<Who>> {
        let peer = self.known.get_mut(&conn)?;
        peer.heard = now;
        Some(&peer.who)
    }

    pub(crate) fn knows(&self, conn: Conn) -> bool {
        self.known.contains_key(&conn)
    }

    /// The nonce of a connection's hello.
    pub(crate) fn nonce(&self, conn: Conn) -> u64 {
        self.known.get(&conn).map_or(0, |peer| peer.nonce)
    }

    /// Whether a hello was overtaken by a later one, on another connection: what it tells is old.
    pub(crate) fn is_overtaken(&self, who: &Who, nonce: u64) -> bool {
        let key = (who.kind, who.session.clone());
        let here = self.by_session.get(&key).map(|conn| self.nonce(*conn));
        let lost = || self.lost.iter().find(|(lost, _)| *lost == key);
        let last = here.or_else(|| lost().map(|(_, nonce)| *nonce));
        last.is_some_and(|last| last > nonce)
    }

    /// A connection is gone. Its peer may come back.
    pub(crate) fn lose(&mut self, conn: Conn) -> Option<Arc<Who>> {
        let nonce = self.nonce(conn);
        let who = self.remove(conn)?;
        let key = (who.kind, who.session.clone());
        if !self.by_session.contains_key(&key) {
            if self.lost.len() >= LOST {
                self.lost.pop_front();
            }
            self.lost.push_back((key, nonce));
        }
        Some(who)
    }

    /// A peer is not here any more.
    pub(crate) fn remove(&mut self, conn: Conn) -> Option<Arc<Who>> {
        let who = self.known.remove(&conn)?.who;
        let key = (who.kind, who.session.clone());
        if self.by_session.get(&key) == Some(&conn) {
            self.by_session.remove(&key);
        }
        Some(who)
    }

    /// What is to be said to a peer, if it is there.
    pub(crate) fn to(&mut self, conn: Conn) -> Option<&mut Outgoing> {
        let peer = self.known.get_mut(&conn)?;
        if !peer.has_spoken {
            peer.has_spoken = true;
            self.spoken.push(conn);
        }
        Some(&mut peer.out)
    }

    /// Asks who is there.
    pub(crate) fn ask(&mut self, conn: Conn, now: Instant) {
        let asked = self.strangers.get(&conn);
        if asked.is_some_and(|asked| now.saturating_duration_since(*asked) < BEAT) {
            return;
        }
        if self.strangers.len() >= STRANGERS {
            self.strangers.clear();
        }
        self.strangers.insert(conn, now);
        self.asked.push(conn);
    }

    /// Has every peer that gets some topic be asked whether it is there.
    pub(crate) fn probe(&mut self, topic: &str) {
        for peer in self.known.values_mut() {
            if peer.who.topic == topic {
                peer.said = None;
            }
        }
        self.beat = None;
    }

    /// Takes leave of everybody.
    pub(crate) fn leave(&mut self) {
        let all: Vec<_> = self.known.keys().copied().collect();
        for conn in all {
            if let Some(out) = self.to(conn) {
                out.note(|head| head.bye = true);
            }
        }
    }

    /// Those that were silent for too long.
    pub(crate) fn silent(&self, now: Instant) -> Vec<Conn> {
        let is_silent = |peer: &Peer| now.saturating_duration_since(peer.heard) >= SILENCE;
        let silent = self.known.iter().filter(|(_, peer)| is_silent(peer));
        silent.map(|(conn, _)| *conn).collect()
    }

    /// Whether it is time to look who is silent, and whose heartbeat is due.
    pub(crate) fn is_time(&self, now: Instant) -> bool {
        self.beat.is_none_or(|beat| beat <= now)
    }

    /// All that is to be said now.
    pub(crate) fn take(&mut self, now: Instant) -> Vec<(Conn, Envelope)> {
        let mut all = Vec::new();
        for conn in std::mem::take(&mut self.asked) {
            let head = Head {
                unknown: true,
                ..Head::default()
            };
            all.push((conn, Envelope::of(head)));
        }
        let spoken = std::mem::take(&mut self.spoken);
        // Messages first: somebody waits for them.
        for messages in [true, false] {
            for conn in &spoken {
                self.say_to(*conn, messages, now, &mut all);
            }
        }
        if self.is_time(now) {
            let mut next = now + BEAT;
            // Those whose time is near, too: so it is one wake-up for all of them.
            let near = now + BEAT / 2;
            for (conn, peer) in &mut self.known {
                match peer.said.map(|said| said + BEAT).filter(|due| *due > near) {
                    Some(due) => next = next.min(due),
                    None => {
                        peer.said = Some(now);
                        all.push((*conn, Envelope::default()));
                    }
                }
            }
            self.beat = Some(next.max(now + BEAT / 8));
        }
        all
    }

    /// Says what is to be said to a peer, if that is messages, or if it is none. What can wait is
    /// asked for again.
    fn say_to(
        &mut self,
        conn: Conn,
        messages: bool,
        now: Instant,
        all: &mut Vec<(Conn, Envelope)>,
    ) {
        let peer = self.known.get_mut(&conn).filter(|peer| peer.has_spoken);
        let Some(peer) = peer.filter(|peer| peer.out.has_messages() == messages) else {
            return;
        };
        all.extend(peer.out.take_due(now).map(|said| (conn, said)));
        match peer.out.deadline() {
            Some(_) => self.spoken.push(conn),
            None => {
                peer.has_spoken = false;
                peer.said = Some(now);
            }
        }
    }

    /// When to call [`take`](Self::take) again though nothing happens.
    pub(crate) fn deadline(&self, now: Instant) -> Option<Instant> {
        if self.known.is_empty() {
            return None;
        }
        let peers = self.spoken.iter().filter_map(|conn| self.known.get(conn));
        let kept_back = peers.filter_map(|peer| peer.out.deadline()).min();
        let beat = self.beat.unwrap_or(now);
        Some(kept_back.map_or(beat, |until| until.min(beat)))
    }
}
