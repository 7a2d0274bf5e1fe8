//! Protobuf's encoding, as far as a message needs it.

use std::ops::Range;

use super::frame::HEADROOM;
use super::spare;
use crate::error::{Error, Result};

pub(super) const VARINT: u64 = 0;
pub(super) const FIXED64: u64 = 1;
pub(super) const BYTES: u64 = 2;
pub(super) const FIXED32: u64 = 5;

/// Where a value stands in a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Span {
    pub(super) fn range(self) -> Range<usize> {
        self.start..self.end
    }
}

pub(super) fn malformed<T>(reason: &'static str) -> Result<T> {
    Err(Error::Malformed { reason })
}

pub(super) struct Reader<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Reader<'a> {
    #[inline]
    pub(super) fn varint(&mut self) -> Result<u64> {
        match self.bytes.get(self.at) {
            Some(&byte) if byte < 0x80 => {
                self.at += 1;
                Ok(u64::from(byte))
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let Some(&byte) = self.bytes.get(self.at) else {
                return malformed("it ends within a number");
            };
            self.at += 1;
            if shift == 63 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        malformed("a number has more than 64 bits")
    }

    #[inline]
    pub(super) fn take(&mut self, length: u64) -> Result<Span> {
        let left = self.bytes.len() - self.at;
        match usize::try_from(length) {
            Ok(length) if length <= left => {
                let start = self.at;
                self.at += length;
                Ok(Span {
                    start,
                    end: self.at,
                })
            }
            _ => malformed("it ends within a field"),
        }
    }

    #[inline]
    pub(super) fn value(&mut self) -> Result<Span> {
        let length = self.varint()?;
        self.take(length)
    }

    /// A text, as it is.
    pub(super) fn str(&mut self) -> Result<&'a str> {
        let span = self.value()?;
        utf8(&self.bytes[span.range()])
    }

    /// Where a text stands.
    pub(super) fn text(&mut self) -> Result<Span> {
        let span = self.value()?;
        let text = &self.bytes[span.range()];
        // Which is quicker to find out, and the rule.
        if !text.is_ascii() {
            utf8(text)?;
        }
        Ok(span)
    }

    pub(super) fn skip(&mut self, number: u64, kind: u64) -> Result<()> {
        if number == 0 || number > u64::from(u32::MAX >> 3) {
            return malformed("a field has no valid number");
        }
        match kind {
            VARINT => self.varint().map(drop),
            FIXED64 => self.take(8).map(drop),
            BYTES => self.value().map(drop),
            FIXED32 => self.take(4).map(drop),
            _ => malformed("a field has no valid type"),
        }
    }
}

fn utf8(bytes: &[u8]) -> Result<&str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text),
        Err(_) => malformed("a text is not UTF-8"),
    }
}

/// How many bytes a varint takes.
pub(super) fn varint_length(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

pub(super) struct Writer {
    pub(super) out: Vec<u8>,
}

impl Writer {
    pub(super) fn with_capacity(content: usize) -> Self {
        Self::append_to(spare::with_capacity(content + 2 * HEADROOM))
    }

    pub(super) fn append_to(out: Vec<u8>) -> Self {
        Self { out }
    }

    pub(super) fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.out.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.out.push(value as u8);
    }

    pub(super) fn key(&mut self, number: u64, kind: u64) {
        self.varint(number << 3 | kind);
    }

    pub(super) fn value(&mut self, value: &[u8]) -> Span {
        self.varint(value.len() as u64);
        let start = self.out.len();
        self.out.extend_from_slice(value);
        Span {
            start,
            end: self.out.len(),
        }
    }

    /// A field with its key; as everywhere in proto3, an empty one is left out.
    pub(super) fn bytes(&mut self, number: u64, value: &[u8]) -> Span {
        if value.is_empty() {
            return Span::default();
        }
        self.key(number, BYTES);
        self.value(value)
    }
}
