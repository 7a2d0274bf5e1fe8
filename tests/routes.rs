//! Where the messages of a component go: through hooks, several ways, to and from a user's threads.

mod common;

use std::sync::mpsc;

use common::{SOON, frame, limit, message, peer, published, subscriber, texts};
use palm::part::{
    Batch, FunctionService, Inlet, NotSent, Outlet, Parcel, PubService, PullService, Route, Ways,
    channel,
};
use palm::{Assembly, Frame, Functions, PalmMessage, Running};

/// A port that is free.
const FREE: &str = "tcp://127.0.0.1:*";

/// A component between two of the test's own channels, and a third for failures.
struct Tube {
    running: Running,
    feed: Outlet,
    out: Inlet,
    failed: Inlet,
}

fn tube(route: Route) -> Tube {
    let ((feed, inlet), (outlet, out)) = (channel().unwrap(), channel().unwrap());
    let (failures, failed) = channel().unwrap();
    let assembly = Assembly::new("s")
        .inlet("In", inlet, route)
        .inbound(
            "Pull",
            PullService::new(FREE),
            Route::through(["Out", "Failed"], |_, _| ()),
        )
        .outlet("Out", outlet)
        .outlet("Failed", failures);
    Tube {
        running: assembly.start().unwrap(),
        feed,
        out,
        failed,
    }
}

impl Tube {
    fn feed(&self, frames: impl IntoIterator<Item = Frame>) {
        self.feed.send(frames.into_iter().collect()).unwrap();
    }
}

#[test]
fn a_user_s_threads_feed_messages_in_and_take_them_out() {
    let _limit = limit(60, "a user's threads");
    let Tube {
        running, feed, out, ..
    } = tube(Route::to("Out"));
    let feeding = std::thread::spawn(move || {
        for number in 0..5_000 {
            let batch = Batch::from_iter([frame(&number.to_string())]);
            feed.send(batch).unwrap();
        }
        feed
    });
    // More than all the queues between hold: so the one who feeds has to wait.
    let expected: Vec<String> = (0..5_000).map(|number| number.to_string()).collect();
    assert_eq!(texts(&out, 5_000), expected);
    let feed = feeding.join().unwrap();
    running.stop().unwrap();
    assert_eq!(out.recv(), None);
    let late = || Batch::from_iter([frame("late")]);
    assert_eq!(feed.send(late()), Err(NotSent::Closed(late())));
}

#[test]
fn a_component_ends_when_all_its_sources_have() {
    let _limit = limit(60, "sources that end");
    let ((feed, inlet), (outlet, out)) = (channel().unwrap(), channel().unwrap());
    let (second, inlet_2) = channel().unwrap();
    let functions = Functions::new().function("echo", |call| Ok(call.payload().to_vec()));
    let running = Assembly::new("s")
        .inlet("In", inlet, "Functions")
        .inlet("In 2", inlet_2, "Functions")
        .outbound("Functions", FunctionService::new(functions))
        .replies("Functions", "Out")
        .outlet("Out", outlet)
        .start()
        .unwrap();
    drop(second);
    let numbers = || (0..2_000).map(|number| number.to_string());
    let feeding = std::thread::spawn(move || {
        for number in numbers() {
            feed.send(Batch::from_iter([frame(&number)])).unwrap();
        }
    });
    assert!(texts(&out, 2_000).into_iter().eq(numbers()));
    feeding.join().unwrap();
    running.wait().unwrap();
    assert_eq!(out.recv(), None);
}

#[test]
fn a_component_ends_when_a_user_who_takes_messages_goes_away() {
    let _limit = limit(60, "a user who goes away");
    let Tube {
        running, feed, out, ..
    } = tube(Route::to("Out"));
    drop(out);
    feed.send(Batch::from_iter([frame("x")])).unwrap();
    let error = running.wait().unwrap_err().to_string();
    assert!(error.contains("nobody takes what goes to 'Out'"), "{error}");
}

#[test]
fn scatter_makes_none_one_or_many_messages() {
    let tube = tube(Route::to("Out").scatter(|message| {
        let times = usize::from(message.payload[0] - b'0');
        std::iter::repeat_n(message, times)
    }));
    tube.feed(["2b", "0x", "1c"].map(frame));
    assert_eq!(texts(&tube.out, 3), ["2b", "2b", "1c"]);
}

/// What cannot be run, as a pylm worker would not survive it, and what has failed before.
fn unrunnable() -> [Frame; 2] {
    let failure = palm::message::Failure::new(palm::message::FailureKind::Function, "earlier");
    let bad_path = Frame::new("", "me", "nodot", "", b"bad path");
    [bad_path, frame("x").with_failure(&failure)]
}

#[test]
fn failures_go_another_way_past_the_hook() {
    let route = Route::to("Out")
        .failures_to("Failed")
        .scatter(|message: PalmMessage| {
            assert_ne!(message.payload, b"panic");
            [message]
        });
    let tube = tube(route);
    tube.feed([frame("a"), frame("panic"), frame("b")]);
    tube.feed(unrunnable());
    assert_eq!(texts(&tube.out, 2), ["a", "b"]);
    assert_eq!(texts(&tube.failed, 3), ["0", "0", "0"]);
}

#[test]
fn what_has_failed_goes_past_a_hook_that_makes_messages_with_no_other_way_to_go() {
    let route = Route::to("Out").scatter(|mut message: PalmMessage| {
        message.payload.push(b'!');
        [message.clone(), message]
    });
    let tube = tube(route);
    let [_, failed] = unrunnable();
    tube.feed([frame("a"), failed, frame("b")]);
    assert_eq!(texts(&tube.out, 5), ["a!", "a!", "0", "b!", "b!"]);
}

#[test]
fn a_hook_chooses_among_several_ways() {
    let by_length = |frame: Frame, ways: &mut Ways<'_>| {
        let way = usize::from(frame.payload().len() > 2);
        ways.send(way, frame);
    };
    let tube = tube(Route::through(["Out", "Failed"], by_length));
    tube.feed(["a", "long", "b"].map(frame));
    assert_eq!(texts(&tube.out, 2), ["a", "b"]);
    assert_eq!(texts(&tube.failed, 1), ["long"]);
}

#[test]
fn a_hook_that_chooses_is_kept_when_failures_go_another_way() {
    let never_failures = |frame: Frame, ways: &mut Ways<'_>| {
        assert!(!frame.is_failure());
        ways.send(0, frame);
    };
    let tube = tube(Route::through(["Out"], never_failures).failures_to("Failed"));
    tube.feed([frame("a")]);
    tube.feed(unrunnable());
    tube.feed([frame("b")]);
    assert_eq!(texts(&tube.out, 2), ["a", "b"]);
    assert_eq!(texts(&tube.failed, 2), ["0", "0"]);
}

#[test]
fn a_way_round_in_a_circle_does_not_hold_itself_up() {
    let _limit = limit(60, "a circle");
    // Each number goes round until it is 0.
    let ((feed, inlet), (outlet, out)) = (channel().unwrap(), channel().unwrap());
    let minus = Functions::new().function("echo", |call| Ok(vec![call.payload()[0] - 1]));
    let again = Route::through(["Out"], |frame: Frame, ways| {
        ways.send(usize::from(frame.payload()[0] > 0), frame);
    });
    let circle = Assembly::new("s")
        .inlet("In", inlet, "Functions")
        .outbound("Functions", FunctionService::new(minus))
        .replies("Functions", again.and_unbounded("Functions"))
        .outlet("Out", outlet)
        .start()
        .unwrap();
    let feeding = std::thread::spawn(move || {
        for _ in 0..20 {
            let batch: Batch = (0..100)
                .map(|_| Frame::new("", "", "s.echo", "", &[9]))
                .collect();
            feed.send(batch).unwrap();
        }
    });
    assert!(texts(&out, 2_000).iter().all(|text| text == "\0"));
    feeding.join().unwrap();
    circle.stop().unwrap();
}

#[test]
fn a_hook_may_be_where_messages_end() {
    let _limit = limit(60, "a hook without ways");
    let (seen, sees) = mpsc::channel();
    let nowhere: [&str; 0] = [];
    let route = Route::through(nowhere, move |frame: Frame, _| {
        seen.send(frame.payload().to_vec()).unwrap();
    });
    let counter = Assembly::new("s").inbound("Pull", PullService::new(FREE), route);
    let counter = counter.start().unwrap();
    let context = zmq::Context::new();
    let push = peer(&context, zmq::PUSH, counter.address_of("Pull").unwrap());
    for payload in [b"a", b"b"] {
        push.send(message("me", "s.f", payload).encode_frame(), 0)
            .unwrap();
        assert_eq!(sees.recv_timeout(SOON).unwrap(), payload);
    }
    assert!(!counter.is_over());
    counter.stop().unwrap();
}

#[test]
fn a_message_keeps_the_topic_that_it_came_with() {
    let _limit = limit(60, "topics");
    let (feed, inlet) = channel().unwrap();
    let assembly = Assembly::new("s")
        .inlet(
            "In",
            inlet,
            Route::to("Pub").scatter(|message| [message.clone(), message]),
        )
        .outbound("Pub", PubService::new(FREE))
        .start()
        .unwrap();
    let context = zmq::Context::new();
    let publish = assembly.address_of("Pub").unwrap();
    let chosen = subscriber(&context, publish, "chosen");
    let parcel = Parcel::new(Some("chosen".to_owned()), frame("x"));
    feed.send([parcel].into_iter().collect()).unwrap();
    for _ in 0..2 {
        assert_eq!(published(&chosen).0, "chosen");
    }
}

/// One by one to several threads: what is left behind must not be moved each time.
#[test]
fn many_messages_of_one_are_shared_by_threads_in_no_time() {
    let _limit = limit(30, "a large scatter");
    const MANY: usize = 20_000;
    let ((feed, inlet), (outlet, out)) = (channel().unwrap(), channel().unwrap());
    let functions = Functions::new().function("echo", |call| Ok(call.payload().to_vec()));
    let many = Route::to("Functions").scatter(|message| vec![message; MANY]);
    let _assembly = Assembly::new("s")
        .inlet("In", inlet, many)
        .outbound("Functions", FunctionService::new(functions).threads(2))
        .replies("Functions", "Out")
        .outlet("Out", outlet)
        .start()
        .unwrap();
    feed.send([frame("x")].into_iter().collect()).unwrap();
    assert_eq!(texts(&out, MANY).len(), MANY);
}
