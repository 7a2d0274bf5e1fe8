//! Readers that come late, read late, or never read: nothing is lost, nobody else waits, and
//! the memory of the master stays bounded.

mod common;
#[path = "cli/kit.rs"]
mod kit;

use std::time::{Duration, Instant};

use common::{Log, SOON, client, echo_server, eval, limit, message, peer, published, subscriber};
use common::{timed, until, until_within};
use kit::Palm;
use palm::{Client, PalmMessage, Running, Worker};

const RESULTS: u32 = 20_000;
const SIZE: usize = 10_000;

/// How long the late readers do not read.
const LATE: Duration = Duration::from_secs(5);

/// What a master may need at the most: what it holds by default, and this for all else (its
/// code, its stacks, its queues).
const BOUND: usize = 32 + 48;

/// A master in a process of its own, so that its memory is nobody else's.
struct Process(Palm);

impl Process {
    fn start() -> Self {
        Self(Palm::master(&["--name", "m"]))
    }

    fn db(&self) -> &str {
        self.0.db()
    }

    /// The most memory that it ever had, in MiB.
    fn peak(&self) -> usize {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.0.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:"));
        let kib = line
            .and_then(|line| line.split_whitespace().nth(1))
            .unwrap();
        kib.parse::<usize>().unwrap() / 1024
    }

    /// Ends it, and checks that all was well there.
    fn end(self) {
        self.0.stop();
    }
}

/// A worker that answers a number with 10 kB that begin with it.
fn worker(db: &str) -> Running {
    Worker::new(db)
        .function("grow", |call| {
            let mut result = call.payload().to_vec();
            result.resize(SIZE, 0);
            Ok(result)
        })
        .start()
        .unwrap()
}

fn number(result: &[u8]) -> u32 {
    assert_eq!(result.len(), SIZE);
    u32::from_be_bytes(result[..4].try_into().unwrap())
}

#[test]
fn a_palm_client_that_reads_late_gets_all_and_the_master_stays_small() {
    let _limit = limit(120, "a palm client that reads late");
    let master = Process::start();
    let _worker = worker(master.db());
    let client = Client::connect("m", master.db()).unwrap();
    let job = client
        .job("m.grow", (0..RESULTS).map(u32::to_be_bytes))
        .unwrap();
    std::thread::sleep(LATE);
    let results = job.map(|result| number(&result.unwrap()));
    assert!(results.eq(0..RESULTS), "lost, doubled or out of order");
    let peak = master.peak();
    println!("the master needed {peak} MiB");
    assert!(peak < BOUND, "the master needed {peak} MiB");
    master.end();
}

#[test]
fn a_subscriber_that_reads_late_gets_all_and_the_master_stays_small() {
    let _limit = limit(120, "a subscriber that reads late");
    let master = Process::start();
    let _worker = worker(master.db());
    let told = |key: &str| {
        let value = common::cache_call(master.db(), "m.get", "", key.as_bytes());
        String::from_utf8(value).unwrap()
    };
    let context = zmq::Context::new();
    let results = subscriber(&context, &told("pub_address"), "late");
    let push = peer(&context, zmq::PUSH, &told("pull_address"));
    push.set_sndtimeo(-1).unwrap();
    let pushing = std::thread::spawn(move || {
        for payload in (0..RESULTS).map(u32::to_be_bytes) {
            push.send(message("late", "m.grow", &payload).encode_frame(), 0)
                .unwrap();
        }
        push
    });
    std::thread::sleep(LATE);
    for expected in 0..RESULTS {
        let (topic, result) = published(&results);
        assert_eq!(
            (topic.as_str(), number(&result.payload)),
            ("late", expected)
        );
    }
    pushing.join().unwrap();
    let peak = master.peak();
    println!("the master needed {peak} MiB");
    assert!(peak < BOUND, "the master needed {peak} MiB");
    master.end();
}

#[test]
fn a_result_waits_for_a_subscriber_that_comes_later() {
    let _limit = limit(30, "a subscriber that comes later");
    let server = echo_server("s").start().unwrap();
    let context = zmq::Context::new();
    let publisher = &server.addresses().publish;
    let early = subscriber(&context, publisher, "early");
    let push = peer(&context, zmq::PUSH, &server.addresses().pull);
    for number in 0..100 {
        push.send(message("late", "s.echo", &[number]).encode_frame(), 0)
            .unwrap();
    }
    push.send(message("early", "s.echo", b"x").encode_frame(), 0)
        .unwrap();
    // It was pushed last: so what was pushed before has been published, to nobody.
    assert_eq!(published(&early).1.payload, b"x");
    let late = subscriber(&context, publisher, "late");
    for number in 0..100 {
        assert_eq!(published(&late).1.payload, [number]);
    }
}

#[test]
fn what_comes_between_two_subscriptions_waits_for_the_second() {
    let _limit = limit(60, "two subscriptions");
    let server = echo_server("s").start().unwrap();
    let context = zmq::Context::new();
    let push = peer(&context, zmq::PUSH, &server.addresses().pull);
    let send = |topic: &str, payload: &[u8]| {
        let frame = message(topic, "s.echo", payload).encode_frame();
        push.send(frame, 0).unwrap();
    };
    let reader = subscriber(&context, &server.addresses().publish, "c");
    send("c", b"1");
    assert_eq!(published(&reader).1.payload, b"1");
    reader.set_unsubscribe(b"c").unwrap();
    reader.set_subscribe(b"other").unwrap();
    send("other", b"x");
    // The server knew of the second when it published this: so also of the end of the first.
    assert_eq!(published(&reader).1.payload, b"x");
    send("c", b"2");
    send("c", b"3");
    send("other", b"y");
    assert_eq!(published(&reader).1.payload, b"y");
    reader.set_subscribe(b"c").unwrap();
    for expected in [b"2", b"3"] {
        assert_eq!(published(&reader).1.payload, expected);
    }
}

/// A subscriber that takes as little as possible, and reads nothing.
fn sleeper(context: &zmq::Context, address: &str, topic: &str) -> zmq::Socket {
    let socket = context.socket(zmq::SUB).unwrap();
    socket.set_linger(0).unwrap();
    socket.set_rcvhwm(1).unwrap();
    socket.set_rcvbuf(4_096).unwrap();
    socket.set_rcvtimeo(2_000).unwrap();
    socket.set_subscribe(topic.as_bytes()).unwrap();
    socket.connect(address).unwrap();
    socket
}

/// Has a server echo so many results of 10 kB, numbered, for a topic, and waits until it has
/// published them or holds them.
fn flood(context: &zmq::Context, server: &Running, topic: &str, count: u32) {
    let function = format!("{}.echo", server.name());
    let push = peer(context, zmq::PUSH, &server.addresses().pull);
    for number in 0..count {
        let mut payload = number.to_be_bytes().to_vec();
        payload.resize(SIZE, 0);
        push.send(message(topic, &function, &payload).encode_frame(), 0)
            .unwrap();
    }
    let end = subscriber(context, &server.addresses().publish, "the end");
    push.send(message("the end", &function, b"").encode_frame(), 0)
        .unwrap();
    assert_eq!(published(&end).0, "the end");
}

#[test]
fn a_subscriber_that_never_reads_holds_up_itself_alone_and_is_given_up() {
    let _limit = limit(90, "a subscriber that never reads");
    let log = Log::install();
    let patience = Duration::from_secs(2);
    let server = echo_server("sleepless").hold(64 << 20).patience(patience);
    let server = server.start().unwrap();
    let context = zmq::Context::new();
    let asleep = sleeper(&context, &server.addresses().publish, "sleeper");
    let client = client(&server);
    let start = Instant::now();
    flood(&context, &server, "sleeper", 2_000);
    let given_up = || log.lines("sleepless", "'sleeper'");
    for call in 0..300_u32 {
        let payload = call.to_be_bytes();
        let (result, took) = timed(|| eval(&client, "sleepless.echo", &payload));
        assert_eq!(result.unwrap(), payload);
        assert!(took < patience / 2, "a call took {took:?}");
    }
    until_within(4 * patience, "the sleeper to be given up", || {
        !given_up().is_empty()
    });
    assert!(start.elapsed() >= patience, "{:?}", start.elapsed());
    let [line] = &given_up()[..] else {
        panic!("more than one line: {:?}", given_up());
    };
    assert!(line.contains("reads nothing"), "{line}");
    // What had been on its way to it is still there, in order and without a gap.
    let mut awake = 0;
    while let Ok(parts) = asleep.recv_multipart(0) {
        let result = PalmMessage::decode_frame(&parts[1], 1 << 20).unwrap();
        assert_eq!(number(&result.payload), awake);
        awake += 1;
    }
    assert!((1..2_000).contains(&awake), "{awake} had got out");
    assert_eq!(eval(&client, "sleepless.echo", b"x").unwrap(), b"x");
}

#[test]
fn a_subscriber_to_everything_that_never_reads_costs_no_client_its_results() {
    let _limit = limit(90, "a subscriber to everything that never reads");
    let patience = Duration::from_secs(1);
    let server = echo_server("s").patience(patience).start().unwrap();
    let context = zmq::Context::new();
    let _asleep = sleeper(&context, &server.addresses().publish, "");
    let client = client(&server);
    // Twenty megabytes: more than what the network takes on its behalf.
    for call in 0..2_000 {
        let request = client.request("s.echo").timeout(4 * patience);
        let result = request.eval(vec![0; SIZE]);
        assert!(result.is_ok(), "call {call}: {}", result.unwrap_err());
    }
}

#[test]
fn what_nobody_subscribes_to_is_given_up_with_one_line_and_makes_room() {
    let _limit = limit(60, "what nobody subscribes to");
    let log = Log::install();
    let patience = Duration::from_secs(1);
    let server = echo_server("crowded").hold(20 * SIZE).patience(patience);
    let server = server.start().unwrap();
    let context = zmq::Context::new();
    let client = client(&server);
    let push = peer(&context, zmq::PUSH, &server.addresses().pull);
    let frame = message("nobody", "crowded.echo", &[0; SIZE]).encode_frame();
    let ((), took) = timed(|| {
        for _ in 0..100 {
            push.send(&frame, 0).unwrap();
        }
        // The hold is full or will be: whoever comes behind waits, but not for ever.
        assert_eq!(eval(&client, "crowded.echo", b"x").unwrap(), b"x");
        until("the line", || !log.lines("crowded", "'nobody'").is_empty());
    });
    assert!(took < SOON / 2, "{took:?}");
    let lines = log.lines("crowded", "'nobody'");
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("nobody subscribes"), "{lines:?}");
    // What comes later for it waits no more, and holds up nobody.
    for _ in 0..100 {
        push.send(&frame, 0).unwrap();
        let (result, took) = timed(|| eval(&client, "crowded.echo", b"y"));
        assert_eq!(result.unwrap(), b"y");
        assert!(took < patience / 2, "a call took {took:?}");
    }
}
