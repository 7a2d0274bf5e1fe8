//! A stream of messages, at the side that takes them.

use crate::core::custody::Outcome;
use crate::core::ranges::Ranges;

/// Takes the messages of one [`Giver`](super::Giver), each once, and says when they are done.
#[derive(Debug, Default)]
pub(crate) struct Taker {
    /// All up to this one have come.
    received: u64,
    /// Those of them that are not done, or of which the giver has not heard how they ended.
    open: Ranges<()>,
    /// How those ended of which there is something to tell, until that was heard.
    outcomes: Vec<(u64, Outcome)>,
}

/// What to do with a message that has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It is new.
    New,
    /// It has come before.
    Double,
    /// Others before it are missing: the connection cannot be right.
    Gap,
}

/// How to tell the giver that a message is done.
#[derive(Debug, PartialEq)]
pub(crate) enum Tell {
    Done,
    /// With this, and again after each break, until it is [heard](Taker::heard).
    Outcome(Outcome),
    /// Not at all: it is not known, or not done but lost.
    Nothing,
}

impl Taker {
    /// A message has come, or a bundle of so many.
    pub(crate) fn take(&mut self, number: u64, count: usize) -> Taken {
        let last = number.saturating_add(count as u64 - 1);
        if last <= self.received {
            return Taken::Double;
        }
        if number != self.received + 1 {
            return Taken::Gap;
        }
        self.received = last;
        self.open.insert(number, count, ());
        Taken::New
    }

    /// A message has ended; or so many from this one on, of which there is nothing to tell but
    /// that.
    pub(crate) fn ended(&mut self, number: u64, count: usize, outcome: Outcome) -> Tell {
        let is_lost = outcome.lost && !planted!(LostIsDone);
        if is_lost {
            return Tell::Nothing;
        }
        if outcome.is_plain() || planted!(LostIsDone) {
            let mut ended = 0;
            self.open
                .take(number, count, |(), bits| ended += bits.count_ones(), drop);
            return match ended {
                0 => Tell::Nothing,
                _ => Tell::Done,
            };
        }
        if !self.open.contains(number) {
            return Tell::Nothing;
        }
        self.outcomes.push((number, outcome.clone()));
        Tell::Outcome(outcome)
    }

    /// The giver has heard how a message ended.
    pub(crate) fn heard(&mut self, number: u64) {
        let before = self.outcomes.len();
        self.outcomes.retain(|(of, _)| *of != number);
        if self.outcomes.len() < before {
            self.open.take(number, 1, |_, _| {}, drop);
        }
    }

    /// What is to be told again after a break.
    pub(crate) fn untold(&self) -> &[(u64, Outcome)] {
        &self.outcomes
    }

    /// Up to which number all have come, and which of them are not done.
    pub(crate) fn position(&self) -> (u64, impl Iterator<Item = u64> + '_) {
        (self.received, self.open.numbers())
    }

    /// How many are open that have not ended.
    pub(crate) fn unsettled(&self) -> usize {
        self.open.len() - self.outcomes.len()
    }

    /// How many are open.
    pub(crate) fn open(&self) -> usize {
        self.open.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(taker: &Taker) -> (u64, Vec<u64>) {
        let (received, open) = taker.position();
        (received, open.collect())
    }

    #[test]
    fn each_message_is_taken_once_and_none_is_left_out() {
        let mut taker = Taker::default();
        assert_eq!(taker.take(2, 1), Taken::Gap);
        assert_eq!(taker.take(1, 1), Taken::New);
        assert_eq!(taker.take(1, 1), Taken::Double);
        assert_eq!(taker.take(2, 1), Taken::New);
        assert_eq!(taker.ended(1, 1, Outcome::default()), Tell::Done);
        assert_eq!(taker.ended(1, 1, Outcome::default()), Tell::Nothing);
        assert_eq!(taker.take(1, 1), Taken::Double);
        assert_eq!(position(&taker), (2, vec![2]));
    }

    #[test]
    fn what_is_lost_stays_open() {
        let mut taker = Taker::default();
        taker.take(1, 1);
        let lost = Outcome {
            lost: true,
            ..Outcome::default()
        };
        assert_eq!(taker.ended(1, 1, lost), Tell::Nothing);
        assert_eq!(position(&taker), (1, vec![1]));
    }

    #[test]
    fn an_outcome_is_told_until_it_is_heard() {
        let mut taker = Taker::default();
        taker.take(1, 1);
        let outcome = Outcome {
            untracked: true,
            ..Outcome::default()
        };
        assert_eq!(
            taker.ended(1, 1, outcome.clone()),
            Tell::Outcome(outcome.clone())
        );
        assert_eq!(taker.untold(), [(1, outcome)]);
        assert_eq!(position(&taker), (1, vec![1]));
        taker.heard(2);
        taker.heard(1);
        assert_eq!(position(&taker), (1, vec![]));
        assert!(taker.untold().is_empty());
    }

    #[test]
    fn the_messages_of_a_bundle_come_together_and_end_together_or_apart() {
        let mut taker = Taker::default();
        assert_eq!(taker.take(1, 4), Taken::New);
        assert_eq!(taker.take(2, 2), Taken::Double);
        assert_eq!(taker.take(4, 2), Taken::Gap);
        assert_eq!(taker.take(6, 2), Taken::Gap);
        assert_eq!(taker.take(5, 2), Taken::New);
        assert_eq!(taker.ended(2, 2, Outcome::default()), Tell::Done);
        assert_eq!(taker.ended(2, 1, Outcome::default()), Tell::Nothing);
        let untracked = Outcome {
            untracked: true,
            ..Outcome::default()
        };
        assert!(matches!(taker.ended(5, 1, untracked), Tell::Outcome(_)));
        assert_eq!(position(&taker), (6, vec![1, 4, 5, 6]));
        taker.heard(5);
        assert_eq!(taker.ended(4, 3, Outcome::default()), Tell::Done);
        assert_eq!(position(&taker), (6, vec![1]));
        assert_eq!(taker.unsettled(), 1);
    }
}
