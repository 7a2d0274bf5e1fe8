//! Large buffers that are used again.
//!
//! What the system gives anew it clears first, page by page, which costs more than to fill it;
//! and allocators give large buffers back to it as soon as they are free.

use std::ops::Deref;
use std::sync::Arc;

use parking_lot::Mutex;

use super::HEADROOM;

/// From this size on a buffer is kept, in bytes.
const LARGE: usize = 64 << 10;

/// How much is kept in all.
const MOST: usize = 8 << 20;

/// One that is so many times as large as what is asked for is not for it.
const WASTE: usize = 4;

static SPARE: Mutex<Spare> = Mutex::new(Spare {
    buffers: Vec::new(),
    bytes: 0,
});

struct Spare {
    buffers: Vec<Vec<u8>>,
    bytes: usize,
}

impl Spare {
    /// The one that came last of those that fit.
    fn take(&mut self, size: usize) -> Option<Vec<u8>> {
        let fits = |buffer: &Vec<u8>| (size..=WASTE * size).contains(&buffer.capacity());
        let index = self.buffers.iter().rposition(fits)?;
        let mut buffer = self.buffers.remove(index);
        self.bytes -= buffer.capacity();
        buffer.clear();
        Some(buffer)
    }

    /// Keeps a buffer. Gives those for which there is no room any more: the oldest.
    fn give_back(&mut self, buffer: Vec<u8>) -> Vec<Vec<u8>> {
        let size = buffer.capacity();
        if !(LARGE..=MOST).contains(&size) {
            return vec![buffer];
        }
        self.bytes += size;
        self.buffers.push(buffer);
        let mut oldest = 0;
        while self.bytes > MOST {
            self.bytes -= self.buffers[oldest].capacity();
            oldest += 1;
        }
        self.buffers.drain(..oldest).collect()
    }
}

/// An empty buffer with room for so many bytes.
pub(crate) fn with_capacity(size: usize) -> Vec<u8> {
    let spare = match size {
        LARGE.. => SPARE.lock().take(size),
        _ => None,
    };
    spare.unwrap_or_else(|| Vec::with_capacity(size))
}

/// Bytes that a message stands in: our own, whose buffer is used again when they are dropped if it
/// is large; or lent ones, such as libzmq's, which are read where they are, shared with whoever
/// has them too, and copied when they are to be changed.
#[derive(Default)]
pub(crate) struct Buffer(Held);

enum Held {
    Own(Vec<u8>),
    Lent(Arc<dyn Lent>),
}

/// Bytes that nobody changes or moves as long as somebody has this: whoever implements it promises
/// that [`AsRef`] gives the same ones at the same place each time. `socket.rs` gives them to libzmq
/// on that promise.
pub(crate) trait Lent: AsRef<[u8]> + Send + Sync {}

impl Default for Held {
    fn default() -> Self {
        Self::Own(Vec::new())
    }
}

impl Buffer {
    pub(crate) fn lent(bytes: impl Lent + 'static) -> Self {
        Self(Held::Lent(Arc::new(bytes)))
    }

    pub(crate) fn into_vec(mut self) -> Vec<u8> {
        std::mem::take(self.as_mut_vec())
    }

    /// Our own ones, if they are.
    pub(super) fn as_own(&mut self) -> Option<&mut Vec<u8>> {
        match &mut self.0 {
            Held::Own(bytes) => Some(bytes),
            Held::Lent(_) => None,
        }
    }

    /// To change them.
    pub(super) fn as_mut_vec(&mut self) -> &mut Vec<u8> {
        if let Held::Lent(lent) = &self.0 {
            self.0 = Held::Own(copy_of(lent.as_ref().as_ref()));
        }
        match &mut self.0 {
            Held::Own(bytes) => bytes,
            Held::Lent(_) => unreachable!("they are our own by now"),
        }
    }
}

/// A copy of these bytes, in a buffer with room for what is usually added to a message.
pub(crate) fn copy_of(bytes: &[u8]) -> Vec<u8> {
    let mut copy = with_capacity(bytes.len() + HEADROOM);
    copy.extend_from_slice(bytes);
    copy
}

impl From<Vec<u8>> for Buffer {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Held::Own(bytes))
    }
}

impl Deref for Buffer {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Held::Own(bytes) => bytes,
            Held::Lent(lent) => lent.as_ref().as_ref(),
        }
    }
}

impl PartialEq for Buffer {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Buffer {}

impl Clone for Buffer {
    fn clone(&self) -> Self {
        match &self.0 {
            Held::Own(bytes) => copy_of(bytes).into(),
            Held::Lent(lent) => Self(Held::Lent(lent.clone())),
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Held::Own(bytes) = &mut self.0
            && bytes.capacity() >= LARGE
        {
            let unfit = SPARE.lock().give_back(std::mem::take(bytes));
            // The system is given them back while nobody waits for the lock.
            drop(unfit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_buffers_are_used_again_while_they_are_not_too_many() {
        let mut spare = Spare {
            buffers: Vec::new(),
            bytes: 0,
        };
        let buffer = |size| Vec::with_capacity(size);
        spare.give_back(buffer(LARGE - 1));
        assert_eq!(spare.bytes, 0);
        for size in [LARGE, 10 * LARGE, 2 * LARGE] {
            spare.give_back(buffer(size));
        }
        assert_eq!(spare.bytes, 13 * LARGE);
        assert!(spare.take(10 * LARGE + 1).is_none());
        let one = spare.take(LARGE).unwrap();
        assert_eq!((one.len(), one.capacity()), (0, 2 * LARGE));
        let other = spare.take(LARGE).unwrap();
        assert_eq!(other.capacity(), LARGE);
        // The one that is left is too large for that.
        assert!(spare.take(LARGE).is_none());
        for _ in 0..2 * MOST / LARGE {
            spare.give_back(buffer(LARGE));
        }
        assert_eq!(spare.bytes, MOST);
        // All are of one size now, and make room for others.
        assert_eq!(spare.give_back(buffer(8 * LARGE)).len(), 8);
        assert!(spare.take(8 * LARGE).is_some());
        assert_eq!(spare.give_back(buffer(2 * MOST)).len(), 1);
    }

    #[test]
    fn a_copy_has_the_same_bytes() {
        let bytes = Buffer::from(vec![7; 2 * LARGE]);
        let copy = bytes.clone();
        assert!(bytes == copy);
        drop(bytes);
        let again = with_capacity(2 * LARGE);
        assert!(again.is_empty());
        assert_eq!(copy.into_vec(), vec![7; 2 * LARGE]);
    }

    impl Lent for &'static [u8] {}

    #[test]
    fn what_is_lent_is_read_in_its_place_and_copied_to_be_changed() {
        static BYTES: &[u8] = b"abc";
        let mut buffer = Buffer::lent(BYTES);
        assert_eq!(buffer.as_ptr(), BYTES.as_ptr());
        let other = buffer.clone();
        assert_eq!(other.as_ptr(), BYTES.as_ptr());
        buffer.as_mut_vec().push(b'd');
        assert_eq!((&*buffer, &*other), (&b"abcd"[..], &b"abc"[..]));
    }
}
