//! Requests that parts answer: once, in time, each with its own answer.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{Log, Random, SOON, fixed, limit, message, peer, until};
use palm::part::{
    Batch, FunctionService, Inlet, Outlet, Received, RepConnection, RepService, Route, channel,
};
use palm::{Assembly, Frame, Functions, PalmMessage, Running};

/// A port that is free.
const FREE: &str = "tcp://127.0.0.1:*";

/// An answer without a message.
const FAILED: &[u8] = b"0";

fn ask(address: &str) -> zmq::Socket {
    // Each has a context of its own: it keeps that alive.
    peer(&zmq::Context::new(), zmq::REQ, address)
}

fn request(cache: &str, function: &str, payload: &[u8]) -> Vec<u8> {
    let message = PalmMessage {
        cache: cache.into(),
        ..message("me", function, payload)
    };
    message.encode_frame()
}

fn answer(socket: &zmq::Socket, request: &[u8]) -> Vec<u8> {
    socket.send(request, 0).expect("a request");
    let answer = socket.recv_bytes(0);
    answer.unwrap_or_else(|error| panic!("waited {SOON:?} for an answer: {error}"))
}

/// The answer as the message that it should be.
fn reply(bytes: &[u8]) -> PalmMessage {
    PalmMessage::decode_frame(bytes, usize::MAX).expect("a message")
}

fn functions() -> Functions {
    Functions::new()
        .function("double", |call| Ok(call.payload().repeat(2)))
        .function("fail", |_| -> Result<(), palm::BoxError> {
            Err("no luck".into())
        })
        .function("panic", |_| -> Result<(), palm::BoxError> {
            panic!("as asked")
        })
}

/// Answers requests by its functions.
fn server(functions: Functions) -> Running {
    Assembly::new("s")
        .inbound(
            "Rep",
            RepService::new(FREE).max_message(10_000),
            "Functions",
        )
        .outbound("Functions", FunctionService::new(functions))
        .replies("Functions", "Rep")
        .start()
        .unwrap()
}

fn rep(running: &Running) -> &str {
    running.address_of("Rep").expect("it binds")
}

/// A part whose requests the test itself takes, and answers.
struct ByHand {
    running: Running,
    requests: Inlet,
    answers: Outlet,
}

fn by_hand(service: RepService) -> ByHand {
    let ((outlet, requests), (answers, inlet)) = (channel().unwrap(), channel().unwrap());
    ByHand {
        running: service.start(outlet, Some(inlet)).unwrap(),
        requests,
        answers,
    }
}

fn next(requests: &Inlet) -> Frame {
    match requests.recv_timeout(SOON) {
        Received::Batch(batch) => {
            let mut parcels = batch.into_iter();
            let first = parcels.next().expect("a message");
            assert_eq!(parcels.next(), None);
            first.frame
        }
        end => panic!("{end:?} in place of a request"),
    }
}

fn send(answers: &Outlet, frame: Frame) {
    answers.send(Batch::from_iter([frame])).unwrap();
}

#[test]
fn a_request_that_nothing_comes_back_for_is_answered_when_it_was_taken() {
    let _limit = limit(60, "requests without results");
    let (outlet, taken) = channel().unwrap();
    let service = RepService::new(FREE).start(outlet, None).unwrap();
    let socket = ask(rep(&service));
    for cache in ["mine", ""] {
        assert_eq!(answer(&socket, &request(cache, "s.f", b"x")), b"1");
        let frame = next(&taken);
        assert_eq!(frame.payload(), b"x");
        match cache {
            "" => assert_eq!(frame.cache().len(), 36, "a uuid"),
            _ => assert_eq!(frame.cache(), cache),
        }
    }
}

#[test]
fn a_request_is_answered_with_the_message_that_comes_back_for_it() {
    let _limit = limit(60, "requests with results");
    let server = server(functions());
    let socket = ask(rep(&server));
    for cache in ["mine", ""] {
        let reply = reply(&answer(&socket, &request(cache, "s.double", b"ab")));
        assert_eq!(
            (reply.payload, reply.cache),
            (b"abab".to_vec(), cache.to_owned())
        );
        assert_eq!(
            (reply.client, reply.pipeline),
            ("me".to_owned(), "raw".to_owned())
        );
    }
    for function in ["s.fail", "s.panic", "s.nope", "nodot", "other.double"] {
        let reply = reply(&answer(&socket, &request("", function, b"x")));
        assert_eq!(reply.payload, FAILED, "{function}");
        assert!(reply.failure.is_some(), "{function}");
    }
    server.stop().unwrap();
}

#[test]
fn a_slow_request_holds_up_no_other() {
    let _limit = limit(60, "a slow request");
    let part = by_hand(RepService::new(FREE));
    let (slow, quick) = (ask(rep(&part.running)), ask(rep(&part.running)));
    slow.send(request("s", "s.f", b"slow"), 0).unwrap();
    let held = next(&part.requests);
    for _ in 0..100 {
        quick.send(request("q", "s.f", b"quick"), 0).unwrap();
        send(&part.answers, next(&part.requests));
        assert_eq!(reply(&quick.recv_bytes(0).unwrap()).payload, b"quick");
    }
    send(&part.answers, held);
    let late = reply(&slow.recv_bytes(0).unwrap());
    assert_eq!(
        (late.payload, late.cache),
        (b"slow".to_vec(), "s".to_owned())
    );
}

#[test]
fn each_of_many_gets_its_own_answer() {
    let _limit = limit(120, "many who ask");
    let server = server(functions());
    std::thread::scope(|scope| {
        for asker in 0..20_u8 {
            let address = rep(&server);
            scope.spawn(move || {
                let socket = ask(address);
                for number in 0..100_u8 {
                    // All of them have the same id.
                    let frame = request("same", "s.double", &[asker, number]);
                    let reply = reply(&answer(&socket, &frame));
                    assert_eq!(reply.payload, [asker, number, asker, number]);
                }
            });
        }
    });
}

#[test]
fn a_request_that_is_no_message_is_answered_at_once_and_the_next_ones_are_served() {
    let _limit = limit(60, "malformed requests");
    let server = server(functions());
    let socket = ask(rep(&server));
    for garbage in [
        &b"no message at all"[..],
        &[0xff],
        &[0; 64],
        &[b'x'; 100_000],
    ] {
        assert_eq!(answer(&socket, garbage), FAILED);
    }
    socket
        .send_multipart([request("", "s.double", b"x"), vec![1]], 0)
        .unwrap();
    assert_eq!(socket.recv_bytes(0).unwrap(), FAILED);
    // These are no requests: nobody can be answered.
    let dealer = peer(&zmq::Context::new(), zmq::DEALER, rep(&server));
    for parts in [&["x"][..], &["x"; 40], &["", "a", "b"], &["", "", ""]] {
        dealer.send_multipart(parts, 0).unwrap();
    }
    dealer
        .send_multipart([vec![b'x'; 5_000], vec![], vec![]], 0)
        .unwrap();
    let frame = request("", "s.double", b"ab");
    dealer.send_multipart([&b""[..], &frame], 0).unwrap();
    // (Two that can be, and the good one.)
    for expected in [FAILED, FAILED] {
        assert_eq!(dealer.recv_multipart(0).unwrap(), [b"", expected]);
    }
    let good = dealer.recv_multipart(0).unwrap();
    assert_eq!(reply(&good[1]).payload, b"abab");
    assert_eq!(reply(&answer(&socket, &frame)).payload, b"abab");
}

#[test]
fn a_request_over_the_limit_is_answered_with_its_failure() {
    let _limit = limit(60, "large requests");
    let server = server(functions());
    let socket = ask(rep(&server));
    for size in [10_001, 80_000] {
        let bytes = answer(&socket, &request("mine", "s.double", &vec![b'x'; size]));
        assert!(bytes.len() < 500, "{} bytes", bytes.len());
        let reply = reply(&bytes);
        assert_eq!(
            (reply.payload.as_slice(), reply.cache.as_str()),
            (FAILED, "mine")
        );
        let cause = reply.failure.unwrap().cause;
        assert!(
            cause.contains(&format!("{size} bytes is over the limit of 10000")),
            "{cause}"
        );
    }
    let largest = request("", "s.double", &[b'x'; 10_000]);
    assert_eq!(reply(&answer(&socket, &largest)).payload.len(), 20_000);
    // Without a way back, there is no message to answer with.
    let (outlet, taken) = channel().unwrap();
    let service = RepService::new(FREE).max_message(10_000);
    let service = service.start(outlet, None).unwrap();
    let socket = ask(rep(&service));
    assert_eq!(answer(&socket, &request("", "s.f", &[0; 10_001])), FAILED);
    assert_eq!(answer(&socket, &request("", "s.f", &[0; 10_000])), b"1");
    assert_eq!(next(&taken).payload().len(), 10_000);
}

#[test]
fn a_request_of_too_many_frames_is_refused_though_its_beginning_looks_like_one() {
    let _limit = limit(60, "a request of many frames");
    let (outlet, taken) = channel().unwrap();
    let service = RepService::new(FREE).start(outlet, None).unwrap();
    let dealer = peer(&zmq::Context::new(), zmq::DEALER, rep(&service));
    let send = |behind: usize| {
        let mut parts = vec![b"hop".to_vec(); 13];
        parts.extend([vec![], request("", "s.f", b"x")]);
        parts.extend(vec![b"junk".to_vec(); behind]);
        dealer.send_multipart(parts, 0).unwrap();
        dealer.recv_multipart(0).unwrap().pop().unwrap()
    };
    for behind in [1, 2, 3, 50] {
        assert_eq!(send(behind), FAILED, "with {behind} frames behind");
    }
    // As many as there may be.
    assert_eq!(send(0), b"1");
    assert_eq!(next(&taken).payload(), b"x");
}

#[test]
fn two_parts_that_share_an_outlet_both_hear_of_room() {
    let _limit = limit(60, "a shared outlet");
    let (outlet, requests) = channel().unwrap();
    let parts =
        [outlet.clone(), outlet].map(|outlet| RepService::new(FREE).start(outlet, None).unwrap());
    // More than the channel holds, to one and then to the other.
    for part in &parts {
        let asking: Vec<_> = (0..20)
            .map(|_| {
                let socket = ask(rep(part));
                socket.send(request("", "s.f", b"x"), 0).unwrap();
                socket
            })
            .collect();
        let mut taken = 0;
        while taken < asking.len() {
            // So slowly that the part always comes to wait for room.
            std::thread::sleep(Duration::from_millis(5));
            match requests.recv_timeout(SOON) {
                Received::Batch(batch) => taken += batch.len(),
                end => panic!("{end:?} after {taken} requests"),
            }
        }
        for socket in asking {
            assert_eq!(socket.recv_bytes(0).unwrap(), b"1");
        }
    }
}

#[test]
fn random_messages_stop_nothing() {
    let _limit = limit(60, "random messages");
    let mut random = Random::new("random requests");
    let server = server(functions());
    let raw = peer(&zmq::Context::new(), zmq::DEALER, rep(&server));
    let good = request("", "s.double", b"ab");
    let socket = ask(rep(&server));
    for _ in 0..300 {
        let frames = 1 + random.below(20);
        let mut parts: Vec<Vec<u8>> = (0..frames).map(|_| random.bytes(40)).collect();
        if random.below(3) > 0 {
            parts[0].clear();
        }
        if random.below(3) == 0 {
            parts[frames - 1] = good[..random.below(good.len() + 1)].to_vec();
        }
        raw.send_multipart(parts, 0).unwrap();
        assert_eq!(reply(&answer(&socket, &good)).payload, b"abab");
    }
    server.stop().unwrap();
}

#[test]
fn a_request_without_an_answer_in_time_is_answered_with_0_and_a_late_answer_is_dropped() {
    let _limit = limit(60, "late answers");
    let log = Log::install();
    let (outlet, requests) = channel().unwrap();
    let (answers, inlet) = channel().unwrap();
    let service = RepService::new(FREE).timeout(Duration::from_millis(50));
    let running = Assembly::new("late")
        .inlet("Answers", inlet, "Rep")
        .inbound("Rep", service, "Out")
        .outlet("Out", outlet)
        .start()
        .unwrap();
    let socket = ask(rep(&running));
    assert_eq!(answer(&socket, &request("", "s.f", b"x")), FAILED);
    let late = next(&requests);
    let strange = [
        late.clone(),
        late.with_payload(b"y"),
        Frame::new("", "", "", "?", b"z"),
    ];
    answers.send(strange.into_iter().collect()).unwrap();
    // What is dropped is not taken for the answer to the next.
    assert_eq!(answer(&socket, &request("", "s.f", b"x")), FAILED);
    until("the late answers to be dropped", || {
        !log.lines("late", "that no request waits for").is_empty()
    });
    drop(answers);
    running.stop().unwrap();
    assert_eq!(
        log.lines("late", "no answer to a request within 0.1 s")
            .len(),
        1
    );
    assert_eq!(log.lines("late", "that no request waits for").len(), 1);
    let total = log.lines("late", "missed or dropped 5 messages in all");
    assert_eq!(total.len(), 1);
}

#[test]
fn a_request_that_is_not_taken_in_time_is_answered_with_0_and_never_taken() {
    let _limit = limit(60, "requests that nobody takes");
    let (outlet, requests) = channel().unwrap();
    let service = RepService::new(FREE).timeout(Duration::from_millis(100));
    let running = service.start(outlet, None).unwrap();
    let socket = ask(rep(&running));
    let mut taken = 0;
    while answer(&socket, &request("", "s.f", b"x")) == b"1" {
        taken += 1;
        assert!(taken < 100, "its queue has no bound");
    }
    // There is room again: for the next one.
    for _ in 0..taken {
        next(&requests);
    }
    assert_eq!(requests.try_recv(), Received::Nothing);
    assert_eq!(answer(&socket, &request("", "s.f", b"y")), b"1");
    assert_eq!(next(&requests).payload(), b"y");
}

#[test]
fn no_more_than_so_many_requests_are_open_and_each_is_answered_in_the_end() {
    let _limit = limit(60, "open requests");
    let part = by_hand(RepService::new(FREE));
    let dealer = peer(&zmq::Context::new(), zmq::DEALER, rep(&part.running));
    dealer.set_sndhwm(10_000).unwrap();
    let sending = std::thread::spawn(move || {
        for number in 0..3_000_u32 {
            let frame = request("", "s.f", &number.to_be_bytes());
            dealer.send_multipart([&b""[..], &frame], 0).unwrap();
        }
        dealer
    });
    let mut open: Vec<Frame> = Vec::new();
    while open.len() < 1_024 {
        match part.requests.recv_timeout(SOON) {
            Received::Batch(batch) => open.extend(batch.into_iter().map(|parcel| parcel.frame)),
            end => panic!("{end:?}"),
        }
    }
    let dealer = sending.join().unwrap();
    let quiet = part.requests.recv_timeout(Duration::from_millis(50));
    assert_eq!((open.len(), quiet), (1_024, Received::Nothing));
    let mut answered = std::thread::scope(|scope| {
        let reading = scope.spawn(move || {
            let answers = (0..3_000).map(|_| dealer.recv_multipart(0).unwrap());
            answers
                .map(|parts| reply(&parts[1]).payload)
                .collect::<Vec<_>>()
        });
        let mut left = 3_000 - open.len();
        part.answers.send(open.into_iter().collect()).unwrap();
        while left > 0 {
            match part.requests.recv_timeout(SOON) {
                Received::Batch(batch) => {
                    left -= batch.len();
                    part.answers.send(batch).unwrap();
                }
                end => panic!("{end:?}, {left} left"),
            }
        }
        reading.join().unwrap()
    });
    answered.sort();
    assert!(
        answered
            .into_iter()
            .eq((0..3_000_u32).map(|n| n.to_be_bytes().to_vec()))
    );
}

#[test]
fn answers_wait_for_a_peer_that_reads_slowly() {
    let _limit = limit(60, "a peer that reads slowly");
    let server = server(functions());
    let context = zmq::Context::new();
    let dealer = context.socket(zmq::DEALER).unwrap();
    // Small buffers, so that what is not read comes to stand at the other side.
    dealer.set_rcvhwm(1).unwrap();
    dealer.set_rcvbuf(4_096).unwrap();
    dealer.set_linger(0).unwrap();
    dealer
        .set_rcvtimeo(i32::try_from(SOON.as_millis()).unwrap())
        .unwrap();
    dealer
        .set_sndtimeo(i32::try_from(SOON.as_millis()).unwrap())
        .unwrap();
    dealer.connect(rep(&server)).unwrap();
    let payload = [b'x'; 4_000];
    // More than the sockets hold, fewer than may be open.
    for _ in 0..1_000 {
        let frame = request("", "s.double", &payload);
        dealer.send_multipart([&b""[..], &frame], 0).unwrap();
    }
    // Others are served meanwhile.
    let other = ask(rep(&server));
    assert_eq!(
        reply(&answer(&other, &request("", "s.double", b"a"))).payload,
        b"aa"
    );
    for _ in 0..1_000 {
        let parts = dealer.recv_multipart(0).unwrap();
        assert_eq!(reply(&parts[1]).payload.len(), 8_000);
    }
}

#[test]
fn the_first_of_several_results_is_the_answer() {
    let _limit = limit(60, "several results");
    let scatter = Route::to("Functions").scatter(|message| [message.clone(), message]);
    let server = Assembly::new("s")
        .inbound("Rep", RepService::new(FREE), scatter)
        .outbound("Functions", FunctionService::new(functions()))
        .replies("Functions", "Rep")
        .start()
        .unwrap();
    let socket = ask(rep(&server));
    for number in 0..50 {
        let reply = reply(&answer(&socket, &request("", "s.double", &[number])));
        assert_eq!(reply.payload, [number, number]);
    }
}

#[test]
fn who_asks_and_goes_away_harms_nobody() {
    let _limit = limit(60, "one that goes away");
    let part = by_hand(RepService::new(FREE));
    for _ in 0..20 {
        let gone = ask(rep(&part.running));
        gone.send(request("", "s.f", b"x"), 0).unwrap();
        let frame = next(&part.requests);
        drop(gone);
        send(&part.answers, frame);
    }
    let socket = ask(rep(&part.running));
    socket.send(request("", "s.f", b"still"), 0).unwrap();
    send(&part.answers, next(&part.requests));
    assert_eq!(reply(&socket.recv_bytes(0).unwrap()).payload, b"still");
}

#[test]
fn a_request_that_is_open_at_a_stop_is_told_so() {
    let _limit = limit(60, "a stop with an open request");
    let part = by_hand(RepService::new(FREE));
    let socket = ask(rep(&part.running));
    socket.send(request("", "s.f", b"x"), 0).unwrap();
    next(&part.requests);
    part.running.stop().unwrap();
    assert_eq!(socket.recv_bytes(0).unwrap(), FAILED);
}

#[test]
fn what_was_taken_before_a_stop_is_said_to_be_taken_even_to_one_who_reads_slowly() {
    let _limit = limit(60, "a stop while answers wait");
    let (outlet, requests) = channel().unwrap();
    let service = RepService::new(FREE).start(outlet, None).unwrap();
    let taken = Arc::new(AtomicUsize::new(0));
    let counting = std::thread::spawn({
        let taken = taken.clone();
        move || {
            while let Some(batch) = requests.recv() {
                taken.fetch_add(batch.len(), Ordering::SeqCst);
            }
        }
    });
    let context = zmq::Context::new();
    let dealer = context.socket(zmq::DEALER).unwrap();
    dealer.set_rcvhwm(1).unwrap();
    dealer.set_rcvbuf(4_096).unwrap();
    dealer.set_linger(0).unwrap();
    dealer.set_sndtimeo(1_000).unwrap();
    dealer.set_rcvtimeo(1_000).unwrap();
    dealer.connect(rep(&service)).unwrap();
    // Each answer carries the way back, which is long: they are more than the sockets hold.
    let frame = request("", "s.f", b"x");
    let hop = [b'h'; 4_000];
    for _ in 0..800 {
        dealer.send_multipart([&hop[..], b"", &frame], 0).unwrap();
    }
    until("all to be taken", || taken.load(Ordering::SeqCst) == 800);
    service.stopper().stop();
    let answers = std::iter::from_fn(|| dealer.recv_multipart(0).ok());
    assert_eq!(answers.filter(|parts| parts[2] == b"1").count(), 800);
    service.wait().unwrap();
    counting.join().unwrap();
}

#[test]
fn a_part_whose_requests_nobody_takes_or_answers_ends_and_says_why() {
    let _limit = limit(60, "a part that is left");
    for (leaves, why) in [("taker", "nobody takes"), ("answerer", "nobody answers")] {
        let ByHand {
            running,
            requests,
            answers,
        } = by_hand(RepService::new(FREE));
        let socket = ask(rep(&running));
        let held = match leaves {
            "taker" => {
                drop(requests);
                (None, Some(answers))
            }
            _ => {
                drop(answers);
                (Some(requests), None)
            }
        };
        socket.send(request("", "s.f", b"x"), 0).unwrap();
        let error = running.wait().unwrap_err().to_string();
        assert!(
            error.contains("part Rep died") && error.contains(why),
            "{error}"
        );
        if leaves == "taker" {
            assert_eq!(socket.recv_bytes(0).unwrap(), FAILED);
        }
        drop(held);
    }
}

#[test]
fn a_request_whose_function_runs_at_a_stop_is_answered() {
    let _limit = limit(60, "a stop while a function runs");
    let (entered, inside) = std::sync::mpsc::sync_channel(1);
    let (open, gate) = std::sync::mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let server = server(Functions::new().function("f", move |call| {
        entered.send(())?;
        gate.lock().unwrap().recv()?;
        Ok(call.payload().to_vec())
    }));
    let socket = ask(rep(&server));
    socket.send(request("", "s.f", b"x"), 0).unwrap();
    inside.recv_timeout(SOON).unwrap();
    server.stopper().stop();
    open.send(()).unwrap();
    assert_eq!(reply(&socket.recv_bytes(0).unwrap()).payload, b"x");
    server.wait().unwrap();
}

/// A component that answers what comes from an address.
fn connected(address: &str) -> Running {
    Assembly::new("s")
        .inbound("Rep", RepConnection::new(address), "Functions")
        .outbound("Functions", FunctionService::new(functions()))
        .replies("Functions", "Rep")
        .start()
        .unwrap()
}

#[test]
fn a_connection_answers_one_who_asks_from_a_socket_that_binds() {
    let _limit = limit(60, "a REQ that binds");
    let at = fixed();
    let _server = connected(&at);
    let context = zmq::Context::new();
    let socket = context.socket(zmq::REQ).unwrap();
    socket.set_linger(0).unwrap();
    socket
        .set_rcvtimeo(i32::try_from(SOON.as_millis()).unwrap())
        .unwrap();
    socket
        .set_sndtimeo(i32::try_from(SOON.as_millis()).unwrap())
        .unwrap();
    until("the address to be free", || socket.bind(&at).is_ok());
    for payload in ["a", "b"] {
        let reply = reply(&answer(
            &socket,
            &request("", "s.double", payload.as_bytes()),
        ));
        assert_eq!(reply.payload, payload.repeat(2).as_bytes());
    }
}

#[test]
fn connections_answer_what_comes_through_brokers() {
    let _limit = limit(60, "brokers");
    let context = zmq::Context::new();
    // REQ ─► ROUTER, DEALER ─► ROUTER, DEALER ─► the part.
    let mut fronts = Vec::new();
    let mut back = None;
    for _ in 0..2 {
        let (router, dealer) = (context.socket(zmq::ROUTER), context.socket(zmq::DEALER));
        let (router, dealer) = (router.unwrap(), dealer.unwrap());
        router.bind("tcp://127.0.0.1:*").unwrap();
        let front = router.get_last_endpoint().unwrap().unwrap();
        match fronts.last() {
            // The second stands behind the first.
            Some(_) => dealer.bind("tcp://127.0.0.1:*").unwrap(),
            None => dealer.bind("inproc://between").unwrap(),
        }
        if !fronts.is_empty() {
            router.connect("inproc://between").unwrap();
            back = Some(dealer.get_last_endpoint().unwrap().unwrap());
        }
        fronts.push(front);
        // It ends with the context, which does when the test is over.
        std::thread::spawn(move || zmq::proxy(&router, &dealer));
    }
    let back = back.unwrap();
    let _servers = [connected(&back), connected(&back)];
    std::thread::scope(|scope| {
        for asker in 0..5_u8 {
            let front = &fronts[0];
            scope.spawn(move || {
                let socket = ask(front);
                for number in 0..50 {
                    let frame = request("me", "s.double", &[asker, number]);
                    let reply = reply(&answer(&socket, &frame));
                    assert_eq!(reply.payload, [asker, number, asker, number]);
                }
            });
        }
    });
    std::mem::forget(context);
}

#[test]
fn many_requests_that_functions_are_slow_to_take_are_each_taken_once() {
    let _limit = limit(60, "many requests at once");
    for threads in [1, 4] {
        let ran = Arc::new(AtomicUsize::new(0));
        let (counted, seen) = (ran.clone(), Arc::new(AtomicUsize::new(0)));
        let most = seen.clone();
        let now = AtomicUsize::new(0);
        let functions = Functions::new().function("f", move |_| {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(20));
            now.fetch_sub(1, Ordering::SeqCst);
            counted.fetch_add(1, Ordering::SeqCst);
            Ok(())
        });
        let running = Assembly::new("s")
            .inbound("Rep", RepService::new(FREE).timeout(SOON), "Functions")
            .outbound(
                "Functions",
                FunctionService::new(functions).threads(threads),
            )
            .start()
            .unwrap();
        let address = running.address_of("Rep").unwrap();
        let dealer = peer(&zmq::Context::new(), zmq::DEALER, address);
        for _ in 0..40 {
            let request = request("", "s.f", b"x");
            dealer.send_multipart([vec![], request], 0).unwrap();
        }
        for _ in 0..40 {
            assert_eq!(dealer.recv_multipart(0).unwrap()[1], b"1");
        }
        until("all have run", || ran.load(Ordering::SeqCst) == 40);
        assert_eq!(seen.load(Ordering::SeqCst), threads);
    }
}
