//! How much room there is for what goes out, and who takes too much of it.
//!
//! A client that does not read what comes of its messages stops only itself: it may fill what is left of
//! half the room, and a little beside that. With more than that it is among the [`Stalled`], and whoever
//! takes messages in leaves its messages where they are. What was on its way by then is kept as well, and
//! stands in nobody's way. Nor does what waits for the publisher of the pylm wire: when that has no room,
//! nothing more is run of those for whom it is. Where nobody answers for messages, as on that wire, they
//! cannot be left anywhere: when as many of those are kept as there is room for, no more is taken from
//! anybody.

use super::super::{OVERHEAD, PRESSING_BYTES, PRESSING_MESSAGES};
use super::topic::Topic;
use super::{Line, Outlets};
use crate::core::stalled::{Reason, Stalled};

/// So much every client may leave unread. With less, a client that waits for one job and does not
/// read another does not tell that anything of that has come; with more it does.
const BORNE: u64 = PRESSING_MESSAGES as u64 * OVERHEAD + PRESSING_BYTES;

/// How many of those who leave too much unread are asked each time whether they still do.
const ASKED: usize = 4;

/// How many bytes may wait for the publisher of the pylm wire, which holds others back itself.
const MOST_PUBLISHED: u64 = 1 << 20;

/// How much is kept, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Kept {
    /// All of it.
    pub(super) bytes: u64,
    /// What nobody answers for.
    loose: u64,
}

impl Kept {
    pub(super) fn add(&mut self, bytes: u64, is_answered: bool) {
        self.bytes += bytes;
        if !is_answered {
            self.loose += bytes;
        }
    }

    pub(super) fn remove(&mut self, bytes: u64, is_answered: bool) {
        self.bytes -= bytes;
        if !is_answered {
            self.loose -= bytes;
        }
    }

    pub(super) fn remove_all(&mut self, of: Self) {
        self.bytes -= of.bytes;
        self.loose -= of.loose;
    }

    /// Whether there may be a client of which too much is kept.
    pub(super) fn is_much(self, most: u64) -> bool {
        self.bytes > allowance(self.bytes, most)
    }
}

/// How many bytes may be kept of one client, while so many are kept in all, of so many: what is left of
/// half of those, but what every client may leave.
fn allowance(kept: u64, most: u64) -> u64 {
    (most / 2).saturating_sub(kept).max(BORNE)
}

impl Outlets {
    /// Whether it wants to take no more: when there is no room for what is kept of those who do not
    /// leave too much, for what nobody answers for, or for what is to be published.
    pub(crate) fn is_full(&self) -> bool {
        // One message always may be kept; and what every client may leave is beside the others' room.
        let most = self.most_bytes.max(1);
        let of_others = self.kept.bytes.saturating_sub(self.stalled.bytes());
        let kept = of_others.max(self.kept.loose);
        self.published_bytes >= most || kept >= most && kept - most >= self.least_of_all()
    }

    /// How much all clients may leave whatever there is of others, of whom there is something.
    fn least_of_all(&self) -> u64 {
        let sessions = self.lines_of_steps().map(Line::clients).max().unwrap_or(0);
        let sessions = sessions.max(self.clients) as u64;
        BORNE.min(self.most_bytes / 32).saturating_mul(sessions)
    }

    /// Whether so much waits for the publisher of the pylm wire that nothing more is to be run for it.
    pub(crate) fn is_wire_full(&self) -> bool {
        self.published_bytes >= MOST_PUBLISHED
    }

    /// Whether there is room again, and some.
    pub(super) fn has_wire_room(&self) -> bool {
        self.published_bytes < MOST_PUBLISHED / 2
    }

    /// Whether so much is kept of what came of a client's messages, for it or for later steps, that
    /// others are better not run at present.
    pub(crate) fn is_stalled(&self, session: &str) -> bool {
        self.too_much(session).is_some()
    }

    /// Whether that is because the client does not read.
    pub(crate) fn is_unread(&self, session: &str) -> bool {
        self.kept_for(session) > self.allowance()
    }

    /// How many bytes may come of a client's messages, while so many are to come of all: none if it
    /// leaves too much.
    pub(crate) fn room_for(&self, session: &str, coming: u64) -> Option<u64> {
        let own = self.kept_of(session);
        if own > self.allowance() || self.is_held_up(session) {
            return None;
        }
        let bytes = self.kept.bytes.saturating_add(coming);
        Some(allowance(bytes, self.most_bytes).saturating_sub(own))
    }

    /// Who leaves too much since this was asked last.
    pub(crate) fn take_unread(&mut self) -> Vec<String> {
        std::mem::take(&mut self.unread)
    }

    /// Who leaves too much, and who else is better not run.
    pub(crate) fn stalled(&self) -> &Stalled {
        &self.stalled
    }

    /// Looks whether those that left too much still do, or still crowd what waits: at a few, or at all,
    /// and whether others do now.
    pub(crate) fn look_at_stalled(
        &mut self,
        all: bool,
        crowds: impl Fn(&str) -> Option<(usize, u64)>,
    ) {
        let allowance = self.allowance();
        if all && allowance == BORNE {
            // When those left it, there was more room for each.
            let clients = self.topics.iter().filter(|(_, topic)| topic.is_client);
            let own = clients.map(|(session, topic)| (session.as_str(), topic.bytes()));
            let shares = self.lines_of_steps().flat_map(Line::bytes_by_client);
            let much = own.chain(shares).filter(|(_, kept)| *kept > allowance);
            for session in Vec::from_iter(much.map(|(session, _)| session.to_owned())) {
                self.look_at(&session);
            }
        }
        let most = if all { usize::MAX } else { ASKED };
        self.stalled.look_again(most, |session| Reason {
            unread: self.too_much(session),
            crowds: crowds(session),
        });
    }

    /// Looks whether one leaves too much.
    pub(super) fn look_at(&mut self, session: &str) {
        if self.stalled.note_unread(session, self.too_much(session)) {
            self.unread.push(session.to_owned());
        }
    }

    /// How many bytes are kept of what came of a client's messages, if that is too much.
    fn too_much(&self, session: &str) -> Option<u64> {
        let is_held_up = self.is_held_up(session);
        Some(self.kept_of(session)).filter(|kept| is_held_up || *kept > self.allowance())
    }

    fn is_held_up(&self, session: &str) -> bool {
        !self.held_up.is_empty() && self.held_up.contains(session)
    }

    fn allowance(&self) -> u64 {
        allowance(self.kept.bytes, self.most_bytes)
    }

    /// How many bytes are kept for a client.
    fn kept_for(&self, session: &str) -> u64 {
        let topic = self.topics.get(session).filter(|topic| topic.is_client);
        topic.map_or(0, Topic::bytes)
    }

    /// How many are kept of what came of its messages, for later steps as well.
    fn kept_of(&self, session: &str) -> u64 {
        let shares = self.lines_of_steps().map(|line| line.bytes_of(session));
        self.kept_for(session) + shares.sum::<u64>()
    }

    fn lines_of_steps(&self) -> impl Iterator<Item = &Line> {
        let steps = self.steps.iter().filter_map(|name| self.topics.get(name));
        let slots = steps.flat_map(|topic| topic.slots.values());
        slots.map(|slot| &slot.line)
    }
}
