//! A stream of messages, at the side that gives them.

use std::collections::{BTreeSet, VecDeque};

use super::Credit;
use crate::core::divide::Divide;
use crate::core::ranges::{Ranges, rows};

/// See [`Giver::most_at_once`].
const PARTS: u64 = 4;

/// Gives messages to one taker, and keeps each until the taker says that it is done.
///
/// Each has a number, from 1 on without a gap; a bundle has as many as it has messages. On one
/// connection they arrive in order, and when it breaks, the end of what was sent may be lost. So on
/// the next connection the taker tells up to which number it has them all, and which of those are
/// not done yet: what it does not name of them is done, though its saying so may have been lost, and
/// what is beyond is sent again. A taker that knows nothing of the stream, because it is another or
/// was restarted, gets all that is kept, under new numbers.
///
/// A bundle is kept until all its messages are done, each of which may be so by itself; what is
/// done of it is not given again.
///
/// `T` is what is kept of a message, or of a bundle, beside its size.
#[derive(Debug)]
pub(crate) struct Giver<T> {
    /// What is given and not done.
    given: Ranges<Kept<T>>,
    /// What is not given yet, or is to be given again, in order.
    waiting: VecDeque<Kept<T>>,
    /// How many messages that is.
    waiting_messages: usize,
    /// The number of the next one that is given.
    next: u64,
    given_bytes: u64,
    waiting_bytes: u64,
    credit: Credit,
}

#[derive(Debug)]
struct Kept<T> {
    item: T,
    size: u64,
    count: usize,
    /// A bit for each of its messages that is known to be done: so that of one that is given
    /// again with the others that is told once.
    done: u64,
}

impl<T: Divide> Kept<T> {
    /// Takes a bundle apart: it is its first `count` messages from now on. Gives the others.
    fn split_off(&mut self, count: usize) -> Self {
        let item = self.item.split_off(count);
        let size = self.size / self.count as u64 * (self.count - count) as u64;
        let rest = Self {
            item,
            size,
            count: self.count - count,
            done: self.done >> count,
        };
        self.count = count;
        self.size -= size;
        self.done &= (1 << count) - 1; // There is a rest, so it is less than all bits.
        rest
    }
}

impl<T> Kept<T> {
    /// These of its messages are done. Tells `part` of those of which that is new.
    fn note_done(&mut self, done: u64, part: &mut impl FnMut(&T, usize, usize)) {
        let new = done & !self.done;
        self.done |= done;
        rows(new).for_each(|(first, count)| part(&self.item, first, count));
    }
}

impl<T: Divide> Giver<T> {
    pub(crate) fn new() -> Self {
        Self {
            given: Ranges::default(),
            waiting: VecDeque::new(),
            waiting_messages: 0,
            next: 1,
            given_bytes: 0,
            waiting_bytes: 0,
            credit: Credit::default(),
        }
    }

    /// Adds a message at the end.
    pub(crate) fn push(&mut self, size: u64, item: T) {
        let count = item.count();
        self.waiting_bytes += size;
        self.waiting_messages += count;
        self.waiting.push_back(Kept {
            item,
            size,
            count,
            done: 0,
        });
    }

    /// How much the taker lets be open at once.
    pub(crate) fn set_credit(&mut self, credit: Credit) {
        self.credit = credit;
    }

    /// The next message to send, with its number, if the taker lets it be given. It counts as
    /// sent.
    pub(crate) fn give(&mut self) -> Option<(u64, &mut T)> {
        if self.is_held_up() && !planted!(WindowIgnored) {
            return None;
        }
        let mut kept = self.waiting.pop_front()?;
        let most = self.most_at_once();
        if kept.count > most {
            self.waiting.push_front(kept.split_off(most));
        }
        let (count, number) = (kept.count, self.next);
        self.waiting_bytes -= kept.size;
        self.waiting_messages -= count;
        self.given_bytes += kept.size;
        self.next += count as u64;
        self.given.insert(number, count, kept);
        let kept = self.given.get_mut(number)?;
        Some((number, &mut kept.item))
    }

    /// Whether something waits that the taker does not let be given yet.
    pub(crate) fn is_held_up(&self) -> bool {
        let Some(next) = self.waiting.front() else {
            return false;
        };
        let open = self.given.len() as u64;
        let count = next.count.min(self.most_at_once()) as u64;
        let room = open + count <= self.credit.messages
            && self.given_bytes.saturating_add(next.size) <= self.credit.bytes;
        open > 0 && !room
    }

    /// So many messages are done, from this number on. Tells `part` of those of which that is new,
    /// by what is kept, the place of the first in that, and how many; gives back to `whole` what
    /// is done with all its messages, and its size. What is not known is passed over.
    pub(crate) fn done(
        &mut self,
        number: u64,
        count: usize,
        mut part: impl FnMut(&T, usize, usize),
        mut whole: impl FnMut(T, u64),
    ) {
        let given_bytes = &mut self.given_bytes;
        let gone = |kept: Kept<T>| {
            if !planted!(CreditLeak) {
                *given_bytes -= kept.size;
            }
            whole(kept.item, kept.size);
        };
        self.given.take(
            number,
            count,
            |kept, done| kept.note_done(done, &mut part),
            gone,
        );
    }

    /// How many messages of a bundle are given together: no more than such a part of what may be
    /// open, so that others are on their way meanwhile.
    fn most_at_once(&self) -> usize {
        usize::try_from(self.credit.messages / PARTS).map_or(usize::MAX, |part| part.max(1))
    }

    /// One is done, by itself: gives back what was kept of it, taken out of its bundle if it is of
    /// one. `None` when it is not known. The rest is as with [`done`](Self::done).
    pub(crate) fn done_alone(
        &mut self,
        number: u64,
        mut whole: impl FnMut(T, u64),
    ) -> Option<(T, u64)> {
        if !self.given.contains(number) {
            return None;
        }
        let (first, open, kept) = self.given.remove(number)?;
        let Kept {
            item,
            size,
            count,
            done,
        } = kept;
        let share = size / count as u64;
        let mut rest = size - share * count as u64;
        self.given_bytes -= size;
        let mut alone = None;
        for (at, item) in item.singles().enumerate() {
            let size = share + std::mem::take(&mut rest);
            let is_open = open >> at & 1 == 1;
            if first + at as u64 == number {
                alone = Some((item, size));
            } else if is_open {
                self.given_bytes += size;
                let done = done >> at & 1;
                let kept = Kept {
                    item,
                    size,
                    count: 1,
                    done,
                };
                self.given.insert(first + at as u64, 1, kept);
            } else {
                whole(item, size);
            }
        }
        alone
    }

    /// The taker is there again, on a new connection, with all up to `received`, of which those
    /// in `open` are not done. What it has not received waits again. Of what is done it tells as
    /// [`done`](Self::done) does.
    pub(crate) fn resume(
        &mut self,
        received: u64,
        open: impl IntoIterator<Item = u64>,
        mut part: impl FnMut(&T, usize, usize),
        mut whole: impl FnMut(T, u64),
    ) {
        let received = received + u64::from(planted!(ResumeOffByOne));
        let unseen = self.given.split_off(received.saturating_add(1));
        // One that has come in part has not come: no taker of ours says so.
        let cut = self.given.remove(received.saturating_add(1));
        let cut = cut.map(|(first, _, kept)| (first, kept));
        let next = cut
            .as_ref()
            .map_or(received.saturating_add(1), |(first, _)| *first);
        // Numbers go on where the taker expects them.
        self.next = next.min(self.next);
        let unseen: Vec<_> = cut
            .into_iter()
            .map(|(_, kept)| kept)
            .chain(unseen)
            .collect();
        self.wait_again(unseen.into_iter(), &mut whole);
        let open = BTreeSet::from_iter(open);
        let known: Vec<u64> = self.given.numbers().collect();
        for number in known.into_iter().filter(|number| !open.contains(number)) {
            self.done(number, 1, &mut part, &mut whole);
        }
    }

    /// The taker knows nothing of the stream: all that is not done is given again, from number 1
    /// on. What is done of a bundle is given back to `whole`.
    pub(crate) fn restart(&mut self, mut whole: impl FnMut(T, u64)) {
        let given = std::mem::take(&mut self.given);
        self.next = 1;
        if !planted!(RestartForgets) {
            self.wait_again(given.into_values(), &mut whole);
        }
    }

    /// Puts what was given before what was not.
    fn wait_again(
        &mut self,
        given: impl DoubleEndedIterator<Item = Kept<T>>,
        whole: &mut impl FnMut(T, u64),
    ) {
        for kept in given.rev() {
            self.given_bytes -= kept.size;
            let mut rest = Some(kept);
            let mut parts = Vec::new();
            while let Some(mut part) = rest.take() {
                let row = match part.done & 1 {
                    0 => part.done.trailing_zeros(),
                    _ => part.done.trailing_ones(),
                };
                if (row as usize) < part.count {
                    rest = Some(part.split_off(row as usize));
                }
                parts.push(part);
            }
            for part in parts.into_iter().rev() {
                if part.done > 0 {
                    whole(part.item, part.size);
                    continue;
                }
                self.waiting_bytes += part.size;
                self.waiting_messages += part.count;
                self.waiting.push_front(part);
            }
        }
    }

    /// How many messages are kept.
    pub(crate) fn len(&self) -> usize {
        self.given.len() + self.waiting_messages
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes are kept.
    pub(crate) fn bytes(&self) -> u64 {
        self.given_bytes + self.waiting_bytes
    }

    /// How many messages are given and not done, and how many bytes.
    pub(crate) fn given(&self) -> (u64, u64) {
        (self.given.len() as u64, self.given_bytes)
    }

    /// How many messages wait to be given.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting_messages
    }

    /// Takes out what waits and matches, each with how many of its messages are not known to be
    /// done; what is given stays.
    pub(crate) fn withdraw(&mut self, mut matches: impl FnMut(&T) -> bool) -> Vec<(T, usize)> {
        let mut out = Vec::new();
        for kept in std::mem::take(&mut self.waiting) {
            if matches(&kept.item) {
                self.waiting_bytes -= kept.size;
                self.waiting_messages -= kept.count;
                out.push((kept.item, kept.count - kept.done.count_ones() as usize));
            } else {
                self.waiting.push_back(kept);
            }
        }
        out
    }

    /// Takes out what waits, each with its size.
    pub(crate) fn take_waiting(&mut self) -> Vec<(T, u64)> {
        (self.waiting_bytes, self.waiting_messages) = (0, 0);
        let waiting = std::mem::take(&mut self.waiting).into_iter();
        waiting.map(|kept| (kept.item, kept.size)).collect()
    }

    /// Takes apart what waits: the taker is one that takes no bundles.
    pub(crate) fn divide_waiting(&mut self) {
        for kept in std::mem::take(&mut self.waiting) {
            let (count, done) = (kept.count, kept.done);
            let mut size = kept.size;
            for (at, item) in kept.item.singles().enumerate() {
                let left = (count - at) as u64;
                let share = size / left;
                size -= share;
                self.waiting.push_back(Kept {
                    item,
                    size: share,
                    count: 1,
                    done: done >> at & 1,
                });
            }
        }
    }

    /// Takes out everything, each with its size.
    pub(crate) fn drain(&mut self) -> Vec<(T, u64)> {
        (self.given_bytes, self.waiting_bytes) = (0, 0);
        self.waiting_messages = 0;
        let given = std::mem::take(&mut self.given).into_values();
        let waiting = std::mem::take(&mut self.waiting);
        let all = given.chain(waiting);
        all.map(|kept| (kept.item, kept.size)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn giver(messages: u64) -> Giver<char> {
        let mut giver = Giver::new();
        giver.set_credit(Credit {
            messages,
            bytes: 100,
        });
        ('a'..='e').for_each(|item| giver.push(10, item));
        giver
    }

    fn done(giver: &mut Giver<char>, number: u64) -> Option<char> {
        let mut gone = None;
        giver.done(number, 1, |_, _, _| {}, |item, _| gone = Some(item));
        gone
    }

    fn resume(giver: &mut Giver<char>, received: u64, open: &[u64]) -> Vec<char> {
        let mut gone = Vec::new();
        let open = open.iter().copied();
        giver.resume(received, open, |_, _, _| {}, |item, _| gone.push(item));
        gone
    }

    fn give(giver: &mut Giver<char>) -> Vec<(u64, char)> {
        std::iter::from_fn(|| giver.give().map(|(number, item)| (number, *item))).collect()
    }

    #[test]
    fn no_more_is_open_than_the_taker_lets() {
        let mut giver = giver(2);
        assert_eq!(give(&mut giver), [(1, 'a'), (2, 'b')]);
        assert_eq!(done(&mut giver, 2), Some('b'));
        assert_eq!(done(&mut giver, 2), None);
        assert_eq!(give(&mut giver), [(3, 'c')]);
        giver.set_credit(Credit {
            messages: 10,
            bytes: 25,
        });
        assert_eq!(give(&mut giver), []);
        done(&mut giver, 1);
        assert_eq!(give(&mut giver), [(4, 'd')]);
        assert_eq!((giver.len(), giver.bytes()), (3, 30));
    }

    #[test]
    fn one_always_may_be_given() {
        let mut giver = giver(0);
        assert_eq!(give(&mut giver), [(1, 'a')]);
        giver.push(1_000, 'x');
        for number in 1..=5 {
            done(&mut giver, number);
            give(&mut giver);
        }
        assert_eq!(done(&mut giver, 6), Some('x'));
        assert!(giver.is_empty());
        assert_eq!(giver.bytes(), 0);
    }

    #[test]
    fn after_a_break_what_was_not_received_is_given_again_and_no_more() {
        let mut giver = giver(10);
        give(&mut giver);
        // The taker has a to c, of which b is not done; d and e were lost.
        assert_eq!(resume(&mut giver, 3, &[2]), ['a', 'c']);
        assert_eq!(give(&mut giver), [(4, 'd'), (5, 'e')]);
        assert_eq!(resume(&mut giver, 5, &[2, 4, 5]), []);
        assert_eq!(give(&mut giver), []);
        assert_eq!(giver.len(), 3);
    }

    #[test]
    fn a_taker_that_knows_nothing_gets_all_under_new_numbers() {
        let mut giver = giver(10);
        give(&mut giver);
        done(&mut giver, 1);
        done(&mut giver, 4);
        giver.push(10, 'f');
        giver.restart(|_, _| {});
        assert_eq!(give(&mut giver), [(1, 'b'), (2, 'c'), (3, 'e'), (4, 'f')]);
    }

    #[test]
    fn what_a_taker_makes_up_does_no_harm() {
        let mut giver = giver(10);
        give(&mut giver);
        assert_eq!(resume(&mut giver, u64::MAX, &[1, 77]).len(), 4);
        giver.push(10, 'f');
        assert_eq!(give(&mut giver), [(6, 'f')]);
        assert_eq!(
            [1, 6].map(|number| done(&mut giver, number)),
            [Some('a'), Some('f')]
        );
        assert_eq!(resume(&mut giver, u64::MAX, &[u64::MAX]), []);
        giver.push(10, 'g');
        assert_eq!(give(&mut giver), [(7, 'g')]);
    }

    #[test]
    fn what_waits_can_be_withdrawn() {
        let mut giver = giver(1);
        give(&mut giver);
        assert_eq!(giver.withdraw(|item| *item < 'd'), [('b', 1), ('c', 1)]);
        done(&mut giver, 1);
        assert_eq!(give(&mut giver), [(2, 'd')]);
        assert_eq!(giver.drain(), [('d', 10), ('e', 10)]);
        assert_eq!(giver.bytes(), 0);
    }

    /// A bundle of letters.
    #[derive(Clone, Debug, PartialEq)]
    struct Word(String);

    impl Divide for Word {
        fn count(&self) -> usize {
            self.0.len()
        }

        fn split_off(&mut self, count: usize) -> Self {
            Self(self.0.split_off(count))
        }

        fn singles(self) -> impl ExactSizeIterator<Item = Self> {
            let letters: Vec<_> = self.0.chars().map(|letter| Self(letter.into())).collect();
            letters.into_iter()
        }
    }

    /// What a giver of words says to be done.
    #[derive(Debug, Default, PartialEq)]
    struct Ended {
        letters: String,
        words: Vec<String>,
    }

    impl Ended {
        fn of(
            end: impl FnOnce(&mut dyn FnMut(&Word, usize, usize), &mut dyn FnMut(Word, u64)),
        ) -> Self {
            let (mut letters, mut words) = (String::new(), Vec::new());
            end(
                &mut |word, first, count| letters.push_str(&word.0[first..first + count]),
                &mut |word, _| words.push(word.0),
            );
            Self { letters, words }
        }
    }

    fn words() -> Giver<Word> {
        let mut giver = Giver::new();
        giver.set_credit(Credit {
            messages: 16,
            bytes: 90,
        });
        for word in ["abcd", "e", "fgh", "ijklm"] {
            giver.push(10 * word.len() as u64, Word(word.to_owned()));
        }
        giver
    }

    fn numbers(giver: &mut Giver<Word>) -> Vec<(u64, String)> {
        let next = || giver.give().map(|(number, word)| (number, word.0.clone()));
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn each_message_of_a_bundle_is_done_by_itself_and_the_bundle_with_the_last() {
        let mut giver = words();
        let given = numbers(&mut giver);
        let expected = [(1, "abcd"), (5, "e"), (6, "fgh")];
        assert_eq!(
            given,
            expected.map(|(number, word)| (number, word.to_owned()))
        );
        let end = |giver: &mut Giver<Word>, first, count| {
            Ended::of(|part, whole| giver.done(first, count, part, whole))
        };
        assert_eq!(end(&mut giver, 2, 2).letters, "bc");
        assert_eq!(giver.len(), 11);
        let ended = end(&mut giver, 1, 6);
        assert_eq!(
            (ended.letters.as_str(), &ended.words[..]),
            ("adef", &["abcd".to_owned(), "e".to_owned()][..])
        );
        assert_eq!(end(&mut giver, 1, 6), Ended::default());
        // No more at once than a part of what may be open.
        let last = [(9, "ijkl"), (13, "m")];
        let last = last.map(|(number, word)| (number, word.to_owned()));
        assert_eq!(numbers(&mut giver), last);
        // All that is not known is passed over, however much.
        let ended = end(&mut giver, 0, usize::MAX);
        assert_eq!(ended.letters, "ghijklm");
        assert!(giver.is_empty() && giver.bytes() == 0);
    }

    #[test]
    fn of_a_bundle_that_is_given_again_nothing_is_told_twice() {
        let mut giver = words();
        numbers(&mut giver);
        let resume = |giver: &mut Giver<Word>, received, open: &[u64]| {
            let open = open.iter().copied();
            Ended::of(|part, whole| giver.resume(received, open, part, whole))
        };
        let ended = resume(&mut giver, 5, &[2, 3]);
        assert_eq!((ended.letters.as_str(), ended.words.len()), ("ade", 1));
        assert_eq!(numbers(&mut giver)[0], (6, "fgh".to_owned()));
        giver.restart(|_, _| {});
        let given = numbers(&mut giver);
        assert_eq!(given[0], (1, "bc".to_owned()));
        let ended = resume(&mut giver, 2, &[]);
        assert_eq!(
            (ended.letters.as_str(), &ended.words[..]),
            ("bc", &["bc".to_owned()][..])
        );
    }

    #[test]
    fn one_of_a_bundle_may_end_alone() {
        let mut giver = words();
        numbers(&mut giver);
        giver.done(1, 1, |_, _, _| {}, |_, _| panic!("it is not all"));
        let mut whole = Vec::new();
        let alone = giver.done_alone(3, |word, _| whole.push(word.0));
        assert_eq!(
            (alone, whole),
            (Some((Word("c".to_owned()), 10)), vec!["a".to_owned()])
        );
        assert_eq!(giver.done_alone(3, |_, _| {}), None);
        let ended = Ended::of(|part, whole| giver.done(1, 4, part, whole));
        assert_eq!((ended.letters.as_str(), ended.words.len()), ("bd", 2));
        assert_eq!(
            giver.done_alone(5, |_, _| {}),
            Some((Word("e".to_owned()), 10))
        );
        giver.drain();
        assert_eq!(giver.bytes(), 0);
    }
}
