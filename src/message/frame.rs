//! A message as it stands on the wire.

mod batch;
mod bundle;
mod pool;
mod shared;

use std::fmt;
use std::sync::Arc;

use batch::{Batch, Located};
use bundle::Bundle;
#[cfg(test)]
use bundle::MOST_BUNDLED;
pub(crate) use bundle::{BUNDLE_BYTES, Bundler, Gathering};
pub(crate) use shared::FrameReader;
use shared::Shared;

use super::spare::{Buffer, Lent};
use super::wire::{BYTES, FIXED64, Reader, Span, VARINT, Writer, malformed, varint_length};
use super::{End, Failure, FailureKind, Giving, PalmMessage, Path, Place, Step};
use crate::error::{Error, Result};

/// A [`PalmMessage`] as it stands on the wire, with its fields located but not copied.
///
/// This is what parts and the router hand on. To forward a message costs one pass over the
/// heads of its fields; to give it another stage or cache key appends a few bytes (of a field
/// that comes twice, the last one counts); only a new payload builds a new frame. A clone costs
/// nothing: it shares what it was cloned of, until one of them is changed.
///
/// The layout is protobuf's: each field is a key byte `number << 3 | type`, then for the stage
/// (type 0) a varint, for the others (type 2) a length as a varint and the bytes:
///
/// ```text
/// 0a len pipeline | 12 len client | 18 stage | 22 len function | 2a len cache | 32 len payload
/// ```
#[derive(Clone)]
pub struct Frame {
    /// Always there until it is dropped.
    batch: Option<Arc<Batch>>,
    /// Which of the batch's messages it is.
    place: usize,
}

/// Which of its client's messages a message came of: see `Place` in the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PlaceRef<'a> {
    pub(crate) number: u64,
    pub(crate) path: &'a [u8],
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Fields {
    stage: i64,
    cache: Span,
    payload: Span,
    place: Option<PlaceAt>,
    giving: Option<Giving>,
    rare: Option<Box<Rare>>,
    /// Whether there are fields that are not ours.
    has_others: bool,
}

/// What hardly any message has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Rare {
    failure: Option<Span>,
    end: Option<End>,
    bundle: Option<Bundle>,
}

impl Fields {
    /// Whether a bundle is as long as it says, and nothing else.
    fn is_sound(&self) -> bool {
        let Some(rare) = &self.rare else { return true };
        let is_plain = rare.failure.is_none() && rare.end.is_none() && self.giving.is_none();
        let bundle = rare.bundle.as_ref();
        bundle.is_none_or(|bundle| is_plain && bundle.fits(self.payload.range().len()))
    }

    /// Whether it has no place, and nothing of ours that hardly any message has.
    fn is_unmarked(&self) -> bool {
        self.place.is_none() && self.rare.is_none()
    }

    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }
}

/// A place, and where its path stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct PlaceAt {
    number: u64,
    path: Span,
}

const PIPELINE: u64 = 1;
const CLIENT: u64 = 2;
const STAGE: u64 = 3;
const FUNCTION: u64 = 4;
const CACHE: u64 = 5;
const PAYLOAD: u64 = 6;
const BUNDLE: u64 = 11;
const GIVING: u64 = 12;
const PLACE: u64 = 13;
const END: u64 = 14;
const FAILURE: u64 = 15;

/// Why a frame has its batch.
const THERE: &str = "it is taken when the frame is dropped";

/// The fields of a place.
const NUMBER: u64 = 1;
const PATH: u64 = 2;

/// The fields of a giving.
const TASK: u64 = 1;
const ATTEMPT: u64 = 2;
const RUN: u64 = 3;

/// What a stage and a cache key (a uuid) may add to a frame; a buffer with this much room to
/// spare is not moved by it.
pub(crate) const HEADROOM: usize = 64;

impl Frame {
    /// Locates the fields of a message, after checking that it is no longer than `limit` bytes.
    ///
    /// # Errors
    /// [`Error::TooLarge`] above the limit, [`Error::Malformed`] when it is no message.
    pub fn parse(bytes: Vec<u8>, limit: usize) -> Result<Self> {
        FrameReader::default().parse(bytes, limit)
    }

    /// Builds the frame of a new message.
    pub fn new(pipeline: &str, client: &str, function: &str, cache: &str, payload: &[u8]) -> Self {
        let shared = Shared::new(pipeline, client, function);
        Self::build(shared, 0, cache.as_bytes(), payload)
    }

    /// A new message of the same job, at the first stage.
    pub(crate) fn another(&self, cache: &str, payload: &[u8]) -> Self {
        Self::build(self.shared().clone(), 0, cache.as_bytes(), payload)
    }

    /// A message that stands in memory by itself.
    fn alone(bytes: Buffer, shared: Arc<Shared>, fields: Fields) -> Self {
        Self::of(Arc::new(Batch::of_one(bytes, shared, fields)), 0)
    }

    fn of(batch: Arc<Batch>, place: usize) -> Self {
        Self {
            batch: Some(batch),
            place,
        }
    }

    #[inline]
    fn batch(&self) -> &Batch {
        self.batch.as_ref().expect(THERE)
    }

    fn build(shared: Arc<Shared>, stage: i64, cache: &[u8], payload: &[u8]) -> Self {
        Self::built(&shared, cache.len() + payload.len(), |writer, fields| {
            if stage != shared.stage {
                fields.stage = write_stage(writer, stage);
            }
            fields.cache = writer.bytes(CACHE, cache);
            fields.payload = writer.bytes(PAYLOAD, payload);
        })
    }

    /// A message with these texts, and the fields that `write` writes, of about so many bytes.
    fn built(
        shared: &Arc<Shared>,
        content: usize,
        write: impl FnOnce(&mut Writer, &mut Fields),
    ) -> Self {
        let room = shared.bytes.len() + content + 2 * HEADROOM;
        let (batch, ()) = pool::filled(room, |batch| {
            let mut writer = Writer::append_to(std::mem::take(batch.bytes_mut()));
            writer.out.extend_from_slice(&shared.bytes);
            let mut fields = Fields {
                stage: shared.stage,
                ..Fields::default()
            };
            write(&mut writer, &mut fields);
            *batch.bytes_mut() = writer.out;
            batch.fill_one(shared.clone(), fields);
        });
        Self::of(batch, 0)
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.batch().shared
    }

    #[inline]
    fn fields(&self) -> &Fields {
        &self.batch().located(self.place).fields
    }

    /// The whole frame.
    pub fn as_bytes(&self) -> &[u8] {
        let batch = self.batch();
        &batch.bytes[batch.located(self.place).span.range()]
    }

    /// Has it stand in memory by itself, if it shares that with others: they would keep it, or it
    /// them.
    pub(crate) fn separate(&mut self) {
        if !self.batch().has_one() {
            let (batch, ()) = pool::filled(self.len() + HEADROOM, |batch| {
                batch.bytes_mut().extend_from_slice(self.as_bytes());
                batch.fill_one(self.shared().clone(), self.fields().clone());
            });
            *self = Self::of(batch, 0);
        }
    }

    /// To change it. What is shared with a clone is copied first.
    fn own(&mut self) -> (&mut Vec<u8>, &mut Located) {
        self.separate();
        Arc::make_mut(self.batch.as_mut().expect(THERE)).only()
    }

    /// The whole frame, shared with somebody else. It is copied when it is changed after that.
    pub(crate) fn lend(mut self) -> Arc<dyn Lent> {
        self.separate();
        self.batch.take().expect(THERE)
    }

    /// The whole frame, for the wire.
    pub fn into_bytes(mut self) -> Vec<u8> {
        std::mem::take(self.own().0)
    }

    /// Its length in bytes.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.batch().located(self.place).span.range().len()
    }

    /// What it takes in memory, about, in bytes.
    pub(crate) fn weight(&self) -> usize {
        self.len() + self.shared().weight()
    }

    /// Id of the stream.
    pub fn pipeline(&self) -> &str {
        &self.shared().pipeline
    }

    /// Id of the client.
    pub fn client(&self) -> &str {
        &self.shared().client
    }

    /// The id that the client's is under.
    pub(crate) fn session(&self) -> &str {
        &self.shared().client[..self.shared().session]
    }

    /// Which of the steps is the next to run.
    pub fn stage(&self) -> i64 {
        self.fields().stage
    }

    /// The steps as text.
    pub fn function(&self) -> &str {
        &self.shared().function.text
    }

    /// The steps.
    ///
    /// # Errors
    /// [`Error::Path`] when they are malformed.
    pub fn path(&self) -> Result<Path<'_>> {
        match &self.shared().function.steps {
            Some(steps) => Ok(Path::checked(self.function(), steps.len())),
            None => Path::parse(self.function()),
        }
    }

    /// The step that is the next to run.
    pub(crate) fn step(&self) -> Result<Step<'_>> {
        match self.shared().function.step(self.stage()) {
            Some(step) => Ok(step),
            None => self.path()?.step(self.stage()),
        }
    }

    /// The cache key, or the id that a worker sends back.
    pub fn cache(&self) -> &str {
        // Checked when it was read, or copied from a `str`.
        std::str::from_utf8(self.slice(self.fields().cache)).unwrap_or_default()
    }

    /// The data.
    pub fn payload(&self) -> &[u8] {
        self.slice(self.fields().payload)
    }

    /// Why there is no result, if there is none.
    pub fn failure(&self) -> Option<Failure> {
        let span = self.rare()?.failure?;
        prost::Message::decode(self.slice(span)).ok()
    }

    /// Whether it says why there is no result, in place of one.
    pub fn is_failure(&self) -> bool {
        self.rare().is_some_and(|rare| rare.failure.is_some())
    }

    /// What it says of its job when it is the mark at the job's end, and so no work for anybody.
    pub fn end(&self) -> Option<End> {
        self.rare()?.end
    }

    fn rare(&self) -> Option<&Rare> {
        self.fields().rare.as_deref()
    }

    /// Which giving of a task it is, if it is one on the pylm wire.
    pub(crate) fn giving(&self) -> Option<Giving> {
        self.fields().giving
    }

    /// Says which giving of a task it is.
    pub(crate) fn set_giving(&mut self, giving: Giving) {
        self.append(|writer, fields| {
            write_giving(writer, giving);
            fields.giving = Some(giving);
        });
    }

    /// Which of its client's messages it came of, if that speaks the palm link.
    pub(crate) fn place(&self) -> Option<PlaceRef<'_>> {
        self.fields().place.map(|place| PlaceRef {
            number: place.number,
            path: self.slice(place.path),
        })
    }

    /// Says which of its client's messages it came of.
    pub(crate) fn set_place(&mut self, number: u64, path: &[u8]) {
        self.append(|writer, fields| fields.place = Some(write_place(writer, number, path)));
    }

    /// Forgets which of its client's messages it came of.
    pub(crate) fn clear_place(&mut self) {
        self.own().1.fields.place = None;
        *self = self.rebuild(self.payload(), self.failure().as_ref(), self.end());
    }

    /// Adds its position among the several that were made of one.
    pub(crate) fn add_position(&mut self, position: u64) {
        if let Some(place) = self.place() {
            let number = place.number;
            let mut path = Writer::append_to(place.path.to_vec());
            path.varint(position);
            self.set_place(number, &path.out);
        }
    }

    /// The message as values.
    pub fn to_message(&self) -> PalmMessage {
        PalmMessage {
            pipeline: self.pipeline().to_owned(),
            client: self.client().to_owned(),
            stage: self.stage(),
            function: self.function().to_owned(),
            cache: self.cache().to_owned(),
            payload: self.payload().to_vec(),
            failure: self.failure(),
            end: self.end(),
            giving: self.giving(),
            place: self.place().map(|place| Place {
                number: place.number,
                path: place.path.to_vec(),
            }),
        }
    }

    /// Sets the stage.
    pub fn set_stage(&mut self, stage: i64) {
        self.append(|writer, fields| fields.stage = write_stage(writer, stage));
    }

    /// Sets the cache key.
    pub fn set_cache(&mut self, cache: &str) {
        self.append(|writer, fields| {
            writer.key(CACHE, BYTES);
            fields.cache = writer.value(cache.as_bytes());
        });
    }

    /// Writes at its end: of a field that comes twice, the last one counts.
    fn append(&mut self, write: impl FnOnce(&mut Writer, &mut Fields)) {
        let (bytes, located) = self.own();
        let mut writer = Writer::append_to(std::mem::take(bytes));
        write(&mut writer, &mut located.fields);
        located.span.end = writer.out.len();
        *bytes = writer.out;
    }

    /// The same message with another payload. A failure or an end that it carried is gone.
    pub fn with_payload(&self, payload: &[u8]) -> Self {
        self.rebuild(payload, None, None)
    }

    /// The same message as one that yields no result: its payload is `0`, the failure says why.
    pub fn with_failure(&self, failure: &Failure) -> Self {
        self.rebuild(b"0", Some(failure), None)
    }

    /// What goes to a peer in place of a message whose payload is larger than it takes.
    pub(crate) fn as_too_large(&self, limit: usize, at: &str) -> Self {
        let size = self.payload().len();
        let error = Error::TooLarge { size, limit };
        let cause = format!("a {error} (at '{at}')");
        self.with_failure(&Failure::new(FailureKind::Unfinished, cause))
    }

    /// Gives it a fresh uuid as its cache key, if it has none.
    pub(crate) fn fill_cache(&mut self) {
        // In a bundle each message has its own.
        if self.fields().cache.range().is_empty() && self.bundle().is_none() {
            let mut buffer = uuid::Uuid::encode_buffer();
            let id = uuid::Uuid::new_v4();
            self.set_cache(id.hyphenated().encode_lower(&mut buffer));
        }
    }

    /// The same message as the mark at the end of its job: it has no payload.
    pub fn with_end(&self, end: End) -> Self {
        self.rebuild(b"", None, Some(end))
    }

    fn rebuild(&self, payload: &[u8], failure: Option<&Failure>, end: Option<End>) -> Self {
        let cache = self.slice(self.fields().cache);
        let mut new = Self::build(self.shared().clone(), self.stage(), cache, payload);
        if let Some(giving) = self.giving() {
            new.set_giving(giving);
        }
        if let Some(place) = self.place() {
            new.set_place(place.number, place.path);
        }
        if let Some(end) = end {
            new.append(|writer, fields| {
                writer.key(END, BYTES);
                writer.value(&prost::Message::encode_to_vec(&end));
                fields.rare().end = Some(end);
            });
        }
        if let Some(failure) = failure {
            new.append(|writer, fields| {
                writer.key(FAILURE, BYTES);
                let span = writer.value(&prost::Message::encode_to_vec(failure));
                fields.rare().failure = Some(span);
            });
        }
        new
    }

    fn slice(&self, span: Span) -> &[u8] {
        self.as_bytes().get(span.range()).unwrap_or_default()
    }
}

impl Default for Frame {
    fn default() -> Self {
        Self::of(Arc::default(), 0)
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        if let Some(batch) = self.batch.take() {
            pool::give_back(batch);
        }
    }
}

impl PartialEq for Frame {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
            && self.shared() == other.shared()
            && self.fields() == other.fields()
    }
}

impl Eq for Frame {}

impl From<&PalmMessage> for Frame {
    fn from(message: &PalmMessage) -> Self {
        let mut frame = Self::new(
            &message.pipeline,
            &message.client,
            &message.function,
            &message.cache,
            &message.payload,
        );
        if message.stage != 0 {
            frame.set_stage(message.stage);
        }
        if let Some(giving) = message.giving {
            frame.set_giving(giving);
        }
        if let Some(place) = &message.place {
            frame.set_place(place.number, &place.path);
        }
        match (&message.failure, message.end) {
            (None, None) => frame,
            (failure, end) => frame.rebuild(&message.payload, failure.as_ref(), end),
        }
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frame")
            .field("pipeline", &self.pipeline())
            .field("client", &self.client())
            .field("stage", &self.stage())
            .field("function", &self.function())
            .field("cache", &self.cache())
            .field("payload", &format_args!("{} bytes", self.payload().len()))
            .field("end", &self.end())
            .finish_non_exhaustive()
    }
}

/// A giving. What stands there twice is merged, as protobuf does.
fn giving(reader: &mut Reader<'_>, before: Option<Giving>) -> Result<Giving> {
    let span = reader.value()?;
    let mut giving = before.unwrap_or_default();
    match prost::Message::merge(&mut giving, &reader.bytes[span.range()]) {
        Ok(()) => Ok(giving),
        Err(_) => malformed("its giving cannot be read"),
    }
}

/// Says which giving it is. Also what is 0 is said: of an earlier giving that stands there too, say
/// of another master, nothing may count.
fn write_giving(writer: &mut Writer, giving: Giving) {
    let Giving { task, attempt, run } = giving;
    let attempt = u64::from(attempt);
    let run = run.to_le_bytes();
    // A byte for each key.
    let length = 3 + varint_length(task) + varint_length(attempt) + run.len();
    writer.key(GIVING, BYTES);
    writer.varint(length as u64);
    writer.key(TASK, VARINT);
    writer.varint(task);
    writer.key(ATTEMPT, VARINT);
    writer.varint(attempt);
    writer.key(RUN, FIXED64);
    writer.out.extend_from_slice(&run);
}

/// A place. What stands there twice is merged, as protobuf does.
fn place(reader: &mut Reader<'_>, before: Option<PlaceAt>) -> Result<PlaceAt> {
    let span = reader.value()?;
    let mut place = before.unwrap_or_default();
    let mut inner = Reader {
        bytes: &reader.bytes[..span.end],
        at: span.start,
    };
    while inner.at < span.end {
        let key = inner.varint()?;
        match (key >> 3, key & 7) {
            (NUMBER, VARINT) => place.number = inner.varint()?,
            (PATH, BYTES) => place.path = inner.value()?,
            (NUMBER | PATH, _) => return malformed("a field of its place has the wrong type"),
            (number, kind) => inner.skip(number, kind)?,
        }
    }
    Ok(place)
}

fn write_place(writer: &mut Writer, number: u64, path: &[u8]) -> PlaceAt {
    let of_path = match path.len() {
        0 => 0,
        length => 1 + varint_length(length as u64) + length,
    };
    writer.key(PLACE, BYTES);
    writer.varint((1 + varint_length(number) + of_path) as u64);
    writer.key(NUMBER, VARINT);
    writer.varint(number);
    PlaceAt {
        number,
        path: writer.bytes(PATH, path),
    }
}

/// An end. What stands there twice is merged, as protobuf does.
fn end(reader: &mut Reader<'_>, before: Option<End>) -> Result<End> {
    let span = reader.value()?;
    let mut end = before.unwrap_or_default();
    match prost::Message::merge(&mut end, &reader.bytes[span.range()]) {
        Ok(()) => Ok(end),
        Err(_) => malformed("its end cannot be read"),
    }
}

/// Where a failure stands that can be read.
fn failure(reader: &mut Reader<'_>) -> Result<Span> {
    let span = reader.value()?;
    match <Failure as prost::Message>::decode(&reader.bytes[span.range()]) {
        Ok(_) => Ok(span),
        Err(_) => malformed("its failure cannot be read"),
    }
}

fn write_stage(writer: &mut Writer, stage: i64) -> i64 {
    writer.key(STAGE, VARINT);
    writer.varint(stage as u64);
    stage
}

#[cfg(test)]
mod tests;
