//! Memory of messages that is used again.
//!
//! One thread makes a message and another is done with it; what allocators do for that costs more
//! than all else that is done with a small message. So each thread keeps some memory of messages
//! that are gone, and what it has too much of, or too little, it exchanges with the others, some
//! at a time.

use std::cell::RefCell;
use std::sync::Arc;

use parking_lot::Mutex;

use super::batch::Batch;

/// Up to so many bytes is what a small message may take, or some that stand together, or a bundle.
const SIZES: [usize; CLASSES] = [512, 2 << 10, 4 << 10, 8 << 10];
const CLASSES: usize = 4;

/// How many of a size a thread keeps, and how many go from one to another at once.
const OWN: usize = 32;
const SOME: usize = OWN / 2;

/// How many of a size are kept for all threads: 2 MiB of the largest.
const MOST: usize = 256;

type Spare = Vec<Arc<Batch>>;

static FOR_ALL: [Mutex<Spare>; CLASSES] = [const { Mutex::new(Vec::new()) }; CLASSES];

thread_local! {
    static OWN_SPARE: RefCell<[Spare; CLASSES]> =
        const { RefCell::new([const { Vec::new() }; CLASSES]) };
}

/// What `fill` makes of an empty batch with room for so many bytes, and what it gives.
pub(super) fn filled<R>(size: usize, fill: impl FnOnce(&mut Batch) -> R) -> (Arc<Batch>, R) {
    let mut batch = with_room(size);
    let result = fill(Arc::get_mut(&mut batch).expect("nobody else has it"));
    (batch, result)
}

/// Memory that nobody else has, with an empty buffer that has room for so many bytes.
fn with_room(size: usize) -> Arc<Batch> {
    let class = SIZES.iter().position(|most| size <= *most);
    let spare = class.and_then(|class| {
        let own =
            |own: &RefCell<[Spare; CLASSES]>| take(&mut own.borrow_mut()[class], &FOR_ALL[class]);
        OWN_SPARE.try_with(own).ok().flatten()
    });
    spare.unwrap_or_else(|| {
        let size = class.map_or(size, |class| SIZES[class]);
        Arc::new(Batch::with_capacity(size))
    })
}

fn take(own: &mut Spare, for_all: &Mutex<Spare>) -> Option<Arc<Batch>> {
    if own.is_empty() {
        let mut all = for_all.lock();
        let left = all.len().saturating_sub(SOME);
        own.extend(all.drain(left..));
    }
    own.pop()
}

/// Keeps the memory of messages that are gone, if nobody else has it and it is of a size that is
/// asked for again.
pub(super) fn give_back(mut batch: Arc<Batch>) {
    let Some(class) = Arc::get_mut(&mut batch).and_then(class_of) else {
        return;
    };
    // A thread that ends keeps nothing.
    let _ = OWN_SPARE.try_with(|own| keep(&mut own.borrow_mut()[class], &FOR_ALL[class], batch));
}

fn class_of(batch: &mut Batch) -> Option<usize> {
    let capacity = batch.clear()?;
    SIZES.iter().position(|size| capacity == *size)
}

fn keep(own: &mut Spare, for_all: &Mutex<Spare>, batch: Arc<Batch>) {
    if own.len() == OWN {
        let mut all = for_all.lock();
        let room = MOST - all.len();
        all.extend(own.drain(SOME..).take(room));
    }
    own.push(batch);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch() -> Arc<Batch> {
        Arc::new(Batch::with_capacity(SIZES[0]))
    }

    #[test]
    fn what_a_thread_has_too_much_of_others_have() {
        let for_all = Mutex::default();
        let (mut one, mut other) = (Spare::new(), Spare::new());
        assert!(take(&mut one, &for_all).is_none());
        (0..OWN).for_each(|_| keep(&mut one, &for_all, batch()));
        assert!(take(&mut other, &for_all).is_none());
        keep(&mut one, &for_all, batch());
        assert_eq!((one.len(), for_all.lock().len()), (SOME + 1, SOME));
        assert!(take(&mut other, &for_all).is_some());
        assert_eq!((other.len(), for_all.lock().len()), (SOME - 1, 0));
        for _ in 0..2 * MOST {
            keep(&mut one, &for_all, batch());
            assert!(one.len() <= OWN && for_all.lock().len() <= MOST);
        }
        assert_eq!(for_all.lock().len(), MOST);
    }

    #[test]
    fn only_what_nobody_has_and_is_of_a_common_size_is_used_again() {
        std::thread::spawn(|| {
            let own = || OWN_SPARE.with(|own| own.borrow().each_ref().map(Vec::len));
            let kept = with_room(100);
            let before = own();
            let place = Arc::as_ptr(&kept);
            let also = kept.clone();
            give_back(kept);
            assert_eq!(own(), before);
            give_back(also);
            assert!(std::ptr::eq(Arc::as_ptr(&with_room(SIZES[0])), place));
            give_back(Arc::new(Batch::with_capacity(SIZES[CLASSES - 1] + 1)));
            give_back(Arc::new(Batch::with_capacity(7)));
            assert_eq!(own(), before);
            assert_eq!(with_room(SIZES[CLASSES - 1] + 1).as_ref().as_ref().len(), 0);
        })
        .join()
        .unwrap();
    }
}
