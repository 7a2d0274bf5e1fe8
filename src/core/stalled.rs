//! Whose messages are better not run at present, as the parts of a component tell each other.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;

/// The sessions that leave too much of what comes of their messages where it is. Whoever keeps that
/// says so; whoever takes messages in leaves theirs where they are meanwhile.
#[derive(Default)]
pub(crate) struct Stalled {
    known: Mutex<Known>,
    /// How many they are, and how many bytes are kept of theirs, for a look that costs little.
    count: AtomicUsize,
    bytes: AtomicU64,
    wakes: Mutex<Vec<Wake>>,
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
    /// Has `wake` called when messages may run again that could not.
    pub(crate) fn wakes(&self, wake: impl Fn() + Send + Sync + 'static) {
        self.wakes.lock().push(Box::new(wake));
    }

    /// Whether this is one.
    pub(crate) fn has(&self, session: &str) -> bool {
        self.count.load(Ordering::Acquire) > 0 && self.known.lock().sessions.contains_key(session)
    }

    /// How many bytes are kept of all of them.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Acquire)
    }

    /// This is one, of whose so many bytes are kept.
    pub(crate) fn add(&self, session: &str, bytes: u64) {
        let mut known = self.known.lock();
        match known.sessions.get_mut(session) {
            Some(known) => *known = bytes,
            None => drop(known.sessions.insert(session.to_owned(), bytes)),
        }
        self.note(&known);
    }

    /// So many bytes are kept of this one, if it still is one.
    pub(crate) fn look_at(&self, session: &str, kept: Option<u64>) {
        if let Some(bytes) = kept {
            return self.add(session, bytes);
        }
        let mut known = self.known.lock();
        if known.sessions.remove(session).is_some() {
            self.note(&known);
            drop(known);
            self.wake();
        }
    }

    /// Looks at so many of them in turn: `kept` gives how many bytes are kept of one, if it still is
    /// one.
    pub(crate) fn look_again(&self, most: usize, kept: impl Fn(&str) -> Option<u64>) {
        if self.count.load(Ordering::Acquire) == 0 {
            return;
        }
        let mut known = self.known.lock();
        let Known { sessions, looked } = &mut *known;
        let before = sessions.len();
        for _ in 0..before.min(most) {
            let after = (Bound::Excluded(looked.as_str()), Bound::Unbounded);
            let next = sessions.range_mut::<str, _>(after).next();
            let next = next.map(|(session, _)| session.clone());
            let Some(next) = next.or_else(|| sessions.keys().next().cloned()) else {
                break;
            };
            match kept(&next) {
                Some(bytes) => drop(sessions.insert(next.clone(), bytes)),
                None => drop(sessions.remove(&next)),
            }
            *looked = next;
        }
        let is_less = sessions.len() < before;
        self.note(&known);
        drop(known);
        if is_less {
            self.wake();
        }
    }

    fn wake(&self) {
        self.wakes.lock().iter().for_each(|wake| wake());
    }

    fn note(&self, known: &Known) {
        self.count.store(known.sessions.len(), Ordering::Release);
        let bytes = known.sessions.values().sum();
        self.bytes.store(bytes, Ordering::Release);
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
            stalled.add(session, bytes);
        }
        assert_eq!(stalled.bytes(), 13);
        let looked = Mutex::new(Vec::new());
        let but_b = |session: &str| {
            looked.lock().push(session.to_owned());
            (session != "b").then_some(16)
        };
        stalled.look_again(1, but_b);
        assert_eq!((stalled.bytes(), woken.load(Ordering::SeqCst)), (28, 0));
        stalled.look_again(2, but_b);
        assert_eq!((stalled.bytes(), woken.load(Ordering::SeqCst)), (32, 1));
        stalled.look_again(9, but_b);
        stalled.look_at("b", None);
        assert_eq!(*looked.lock(), ["a", "b", "c", "a", "c"]);
        assert!(stalled.has("a") && !stalled.has("b"));
        stalled.look_at("c", Some(1));
        assert_eq!((stalled.bytes(), woken.load(Ordering::SeqCst)), (17, 1));
        stalled.look_at("c", None);
        assert_eq!((stalled.bytes(), woken.load(Ordering::SeqCst)), (16, 2));
    }
}
