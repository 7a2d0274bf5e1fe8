//! Whatever a peer sends: `Frame` takes nothing that protobuf would not, reads the same out of
//! it, and stays readable through every change.
#![no_main]

use libfuzzer_sys::fuzz_target;
use palm::message::{End, Failure, FailureKind, Frame, PalmMessage};

const LIMIT: usize = 1 << 16;

fuzz_target!(|bytes: &[u8]| {
    let message = PalmMessage::decode_frame(bytes, LIMIT);
    let Ok(mut frame) = Frame::parse(bytes.to_vec(), LIMIT) else {
        return;
    };
    let mut message = message.expect("Frame took what protobuf does not");
    // Of a failure that comes twice, protobuf merges the two, and Frame takes the last.
    message.failure = frame.failure();
    assert_eq!(frame.to_message(), message);

    frame.set_cache("key");
    frame.set_stage(7);
    message.cache = "key".to_owned();
    message.stage = 7;
    same(&frame, &message);

    let failure = Failure::new(FailureKind::Function, "why");
    let failed = frame.with_failure(&failure);
    message.payload = b"0".to_vec();
    message.failure = Some(failure);
    message.end = None;
    same(&failed, &message);

    message.payload = b"other".to_vec();
    message.failure = None;
    same(&failed.with_payload(b"other"), &message);
    same(&Frame::from(&message), &message);

    let end = End { messages: 3 };
    let mark = failed.with_end(end);
    message.payload = Vec::new();
    message.end = Some(end);
    same(&mark, &message);
    same(&Frame::from(&message), &message);
});

/// The frame reads as the message, here and at a peer that decodes it.
fn same(frame: &Frame, message: &PalmMessage) {
    assert_eq!(frame.to_message(), *message);
    let peer = PalmMessage::decode_frame(frame.as_bytes(), 2 * LIMIT).expect("unreadable");
    assert_eq!(peer.pipeline, message.pipeline);
    assert_eq!(peer.client, message.client);
    assert_eq!(peer.function, message.function);
    assert_eq!(peer.stage, message.stage);
    assert_eq!(peer.cache, message.cache);
    assert_eq!(peer.payload, message.payload);
    assert_eq!(peer.end, message.end);
}
