//! What goes out over the link: to clients, and to the later steps of a chain.

mod line;
mod room;
mod topic;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use line::Line;
use room::Kept;
use topic::{Newcomer, Slot, Topic};

use super::{Conn, Credit, Made, Peers, SILENCE};
use crate::core::custody::{Outcome, Ticket};
use crate::core::divide::Divide;
use crate::core::stalled::Stalled;
use crate::message::link::{Position, sums};
use crate::message::{Failure, FailureKind};

/// How long a message for a step waits for subscribers of exactly its topic while somebody on
/// the pylm wire listens to a beginning of it.
const PROBATION: Duration = Duration::from_secs(1);

/// How many clients that have left are remembered, and how many that were away for too long.
const GONE: usize = 256;

/// What goes out, by who is to get it.
///
/// Each topic has a slot for each of those who get a copy: a client's has one, a step's as many
/// as are awaited, and more if more come. Who connects takes the slot that it had, or that of
/// one of its name who is gone: so a step that is restarted finds the copies that it had not
/// done, and of two that are, each finds its own. Where there is only one slot, the name does
/// not matter.
///
/// One more than is awaited may be the successor of one of the others, whose end has not been
/// noticed yet; so may one of the same name. So it gets a slot of its own only when all those
/// have been heard of long after it came: what they said before their end may come late. Or one
/// of them is its own successor, and got the slot first: so it must have been heard of long
/// after they came, too.
///
/// The position of a copy is that of its taker's name among those that are awaited. It must not
/// depend on who comes first: after a restart of this server, what comes of a copy is known as
/// a double by its position.
pub(crate) struct Outlets {
    topics: BTreeMap<String, Topic>,
    /// Those of them that steps subscribe to.
    steps: BTreeSet<String>,
    /// How many clients have a place.
    clients: usize,
    /// Those who leave too much of what is kept for them, and who of them does only since
    /// [`take_unread`](Self::take_unread).
    stalled: Arc<Stalled>,
    unread: Vec<String>,
    /// How many subscribers a step's message waits for.
    subscribers: usize,
    patience: Duration,
    most_bytes: u64,
    /// How much that is.
    kept: Kept,
    next_run: u64,
    /// Slots that may have something to say.
    ready: Vec<(String, usize)>,
    /// What is to be published on the pylm wire, by topic.
    published: VecDeque<(String, Made)>,
    published_bytes: u64,
    /// The clients of whom something was to be published while there was no room for it.
    held_up: BTreeSet<String>,
    /// Pieces that their takers were done with.
    delivered: u64,
    /// Pieces that could be given to nobody.
    undelivered: u64,
    /// How many subscribe to what on the pylm wire.
    subscriptions: BTreeMap<String, usize>,
    /// Clients that have left of late, the oldest first: nobody wants what still comes for them.
    gone: VecDeque<String>,
    /// Clients that were away for too long, the same way: what still comes for them has failed,
    /// and does not stand in the way of others for as long again.
    away: VecDeque<String>,
}

/// The place of somebody who has connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seat {
    pub(crate) conn: Conn,
    pub(crate) run: u64,
    pub(crate) resumed: bool,
}

/// Who connects to get something.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subscriber<'a> {
    pub(crate) topic: &'a str,
    pub(crate) is_client: bool,
    pub(crate) session: &'a str,
    pub(crate) name: &'a str,
    pub(crate) conn: Conn,
    pub(crate) credit: Credit,
    /// The largest payload that it takes.
    pub(crate) max_message: usize,
    /// What it has of this run of the server, if it has any.
    pub(crate) position: Option<&'a Position>,
}

/// What is known of a taker, for people.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct OutletStats {
    pub(crate) topic: String,
    pub(crate) is_client: bool,
    pub(crate) session: String,
    pub(crate) name: String,
    pub(crate) connected: bool,
    pub(crate) kept: usize,
    pub(crate) waiting: usize,
    /// Whether what waits is more than it takes at present.
    pub(crate) held_up: bool,
    /// What waits because it is of clients that have their share of what it takes: whose, and how
    /// many.
    pub(crate) shares: Vec<(String, usize)>,
    /// Since when it has been done with nothing of it, about.
    pub(crate) still: Option<Instant>,
    pub(crate) bytes: u64,
}

/// What is held for a topic that nobody takes, for people.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct HeldStats {
    pub(crate) topic: String,
    pub(crate) is_client: bool,
    pub(crate) held: usize,
    pub(crate) bytes: u64,
    pub(crate) missing: usize,
}

impl Outlets {
    /// A message to a step waits for so many subscribers. When `bytes` are kept,
    /// [`is_full`](Self::is_full) says so. What can be given to nobody for `patience` has
    /// failed. Who leaves too much is among the `stalled`.
    pub(crate) fn new(
        subscribers: usize,
        bytes: usize,
        patience: Duration,
        stalled: Arc<Stalled>,
    ) -> Self {
        Self {
            topics: BTreeMap::new(),
            steps: BTreeSet::new(),
            clients: 0,
            stalled,
            unread: Vec::new(),
            subscribers: subscribers.max(1),
            patience,
            most_bytes: bytes as u64,
            kept: Kept::default(),
            next_run: 0,
            ready: Vec::new(),
            published: VecDeque::new(),
            published_bytes: 0,
            held_up: BTreeSet::new(),
            delivered: 0,
            undelivered: 0,
            subscriptions: BTreeMap::new(),
            gone: VecDeque::new(),
            away: VecDeque::new(),
        }
    }

    /// A message for its client. One that has not come over the link is for the pylm wire,
    /// unless its client is here.
    pub(crate) fn give_client(&mut self, item: Made, now: Instant) {
        let Some(item) = self.give_at_once(item) else {
            return;
        };
        let frame = item.frame.clone();
        let session = frame.session();
        let is_here = self.is_client_here(session);
        if !is_here && self.has_gone(session) {
            if let Some(ticket) = item.ticket {
                ticket.done();
            }
        } else if !is_here && item.ticket.is_some() && self.away.iter().any(|away| away == session)
        {
            self.give_up(session, true, item);
        } else if is_here || item.frame.place().is_some() {
            self.hold(session, true, item, now);
            self.release(session, false);
        } else {
            self.publish(frame.client().to_owned(), item);
        }
    }

    /// The same, of a client that is here and waits for nothing else: that is the rule. Gives
    /// back what is none of that.
    fn give_at_once(&mut self, mut item: Made) -> Option<Made> {
        item.settle_in(self.kept.bytes, self.most_bytes);
        let session = item.frame.session();
        let known = self.topics.get_mut(session);
        let known = known.filter(|known| known.is_client && known.held.is_empty());
        let slot = known.and_then(|known| known.slots.first_entry());
        let Some(mut slot) = slot else {
            return Some(item);
        };
        let index = *slot.key();
        slot.get_mut().note_ready(session, index, &mut self.ready);
        slot.get_mut().keep(item, &mut self.kept);
        if self.kept.is_much(self.most_bytes) {
            let session = slot.get().session.clone();
            self.look_at(&session);
        }
        None
    }

    /// Whether a message for the client with this session that nobody answers for, and that has no
    /// place, would be the next one to be published on the pylm wire.
    pub(crate) fn is_next_published(&self, session: &str) -> bool {
        self.published.is_empty() && !self.is_client_here(session) && !self.has_gone(session)
    }

    /// Whether the client with this session takes its messages over the link.
    fn is_client_here(&self, session: &str) -> bool {
        let known = self.topics.get(session);
        known.is_some_and(|known| known.is_client)
    }

    /// Whether that has left of late: nobody wants what still comes for it.
    fn has_gone(&self, session: &str) -> bool {
        self.gone.iter().any(|gone| gone == session)
    }

    /// A message for the steps that subscribe to a topic.
    pub(crate) fn give_step(&mut self, topic: &str, item: Made, now: Instant) {
        self.hold(topic, false, item, now);
        self.release(topic, false);
    }

    /// The pylm wire knows nothing of bundles.
    fn publish(&mut self, topic: String, item: Made) {
        if self.is_wire_full() && self.held_up.insert(item.frame.session().to_owned()) {
            self.look_at(item.frame.session());
        }
        for item in item.singles() {
            self.published_bytes += item.size();
            self.published.push_back((topic.clone(), item));
        }
    }

    /// The next message that is to be published on the pylm wire, and its topic.
    pub(crate) fn next_published(&mut self) -> Option<(String, Made)> {
        let (topic, item) = self.published.pop_front()?;
        self.published_bytes -= item.size();
        if !self.held_up.is_empty() && self.has_wire_room() {
            for session in std::mem::take(&mut self.held_up) {
                self.look_at(&session);
            }
        }
        Some((topic, item))
    }

    fn hold(&mut self, name: &str, is_client: bool, mut item: Made, now: Instant) {
        item.settle_in(self.kept.bytes, self.most_bytes);
        if !self.topics.contains_key(name) {
            let topic = Topic {
                is_client,
                ..Topic::default()
            };
            self.topics.insert(name.to_owned(), topic);
            if !is_client {
                self.steps.insert(name.to_owned());
            }
            self.look_up_wire(name);
        }
        let Some(topic) = self.topics.get_mut(name) else {
            return; // Cannot be: it is there now.
        };
        topic.since.get_or_insert(now);
        let copies = if is_client {
            1
        } else {
            self.subscribers as u64
        };
        let weight = item.size().saturating_mul(copies);
        topic.held_bytes += item.size();
        topic.held_weight.add(weight, item.ticket.is_some());
        self.kept.add(weight, item.ticket.is_some());
        topic.held.push_back(item);
    }

    /// Gives what is held for a topic to those who take it, if there are enough.
    fn release(&mut self, name: &str, listeners_will_do: bool) {
        let wanted = self.subscribers;
        let Some(topic) = self.topics.get_mut(name) else {
            return;
        };
        let enough = topic.missing(wanted) == 0 || listeners_will_do && topic.listeners;
        if topic.held.is_empty() || !enough {
            return;
        }
        let held = topic.take_held(&mut self.kept);
        let (mut much, mut published) = (Vec::new(), Vec::new());
        for item in held {
            for (taker, copy) in topic.copies(item, wanted) {
                let Some(slot) = taker.and_then(|index| topic.slots.get_mut(&index)) else {
                    published.push(copy);
                    continue;
                };
                let frame = copy.frame.clone();
                slot.keep(copy, &mut self.kept);
                if self.kept.is_much(self.most_bytes) {
                    much.push(frame);
                }
            }
        }
        for (index, slot) in &mut topic.slots {
            slot.note_ready(name, *index, &mut self.ready);
        }
        for frame in much {
            self.look_at(frame.session());
        }
        for item in published {
            self.publish(name.to_owned(), item);
        }
    }

    /// Somebody has connected to get what goes out under a topic. `None` when it has to wait:
    /// then [`seat`](Self::seat) tells later.
    pub(crate) fn join(&mut self, who: Subscriber<'_>, now: Instant) -> Option<Seat> {
        let wanted = if who.is_client { 1 } else { self.subscribers };
        let topic = self.topics.entry(who.topic.to_owned()).or_insert(Topic {
            is_client: who.is_client,
            ..Topic::default()
        });
        topic.is_client = who.is_client;
        match who.is_client {
            true => self.steps.remove(who.topic),
            false => self.steps.insert(who.topic.to_owned()),
        };
        if !who.is_client && topic.slots.is_empty() {
            self.look_up_wire(who.topic);
        }
        let topic = self.topics.entry(who.topic.to_owned()).or_default();
        self.gone.retain(|gone| gone != who.session);
        self.away.retain(|away| away != who.session);
        let own = topic
            .slots
            .iter()
            .find(|(_, slot)| slot.session == who.session);
        let own = own.map(|(index, _)| *index);
        let index = match own.or_else(|| topic.vacant(who.name)) {
            Some(index) => index,
            None if topic.rivals(who.name, wanted).next().is_none() => topic.free_index(),
            None => {
                topic.wait(who, now);
                return None;
            }
        };
        Some(self.sit(index, who, now, now))
    }

    /// Gives a slot to somebody who came and was heard of then.
    fn sit(&mut self, index: usize, who: Subscriber<'_>, came: Instant, heard: Instant) -> Seat {
        self.next_run += 1;
        let run = self.next_run;
        let topic = self.topics.entry(who.topic.to_owned()).or_default();
        topic.newcomers.retain(|waits| waits.session != who.session);
        let slot = topic.slots.entry(index).or_insert_with(|| Slot {
            session: String::new(),
            name: String::new(),
            conn: None,
            away: heard,
            came,
            heard,
            run,
            line: Line::new(!who.is_client),
            max_message: usize::MAX,
            is_ready: false,
            still: None,
        });
        slot.still = None;
        let known = who
            .position
            .filter(|position| slot.session == who.session && position.run == slot.run);
        let resumed = known.is_some();
        let mut done = Vec::new();
        match known {
            Some(position) => {
                let open = sums(&position.open);
                let whole = |item, size| done.push((item, size));
                slot.line.resume(position.received, open, part_done, whole);
            }
            None => {
                slot.line.restart(|item, size| done.push((item, size)));
                slot.run = run;
            }
        }
        if slot.session != who.session {
            slot.came = came;
        }
        slot.session = who.session.to_owned();
        slot.name = who.name.to_owned();
        slot.conn = Some(who.conn);
        slot.heard = heard;
        slot.line.set_credit(who.credit);
        slot.max_message = who.max_message;
        slot.divide_for_taker();
        let run = slot.run;
        slot.note_ready(who.topic, index, &mut self.ready);
        for (item, size) in done {
            self.end(item, size);
        }
        self.release(who.topic, false);
        self.count_clients();
        Seat {
            conn: who.conn,
            run,
            resumed,
        }
    }

    fn count_clients(&mut self) {
        let clients = self.topics.values().filter(|topic| topic.is_client);
        self.clients = clients.filter(|topic| !topic.slots.is_empty()).count();
    }

    /// Those who waited for a slot and have got one.
    pub(crate) fn seat(&mut self) -> Vec<Seat> {
        let mut seats = Vec::new();
        let waiting = self
            .topics
            .iter()
            .filter(|(_, topic)| !topic.newcomers.is_empty());
        let names: Vec<String> = waiting.map(|(name, _)| name.clone()).collect();
        for name in names {
            while let Some((index, newcomer)) = self.next_newcomer(&name) {
                let who = Subscriber {
                    topic: &name,
                    is_client: false,
                    session: &newcomer.session,
                    name: &newcomer.name,
                    conn: newcomer.conn,
                    credit: newcomer.credit,
                    max_message: newcomer.max_message,
                    position: None,
                };
                seats.push(self.sit(index, who, newcomer.arrived, newcomer.heard));
            }
        }
        seats
    }

    fn next_newcomer(&mut self, name: &str) -> Option<(usize, Newcomer)> {
        let wanted = self.subscribers;
        let topic = self.topics.get_mut(name)?;
        let seat = |newcomer: &Newcomer| {
            let mut rivals = topic.rivals(&newcomer.name, wanted);
            let is_more = rivals.all(|slot| {
                slot.conn.is_some()
                    && slot.heard >= newcomer.arrived + SILENCE
                    && newcomer.heard >= slot.came + SILENCE
            });
            let vacant = topic.vacant(&newcomer.name);
            vacant.or_else(|| is_more.then(|| topic.free_index()))
        };
        let mut seats = topic.newcomers.iter().map(seat).enumerate();
        let (place, index) = seats.find_map(|(place, index)| Some((place, index?)))?;
        Some((index, topic.newcomers.remove(place)))
    }

    /// Somebody who takes something was heard of.
    pub(crate) fn heard(&mut self, name: &str, session: &str, now: Instant) {
        if let Some((_, slot)) = self.slot(name, session) {
            slot.heard = now;
        }
    }

    fn slot(&mut self, name: &str, session: &str) -> Option<(usize, &mut Slot)> {
        let slots = &mut self.topics.get_mut(name)?.slots;
        let mut slots = slots.iter_mut();
        let (index, slot) = slots.find(|(_, slot)| slot.session == session)?;
        Some((*index, slot))
    }

    /// Changes a slot, which may have something to say after it.
    fn change<R>(
        &mut self,
        name: &str,
        session: &str,
        change: impl FnOnce(&mut Line) -> R,
    ) -> Option<R> {
        let slots = &mut self.topics.get_mut(name)?.slots;
        let mut slots = slots.iter_mut();
        let (index, slot) = slots.find(|(_, slot)| slot.session == session)?;
        let kept = slot.line.len();
        let result = change(&mut slot.line);
        if slot.line.len() < kept {
            slot.still = None;
        }
        slot.note_ready(name, *index, &mut self.ready);
        Some(result)
    }

    /// A taker is done with some messages.
    pub(crate) fn done(
        &mut self,
        name: &str,
        session: &str,
        numbers: impl Iterator<Item = (u64, usize)>,
    ) {
        let mut done = Vec::new();
        self.change(name, session, |line| {
            for (number, count) in numbers {
                let whole = |item, size| done.push((item, size));
                line.done(number, count, part_done, whole);
            }
        });
        self.end_all(done);
    }

    /// A taker is done with these. Whoever left too much is looked at.
    fn end_all(&mut self, done: Vec<(Made, u64)>) {
        let mut stalled: Option<String> = None;
        for (item, size) in done {
            let session = item.frame.session();
            if self.stalled.has(session) && stalled.as_deref() != Some(session) {
                let before = stalled.replace(session.to_owned());
                before.iter().for_each(|before| self.look_at(before));
            }
            self.end(item, size);
        }
        stalled.iter().for_each(|last| self.look_at(last));
    }

    /// A taker is done with a message, and has this to tell.
    pub(crate) fn outcome(&mut self, name: &str, session: &str, number: u64, outcome: Outcome) {
        let mut others = Vec::new();
        let item = self.change(name, session, |line| {
            line.done_alone(number, |item, size| others.push((item, size)))
        });
        self.end_all(others);
        if let Some((item, size)) = item.flatten() {
            self.delivered += 1;
            self.kept.remove(size, item.ticket.is_some());
            if self.stalled.has(item.frame.session()) {
                self.look_at(item.frame.session());
            }
            if let Some(ticket) = item.ticket {
                ticket.ended(outcome);
            }
        }
    }

    /// How much a taker lets be open.
    pub(crate) fn set_credit(&mut self, name: &str, session: &str, credit: Credit) {
        self.change(name, session, |line| line.set_credit(credit));
    }

    /// A taker is done with something.
    fn end(&mut self, mut item: Made, size: u64) {
        self.delivered += item.count() as u64;
        self.kept.remove(size, item.ticket.is_some());
        if let Some(ticket) = item.ticket.take() {
            match item.count() {
                1 => ticket.done(),
                _ => ticket.over(),
            }
        }
    }

    /// Has everybody who may get something new get it. `stream` tells by which stream a client
    /// submits here, if it does: so it is told with a piece that this is all of a message.
    pub(crate) fn speak(&mut self, peers: &mut Peers, stream: impl Fn(&str) -> Option<u64>) {
        for (name, index) in std::mem::take(&mut self.ready) {
            let Some(topic) = self.topics.get_mut(&name) else {
                continue;
            };
            let is_client = topic.is_client;
            let Some(slot) = topic.slots.get_mut(&index) else {
                continue;
            };
            slot.is_ready = false;
            let Some(out) = slot.conn.and_then(|conn| peers.to(conn)) else {
                continue;
            };
            let limit = slot.max_message;
            let taker = if is_client { "client" } else { "step" };
            let own = is_client.then(|| stream(&slot.session)).flatten();
            while let Some((number, item)) = slot.line.give() {
                let ticket = item.ticket.as_mut();
                let completes = own.and_then(|own| ticket?.completes(own));
                let frame = match item.frame.payload().len() <= limit {
                    true => item.frame.clone(),
                    false => {
                        let at = format!("{taker} {}", slot.session);
                        item.frame.as_too_large(limit, &at)
                    }
                };
                out.item(number, frame);
                if let Some((message, count)) = completes
                    && !(planted!(LostAck) && message % 5 == 0)
                {
                    out.note(|head| head.add_complete(message, count));
                }
            }
        }
    }

    /// So many subscribe to the topics that begin with `prefix` on the pylm wire.
    pub(crate) fn set_wire(&mut self, prefix: &str, subscribers: usize) {
        match subscribers {
            0 => self.subscriptions.remove(prefix),
            _ => self.subscriptions.insert(prefix.to_owned(), subscribers),
        };
        let concerned = self.topics.range(prefix.to_owned()..);
        let concerned = concerned.take_while(|(name, _)| name.starts_with(prefix));
        let names: Vec<_> = concerned.map(|(name, _)| name.clone()).collect();
        for name in names {
            self.look_up_wire(&name);
            self.release(&name, false);
        }
    }

    /// Finds out who subscribes to a topic on the pylm wire.
    fn look_up_wire(&mut self, name: &str) {
        let Some(topic) = self.topics.get_mut(name).filter(|topic| !topic.is_client) else {
            return;
        };
        topic.wire = self.subscriptions.get(name).copied().unwrap_or(0);
        let shorter = (0..name.len()).filter_map(|length| name.get(..length));
        topic.listeners = !self.subscriptions.is_empty()
            && shorter
                .into_iter()
                .any(|beginning| self.subscriptions.contains_key(beginning));
    }

    /// A connection is gone.
    pub(crate) fn lost(&mut self, name: &str, session: &str, conn: Conn, now: Instant) {
        if let Some(topic) = self.topics.get_mut(name) {
            topic.newcomers.retain(|waits| waits.conn != conn);
        }
        if let Some((_, slot)) = self.slot(name, session)
            && slot.conn == Some(conn)
        {
            slot.conn = None;
            slot.away = now;
        }
    }

    /// A client has left, and wants nothing any more.
    pub(crate) fn leave(&mut self, session: &str) {
        remember(&mut self.gone, session);
        let Some(mut topic) = self.topics.remove(session) else {
            return;
        };
        for item in topic.take_held(&mut self.kept) {
            item.ticket.into_iter().for_each(Ticket::done);
        }
        let kept = topic
            .slots
            .into_values()
            .flat_map(|mut slot| slot.line.drain());
        let kept: Vec<_> = kept.collect();
        for (item, size) in kept {
            self.kept.remove(size, item.ticket.is_some());
            item.ticket.into_iter().for_each(Ticket::done);
        }
        self.count_clients();
    }

    /// Gives up what nobody took for too long, and notes what nobody is done with.
    pub(crate) fn expire(&mut self, now: Instant) {
        let patience = self.patience;
        let is_over = |since: Instant| now.saturating_duration_since(since) >= patience;
        let names: Vec<String> = self.topics.keys().cloned().collect();
        for name in names {
            let Some(topic) = self.topics.get_mut(&name) else {
                continue;
            };
            for slot in topic.slots.values_mut() {
                match slot.line.len() {
                    0 => slot.still = None,
                    _ => drop(slot.still.get_or_insert(now)),
                }
            }
            let mut late = Vec::new();
            let gone = |slot: &Slot| slot.conn.is_none() && is_over(slot.away);
            let over = topic.slots.iter().filter(|(_, slot)| gone(slot));
            for index in over.map(|(index, _)| *index).collect::<Vec<_>>() {
                let slot = topic.slots.remove(&index);
                let kept = slot.into_iter().flat_map(|mut slot| slot.line.drain());
                for (item, size) in kept {
                    self.kept.remove(size, item.ticket.is_some());
                    late.push(item);
                }
            }
            if topic.since.is_some_and(is_over) {
                late.extend(topic.take_held(&mut self.kept));
            }
            let is_client = topic.is_client;
            let of_use = !topic.slots.is_empty() || !topic.held.is_empty();
            let listened = topic.since.is_some_and(|since| {
                topic.listeners && now.saturating_duration_since(since) >= PROBATION
            });
            if listened {
                self.release(&name, true);
            } else if !of_use && topic.newcomers.is_empty() {
                self.topics.remove(&name);
                self.steps.remove(&name);
                if is_client {
                    remember(&mut self.away, &name);
                }
            }
            late.into_iter()
                .for_each(|item| self.give_up(&name, is_client, item));
        }
        self.count_clients();
    }

    /// What is not kept any more could be given to nobody.
    fn give_up(&mut self, name: &str, is_client: bool, item: Made) {
        for item in item.singles() {
            self.give_up_one(name, is_client, item);
        }
    }

    fn give_up_one(&mut self, name: &str, is_client: bool, item: Made) {
        self.undelivered += 1;
        let waited = self.patience;
        let who = if is_client {
            "its client"
        } else {
            "a next step"
        };
        let Some(ticket) = item.ticket else {
            // Who pushed it over the pylm wire is owed no more than that wire gives.
            if !is_client {
                self.publish(
                    name.to_owned(),
                    Made {
                        ticket: None,
                        ..item
                    },
                );
            }
            return;
        };
        let cause = format!("nobody takes what goes to '{name}': {who} was away for {waited:?}");
        let path = item.frame.place().map(|place| place.path.to_vec());
        ticket.failed(
            &path.unwrap_or_default(),
            Failure::new(FailureKind::Undelivered, cause),
        );
    }

    /// When to call [`expire`](Self::expire).
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let topics = self.topics.values();
        let ends = topics.flat_map(|topic| {
            let away = topic.slots.values().filter(|slot| slot.conn.is_none());
            topic.since.into_iter().chain(away.map(|slot| slot.away))
        });
        let end = ends
            .min()
            .map(|since| crate::time::after(since, self.patience));
        let listened = self.topics.values().filter(|topic| topic.listeners);
        let listened = listened.filter_map(|topic| topic.since).min();
        let listened = listened.map(|since| since + PROBATION);
        end.into_iter().chain(listened).min()
    }

    /// Whether somebody waits for a slot.
    pub(crate) fn has_newcomers(&self) -> bool {
        let mut topics = self.topics.values();
        topics.any(|topic| !topic.newcomers.is_empty())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.kept.bytes == 0 && self.published.is_empty()
    }

    /// How many bytes are kept.
    pub(crate) fn bytes(&self) -> u64 {
        self.kept.bytes
    }

    /// How many bytes wait for the publisher of the pylm wire.
    pub(crate) fn published_bytes(&self) -> u64 {
        self.published_bytes
    }

    /// How many pieces their takers were done with.
    pub(crate) fn delivered(&self) -> u64 {
        self.delivered
    }

    /// How many pieces could be given to nobody.
    pub(crate) fn undelivered(&self) -> u64 {
        self.undelivered
    }

    pub(crate) fn stats(&self) -> (Vec<OutletStats>, Vec<HeldStats>) {
        let mut outlets = Vec::new();
        let mut held = Vec::new();
        for (name, topic) in &self.topics {
            outlets.extend(topic.slots.values().map(|slot| {
                OutletStats {
                    topic: name.clone(),
                    is_client: topic.is_client,
                    session: slot.session.clone(),
                    name: slot.name.clone(),
                    connected: slot.conn.is_some(),
                    kept: slot.line.len(),
                    waiting: slot.line.waiting(),
                    held_up: slot.line.is_held_up(),
                    shares: slot
                        .line
                        .behind_by_client()
                        .map(|(session, count)| (session.to_owned(), count))
                        .collect(),
                    still: slot.still,
                    bytes: slot.line.bytes(),
                }
            }));
            if !topic.held.is_empty() {
                held.push(HeldStats {
                    topic: name.clone(),
                    is_client: topic.is_client,
                    held: topic.held.iter().map(Divide::count).sum(),
                    bytes: topic.held_bytes,
                    missing: topic.missing(self.subscribers),
                });
            }
        }
        (outlets, held)
    }
}

/// Some messages of a bundle are done. Of one by itself that is said when it is not kept any more.
fn part_done(item: &Made, place: usize, count: usize) {
    if let Some(ticket) = item.ticket.as_ref().filter(|_| item.count() > 1) {
        ticket.part_done(place, count);
    }
}

fn remember(clients: &mut VecDeque<String>, session: &str) {
    clients.push_back(session.to_owned());
    if clients.len() > GONE {
        clients.pop_front();
    }
}

#[cfg(test)]
impl Outlets {
    /// What is kept, for a test that there is nothing.
    pub(super) fn left(&self) -> Vec<String> {
        let mut left = Vec::new();
        for (name, topic) in &self.topics {
            let kept: usize = topic.slots.values().map(|slot| slot.line.len()).sum();
            if kept > 0 || !topic.held.is_empty() || topic.is_client {
                let held = topic.held.len();
                left.push(format!("topic {name} keeps {kept}, and holds {held}"));
            }
        }
        if self.kept.bytes > 0 || !self.published.is_empty() || self.gone.len() > GONE {
            left.push(format!("{} bytes are kept", self.kept.bytes));
        }
        left
    }
}
