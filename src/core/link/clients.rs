//! The clients of a server that submit messages to it over the link.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Conn, Credit, Item, MANY_OPEN, OVERHEAD, Taken, Taker, Tell, position_of};
use crate::core::custody::{Ledger, Outcome, Settled};
use crate::core::divide::Divide;
use crate::core::turns::{Portion, Turns, Waits};
use crate::message::link::{Outgoing, Position};
use crate::message::{Frame, number_under};

/// How many messages a client may have open. So many all may have that submit in streams, about, and
/// each of these some at the least: more only wait longer, and what waits for long is in nobody's cache
/// when it is its turn. (In a chain of eight steps that is 2,000 for each process: with half of that,
/// a message costs an eighth more.)
const MESSAGES: u64 = 16_384;
const LEAST_MESSAGES: u64 = 512;

/// Who has so many messages open submits in a stream.
const STREAM: usize = 128;

/// The least that a client may have open, in bytes.
const LEAST_BYTES: u64 = 64 << 10;

/// What a message takes at the least, in bytes.
const LEAST: u64 = OVERHEAD / 16;

/// How many cancelled jobs of a client are remembered.
const CANCELLED: usize = 1_024;

/// Takes in what clients submit, in turn, and tells each of them what is done.
pub(crate) struct Clients {
    sessions: BTreeMap<String, Session>,
    /// By the streams that the ledger knows.
    streams: BTreeMap<u64, String>,
    next_stream: u64,
    /// What the component has not taken yet.
    inbox: Turns<Submitted>,
    /// How many messages each of them may have open, and how many bytes all of them.
    messages: u64,
    bytes: u64,
    /// For how many sessions the credit was reckoned, and for how many that submit in streams.
    reckoned: usize,
    streams_reckoned: usize,
    ledger: Arc<Ledger>,
    patience: Duration,
    counters: ClientCounters,
}

/// What has happened since the start, in messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClientCounters {
    /// Taken from clients.
    pub(crate) submitted: u64,
    /// Done with.
    pub(crate) settled: u64,
}

/// A message that has come, or a bundle, with the number of the first.
struct Submitted {
    session: Arc<str>,
    stream: u64,
    number: u64,
    frame: Frame,
}

impl Divide for Submitted {
    fn count(&self) -> usize {
        self.frame.count()
    }

    fn split_off(&mut self, count: usize) -> Self {
        Self {
            session: self.session.clone(),
            stream: self.stream,
            number: self.number + count as u64,
            frame: self.frame.split_off(count),
        }
    }

    fn singles(self) -> impl ExactSizeIterator<Item = Self> {
        let Self {
            session,
            stream,
            number,
            frame,
        } = self;
        (0..frame.count()).map(move |at| Self {
            session: session.clone(),
            stream,
            number: number + at as u64,
            frame: frame.single(at),
        })
    }
}

impl Waits for Submitted {
    fn session(&self) -> &str {
        &self.session
    }

    fn frame(&self) -> &Frame {
        &self.frame
    }

    fn bytes(&self) -> u64 {
        self.frame.weight() as u64
    }
}

struct Session {
    name: Arc<str>,
    conn: Option<Conn>,
    /// Since when it is away, if it is.
    away: Instant,
    stream: u64,
    taker: Taker,
    /// Jobs that are not wanted any more.
    cancelled: BTreeSet<u64>,
}

/// What is known of a client, for people.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ClientStats {
    pub(crate) session: String,
    pub(crate) connected: bool,
    pub(crate) open: usize,
    pub(crate) inbox: usize,
}

impl Clients {
    /// Its clients may have so many bytes open in all. One that is away for longer than
    /// `patience` is forgotten.
    pub(crate) fn new(ledger: Arc<Ledger>, bytes: usize, patience: Duration) -> Self {
        Self {
            sessions: BTreeMap::new(),
            streams: BTreeMap::new(),
            next_stream: 0,
            inbox: Turns::default(),
            messages: MESSAGES,
            bytes: bytes as u64,
            reckoned: 1,
            streams_reckoned: 1,
            ledger,
            patience,
            counters: ClientCounters::default(),
        }
    }

    /// A client has connected. Gives what it has of its stream, if it has any.
    pub(crate) fn join(&mut self, session: &str, conn: Conn, now: Instant) -> Option<Position> {
        if let Some(known) = self.sessions.get_mut(session) {
            known.conn = Some(conn);
            return Some(position_of(&known.taker));
        }
        self.next_stream += 1;
        let stream = self.next_stream;
        self.streams.insert(stream, session.to_owned());
        let new = Session {
            name: session.into(),
            conn: Some(conn),
            away: now,
            stream,
            taker: Taker::default(),
            cancelled: BTreeSet::new(),
        };
        self.sessions.insert(session.to_owned(), new);
        None
    }

    /// By which stream a client submits.
    pub(crate) fn stream_of(&self, session: &str) -> Option<u64> {
        self.sessions.get(session).map(|known| known.stream)
    }

    /// What is still to be told to a client that was welcomed.
    pub(crate) fn tell_again(&self, session: &str, out: &mut Outgoing) {
        if planted!(OutcomeNotRepeated) {
            return;
        }
        for (number, outcome) in self
            .sessions
            .get(session)
            .iter()
            .flat_map(|known| known.taker.untold())
        {
            out.outcome(super::said(*number, outcome));
        }
    }

    /// How much each client may have open, now that one has come or gone. `Some` when that has
    /// changed, for all of them.
    pub(crate) fn new_credit(&mut self) -> Option<Credit> {
        let before = self.credit();
        // In steps, so that a crowd that comes does not change it for each.
        self.reckoned = self.sessions.len().next_power_of_two();
        Some(self.credit()).filter(|credit| *credit != before)
    }

    /// The same, from time to time, for those that submit in streams.
    pub(crate) fn credit_of_streams(&mut self) -> Option<Credit> {
        let before = self.credit();
        let sessions = self.sessions.values();
        let streams = sessions.filter(|session| session.submits_in_stream());
        let streams = streams.count().next_power_of_two();
        // Those that have little open just now are not gone yet.
        if streams > self.streams_reckoned || streams < self.streams_reckoned / 2 {
            self.streams_reckoned = streams;
        }
        Some(self.credit()).filter(|credit| *credit != before)
    }

    pub(crate) fn credit(&self) -> Credit {
        let share = (self.bytes / self.reckoned.max(1) as u64).max(LEAST_BYTES);
        let of_all = MESSAGES / self.streams_reckoned.max(1) as u64;
        let most = self.messages.min(of_all.max(LEAST_MESSAGES));
        Credit {
            // In bundles, they take little beside their bytes; by themselves, those count for more.
            messages: most.min(share / LEAST),
            bytes: share,
        }
    }

    /// All that are connected.
    pub(crate) fn connected(&self) -> impl Iterator<Item = Conn> + '_ {
        self.sessions.values().filter_map(|session| session.conn)
    }

    /// A client has submitted messages. False when there is a gap before them.
    pub(crate) fn take(&mut self, session: &str, first: u64, frames: Vec<Frame>) -> bool {
        let Some(known) = self.sessions.get_mut(session) else {
            return false;
        };
        let bytes = 2 * self.bytes.max(LEAST_BYTES);
        if known.taker.open() as u64 >= 2 * MESSAGES || self.inbox.bytes_of(session) > bytes {
            // It does not keep to what it may have open. (What it knows to be done, and has not
            // acknowledged, it does not count.)
            return false;
        }
        let mut number = first;
        for frame in frames {
            let count = frame.count();
            match known.taker.take(number, count) {
                Taken::New => {
                    self.counters.submitted += count as u64;
                    self.inbox.push(Submitted {
                        session: known.name.clone(),
                        stream: known.stream,
                        number,
                        frame,
                    });
                }
                Taken::Double => {}
                Taken::Gap => return false,
            }
            number = number.saturating_add(count as u64);
        }
        true
    }

    /// What is the next for the component: some of each client in turn of which `may_run` says that it
    /// reads what comes of its messages.
    pub(crate) fn next(
        &mut self,
        portion: Portion,
        may_run: impl Fn(&str) -> bool,
    ) -> Option<Item> {
        let Submitted {
            stream,
            number,
            frame,
            ..
        } = self
            .inbox
            .next(portion, |submitted| may_run(&submitted.session))?;
        let ticket = self.ledger.ticket_for(stream, number, frame.count());
        Some(Item { frame, ticket })
    }

    /// A message has ended. Says so by `tell`, if its client is connected.
    pub(crate) fn settle(&mut self, settled: Settled, tell: impl FnOnce(Conn, Told)) {
        let Settled {
            stream,
            number,
            count,
            result,
            told: is_told,
        } = settled;
        let name = self.streams.get(&stream);
        let Some(session) = name.and_then(|name| self.sessions.get_mut(name)) else {
            return;
        };
        let told = match session.taker.ended(number, count, result) {
            Tell::Done if planted!(LostAck) && number % 5 == 0 => return,
            Tell::Done if is_told => {
                self.counters.settled += count as u64;
                return;
            }
            Tell::Done => {
                let is_one_of_many = session.taker.unsettled() >= MANY_OPEN;
                Told::Done(number, count, is_one_of_many)
            }
            Tell::Outcome(outcome) => Told::Outcome(number, outcome),
            Tell::Nothing => return,
        };
        self.counters.settled += count as u64;
        if let Some(conn) = session.conn {
            tell(conn, told);
        }
    }

    /// A client has heard how a message ended.
    pub(crate) fn heard(&mut self, session: &str, number: u64) {
        if let Some(session) = self.sessions.get_mut(session) {
            session.taker.heard(number);
        }
    }

    /// A client does not want some jobs any more. What the component has not taken of them is
    /// over.
    pub(crate) fn cancel(&mut self, session: &str, jobs: &[u64]) {
        let Some(known) = self.sessions.get_mut(session) else {
            return;
        };
        let jobs = BTreeSet::from_iter(jobs.iter().copied());
        known.cancelled.extend(&jobs);
        while known.cancelled.len() > CANCELLED {
            known.cancelled.pop_first();
        }
        let is_wanted = |submitted: &Submitted| {
            let job = number_under(session, submitted.frame.client());
            !job.is_some_and(|job| jobs.contains(&job))
        };
        for unwanted in self.inbox.take_out(session, is_wanted) {
            let count = unwanted.count();
            let ticket = self
                .ledger
                .ticket_for(unwanted.stream, unwanted.number, count);
            ticket.done();
        }
    }

    /// Whether a message is of a job that is not wanted any more.
    pub(crate) fn is_cancelled(&self, session: &str, frame: &Frame) -> bool {
        let known = self.sessions.get(session);
        let cancelled = known.filter(|known| !known.cancelled.is_empty());
        cancelled.is_some_and(|known| {
            number_under(session, frame.client()).is_some_and(|job| known.cancelled.contains(&job))
        })
    }

    /// A connection is gone.
    pub(crate) fn lost(&mut self, session: &str, conn: Conn, now: Instant) {
        if let Some(session) = self.sessions.get_mut(session)
            && session.conn == Some(conn)
        {
            session.conn = None;
            session.away = now;
        }
    }

    /// A client has left, and wants nothing any more.
    pub(crate) fn leave(&mut self, session: &str) {
        self.inbox.forget(session);
        if let Some(session) = self.sessions.remove(session) {
            self.streams.remove(&session.stream);
        }
    }

    /// The clients that were away for too long: they are to leave.
    pub(crate) fn expired(&self, now: Instant) -> Vec<String> {
        let away = self.sessions.iter().filter(|(_, session)| {
            session.conn.is_none() && now.saturating_duration_since(session.away) >= self.patience
        });
        away.map(|(name, _)| name.clone()).collect()
    }

    /// When to ask for those.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let away = self
            .sessions
            .values()
            .filter(|session| session.conn.is_none());
        let away = away.map(|session| session.away).min()?;
        Some(crate::time::after(away, self.patience))
    }

    /// How many bytes wait to be taken by the component.
    pub(crate) fn bytes(&self) -> u64 {
        self.inbox.bytes()
    }

    pub(crate) fn counters(&self) -> ClientCounters {
        self.counters
    }

    pub(crate) fn stats(&self) -> Vec<ClientStats> {
        let stats = self.sessions.iter().map(|(name, session)| ClientStats {
            session: name.clone(),
            connected: session.conn.is_some(),
            open: session.taker.open(),
            inbox: self.inbox.count_of(name),
        });
        stats.collect()
    }
}

/// What is to be told to a client.
pub(crate) enum Told {
    /// So many are done from this number on; and whether [many](MANY_OPEN) others are still open.
    Done(u64, usize, bool),
    Outcome(u64, Outcome),
}

impl Session {
    /// Whether it has much open, and is there.
    fn submits_in_stream(&self) -> bool {
        self.conn.is_some() && self.taker.open() >= STREAM
    }
}

#[cfg(test)]
impl Clients {
    pub(super) fn set_credit_messages(&mut self, messages: u64) {
        self.messages = messages;
    }

    /// How many messages a client has open, of the one that has the most.
    pub(crate) fn most_open(&self) -> u64 {
        let open = self.sessions.values().map(|session| session.taker.open());
        open.max().unwrap_or(0) as u64
    }

    /// What is kept, for a test that there is nothing.
    pub(super) fn left(&self) -> Vec<String> {
        let sessions = self.sessions.iter();
        let left = sessions
            .map(|(name, session)| format!("client {name} has {} open", session.taker.open()));
        let mut left: Vec<_> = left.collect();
        if self.streams.len() != self.sessions.len() || !self.inbox.is_empty() {
            left.push(format!(
                "{} streams, {} bytes in the inbox",
                self.streams.len(),
                self.inbox.bytes()
            ));
        }
        left
    }
}
