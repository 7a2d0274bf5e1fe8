//! A message as it stands on the wire.

use std::fmt;

use super::wire::{BYTES, Reader, Span, VARINT, Writer, malformed};
use super::{ENVELOPE, Failure, PalmMessage, Path};
use crate::error::{Error, Result};

/// A [`PalmMessage`] as it stands on the wire, with its fields located but not copied.
///
/// This is what parts and the router hand on. To forward a message costs one pass over the
/// heads of its fields; to give it another stage or cache key appends a few bytes (of a field
/// that comes twice, the last one counts); only a new payload builds a new frame.
///
/// The layout is protobuf's: each field is a key byte `number << 3 | type`, then for the stage
/// (type 0) a varint, for the others (type 2) a length as a varint and the bytes:
///
/// ```text
/// 0a len pipeline | 12 len client | 18 stage | 22 len function | 2a len cache | 32 len payload
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Frame {
    bytes: Vec<u8>,
    fields: Fields,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Fields {
    pipeline: Span,
    client: Span,
    function: Span,
    cache: Span,
    payload: Span,
    failure: Option<Span>,
    stage: i64,
}

const PIPELINE: u64 = 1;
const CLIENT: u64 = 2;
const STAGE: u64 = 3;
const FUNCTION: u64 = 4;
const CACHE: u64 = 5;
const PAYLOAD: u64 = 6;
const FAILURE: u64 = 15;

/// What a stage and a cache key (a uuid) may add to a frame; a buffer with this much room to
/// spare is not moved by it.
pub(crate) const HEADROOM: usize = 64;

impl Frame {
    /// Locates the fields of a message, after checking that it is no longer than `limit` bytes.
    ///
    /// # Errors
    /// [`Error::TooLarge`] above the limit, [`Error::Malformed`] when it is no message.
    pub fn parse(bytes: Vec<u8>, limit: usize) -> Result<Self> {
        if bytes.len() > limit {
            return Err(Error::TooLarge {
                size: bytes.len(),
                limit,
            });
        }
        let fields = Fields::locate(&bytes)?;
        let payload = fields.payload.range().len();
        if bytes.len() - payload > ENVELOPE {
            return malformed("its fields beside the payload are too long");
        }
        Ok(Self { bytes, fields })
    }

    /// Builds the frame of a new message.
    pub fn new(pipeline: &str, client: &str, function: &str, cache: &str, payload: &[u8]) -> Self {
        let mut writer = Writer::with_capacity(
            pipeline.len() + client.len() + function.len() + cache.len() + payload.len(),
        );
        let fields = Fields {
            pipeline: writer.bytes(PIPELINE, pipeline.as_bytes()),
            client: writer.bytes(CLIENT, client.as_bytes()),
            function: writer.bytes(FUNCTION, function.as_bytes()),
            cache: writer.bytes(CACHE, cache.as_bytes()),
            payload: writer.bytes(PAYLOAD, payload),
            failure: None,
            stage: 0,
        };
        Self {
            bytes: writer.out,
            fields,
        }
    }

    /// The whole frame.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The whole frame, for the wire.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Its length in bytes.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Id of the stream.
    pub fn pipeline(&self) -> &str {
        self.text(self.fields.pipeline)
    }

    /// Id of the client.
    pub fn client(&self) -> &str {
        self.text(self.fields.client)
    }

    /// Which of the steps is the next to run.
    pub fn stage(&self) -> i64 {
        self.fields.stage
    }

    /// The steps as text.
    pub fn function(&self) -> &str {
        self.text(self.fields.function)
    }

    /// The steps.
    ///
    /// # Errors
    /// [`Error::Path`] when they are malformed.
    pub fn path(&self) -> Result<Path<'_>> {
        Path::parse(self.function())
    }

    /// The cache key, or the id that a worker sends back.
    pub fn cache(&self) -> &str {
        self.text(self.fields.cache)
    }

    /// The data.
    pub fn payload(&self) -> &[u8] {
        self.slice(self.fields.payload)
    }

    /// Why there is no result, if there is none.
    pub fn failure(&self) -> Option<Failure> {
        let span = self.fields.failure?;
        prost::Message::decode(self.slice(span)).ok()
    }

    /// Whether it says why there is no result, in place of one.
    pub fn is_failure(&self) -> bool {
        self.fields.failure.is_some()
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
        }
    }

    /// Sets the stage.
    pub fn set_stage(&mut self, stage: i64) {
        let mut writer = Writer::append_to(std::mem::take(&mut self.bytes));
        write_stage(&mut writer, stage);
        self.bytes = writer.out;
        self.fields.stage = stage;
    }

    /// Sets the cache key.
    pub fn set_cache(&mut self, cache: &str) {
        let mut writer = Writer::append_to(std::mem::take(&mut self.bytes));
        writer.key(CACHE, BYTES);
        self.fields.cache = writer.value(cache.as_bytes());
        self.bytes = writer.out;
    }

    /// The same message with another payload. A failure that it carried is gone.
    pub fn with_payload(&self, payload: &[u8]) -> Self {
        self.rebuild(payload, None)
    }

    /// The same message as one that yields no result: its payload is `0`, the failure says why.
    pub fn with_failure(&self, failure: &Failure) -> Self {
        self.rebuild(b"0", Some(failure))
    }

    fn rebuild(&self, payload: &[u8], failure: Option<&Failure>) -> Self {
        let failure = failure.map(prost::Message::encode_to_vec);
        let extra = payload.len() + failure.as_ref().map_or(0, Vec::len);
        let head = self.len() - self.payload().len();
        let mut writer = Writer::with_capacity(head + extra);
        let fields = Fields {
            pipeline: writer.bytes(PIPELINE, self.slice(self.fields.pipeline)),
            client: writer.bytes(CLIENT, self.slice(self.fields.client)),
            stage: write_stage(&mut writer, self.fields.stage),
            function: writer.bytes(FUNCTION, self.slice(self.fields.function)),
            cache: writer.bytes(CACHE, self.slice(self.fields.cache)),
            payload: writer.bytes(PAYLOAD, payload),
            failure: failure.map(|failure| {
                writer.key(FAILURE, BYTES);
                writer.value(&failure)
            }),
        };
        Self {
            bytes: writer.out,
            fields,
        }
    }

    fn slice(&self, span: Span) -> &[u8] {
        self.bytes.get(span.range()).unwrap_or_default()
    }

    fn text(&self, span: Span) -> &str {
        // Checked when the frame was parsed, or copied from a `str`.
        std::str::from_utf8(self.slice(span)).unwrap_or_default()
    }
}

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
        match &message.failure {
            Some(failure) => frame.rebuild(&message.payload, Some(failure)),
            None => frame,
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
            .finish_non_exhaustive()
    }
}

impl Fields {
    fn locate(bytes: &[u8]) -> Result<Self> {
        let mut fields = Self::default();
        let mut reader = Reader { bytes, at: 0 };
        while reader.at < bytes.len() {
            let key = reader.varint()?;
            match (key >> 3, key & 7) {
                (PIPELINE, BYTES) => fields.pipeline = reader.text()?,
                (CLIENT, BYTES) => fields.client = reader.text()?,
                (STAGE, VARINT) => fields.stage = reader.varint()? as i64,
                (FUNCTION, BYTES) => fields.function = reader.text()?,
                (CACHE, BYTES) => fields.cache = reader.text()?,
                (PAYLOAD, BYTES) => fields.payload = reader.value()?,
                (FAILURE, BYTES) => fields.failure = Some(failure(&mut reader)?),
                (PIPELINE..=PAYLOAD | FAILURE, _) => {
                    return malformed("a field has the wrong type");
                }
                (number, kind) => reader.skip(number, kind)?,
            }
        }
        Ok(fields)
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
mod tests {
    use super::super::FailureKind;
    use super::*;

    fn message() -> PalmMessage {
        PalmMessage {
            pipeline: "stream".into(),
            client: "client".into(),
            stage: 3,
            function: "server.foo".into(),
            cache: String::new(),
            payload: vec![7; 300],
            failure: None,
        }
    }

    fn reparsed(frame: &Frame) -> PalmMessage {
        let again = Frame::parse(frame.as_bytes().to_vec(), 1 << 20).unwrap();
        assert_eq!(again.to_message(), frame.to_message());
        PalmMessage::decode_frame(frame.as_bytes(), 1 << 20).unwrap()
    }

    #[test]
    fn a_frame_reads_as_the_message_it_encodes() {
        let frame = Frame::parse(message().encode_frame(), 1 << 20).unwrap();
        assert_eq!(frame.to_message(), message());
        assert_eq!(reparsed(&Frame::from(&message())), message());
    }

    #[test]
    fn changing_one_field_leaves_the_others() {
        let mut frame = Frame::parse(message().encode_frame(), 1 << 20).unwrap();
        frame.set_cache("key");
        frame.set_stage(-4);
        let mut expected = PalmMessage {
            cache: "key".into(),
            stage: -4,
            ..message()
        };
        assert_eq!(reparsed(&frame), expected);
        frame.set_cache("other");
        frame.set_stage(0);
        let frame = frame.with_payload(b"new");
        expected.cache = "other".into();
        expected.stage = 0;
        expected.payload = b"new".to_vec();
        assert_eq!(reparsed(&frame), expected);
    }

    #[test]
    fn an_emptied_cache_key_is_empty() {
        let mut frame = Frame::new("", "c", "s.f", "key", b"x");
        frame.set_cache("");
        assert_eq!(reparsed(&frame).cache, "");
    }

    #[test]
    fn a_failure_travels_beside_the_payload_that_pylm_knows() {
        let failure = Failure::new(FailureKind::UnknownFunction, "no 'bar'");
        let frame = Frame::from(&message()).with_failure(&failure);
        assert_eq!(frame.payload(), b"0");
        assert_eq!(reparsed(&frame).failure, Some(failure));
        assert_eq!(frame.with_payload(b"x").failure(), None);
    }

    #[test]
    fn every_truncation_is_an_error_or_a_shorter_message() {
        let mut whole = message();
        whole.failure = Some(Failure::new(FailureKind::Function, "why"));
        let bytes = whole.encode_frame();
        for end in 0..bytes.len() {
            let cut = bytes[..end].to_vec();
            let frame = Frame::parse(cut.clone(), 1 << 20).ok();
            let message = PalmMessage::decode_frame(&cut, 1 << 20).ok();
            assert_eq!(frame.map(|frame| frame.to_message()), message, "at {end}");
        }
    }

    #[test]
    fn unknown_fields_are_skipped_and_wrong_types_refused() {
        let mut bytes = message().encode_frame();
        bytes.extend([0x38, 0x05]); // 7: varint
        bytes.extend([0x42, 0x01, b'x']); // 8: bytes
        bytes.extend([0x4d, 1, 2, 3, 4]); // 9: fixed32
        let frame = Frame::parse(bytes.clone(), 1 << 20).unwrap();
        assert_eq!(frame.to_message(), message());
        bytes.extend([0x08, 0x01]); // 1: varint
        assert!(Frame::parse(bytes, 1 << 20).is_err());
    }

    #[test]
    fn the_limit_comes_before_the_decoding() {
        let bytes = message().encode_frame();
        let limit = bytes.len() - 1;
        assert!(matches!(
            Frame::parse(bytes, limit),
            Err(Error::TooLarge { .. })
        ));
    }
}
