//! What many messages of a job have in common, and reading messages of which many do.

use std::cell::RefCell;
use std::sync::Arc;

use super::batch::Located;
use super::pool;
use super::{
    BUNDLE, Bundle, CACHE, CLIENT, END, FAILURE, FUNCTION, Fields, Frame, GIVING, HEADROOM,
    PAYLOAD, PIPELINE, PLACE, STAGE, end, failure, giving, place,
};
use crate::error::{Error, Result};
use crate::message::spare::Buffer;
use crate::message::wire::{BYTES, Reader, Span, VARINT, Writer, malformed};
use crate::message::{ENVELOPE, Giving, Path, Step, session_of};

/// The texts that all messages of a job share. They are read and checked once for all of those
/// that come together.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// As they stand on the wire, perhaps with the stage.
    pub(super) bytes: Vec<u8>,
    pub(super) stage: i64,
    pub(super) pipeline: Box<str>,
    pub(super) client: Box<str>,
    /// How much of the client is the id of its session.
    pub(super) session: usize,
    pub(super) function: Arc<Function>,
}

/// What is to be run, as it stands on the wire. It is the same for many jobs.
#[derive(Debug, Default)]
pub(super) struct Function {
    pub(super) text: Box<str>,
    /// Its steps, if it is a path: where each begins, its dot, and its end.
    pub(super) steps: Option<Box<[[u32; 3]]>>,
}

impl Function {
    fn of(text: &str) -> Arc<Self> {
        thread_local! {
            /// The last one that this thread has read.
            static LAST: RefCell<Arc<Function>> = RefCell::default();
        }
        LAST.with_borrow_mut(|last| {
            if *last.text != *text {
                *last = Arc::new(Self {
                    text: text.into(),
                    steps: Path::parse(text).ok().map(|path| path.places()),
                });
            }
            last.clone()
        })
    }

    /// The step at this stage, if it is one: see [`Path::step`].
    pub(super) fn step(&self, stage: i64) -> Option<Step<'_>> {
        let places = match &**self.steps.as_ref()? {
            [only] => only,
            steps => steps.get(usize::try_from(stage).ok()?)?,
        };
        let [start, dot, end] = places.map(|place| place as usize);
        Some(Step {
            server: &self.text[start..dot],
            function: &self.text[dot + 1..end],
        })
    }
}

/// A message that has nothing else.
pub(super) struct Plain<'a> {
    pub(super) shared: &'a Arc<Shared>,
    pub(super) stage: i64,
    pub(super) payload: &'a [u8],
}

impl PartialEq for Shared {
    fn eq(&self, other: &Self) -> bool {
        (&self.pipeline, &self.client, &self.function.text)
            == (&other.pipeline, &other.client, &other.function.text)
    }
}

impl Eq for Shared {}

impl Shared {
    pub(super) fn new(pipeline: &str, client: &str, function: &str) -> Arc<Self> {
        let texts = pipeline.len() + client.len() + function.len();
        let mut writer = Writer::with_capacity(texts);
        writer.bytes(PIPELINE, pipeline.as_bytes());
        writer.bytes(CLIENT, client.as_bytes());
        writer.bytes(FUNCTION, function.as_bytes());
        Self::of(writer.out, 0, [pipeline, client, function])
    }

    fn of(bytes: Vec<u8>, stage: i64, [pipeline, client, function]: [&str; 3]) -> Arc<Self> {
        Arc::new(Self {
            bytes,
            stage,
            pipeline: pipeline.into(),
            client: client.into(),
            session: session_of(client).len(),
            function: Function::of(function),
        })
    }

    /// Reads the texts, and the stage, that stand here.
    fn read(bytes: &[u8]) -> Result<Arc<Self>> {
        let mut reader = Reader { bytes, at: 0 };
        let mut stage = 0;
        let mut texts = [""; 3];
        while reader.at < bytes.len() {
            let key = reader.varint()?;
            let text = match key >> 3 {
                PIPELINE => &mut texts[0],
                CLIENT => &mut texts[1],
                FUNCTION => &mut texts[2],
                _ => {
                    stage = reader.varint()? as i64;
                    continue;
                }
            };
            *text = reader.str()?;
        }
        Ok(Self::of(bytes.to_vec(), stage, texts))
    }

    /// The same with other texts: the pipeline, the client, the function.
    fn with(&self, texts: [Option<&[u8]>; 3]) -> Arc<Self> {
        // They were checked when they were read.
        let text = |bytes| std::str::from_utf8(bytes).unwrap_or_default();
        let [pipeline, client, function] = texts.map(|bytes| bytes.map(text));
        Self::new(
            pipeline.unwrap_or(&self.pipeline),
            client.unwrap_or(&self.client),
            function.unwrap_or(&self.function.text),
        )
    }

    /// What it takes in memory beside its frames, if it is not shared by many of them.
    pub(super) fn weight(&self) -> usize {
        match self.bytes.len() {
            ..=LONGEST => 0,
            // They stand here twice, and each step of a path takes some.
            long => 5 * long,
        }
    }
}

const TOO_SHORT: &str = "its messages are too short";
const TOO_LONG: &str = "its fields beside the payload are too long";

/// How many texts a reader remembers, and how long they may be, in bytes.
const REMEMBERED: usize = 1_024;
const LONGEST: usize = 256;

/// So many messages that come together are kept together at the most, and so many bytes of them:
/// as long as one of them is left, it keeps all.
const MOST_TOGETHER: usize = 16;
const TOGETHER: usize = 4 << 10;

/// Reads messages, most of which have the texts of others before.
#[derive(Debug, Default)]
pub(crate) struct FrameReader {
    /// Those of the message before.
    last: Arc<Shared>,
    /// Those of others, each at the place that its bytes give it. Empty until there are others.
    known: Vec<Arc<Shared>>,
    /// Whether what it reads may be bundles.
    bundles: bool,
}

impl FrameReader {
    /// For what comes over the link.
    pub(crate) fn of_link() -> Self {
        Self {
            bundles: true,
            ..Self::default()
        }
    }

    /// The next message is likely to have the texts of this one: what has gone out is answered.
    pub(crate) fn expect(&mut self, frame: &Frame) {
        if !Arc::ptr_eq(&self.last, frame.shared()) {
            self.last = frame.shared().clone();
        }
    }

    /// Locates the fields of a message: see [`Frame::parse`].
    pub(crate) fn parse(&mut self, bytes: impl Into<Buffer>, limit: usize) -> Result<Frame> {
        let bytes = bytes.into();
        if bytes.len() > limit {
            return Err(Error::TooLarge {
                size: bytes.len(),
                limit,
            });
        }
        let fields = self.locate(&bytes)?;
        Ok(Frame::alone(bytes, self.last.clone(), fields))
    }

    /// The same of messages of these sizes that stand one after another, copied: see
    /// [`take_in`](Self::take_in). Few of them, with the same texts, are kept together.
    pub(crate) fn take_in_all(
        &mut self,
        bytes: &[u8],
        mut sizes: &[usize],
        limit: usize,
        component: &str,
        frames: &mut Vec<Frame>,
    ) -> Result<()> {
        let mut bytes = bytes;
        while !sizes.is_empty() {
            let (taken, length) = self.take_in_some(bytes, sizes, frames)?;
            let (now, later) = sizes.split_at(taken);
            if now.iter().any(|size| *size > limit) {
                let begin = frames.len() - taken;
                for frame in &mut frames[begin..] {
                    if frame.payload().len() > limit {
                        *frame = too_large(frame, limit, component)?;
                    }
                }
            }
            (bytes, sizes) = (&bytes[length..], later);
        }
        Ok(())
    }

    /// Takes in the first ones, at least one. Gives how many, and their length.
    fn take_in_some(
        &mut self,
        bytes: &[u8],
        sizes: &[usize],
        frames: &mut Vec<Frame>,
    ) -> Result<(usize, usize)> {
        let Some(first) = sizes.first().and_then(|size| bytes.get(..*size)) else {
            return malformed(TOO_SHORT);
        };
        let mut first = Some(self.locate(first)?);
        let (most, room) = self.together(bytes, sizes);
        let (mut at, mut count) = (0, 0);
        let (batch, filled) = pool::filled(room + HEADROOM, |batch| {
            for size in &sizes[..most] {
                let span = Span {
                    start: at,
                    end: at + size,
                };
                let Some(message) = bytes.get(span.range()) else {
                    return malformed(TOO_SHORT);
                };
                let fields = match first.take() {
                    Some(fields) => fields,
                    None => self.locate(message)?,
                };
                match count {
                    0 => batch.fill(self.last.clone(), Located { span, fields }),
                    _ if !Arc::ptr_eq(&batch.shared, &self.last) => break,
                    _ => batch.push(Located { span, fields }),
                }
                at += size;
                count += 1;
            }
            batch.bytes_mut().extend_from_slice(&bytes[..at]);
            Ok(())
        });
        filled?;
        frames.extend((1..count).map(|place| Frame::of(batch.clone(), place - 1)));
        frames.push(Frame::of(batch, count - 1));
        Ok((count, at))
    }

    /// How many of these messages are to be kept together, and their length: the first ones, as
    /// far as they begin with the texts of the first, which has been located.
    fn together(&self, bytes: &[u8], sizes: &[usize]) -> (usize, usize) {
        let mut length = 0;
        for (count, size) in sizes.iter().take(MOST_TOGETHER).enumerate() {
            let begins = |rest: &[u8]| rest.starts_with(&self.last.bytes);
            let is_like = bytes.get(length..).is_some_and(begins);
            if count > 0 && (length + size + HEADROOM > TOGETHER || !is_like) {
                return (count, length);
            }
            length += size;
        }
        (sizes.len().min(MOST_TOGETHER), length)
    }

    /// What a message says, if it says nothing but its texts, a stage and a payload. (What is not
    /// ours would be lost in a bundle.)
    pub(super) fn read_plain<'a>(&'a mut self, bytes: &'a [u8]) -> Option<Plain<'a>> {
        let fields = self.locate(bytes).ok()?;
        let is_plain = fields.cache.range().is_empty() && fields.giving.is_none();
        (is_plain && fields.is_unmarked() && !fields.has_others).then(|| Plain {
            shared: &self.last,
            stage: fields.stage,
            payload: &bytes[fields.payload.range()],
        })
    }

    /// Whose message this is, and which giving of which task, if it says that, and nothing else
    /// that is to be looked at.
    pub(crate) fn read_given(&mut self, bytes: &[u8]) -> Option<(&str, Giving)> {
        let fields = self.locate(bytes).ok()?;
        let giving = fields.giving.filter(|_| fields.is_unmarked())?;
        Some((&self.last.client, giving))
    }

    /// Takes in what a socket has let in, which is up to twice the limit. In place of a message
    /// whose payload has more than `limit` bytes goes its failure, which is small, so that
    /// whoever waits for it is told; and why.
    ///
    /// # Errors
    /// [`Error::Malformed`] when it is no message.
    pub(crate) fn take_in(
        &mut self,
        bytes: impl Into<Buffer>,
        limit: usize,
        component: &str,
    ) -> Result<(Frame, Option<Error>)> {
        let frame = self.parse(bytes, usize::MAX)?;
        let size = frame.payload().len();
        if size <= limit {
            return Ok((frame, None));
        }
        let error = Error::TooLarge { size, limit };
        Ok((too_large(&frame, limit, component)?, Some(error)))
    }

    /// Finds all fields; those that are shared are then in `last`. Of a field that comes twice,
    /// the last one counts.
    fn locate(&mut self, bytes: &[u8]) -> Result<Fields> {
        if self.last.bytes.is_empty() || !bytes.starts_with(&self.last.bytes) {
            let end = end_of_texts(bytes)?;
            if end > ENVELOPE {
                return malformed(TOO_LONG);
            }
            self.look_up(&bytes[..end])?;
        }
        let mut late = [None; 3];
        let mut fields = Fields {
            stage: self.last.stage,
            ..Fields::default()
        };
        let mut reader = Reader {
            bytes,
            at: self.last.bytes.len(),
        };
        while reader.at < bytes.len() {
            let key = reader.varint()?;
            match (key >> 3, key & 7) {
                (CACHE, BYTES) => fields.cache = reader.text()?,
                (PAYLOAD, BYTES) => fields.payload = reader.value()?,
                (PLACE, BYTES) => fields.place = Some(place(&mut reader, fields.place)?),
                // Elsewhere it would be one message here, and several to who gets it by the link.
                (BUNDLE, _) if !self.bundles => {
                    return malformed("it says that it is a bundle");
                }
                (BUNDLE, BYTES) => {
                    fields.rare().bundle = Some(Bundle::read(&mut reader)?);
                }
                (GIVING, BYTES) => {
                    fields.giving = Some(giving(&mut reader, fields.giving)?);
                }
                (END, BYTES) => {
                    let rare = fields.rare();
                    rare.end = Some(end(&mut reader, rare.end)?);
                }
                (FAILURE, BYTES) => fields.rare().failure = Some(failure(&mut reader)?),
                (STAGE, VARINT) => fields.stage = reader.varint()? as i64,
                // Where they do not come first, as whoever writes the fields in order has it.
                (PIPELINE, BYTES) => late[0] = Some(reader.text()?),
                (CLIENT, BYTES) => late[1] = Some(reader.text()?),
                (FUNCTION, BYTES) => late[2] = Some(reader.text()?),
                (PIPELINE..=PAYLOAD | GIVING..=FAILURE, _) => {
                    return malformed("a field has the wrong type");
                }
                (number, kind) => {
                    reader.skip(number, kind)?;
                    fields.has_others = true;
                }
            }
        }
        let payload = fields.payload.range().len();
        if bytes.len() - payload > ENVELOPE {
            return malformed(TOO_LONG);
        }
        if !fields.is_sound() {
            return malformed("a bundle is not what it says");
        }
        if late.iter().any(Option::is_some) {
            self.last = self
                .last
                .with(late.map(|span| span.map(|span| &bytes[span.range()])));
        }
        Ok(fields)
    }

    /// Finds the texts that stand so on the wire.
    fn look_up(&mut self, bytes: &[u8]) -> Result<()> {
        if bytes.len() > LONGEST {
            self.last = Shared::read(bytes)?;
            return Ok(());
        }
        let place = place_of(bytes);
        match self.known.get(place) {
            Some(known) if known.bytes == bytes => self.last = known.clone(),
            _ => {
                let before = std::mem::replace(&mut self.last, Shared::read(bytes)?);
                if self.known.is_empty() && !before.bytes.is_empty() {
                    self.known = vec![Arc::default(); REMEMBERED];
                }
                if let Some(known) = self.known.get_mut(place) {
                    *known = self.last.clone();
                }
            }
        }
        Ok(())
    }
}

/// What is taken in place of a message that is too large.
fn too_large(frame: &Frame, limit: usize, component: &str) -> Result<Frame> {
    match frame.count() {
        1 => Ok(frame.as_too_large(limit, component)),
        _ => malformed("a bundle has come to one who takes none"),
    }
}

/// Where the texts and the stage end that come first.
fn end_of_texts(bytes: &[u8]) -> Result<usize> {
    let mut reader = Reader { bytes, at: 0 };
    let mut end = 0;
    while reader.at < bytes.len() {
        let key = reader.varint()?;
        match (key >> 3, key & 7) {
            (PIPELINE | CLIENT | FUNCTION, BYTES) => drop(reader.value()?),
            (STAGE, VARINT) => drop(reader.varint()?),
            _ => break,
        }
        end = reader.at;
    }
    Ok(end)
}

/// Where a reader remembers texts that stand so on the wire.
fn place_of(bytes: &[u8]) -> usize {
    // By an odd number that looks like chance: so all bits of a word count in the upper ones.
    let mix =
        |mixed: u64, word: u64| (mixed.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let (words, rest) = bytes.as_chunks();
    let words = words.iter().map(|word| u64::from_le_bytes(*word));
    let rest = rest.iter().map(|byte| u64::from(*byte));
    let mixed = words.chain(rest).fold(bytes.len() as u64, mix);
    (mixed >> 32) as usize % REMEMBERED
}
