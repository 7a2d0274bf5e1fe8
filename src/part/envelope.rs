//! The envelope of a request: what its answer needs to find the way back.

use crate::error::{Error, Result};
use crate::socket::MAX_REQUEST;

/// The longest envelope: libzmq's names for peers have up to 255 bytes, a hop each.
const MAX_ENVELOPE: usize = 4_096;

/// The peer, and each hop that the request came over.
pub(super) type Envelope = Vec<Vec<u8>>;

/// Takes a request apart, into its envelope and its body if that is one.
///
/// ```text
/// [peer] [hop]… [] [body]
/// └─ envelope ─┘
/// ```
///
/// A request of more than 16 frames is refused, whatever they are: the socket leaves out those
/// behind the 17th.
pub(super) fn split(parts: &mut Envelope) -> Result<(Envelope, Result<Vec<u8>>)> {
    let malformed = |reason| Error::Malformed { reason };
    let empty = parts.iter().skip(1).position(Vec::is_empty);
    let Some(end) = empty.map(|at| at + 1) else {
        return Err(malformed("it is no request: no frame of it is empty"));
    };
    let is_long = parts.len() > MAX_REQUEST;
    let mut body = parts.split_off(end);
    let envelope = std::mem::take(parts);
    if envelope.iter().map(Vec::len).sum::<usize>() > MAX_ENVELOPE {
        return Err(malformed("its envelope is too long"));
    }
    let body = match (body.pop(), body.len()) {
        _ if is_long => Err(malformed(
            "it came over too many brokers, or has too many frames",
        )),
        (Some(message), 1) => Ok(message),
        _ => Err(malformed("a request has one frame")),
    };
    Ok((envelope, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split_of(parts: &[&[u8]]) -> Result<(Envelope, Result<Vec<u8>>)> {
        split(&mut parts.iter().map(|part| part.to_vec()).collect())
    }

    #[test]
    fn the_envelope_is_what_comes_before_the_first_empty_frame() {
        let (envelope, body) = split_of(&[b"peer", b"", b"body"]).unwrap();
        assert_eq!(
            (envelope, body.unwrap()),
            (vec![b"peer".to_vec()], b"body".to_vec())
        );
        let (envelope, body) = split_of(&[b"peer", b"hop", b"", b""]).unwrap();
        assert_eq!((envelope.len(), body.unwrap()), (2, vec![]));
    }

    #[test]
    fn a_request_of_more_than_16_frames_is_refused_whatever_its_end_looks_like() {
        for (frames, fits) in [(16, true), (17, false)] {
            let mut parts = vec![b"hop".to_vec(); frames - 2];
            parts.extend([vec![], b"body".to_vec()]);
            let (envelope, body) = split(&mut parts).unwrap();
            assert_eq!((envelope.len(), body.is_ok()), (frames - 2, fits));
        }
    }

    #[test]
    fn who_can_be_told_is_told_that_a_request_is_malformed() {
        for parts in [&[&b"peer"[..], b""][..], &[b"peer", b"", b"a", b"b"]] {
            let (envelope, body) = split_of(parts).unwrap();
            assert_eq!(envelope, [b"peer"]);
            body.unwrap_err();
        }
        let long = [b'x'; MAX_ENVELOPE];
        for parts in [
            &[][..],
            &[&b"peer"[..]],
            &[b"peer", b"body"],
            &[b"peer", &long, b"", b"body"],
        ] {
            split_of(parts).unwrap_err();
        }
    }
}
