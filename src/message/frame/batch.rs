//! Messages that stand in memory together.

use std::sync::Arc;

use super::Fields;
use super::shared::Shared;
use crate::message::spare::{Buffer, Lent};
use crate::message::wire::Span;

/// Some messages with the same texts. The memory is given back when none of them is left.
#[derive(Clone, Default)]
pub(super) struct Batch {
    pub(super) bytes: Buffer,
    /// The pipeline, the client and the function, which stand in `bytes` as well.
    pub(super) shared: Arc<Shared>,
    first: Located,
    others: Vec<Located>,
}

/// A message, and where it stands. Where its fields stand is counted from its begin.
#[derive(Clone, Default)]
pub(super) struct Located {
    pub(super) span: Span,
    pub(super) fields: Fields,
}

impl Batch {
    /// A message by itself.
    pub(super) fn of_one(bytes: Buffer, shared: Arc<Shared>, fields: Fields) -> Self {
        let span = Span {
            start: 0,
            end: bytes.len(),
        };
        Self {
            bytes,
            shared,
            first: Located { span, fields },
            others: Vec::new(),
        }
    }

    /// Some, of which there is at least the first.
    pub(super) fn of_several(
        bytes: Buffer,
        shared: Arc<Shared>,
        first: Located,
        others: Vec<Located>,
    ) -> Self {
        Self {
            bytes,
            shared,
            first,
            others,
        }
    }

    pub(super) fn has_one(&self) -> bool {
        self.others.is_empty()
    }

    #[inline]
    pub(super) fn located(&self, place: usize) -> &Located {
        match place {
            0 => &self.first,
            _ => &self.others[place - 1],
        }
    }

    /// To change the only message.
    pub(super) fn only(&mut self) -> (&mut Vec<u8>, &mut Located) {
        debug_assert!(self.has_one());
        (self.bytes.as_mut_vec(), &mut self.first)
    }
}

impl AsRef<[u8]> for Batch {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

// Who wants to change one that others have as well gets a copy: see `Frame::own`.
impl Lent for Batch {}
