use super::*;
use crate::message::FailureKind;

fn message() -> PalmMessage {
    PalmMessage {
        pipeline: "stream".into(),
        client: "client".into(),
        stage: 3,
        function: "server.foo".into(),
        cache: String::new(),
        payload: vec![7; 300],
        ..Default::default()
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
fn an_end_travels_without_a_payload_and_leaves_with_the_next() {
    let mark = Frame::from(&message()).with_end(End { messages: 300 });
    assert_eq!(mark.payload(), b"");
    assert_eq!(reparsed(&mark).end, Some(End { messages: 300 }));
    assert_eq!(Frame::from(&mark.to_message()), mark);
    assert_eq!(mark.with_payload(b"x").end(), None);
    // Of an empty job.
    let empty = mark.with_end(End { messages: 0 });
    assert_eq!(reparsed(&empty).end, Some(End { messages: 0 }));
    // One that comes twice is merged.
    let twice = [mark.as_bytes(), empty.as_bytes()].concat();
    let twice = Frame::parse(twice, 1 << 20).unwrap();
    assert_eq!(reparsed(&twice).end, Some(End { messages: 300 }));
    // A worker of pylm that ran a function on it sends it back with a payload.
    let mut run = mark.to_message();
    run.payload = b"0".to_vec();
    assert_eq!(reparsed(&Frame::from(&run)), run);
}

#[test]
fn every_truncation_is_an_error_or_a_shorter_message() {
    let mut whole = message();
    whole.failure = Some(Failure::new(FailureKind::Function, "why"));
    whole.end = Some(End { messages: 1 << 40 });
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
    for wrong in [[0x08, 0x01], [0x70, 0x01], [0x78, 0x01]] {
        // 1, 14 and 15: varint
        let bytes = [&bytes[..], &wrong].concat();
        assert!(Frame::parse(bytes, 1 << 20).is_err());
    }
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

#[test]
fn a_message_over_the_limit_has_a_failure_that_is_small() {
    let frame = Frame::new("p", "client", "s.f", "id", &[0; 1_001]);
    let take_in = |limit| {
        FrameReader::default()
            .take_in(frame.as_bytes().to_vec(), limit, "s")
            .unwrap()
    };
    assert_eq!(take_in(1_001).0, frame);
    assert!(take_in(1_001).1.is_none());
    let (failed, error) = take_in(1_000);
    let error = error.unwrap();
    let sizes = (1_001, 1_000);
    assert!(
        matches!(error, Error::TooLarge { size, limit } if (size, limit) == sizes),
        "{error}"
    );
    assert_eq!((failed.client(), failed.cache()), ("client", "id"));
    assert_eq!(failed.payload(), b"0");
    assert!(failed.len() < 200, "{} bytes", failed.len());
    let error = failed.failure().unwrap().into_error("s.f");
    let cause = "a message of 1001 bytes is over the limit of 1000 bytes (at 's')";
    assert_eq!(error.to_string(), format!("s.f was refused: {cause}"));
}

/// Messages that come together, as one reader and each by its own reader reads them.
fn of_another_client() -> PalmMessage {
    PalmMessage {
        client: "another".into(),
        ..message()
    }
}

#[test]
fn what_a_reader_remembers_changes_nothing() {
    let message = message();
    let mut later = message.clone();
    later.stage = 4;
    let other = of_another_client();
    let longer = PalmMessage {
        function: "server.foo next.bar".into(),
        ..message.clone()
    };
    let none = PalmMessage {
        payload: b"x".to_vec(),
        ..Default::default()
    };
    let all = [
        &message, &later, &message, &longer, &message, &other, &none, &other, &later,
    ];
    let mut frames: Vec<_> = all.iter().map(|message| message.encode_frame()).collect();
    // Its texts come last, and some of them twice.
    frames.push([&none.encode_frame()[..], &other.encode_frame()].concat());
    frames.push([&message.encode_frame()[..], &other.encode_frame()].concat());
    frames.push(message.encode_frame());
    // A text that is no text.
    frames.push([&message.encode_frame()[..], &[0x12, 1, 0xff]].concat());
    frames.push(message.encode_frame());
    let mut changed = Frame::from(&message);
    changed.set_stage(9);
    changed.set_cache("key");
    frames.push(changed.with_payload(b"y").into_bytes());
    frames.push(changed.another("", b"y").into_bytes());
    let mut reader = FrameReader::default();
    for bytes in frames {
        let alone = Frame::parse(bytes.clone(), 1 << 20);
        let together = reader.parse(bytes.clone(), 1 << 20);
        let message = PalmMessage::decode_frame(&bytes, 1 << 20);
        assert_eq!(together.is_ok(), message.is_ok());
        let (Ok(alone), Ok(together), Ok(message)) = (alone, together, message) else {
            continue;
        };
        assert_eq!(alone, together);
        assert_eq!(together.to_message(), message);
        let rebuilt = reader
            .parse(together.with_payload(b"z").into_bytes(), 1 << 20)
            .unwrap();
        assert_eq!(rebuilt, together.with_payload(b"z"));
        assert_eq!(rebuilt.stage(), message.stage);
    }
}

#[test]
fn messages_that_come_together_are_what_each_would_be_alone() {
    let message = message();
    let other = of_another_client();
    let long = PalmMessage {
        payload: vec![1; 5_000],
        ..message.clone()
    };
    let mut all = vec![&message; 40];
    all.extend([
        &other, &message, &long, &long, &message, &message, &other, &other,
    ]);
    let bytes: Vec<_> = all.iter().map(|message| message.encode_frame()).collect();
    let sizes: Vec<_> = bytes.iter().map(Vec::len).collect();
    let mut reader = FrameReader::default();
    let mut read = |bytes: &[u8], sizes: &[usize], limit| {
        let mut frames = Vec::new();
        let result = reader.take_in_all(bytes, sizes, limit, "here", &mut frames);
        result.map(|()| frames)
    };
    let mut frames = read(&bytes.concat(), &sizes, 1 << 20).unwrap();
    assert_eq!(frames.len(), all.len());
    for (frame, bytes) in frames.iter().zip(&bytes) {
        assert_eq!(*frame, Frame::parse(bytes.clone(), 1 << 20).unwrap());
    }

    // A change of one is none of those beside it, nor of its clones.
    let before = frames.clone();
    frames[1].set_stage(7);
    frames[2].separate();
    assert_eq!((frames[1].stage(), before[1].stage()), (7, message.stage));
    assert!(frames[2..] == before[2..] && frames[0] == before[0]);
    let lent = frames[3].clone().lend();
    assert_eq!((*lent).as_ref(), bytes[3]);

    // Those that are too large are told of, and the others are there.
    let frames = read(&bytes.concat(), &sizes, 4_000).unwrap();
    let too_large: Vec<_> = (0..all.len())
        .filter(|&at| frames[at].is_failure())
        .collect();
    assert_eq!(too_large, [42, 43]);
    assert_eq!(frames[44], before[44]);

    // One that is malformed, or not there, is found.
    let mut broken = bytes.clone();
    broken[20].pop();
    let shorter: Vec<_> = broken.iter().map(Vec::len).collect();
    assert!(read(&broken.concat(), &shorter, 1 << 20).is_err());
    assert!(read(&bytes[..47].concat(), &sizes, 1 << 20).is_err());
}

#[test]
fn what_is_lent_stays_as_it_was() {
    let mut frame = Frame::from(&message());
    let before = frame.as_bytes().to_vec();
    let lent = frame.clone().lend();
    assert_eq!((*lent).as_ref().as_ptr(), frame.as_bytes().as_ptr());
    frame.set_cache("another");
    assert_eq!((*lent).as_ref(), before);
    assert_eq!(frame.cache(), "another");
}

#[test]
fn the_step_of_a_frame_is_that_of_its_path() {
    for function in ["a.b", "a.b cc.dd e.f", "no path", ""] {
        for stage in -1..5 {
            let mut frame = Frame::new("", "c", function, "", b"x");
            frame.set_stage(stage);
            let of_path = Path::parse(function).and_then(|path| path.step(stage));
            assert_eq!(frame.step().ok(), of_path.ok(), "{function} at {stage}");
        }
    }
}

#[test]
fn messages_of_mixed_jobs_take_little_more_room_than_they_are_long() {
    let message = message();
    let other = of_another_client();
    let all: Vec<_> = (0..200).map(|at| [&message, &other][at % 2]).collect();
    let bytes: Vec<_> = all.iter().map(|message| message.encode_frame()).collect();
    let sizes: Vec<_> = bytes.iter().map(Vec::len).collect();
    let mut frames = Vec::new();
    let mut reader = FrameReader::default();
    let limit = 1 << 20;
    reader
        .take_in_all(&bytes.concat(), &sizes, limit, "here", &mut frames)
        .unwrap();
    assert_eq!(frames.len(), all.len());
    let room: usize = frames
        .into_iter()
        .map(|frame| frame.into_bytes().capacity())
        .sum();
    assert!(room <= 2 * sizes.iter().sum::<usize>(), "{room}");
}

/// A bundle of messages with these payloads, of which the first has this number.
fn bundle(form: &Frame, number: u64, payloads: &[&[u8]]) -> Frame {
    let mut bundler = Bundler::of_job(form, number);
    for payload in payloads {
        assert!(bundler.has_room(payload.len()));
        bundler.push(payload);
    }
    bundler.take()
}

fn form(cache: &str) -> Frame {
    let mut form = Frame::new("p", "c/1", "s.f t.g", cache, b"");
    form.set_stage(1);
    form
}

fn through_link(frame: &Frame) -> Frame {
    let mut reader = FrameReader::of_link();
    reader.parse(frame.as_bytes().to_vec(), 1 << 20).unwrap()
}

#[test]
fn the_messages_of_a_bundle_are_what_they_would_be_alone() {
    for cache in ["", "key"] {
        let payloads: [&[u8]; 4] = [b"one", b"", b"three", &[4; 300]];
        let mut whole = through_link(&bundle(&form(cache), 7, &payloads));
        whole.set_stage(5);
        whole.add_position(9);
        let whole = through_link(&whole);
        assert_eq!(whole.count(), 4);
        let singles: Vec<_> = (0..4).map(|at| whole.single(at)).collect();
        let mut keys = std::collections::BTreeSet::new();
        for (at, single) in singles.iter().enumerate() {
            let mut expected = form(cache).another(single.cache(), payloads[at]);
            expected.set_stage(5);
            expected.set_place(7 + at as u64, &[9]);
            assert_eq!(single.to_message(), expected.to_message());
            assert_eq!(single.count(), 1);
            assert_eq!(
                (whole.payload_at(at), single.payload_at(0)),
                (payloads[at], payloads[at])
            );
            keys.insert(single.cache().to_owned());
        }
        // Each has a key of its own, unless it was given one.
        assert_eq!(keys.len(), if cache.is_empty() { 4 } else { 1 });
        assert!(cache.is_empty() || keys.contains(cache));
        // Taken apart in whatever way, they are the same.
        let (first, rest) = (whole.part(0, 1), through_link(&whole.part(1, 3)));
        assert_eq!(first, singles[0]);
        assert_eq!(rest.single(1), singles[2]);
        assert_eq!(rest.part(1, 2).single(1), singles[3]);
    }
}

#[test]
fn what_comes_of_a_bundle_stands_where_its_messages_do() {
    let whole = bundle(&form(""), 7, &[b"1", b"2", b"3", b"4", b"5"]);
    let mut results = Bundler::of_results(&whole, 1);
    results.push(b"two");
    results.push(b"three");
    let part = results.take();
    assert_eq!(part.count(), 2);
    results.push(b"four");
    let alone = results.take();
    for (at, result) in [(1, part.single(0)), (2, part.single(1)), (3, alone)] {
        let message = whole.single(at);
        assert_eq!(result, message.with_payload(result.payload()), "at {at}");
    }
}

#[test]
fn a_bundle_has_as_many_messages_and_bytes_as_it_may() {
    let mut bundler = Bundler::of_job(&form(""), 1);
    while bundler.has_room(1) {
        bundler.push(b"x");
    }
    assert_eq!(through_link(&bundler.take()).count(), MOST_BUNDLED);
    bundler.push(&[0; BUNDLE_BYTES - 10]);
    assert!(bundler.has_room(10) && !bundler.has_room(11));
    bundler.push(&[0; 10]);
    let next = through_link(&bundler.take());
    assert_eq!(next.place().unwrap().number, 1 + MOST_BUNDLED as u64);
    assert_eq!(next.payload().len(), BUNDLE_BYTES);
}

#[test]
fn only_who_knows_of_bundles_reads_one_and_only_a_sound_one() {
    let whole = bundle(&form(""), 1, &[b"one", b"two"]);
    let bytes = whole.as_bytes().to_vec();
    // To pylm it is one message; but nobody passes it on as one.
    assert!(Frame::parse(bytes.clone(), 1 << 20).is_err());
    assert_eq!(
        PalmMessage::decode_frame(&bytes, 1 << 20).unwrap().payload,
        b"onetwo"
    );
    let refused = |more: &[u8]| {
        let bytes = [&bytes[..], more].concat();
        FrameReader::of_link().parse(bytes, 1 << 20).is_err()
    };
    assert!(!refused(&[]));
    // Another payload, a failure, lengths that do not fit, none, too many.
    assert!(refused(&[0x32, 1, b'x']));
    assert!(refused(&[0x7a, 0]));
    assert!(refused(&[0x5a, 4, 0x0a, 2, 3, 4]));
    assert!(refused(&[0x5a, 0]));
    let many = [&[0x5a, 70, 0x0a, 68][..], &[0; 68]].concat();
    assert!(refused(&many));
    let huge = [
        0x5a, 14, 0x0a, 12, 0xff, 0xff, 0xff, 0xff, 0xf, 7, 0xff, 0xff, 0xff, 0xff, 0xf, 7,
    ];
    assert!(refused(&huge));
    // One who takes smaller payloads only is sent none.
    let take_in = |limit| FrameReader::of_link().take_in(bytes.clone(), limit, "here");
    assert!(take_in(6).is_ok() && take_in(5).is_err());
}

#[test]
fn small_messages_that_follow_each_other_are_gathered_and_others_are_not() {
    let mut gathering = Gathering::default();
    let mut reader = FrameReader::default();
    let mut add = |frame: &Frame| gathering.add(&mut reader, frame.as_bytes(), 1_000);
    let plain = |client: &str, payload: &[u8]| Frame::new("", client, "s.f", "", payload);
    assert_eq!(add(&plain("a", b"1")), Some(None));
    assert_eq!(add(&plain("a", b"2")), Some(None));
    // Of another client.
    let before = add(&plain("b", b"3")).unwrap().unwrap();
    assert_eq!((before.client(), before.count()), ("a", 2));
    assert_eq!(
        (before.payload_at(0), before.payload_at(1)),
        (&b"1"[..], &b"2"[..])
    );
    // Another stage.
    let mut staged = plain("b", b"4");
    staged.set_stage(1);
    let before = add(&staged).unwrap().unwrap();
    assert_eq!((before.client(), before.stage()), ("b", 0));
    assert_eq!(before.cache().len(), 36);
    // These say something else, too.
    let mut placed = plain("b", b"5");
    placed.set_place(1, &[]);
    let given = Giving::default();
    let mut of_worker = plain("b", b"5");
    of_worker.set_giving(given);
    let others = [
        Frame::new("", "b", "s.f", "key", b"5"),
        plain("b", b"5").with_end(End::default()),
        plain("b", &[5; 1_001]),
        placed,
        of_worker,
    ];
    for other in &others {
        assert_eq!(add(other), None);
    }
    // As many as there may be, and the next.
    for _ in 1..MOST_BUNDLED {
        assert_eq!(add(&staged), Some(None));
    }
    assert_eq!(
        add(&staged).unwrap().map(|full| full.count()),
        Some(MOST_BUNDLED)
    );
    let last = gathering.take().unwrap();
    assert_eq!((last.count(), last.stage()), (1, 1));
    assert!(gathering.take().is_none());
}

#[test]
fn a_message_of_a_bundle_is_written_as_it_would_be_alone() {
    let mut gathering = Gathering::default();
    let mut reader = FrameReader::default();
    for payload in [&b"one"[..], b"", b"three"] {
        let mut frame = Frame::new("p", "c", "s.f t.g", "", payload);
        frame.set_stage(1);
        gathering.add(&mut reader, frame.as_bytes(), 1_000).unwrap();
    }
    let bundle = gathering.take().unwrap();
    for at in 0..bundle.count() {
        let giving = Giving {
            task: 7,
            attempt: 2,
            run: 3,
        };
        let mut alone = bundle.single(at);
        let key = uuid::Uuid::parse_str(alone.cache()).unwrap().as_u128();
        assert_eq!(bundle.index_of_key(key), Some(at));
        alone.set_giving(giving);
        let mut written = Vec::new();
        bundle.write_given(at, giving, &mut written);
        let read = Frame::parse(written, 1_000).unwrap();
        assert_eq!(read.to_message(), alone.to_message());
        let read_given = reader.read_given(read.as_bytes());
        assert_eq!(read_given, Some(("c", giving)));
    }
    let other = uuid::Uuid::new_v4().as_u128();
    assert_eq!(bundle.index_of_key(other), None);
}

#[test]
fn of_two_givings_the_last_one_counts_whatever_is_0_in_it() {
    let mut frame = Frame::new("", "c", "s.f", "", b"x");
    frame.set_giving(Giving {
        task: 5,
        attempt: 2,
        run: 3,
    });
    let first = Giving {
        task: 0,
        attempt: 1,
        run: 9,
    };
    frame.set_giving(first);
    let read = Frame::parse(frame.as_bytes().to_vec(), 1_000).unwrap();
    assert_eq!(read.giving(), Some(first));
}

#[test]
fn what_has_fields_that_are_not_ours_is_not_gathered() {
    let mut gathering = Gathering::default();
    let mut reader = FrameReader::default();
    let frame = Frame::new("", "c", "s.f", "", b"x");
    let mut bytes = frame.as_bytes().to_vec();
    assert_eq!(gathering.add(&mut reader, &bytes, 1_000), Some(None));
    bytes.extend([0x9a, 0x06, 1, 7]); // Field 99.
    assert_eq!(gathering.add(&mut reader, &bytes, 1_000), None);
}
