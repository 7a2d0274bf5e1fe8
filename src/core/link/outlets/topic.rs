//! One topic: who takes what goes out under it, and what is held until they are there.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use super::line::Line;
use super::room::Kept;
use super::{Conn, Credit, Made, Subscriber};
use crate::core::custody::Ticket;
use crate::core::divide::Divide;
use crate::message::BUNDLE_BYTES;

/// The positions of copies beyond those that are awaited: above any that a hook may give.
const EXTRA: u64 = 1 << 32;

#[derive(Default)]
pub(super) struct Topic {
    pub(super) is_client: bool,
    pub(super) slots: BTreeMap<usize, Slot>,
    /// What came before there were enough to take it.
    pub(super) held: VecDeque<Made>,
    pub(super) held_bytes: u64,
    /// What they will take when each has its copies, which has to fit as well.
    pub(super) held_weight: Kept,
    /// Since when the first of them is held.
    pub(super) since: Option<Instant>,
    /// How many subscribe to exactly it on the pylm wire.
    pub(super) wire: usize,
    /// Whether somebody subscribes to a shorter beginning of it there, who may be listening
    /// only.
    pub(super) listeners: bool,
    pub(super) newcomers: Vec<Newcomer>,
}

pub(super) struct Slot {
    pub(super) session: String,
    pub(super) name: String,
    pub(super) conn: Option<Conn>,
    /// Since when it has no connection.
    pub(super) away: Instant,
    /// When its taker came, and when it was heard of last.
    pub(super) came: Instant,
    pub(super) heard: Instant,
    pub(super) run: u64,
    pub(super) line: Line,
    /// The largest payload that its taker takes.
    pub(super) max_message: usize,
    /// Whether it is among those that may have something to say.
    pub(super) is_ready: bool,
    /// Since when its taker was done with nothing of what is kept for it, about.
    pub(super) still: Option<Instant>,
}

pub(super) struct Newcomer {
    pub(super) session: String,
    pub(super) name: String,
    pub(super) conn: Conn,
    pub(super) arrived: Instant,
    /// When it said last that it is there: it does so again and again while it waits.
    pub(super) heard: Instant,
    pub(super) credit: Credit,
    pub(super) max_message: usize,
}

impl Topic {
    /// Takes out all that is held, and off what is kept.
    pub(super) fn take_held(&mut self, kept: &mut Kept) -> VecDeque<Made> {
        self.since = None;
        self.held_bytes = 0;
        kept.remove_all(std::mem::take(&mut self.held_weight));
        std::mem::take(&mut self.held)
    }

    /// How many bytes are kept for those who take it, and until they are there.
    pub(super) fn bytes(&self) -> u64 {
        let slots = self.slots.values();
        slots.map(|slot| slot.line.bytes()).sum::<u64>() + self.held_bytes
    }

    /// How many more subscribers a message waits for.
    pub(super) fn missing(&self, wanted: usize) -> usize {
        let wanted = if self.is_client { 1 } else { wanted };
        wanted.saturating_sub(self.slots.len() + self.wire)
    }

    /// The slot of somebody of this name who is gone.
    pub(super) fn vacant(&self, name: &str) -> Option<usize> {
        let is_only = self.slots.len() == 1;
        if planted!(SlotNotInherited) {
            return None;
        }
        let is_vacant = |slot: &Slot| slot.conn.is_none() && (is_only || slot.name == name);
        let mut slots = self.slots.iter();
        slots
            .find(|(_, slot)| is_vacant(slot))
            .map(|(index, _)| *index)
    }

    /// The slots of those whose successor somebody of this name may be.
    pub(super) fn rivals(&self, name: &str, wanted: usize) -> impl Iterator<Item = &Slot> {
        let any = self.slots.len() >= wanted;
        self.slots
            .values()
            .filter(move |slot| any || slot.name == name)
    }

    /// The slots, each with the position of its copies.
    pub(super) fn positions(&self, wanted: usize) -> Vec<(usize, u64)> {
        let mut awaited: Vec<_> = self.slots.range(..wanted).collect();
        if !planted!(PositionsByArrival) {
            awaited.sort_by_key(|(index, slot)| (&slot.name, &slot.session, **index));
        }
        let awaited = awaited.iter().zip(0..);
        let awaited = awaited.map(|((index, _), position)| (**index, position));
        let more = self
            .slots
            .range(wanted..)
            .map(|(index, _)| (*index, EXTRA + *index as u64));
        awaited.chain(more).collect()
    }

    /// The lowest number that no slot has.
    pub(super) fn free_index(&self) -> usize {
        (0..)
            .find(|index| !self.slots.contains_key(index))
            .unwrap_or(0)
    }

    pub(super) fn wait(&mut self, who: Subscriber<'_>, now: Instant) {
        let known = self
            .newcomers
            .iter_mut()
            .find(|waits| waits.session == who.session);
        match known {
            Some(waits) => {
                (waits.conn, waits.credit) = (who.conn, who.credit);
                waits.heard = now;
            }
            None => self.newcomers.push(Newcomer {
                session: who.session.to_owned(),
                name: who.name.to_owned(),
                conn: who.conn,
                arrived: now,
                heard: now,
                credit: who.credit,
                max_message: who.max_message,
            }),
        }
    }

    /// The copies of a message: for the slots, and for the pylm wire, if somebody is there. Of a
    /// bundle, each message has its own, unless there is only one.
    pub(super) fn copies(&self, item: Made, wanted: usize) -> Vec<(Option<usize>, Made)> {
        let takers = self.takers(wanted);
        match takers.len() {
            0 | 1 => self.copies_for(&takers, item, wanted),
            _ => item
                .singles()
                .flat_map(|item| self.copies_for(&takers, item, wanted))
                .collect(),
        }
    }

    /// Who gets a copy, and its position.
    fn takers(&self, wanted: usize) -> Vec<(Option<usize>, u64)> {
        let slots = self.positions(wanted).into_iter();
        let slots = slots.map(|(index, position)| (Some(index), position));
        let published = self.wire > 0 || self.listeners;
        let wire = published.then_some((None, EXTRA - 1));
        slots.chain(wire).collect()
    }

    fn copies_for(
        &self,
        takers: &[(Option<usize>, u64)],
        item: Made,
        wanted: usize,
    ) -> Vec<(Option<usize>, Made)> {
        let last = takers.len().saturating_sub(1);
        let mut copies = Vec::with_capacity(takers.len());
        let Made { frame, mut ticket } = item;
        for (turn, &(taker, position)) in takers.iter().enumerate() {
            let mut copy = frame.clone();
            if !self.is_client && (wanted > 1 || position > 0) {
                copy.add_position(position);
            }
            let own = match turn == last {
                true => ticket.take(),
                false => ticket.as_mut().map(Ticket::split),
            };
            copies.push((
                taker,
                Made {
                    frame: copy,
                    ticket: own,
                },
            ));
        }
        copies
    }
}

impl Slot {
    /// Keeps a message until its taker is done with it, which adds to all that is `kept`.
    pub(super) fn keep(&mut self, item: Made, kept: &mut Kept) {
        let mut item = item;
        if planted!(DoneTooEarly) {
            item.ticket.take().into_iter().for_each(Ticket::done);
        }
        let (before, is_answered) = (self.line.bytes(), item.ticket.is_some());
        if self.takes_bundles() {
            self.line.push(item);
        } else {
            for item in item.singles() {
                self.line.push(item);
            }
        }
        kept.add(self.line.bytes() - before, is_answered);
    }

    fn takes_bundles(&self) -> bool {
        self.max_message >= BUNDLE_BYTES
    }

    /// Takes apart what waits for a taker that takes no bundles.
    pub(super) fn divide_for_taker(&mut self) {
        if !self.takes_bundles() {
            self.line.divide_waiting();
        }
    }

    pub(super) fn note_ready(
        &mut self,
        topic: &str,
        index: usize,
        ready: &mut Vec<(String, usize)>,
    ) {
        if !self.is_ready && self.conn.is_some() {
            self.is_ready = true;
            ready.push((topic.to_owned(), index));
        }
    }
}
