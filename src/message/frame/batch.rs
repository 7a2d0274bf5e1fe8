//! Messages that stand in memory together.

use std::sync::{Arc, LazyLock};

use super::Fields;
use super::shared::Shared;
use crate::message::spare::{self, Buffer, Lent};
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

static NO_TEXTS: LazyLock<Arc<Shared>> = LazyLock::new(Arc::default);

impl Batch {
    /// A message by itself.
    pub(super) fn of_one(bytes: Buffer, shared: Arc<Shared>, fields: Fields) -> Self {
        let mut batch = Self::of(bytes);
        batch.fill_one(shared, fields);
        batch
    }

    /// None yet, with room for so many bytes.
    pub(super) fn with_capacity(size: usize) -> Self {
        Self::of(spare::with_capacity(size).into())
    }

    fn of(bytes: Buffer) -> Self {
        Self {
            bytes,
            shared: NO_TEXTS.clone(),
            first: Located::default(),
            others: Vec::new(),
        }
    }

    /// Has it be a message with these texts.
    pub(super) fn fill(&mut self, shared: Arc<Shared>, first: Located) {
        self.shared = shared;
        self.first = first;
    }

    /// Has it be the message that all its bytes are.
    pub(super) fn fill_one(&mut self, shared: Arc<Shared>, fields: Fields) {
        let span = Span {
            start: 0,
            end: self.bytes.len(),
        };
        self.fill(shared, Located { span, fields });
    }

    /// Has another message with the same texts be in it.
    pub(super) fn push(&mut self, other: Located) {
        self.others.push(other);
    }

    /// Forgets the messages. Gives the room for others, if that is its own, and nothing else of
    /// them takes much.
    pub(super) fn clear(&mut self) -> Option<usize> {
        if self.shared.weight() > 0 {
            return None;
        }
        self.others.clear();
        self.first.fields.rare = None;
        let bytes = self.bytes.as_own()?;
        bytes.clear();
        Some(bytes.capacity())
    }

    /// The bytes, to write them.
    pub(super) fn bytes_mut(&mut self) -> &mut Vec<u8> {
        self.bytes.as_mut_vec()
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
