//! Whose turn it is.

use std::collections::BTreeSet;

use super::SessionId;

/// The sessions that have something waiting for a kind of worker. Each has its turn, and the next
/// one when all others have had theirs. But every second turn is for one that has just come with few
/// tasks, if there is such: so whoever calls now and then does not wait until all that have much to do
/// have had a turn of many tasks. The other turns are in the order in which all came, or had their
/// last one: so nobody has to wait for ever, however many call. (Those that have much to do wait for
/// their turn also when they come again: until then they have more to do in it.)
#[derive(Debug, Default)]
pub(super) struct Ring {
    /// Those that came with few tasks and have not been put back since, and the others; who came
    /// first, or had its turn first, before the others.
    new: BTreeSet<(u64, SessionId)>,
    old: BTreeSet<(u64, SessionId)>,
    /// Whether the next turn is for one of the new ones.
    is_for_new: bool,
    /// Which session had the last task, and how many in a row.
    streak: (SessionId, usize),
}

impl Ring {
    pub(super) fn len(&self) -> usize {
        self.new.len() + self.old.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.new.is_empty() && self.old.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = SessionId> {
        self.new
            .iter()
            .chain(&self.old)
            .map(|(_, session)| *session)
    }

    /// Whose turn it is.
    pub(super) fn first(&self) -> Option<SessionId> {
        let (new, old) = (self.new.first(), self.old.first());
        let first = match self.is_for_new {
            true => new.or(old),
            false => new.into_iter().chain(old).min(),
        };
        first.map(|(_, session)| *session)
    }

    /// A session has come, with few tasks or not. Its place is by a number that is higher than those
    /// before.
    pub(super) fn add(&mut self, session: SessionId, place: u64, has_few: bool) {
        match has_few {
            true => self.new.insert((place, session)),
            false => self.old.insert((place, session)),
        };
    }

    /// It has nothing waiting any more.
    pub(super) fn remove(&mut self, session: SessionId, place: u64) {
        let place = (place, session);
        let _ = self.new.remove(&place) || self.old.remove(&place);
    }

    /// How many tasks a session may still have before it is the next one's turn, if it may have
    /// `most` in a row: at least one.
    pub(super) fn left_of_turn(&self, session: SessionId, most: usize) -> usize {
        let had = match self.streak {
            (of, tasks) if of == session => tasks,
            _ => 0,
        };
        most.saturating_sub(had).max(1)
    }

    /// A session has had so many more tasks, and has more or not. Whether that was its turn, if it may
    /// have `most` in a row: if so, and it has more, it is to be put [back](Self::put_back).
    pub(super) fn had(
        &mut self,
        session: SessionId,
        tasks: usize,
        has_more: bool,
        most: usize,
    ) -> bool {
        let is_over = !has_more || tasks >= self.left_of_turn(session, most);
        self.streak = match self.streak {
            _ if is_over => (session, 0),
            (of, before) if of == session => (session, before + tasks),
            _ => (session, tasks),
        };
        self.is_for_new ^= is_over;
        is_over
    }

    /// A session at this place has had its turn, and has more: it is the last one now, by a number
    /// that is higher than those before.
    pub(super) fn put_back(&mut self, session: SessionId, place: u64, last: u64) {
        self.remove(session, place);
        self.old.insert((last, session));
    }

    #[cfg(test)]
    pub(super) fn has(&self, session: SessionId, place: u64) -> bool {
        let place = (place, session);
        self.new.contains(&place) ^ self.old.contains(&place)
    }
}
