//! Parts by themselves: what pushes and pulls between components, and what is beside the stream.

mod common;

use std::sync::mpsc;
use std::time::Duration;

use common::{Log, SOON, fixed, limit, message, peer, timed, until};
use palm::part::{
    Batch, BypassSender, FunctionService, Inlet, Outlet, PubService, PullBypass, PullConnection,
    PullService, PushBypass, PushConnection, PushService, Received, RepBypass, SubConnection,
    Unsent, WorkerPullService, WorkerPushService, channel,
};
use palm::{Assembly, Error, Frame, Functions, Running};

/// A port that is free.
const FREE: &str = "tcp://127.0.0.1:*";

fn frame(number: u32) -> Frame {
    Frame::new("", "me", "s.f", "", &number.to_be_bytes())
}

fn feed(outlet: &Outlet, numbers: std::ops::Range<u32>) {
    for number in numbers {
        outlet.send(Batch::from_iter([frame(number)])).unwrap();
    }
}

/// So many messages as they come out of a channel.
fn frames(inlet: &Inlet, count: usize) -> Vec<Frame> {
    let mut frames = Vec::new();
    while frames.len() < count {
        match inlet.recv_timeout(SOON) {
            Received::Batch(batch) => frames.extend(batch.into_iter().map(|parcel| parcel.frame)),
            end => panic!("{end:?} after {} messages", frames.len()),
        }
    }
    frames
}

fn numbers(inlet: &Inlet, count: usize) -> Vec<u32> {
    let number = |frame: &Frame| u32::from_be_bytes(frame.payload().try_into().unwrap());
    frames(inlet, count).iter().map(number).collect()
}

fn address<'a>(running: &'a Running, part: &str) -> &'a str {
    running.address_of(part).expect("a part that binds")
}

/// Feeds messages to the one, and expects them of the other.
fn assert_carries(feeds: &Outlet, gives: &Inlet) {
    let count = 3_000;
    let carried = std::thread::scope(|scope| {
        scope.spawn(|| feed(feeds, 0..count));
        frames(gives, count as usize)
    });
    let numbers = carried.iter().map(|frame| frame.payload().to_vec());
    assert!(numbers.eq((0..count).map(|number| number.to_be_bytes().to_vec())));
    // One that had no id has a fresh one.
    let ids: std::collections::HashSet<&str> = carried.iter().map(Frame::cache).collect();
    assert!(ids.len() == carried.len() && !ids.contains(""));
}

#[test]
fn a_connection_that_pulls_takes_from_a_service_that_pushes() {
    let _limit = limit(60, "push binds, pull connects");
    let ((feeds, inlet), (outlet, gives)) = (channel().unwrap(), channel().unwrap());
    let push = PushService::new(FREE).start(inlet).unwrap();
    let pull = PullConnection::new(address(&push, "Push"))
        .start(outlet)
        .unwrap();
    assert_carries(&feeds, &gives);
    assert_eq!(pull.address_of("Pull"), None);
    pull.stop().unwrap();
    push.stop().unwrap();
}

#[test]
fn a_connection_that_pushes_gives_to_a_service_that_pulls_even_if_it_was_there_first() {
    let _limit = limit(60, "push connects, pull binds");
    let ((feeds, inlet), (outlet, gives)) = (channel().unwrap(), channel().unwrap());
    let at = fixed();
    let _push = PushConnection::new(&at).start(inlet).unwrap();
    feed(&feeds, 0..1);
    let _pull = PullService::new(&at).start(outlet).unwrap();
    assert_eq!(numbers(&gives, 1), [0]);
    assert_carries(&feeds, &gives);
}

#[test]
fn a_worker_s_parts_get_and_give_messages_as_they_are() {
    let _limit = limit(60, "a worker's parts");
    let ((feeds, inlet), (outlet, gives)) = (channel().unwrap(), channel().unwrap());
    let push = WorkerPushService::new(FREE).start(inlet).unwrap();
    let pull = WorkerPullService::new(FREE).start(outlet).unwrap();
    let context = zmq::Context::new();
    let takes = peer(&context, zmq::PULL, address(&push, "WorkerPush"));
    let back = peer(&context, zmq::PUSH, address(&pull, "WorkerPull"));
    for number in 0..100 {
        feed(&feeds, number..number + 1);
        let bytes = takes.recv_bytes(0).unwrap();
        assert_eq!(bytes, frame(number).into_bytes());
        back.send(bytes, 0).unwrap();
        assert_eq!(frames(&gives, 1), [frame(number)]);
    }
}

#[test]
fn a_connection_that_subscribes_takes_what_a_service_publishes_under_its_topic() {
    let _limit = limit(60, "pub binds, sub connects");
    let ((feeds, inlet), (outlet, gives)) = (channel().unwrap(), channel().unwrap());
    let publisher = PubService::new(FREE).start(inlet).unwrap();
    let at = address(&publisher, "Pub");
    // Neither a topic that only begins like this one, nor another, is for it.
    let (other, others) = channel().unwrap();
    let _other = SubConnection::new(at, "m").start(other).unwrap();
    let _sub = SubConnection::new(at, "me").start(outlet).unwrap();
    assert_carries(&feeds, &gives);
    assert_eq!(others.try_recv(), Received::Nothing);
}

#[test]
fn components_feed_each_other_whichever_side_binds() {
    let _limit = limit(60, "components that feed each other");
    let ((feeds, inlet), (outlet, gives)) = (channel().unwrap(), channel().unwrap());
    // first ─► (connects) second (binds) ─► (connects) third
    let second = Assembly::new("second")
        .inbound("Pull", PullService::new(FREE), "Push")
        .outbound("Push", PushService::new(FREE))
        .start()
        .unwrap();
    let first = Assembly::new("first")
        .inlet("In", inlet, "Push")
        .outbound("Push", PushConnection::new(address(&second, "Pull")))
        .start()
        .unwrap();
    let third = Assembly::new("third")
        .inbound("Pull", PullConnection::new(address(&second, "Push")), "Out")
        .outlet("Out", outlet)
        .start()
        .unwrap();
    assert_carries(&feeds, &gives);
    drop(feeds);
    for component in [first, second, third] {
        component.stop().unwrap();
    }
}

#[test]
fn those_who_pull_from_one_service_share_its_messages() {
    let _limit = limit(60, "several who pull");
    let (feeds, inlet) = channel().unwrap();
    let push = PushService::new(FREE).start(inlet).unwrap();
    let pulls = [(); 3].map(|()| {
        let (outlet, gives) = channel().unwrap();
        let pull = PullConnection::new(address(&push, "Push"))
            .start(outlet)
            .unwrap();
        (pull, gives)
    });
    // Each takes some, in the end: one that has none yet is still about to connect.
    let mut next = 0;
    let mut taken = [const { Vec::new() }; 3];
    until("each to have taken something", || {
        feed(&feeds, next..next + 1);
        next += 1;
        for ((_, gives), taken) in pulls.iter().zip(&mut taken) {
            while let Received::Batch(batch) = gives.recv_timeout(Duration::from_millis(1)) {
                taken.extend(
                    batch
                        .into_iter()
                        .map(|parcel| parcel.frame.payload().to_vec()),
                );
            }
        }
        taken.iter().all(|taken| !taken.is_empty())
    });
    until("all to have come", || {
        for ((_, gives), taken) in pulls.iter().zip(&mut taken) {
            while let Received::Batch(batch) = gives.try_recv() {
                taken.extend(
                    batch
                        .into_iter()
                        .map(|parcel| parcel.frame.payload().to_vec()),
                );
            }
        }
        taken.iter().map(Vec::len).sum::<usize>() >= next as usize
    });
    let all = common::sorted(taken.into_iter().flatten());
    assert!(
        all.into_iter()
            .eq((0..next).map(|number| number.to_be_bytes().to_vec()))
    );
}

#[test]
fn what_was_taken_before_a_stop_is_sent_on() {
    let _limit = limit(60, "a stop of one that pushes");
    let context = zmq::Context::new();
    let pull = context.socket(zmq::PULL).unwrap();
    pull.set_rcvtimeo(i32::try_from(SOON.as_millis()).unwrap())
        .unwrap();
    pull.bind("tcp://127.0.0.1:*").unwrap();
    let at = pull.get_last_endpoint().unwrap().unwrap();
    let (feeds, inlet) = channel().unwrap();
    let push = PushConnection::new(at).start(inlet).unwrap();
    feeds.send((0..100).map(frame).collect()).unwrap();
    // It is connected when the first has come.
    let mut received = vec![pull.recv_bytes(0).unwrap()];
    feeds.send((100..200).map(frame).collect()).unwrap();
    drop(feeds);
    push.stop().unwrap();
    received.extend((1..200).map(|_| pull.recv_bytes(0).unwrap()));
    assert!(
        received
            .into_iter()
            .eq((0..200).map(|number| frame(number).into_bytes()))
    );
}

#[test]
fn a_stop_while_nobody_pulls_ends_in_time_and_says_what_is_lost() {
    let _limit = limit(60, "a stop while nobody pulls");
    let log = Log::install();
    for (name, count) in [("service", 40), ("connection", 400)] {
        let (feeds, inlet) = channel().unwrap();
        let parts = Assembly::new(name).inlet("In", inlet, "Push");
        let parts = match name {
            // A service has nobody to hold messages for.
            "service" => parts.outbound("Push", PushService::new(FREE)),
            // A connection has: libzmq, for the one that may come.
            _ => parts.outbound("Push", PushConnection::new(fixed())),
        };
        let running = parts.start().unwrap();
        for batch in 0..4 {
            let numbers = batch * count / 4..(batch + 1) * count / 4;
            feeds.send(numbers.map(frame).collect()).unwrap();
        }
        drop(feeds);
        let (_, took) = timed(|| running.stop().unwrap());
        assert!(took < Duration::from_secs(2), "{took:?}");
        let said = log.lines(name, "messages that did not get on");
        assert!(!said.is_empty(), "{name}");
    }
}

/// How many messages a component said to be lost when it ended.
fn said_lost(log: &Log, name: &str) -> usize {
    let lines = log.lines(name, "messages that did not get on");
    let lost = |line: &String| line.split(' ').find_map(|word| word.parse::<usize>().ok());
    lines.iter().map(|line| lost(line).expect("a number")).sum()
}

#[test]
fn all_that_is_lost_at_a_stop_is_counted_with_what_is_in_the_channel() {
    let _limit = limit(60, "a stop with a full channel");
    let log = Log::install();
    let (feeds, inlet) = channel().unwrap();
    let parts = Assembly::new("counted").inlet("In", inlet, "Push");
    let running = parts
        .outbound("Push", PushService::new(FREE))
        .start()
        .unwrap();
    // One batch in hand, and as many as the channel to it holds.
    for batch in 0..9 {
        let numbers = batch * 100..(batch + 1) * 100;
        feeds.send(numbers.map(frame).collect()).unwrap();
    }
    drop(feeds);
    running.stop().unwrap();
    assert_eq!(said_lost(log, "counted"), 900);
}

#[test]
fn a_part_whose_messages_nobody_takes_any_more_ends_and_says_why() {
    let _limit = limit(60, "a part that is left");
    let context = zmq::Context::new();
    let says_so = |running: &Running, name: &str| {
        let error = running.wait().unwrap_err().to_string();
        let expected = format!("part {name} died: nobody takes its messages any more");
        assert_eq!(error, expected);
    };
    let (outlet, inlet) = channel().unwrap();
    let pull = PullService::new(FREE).start(outlet).unwrap();
    drop(inlet);
    let push = peer(&context, zmq::PUSH, address(&pull, "Pull"));
    push.send(frame(1).as_bytes(), 0).unwrap();
    says_so(&pull, "Pull");
    // One that publishes, for two that subscribe.
    let (feeds, inlet) = channel().unwrap();
    let publisher = PubService::new(FREE).subscribers(2).start(inlet).unwrap();
    let at = address(&publisher, "Pub");
    let (outlet, inlet) = channel().unwrap();
    let sub = SubConnection::new(at, "me").start(outlet).unwrap();
    drop(inlet);
    let (outlet, inlet) = channel().unwrap();
    let results = palm::part::ResultConnection::new(at, "me")
        .start(outlet)
        .unwrap();
    drop(inlet);
    feed(&feeds, 0..3);
    says_so(&sub, "Sub");
    says_so(&results, "Sub");
    // After a stop, that is in order.
    let (outlet, inlet) = channel().unwrap();
    let pull = PullService::new(FREE).start(outlet).unwrap();
    drop(inlet);
    pull.stop().unwrap();
}

#[test]
fn raw_bytes_are_answered_by_a_function_that_may_panic() {
    let _limit = limit(60, "a bypass that answers");
    let health = RepBypass::new(FREE, |request| match request {
        b"panic" => panic!("as asked"),
        request => request.to_ascii_uppercase(),
    });
    let health = health.max_message(1_000).start().unwrap();
    let context = zmq::Context::new();
    let ask = peer(&context, zmq::REQ, address(&health, "Rep"));
    let answer = |request: &[u8]| {
        ask.send(request, 0).unwrap();
        ask.recv_bytes(0).unwrap()
    };
    assert_eq!(answer(b"well?"), b"WELL?");
    assert_eq!(answer(b"panic"), b"");
    assert_eq!(answer(&[b'x'; 2_000]), b"");
    assert_eq!(answer(&[b'x'; 1_000]), [b'X'; 1_000]);
    ask.send_multipart(["a", "b"], 0).unwrap();
    assert_eq!(ask.recv_bytes(0).unwrap(), b"");
    assert_eq!(answer(b""), b"");
    health.stop().unwrap();
}

/// A socket that pushes raw bytes, and where.
fn pusher(context: &zmq::Context, kind: zmq::SocketType) -> (zmq::Socket, String) {
    let socket = context.socket(kind).unwrap();
    let soon = i32::try_from(SOON.as_millis()).unwrap();
    socket.set_linger(0).unwrap();
    socket.set_sndtimeo(soon).unwrap();
    socket.set_rcvtimeo(soon).unwrap();
    socket.bind("tcp://127.0.0.1:*").unwrap();
    let at = socket.get_last_endpoint().unwrap().unwrap();
    (socket, at)
}

#[test]
fn raw_bytes_are_given_to_a_function_that_may_panic() {
    let _limit = limit(60, "a bypass that pulls");
    let context = zmq::Context::new();
    let (push, at) = pusher(&context, zmq::PUSH);
    let (take, taken) = mpsc::channel();
    let logs = PullBypass::new(at, move |bytes| {
        assert_ne!(bytes, b"panic");
        take.send(bytes).unwrap();
    });
    let logs = logs.max_message(1_000).start().unwrap();
    for line in [&b"one"[..], b"panic", &[b'x'; 2_000], b"two", b""] {
        push.send(line, 0).unwrap();
    }
    push.send_multipart(["a", "b"], 0).unwrap();
    push.send("three", 0).unwrap();
    for expected in ["one", "two", "", "three"] {
        assert_eq!(taken.recv_timeout(SOON).unwrap(), expected.as_bytes());
    }
    logs.stop().unwrap();
    assert!(taken.recv().is_err(), "its function is dropped");
}

/// Sends until there is no room for more. Gives how many there were.
fn fill(sender: &BypassSender, bytes: &[u8]) -> usize {
    let mut sent = 0;
    loop {
        match sender.send(bytes) {
            Ok(()) => sent += 1,
            Err(Unsent::Full(back)) => {
                assert_eq!(back, bytes);
                return sent;
            }
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn raw_bytes_are_pushed_in_order_and_what_cannot_be_is_given_back() {
    let _limit = limit(60, "a bypass that pushes");
    let context = zmq::Context::new();
    let (pull, at) = pusher(&context, zmq::PULL);
    let part = PushBypass::new(&at).max_message(1_000);
    let sender = part.sender();
    assert_eq!(
        sender.send([1; 1_001]),
        Err(Unsent::TooLarge(vec![1; 1_001]))
    );
    // Also before it runs.
    let sent = fill(&sender, b"early");
    assert_eq!(sent, 1_024);
    let running = part.start().unwrap();
    for _ in 0..sent {
        assert_eq!(pull.recv_bytes(0).unwrap(), b"early");
    }
    // What waits when it is stopped is sent.
    let other = sender.clone();
    for number in 0..500_u32 {
        other.send(number.to_be_bytes()).unwrap();
    }
    running.stop().unwrap();
    assert_eq!(sender.send("late"), Err(Unsent::Closed(b"late".to_vec())));
    for number in 0..500_u32 {
        assert_eq!(pull.recv_bytes(0).unwrap(), number.to_be_bytes());
    }
}

#[test]
fn what_a_bypass_has_taken_at_its_end_is_sent_or_counted() {
    let _limit = limit(60, "the end of a bypass");
    let log = Log::install();
    let context = zmq::Context::new();
    for round in 0..10 {
        let (pull, at) = pusher(&context, zmq::PULL);
        pull.set_rcvtimeo(500).unwrap();
        let name = format!("ending-{round}");
        let part = PushBypass::new(&at);
        let sender = part.sender();
        let running = Assembly::new(&name)
            .inbound("Pull", PullService::new(FREE), "F")
            .outbound("F", FunctionService::new(Functions::new()))
            .bypass("Metrics", part)
            .start()
            .unwrap();
        let sending: Vec<_> = (0..2)
            .map(|_| {
                let sender = sender.clone();
                std::thread::spawn(move || {
                    let mut taken = 0;
                    loop {
                        match sender.send("x") {
                            Ok(()) => taken += 1,
                            Err(Unsent::Closed(_)) => return taken,
                            Err(_) => std::thread::yield_now(),
                        }
                    }
                })
            })
            .collect();
        let reading =
            std::thread::spawn(move || std::iter::from_fn(|| pull.recv_bytes(0).ok()).count());
        std::thread::sleep(Duration::from_millis(20));
        running.stop().unwrap();
        let taken: usize = sending
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum();
        let received = reading.join().unwrap();
        assert_eq!(received + said_lost(log, &name), taken, "round {round}");
    }
}

#[test]
fn a_bypass_whose_peer_is_away_is_full_at_some_time_and_ends_in_time() {
    let _limit = limit(60, "a bypass without a peer");
    let log = Log::install();
    let part = PushBypass::new(fixed());
    let sender = part.sender();
    let running = Assembly::new("away")
        .inbound("Pull", PullService::new(FREE), "F")
        .outbound("F", FunctionService::new(Functions::new()))
        .bypass("Metrics", part)
        .start()
        .unwrap();
    fill(&sender, b"x");
    let (_, took) = timed(|| running.stop().unwrap());
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert_eq!(log.lines("away", "Metrics ended with").len(), 1);
    // Large ones are bounded by their size.
    let part = PushBypass::new(fixed());
    assert_eq!(fill(&part.sender(), &[0; 8 << 20]), 4);
    let sender = part.sender();
    drop(part);
    assert!(matches!(sender.send("x"), Err(Unsent::Closed(_))));
}

#[test]
fn the_functions_of_a_component_push_metrics_past_its_stream() {
    let _limit = limit(60, "metrics");
    let context = zmq::Context::new();
    let (pull, at) = pusher(&context, zmq::PULL);
    let metrics = PushBypass::new(at);
    let sender = metrics.sender();
    let functions = Functions::new().function("f", move |call| {
        sender.send([b"called with ", call.payload()].concat())?;
        Ok(palm::Reply::None)
    });
    let component = Assembly::new("s")
        .inbound("Pull", PullService::new(FREE), "Functions")
        .outbound("Functions", FunctionService::new(functions))
        .bypass("Metrics", metrics)
        .start()
        .unwrap();
    let push = peer(&context, zmq::PUSH, address(&component, "Pull"));
    for payload in ["a", "b"] {
        let frame = message("me", "s.f", payload.as_bytes()).encode_frame();
        push.send(frame, 0).unwrap();
        let metric = pull.recv_string(0).unwrap().unwrap();
        assert_eq!(metric, format!("called with {payload}"));
    }
    component.stop().unwrap();
}

#[test]
fn every_part_refuses_a_bad_address_by_name() {
    let _limit = limit(60, "bad addresses");
    let outlet = || channel().unwrap().0;
    let inlet = || channel().unwrap().1;
    let connect = FREE; // A free port is nothing to connect to.
    for error in [
        PushService::new("x").start(inlet()),
        PushConnection::new(connect).start(inlet()),
        PullConnection::new(connect).start(outlet()),
        palm::part::RepService::new("x").start(outlet(), None),
        palm::part::RepConnection::new(connect).start(outlet(), None),
        RepBypass::new("x", |_| vec![]).start(),
        PullBypass::new(connect, |_| ()).start(),
        PushBypass::new(connect).start(),
    ] {
        assert!(matches!(error, Err(Error::Address { .. })), "{error:?}");
    }
}

#[test]
fn a_hook_chooses_the_topics_whatever_else_is_set_before_or_after_it() {
    let _limit = limit(60, "a hook and other settings");
    let hook = |_: &mut palm::PalmMessage| "chosen".to_owned();
    let new = || PubService::new(FREE);
    for publisher in [
        new().pipelined(true).route(hook),
        new().route(hook).pipelined(true),
        new().route(hook).pipelined(false),
    ] {
        let (feeds, inlet) = channel().unwrap();
        let publisher = publisher.start(inlet).unwrap();
        let context = zmq::Context::new();
        let topic = common::subscriber(&context, address(&publisher, "Pub"), "chosen");
        feed(&feeds, 0..1);
        assert_eq!(common::published(&topic).0, "chosen");
    }
}
