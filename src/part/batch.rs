//! What goes from part to part.

use std::collections::VecDeque;

use crate::core::custody::{Piece, Ticket};
use crate::core::divide::Divide;
use crate::core::link::Made;
use crate::message::Frame;

/// The most messages that a part puts into a batch.
const BATCH_MESSAGES: usize = 256;

/// A part closes its batch when it has this many bytes: so a channel holds at most
/// eight times this, or that many messages that are larger; one to functions less, see
/// [`Measure`](super::channel::Measure).
const BATCH_BYTES: usize = 256 << 10;

/// A message between parts.
#[derive(Debug, Default)]
pub struct Parcel {
    /// What a publisher publishes it under; `None` stands for the id of its client.
    pub topic: Option<String>,
    /// The message.
    pub frame: Frame,
    /// Of a message that came over the palm link, who answers for it.
    pub(crate) ticket: Option<Ticket>,
}

impl Parcel {
    /// A message, and what to publish it under.
    pub fn new(topic: Option<String>, frame: Frame) -> Self {
        Self {
            topic,
            frame,
            ticket: None,
        }
    }

    /// Takes a bundle apart: it is its first `most` messages from now on. Gives the others, if there
    /// are any.
    fn cut(&mut self, most: usize) -> Option<Self> {
        if self.frame.count() <= most {
            return None;
        }
        let (frame, ticket) = (std::mem::take(&mut self.frame), self.ticket.take());
        let mut first = Made { frame, ticket };
        let rest = first.split_off(most);
        (self.frame, self.ticket) = (first.frame, first.ticket);
        Some(Self {
            topic: self.topic.clone(),
            frame: rest.frame,
            ticket: rest.ticket,
        })
    }
}

impl Piece for Parcel {
    fn frame_mut(&mut self) -> &mut Frame {
        &mut self.frame
    }

    fn set_ticket(&mut self, ticket: Ticket) {
        self.ticket = Some(ticket);
    }
}

impl PartialEq for Parcel {
    /// Whether they say the same.
    fn eq(&self, other: &Self) -> bool {
        self.topic == other.topic && self.frame == other.frame
    }
}

impl Eq for Parcel {}

impl From<Frame> for Parcel {
    fn from(frame: Frame) -> Self {
        Self::new(None, frame)
    }
}

/// Several messages that go from part to part together: one hand-over, one wake-up.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Batch {
    parcels: VecDeque<Parcel>,
    /// How many messages they are: a bundle is several.
    messages: usize,
    bytes: usize,
}

impl Batch {
    /// A batch of none.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a message.
    pub fn push(&mut self, parcel: impl Into<Parcel>) {
        let parcel = parcel.into();
        self.bytes += parcel.frame.len();
        self.messages += parcel.frame.count();
        self.parcels.push_back(parcel);
    }

    /// Takes the tickets off the messages.
    pub(super) fn take_tickets(&mut self) -> Vec<Ticket> {
        let parcels = self.parcels.iter_mut();
        parcels.filter_map(|parcel| parcel.ticket.take()).collect()
    }

    /// Takes the first `most` messages out, at least one.
    pub(super) fn take(&mut self, most: usize) -> Self {
        let most = most.max(1);
        if self.messages <= most {
            return std::mem::take(self);
        }
        let mut first = Self::new();
        while first.messages < most
            && let Some(mut parcel) = self.parcels.pop_front()
        {
            self.bytes -= parcel.frame.len();
            self.messages -= parcel.frame.count();
            if let Some(rest) = parcel.cut(most - first.messages) {
                self.put_back([rest].into_iter().collect());
            }
            first.push(parcel);
        }
        first
    }

    /// Puts messages back before the others.
    pub(super) fn put_back(&mut self, first: Self) {
        self.bytes += first.bytes;
        self.messages += first.messages;
        for parcel in first.parcels.into_iter().rev() {
            self.parcels.push_front(parcel);
        }
    }

    /// How many messages there are.
    pub fn len(&self) -> usize {
        self.messages
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.parcels.is_empty()
    }

    /// Whether it has as much as a part sends at once: 256 messages or 256 KiB.
    pub fn is_full(&self) -> bool {
        self.messages >= BATCH_MESSAGES || self.bytes >= BATCH_BYTES
    }
}

impl IntoIterator for Batch {
    type Item = Parcel;
    type IntoIter = std::collections::vec_deque::IntoIter<Parcel>;

    fn into_iter(self) -> Self::IntoIter {
        self.parcels.into_iter()
    }
}

impl<P: Into<Parcel>> FromIterator<P> for Batch {
    fn from_iter<I: IntoIterator<Item = P>>(parcels: I) -> Self {
        let mut batch = Self::new();
        parcels.into_iter().for_each(|parcel| batch.push(parcel));
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_full_by_number_or_by_bytes() {
        let small = |count| (0..count).map(|_| Frame::default()).collect::<Batch>();
        assert!(!small(BATCH_MESSAGES - 1).is_full());
        assert!(small(BATCH_MESSAGES).is_full());
        let large = Frame::new("", "", "s.f", "", &[0; BATCH_BYTES]);
        assert!(Batch::from_iter([large]).is_full());
    }
}
