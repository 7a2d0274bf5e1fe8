//! The ways out of a link's thread, into its component.

use crate::part::{Batch, NotSent, Outlet, Parcel};

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

    /// Hands on what `next` gives, so many batches at the most, while there is room. Whether
    /// anything was; an error if nobody takes it.
    pub(super) fn feed(
        &mut self,
        batches: usize,
        mut next: impl FnMut() -> Option<Parcel>,
    ) -> Result<bool, ()> {
        let Some(outlet) = &self.outlet else {
            return Ok(false);
        };
        let mut moved = false;
        for _ in 0..batches {
            while !self.waiting.is_full() {
                let Some(parcel) = next() else { break };
                self.waiting.push(parcel);
            }
            if self.waiting.is_empty() {
                return Ok(moved);
            }
            match outlet.try_send(std::mem::take(&mut self.waiting)) {
                Ok(()) => moved = true,
                Err(NotSent::Full(batch)) => {
                    self.waiting = batch;
                    return Ok(moved);
                }
                Err(NotSent::Closed(batch)) => {
                    self.waiting = batch;
                    self.outlet = None;
                    return Err(());
                }
            }
        }
        Ok(moved)
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
