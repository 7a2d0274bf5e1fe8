//! What waits of several sessions, each of which has its turn.

use std::collections::{BTreeMap, VecDeque};

use crate::core::divide::Divide;
use crate::message::Frame;
use crate::message::link::SMALL;

/// How many small messages of a session are taken in a row, while others wait.
const IN_A_ROW: usize = 16;

/// A message that waits, or a bundle.
pub(crate) trait Waits: Divide {
    /// Whose it is.
    fn session(&self) -> &str;

    fn frame(&self) -> &Frame;

    /// How many bytes it counts for.
    fn bytes(&self) -> u64;
}

/// What waits of each session, in its order, and whose turn it is: so whoever has little to do does
/// not wait until all is done of one that has much.
pub(crate) struct Turns<T> {
    /// Those that have something waiting.
    sessions: BTreeMap<String, Waiting<T>>,
    /// The same, in turn.
    turn: VecDeque<String>,
    /// How many messages the first of them has had taken in a row.
    in_a_row: usize,
    bytes: u64,
}

struct Waiting<T> {
    queue: VecDeque<T>,
    bytes: u64,
}

impl<T> Default for Turns<T> {
    fn default() -> Self {
        Self {
            sessions: BTreeMap::new(),
            turn: VecDeque::new(),
            in_a_row: 0,
            bytes: 0,
        }
    }
}

impl<T: Waits> Turns<T> {
    /// Adds something, after what else its session has.
    pub(crate) fn push(&mut self, item: T) {
        let bytes = item.bytes();
        self.bytes += bytes;
        if let Some(waiting) = self.sessions.get_mut(item.session()) {
            waiting.bytes += bytes;
            waiting.queue.push_back(item);
            return;
        }
        let session = item.session().to_owned();
        self.turn.push_back(session.clone());
        let queue = VecDeque::from([item]);
        self.sessions.insert(session, Waiting { queue, bytes });
    }

    /// What is the next, with `most` messages at the most: some of each session in turn of which
    /// `may_run` says that it may have its turn. (If only one message may be taken, whoever takes it
    /// knows nothing of bundles, or is slow: so a bundle is taken apart as a whole then.)
    pub(crate) fn next(&mut self, most: usize, may_run: impl Fn(&str) -> bool) -> Option<T> {
        for _ in 0..self.turn.len() {
            let session = self.turn.pop_front()?;
            let before = std::mem::take(&mut self.in_a_row);
            if !may_run(&session) {
                self.turn.push_back(session);
                continue;
            }
            let waiting = self.sessions.get_mut(&session)?;
            let had = waiting.bytes;
            let next = waiting.next(most)?;
            self.bytes = self.bytes - had + waiting.bytes;
            let in_a_row = before + next.count();
            let is_small = next.frame().len() <= SMALL;
            if waiting.queue.is_empty() {
                self.sessions.remove(&session);
            } else if is_small && in_a_row < most.min(IN_A_ROW) {
                self.in_a_row = in_a_row;
                self.turn.push_front(session);
            } else {
                self.turn.push_back(session);
            }
            return Some(next);
        }
        None
    }

    /// Takes out of what a session has what is not to be kept.
    pub(crate) fn take_out(&mut self, session: &str, keep: impl Fn(&T) -> bool) -> Vec<T> {
        let Some(waiting) = self.sessions.get_mut(session) else {
            return Vec::new();
        };
        let mut taken = Vec::new();
        for item in std::mem::take(&mut waiting.queue) {
            match keep(&item) {
                true => waiting.queue.push_back(item),
                false => taken.push(item),
            }
        }
        let bytes: u64 = taken.iter().map(Waits::bytes).sum();
        waiting.bytes -= bytes;
        self.bytes -= bytes;
        if waiting.queue.is_empty() {
            self.forget(session);
        }
        taken
    }

    /// Forgets all that a session has.
    pub(crate) fn forget(&mut self, session: &str) {
        if let Some(waiting) = self.sessions.remove(session) {
            self.bytes -= waiting.bytes;
            if self.turn.front().is_some_and(|first| first == session) {
                self.in_a_row = 0;
            }
            self.turn.retain(|other| other != session);
        }
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// For how many bytes all that waits counts.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// For how many bytes that of a session does.
    pub(crate) fn bytes_of(&self, session: &str) -> u64 {
        self.sessions
            .get(session)
            .map_or(0, |waiting| waiting.bytes)
    }

    /// How many messages a session has waiting.
    pub(crate) fn count_of(&self, session: &str) -> usize {
        let waiting = self.sessions.get(session);
        let waiting = waiting.into_iter().flat_map(|waiting| &waiting.queue);
        waiting.map(Divide::count).sum()
    }
}

impl<T: Waits> Waiting<T> {
    fn next(&mut self, most: usize) -> Option<T> {
        let mut first = self.queue.pop_front()?;
        self.bytes -= first.bytes();
        if first.count() <= most {
            return Some(first);
        }
        let rest = match most {
            ..=1 => {
                let mut singles = first.singles();
                first = singles.next()?;
                singles.collect()
            }
            _ => vec![first.split_off(most)],
        };
        for one in rest.into_iter().rev() {
            self.bytes += one.bytes();
            self.queue.push_front(one);
        }
        Some(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message, or a bundle, of which the payload is what is told of it.
    struct Told(Frame);

    impl Divide for Told {
        fn count(&self) -> usize {
            self.0.count()
        }

        fn split_off(&mut self, count: usize) -> Self {
            Self(self.0.split_off(count))
        }

        fn singles(self) -> impl ExactSizeIterator<Item = Self> {
            let frame = self.0;
            (0..frame.count()).map(move |at| Self(frame.single(at)))
        }
    }

    impl Waits for Told {
        fn session(&self) -> &str {
            self.0.session()
        }

        fn frame(&self) -> &Frame {
            &self.0
        }

        fn bytes(&self) -> u64 {
            self.0.payload().len() as u64
        }
    }

    fn message(session: &str, payload: &str) -> Told {
        let client = format!("{session}/1");
        Told(Frame::new("", &client, "s.f", "", payload.as_bytes()))
    }

    fn bundle(session: &str, payloads: &str) -> Told {
        let first = message(session, "").0;
        let mut bundler = crate::message::Bundler::of_results(&first, 0);
        payloads
            .as_bytes()
            .iter()
            .for_each(|payload| bundler.push(&[*payload]));
        Told(bundler.take())
    }

    /// The next ones, each as its session and its payloads.
    fn next(turns: &mut Turns<Told>, most: usize, count: usize) -> Vec<String> {
        let next = || turns.next(most, |_| true);
        let told = std::iter::from_fn(next).take(count);
        let text = |payload: &[u8]| String::from_utf8(payload.to_vec()).unwrap();
        told.map(|Told(frame)| format!("{}{}", frame.session(), text(frame.payload())))
            .collect()
    }

    #[test]
    fn each_has_its_turn_and_its_own_in_order() {
        let mut turns = Turns::default();
        for number in 0..40 {
            turns.push(message("a", &number.to_string()));
        }
        turns.push(message("b", "x"));
        turns.push(message("c", "y"));
        let first = next(&mut turns, usize::MAX, IN_A_ROW + 3);
        assert_eq!(first[IN_A_ROW - 1..], ["a15", "bx", "cy", "a16"]);
        turns.push(message("b", "z"));
        // Whoever takes few at once is slow, so few are in a row.
        assert_eq!(next(&mut turns, 2, 4), ["a17", "bz", "a18", "a19"]);
        assert_eq!(turns.count_of("a"), 20);
        assert_eq!(next(&mut turns, 1, 100).len(), 20);
        assert!(turns.is_empty());
        assert_eq!(turns.bytes(), 0);
    }

    #[test]
    fn large_ones_are_taken_one_by_one() {
        let large = "x".repeat(SMALL + 1);
        let mut turns = Turns::default();
        for session in ["a", "a", "b", "b"] {
            turns.push(message(session, &large));
        }
        let next = || {
            let next = turns.next(usize::MAX, |_| true)?;
            Some(next.session().to_owned())
        };
        assert_eq!(
            Vec::from_iter(std::iter::from_fn(next)),
            ["a", "b", "a", "b"]
        );
    }

    #[test]
    fn a_bundle_is_taken_apart_for_whoever_takes_less() {
        let mut turns = Turns::default();
        turns.push(bundle("a", "123456"));
        turns.push(message("a", "7"));
        assert_eq!(turns.bytes(), 7);
        assert_eq!(next(&mut turns, 4, 1), ["a1234"]);
        assert_eq!((turns.bytes(), turns.bytes_of("a")), (3, 3));
        assert_eq!(next(&mut turns, 1, 1), ["a5"]);
        assert_eq!((turns.bytes(), turns.count_of("a")), (2, 2));
        assert_eq!(next(&mut turns, 9, 9), ["a6", "a7"]);
        assert_eq!((turns.bytes(), turns.bytes_of("a")), (0, 0));
    }

    #[test]
    fn whoever_may_not_run_keeps_what_it_has() {
        let mut turns = Turns::default();
        for session in ["a", "b", "a"] {
            turns.push(message(session, "1"));
        }
        let but_a = |session: &str| session != "a";
        assert_eq!(turns.next(9, but_a).unwrap().session(), "b");
        assert!(turns.next(9, but_a).is_none());
        assert_eq!(next(&mut turns, 9, 9), ["a1", "a1"]);
    }

    #[test]
    fn what_is_taken_out_or_forgotten_has_no_turn() {
        let mut turns = Turns::default();
        for (session, payload) in [("a", "1"), ("b", "2"), ("a", "3"), ("c", "4"), ("b", "5")] {
            turns.push(message(session, payload));
        }
        let taken = turns.take_out("a", |told| told.0.payload() != b"1");
        assert_eq!(taken.len(), 1);
        turns.forget("b");
        assert!(turns.take_out("b", |_| false).is_empty());
        assert_eq!(turns.bytes(), 2);
        assert_eq!(turns.take_out("c", |_| false).len(), 1);
        assert_eq!(next(&mut turns, 9, 9), ["a3"]);
        turns.push(message("b", "6"));
        turns.clear();
        assert!(turns.is_empty() && next(&mut turns, 9, 9).is_empty());
    }
}
