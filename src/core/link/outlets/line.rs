//! What one taker gets: its giver, and behind that who waits until it is let give.

use std::collections::HashMap;

use super::super::{Credit, Giver, Made, STEP_LENIENCE};
use crate::core::divide::Divide;
use crate::core::turns::{Portion, Turns};

/// A client has such a part of what a step takes to itself, whoever else there is.
const LEAST: u64 = 128;

/// What is kept for one taker. Of what a client is to get, all is its own. Of what a later step is to
/// get, each client has its share: so one that does not read, of whose messages the step is never done,
/// does not take up all that the step takes.
pub(super) struct Line {
    giver: Giver<Made>,
    shared: Option<Shared>,
}

/// What a step is to get, of several clients.
#[derive(Default)]
struct Shared {
    loads: Loads,
    /// What waits, by client, each of which has its turn.
    behind: Turns<Made>,
    /// What that takes in memory, in bytes.
    behind_bytes: u64,
}

/// What the giver has of each client, and how much the step lets be open of all.
#[derive(Default)]
struct Loads {
    credit: Credit,
    given: HashMap<Box<str>, Load>,
}

#[derive(Clone, Copy, Default)]
struct Load {
    messages: u64,
    bytes: u64,
}

impl Loads {
    /// Whether a client may have more given, while so much is open: as long as it has less than is
    /// left for all others, or less than its least.
    fn have_room(&self, open: Load, session: &str) -> bool {
        let own = self.given.get(session).copied().unwrap_or_default();
        let Credit { messages, bytes } = self.credit;
        let most = |all: u64, open: u64| (all / LEAST).max(all.saturating_sub(open));
        open.messages == 0
            || own.messages < most(messages, open.messages) && own.bytes < most(bytes, open.bytes)
    }

    /// The giver has got this.
    fn add(&mut self, made: &Made, size: u64) {
        let session = made.frame.session();
        if !self.given.contains_key(session) {
            self.given.insert(session.into(), Load::default());
        }
        if let Some(load) = self.given.get_mut(session) {
            load.messages += made.count() as u64;
            load.bytes += size;
        }
    }

    /// The giver has it no more.
    fn remove(&mut self, made: &Made, size: u64) {
        let session = made.frame.session();
        if let Some(load) = self.given.get_mut(session) {
            load.messages = load.messages.saturating_sub(made.count() as u64);
            load.bytes = load.bytes.saturating_sub(size);
            if load.messages == 0 {
                self.given.remove(session);
            }
        }
    }
}

impl Shared {
    /// The next one that waits and that `may` be given.
    fn next(&mut self, may: impl Fn(&Loads, &str) -> bool) -> Option<Made> {
        // Where there is room for few at a time, each turn is short.
        let portion = Portion {
            in_a_row: 1,
            ..Portion::ANY
        };
        let next = self
            .behind
            .next(portion, |session| may(&self.loads, session))?;
        self.behind_bytes -= next.size();
        Some(next)
    }
}

impl Line {
    /// For a client, or a step, which has what is of several.
    pub(super) fn new(is_shared: bool) -> Self {
        Self {
            giver: Giver::new(),
            shared: is_shared.then(Shared::default),
        }
    }

    /// How much the taker lets be open at once.
    pub(super) fn set_credit(&mut self, credit: Credit) {
        let Some(shared) = &mut self.shared else {
            return self.giver.set_credit(credit);
        };
        shared.loads.credit = credit;
        // What each client has at the least is beside that.
        self.giver.set_credit(Credit {
            messages: credit.messages.saturating_mul(STEP_LENIENCE),
            bytes: credit.bytes.saturating_mul(STEP_LENIENCE),
        });
    }

    /// Adds a message at the end, or a bundle.
    pub(super) fn push(&mut self, item: Made) {
        let size = item.size();
        let (open, is_next) = (self.open(), self.giver.waiting() == 0);
        if let Some(shared) = &mut self.shared {
            let is_next = is_next && shared.behind.is_empty();
            if !is_next || !shared.loads.have_room(open, item.frame.session()) {
                shared.behind_bytes += size;
                return shared.behind.push(item);
            }
            shared.loads.add(&item, size);
        }
        self.giver.push(size, item);
    }

    fn open(&self) -> Load {
        let (messages, bytes) = self.giver.given();
        Load { messages, bytes }
    }

    /// The next one to send, with its number, if the taker lets it be given. It counts as sent.
    pub(super) fn give(&mut self) -> Option<(u64, &mut Made)> {
        if self.giver.waiting() == 0 {
            let open = self.open();
            self.take_from_behind(|loads, session| loads.have_room(open, session));
        }
        self.giver.give()
    }

    /// Gives the giver the next one that waits and `may` be given. Whether there was one.
    fn take_from_behind(&mut self, may: impl Fn(&Loads, &str) -> bool) -> bool {
        let next = self.shared.as_mut().and_then(|shared| {
            let next = shared.next(may)?;
            shared.loads.add(&next, next.size());
            Some(next)
        });
        let Some(next) = next else { return false };
        self.giver.push(next.size(), next);
        true
    }

    /// So many messages are done: see [`Giver::done`].
    pub(super) fn done(
        &mut self,
        number: u64,
        count: usize,
        part: impl FnMut(&Made, usize, usize),
        whole: impl FnMut(Made, u64),
    ) {
        self.giver
            .done(number, count, part, noting(&mut self.shared, whole));
    }

    /// One is done, by itself: see [`Giver::done_alone`].
    pub(super) fn done_alone(
        &mut self,
        number: u64,
        whole: impl FnMut(Made, u64),
    ) -> Option<(Made, u64)> {
        let (alone, size) = self
            .giver
            .done_alone(number, noting(&mut self.shared, whole))?;
        if let Some(shared) = &mut self.shared {
            shared.loads.remove(&alone, size);
        }
        Some((alone, size))
    }

    /// The taker is there again: see [`Giver::resume`].
    pub(super) fn resume(
        &mut self,
        received: u64,
        open: impl IntoIterator<Item = u64>,
        part: impl FnMut(&Made, usize, usize),
        whole: impl FnMut(Made, u64),
    ) {
        self.giver
            .resume(received, open, part, noting(&mut self.shared, whole));
    }

    /// The taker knows nothing of what it was given: see [`Giver::restart`].
    pub(super) fn restart(&mut self, whole: impl FnMut(Made, u64)) {
        self.giver.restart(noting(&mut self.shared, whole));
    }

    /// Takes apart what waits: the taker is one that takes no bundles.
    pub(super) fn divide_waiting(&mut self) {
        while self.take_from_behind(|_, _| true) {}
        self.giver.divide_waiting();
    }

    /// Takes out everything, each with its size.
    pub(super) fn drain(&mut self) -> Vec<(Made, u64)> {
        while self.take_from_behind(|_, _| true) {}
        self.shared
            .iter_mut()
            .for_each(|shared| shared.loads.given.clear());
        self.giver.drain()
    }

    /// How many messages are kept.
    pub(super) fn len(&self) -> usize {
        self.giver.len() + self.behind()
    }

    /// How many messages wait behind the giver.
    fn behind(&self) -> usize {
        let shared = self.shared.as_ref();
        shared.map_or(0, |shared| shared.behind.messages())
    }

    /// How many bytes are kept.
    pub(super) fn bytes(&self) -> u64 {
        let behind = self.shared.as_ref().map_or(0, |shared| shared.behind_bytes);
        self.giver.bytes() + behind
    }

    /// How many of that are of this client, if there are several.
    pub(super) fn bytes_of(&self, session: &str) -> u64 {
        let Some(shared) = &self.shared else { return 0 };
        let given = shared.loads.given.get(session).map_or(0, |load| load.bytes);
        given + shared.behind.bytes_of(session)
    }

    /// How many messages wait to be given.
    pub(super) fn waiting(&self) -> usize {
        self.giver.waiting() + self.behind()
    }

    /// Whether something waits that the taker does not let be given yet, whatever client's it is.
    pub(super) fn is_held_up(&self) -> bool {
        self.giver.is_held_up()
    }

    /// How many messages wait of each client that has its share given.
    pub(super) fn behind_by_client(&self) -> impl Iterator<Item = (&str, usize)> {
        let shared = self.shared.iter();
        shared.flat_map(|shared| shared.behind.counts())
    }
}

/// What is told of what the giver has no more, noting it.
fn noting(shared: &mut Option<Shared>, mut whole: impl FnMut(Made, u64)) -> impl FnMut(Made, u64) {
    move |made, size| {
        if let Some(shared) = shared {
            shared.loads.remove(&made, size);
        }
        whole(made, size);
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
        line.set_credit(Credit {
            messages,
            bytes: 1 << 30,
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

    fn done(line: &mut Line, number: u64, count: usize) {
        line.done(number, count, |_, _, _| {}, |_, _| {});
    }

    /// How many of each session may be given: of `a`, and of `b`.
    fn given(line: &mut Line) -> (usize, usize) {
        let given = give(line);
        let of = |name| given.iter().filter(|(_, session)| session == name).count();
        (of("a"), of("b"))
    }

    #[test]
    fn of_whom_nothing_is_ever_done_takes_up_half_of_what_is_left_to_all() {
        let mut line = line(1_024);
        let push = |line: &mut Line, session: &str| {
            (0..2_000).for_each(|_| line.push(message(session, "")));
        };
        push(&mut line, "a");
        assert_eq!(given(&mut line), (512, 0));
        push(&mut line, "b");
        assert_eq!(given(&mut line), (0, 256));
        assert_eq!(
            Vec::from_iter(line.behind_by_client()),
            [("a", 1_488), ("b", 1_744)]
        );
        // What is done of one makes room for that one, and for both.
        done(&mut line, 513, 100);
        assert_eq!(given(&mut line), (0, 100));
        done(&mut line, 1, 300);
        assert_eq!(given(&mut line), (122, 100));
        // It comes back with nothing: all of it is given again, as far as it lets be open.
        line.restart(|_, _| {});
        assert_eq!(given(&mut line), (334, 356));
        assert_eq!(given(&mut line), (0, 0));
        line.resume(0, [], |_, _, _| {}, |_, _| {});
        assert_eq!(given(&mut line), (334, 356));
        // When all is done, nothing is known of anybody.
        for number in (1..).step_by(100) {
            if line.len() == 0 {
                break;
            }
            done(&mut line, number, 100);
            given(&mut line);
        }
        assert_eq!((line.len(), line.bytes()), (0, 0));
        assert!(
            line.shared
                .is_some_and(|shared| shared.loads.given.is_empty())
        );
    }

    #[test]
    fn however_many_have_taken_their_share_there_is_some_for_the_next() {
        let mut line = line(1_024);
        let mut open = 0;
        for number in 0..256 {
            let session = format!("s{number}");
            (0..2_000).for_each(|_| line.push(message(&session, "")));
            let given = give(&mut line).len();
            assert!(given >= 4, "{given} for the one at {number}");
            open += given;
        }
        assert!(open < 1_024 * STEP_LENIENCE as usize, "{open}");
    }

    #[test]
    fn who_comes_later_has_its_turn_before_all_is_given_of_one_that_has_much() {
        let mut line = line(4);
        for number in 0..50 {
            line.push(message("a", &number.to_string()));
        }
        assert_eq!(give(&mut line).len(), 2);
        (0..5).for_each(|_| line.push(message("b", "x")));
        line.push(message("c", "x"));
        let mut order = Vec::new();
        for number in 1..=56 {
            let given = give(&mut line);
            order.extend(given.into_iter().map(|(_, session)| session));
            done(&mut line, number, 1);
        }
        assert_eq!(order.len(), 54);
        let place = order.iter().position(|session| session == "c");
        assert!(place.is_some_and(|place| place < 10), "{place:?}");
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
        line.divide_waiting();
        assert_eq!((line.len(), line.waiting(), line.bytes()), (6, 5, bytes));
        let drained = line.drain();
        assert_eq!(drained.len(), 6);
        assert_eq!(drained.iter().map(|(_, size)| size).sum::<u64>(), bytes);
        assert_eq!((line.len(), line.waiting(), line.bytes()), (0, 0, 0));
    }
}
