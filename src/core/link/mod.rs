//! The palm link: who says what when.
//!
//! Whoever gives a message to somebody else keeps it until that one says that it is done, and
//! it says so only when everything that came of the message is done in turn. So custody goes
//! from the client along the chain to whoever runs the last function, from there back to the
//! client as results, and unwinds from the client's acknowledgement of those:
//!
//! ```text
//!            Line                Post                            Line
//!  client ─► Giver ══ items ══► Clients ─► router ─► Outlets ─► Giver ══ items ══► Taker  next step
//!                 ◄══ done ═══   Taker                 │        Slot   ◄══ done ══          or client
//!                                  ▲                   ▼
//!                                  └── Ledger ◄── Ticket.done()
//!                                      (core::custody)
//!
//!  router ─► Tasks ══ task ══► Worker         a task is kept until its result is taken;
//!                  ◄═ result ═                the result goes to the router with its ticket
//! ```
//!
//! | what | where | kept until |
//! |------|-------|------------|
//! | a message at its client | [`Giver`] | the first server says that it is done |
//! | a message inside a component | its ticket | every piece of it is settled |
//! | a task | the queue of `Tasks` | a worker's result of it has come |
//! | a result for a client, a message for a next step | a slot of [`Outlets`] | its taker says done |
//!
//! Each of these may be a bundle, which is several small messages that follow each other: it is
//! kept and given as one, but each of its messages has its number, and may be done by itself. Who
//! has to tell them apart takes it apart, and its ticket: the queue for functions that take their
//! time, whoever gives to one who takes no bundles, and the copies of a tee. In a component, hooks
//! and the pylm wire get each message by itself.
//!
//! The state machines know no socket and no clock. `part/link.rs` and `part/dealer.rs` drive
//! them over ZeroMQ, the simulator over a network that loses connections.

pub(crate) mod client;
mod clients;
mod giver;
mod line;
mod outlets;
mod parts;
mod peers;
mod post;
mod status;
mod step;
mod taker;
mod tasks;
mod upstream;
mod wire;
mod worker;

use std::collections::VecDeque;
use std::time::Duration;

pub(crate) use clients::{Clients, Told};
pub(crate) use giver::Giver;
pub(crate) use line::{Line, Party, Verdict};
pub(crate) use outlets::Outlets;
pub(crate) use parts::{Part, Parts, Progress};
pub(crate) use peers::Peers;
pub(crate) use post::{Post, PostSettings};
pub(crate) use step::{SPOKE_NOW, StepSession};
pub(crate) use taker::{Taken, Taker, Tell};
pub(crate) use tasks::Tasks;
pub(crate) use upstream::{Speaks, Upstream};
pub(crate) use wire::ToWorker;
pub(crate) use worker::WorkerSession;

use crate::core::custody::{self, Piece, Ticket};
use crate::core::divide::Divide;
use crate::core::turns::Waits;
use crate::message::Frame;
pub(crate) use crate::message::link::Credit;
use crate::message::link::{self, Failed, Position, differences};

/// How often each side of a link says something, so that the other knows that it is there.
pub(crate) const BEAT: Duration = Duration::from_millis(250);

/// After so long a silence, the other side is taken to be gone.
pub(crate) const SILENCE: Duration = Duration::from_secs(2);

/// What a message takes in memory beside its bytes, about: it is in several tables at once.
const OVERHEAD: u64 = 1_024;

/// While so many messages are open, that some of the others are done makes little room, and nobody
/// waits for that.
const MANY_OPEN: usize = 64;

/// Whether that so many are done, of so many that were open, makes little room, and many others are
/// open still: so nobody waits for that, if more is to come at once.
pub(crate) fn is_little(done: usize, open: usize) -> bool {
    open.saturating_sub(done) >= MANY_OPEN && done < open / 4
}

/// The most done messages that are told in one head.
const MOST_DONE: usize = 4_096;

/// So much may be left unread by one job of a client while another waits: a server bears with
/// that.
const PRESSING_MESSAGES: usize = 64;
const PRESSING_BYTES: u64 = 32 << 10;

/// How much may be open at a step, as a multiple of its credit: whoever gives to it sees to it that no
/// client has all of that, and so each has a little beside it.
const STEP_LENIENCE: u64 = 4;

/// A connection to a server, as the server knows it.
pub(crate) type Conn = u64;

/// A message that has come over the link, or a bundle, on its way into the component.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) frame: Frame,
    pub(crate) ticket: Ticket,
}

/// A message that a component has made, or a bundle, on its way on, or kept until somebody is done
/// with it.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) frame: Frame,
    /// If it came of one that came over the link: who answers for it.
    pub(crate) ticket: Option<Ticket>,
}

impl Piece for Made {
    fn frame_mut(&mut self) -> &mut Frame {
        &mut self.frame
    }

    fn set_ticket(&mut self, ticket: Ticket) {
        self.ticket = Some(ticket);
    }
}

impl Divide for Made {
    fn is_tracked(&self) -> bool {
        self.ticket.is_some() || self.frame.place().is_some()
    }

    fn count(&self) -> usize {
        self.frame.count()
    }

    fn split_off(&mut self, count: usize) -> Self {
        Self {
            frame: self.frame.split_off(count),
            ticket: self.ticket.as_mut().map(|ticket| ticket.split_off(count)),
        }
    }

    fn singles(self) -> impl ExactSizeIterator<Item = Self> {
        let Self { frame, mut ticket } = self;
        let count = frame.count();
        (0..count).map(move |at| Self {
            frame: frame.single(at),
            ticket: next_of(&mut ticket, count - at),
        })
    }
}

impl Waits for Made {
    fn session(&self) -> &str {
        self.frame.session()
    }

    fn frame(&self) -> &Frame {
        &self.frame
    }

    fn bytes(&self) -> u64 {
        self.frame.len() as u64
    }
}

/// The ticket of the first of the `left` messages that a ticket is for; it is for the others then.
fn next_of(ticket: &mut Option<Ticket>, left: usize) -> Option<Ticket> {
    let mut first = ticket.take()?;
    if left > 1 {
        *ticket = Some(first.split_off(1));
    }
    Some(first)
}

/// What is the first to be taken of these, for somebody who knows nothing of bundles: if that is
/// one, its messages take its place.
fn take_single<T: Divide>(queue: &mut VecDeque<T>) -> Option<T> {
    let first = queue.pop_front()?;
    if first.count() == 1 {
        return Some(first);
    }
    let mut singles = first.singles();
    let next = singles.next();
    let rest: Vec<T> = singles.collect();
    rest.into_iter().rev().for_each(|one| queue.push_front(one));
    next
}

impl Made {
    /// It is about to be kept where there are `kept` of at most `most` bytes. Few messages that
    /// came together may keep the memory of all for as long as they wait; but where much waits,
    /// each has its own.
    pub(crate) fn settle_in(&mut self, kept: u64, most: u64) {
        if kept > most / 2 {
            self.frame.separate();
        }
    }

    /// What it takes in memory, in bytes.
    pub(crate) fn size(&self) -> u64 {
        kept_size(&self.frame)
    }
}

/// What a message takes in memory while it is kept, in bytes.
fn kept_size(frame: &Frame) -> u64 {
    frame.weight() as u64 + OVERHEAD
}

/// What a taker has, to be told to its giver.
pub(crate) fn position_of(taker: &Taker) -> Position {
    let (received, open) = taker.position();
    Position {
        received,
        open: differences(open),
        ..Position::default()
    }
}

/// An outcome as it is told.
pub(crate) fn said(number: u64, outcome: &custody::Outcome) -> link::Outcome {
    let failed = outcome.failed.iter().map(|(path, failure)| Failed {
        path: path.clone(),
        failure: Some(failure.clone()),
    });
    link::Outcome {
        number,
        failed: failed.collect(),
        untracked: outcome.untracked,
    }
}

/// An outcome as it was told.
pub(crate) fn heard(outcome: link::Outcome) -> custody::Outcome {
    let failed = outcome.failed.into_iter();
    custody::Outcome {
        lost: false,
        untracked: outcome.untracked,
        failed: failed
            .map(|failed| (failed.path, failed.failure.unwrap_or_default()))
            .collect(),
    }
}
