//! Components that are put together from parts: those of either side feed those of the other,
//! and answer alike.

use std::time::{Duration, Instant};

use palm::part::{
    Batch, FunctionService, Inlet, Outlet, PubService, PullBypass, PullConnection, PullService,
    PushBypass, PushConnection, PushService, Received, RepBypass, RepConnection, RepService,
    channel,
};
use palm::{Assembly, Frame, PalmMessage, Running};

use crate::support::*;

/// A port that is free, for palm's parts. pylm's must be told theirs.
const FREE: &str = "tcp://127.0.0.1:*";
const COUNT: usize = 1_000;

/// A pylm component: what comes in at one part goes out at another.
fn pylm_parts(inbound: [&str; 2], outbound: [&str; 2], more: &[&str]) -> Peer {
    let mut command = script("parts.py");
    command.args(["--inbound", inbound[0], "--from", inbound[1]]);
    command.args(["--outbound", outbound[0], "--to", outbound[1]]);
    command.args(more);
    Peer::start("pylm parts", command)
}

fn bypass(what: &str, address: &str, more: &[&str]) -> Peer {
    let mut command = script("bypass.py");
    command.args([what, "--address", address]).args(more);
    Peer::start(&format!("pylm bypass {what}"), command)
}

fn address<'a>(running: &'a Running, part: &str) -> &'a str {
    running.address_of(part).unwrap()
}

/// Something to feed a part by, and something that another part gives to.
type Ends = ((Outlet, Inlet), (Outlet, Inlet));

fn ends() -> Ends {
    (channel().unwrap(), channel().unwrap())
}

fn frame(number: usize) -> Frame {
    Frame::new("", "me", "s.f", "", number.to_string().as_bytes())
}

/// Feeds numbers to the one, and panics unless the other gives them, each once and in order.
fn assert_all_pass(feeds: &Outlet, gives: &Inlet) {
    let mut passed = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..COUNT {
                feeds.send(Batch::from_iter([frame(number)])).unwrap();
            }
        });
        while passed.len() < COUNT {
            match gives.recv_timeout(SOON) {
                Received::Batch(batch) => passed.extend(batch),
                end => panic!("{end:?} after {} messages", passed.len()),
            }
        }
    });
    for (number, parcel) in passed.iter().enumerate() {
        assert_eq!(parcel.frame.payload(), number.to_string().as_bytes());
        assert_eq!(parcel.frame.client(), "me");
        assert!(!parcel.frame.cache().is_empty());
    }
}

#[test]
fn pylm_connections_take_from_a_palm_service_and_give_to_another() {
    let ((feeds, inlet), (outlet, gives)) = ends();
    let push = PushService::new(FREE).start(inlet).unwrap();
    let pull = PullService::new(FREE).start(outlet).unwrap();
    let from = ["PullConnection", address(&push, "Push")];
    let _pylm = pylm_parts(from, ["PushConnection", address(&pull, "Pull")], &[]);
    assert_all_pass(&feeds, &gives);
}

#[test]
fn palm_connections_take_from_a_pylm_service_and_give_to_another() {
    let ((feeds, inlet), (outlet, gives)) = ends();
    let at = free_addresses();
    let _pylm = pylm_parts(["PullService", &at.pull], ["PushService", &at.publish], &[]);
    let _push = PushConnection::new(&at.pull).start(inlet).unwrap();
    let _pull = PullConnection::new(&at.publish).start(outlet).unwrap();
    assert_all_pass(&feeds, &gives);
}

#[test]
fn a_pylm_sub_connection_takes_from_a_palm_publisher() {
    let ((feeds, inlet), (outlet, gives)) = ends();
    let publisher = PubService::new(FREE).pipelined(true).start(inlet).unwrap();
    let pull = PullService::new(FREE).start(outlet).unwrap();
    let from = ["SubConnection", address(&publisher, "Pub")];
    let to = ["PushConnection", address(&pull, "Pull")];
    let _pylm = pylm_parts(from, to, &["--previous", publisher.name()]);
    assert_all_pass(&feeds, &gives);
}

#[test]
fn a_palm_sub_connection_takes_from_a_pylm_publisher() {
    let ((feeds, inlet), (outlet, gives)) = ends();
    let at = free_addresses();
    let _pylm = pylm_parts(["PullService", &at.pull], ["PubService", &at.publish], &[]);
    let _push = PushConnection::new(&at.pull).start(inlet).unwrap();
    let sub = palm::part::SubConnection::new(&at.publish, "me");
    let _sub = sub.start(outlet).unwrap();
    // pylm publishes at once, to whoever is subscribed: so first until that is so.
    let early = || Frame::new("", "me", "s.f", "", b"early");
    let start = Instant::now();
    while gives.try_recv() == Received::Nothing {
        assert!(start.elapsed() < SOON, "no subscription");
        feeds.send(Batch::from_iter([early()])).unwrap();
        std::thread::sleep(Duration::from_millis(5));
    }
    feeds.send(Batch::from_iter([frame(0)])).unwrap();
    let is_last = |batch: Batch| {
        batch
            .into_iter()
            .any(|parcel| parcel.frame.payload() == b"0")
    };
    loop {
        match gives.recv_timeout(SOON) {
            Received::Batch(batch) => {
                if is_last(batch) {
                    break;
                }
            }
            end => panic!("{end:?}"),
        }
    }
    assert_all_pass(&feeds, &gives);
}

/// A raw socket of which no call waits for ever.
fn socket(context: &zmq::Context, kind: zmq::SocketType) -> zmq::Socket {
    let socket = context.socket(kind).unwrap();
    socket.set_linger(0).unwrap();
    socket.set_rcvtimeo(SOON.as_millis() as i32).unwrap();
    socket.set_sndtimeo(SOON.as_millis() as i32).unwrap();
    socket
}

fn answer(socket: &zmq::Socket, request: &[u8]) -> Vec<u8> {
    socket.send(request, 0).unwrap();
    socket.recv_bytes(0).unwrap()
}

/// Panics unless requests are taken, and what is none is refused.
fn assert_answers_as_pylm(socket: &zmq::Socket, gives: &Inlet, side: Side) {
    for number in 0..3 {
        let request = frame(number).into_bytes();
        assert_eq!(answer(socket, &request), b"1", "{side:?}");
        let Received::Batch(batch) = gives.recv_timeout(SOON) else {
            panic!("{side:?}: request {number} did not get through");
        };
        let taken = batch.into_iter().next().unwrap().frame;
        assert_eq!(taken.payload(), number.to_string().as_bytes());
        assert_eq!(taken.cache().len(), 36, "{side:?}: a uuid");
        assert_eq!(answer(socket, b"\xff"), b"0", "{side:?}");
    }
}

#[test]
fn a_palm_rep_service_answers_as_a_pylm_one() {
    for side in [Palm, Pylm] {
        let at = free_addresses().pull;
        let (outlet, gives) = channel().unwrap();
        let pull = PullService::new(FREE).start(outlet).unwrap();
        let to = address(&pull, "Pull");
        let _answers: (Option<Running>, Option<Peer>) = match side {
            Palm => {
                let parts = Assembly::new("s").inbound("Rep", RepService::new(&at), "Push");
                let parts = parts.outbound("Push", PushConnection::new(to));
                (Some(parts.start().unwrap()), None)
            }
            Pylm => (
                None,
                Some(pylm_parts(["RepService", &at], ["PushConnection", to], &[])),
            ),
        };
        let context = zmq::Context::new();
        let asks = socket(&context, zmq::REQ);
        asks.connect(&at).unwrap();
        assert_answers_as_pylm(&asks, &gives, side);
    }
}

#[test]
fn a_palm_rep_connection_answers_as_a_pylm_one() {
    for side in [Palm, Pylm] {
        let context = zmq::Context::new();
        let asks = socket(&context, zmq::REQ);
        asks.bind(FREE).unwrap();
        let at = asks.get_last_endpoint().unwrap().unwrap();
        let (outlet, gives) = channel().unwrap();
        let pull = PullService::new(FREE).start(outlet).unwrap();
        let to = address(&pull, "Pull");
        let _answers: (Option<Running>, Option<Peer>) = match side {
            Palm => {
                let parts = Assembly::new("s").inbound("Rep", RepConnection::new(&at), "Push");
                let parts = parts.outbound("Push", PushConnection::new(to));
                (Some(parts.start().unwrap()), None)
            }
            Pylm => (
                None,
                Some(pylm_parts(
                    ["RepConnection", &at],
                    ["PushConnection", to],
                    &[],
                )),
            ),
        };
        assert_answers_as_pylm(&asks, &gives, side);
    }
}

#[test]
fn a_peer_with_pylm_s_message_gets_results_from_a_palm_rep_service() {
    let server = Assembly::new("server")
        .inbound("Rep", RepService::new(FREE), "Functions")
        .outbound("Functions", FunctionService::new(functions()))
        .replies("Functions", "Rep")
        .start()
        .unwrap();
    let count = COUNT.to_string();
    let asks = bypass("ask", address(&server, "Rep"), &["--count", &count]);
    check_squares(&asks.printed(LONG).unwrap(), COUNT);
}

#[test]
fn a_pylm_bypass_pushes_to_a_palm_part() {
    let (outlet, gives) = channel().unwrap();
    let pull = PullService::new(FREE).start(outlet).unwrap();
    let pushes = bypass("push", address(&pull, "Pull"), &["--count", "100"]);
    let mut numbers = Vec::new();
    while numbers.len() < 100 {
        match gives.recv_timeout(SOON) {
            Received::Batch(batch) => numbers.extend(batch),
            end => panic!("{end:?} after {}", numbers.len()),
        }
    }
    let payloads = numbers.iter().map(|parcel| parcel.frame.payload().to_vec());
    assert!(payloads.eq((0..100).map(|number: usize| number.to_string().into_bytes())));
    drop(pushes);
}

#[test]
fn a_pylm_bypass_pulls_from_a_palm_part() {
    let (feeds, inlet) = channel().unwrap();
    let push = PushService::new(FREE).start(inlet).unwrap();
    let pulls = bypass("pull", address(&push, "Push"), &[]);
    feeds.send((0..100).map(frame).collect()).unwrap();
    let all = |lines: &[String]| {
        let numbers = (0..100).map(|number: usize| number.to_string());
        numbers.eq(lines.iter().cloned())
    };
    pulls.wait_for("the numbers in order", SOON, all).unwrap();
}

#[test]
fn palm_bypasses_push_to_and_pull_from_pylm_parts() {
    let at = free_addresses();
    let _pylm = pylm_parts(["PullService", &at.pull], ["PushService", &at.publish], &[]);
    let (take, taken) = std::sync::mpsc::channel();
    let take = move |bytes: Vec<u8>| take.send(bytes).unwrap();
    let _pull = PullBypass::new(&at.publish, take).start().unwrap();
    let push = PushBypass::new(&at.pull);
    let sender = push.sender();
    let _push = push.start().unwrap();
    for number in 0..100 {
        sender.send(frame(number).into_bytes()).unwrap();
        let bytes = taken.recv_timeout(SOON).unwrap();
        let message = PalmMessage::decode_frame(&bytes, 1_000).unwrap();
        assert_eq!(message.payload, number.to_string().into_bytes());
    }
}

#[test]
fn a_palm_bypass_answers_as_a_pylm_one() {
    for side in [Palm, Pylm] {
        let at = free_addresses().pull;
        let _answers: (Option<Running>, Option<Peer>) = match side {
            Palm => {
                let shout = RepBypass::new(&at, |request| request.to_ascii_uppercase());
                (Some(shout.start().unwrap()), None)
            }
            Pylm => (None, Some(bypass("answer", &at, &[]))),
        };
        let context = zmq::Context::new();
        let asks = socket(&context, zmq::REQ);
        asks.connect(&at).unwrap();
        for request in ["one", "", "two"] {
            let answered = answer(&asks, request.as_bytes());
            assert_eq!(answered, request.to_uppercase().as_bytes(), "{side:?}");
        }
    }
}
