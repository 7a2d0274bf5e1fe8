//! The message of the pylm wire, as values ([`PalmMessage`]), as it stands on the wire
//! ([`Frame`]), and the path of functions that it asks for ([`Path`]).

mod frame;
pub(crate) mod link;
mod path;
pub(crate) mod spare;
mod wire;

mod proto {
    include!(concat!(env!("OUT_DIR"), "/palm.rs"));

    pub(crate) mod link {
        include!(concat!(env!("OUT_DIR"), "/palm.link.rs"));
    }

    pub(crate) mod status {
        include!(concat!(env!("OUT_DIR"), "/palm.status.rs"));
    }
}

pub use frame::Frame;
#[cfg(test)]
pub(crate) use frame::PlaceRef;
pub(crate) use frame::{BUNDLE_BYTES, Bundler, FrameReader, Gathering, HEADROOM};
pub(crate) use path::is_name;
pub use path::{Path, Step, Steps};
pub use proto::failure::Kind as FailureKind;
pub(crate) use proto::status;
pub use proto::{End, Failure, Giving, Pair, PalmMessage, Place};

use crate::error::{Error, Result};

/// The largest payload that a component takes unless told otherwise: 64 MiB.
pub const DEFAULT_MAX_MESSAGE: usize = 64 << 20;

/// What the other fields of a message may take beside its payload, in bytes.
pub const ENVELOPE: usize = 64 << 10;

/// From this length on a message is lent to libzmq, and by it, in place of being copied, in bytes.
/// Smaller ones that have come may lie in a buffer of libzmq's that holds others, too, all of which
/// stay as long as one does.
pub(crate) const LENT: usize = 32 << 10;

/// The number in what is named `ID/NUMBER`: a client's call, a request, a task.
pub(crate) fn number_under(id: &str, name: &str) -> Option<u64> {
    name.strip_prefix(id)?.strip_prefix('/')?.parse().ok()
}

/// The positions that a path consists of: see `Place` in the protocol. Of one that is malformed,
/// those before the fault.
pub(crate) fn positions(path: &[u8]) -> Vec<u64> {
    let mut reader = wire::Reader { bytes: path, at: 0 };
    let next = || match reader.at < path.len() {
        true => reader.varint().ok(),
        false => None,
    };
    std::iter::from_fn(next).collect()
}

/// The id that a name is under: the client's, of a call.
pub(crate) fn session_of(name: &str) -> &str {
    name.split_once('/').map_or(name, |(id, _)| id)
}

impl PalmMessage {
    /// Decodes a frame, after checking that it is no longer than `limit` bytes.
    ///
    /// # Errors
    /// [`Error::TooLarge`] above the limit, [`Error::Malformed`] when it is no message.
    ///
    /// ```
    /// use palm::PalmMessage;
    /// let message = PalmMessage { payload: b"hello".to_vec(), ..Default::default() };
    /// let frame = message.encode_frame();
    /// assert_eq!(PalmMessage::decode_frame(&frame, 1024).unwrap(), message);
    /// assert!(PalmMessage::decode_frame(&frame, 2).is_err());
    /// ```
    pub fn decode_frame(bytes: &[u8], limit: usize) -> Result<Self> {
        if bytes.len() > limit {
            return Err(Error::TooLarge {
                size: bytes.len(),
                limit,
            });
        }
        prost::Message::decode(bytes).map_err(|_| Error::Malformed {
            reason: "not a PalmMessage",
        })
    }

    /// Encodes the message as a frame.
    pub fn encode_frame(&self) -> Vec<u8> {
        prost::Message::encode_to_vec(self)
    }

    /// The steps that `function` names.
    ///
    /// # Errors
    /// [`Error::Path`] when they are malformed.
    pub fn path(&self) -> Result<Path<'_>> {
        Path::parse(&self.function)
    }
}

impl Pair {
    /// Reads the payload of a task.
    ///
    /// # Errors
    /// [`Error::Malformed`] when it is no pair.
    ///
    /// ```
    /// use palm::reduce::Pair;
    /// let pair = Pair { left: b"one".to_vec(), right: b"two".to_vec() };
    /// assert_eq!(Pair::decode_payload(&pair.encode_payload()).unwrap(), pair);
    /// assert!(Pair::decode_payload(b"something else").is_err());
    /// ```
    pub fn decode_payload(payload: &[u8]) -> Result<Self> {
        prost::Message::decode(payload).map_err(|_| Error::Malformed {
            reason: "not a pair of values to combine",
        })
    }

    /// The pair as the payload of a task.
    pub fn encode_payload(&self) -> Vec<u8> {
        Self::payload_of(&self.left, &self.right)
    }

    /// The payload of a task with these values.
    pub(crate) fn payload_of(left: &[u8], right: &[u8]) -> Vec<u8> {
        let mut writer = wire::Writer::with_capacity(left.len() + right.len());
        writer.bytes(1, left);
        writer.bytes(2, right);
        writer.out
    }
}

impl Failure {
    /// The longest cause, in bytes: of a longer one, the rest is cut off.
    pub const MAX_CAUSE: usize = 4_096;

    /// A failure of this kind, with its cause in words.
    pub fn new(kind: FailureKind, cause: impl Into<String>) -> Self {
        let mut cause = cause.into();
        if cause.len() > Self::MAX_CAUSE {
            cause.truncate(cause.floor_char_boundary(Self::MAX_CAUSE - '…'.len_utf8()));
            cause.push('…');
        }
        Self {
            kind: kind.into(),
            cause,
            attempts: 0,
        }
    }

    /// The failure of a message that was given up after so many attempts, with what became of
    /// the last one in words.
    pub fn given_up(attempts: u32, cause: impl Into<String>) -> Self {
        Self {
            attempts,
            ..Self::new(FailureKind::GivenUp, cause)
        }
    }

    /// The failure as the error that a client gets for its call of `function`.
    pub fn into_error(self, function: &str) -> Error {
        let function = function.to_owned();
        let kind = self.kind();
        let cause = self.cause;
        match kind {
            FailureKind::Function => Error::Function { function, cause },
            FailureKind::UnknownFunction => Error::UnknownFunction { function, cause },
            FailureKind::WrongServer | FailureKind::BadPath | FailureKind::Unfinished => {
                Error::Refused { function, cause }
            }
            FailureKind::GivenUp => Error::GivenUp {
                function,
                attempts: self.attempts,
                cause,
            },
            FailureKind::Undelivered => Error::Undelivered { function, cause },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_written_as_protobuf_writes_it() {
        for (left, right) in [
            (&b"one"[..], &b""[..]),
            (b"", b"two"),
            (b"", b""),
            (b"1", b"2"),
        ] {
            let pair = Pair {
                left: left.to_vec(),
                right: right.to_vec(),
            };
            let payload = pair.encode_payload();
            assert_eq!(payload, prost::Message::encode_to_vec(&pair));
            assert_eq!(Pair::decode_payload(&payload).unwrap(), pair);
        }
    }
}
