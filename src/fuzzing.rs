//! What the fuzz targets in `fuzz/` reach that nobody else does. Only there when fuzzing.

use std::time::{Duration, Instant};

use crate::core::custody::Ledger;
use crate::core::link::{Made, Post, PostSettings};
use crate::core::queue::Settings;
use crate::core::turns::Portion;
use crate::message::link::{Envelope, Head};
use crate::message::spare::Buffer;
use crate::message::{Frame, FrameReader, PalmMessage};

/// Reads what a peer may send on the link: the first byte says how long the head is, in 16ths, and
/// how long the small messages are, in 15ths of the rest; if it is 255, what follows is the first
/// frame as it stands, and all there is.
pub fn link_message(bytes: &[u8]) {
    let Some((shares, rest)) = bytes.split_first() else {
        return;
    };
    let (head, rest) = rest.split_at(rest.len() * usize::from(shares >> 4) / 16);
    let (small, large) = rest.split_at(rest.len() * usize::from(shares & 15) / 15);
    let mut first = Vec::new();
    if *shares != u8::MAX {
        prost::encode_length_delimiter(head.len(), &mut first).expect("there is room");
    }
    first.extend_from_slice(head);
    first.extend_from_slice(small);
    let mut parts = vec![Buffer::from(first)];
    if !large.is_empty() {
        parts.push(large.to_vec().into());
    }
    let whole = parts.clone();
    if let Ok((_, messages)) = Envelope::decode(&mut parts) {
        let said: usize = messages.sizes.iter().sum();
        let had: usize = whole.iter().map(|part| part.len()).sum();
        let mut behind = &*whole[0];
        let head = prost::decode_length_delimiter(&mut behind).unwrap_or(0);
        let of_head = whole[0].len() - behind.len() + head;
        assert_eq!(said + of_head, had, "something was made up or left out");
        let sizes = messages.sizes.clone();
        if let Ok(frames) = messages.take_in(&mut FrameReader::of_link(), usize::MAX, "fuzz") {
            let lengths: Vec<usize> = frames.iter().map(Frame::len).collect();
            assert_eq!(lengths, sizes);
        }
    }
}

/// Reads messages that come one after another, each with its length before it: what a reader
/// remembers of earlier ones changes nothing.
pub fn frames(bytes: &[u8]) {
    let mut reader = FrameReader::default();
    let mut rest = bytes;
    while let [length, more @ ..] = rest {
        let (message, left) = more.split_at(more.len().min(usize::from(*length)));
        rest = left;
        let together = reader.parse(message.to_vec(), 1 << 20).ok();
        let alone = Frame::parse(message.to_vec(), 1 << 20).ok();
        assert_eq!(together, alone);
        if let Some(frame) = together {
            let rebuilt = frame.with_payload(b"another").into_bytes();
            let rebuilt = reader.parse(rebuilt, 1 << 20).expect("a frame");
            let message = PalmMessage {
                payload: b"another".to_vec(),
                failure: None,
                end: None,
                ..frame.to_message()
            };
            assert_eq!(rebuilt.to_message(), message);
        }
    }
}

/// Has peers say whatever they like to the server's side of the link, in whatever order.
pub fn post(bytes: &[u8]) {
    let mut now = Instant::now();
    let settings = PostSettings {
        epoch: "epoch".to_owned(),
        hold: 10_000,
        subscribers: 1,
        patience: Duration::from_secs(5),
        submits: true,
        max_message: 1_000,
        stalled: Default::default(),
        workers: Some(Settings::default()),
    };
    let mut post = Post::new(settings, Ledger::new(|| {}));
    let mut rest = bytes;
    while let [what, length, more @ ..] = rest {
        let (body, left) = more.split_at(more.len().min(usize::from(*length)));
        rest = left;
        let conn = u64::from(what & 7);
        match what >> 3 {
            0..16 => {
                let Ok(head) = <Head as prost::Message>::decode(body).map(Box::new) else {
                    continue;
                };
                let given = head.sizes.len() + head.results().count();
                let frames = (0..given.min(50)).map(|number| {
                    let mut frame = Frame::new("", "a/1", "s.f", "", body);
                    frame.set_place(number as u64, &[]);
                    frame
                });
                post.receive(conn, head, frames.collect(), now);
            }
            16 => post.unreachable(conn, &[], now),
            17 => now += Duration::from_millis(u64::from(*length) * 20),
            18 => give(&mut post, Frame::new("", "a/1", "s.f", "", body), now),
            19 => post.set_wire_subscribers(&String::from_utf8_lossy(body), conn as usize),
            20 => {
                if let Some(tasks) = post.tasks() {
                    tasks.set_wired(conn as usize % 3, *length > 100, now);
                }
            }
            21 => {
                if let Ok(frame) = Frame::parse(body.to_vec(), 1_000)
                    && let Some(tasks) = post.tasks()
                {
                    tasks.wired(frame, now);
                }
            }
            _ => {}
        }
        while let Some(item) = post.next_submitted(Portion::ANY) {
            let made = Made {
                frame: item.frame,
                ticket: Some(item.ticket),
            };
            post.work(made, now);
        }
        while let Some(made) = post.next_result(true) {
            post.give_client(made, now);
        }
        let mut buffer = Vec::new();
        while let Some(given) = post.tasks().and_then(|tasks| tasks.next_wired(&mut buffer)) {
            drop(given);
        }
        while post.next_published().is_some() {}
        post.tick(now);
        drop(post.take(now));
    }
}

fn give(post: &mut Post, frame: Frame, now: Instant) {
    let made = Made {
        frame,
        ticket: None,
    };
    match made.frame.payload().len() % 2 {
        0 => post.give_step("s", made, now),
        _ => post.give_client(made, now),
    }
}
