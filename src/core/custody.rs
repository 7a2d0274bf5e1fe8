//! Who answers for a message within a component.
//!
//! Whoever takes a message in from a palm peer answers for it until it is done: until all that
//! came of it has been taken over by others, or has come to its end here. Each piece that is on
//! its way through the component carries a [`Ticket`]; whoever makes several of one splits it.
//! When the last piece is settled, the [`Ledger`] has the number of the message, and its sender
//! can be told.
//!
//! A ticket that is dropped without being settled says that its piece was lost, as it is when a
//! part dies or a stop comes too soon for it. Its message is never done then, and its sender
//! gives it to somebody else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use crate::message::{Failure, Frame};

/// What is settled, and not told yet.
pub(crate) struct Ledger {
    untold: Mutex<Untold>,
    /// Is told of each entry.
    tell: Box<dyn Fn(Entered) + Send + Sync>,
}

#[derive(Default)]
struct Untold {
    settled: Vec<Settled>,
    messages: usize,
}

/// What is in a ledger, with what was entered just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entered {
    /// Whether it was empty before.
    pub(crate) is_first: bool,
    /// How many messages are settled, and not taken.
    pub(crate) messages: usize,
}

/// A message all of whose pieces are settled; or some that follow each other, of which nothing is
/// to be told but that.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Settled {
    /// Which stream it came by.
    pub(crate) stream: u64,
    /// Its number there, or that of the first of them.
    pub(crate) number: u64,
    /// How many they are.
    pub(crate) count: usize,
    pub(crate) result: Outcome,
    /// Whether its sender was told so by [`Ticket::completes`].
    pub(crate) told: bool,
}

/// How a message ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Outcome {
    /// Whether a piece was lost: then it is not done.
    pub(crate) lost: bool,
    /// Whether a piece went to where nobody says what becomes of it.
    pub(crate) untracked: bool,
    /// Pieces that could be given to nobody: the path of each, and why.
    pub(crate) failed: Vec<(Vec<u8>, Failure)>,
}

impl Outcome {
    /// Whether there is nothing to tell but that it is done.
    pub(crate) fn is_plain(&self) -> bool {
        *self == Self::default()
    }
}

impl Ledger {
    /// A ledger; `wake` is called when there is something in it.
    pub(crate) fn new(wake: impl Fn() + Send + Sync + 'static) -> Arc<Self> {
        Self::telling(move |Entered { is_first, .. }| {
            if is_first {
                wake();
            }
        })
    }

    /// A ledger that tells of each entry.
    pub(crate) fn telling(tell: impl Fn(Entered) + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            untold: Mutex::default(),
            tell: Box::new(tell),
        })
    }

    /// The ticket for a message that has been taken in.
    #[cfg(test)]
    pub(crate) fn ticket(self: &Arc<Self>, stream: u64, number: u64) -> Ticket {
        self.ticket_for(stream, number, 1)
    }

    /// The ticket for so many messages that have been taken in together, and have numbers from
    /// this one on: for a bundle.
    pub(crate) fn ticket_for(self: &Arc<Self>, stream: u64, number: u64, count: usize) -> Ticket {
        let whole = Whole {
            ledger: self.clone(),
            stream,
            number,
            count,
            told: false,
        };
        Ticket(Some(Charge::Whole(whole)))
    }

    /// All that is settled since the last call, in that order.
    pub(crate) fn take(&self) -> Vec<Settled> {
        std::mem::take(&mut *self.untold.lock()).settled
    }

    /// Whether there is nothing to take.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.untold.lock().settled.is_empty()
    }

    fn enter(&self, settled: Settled) {
        let mut untold = self.untold.lock();
        let is_first = untold.settled.is_empty();
        untold.messages += settled.count;
        untold.settled.push(settled);
        let messages = untold.messages;
        drop(untold);
        (self.tell)(Entered { is_first, messages });
    }
}

/// A message that is not done, or some that follow each other.
struct Whole {
    ledger: Arc<Ledger>,
    stream: u64,
    number: u64,
    count: usize,
    told: bool,
}

impl Whole {
    fn ended(&self, result: Outcome) {
        self.ledger.enter(Settled {
            stream: self.stream,
            number: self.number,
            count: self.count,
            result,
            told: self.told,
        });
    }
}

/// What the pieces of a message have in common, as long as one of them is on its way.
struct Pieces {
    whole: Whole,
    lost: AtomicBool,
    more: Mutex<Outcome>,
}

impl Drop for Pieces {
    fn drop(&mut self) {
        let mut result = std::mem::take(&mut *self.more.lock());
        result.lost = *self.lost.get_mut();
        self.whole.ended(result);
    }
}

/// Most messages stay one piece, which costs less.
enum Charge {
    Whole(Whole),
    Piece(Arc<Pieces>),
}

/// A piece of a message that is not done. Without a charge it is settled.
#[must_use]
pub(crate) struct Ticket(Option<Charge>);

impl Ticket {
    /// Nothing is to be done with this piece any more: others answer for what came of it.
    pub(crate) fn done(self) {
        self.ended(Outcome::default());
    }

    /// This piece, which stood at `path`, could be given to nobody.
    pub(crate) fn failed(self, path: &[u8], failure: Failure) {
        self.ended(Outcome {
            failed: vec![(path.to_vec(), failure)],
            ..Outcome::default()
        });
    }

    /// This piece has gone to where nobody says what becomes of it.
    pub(crate) fn untracked(self) {
        self.ended(Outcome {
            untracked: true,
            ..Outcome::default()
        });
    }

    /// Whoever had taken this piece over is done with it, and has this to tell.
    pub(crate) fn ended(mut self, outcome: Outcome) {
        if outcome.lost {
            return;
        }
        match self.0.take() {
            Some(Charge::Whole(whole)) => whole.ended(outcome),
            Some(Charge::Piece(pieces)) if !outcome.is_plain() => {
                let mut more = pieces.more.lock();
                more.untracked |= outcome.untracked;
                more.failed.extend(outcome.failed);
            }
            _ => {}
        }
    }

    /// If nothing is left of a message of this stream but this piece, which is about to be given
    /// to its sender: the message's number, by which the sender is told that it is done with the
    /// piece. Of a bundle, the number of its first message, and how many they are.
    pub(crate) fn completes(&mut self, stream: u64) -> Option<(u64, usize)> {
        let whole = match self.0.as_mut()? {
            Charge::Whole(whole) => whole,
            Charge::Piece(pieces) if planted!(CompleteTooEarly) => {
                let Whole {
                    stream: of,
                    number,
                    count,
                    ..
                } = pieces.whole;
                return (of == stream).then_some((number, count));
            }
            Charge::Piece(pieces) => {
                let pieces = Arc::get_mut(pieces)?;
                let is_plain = !*pieces.lost.get_mut() && pieces.more.get_mut().is_plain();
                Some(&mut pieces.whole).filter(|_| is_plain)?
            }
        };
        if whole.stream != stream {
            return None;
        }
        whole.told = true;
        Some((whole.number, whole.count))
    }

    /// So many messages of the bundle that this is for are done, from the one at this place on: the
    /// others are not. When all are, it [is over](Self::over).
    pub(crate) fn part_done(&self, place: usize, count: usize) {
        if let Some(Charge::Whole(whole)) = &self.0 {
            whole.ledger.enter(Settled {
                stream: whole.stream,
                number: whole.number + place as u64,
                count,
                result: Outcome::default(),
                told: whole.told,
            });
        }
    }

    /// All messages of the bundle that this is for are known to be done.
    pub(crate) fn over(mut self) {
        self.0 = None;
    }

    /// Takes the ticket of a bundle apart: this one is for its first `count` messages from now on.
    /// Gives that for the others.
    pub(crate) fn split_off(&mut self, count: usize) -> Self {
        let Some(Charge::Whole(whole)) = &mut self.0 else {
            // Cannot be: bundles are taken apart before several pieces are made of them. But then
            // all is done when both are.
            return self.split();
        };
        let rest = Whole {
            ledger: whole.ledger.clone(),
            stream: whole.stream,
            number: whole.number + count as u64,
            count: whole.count - count,
            told: whole.told,
        };
        whole.count = count;
        Self(Some(Charge::Whole(rest)))
    }

    /// The ticket of another piece.
    pub(crate) fn split(&mut self) -> Self {
        let pieces = self.0.take().map(|charge| match charge {
            Charge::Piece(pieces) => pieces,
            Charge::Whole(whole) => Arc::new(Pieces {
                whole,
                lost: AtomicBool::new(false),
                more: Mutex::default(),
            }),
        });
        self.0 = pieces.clone().map(Charge::Piece);
        Self(pieces.map(Charge::Piece))
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        match &self.0 {
            None => {}
            Some(Charge::Whole(whole)) => whole.ended(Outcome {
                lost: true,
                ..Outcome::default()
            }),
            Some(Charge::Piece(pieces)) => pieces.lost.store(true, Ordering::Relaxed),
        }
    }
}

/// What two threads of a component answer for together: each has it for a moment.
#[derive(Default)]
pub(crate) struct Shared<T>(Mutex<T>);

impl<T> Shared<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    /// Does something with it, which must be quick, and not ask for it again.
    pub(crate) fn with<R>(&self, act: impl FnOnce(&mut T) -> R) -> R {
        act(&mut self.0.lock())
    }
}

/// What is on its way through a component: a message, and who answers for it.
pub(crate) trait Piece {
    fn frame_mut(&mut self) -> &mut Frame;
    fn set_ticket(&mut self, ticket: Ticket);
}

/// Gives each of the pieces that were made of a message its position, if there are several, and
/// its ticket. If there are none, that is the message's end.
pub(crate) fn share<'a, P: Piece + 'a>(
    ticket: Option<Ticket>,
    pieces: impl ExactSizeIterator<Item = &'a mut P>,
) {
    let mut shares = Shares::new(ticket, pieces.len());
    pieces.for_each(|piece| shares.give(piece));
}

/// The same, one piece after another.
pub(crate) struct Shares {
    ticket: Option<Ticket>,
    count: usize,
    next: usize,
}

impl Shares {
    /// For so many pieces.
    pub(crate) fn new(ticket: Option<Ticket>, count: usize) -> Self {
        let mut shares = Self {
            ticket,
            count,
            next: 0,
        };
        if count == 0
            && let Some(ticket) = shares.ticket.take()
        {
            ticket.done();
        }
        shares
    }

    pub(crate) fn give<P: Piece>(&mut self, piece: &mut P) {
        if self.count > 1 {
            piece.frame_mut().add_position(self.next as u64);
        }
        self.next += 1;
        let own = match self.next == self.count {
            true => self.ticket.take(),
            false => self.ticket.as_mut().map(Ticket::split),
        };
        if let Some(own) = own {
            piece.set_ticket(own);
        }
    }
}

/// Where a message stood that a hook makes others of: they stand there too, whatever the hook
/// made them of. (One that it has kept from before stood elsewhere, but that is over.)
pub(crate) struct Stand {
    client: String,
    number: u64,
    path: Vec<u8>,
}

impl Stand {
    pub(crate) fn of(frame: &Frame) -> Option<Self> {
        let place = frame.place()?;
        Some(Self {
            client: frame.client().to_owned(),
            number: place.number,
            path: place.path.to_vec(),
        })
    }

    /// Puts a message there, if it is of the same job. One of another job stands nowhere.
    pub(crate) fn take_in(&self, frame: &mut Frame) {
        let same = frame.client() == self.client;
        let stands = frame.place();
        let is_there = stands
            .is_some_and(|place| place.number == self.number && place.path == self.path.as_slice());
        if !same && stands.is_some() {
            frame.clear_place();
        }
        if same && !is_there {
            frame.set_place(self.number, &self.path);
        }
    }
}

impl std::fmt::Debug for Ticket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            None => f.write_str("Ticket(settled)"),
            Some(charge) => {
                let Whole { stream, number, .. } = match charge {
                    Charge::Whole(whole) => whole,
                    Charge::Piece(pieces) => &pieces.whole,
                };
                write!(f, "Ticket({stream}/{number})")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::FailureKind;

    fn ledger() -> Arc<Ledger> {
        Ledger::new(|| {})
    }

    #[test]
    fn a_message_is_done_when_its_last_piece_is() {
        let ledger = ledger();
        let mut ticket = ledger.ticket(1, 7);
        let other = ticket.split();
        ticket.done();
        assert!(ledger.is_empty());
        other.done();
        let settled = ledger.take();
        assert_eq!((settled[0].stream, settled[0].number), (1, 7));
        assert!(settled[0].result.is_plain());
        assert!(ledger.is_empty());
    }

    #[test]
    fn only_the_last_piece_of_a_message_completes_it() {
        let ledger = ledger();
        let mut ticket = ledger.ticket(1, 7);
        let other = ticket.split();
        assert_eq!(ticket.completes(1), None);
        other.done();
        assert_eq!(ticket.completes(2), None);
        assert_eq!(ticket.completes(1), Some((7, 1)));
        ticket.done();
        assert!(ledger.take()[0].told);
    }

    #[test]
    fn a_piece_completes_nothing_of_which_there_is_something_to_tell() {
        let ledger = ledger();
        let mut ticket = ledger.ticket(1, 7);
        ticket.split().untracked();
        assert_eq!(ticket.completes(1), None);
        ticket.done();
        let mut ticket = ledger.ticket(1, 8);
        drop(ticket.split());
        assert_eq!(ticket.completes(1), None);
        ticket.done();
        assert!(ledger.take().iter().all(|settled| !settled.told));
    }

    #[test]
    fn the_messages_of_a_bundle_are_answered_for_together_or_apart() {
        let ledger = ledger();
        let mut ticket = ledger.ticket_for(1, 7, 5);
        let mut rest = ticket.split_off(2);
        assert_eq!(rest.completes(1), Some((9, 3)));
        rest.split_off(2).done();
        ticket.done();
        drop(rest);
        let settled = ledger.take();
        let told: Vec<_> = settled
            .iter()
            .map(|of| (of.number, of.count, of.result.lost))
            .collect();
        assert_eq!(told, [(11, 1, false), (7, 2, false), (9, 2, true)]);
    }

    #[test]
    fn the_messages_of_a_bundle_that_stays_one_are_done_part_by_part() {
        let ledger = ledger();
        let ticket = ledger.ticket_for(1, 7, 5);
        ticket.part_done(3, 2);
        ticket.part_done(0, 3);
        ticket.over();
        let settled = ledger.take();
        let told: Vec<_> = settled.iter().map(|of| (of.number, of.count)).collect();
        assert_eq!(told, [(10, 2), (7, 3)]);
    }

    #[test]
    fn a_message_with_a_lost_piece_is_not_done() {
        let ledger = ledger();
        let mut ticket = ledger.ticket(1, 7);
        drop(ticket.split());
        ticket.done();
        assert!(ledger.take()[0].result.lost);
    }

    #[test]
    fn what_there_is_to_tell_of_all_pieces_is_told() {
        let ledger = ledger();
        let mut ticket = ledger.ticket(1, 7);
        ticket.split().untracked();
        let failure = Failure::new(FailureKind::Unfinished, "nobody");
        ticket.failed(&[1], failure.clone());
        let result = ledger.take().remove(0).result;
        assert!(result.untracked && !result.lost);
        assert_eq!(result.failed, [(vec![1], failure)]);
    }
}
