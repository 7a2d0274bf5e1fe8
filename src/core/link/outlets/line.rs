//! What one taker gets: its giver, and behind that who waits until it is let give.

use super::super::{Giver, Made};
use crate::core::turns::{Portion, Turns};

/// What is kept for one taker. What it does not let be given yet waits by client, each of which has its
/// turn: so a later step has what it takes of all of them, and not of one that has much to do.
pub(super) struct Line {
    giver: Giver<Made>,
    /// Whether it is for several clients.
    is_shared: bool,
    behind: Turns<Made>,
    /// What that takes in memory, in bytes.
    behind_bytes: u64,
}

impl Line {
    /// For a client, or a step, which has what is of several.
    pub(super) fn new(is_shared: bool) -> Self {
        Self {
            giver: Giver::new(),
            is_shared,
            behind: Turns::default(),
            behind_bytes: 0,
        }
    }

    /// Adds a message at the end, or a bundle.
    pub(super) fn push(&mut self, item: Made) {
        if !self.is_shared || self.behind.is_empty() && self.giver.waiting() == 0 {
            return self.giver.push(item.size(), item);
        }
        self.behind_bytes += item.size();
        self.behind.push(item);
    }

    /// The next one to send, with its number, if the taker lets it be given. It counts as sent.
    pub(super) fn give(&mut self) -> Option<(u64, &mut Made)> {
        if self.giver.waiting() == 0
            && let Some(next) = self.next_behind()
        {
            self.giver.push(next.size(), next);
        }
        self.giver.give()
    }

    fn next_behind(&mut self) -> Option<Made> {
        // Where there is room for few at a time, each turn is short.
        let portion = Portion {
            in_a_row: 1,
            ..Portion::ANY
        };
        let next = self.behind.next(portion, |_| true)?;
        self.behind_bytes -= next.size();
        Some(next)
    }

    /// The giver itself, for what the taker says of what it was given.
    pub(super) fn giver(&mut self) -> &mut Giver<Made> {
        &mut self.giver
    }

    /// Takes apart what waits: the taker is one that takes no bundles.
    pub(super) fn divide_waiting(&mut self) {
        while let Some(next) = self.next_behind() {
            self.giver.push(next.size(), next);
        }
        self.giver.divide_waiting();
    }

    /// Takes out everything, each with its size.
    pub(super) fn drain(&mut self) -> Vec<(Made, u64)> {
        let mut all = self.giver.drain();
        while let Some(next) = self.next_behind() {
            let size = next.size();
            all.push((next, size));
        }
        all
    }

    /// How many messages are kept.
    pub(super) fn len(&self) -> usize {
        self.giver.len() + self.behind.messages()
    }

    /// How many bytes are kept.
    pub(super) fn bytes(&self) -> u64 {
        self.giver.bytes() + self.behind_bytes
    }

    /// How many messages wait to be given.
    pub(super) fn waiting(&self) -> usize {
        self.giver.waiting() + self.behind.messages()
    }

    /// Whether something waits that the taker does not let be given yet.
    pub(super) fn is_held_up(&self) -> bool {
        self.giver.is_held_up()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::link::Credit;
    use crate::message::{Bundler, Frame};

    fn message(session: &str, payload: &str) -> Made {
        let client = format!("{session}/1");
        let frame = Frame::new("", &client, "s.f", "", payload.as_bytes());
        Made {
            frame,
            ticket: None,
        }
    }

    fn line(messages: u64) -> Line {
        let mut line = Line::new(true);
        line.giver().set_credit(Credit {
            messages,
            bytes: 1 << 20,
        });
        line
    }

    /// What may be given, by number and session.
    fn give(line: &mut Line) -> Vec<(u64, String)> {
        let next = || {
            let (number, made) = line.give()?;
            Some((number, made.frame.session().to_owned()))
        };
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn who_comes_later_has_its_turn_before_all_is_given_of_one_that_has_much() {
        let mut line = line(2);
        for number in 0..50 {
            line.push(message("a", &number.to_string()));
        }
        line.push(message("b", "x"));
        assert_eq!(give(&mut line).len(), 2);
        let mut order = Vec::new();
        for number in 1.. {
            line.giver().done(number, 1, |_, _, _| {}, |_, _| {});
            let given = give(&mut line);
            if given.is_empty() {
                break;
            }
            order.extend(given.into_iter().map(|(_, session)| session));
        }
        assert_eq!(order.len(), 49);
        let place = order.iter().position(|session| session == "b");
        assert!(place.is_some_and(|place| place < 20), "{place:?}");
    }

    #[test]
    fn what_is_behind_counts_and_comes_out() {
        let mut line = line(1);
        let first = message("a", "").frame;
        let mut bundler = Bundler::of_results(&first, 0);
        bundler.push(b"1");
        bundler.push(b"2");
        bundler.push(b"3");
        let bundle = Made {
            frame: bundler.take(),
            ticket: None,
        };
        let mut bytes = 0;
        for made in [
            message("a", "0"),
            message("a", "x"),
            bundle,
            message("b", "4"),
        ] {
            bytes += made.size();
            line.push(made);
            let _ = line.give();
        }
        assert_eq!((line.len(), line.waiting(), line.bytes()), (6, 5, bytes));
        assert!(line.is_held_up());
        line.divide_waiting();
        assert_eq!((line.len(), line.waiting(), line.bytes()), (6, 5, bytes));
        let drained = line.drain();
        assert_eq!(drained.len(), 6);
        assert_eq!(drained.iter().map(|(_, size)| size).sum::<u64>(), bytes);
        assert_eq!((line.len(), line.waiting(), line.bytes()), (0, 0, 0));
    }
}
