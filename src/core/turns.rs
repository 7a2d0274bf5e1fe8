//! What waits of several sessions, each of which has its turn.

use std::collections::{BTreeMap, VecDeque};

use crate::core::divide::Divide;
use crate::message::Frame;
use crate::message::link::SMALL;

/// How many small messages of a session are taken in a row, while others wait: as they wake up for each
/// turn, these are not few. Whoever is slow takes less at once, and so a turn is shorter.
const IN_A_ROW: usize = 512;

/// How many of those that may not have their turn are asked each time whether they may again.
const ASKED: usize = 2;

/// Who comes with so few may be somebody who calls now and then, and takes them in a row.
const FEW: usize = 16;

/// How much whoever takes something takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Portion {
    /// How many messages at once, if they are a bundle.
    pub(crate) at_once: usize,
    /// How many of one session in a row.
    pub(crate) in_a_row: usize,
}

impl Portion {
    /// As they come.
    pub(crate) const ANY: Self = Self {
        at_once: usize::MAX,
        in_a_row: usize::MAX,
    };

    /// Messages by themselves.
    pub(crate) const SINGLES: Self = Self {
        at_once: 1,
        ..Self::ANY
    };
}

/// A message that waits, or a bundle.
pub(crate) trait Waits: Divide {
    /// Whose it is.
    fn session(&self) -> &str;

    fn frame(&self) -> &Frame;

    /// How many bytes it counts for.
    fn bytes(&self) -> u64;
}

/// What waits of each session, in its order, and whose turn it is: so whoever has little to do does
/// not wait until all is done of one that has much. Every second turn is for one that has just come
/// with few messages, if there is such: so it does not wait either until all others have had a turn of
/// many.
pub(crate) struct Turns<T> {
    /// Those that have something waiting.
    sessions: BTreeMap<String, Waiting<T>>,
    /// The same, in turn, but for the one whose turn it is: those that have just come with few
    /// messages, and the others.
    new: VecDeque<String>,
    old: VecDeque<String>,
    /// Those that may not have their turn at present.
    stopped: VecDeque<String>,
    current: Option<Turn>,
    /// Whether the next turn is for one of the new ones.
    is_for_new: bool,
    messages: usize,
    bytes: u64,
}

struct Waiting<T> {
    queue: VecDeque<T>,
    bytes: u64,
}

/// Whose turn it is.
struct Turn {
    session: String,
    /// How many messages it may have in a row, and how many it has had.
    most: usize,
    had: usize,
}

impl<T> Default for Turns<T> {
    fn default() -> Self {
        Self {
            sessions: BTreeMap::new(),
            new: VecDeque::new(),
            old: VecDeque::new(),
            stopped: VecDeque::new(),
            current: None,
            is_for_new: false,
            messages: 0,
            bytes: 0,
        }
    }
}

impl<T: Waits> Turns<T> {
    /// Adds something, after what else its session has.
    pub(crate) fn push(&mut self, item: T) {
        let bytes = item.bytes();
        self.bytes += bytes;
        self.messages += item.count();
        if let Some(waiting) = self.sessions.get_mut(item.session()) {
            waiting.bytes += bytes;
            waiting.queue.push_back(item);
            return;
        }
        let session = item.session().to_owned();
        match item.count() <= FEW {
            true => self.new.push_back(session.clone()),
            false => self.old.push_back(session.clone()),
        }
        let queue = VecDeque::from([item]);
        self.sessions.insert(session, Waiting { queue, bytes });
    }

    /// Puts back what was the next of its session: it is that again.
    pub(crate) fn put_back(&mut self, item: T) {
        let Some(waiting) = self.sessions.get_mut(item.session()) else {
            return self.push(item);
        };
        let bytes = item.bytes();
        self.bytes += bytes;
        self.messages += item.count();
        waiting.bytes += bytes;
        waiting.queue.push_front(item);
    }

    /// What is the next: some of each session in turn of which `may_run` says that what it has first
    /// may have its turn. Those that may not are asked again now and then, and all if nobody else has
    /// anything. (If one message is taken at once, a bundle is taken apart as a whole: whoever takes it
    /// knows nothing of bundles, or is slow.)
    pub(crate) fn next(&mut self, portion: Portion, may_run: impl Fn(&T) -> bool) -> Option<T> {
        self.ask_again(ASKED, &may_run);
        let mut is_last = false;
        loop {
            match self.turn() {
                Some(turn) if self.may(&turn.session, &may_run) => {
                    return self.next_of(turn, portion);
                }
                Some(turn) => self.stopped.push_back(turn.session),
                None if is_last => return None,
                None => {
                    is_last = true;
                    self.ask_again(usize::MAX, &may_run);
                }
            }
        }
    }

    fn may(&self, session: &str, may_run: impl Fn(&T) -> bool) -> bool {
        let waiting = self.sessions.get(session);
        let first = waiting.and_then(|waiting| waiting.queue.front());
        first.is_some_and(may_run)
    }

    /// Asks so many of those that may not have their turn whether they may again.
    fn ask_again(&mut self, most: usize, may_run: impl Fn(&T) -> bool) {
        for _ in 0..self.stopped.len().min(most) {
            let Some(session) = self.stopped.pop_front() else {
                break;
            };
            match self.may(&session, &may_run) {
                true => self.old.push_back(session),
                false => self.stopped.push_back(session),
            }
        }
    }

    /// What is the next of one whose turn it is.
    fn next_of(&mut self, mut turn: Turn, portion: Portion) -> Option<T> {
        let waiting = self.sessions.get_mut(&turn.session)?;
        let had = waiting.bytes;
        let next = waiting.next(portion.at_once)?;
        self.messages -= next.count();
        self.bytes = self.bytes - had + waiting.bytes;
        turn.had += next.count();
        let is_small = next.frame().len() <= SMALL;
        let has_more = !waiting.queue.is_empty();
        if has_more && is_small && turn.had < turn.most.min(portion.in_a_row) {
            self.current = Some(turn);
            return Some(next);
        }
        self.is_for_new = !self.is_for_new;
        match has_more {
            true => self.old.push_back(turn.session),
            false => drop(self.sessions.remove(&turn.session)),
        }
        Some(next)
    }

    /// Whose turn it is: of one that has not had all of it, or of the next.
    fn turn(&mut self) -> Option<Turn> {
        let of = |most| {
            move |session| Turn {
                session,
                most,
                had: 0,
            }
        };
        let new = |turns: &mut Self| turns.new.pop_front().map(of(FEW));
        let old = |turns: &mut Self| turns.old.pop_front().map(of(IN_A_ROW));
        let current = self.current.take();
        current.or_else(|| match self.is_for_new {
            true => new(self).or_else(|| old(self)),
            false => old(self).or_else(|| new(self)),
        })
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
        self.messages -= taken.iter().map(Divide::count).sum::<usize>();
        if waiting.queue.is_empty() {
            self.forget(session);
        }
        taken
    }

    /// Forgets what is not to be kept.
    pub(crate) fn retain(&mut self, keep: impl Fn(&T) -> bool) {
        for session in self.sessions.keys().cloned().collect::<Vec<_>>() {
            self.take_out(&session, &keep);
        }
    }

    /// Forgets all that a session has.
    pub(crate) fn forget(&mut self, session: &str) {
        if let Some(waiting) = self.sessions.remove(session) {
            self.bytes -= waiting.bytes;
            self.messages -= waiting.messages();
            self.new.retain(|other| other != session);
            self.old.retain(|other| other != session);
            self.stopped.retain(|other| other != session);
            self.current.take_if(|turn| turn.session == session);
        }
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// Whether a session has something waiting.
    pub(crate) fn has(&self, session: &str) -> bool {
        self.sessions.contains_key(session)
    }

    /// How many messages wait.
    pub(crate) fn messages(&self) -> usize {
        self.messages
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

    /// What each session has first, and how many messages in all.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = (&T, usize)> {
        let sessions = self.sessions.values();
        sessions.filter_map(|waiting| Some((waiting.queue.front()?, waiting.messages())))
    }

    /// How many messages a session has waiting.
    pub(crate) fn count_of(&self, session: &str) -> usize {
        self.sessions.get(session).map_or(0, Waiting::messages)
    }
}

impl<T: Waits> Waiting<T> {
    fn messages(&self) -> usize {
        self.queue.iter().map(Divide::count).sum()
    }

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
        let portion = Portion {
            at_once: most,
            in_a_row: most,
        };
        let next = || turns.next(portion, |_| true);
        let told = std::iter::from_fn(next).take(count);
        let text = |payload: &[u8]| String::from_utf8(payload.to_vec()).unwrap();
        told.map(|Told(frame)| format!("{}{}", frame.session(), text(frame.payload())))
            .collect()
    }

    /// Somebody has so many messages, from this number on.
    fn much(turns: &mut Turns<Told>, session: &str, from: usize, count: usize) {
        for number in from..from + count {
            turns.push(message(session, &number.to_string()));
        }
    }

    #[test]
    fn each_has_its_turn_and_its_own_in_order() {
        let mut turns = Turns::default();
        for session in ["a", "b"] {
            much(&mut turns, session, 0, 2 * IN_A_ROW);
        }
        // They have come with few; from then on they have long turns.
        let told = next(&mut turns, usize::MAX, 2 * FEW + IN_A_ROW + 1);
        let at = |index: usize| told[index].clone();
        assert_eq!([at(0), at(FEW - 1), at(FEW)], ["a0", "a15", "b0"]);
        assert_eq!(at(2 * FEW), "a16");
        assert_eq!(at(2 * FEW + IN_A_ROW), "b16");
        // Whoever takes few at once is slow, so few are in a row.
        let told = next(&mut turns, 2, 4);
        assert_eq!(told, ["b17", "a528", "a529", "b18"]);
        assert_eq!(next(&mut turns, 1, 4), ["b19", "a530", "b20", "a531"]);
        let left = 4 * IN_A_ROW - (2 * FEW + IN_A_ROW + 1 + 8);
        assert_eq!(turns.count_of("a") + turns.count_of("b"), left);
        assert_eq!(next(&mut turns, usize::MAX, usize::MAX).len(), left);
        assert!(turns.is_empty());
        assert_eq!((turns.messages(), turns.bytes()), (0, 0));
    }

    #[test]
    fn every_second_turn_is_for_one_that_has_come_with_few() {
        let mut turns = Turns::default();
        for session in ["a", "b", "c"] {
            turns.push(bundle(session, "1234567890123456789"));
            turns.push(message(session, "x"));
        }
        for session in ["d", "e"] {
            turns.push(message(session, "y"));
        }
        let order = next(&mut turns, 19, usize::MAX).into_iter();
        let order: Vec<_> = order.map(|told| told[..1].to_owned()).collect();
        assert_eq!(order, ["a", "d", "b", "e", "c", "a", "b", "c"]);
    }

    #[test]
    fn whoever_knows_no_bundles_has_as_many_in_a_row() {
        let mut turns = Turns::default();
        for session in ["a", "b"] {
            turns.push(bundle(session, "12345678901234567890"));
        }
        let next = || turns.next(Portion::SINGLES, |_| true);
        let sessions = std::iter::from_fn(next).map(|told| told.session().to_owned());
        let sessions: Vec<_> = sessions.collect();
        assert_eq!(sessions, [["a"; 20], ["b"; 20]].concat());
    }

    #[test]
    fn large_ones_are_taken_one_by_one() {
        let large = "x".repeat(SMALL + 1);
        let mut turns = Turns::default();
        for session in ["a", "a", "b", "b"] {
            turns.push(message(session, &large));
        }
        let next = || {
            let next = turns.next(Portion::ANY, |_| true)?;
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
        assert_eq!(turns.messages(), 3);
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
        let but_a = |told: &Told| told.session() != "a";
        assert_eq!(turns.next(Portion::ANY, but_a).unwrap().session(), "b");
        assert!(turns.next(Portion::ANY, but_a).is_none());
        assert_eq!(next(&mut turns, 9, 9), ["a1", "a1"]);
    }

    #[test]
    fn what_is_put_back_is_the_next_again() {
        let mut turns = Turns::default();
        turns.push(bundle("a", "123"));
        turns.push(message("a", "4"));
        let mut next = turns.next(Portion::ANY, |_| true).unwrap();
        let rest = next.split_off(1);
        turns.put_back(rest);
        assert_eq!((turns.messages(), turns.bytes()), (3, 3));
        assert!(turns.has("a") && !turns.has("b"));
        turns.put_back(message("b", "5"));
        assert_eq!(self::next(&mut turns, 9, 9), ["a23", "a4", "b5"]);
        assert!(turns.is_empty() && !turns.has("a"));
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
        assert_eq!((turns.messages(), turns.bytes()), (2, 2));
        turns.retain(|told| told.session() != "c");
        assert!(!turns.has("c"));
        assert_eq!(next(&mut turns, 9, 9), ["a3"]);
        turns.push(message("b", "6"));
        turns.clear();
        assert!(turns.is_empty() && next(&mut turns, 9, 9).is_empty());
    }
}
