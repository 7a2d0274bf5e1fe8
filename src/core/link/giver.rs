//! A stream of messages, at the side that gives them.

use std::collections::VecDeque;

use super::Credit;
use crate::core::numbered::Numbered;

/// Gives messages to one taker, and keeps each until the taker says that it is done.
///
/// Each has a number, from 1 on without a gap. On one connection they arrive in order, and when
/// it breaks, the end of what was sent may be lost. So on the next connection the taker tells up
/// to which number it has them all, and which of those are not done yet: what it does not name
/// of them is done, though its saying so may have been lost, and what is beyond is sent again. A
/// taker that knows nothing of the stream, because it is another or was restarted, gets all that
/// is kept, under new numbers.
///
/// `T` is what is kept of a message beside its size.
#[derive(Debug)]
pub(crate) struct Giver<T> {
    /// What is given and not done.
    given: Numbered<Kept<T>>,
    /// What is not given yet, or is to be given again, in order.
    waiting: VecDeque<Kept<T>>,
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
}

impl<T> Giver<T> {
    pub(crate) fn new() -> Self {
        Self {
            given: Numbered::default(),
            waiting: VecDeque::new(),
            next: 1,
            given_bytes: 0,
            waiting_bytes: 0,
            credit: Credit::default(),
        }
    }

    /// Adds a message at the end.
    pub(crate) fn push(&mut self, size: u64, item: T) {
        self.waiting_bytes += size;
        self.waiting.push_back(Kept { item, size });
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
        let kept = self.waiting.pop_front()?;
        self.waiting_bytes -= kept.size;
        self.given_bytes += kept.size;
        let number = self.next;
        self.next += 1;
        self.given.insert(number, kept);
        let kept = self.given.get_mut(number)?;
        Some((number, &mut kept.item))
    }

    /// Whether something waits that the taker does not let be given yet.
    pub(crate) fn is_held_up(&self) -> bool {
        let Some(next) = self.waiting.front() else {
            return false;
        };
        let open = self.given.len() as u64;
        let room = open < self.credit.messages
            && self.given_bytes.saturating_add(next.size) <= self.credit.bytes;
        open > 0 && !room
    }

    /// One is done: gives back what was kept of it. `None` when it is not known.
    pub(crate) fn done(&mut self, number: u64) -> Option<T> {
        let kept = self.given.remove(number)?;
        if !planted!(CreditLeak) {
            self.given_bytes -= kept.size;
        }
        Some(kept.item)
    }

    /// The taker is there again, on a new connection, with all up to `received`, of which those
    /// in `open` are not done. Gives back what is done; what it has not received waits again.
    pub(crate) fn resume(&mut self, received: u64, open: impl IntoIterator<Item = u64>) -> Vec<T> {
        let received = received + u64::from(planted!(ResumeOffByOne));
        let unseen = self.given.split_off(received.saturating_add(1));
        // Numbers go on where the taker expects them.
        self.next = received.saturating_add(1).min(self.next);
        self.wait_again(unseen);
        let mut all = std::mem::take(&mut self.given);
        for number in open {
            if let Some(kept) = all.remove(number) {
                self.given.insert(number, kept);
            }
        }
        let done = all.into_iter().map(|(_, kept)| {
            self.given_bytes -= kept.size;
            kept.item
        });
        done.collect()
    }

    /// The taker knows nothing of the stream: all is given again, from number 1 on.
    pub(crate) fn restart(&mut self) {
        let given = std::mem::take(&mut self.given);
        self.next = 1;
        if !planted!(RestartForgets) {
            self.wait_again(given.into_iter().collect());
        }
    }

    /// Puts what was given before what was not.
    fn wait_again(&mut self, given: Vec<(u64, Kept<T>)>) {
        for (_, kept) in given.into_iter().rev() {
            self.given_bytes -= kept.size;
            self.waiting_bytes += kept.size;
            self.waiting.push_front(kept);
        }
    }

    /// How many are kept.
    pub(crate) fn len(&self) -> usize {
        self.given.len() + self.waiting.len()
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes are kept.
    pub(crate) fn bytes(&self) -> u64 {
        self.given_bytes + self.waiting_bytes
    }

    /// How many wait to be given.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Takes out what waits and matches; what is given stays.
    pub(crate) fn withdraw(&mut self, mut matches: impl FnMut(&T) -> bool) -> Vec<T> {
        let mut out = Vec::new();
        for kept in std::mem::take(&mut self.waiting) {
            if matches(&kept.item) {
                self.waiting_bytes -= kept.size;
                out.push(kept.item);
            } else {
                self.waiting.push_back(kept);
            }
        }
        out
    }

    /// Takes out everything.
    pub(crate) fn drain(&mut self) -> Vec<T> {
        (self.given_bytes, self.waiting_bytes) = (0, 0);
        let given = std::mem::take(&mut self.given).into_iter();
        let waiting = std::mem::take(&mut self.waiting);
        given
            .map(|(_, kept)| kept)
            .chain(waiting)
            .map(|kept| kept.item)
            .collect()
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

    fn give(giver: &mut Giver<char>) -> Vec<(u64, char)> {
        std::iter::from_fn(|| giver.give().map(|(number, item)| (number, *item))).collect()
    }

    #[test]
    fn no_more_is_open_than_the_taker_lets() {
        let mut giver = giver(2);
        assert_eq!(give(&mut giver), [(1, 'a'), (2, 'b')]);
        assert_eq!(giver.done(2), Some('b'));
        assert_eq!(giver.done(2), None);
        assert_eq!(give(&mut giver), [(3, 'c')]);
        giver.set_credit(Credit {
            messages: 10,
            bytes: 25,
        });
        assert_eq!(give(&mut giver), []);
        giver.done(1);
        assert_eq!(give(&mut giver), [(4, 'd')]);
        assert_eq!((giver.len(), giver.bytes()), (3, 30));
    }

    #[test]
    fn one_always_may_be_given() {
        let mut giver = giver(0);
        assert_eq!(give(&mut giver), [(1, 'a')]);
        giver.push(1_000, 'x');
        for number in 1..=5 {
            giver.done(number);
            give(&mut giver);
        }
        assert_eq!(giver.done(6), Some('x'));
        assert!(giver.is_empty());
        assert_eq!(giver.bytes(), 0);
    }

    #[test]
    fn after_a_break_what_was_not_received_is_given_again_and_no_more() {
        let mut giver = giver(10);
        give(&mut giver);
        // The taker has a to c, of which b is not done; d and e were lost.
        assert_eq!(giver.resume(3, [2]), ['a', 'c']);
        assert_eq!(give(&mut giver), [(4, 'd'), (5, 'e')]);
        assert_eq!(giver.resume(5, [2, 4, 5]), []);
        assert_eq!(give(&mut giver), []);
        assert_eq!(giver.len(), 3);
    }

    #[test]
    fn a_taker_that_knows_nothing_gets_all_under_new_numbers() {
        let mut giver = giver(10);
        give(&mut giver);
        giver.done(1);
        giver.done(4);
        giver.push(10, 'f');
        giver.restart();
        assert_eq!(give(&mut giver), [(1, 'b'), (2, 'c'), (3, 'e'), (4, 'f')]);
    }

    #[test]
    fn what_a_taker_makes_up_does_no_harm() {
        let mut giver = giver(10);
        give(&mut giver);
        assert_eq!(giver.resume(u64::MAX, [1, 77]).len(), 4);
        giver.push(10, 'f');
        assert_eq!(give(&mut giver), [(6, 'f')]);
        assert_eq!(
            [1, 6].map(|number| giver.done(number)),
            [Some('a'), Some('f')]
        );
        assert_eq!(giver.resume(u64::MAX, [u64::MAX]), []);
        giver.push(10, 'g');
        assert_eq!(give(&mut giver), [(7, 'g')]);
    }

    #[test]
    fn what_waits_can_be_withdrawn() {
        let mut giver = giver(1);
        give(&mut giver);
        assert_eq!(giver.withdraw(|item| *item < 'd'), ['b', 'c']);
        giver.done(1);
        assert_eq!(give(&mut giver), [(2, 'd')]);
        assert_eq!(giver.drain(), ['d', 'e']);
        assert_eq!(giver.bytes(), 0);
    }
}
