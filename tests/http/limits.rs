//! What a gateway refuses, and whom it does not wait for.

use std::io::Write;
use std::time::{Duration, Instant};

use palm::http::{Gateway, GatewayHandle};
use palm::part::{Inlet, Outlet, Running, channel};

use crate::common::{SOON, limit, until};
use crate::kit::{Raw, client, front, post_by, post_text, url};

#[test]
fn a_body_over_the_limit_is_refused_whatever_says_how_long_it_is() {
    let _limit = limit(60, "413");
    let front = front(|gateway| gateway.max_message(1_000));
    let fits = "x".repeat(1_000);
    assert_eq!(post_text(&front.url("echo"), &fits), (200, fits));
    // By its head; ureq sends all of it before it reads.
    let (status, cause) = post_text(&front.url("echo"), "x".repeat(1_001));
    assert_eq!(status, 413);
    assert!(cause.contains("1000 bytes"), "{cause}");
    assert_eq!(post_text(&front.url("echo"), "x".repeat(3 << 20)).0, 413);
    // By what comes.
    let mut raw = Raw::to(front.place());
    raw.send("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    raw.send(&format!("3e9\r\n{}\r\n0\r\n\r\n", "x".repeat(1_001)));
    assert_eq!(raw.reply().status, 413);
    // By a length that nobody could mean: at once, and without any of it.
    let mut raw = Raw::to(front.place());
    raw.send("POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n");
    raw.send("Content-Length: 9999999999999\r\n\r\n");
    assert_eq!(raw.reply().status, 413);
    assert_eq!(front.handle.open(), 0);
}

#[test]
fn a_connection_is_kept_after_a_refusal_whose_body_was_read() {
    let _limit = limit(60, "413");
    let front = front(|gateway| gateway.max_message(1_000));
    let mut raw = Raw::to(front.place());
    assert_eq!(raw.post("/echo", &"x".repeat(2_000)).reply().status, 413);
    assert_eq!(raw.post("/a/b", "some body").reply().status, 404);
    assert_eq!(raw.post("/echo", "x").reply().body, "x");
}

#[test]
fn requests_over_the_limit_are_told_to_come_back() {
    let _limit = limit(60, "503");
    let (gateway, outlet, inlet) = alone(|gateway| gateway.concurrent(2));
    let mut open = [Raw::to(place(&gateway)), Raw::to(place(&gateway))];
    for raw in &mut open {
        raw.post("/f", "x");
    }
    let mut taken = Vec::new();
    while taken.len() < 2 {
        taken.extend(inlet.recv().unwrap());
    }
    let mut third = Raw::to(place(&gateway));
    let reply = third.post("/f", "y").reply();
    assert_eq!(reply.status, 503);
    assert!(reply.head.contains("retry-after: "), "{}", reply.head);
    outlet.send(taken.into_iter().collect()).unwrap();
    for raw in &mut open {
        assert_eq!(raw.reply().body, "x");
    }
    third.post("/f", "y");
    let taken = inlet.recv().unwrap();
    outlet.send(taken).unwrap();
    assert_eq!(third.reply().body, "y");
}

#[test]
fn clients_that_hang_up_leave_nothing_behind() {
    let _limit = limit(60, "hanging up");
    let gateway = Gateway::new("127.0.0.1:0");
    let handle = gateway.handle();
    let (outlet, mut inlet, running) = start(gateway);
    let mut clients: Vec<Raw> = (0..50).map(|_| Raw::to(place(&running))).collect();
    let mut taken = Vec::new();
    for client in &mut clients {
        client.post("/f", "x");
    }
    while taken.len() < 50 {
        taken.extend(inlet.recv().unwrap());
    }
    // And some in the middle of a head, or of a body.
    for _ in 0..20 {
        let mut raw = Raw::to(place(&running));
        raw.send("POST /f HTTP/1.1\r\nHost");
        let mut raw = Raw::to(place(&running));
        raw.send("POST /f HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc");
    }
    assert!(handle.open() >= 50);
    drop(clients);
    until("the requests to be forgotten", || handle.open() == 0);
    // Their results come late, and do no harm.
    outlet.send(taken.into_iter().collect()).unwrap();
    until("the late results", || handle.late() == 50);
    works(&running, &outlet, &mut inlet);
}

/// A gateway of which the test has the other ends.
fn start(gateway: Gateway) -> (Outlet, Inlet, Running) {
    let (outlet, inlet) = channel().unwrap();
    let (back, results) = channel().unwrap();
    (back, inlet, gateway.start(outlet, results).unwrap())
}

fn alone(gateway: impl FnOnce(Gateway) -> Gateway) -> (Running, Outlet, Inlet) {
    let (outlet, inlet, running) = start(gateway(Gateway::new("127.0.0.1:0")));
    (running, outlet, inlet)
}

fn place(running: &Running) -> &str {
    crate::kit::place(running)
}

/// Checks that a request still has its reply.
fn works(running: &Running, outlet: &Outlet, inlet: &mut Inlet) {
    let mut raw = Raw::to(place(running));
    raw.post("/f", "works");
    outlet.send(inlet.recv().unwrap()).unwrap();
    assert_eq!(raw.reply().body, "works");
}

#[test]
fn clients_that_send_slowly_hold_up_nobody_and_are_left() {
    let _limit = limit(60, "slow heads and bodies");
    let patience = Duration::from_millis(500);
    let front = front(|gateway| gateway.patience(patience));
    let start = Instant::now();
    let mut slow: Vec<Raw> = (0..100).map(|_| Raw::to(front.place())).collect();
    for (number, raw) in slow.iter_mut().enumerate() {
        match number % 3 {
            0 => {} // Not a byte.
            1 => drop(raw.send("POST /ec")),
            _ => drop(raw.send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n1")),
        }
    }
    // Meanwhile the others are served.
    assert_eq!(post_text(&front.url("echo"), "x"), (200, "x".into()));
    // One that goes on, byte by byte, gains nothing by it.
    let mut byte_by_byte = Raw::to(front.place());
    byte_by_byte.send("GET /echo HTTP/1.1\r\nX: ");
    while byte_by_byte.0.write_all(b"y").is_ok() {
        assert!(start.elapsed() < SOON, "it may go on for ever");
        std::thread::sleep(Duration::from_millis(20));
    }
    for (number, raw) in slow.iter_mut().enumerate() {
        if number % 3 == 2 {
            assert_eq!(raw.reply().status, 408);
        }
        assert!(raw.is_closed(), "number {number}");
    }
    assert_eq!(front.handle.open(), 0);
}

#[test]
fn a_client_that_does_not_read_its_reply_is_left() {
    let _limit = limit(60, "a slow reader");
    let front = front(|gateway| gateway.patience(Duration::from_millis(500)));
    let large = 40 << 20; // More than the system buffers.
    let mut deaf = Raw::to(front.place());
    deaf.post("/large", &large.to_string());
    let mut first = [0];
    deaf.0.peek(&mut first).expect("the beginning of the reply");
    // Meanwhile another reads as much.
    let (status, body) = post_by(&client(), &front.url("large"), large.to_string());
    assert_eq!((status, body.len()), (200, large));
    until("both to be gone", || front.handle.connections() == 0);
    // The rest does not come.
    let mut read = Vec::new();
    let _ = std::io::Read::read_to_end(&mut deaf.0, &mut read);
    assert!(read.len() < large, "{} bytes", read.len());
}

#[test]
fn what_is_not_http_is_refused_and_harms_nobody() {
    let _limit = limit(60, "garbage");
    let front = front(|gateway| gateway);
    let mut random = crate::common::Random::new("garbage over HTTP");
    for _ in 0..200 {
        let mut raw = Raw::to(front.place());
        // It may have been refused in the middle.
        let _ = raw.0.write_all(&random.bytes(2_000));
        let _ = raw.0.shutdown(std::net::Shutdown::Write);
    }
    for head in [
        "POST /echo HTTP/1.1\r\nContent-Length: -1\r\n\r\n".to_owned(),
        "POST /echo HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n".to_owned(),
        "GET / HTTP/9.9\r\n\r\n".to_owned(),
        format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(100_000)),
        format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(10_000)),
    ] {
        let mut raw = Raw::to(front.place());
        let _ = raw.0.write_all(head.as_bytes());
        assert!(raw.is_closed(), "{}", &head[..60.min(head.len())]);
    }
    assert_eq!(post_text(&front.url("echo"), "x"), (200, "x".into()));
    assert_eq!(front.handle.open(), 0);
}

#[test]
fn a_router_that_takes_nothing_holds_requests_up_but_not_for_ever() {
    let _limit = limit(60, "back-pressure");
    let gateway = Gateway::new("127.0.0.1:0").timeout(Duration::from_secs(1));
    let handle: GatewayHandle = gateway.handle();
    // Nobody takes anything from the inlet.
    let (_outlet, inlet, running) = start(gateway);
    let url = url(&running, "f");
    let large = vec![b'x'; 300 << 10];
    std::thread::scope(|scope| {
        let (url, large) = (&url, &large);
        let calls: Vec<_> = (0..40)
            .map(|_| scope.spawn(move || post_by(&client(), url, large).0))
            .collect();
        for call in calls {
            assert_eq!(call.join().unwrap(), 504);
        }
    });
    assert_eq!(handle.open(), 0);
    drop(inlet);
}
