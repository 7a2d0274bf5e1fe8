//! The ways out of a link's thread, into its component.

use crate::core::turns::Portion;
use crate::part::{Batch, NotSent, Outlet, Parcel};

/// What was moved at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moved {
    Nothing,
    /// As much as could be.
    All,
    /// As much as may be at a time: there may be more.
    Some,
}

/// A way out of the link's thread, and what waits for room there.
pub(super) struct Exit {
    pub(super) outlet: Option<Outlet>,
    pub(super) waiting: Batch,
}

impl Exit {
    pub(super) fn new(outlet: Option<Outlet>) -> Self {
        Self {
            outlet,
            waiting: Batch::new(),
        }
    }

    /// Hands on what `next` gives, so many batches at the most, while there is room: it is told how
    /// much is wanted. How much that was; an error if nobody takes it.
    pub(super) fn feed(
        &mut self,
        batches: usize,
        mut next: impl FnMut(Portion) -> Option<Parcel>,
    ) -> Result<Moved, ()> {
        let Some(outlet) = &self.outlet else {
            return Ok(Moved::Nothing);
        };
        let mut moved = Moved::Nothing;
        for _ in 0..batches {
            let mut is_last = false;
            while !is_last {
                let Some(portion) = outlet.next_in(&self.waiting) else {
                    break;
                };
                match next(portion) {
                    Some(parcel) => self.waiting.push(parcel),
                    None => is_last = true,
                }
            }
            if self.waiting.is_empty() {
                return Ok(moved);
            }
            match outlet.try_send(self.waiting.take(outlet.most())) {
                Ok(()) => moved = Moved::All,
                Err(NotSent::Full(batch)) => {
                    self.waiting.put_back(batch);
                    return Ok(moved);
                }
                Err(NotSent::Closed(batch)) => {
                    self.waiting.put_back(batch);
                    self.outlet = None;
                    return Err(());
                }
            }
            if is_last && self.waiting.is_empty() {
                return Ok(moved);
            }
        }
        Ok(Moved::Some)
    }

    pub(super) fn takes_bundles(&self) -> bool {
        self.outlet.as_ref().is_some_and(Outlet::takes_bundles)
    }

    pub(super) fn has_room(&self) -> bool {
        self.outlet.as_ref().is_some_and(Outlet::has_room)
    }

    pub(super) fn is_blocked(&self) -> bool {
        !self.waiting.is_empty()
    }
}
