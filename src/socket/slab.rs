//! Where small messages stand while libzmq sends them.
//!
//! One thread makes a message, and another, libzmq's, is done with it: memory of its own for each
//! would go from the one to the other, which have to wait for each other's lock each time. So many
//! share a slab, which is used again when all of them have been sent. (What libzmq and we keep of
//! each goes that way still, but is so small that allocators pass it on without a lock.)

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use crate::message::spare::Lent;

/// The size of a slab, in bytes: as long as one of its messages has not been sent, this much is
/// kept.
const SIZE: usize = 8 << 10;

/// How many slabs a socket keeps to use them again.
const KEPT: usize = 48;

/// The slabs of a socket.
#[derive(Default)]
pub(super) struct Slabs {
    /// What is left of the one that is filled.
    current: Option<BytesMut>,
    /// Those that were filled before, in that order.
    filled: VecDeque<BytesMut>,
}

impl Slabs {
    /// Copies a message to where it stands until it is dropped.
    pub(super) fn copy(&mut self, message: &[u8]) -> Bytes {
        let has_room = |slab: &mut BytesMut| slab.capacity() >= message.len();
        if !self.current.as_mut().is_some_and(has_room) {
            self.filled.extend(self.current.take());
        }
        let mut slab = self.current.take().unwrap_or_else(|| self.empty());
        slab.extend_from_slice(message);
        let copy = slab.split().freeze();
        self.current = Some(slab);
        copy
    }

    /// A slab whose messages have all been sent.
    fn empty(&mut self) -> BytesMut {
        let oldest = self.filled.front_mut();
        let is_sent = oldest.is_some_and(|slab| slab.try_reclaim(SIZE));
        let oldest = match is_sent || self.filled.len() > KEPT {
            true => self.filled.pop_front(),
            false => None,
        };
        let oldest = oldest.filter(|_| is_sent);
        oldest.unwrap_or_else(|| BytesMut::with_capacity(SIZE))
    }
}

impl Lent for Bytes {}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGES: usize = 8;
    const LARGE: usize = SIZE / MESSAGES;

    #[test]
    fn a_slab_is_used_again_when_all_of_its_messages_are_gone() {
        let mut slabs = Slabs::default();
        let message = |number: usize| vec![number as u8; LARGE];
        let mut fill = |from: usize| -> Vec<Bytes> {
            let numbers = from..from + MESSAGES;
            numbers.map(|number| slabs.copy(&message(number))).collect()
        };
        let first = fill(0);
        let second = fill(8);
        let place = first[0].as_ptr();
        // They stand one behind the other.
        assert_eq!(first[7].as_ptr(), place.wrapping_add(7 * LARGE));
        for (number, piece) in first.iter().chain(&second).enumerate() {
            assert_eq!(*piece, message(number));
        }
        let last = first.into_iter().next_back();
        // One is there still.
        let third = fill(16);
        assert_ne!(third[0].as_ptr(), place);
        assert_eq!(last.as_deref(), Some(&*message(7)));
        drop(last);
        let again = fill(24);
        assert_eq!(again[0].as_ptr(), place);
        assert_eq!((&*second[0], &*third[7]), (&*message(8), &*message(23)));
    }

    #[test]
    fn not_more_are_kept_than_some() {
        let mut slabs = Slabs::default();
        let pieces: Vec<_> = (0..3 * KEPT * MESSAGES)
            .map(|_| slabs.copy(&[1; LARGE]))
            .collect();
        assert_eq!(slabs.filled.len(), KEPT);
        drop(pieces);
        for _ in 0..3 * KEPT * MESSAGES {
            slabs.copy(&[1; LARGE]);
        }
        assert!(slabs.filled.len() <= KEPT);
    }
}
