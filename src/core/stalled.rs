//! Whose messages are better not run at present, as the parts of a component tell each other.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::core::custody::Shared;

/// The sessions that leave too much of what comes of their messages where it is. Whoever keeps that
/// says so; whoever takes messages in leaves theirs where they are meanwhile.
#[derive(Default)]
pub(crate) struct Stalled {
    known: Shared<Known>,
    /// How many they are, and how many bytes are kept of theirs, for a look that costs little.
    count: AtomicUsize,
    bytes: AtomicU64,
    wakes: Shared<Vec<Wake>>,
}

#[derive(Default)]
struct Known {
    /// How many bytes are kept of each.
    sessions: BTreeMap<String, u64>,
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

    /// How many bytes are kept of all of them.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Acquire)
    }

    /// So many bytes are kept of this one, if it is one from now on.
    pub(crate) fn note(&self, session: &str, kept: Option<u64>) {
        self.change(|known| known.note(session, kept));
    }

    /// Looks at so many of them in turn: `kept` gives how many bytes are kept of one, if it still is
    /// one.
    pub(crate) fn look_again(&self, most: usize, kept: impl Fn(&str) -> Option<u64>) {
        if self.is_empty() {
            return;
        }
        self.change(|known| {
            for _ in 0..known.sessions.len().min(most) {
                let Some(next) = known.next() else { break };
                known.note(&next, kept(&next));
                known.looked = next;
            }
        });
    }

    fn change(&self, change: impl FnOnce(&mut Known)) {
        let is_less = self.known.with(|known| {
            let before = known.sessions.len();
            change(known);
            self.count.store(known.sessions.len(), Ordering::Release);
            let bytes = known.sessions.values().sum();
            self.bytes.store(bytes, Ordering::Release);
            known.sessions.len() < before
        });
        if is_less {
            self.wakes
                .with(|wakes| wakes.iter().for_each(|wake| wake()));
        }
    }
}

impl Known {
    fn note(&mut self, session: &str, kept: Option<u64>) {
        match (kept, self.sessions.get_mut(session)) {
            (None, None) => {}
            (None, Some(_)) => drop(self.sessions.remove(session)),
            (Some(bytes), Some(known)) => *known = bytes,
            (Some(bytes), None) => drop(self.sessions.insert(session.to_owned(), bytes)),
        }
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
            stalled.note(session, Some(bytes));
        }
        assert_eq!(stalled.bytes(), 13);
        let looked = Shared::new(Vec::new());
        let but_b = |session: &str| {
            looked.with(|looked| looked.push(session.to_owned()));
            (session != "b").then_some(16)
        };
        stalled.look_again(1, but_b);
        assert_eq!((stalled.bytes(), woken.load(Ordering::SeqCst)), (28, 0));
        stalled.look_again(2, but_b);
        assert_eq!((stalled.bytes(), woken.load(Ordering::SeqCst)), (32, 1));
        stalled.look_again(9, but_b);
        stalled.note("b", None);
        looked.with(|looked| assert_eq!(*looked, ["a", "b", "c", "a", "c"]));
        assert!(stalled.has("a") && !stalled.has("b"));
        stalled.note("c", Some(1));
        assert_eq!((stalled.bytes(), woken.load(Ordering::SeqCst)), (17, 1));
        stalled.note("c", None);
        assert_eq!((stalled.bytes(), woken.load(Ordering::SeqCst)), (16, 2));
    }
}
