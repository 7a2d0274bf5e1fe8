//! Whose messages are better not run at present, as the parts of a component tell each other.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::core::custody::Shared;

/// The sessions that leave too much of what comes of their messages where it is, or have so many waiting
/// for workers that no others would have room. Whoever keeps that says so; whoever takes messages in
/// leaves theirs where they are meanwhile.
#[derive(Default)]
pub(crate) struct Stalled {
    known: Shared<Known>,
    /// How many they are, for a look that costs little: as a rule there is none.
    count: AtomicUsize,
    wakes: Shared<Vec<Wake>>,
}

/// Why the messages of a session are better not run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reason {
    /// So many bytes are kept of what came of them, if that is too much.
    pub(crate) unread: Option<u64>,
    /// How many messages wait for workers, and how many bytes they have, if those are too many.
    pub(crate) crowds: Option<(usize, u64)>,
}

#[derive(Default)]
struct Known {
    sessions: BTreeMap<String, Reason>,
    bytes: u64,
    crowd: (usize, u64),
    /// Whom was looked at last.
    looked: String,
}

type Wake = Box<dyn Fn() + Send + Sync>;

impl Stalled {
    /// Has `wake` called when messages may run again that could not. It must be quick.
    pub(crate) fn wakes(&self, wake: impl Fn() + Send + Sync + 'static) {
        self.wakes.with(|wakes| wakes.push(Box::new(wake)));
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }

    /// Whether this is one.
    pub(crate) fn has(&self, session: &str) -> bool {
        !self.is_empty()
            && self
                .known
                .with(|known| known.sessions.contains_key(session))
    }

    /// How many bytes are kept of all that leave too much.
    pub(crate) fn bytes(&self) -> u64 {
        match self.is_empty() {
            true => 0,
            false => self.known.with(|known| known.bytes),
        }
    }

    /// How much waits of all that crowd: messages, and bytes.
    pub(crate) fn crowd(&self) -> (usize, u64) {
        match self.is_empty() {
            true => (0, 0),
            false => self.known.with(|known| known.crowd),
        }
    }

    /// So many bytes are kept of what came of a session's messages, if that is too much. Whether it is
    /// now, and was not before.
    pub(crate) fn note_unread(&self, session: &str, unread: Option<u64>) -> bool {
        if unread.is_none() && self.is_empty() {
            return false;
        }
        let mut is_new = false;
        self.change(|known| {
            let reason = known.reason(session);
            is_new = unread.is_some() && reason.unread.is_none();
            known.note(session, Reason { unread, ..reason });
        });
        is_new
    }

    /// Too many messages of a session wait: so many, with so many bytes.
    pub(crate) fn note_crowd(&self, session: &str, load: (usize, u64)) {
        self.change(|known| {
            let crowds = Some(load);
            let reason = known.reason(session);
            known.note(session, Reason { crowds, ..reason });
        });
    }

    /// Looks at so many of them in turn: `reason` gives why one still is one, if it is.
    pub(crate) fn look_again(&self, most: usize, reason: impl Fn(&str) -> Reason) {
        if self.is_empty() {
            return;
        }
        self.change(|known| {
            for _ in 0..known.sessions.len().min(most) {
                let Some(next) = known.next() else { break };
                known.note(&next, reason(&next));
                known.looked = next;
            }
        });
    }

    fn change(&self, change: impl FnOnce(&mut Known)) {
        let is_less = self.known.with(|known| {
            let before = known.sessions.len();
            change(known);
            self.count.store(known.sessions.len(), Ordering::Release);
            known.sessions.len() < before
        });
        if is_less {
            self.wakes
                .with(|wakes| wakes.iter().for_each(|wake| wake()));
        }
    }
}

impl Known {
    fn reason(&self, session: &str) -> Reason {
        self.sessions.get(session).copied().unwrap_or_default()
    }

    fn note(&mut self, session: &str, reason: Reason) {
        let before = match (reason == Reason::default(), self.sessions.get_mut(session)) {
            (true, _) => self.sessions.remove(session),
            (false, Some(known)) => Some(std::mem::replace(known, reason)),
            (false, None) => self.sessions.insert(session.to_owned(), reason),
        };
        let before = before.unwrap_or_default();
        self.bytes = self.bytes + reason.unread.unwrap_or(0) - before.unread.unwrap_or(0);
        let (after, before) = (
            reason.crowds.unwrap_or_default(),
            before.crowds.unwrap_or_default(),
        );
        self.crowd.0 = self.crowd.0 + after.0 - before.0;
        self.crowd.1 = self.crowd.1 + after.1 - before.1;
    }

    /// The one after that which was looked at last.
    fn next(&self) -> Option<String> {
        let after = (Bound::Excluded(self.looked.as_str()), Bound::Unbounded);
        let mut later = self.sessions.range::<str, _>(after);
        let next = later.next().or_else(|| self.sessions.first_key_value());
        next.map(|(session, _)| session.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn who_may_run_again_is_found_in_turn_and_told() {
        let stalled = Stalled::default();
        let woken = Arc::new(AtomicUsize::new(0));
        let counted = woken.clone();
        stalled.wakes(move || {
            counted.fetch_add(1, Ordering::SeqCst);
        });
        for (session, bytes) in [("a", 1), ("b", 2), ("c", 4), ("b", 8)] {
            stalled.note_unread(session, Some(bytes));
        }
        assert_eq!(stalled.bytes(), 13);
        let looked = Shared::new(Vec::new());
        let but_b = |session: &str| {
            looked.with(|looked| looked.push(session.to_owned()));
            let unread = (session != "b").then_some(16);
            Reason {
                unread,
                crowds: None,
            }
        };
        stalled.look_again(1, but_b);
        assert_eq!((stalled.bytes(), woken.load(Ordering::SeqCst)), (28, 0));
        stalled.look_again(2, but_b);
        assert_eq!((stalled.bytes(), woken.load(Ordering::SeqCst)), (32, 1));
        stalled.look_again(9, but_b);
        stalled.note_unread("b", None);
        looked.with(|looked| assert_eq!(*looked, ["a", "b", "c", "a", "c"]));
        assert!(stalled.has("a") && !stalled.has("b"));
        stalled.note_unread("c", Some(1));
        assert_eq!((stalled.bytes(), woken.load(Ordering::SeqCst)), (17, 1));
        stalled.note_unread("c", None);
        assert_eq!((stalled.bytes(), woken.load(Ordering::SeqCst)), (16, 2));
        // It has another reason.
        stalled.note_crowd("a", (2, 20));
        stalled.note_crowd("a", (3, 30));
        stalled.note_unread("a", None);
        assert_eq!(stalled.crowd(), (3, 30));
        assert!(stalled.has("a") && stalled.bytes() == 0);
        stalled.look_again(1, |_| Reason::default());
        assert!(stalled.is_empty() && stalled.crowd() == (0, 0));
        assert_eq!(woken.load(Ordering::SeqCst), 3);
    }
}
