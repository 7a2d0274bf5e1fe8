//! What one taker gets: its giver, and behind that who waits until it is let give.

use std::collections::HashMap;

use super::super::{Credit, Giver, Made, STEP_LENIENCE};
use crate::core::divide::Divide;
use crate::core::turns::{Portion, Turns, Waits};
use crate::message::Frame;

/// A client has such a part of what a step takes to itself, whoever else there is, and one message.
const LEAST: u64 = 128;

/// How much may be given, as a multiple of the credit, when many clients have their least: the step bears
/// with a little more.
const MOST: u64 = STEP_LENIENCE - 1;

/// No more of what a step takes is given as one bundle than such a part.
const PARTS: u64 = 4;

/// What is kept for one taker. Of what a client is to get, all is its own. Of what a later step is to
/// get, each client has its share: so one that does not read, of whose messages the step is never done,
/// does not take up all that the step takes.
pub(super) struct Line {
    giver: Giver<Made>,
    shared: Option<Shared>,
}

/// What a step is to get, of several clients. Its giver has what is given, and nothing that waits but
/// what is about to be.
#[derive(Default)]
struct Shared {
    loads: Loads,
    /// What waits, by client, each of which has its turn.
    behind: Turns<Behind>,
}

/// A message that waits, or a bundle, and what it counts for in bytes: taken apart, for as many as
/// before.
struct Behind {
    made: Made,
    size: u64,
}

impl Behind {
    fn new(made: Made) -> Self {
        let size = made.size();
        Self { made, size }
    }
}

impl Divide for Behind {
    fn is_tracked(&self) -> bool {
        self.made.is_tracked()
    }

    fn count(&self) -> usize {
        self.made.count()
    }

    fn split_off(&mut self, count: usize) -> Self {
        let all = self.count();
        let size = self.size / all as u64 * (all - count) as u64;
        self.size -= size;
        let made = self.made.split_off(count);
        Self { made, size }
    }

    fn singles(self) -> impl ExactSizeIterator<Item = Self> {
        let (count, mut size) = (self.count(), self.size);
        self.made.singles().enumerate().map(move |(at, made)| {
            let share = size / (count - at) as u64;
            size -= share;
            Self { made, size: share }
        })
    }
}

impl Waits for Behind {
    fn session(&self) -> &str {
        self.made.frame.session()
    }

    fn frame(&self) -> &Frame {
        &self.made.frame
    }

    fn bytes(&self) -> u64 {
        self.size
    }
}

/// What is kept of each client, and how much the step lets be open of all.
#[derive(Default)]
struct Loads {
    credit: Credit,
    of: HashMap<Box<str>, Load>,
}

/// What is kept of one.
#[derive(Clone, Copy, Default)]
struct Load {
    /// All of it, in bytes.
    bytes: u64,
    given: Given,
}

/// How much is given, and not done.
#[derive(Clone, Copy, Default)]
struct Given {
    messages: u64,
    bytes: u64,
}

impl Loads {
    /// Whether a client may have this given, while so much is in all: as long as it has no more by that
    /// than is left for the others, or than its least. One it always may have.
    fn have_room(&self, all: Given, next: &Behind) -> bool {
        let own = self.of.get(next.session()).map(|load| load.given);
        let own = own.unwrap_or_default();
        let fits = |own: u64, all: u64, credit: u64| {
            let most = (credit / LEAST).max(credit.saturating_sub(all));
            own <= most && all < credit.saturating_mul(MOST)
        };
        let Credit { messages, bytes } = self.credit;
        own.messages == 0
            || fits(own.messages + 1, all.messages, messages)
                && fits(own.bytes + next.size, all.bytes, bytes)
    }

    fn add(&mut self, session: &str, size: u64) {
        match self.of.get_mut(session) {
            Some(load) => load.bytes += size,
            None => {
                let given = Given::default();
                self.of.insert(session.into(), Load { bytes: size, given });
            }
        }
    }

    /// The giver has got this, which was kept before.
    fn note_given(&mut self, made: &Made, size: u64) {
        if let Some(load) = self.of.get_mut(made.frame.session()) {
            load.given.messages += made.count() as u64;
            load.given.bytes += size;
        }
    }

    /// The giver has it no more, and it waits again.
    fn note_not_given(&mut self, made: &Made, size: u64) {
        if let Some(load) = self.of.get_mut(made.frame.session()) {
            let Given { messages, bytes } = &mut load.given;
            *messages = messages.saturating_sub(made.count() as u64);
            *bytes = bytes.saturating_sub(size);
        }
    }

    /// The giver has it no more, and it is not kept either.
    fn note_gone(&mut self, made: &Made, size: u64) {
        self.note_not_given(made, size);
        let session = made.frame.session();
        if let Some(load) = self.of.get_mut(session) {
            load.bytes = load.bytes.saturating_sub(size);
            if load.bytes == 0 {
                self.of.remove(session);
            }
        }
    }
}

impl Shared {
    /// How many messages of a bundle are given together: no more than such a part of what may be open.
    fn at_once(&self) -> usize {
        let part = usize::try_from(self.loads.credit.messages / PARTS);
        part.map_or(usize::MAX, |part| part.max(1))
    }

    /// The next one that waits and may be given, while so much is.
    fn next(&mut self, given: Given) -> Option<Behind> {
        let portion = Portion {
            at_once: self.at_once(),
            // Where there is room for few at a time, each turn is short.
            in_a_row: 1,
        };
        let loads = &self.loads;
        let may = |next: &Behind| loads.have_room(given, next);
        let next = self.behind.next(portion, may)?;
        self.loads.note_given(&next.made, next.size);
        Some(next)
    }

    /// All that waits, in turn.
    fn take_behind(&mut self) -> Vec<Behind> {
        std::iter::from_fn(|| self.behind.next(Portion::ANY, |_| true)).collect()
    }

    /// What the giver had, and is to give again, waits before what else there is of each client.
    fn wait_again(&mut self, waiting: Vec<(Made, u64)>) {
        if waiting.is_empty() {
            return;
        }
        let later = self.take_behind();
        for (made, size) in waiting {
            self.loads.note_not_given(&made, size);
            self.behind.push(Behind { made, size });
        }
        later.into_iter().for_each(|later| self.behind.push(later));
    }
}

impl Line {
    /// For a client, or a step, which has what is of several.
    pub(super) fn new(is_shared: bool) -> Self {
        let mut giver = Giver::new();
        if is_shared {
            // What may be given is seen to before that.
            giver.set_credit(Credit {
                messages: u64::MAX,
                bytes: u64::MAX,
            });
        }
        Self {
            giver,
            shared: is_shared.then(Shared::default),
        }
    }

    /// How much the taker lets be open at once.
    pub(super) fn set_credit(&mut self, credit: Credit) {
        match &mut self.shared {
            Some(shared) => shared.loads.credit = credit,
            None => self.giver.set_credit(credit),
        }
    }

    /// Adds a message at the end, or a bundle.
    pub(super) fn push(&mut self, item: Made) {
        let (given, is_next) = (self.given(), self.giver.waiting() == 0);
        let item = Behind::new(item);
        if let Some(shared) = &mut self.shared {
            let session = item.session();
            shared.loads.add(session, item.size);
            let is_next = is_next && shared.behind.is_empty() && item.count() <= shared.at_once();
            if !is_next || !shared.loads.have_room(given, &item) {
                return shared.behind.push(item);
            }
            shared.loads.note_given(&item.made, item.size);
        }
        self.giver.push(item.size, item.made);
    }

    fn given(&self) -> Given {
        let (messages, bytes) = self.giver.given();
        Given { messages, bytes }
    }

    /// The next one to send, with its number, if the taker lets it be given. It counts as sent.
    pub(super) fn give(&mut self) -> Option<(u64, &mut Made)> {
        if self.giver.waiting() == 0 {
            let given = self.given();
            let next = self.shared.as_mut().and_then(|shared| shared.next(given));
            if let Some(Behind { made, size }) = next {
                self.giver.push(size, made);
            }
        }
        self.giver.give()
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
        let whole = noting(&mut self.shared, whole);
        let (alone, size) = self.giver.done_alone(number, whole)?;
        if let Some(shared) = &mut self.shared {
            shared.loads.note_gone(&alone, size);
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
        self.wait_again();
    }

    /// The taker knows nothing of what it was given: see [`Giver::restart`].
    pub(super) fn restart(&mut self, whole: impl FnMut(Made, u64)) {
        self.giver.restart(noting(&mut self.shared, whole));
        self.wait_again();
    }

    fn wait_again(&mut self) {
        if let Some(shared) = &mut self.shared {
            shared.wait_again(self.giver.take_waiting());
        }
    }

    /// Takes apart what waits: the taker is one that takes no bundles.
    pub(super) fn divide_waiting(&mut self) {
        if let Some(shared) = &mut self.shared {
            let all = shared.take_behind().into_iter();
            all.flat_map(Behind::singles)
                .for_each(|single| shared.behind.push(single));
        }
        self.giver.divide_waiting();
    }

    /// Takes out everything, each with its size.
    pub(super) fn drain(&mut self) -> Vec<(Made, u64)> {
        let mut all = self.giver.drain();
        if let Some(shared) = &mut self.shared {
            let behind = shared.take_behind().into_iter();
            all.extend(behind.map(|Behind { made, size }| (made, size)));
            shared.loads.of.clear();
        }
        all
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
        let shared = self.shared.as_ref();
        self.giver.bytes() + shared.map_or(0, |shared| shared.behind.bytes())
    }

    /// How many of that are of this client, if there are several.
    pub(super) fn bytes_of(&self, session: &str) -> u64 {
        let shared = self.shared.as_ref();
        let load = shared.and_then(|shared| shared.loads.of.get(session));
        load.map_or(0, |load| load.bytes)
    }

    /// How many clients something is kept of, if it is of several.
    pub(super) fn clients(&self) -> usize {
        let shared = self.shared.as_ref();
        shared.map_or(0, |shared| shared.loads.of.len())
    }

    /// How many bytes are kept of each of them.
    pub(super) fn bytes_by_client(&self) -> impl Iterator<Item = (&str, u64)> {
        let loads = self.shared.iter().flat_map(|shared| &shared.loads.of);
        loads.map(|(session, load)| (&**session, load.bytes))
    }

    /// How many messages wait to be given.
    pub(super) fn waiting(&self) -> usize {
        self.giver.waiting() + self.behind()
    }

    /// Whether something waits that the taker, who has what is of one, does not let be given yet.
    pub(super) fn is_held_up(&self) -> bool {
        self.giver.is_held_up()
    }

    /// How many messages wait of each client that has its share given.
    pub(super) fn behind_by_client(&self) -> impl Iterator<Item = (&str, usize)> {
        let given = self.given();
        let shared = self.shared.iter();
        shared.flat_map(move |shared| {
            let waiting = shared.behind.waiting();
            let held_up = waiting.filter(move |(next, _)| !shared.loads.have_room(given, next));
            held_up.map(|(next, messages)| (next.session(), messages))
        })
    }
}

/// What is told of what the giver has no more, noting it.
fn noting(shared: &mut Option<Shared>, mut whole: impl FnMut(Made, u64)) -> impl FnMut(Made, u64) {
    move |made, size| {
        if let Some(shared) = shared {
            shared.loads.note_gone(&made, size);
        }
        whole(made, size);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Bundler;

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
        // It comes back with nothing: all is given again, to each its share.
        line.restart(|_, _| {});
        assert_eq!(given(&mut line), (342, 341));
        assert_eq!(given(&mut line), (0, 0));
        line.resume(0, [], |_, _, _| {}, |_, _| {});
        assert_eq!(given(&mut line), (342, 341));
        // When all is done, nothing is known of anybody.
        for number in (1..).step_by(100) {
            if line.len() == 0 {
                break;
            }
            done(&mut line, number, 100);
            given(&mut line);
        }
        assert_eq!((line.len(), line.bytes()), (0, 0));
        assert!(line.shared.is_some_and(|shared| shared.loads.of.is_empty()));
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
        assert!(open <= 1_024 + 256 * 9, "{open}");
    }

    #[test]
    fn one_message_of_each_client_is_given_however_large_it_is() {
        let mut line = Line::new(true);
        line.set_credit(Credit {
            messages: 1_000,
            bytes: 10_000,
        });
        let large = "x".repeat(50_000);
        for session in ["a", "b", "c", "d", "e"] {
            line.push(message(session, &large));
            line.push(message(session, &large));
            assert_eq!(give(&mut line).len(), 1, "{session}");
        }
        line.push(message("f", ""));
        line.push(message("f", ""));
        assert_eq!(give(&mut line).len(), 1);
        // What is given is what counts, and what is kept of each.
        let sum: u64 = line.bytes_by_client().map(|(_, bytes)| bytes).sum();
        assert_eq!(
            (line.bytes(), line.bytes_of("f")),
            (sum, 2 * message("f", "").size())
        );
        assert_eq!(line.behind_by_client().count(), 6);
        done(&mut line, 6, 1);
        assert_eq!(give(&mut line).len(), 1);
        // A taker of no bundles takes nobody's share.
        line.divide_waiting();
        assert_eq!((line.waiting(), give(&mut line).len()), (5, 0));
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
        assert_eq!((line.len(), line.waiting(), line.bytes()), (6, 4, bytes));
        line.divide_waiting();
        assert_eq!((line.len(), line.waiting(), line.bytes()), (6, 4, bytes));
        let drained = line.drain();
        assert_eq!(drained.len(), 6);
        assert_eq!(drained.iter().map(|(_, size)| size).sum::<u64>(), bytes);
        assert_eq!((line.len(), line.waiting(), line.bytes()), (0, 0, 0));
    }
}
