//! Bundles: small messages of a job that follow each other, as one frame.
//!
//! What a message costs on the link, beside its bytes, it costs as often as it is looked at by
//! itself: so those that follow each other travel, wait and are counted as one, as long as nobody
//! needs to tell them apart. A bundle has what its messages have in common as any frame has it: the
//! texts, the stage, the path. Its place is that of the first, and the others are numbered on from
//! there; its payload is theirs, one after another. `Bundle`, in link.proto, tells their lengths.
//!
//! Whoever gives a bundle to somebody who knows nothing of them, such as a hook of the user's or
//! a peer on the pylm wire, takes it apart first.

use std::sync::Arc;

use uuid::Uuid;

use super::shared::{FrameReader, Plain, Shared};
use super::{BUNDLE, Frame, Giving, write_place, write_stage};
use crate::error::Result;
use crate::message::proto::link as proto;
use crate::message::wire::{Reader, Span, Writer, malformed};

/// How many messages a bundle has at the most: as many as a word has bits.
pub(crate) const MOST_BUNDLED: usize = 64;

/// How long the payload of a bundle is at the most, in bytes. Whoever does not take payloads of
/// this length gets no bundles.
pub(crate) const BUNDLE_BYTES: usize = 7 << 10;

/// What the messages of a bundle have each for itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Bundle {
    /// Where each payload ends in the payload of all.
    ends: Vec<u32>,
    /// The cache key of the first message, as a uuid, if each has its own.
    key: Option<u128>,
}

impl Bundle {
    /// Reads what stands in the field of a bundle.
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let span = reader.value()?;
        let Ok(said) = <proto::Bundle as prost::Message>::decode(&reader.bytes[span.range()])
        else {
            return malformed("what it says of a bundle cannot be read");
        };
        let mut ends = said.sizes;
        if !(2..=MOST_BUNDLED).contains(&ends.len()) {
            return malformed("a bundle has too many messages, or too few");
        }
        let mut end = 0_u32;
        for size in &mut ends {
            end = end.saturating_add(*size);
            *size = end;
        }
        if end as usize > BUNDLE_BYTES {
            return malformed("a bundle is too large");
        }
        let key = u128::from(said.key_high) << 64 | u128::from(said.key_low);
        Ok(Self {
            ends,
            key: (key != 0).then_some(key),
        })
    }

    fn write(&self, writer: &mut Writer) {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let sizes = starts.zip(&self.ends).map(|(start, end)| end - start);
        let key = self.key.unwrap_or_default();
        let said = proto::Bundle {
            sizes: sizes.collect(),
            key_high: (key >> 64) as u64,
            key_low: key as u64,
        };
        writer.bytes(BUNDLE, &prost::Message::encode_to_vec(&said));
    }

    /// Whether it fits to a payload of this length.
    pub(super) fn fits(&self, payload: usize) -> bool {
        self.ends.last().is_some_and(|end| *end as usize == payload)
    }

    pub(super) fn count(&self) -> usize {
        self.ends.len()
    }

    /// Where the payload of a message stands in that of all.
    pub(super) fn span(&self, index: usize) -> Span {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        Span {
            start: start as usize,
            end: self.ends[index] as usize,
        }
    }
}

/// The part of a key that counts.
const COUNTED: u128 = (1 << 48) - 1;

/// The key after so many others. Only what is chance in a uuid changes.
fn key_at(first: u128, index: usize) -> u128 {
    first & !COUNTED | first.wrapping_add(index as u128) & COUNTED
}

/// Puts messages together that follow each other.
#[derive(Debug)]
pub(crate) struct Bundler {
    /// What they have in common is that of this frame, from its message at this index on.
    of: Frame,
    first: usize,
    place: Option<(u64, Vec<u8>)>,
    key: Option<u128>,
    ends: Vec<u32>,
    payloads: Vec<u8>,
}

impl Bundler {
    /// For messages of a job, of which there is one, of this number and those that follow. If it
    /// has no cache key, each gets one of its own.
    pub(crate) fn of_job(of: &Frame, number: u64) -> Self {
        let has_key = !of.cache().is_empty();
        Self {
            of: of.clone(),
            first: 0,
            place: Some((number, Vec::new())),
            key: (!has_key).then(|| Uuid::new_v4().as_u128()),
            ends: Vec::new(),
            payloads: Vec::new(),
        }
    }

    /// For messages that nobody numbers, and that have these texts, this stage and no cache key:
    /// each gets one of its own.
    fn of_plain(shared: Arc<Shared>, stage: i64) -> Self {
        Self {
            of: Frame::build(shared, stage, b"", b""),
            first: 0,
            place: None,
            key: Some(Uuid::new_v4().as_u128()),
            ends: Vec::new(),
            payloads: Vec::new(),
        }
    }

    /// For what comes of a bundle, of its message at this index and those that follow: each has one
    /// result.
    pub(crate) fn of_results(of: &Frame, first: usize) -> Self {
        let place = of.place().map(|place| {
            let number = place.number.wrapping_add(first as u64);
            (number, place.path.to_vec())
        });
        Self {
            of: of.clone(),
            first,
            place,
            key: of.bundle().and_then(|bundle| bundle.key),
            ends: Vec::new(),
            payloads: Vec::new(),
        }
    }

    /// Whether there is room for one more message with a payload of this length.
    pub(crate) fn has_room(&self, size: usize) -> bool {
        self.ends.is_empty()
            || self.ends.len() < MOST_BUNDLED && self.payloads.len() + size <= BUNDLE_BYTES
    }

    /// The next message, for which there is [room](Self::has_room).
    pub(crate) fn push(&mut self, payload: &[u8]) {
        if self.ends.capacity() == 0 {
            self.ends.reserve_exact(MOST_BUNDLED);
        }
        if self.payloads.capacity() == 0 {
            // Most bundles become full where they matter.
            let room = if payload.len() > BUNDLE_BYTES / 2 {
                payload.len()
            } else {
                BUNDLE_BYTES
            };
            self.payloads.reserve_exact(room);
        }
        self.payloads.extend_from_slice(payload);
        self.ends.push(self.payloads.len() as u32);
    }

    /// How many messages there are.
    pub(crate) fn count(&self) -> usize {
        self.ends.len()
    }

    /// The bundle; if there is only one message, that. What comes next is of those that follow.
    pub(crate) fn take(&mut self) -> Frame {
        let ends = std::mem::take(&mut self.ends);
        let count = ends.len();
        let key = self.key.map(|key| key_at(key, self.first));
        let place = self.place.as_ref();
        let place = place.map(|(number, path)| (*number, path.as_slice()));
        let frame = self.of.in_common(key, place, ends, &self.payloads);
        self.payloads.clear();
        self.first += count;
        if let Some((number, _)) = &mut self.place {
            *number = number.wrapping_add(count as u64);
        }
        frame
    }
}

/// Puts messages together that have come one after another, of those that say nothing but their
/// texts, a stage and a small payload.
#[derive(Debug, Default)]
pub(crate) struct Gathering(Option<Bundler>);

impl Gathering {
    /// Takes a message in if it can be one of a bundle, with a payload of at most `limit` bytes.
    /// What was gathered before it then, if it does not belong to that; `None` if it is to be taken
    /// in otherwise.
    pub(crate) fn add(
        &mut self,
        reader: &mut FrameReader,
        bytes: &[u8],
        limit: usize,
    ) -> Option<Option<Frame>> {
        let Plain {
            shared,
            stage,
            payload,
        } = reader.read_plain(bytes)?;
        if payload.len() > limit.min(BUNDLE_BYTES) {
            return None;
        }
        if let Some(known) = &mut self.0
            && Arc::ptr_eq(known.of.shared(), shared)
            && known.of.stage() == stage
        {
            // What a full bundle has in common, the next one has, too.
            let full = (!known.has_room(payload.len())).then(|| known.take());
            known.push(payload);
            return Some(full);
        }
        let before = self.take();
        let mut next = Bundler::of_plain(shared.clone(), stage);
        next.push(payload);
        self.0 = Some(next);
        Some(before)
    }

    /// What was gathered, if there is anything.
    pub(crate) fn take(&mut self) -> Option<Frame> {
        let gathered = self.0.as_mut().filter(|known| known.count() > 0);
        gathered.map(Bundler::take)
    }
}

impl Frame {
    /// Writes its message at this index, as one that a worker on the pylm wire is given.
    pub(crate) fn write_given(&self, index: usize, giving: Giving, out: &mut Vec<u8>) {
        let shared = self.shared();
        let mut writer = Writer::append_to(std::mem::take(out));
        writer.out.extend_from_slice(&shared.bytes);
        if self.stage() != shared.stage {
            write_stage(&mut writer, self.stage());
        }
        let mut buffer = Uuid::encode_buffer();
        let own_key = self.bundle().and_then(|bundle| bundle.key);
        let cache = match own_key {
            Some(key) => Uuid::from_u128(key_at(key, index))
                .hyphenated()
                .encode_lower(&mut buffer),
            None => self.cache(),
        };
        writer.bytes(super::CACHE, cache.as_bytes());
        writer.bytes(super::PAYLOAD, self.payload_at(index));
        super::write_giving(&mut writer, giving);
        *out = writer.out;
    }

    /// Which of its messages has this uuid as its cache key, if each has its own.
    pub(crate) fn index_of_key(&self, key: u128) -> Option<usize> {
        let bundle = self.bundle()?;
        let first = bundle.key?;
        let index = key.wrapping_sub(first) & COUNTED;
        let index = usize::try_from(index).ok()?;
        (index < bundle.count() && key_at(first, index) == key).then_some(index)
    }

    pub(super) fn bundle(&self) -> Option<&Bundle> {
        self.rare()?.bundle.as_ref()
    }

    /// How many messages it is: more than one if it is a bundle.
    #[inline]
    pub(crate) fn count(&self) -> usize {
        self.bundle().map_or(1, Bundle::count)
    }

    /// The payload of its message at this index, from 0; of the only one, if it is no bundle.
    pub(crate) fn payload_at(&self, index: usize) -> &[u8] {
        let all = self.payload();
        match self.bundle() {
            Some(bundle) => all.get(bundle.span(index).range()).unwrap_or_default(),
            None => all,
        }
    }

    /// Its message at this index, from 0, by itself.
    pub(crate) fn single(&self, index: usize) -> Self {
        match self.bundle() {
            Some(_) => self.part(index, 1),
            None => self.clone(),
        }
    }

    /// Takes a bundle apart: it is its first `count` messages from now on. Gives the others, of which
    /// there is at least one.
    pub(crate) fn split_off(&mut self, count: usize) -> Self {
        let rest = self.part(count, self.count() - count);
        *self = self.part(0, count);
        rest
    }

    /// Some of the messages of a bundle, at least one.
    pub(crate) fn part(&self, first: usize, count: usize) -> Self {
        let Some(bundle) = self.bundle() else {
            return self.clone();
        };
        let start = bundle.span(first).start as u32;
        let ends = &bundle.ends[first..first + count];
        let payloads = start as usize..ends.last().map_or(0, |end| *end as usize);
        let ends = ends.iter().map(|end| end - start).collect();
        let key = bundle.key.map(|key| key_at(key, first));
        let place = self.place();
        let place = place.map(|place| (place.number.wrapping_add(first as u64), place.path));
        let payloads = self.payload().get(payloads).unwrap_or_default();
        self.in_common(key, place, ends, payloads)
    }

    /// Messages with its texts and its stage, and with its cache key if that is not theirs.
    fn in_common(
        &self,
        key: Option<u128>,
        place: Option<(u64, &[u8])>,
        ends: Vec<u32>,
        payloads: &[u8],
    ) -> Self {
        let mut buffer = Uuid::encode_buffer();
        let own_key = key.map(|key| Uuid::from_u128(key).hyphenated());
        let cache = match (own_key, ends.len()) {
            (Some(key), 1) => key.encode_lower(&mut buffer),
            (Some(_), _) => "",
            (None, _) => self.cache(),
        };
        let bundle = (ends.len() > 1).then_some(Bundle { ends, key });
        let extra = 2 * MOST_BUNDLED * usize::from(bundle.is_some());
        let path = place.map_or(0, |(_, path)| path.len());
        let shared: &Arc<Shared> = self.shared();
        Self::built(
            shared,
            payloads.len() + cache.len() + path + extra,
            |writer, fields| {
                if self.stage() != shared.stage {
                    fields.stage = write_stage(writer, self.stage());
                }
                fields.cache = writer.bytes(super::CACHE, cache.as_bytes());
                fields.payload = writer.bytes(super::PAYLOAD, payloads);
                if let Some((number, path)) = place {
                    fields.place = Some(write_place(writer, number, path));
                }
                if let Some(bundle) = bundle {
                    bundle.write(writer);
                    fields.rare().bundle = Some(bundle);
                }
            },
        )
    }
}
