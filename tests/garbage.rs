//! Bytes, frames and sockets that make no sense, at every port: what is valid goes on and is
//! right, nothing stops, and the log tells of it without being flooded.

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::thread::JoinHandle;
use std::time::Duration;

use common::{Log, Random, SOON, client, limit, message, peer, until};
use palm::{Addresses, Client, Master, Running, Server, Worker};

/// So many of each kind at each port.
const MANY: usize = 10_000;

/// The largest payload that the victims take.
const MAX_MESSAGE: usize = 64 << 10;

/// The most warnings and errors of a component's for what came at one of its parts: far fewer
/// than messages, and some, because a burst at several parts over some intervals is several.
const LINES: usize = 30;

/// How many valid calls there are before all that, and after.
const AFTER: usize = 20;

/// A server and a master with its worker, in use all the time.
struct Victims {
    server: Running,
    master: Running,
    worker: Running,
    stop: Arc<AtomicBool>,
    users: Vec<JoinHandle<usize>>,
    log: &'static Log,
}

impl Victims {
    /// Starts them. Their names begin with `test`, which no other test in this file has.
    fn start(test: &str) -> Self {
        let log = Log::install();
        let echo = palm::Functions::new().function("echo", |call| Ok(call.payload().to_vec()));
        let short = Duration::from_millis(500);
        let server = Server::new(format!("{test}-server"), Addresses::ephemeral())
            .functions(echo.clone())
            .max_message(MAX_MESSAGE)
            .patience(short)
            .start()
            .unwrap();
        let master = Master::new(format!("{test}-master"), Addresses::ephemeral())
            .max_message(MAX_MESSAGE)
            .patience(short)
            .start()
            .unwrap();
        let worker = Worker::new(&master.addresses().db)
            .name(format!("{test}-worker"))
            .functions(echo)
            .start()
            .unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let in_use = Arc::new(Barrier::new(3));
        let users = [&server, &master].map(|running| {
            let (client, stop, in_use) = (client(running), stop.clone(), in_use.clone());
            std::thread::spawn(move || {
                use_it(&client, &AtomicBool::new(true));
                in_use.wait();
                use_it(&client, &stop)
            })
        });
        in_use.wait();
        Self {
            server,
            master,
            worker,
            stop,
            users: users.into(),
            log,
        }
    }

    /// The ports of the given roles, of the server and of the master.
    fn ports(&self, roles: &[fn(&Addresses) -> &String]) -> Vec<String> {
        let both = [self.server.addresses(), self.master.addresses()];
        let ports = both
            .into_iter()
            .flat_map(|all| roles.iter().map(|role| role(all)));
        ports.filter(|port| !port.is_empty()).cloned().collect()
    }

    /// Checks that all was well all the time, and still is.
    fn end(self, what: &str) {
        self.stop.store(true, Ordering::SeqCst);
        for user in self.users {
            let calls = user.join().expect("what is valid went wrong");
            println!("{what}: {calls} valid calls meanwhile and after");
        }
        for running in [&self.server, &self.master, &self.worker] {
            assert!(!running.is_over(), "{what} ended '{}'", running.name());
            let warnings = self.log.warnings(running.name());
            println!("{what}: {warnings} warnings of {}", running.name());
            if warnings > LINES {
                let lines = self.log.lines(running.name(), "");
                panic!(
                    "{what}: {warnings} warnings, such as {:#?}",
                    lines.get(20..30)
                );
            }
        }
        for running in [self.server, self.master, self.worker] {
            running.stop().unwrap();
        }
    }
}

/// Calls and caches until it shall stop, and then some times. Gives the number of times.
fn use_it(client: &Client, stop: &AtomicBool) -> usize {
    let function = format!("{}.echo", client.server());
    let (mut calls, mut after) = (0, 0);
    while after < AFTER {
        after += usize::from(stop.load(Ordering::SeqCst));
        let payload = format!("call {calls}");
        let result = client.request(&function).timeout(SOON).eval(&payload);
        assert_eq!(result.unwrap(), payload.as_bytes());
        client.set(Some("key"), payload.as_bytes()).unwrap();
        assert_eq!(client.get("key").unwrap().unwrap(), payload.as_bytes());
        calls += 1;
    }
    calls
}

const PULL: fn(&Addresses) -> &String = |all| &all.pull;
const PUB: fn(&Addresses) -> &String = |all| &all.publish;
const WORKER_PULL: fn(&Addresses) -> &String = |all| &all.worker_pull;
const WORKER_PUSH: fn(&Addresses) -> &String = |all| &all.worker_push;
const DB: fn(&Addresses) -> &String = |all| &all.db;

/// Gives each frame to whoever sends to pull, worker_pull and db, as one message of one frame.
fn send_everywhere(victims: &Victims, count: usize, mut frame: impl FnMut() -> Vec<u8>) {
    let context = zmq::Context::new();
    for port in victims.ports(&[PULL, WORKER_PULL]) {
        let push = peer(&context, zmq::PUSH, &port);
        for _ in 0..count {
            push.send(frame(), 0).unwrap();
        }
        deliver(&push);
    }
    for port in victims.ports(&[DB]) {
        // A REQ that does not wait for answers, and does not read them.
        let dealer = peer(&context, zmq::DEALER, &port);
        for _ in 0..count {
            dealer.send_multipart([Vec::new(), frame()], 0).unwrap();
        }
        deliver(&dealer);
    }
}

/// Has a socket hand over what was sent: when its context is dropped, all has been.
fn deliver(socket: &zmq::Socket) {
    let soon = i32::try_from(SOON.as_millis()).unwrap();
    socket.set_linger(soon).unwrap();
}

/// What a peer of ZMTP 3 says first, without a mechanism.
fn greeting() -> Vec<u8> {
    let mut greeting = vec![0; 64];
    greeting[0] = 0xff;
    greeting[9] = 0x7f;
    greeting[10] = 3;
    greeting[12..16].copy_from_slice(b"NULL");
    greeting
}

/// What it says next: the kind of its socket.
fn ready(kind: &[u8]) -> Vec<u8> {
    let mut body = b"\x05READY\x0bSocket-Type\0\0\0".to_vec();
    body.push(kind.len() as u8);
    body.extend(kind);
    [&[4, body.len() as u8], &body[..]].concat()
}

/// A connection to a port of libzmq's as a socket of this kind.
fn shaken_hands(port: &str, kind: &str) -> std::io::Result<TcpStream> {
    let mut stream = connection(port)?;
    stream.write_all(&[greeting(), ready(kind.as_bytes())].concat())?;
    // Its greeting, and what it thinks of ours.
    stream.read_exact(&mut [0; 64 + 2])?;
    Ok(stream)
}

fn connection(port: &str) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(port.strip_prefix("tcp://").unwrap())?;
    stream.set_write_timeout(Some(SOON))?;
    stream.set_read_timeout(Some(SOON))?;
    Ok(stream)
}

/// Random bytes over some connections, with and without a proper beginning.
fn raw_bytes(random: &mut Random, port: &str, kinds: &[&str]) {
    const CONNECTIONS: usize = 100;
    for number in 0..CONNECTIONS {
        let stream = match number % 3 {
            0 => connection(port),
            1 => connection(port).and_then(|mut stream| {
                stream.write_all(&greeting())?;
                Ok(stream)
            }),
            _ => shaken_hands(port, kinds[random.below(kinds.len())]),
        };
        // The other side may refuse it, or cut it at any time, as it should.
        let Ok(mut stream) = stream else { continue };
        for _ in 0..MANY / CONNECTIONS {
            if stream.write_all(&random.bytes(300)).is_err() {
                break;
            }
        }
    }
}

#[test]
fn random_bytes_over_tcp() {
    let _limit = limit(120, "random bytes over tcp");
    let mut random = Random::new("random bytes over tcp");
    let victims = Victims::start("bytes");
    for (roles, kinds) in [
        (&[PULL, WORKER_PULL][..], ["PUSH", "PULL", "PAIR", "X"]),
        (&[PUB], ["SUB", "XSUB", "PUB", "X"]),
        (&[DB], ["REQ", "DEALER", "REP", "X"]),
    ] {
        for port in victims.ports(roles) {
            // The right kind is let in: so the bytes after it get as far as they can.
            shaken_hands(&port, kinds[0]).unwrap();
            raw_bytes(&mut random, &port, &kinds);
        }
    }
    victims.end("random bytes over tcp");
}

#[test]
fn random_bytes_where_workers_pull_take_no_task() {
    let _limit = limit(120, "random bytes where workers pull");
    let mut random = Random::new("random bytes where workers pull");
    let victims = Victims::start("thieves");
    for port in victims.ports(&[WORKER_PUSH]) {
        // One that says that it is a worker gets tasks: that is what the port is for.
        raw_bytes(&mut random, &port, &["PUSH", "PAIR", "SUB", "X"]);
    }
    victims.end("random bytes where workers pull");
}

#[test]
fn random_frames() {
    let _limit = limit(120, "random frames");
    let mut random = Random::new("random frames");
    let victims = Victims::start("frames");
    send_everywhere(&victims, MANY, || random.bytes(200));
    victims.end("random frames");
}

#[test]
fn messages_cut_short_or_with_flipped_bits() {
    let _limit = limit(120, "messages cut short");
    let mut random = Random::new("messages cut short");
    let victims = Victims::start("cut");
    let whole = palm::PalmMessage {
        stage: 1,
        cache: "some key".into(),
        ..message("some client", "some.function", b"some payload")
    };
    let whole = whole.encode_frame();
    send_everywhere(&victims, MANY, || {
        let mut bytes = whole[..random.below(whole.len())].to_vec();
        if !bytes.is_empty() {
            let at = random.below(bytes.len());
            bytes[at] ^= 1 << random.below(8);
        }
        bytes
    });
    victims.end("messages cut short");
}

#[test]
fn messages_that_make_no_sense_from_clients_that_are_not_there() {
    let _limit = limit(120, "messages without sense");
    let mut random = Random::new("messages without sense");
    let victims = Victims::start("senseless");
    let mut functions = [
        "",
        "x",
        "other.echo",
        "senseless-server.none",
        "_.none",
        "a.b c.d",
    ]
    .into_iter()
    .cycle();
    send_everywhere(&victims, MANY, || {
        let client = format!("client {}", random.number());
        let function = functions.next().unwrap();
        message(&client, function, b"x").encode_frame()
    });
    for running in [&victims.server, &victims.master] {
        let given_up = || victims.log.lines(running.name(), "went to nobody");
        until("what is held for them to be given up", || {
            !given_up().is_empty()
        });
    }
    victims.end("messages without sense");
}

#[test]
fn frames_over_the_limit() {
    let _limit = limit(120, "frames over the limit");
    let victims = Victims::start("large");
    // Fewer than of the others: these are 200 kB each. Let in, and refused.
    let frame = message("c", "a.b", &vec![0; 3 * MAX_MESSAGE]).encode_frame();
    send_everywhere(&victims, MANY / 20, || frame.clone());
    // Not let in: each of these costs its connection.
    let context = zmq::Context::new();
    let frame = message("c", "a.b", &vec![0; 100 * MAX_MESSAGE]).encode_frame();
    for (roles, kind) in [
        (&[PULL, WORKER_PULL][..], zmq::PUSH),
        (&[PUB], zmq::XSUB),
        (&[DB], zmq::DEALER),
    ] {
        for port in victims.ports(roles) {
            let socket = peer(&context, kind, &port);
            for _ in 0..20 {
                socket.send(&frame, 0).unwrap();
            }
            deliver(&socket);
        }
    }
    drop(context);
    victims.end("frames over the limit");
}

#[test]
fn the_wrong_number_of_frames() {
    let _limit = limit(120, "the wrong number of frames");
    let mut random = Random::new("the wrong number of frames");
    let victims = Victims::start("number");
    let valid = message("c", "number-server.echo", b"x").encode_frame();
    let context = zmq::Context::new();
    for port in victims.ports(&[PULL, WORKER_PULL, DB]) {
        let is_db = victims.ports(&[DB]).contains(&port);
        let kind = if is_db { zmq::DEALER } else { zmq::PUSH };
        let socket = peer(&context, kind, &port);
        for _ in 0..MANY {
            let mut frames: Vec<Vec<u8>> = (0..2 + random.below(4))
                .map(|_| match random.below(3) {
                    0 => Vec::new(),
                    1 => valid.clone(),
                    _ => random.bytes(50),
                })
                .collect();
            if is_db && random.below(2) == 0 {
                // Then it is a request, with more than one frame.
                frames.splice(0..0, [Vec::new(), b"x".to_vec()]);
            }
            socket.send_multipart(frames, 0).unwrap();
        }
        deliver(&socket);
    }
    drop(context);
    victims.end("the wrong number of frames");
}

#[test]
fn random_subscriptions_and_whatever_else_a_subscriber_may_send() {
    let _limit = limit(120, "random subscriptions");
    let mut random = Random::new("random subscriptions");
    let victims = Victims::start("topics");
    let context = zmq::Context::new();
    for port in victims.ports(&[PUB]) {
        let sub = peer(&context, zmq::SUB, &port);
        let xsub = peer(&context, zmq::XSUB, &port);
        for _ in 0..MANY {
            // A first byte that no topic of palm's clients has, so that it gets no results:
            // here it is about what subscribers send, not about those who do not read.
            let topic = [b"~", &random.bytes(60)[..]].concat();
            sub.set_subscribe(&topic).unwrap();
            if random.below(2) == 0 {
                sub.set_unsubscribe(&topic).unwrap();
            }
            let first = [0, 1, 2, 255][random.below(4)];
            xsub.send([&[first][..], &topic].concat(), 0).unwrap();
            if random.below(10) == 0 {
                xsub.send_multipart([vec![2], random.bytes(50), topic], 0)
                    .unwrap();
                xsub.send(Vec::new(), 0).unwrap();
            }
        }
        deliver(&xsub);
    }
    drop(context);
    victims.end("random subscriptions");
}

#[test]
fn sockets_of_the_wrong_kind() {
    let _limit = limit(120, "sockets of the wrong kind");
    let mut random = Random::new("sockets of the wrong kind");
    let victims = Victims::start("kinds");
    use zmq::{DEALER, PAIR, PUB as PUBLISHER, PULL as PULLER, PUSH, REP, REQ, ROUTER, SUB, XSUB};
    let context = zmq::Context::new();
    for (roles, right) in [
        (&[PULL, WORKER_PULL][..], &[PUSH][..]),
        (&[PUB], &[SUB, XSUB]),
        (&[WORKER_PUSH], &[PULLER]),
        (&[DB], &[REQ, DEALER]),
    ] {
        let all = [
            DEALER, PAIR, PUBLISHER, PULLER, PUSH, REP, REQ, ROUTER, SUB, XSUB,
        ];
        for port in victims.ports(roles) {
            for kind in all.into_iter().filter(|kind| !right.contains(kind)) {
                let socket = peer(&context, kind, &port);
                for _ in 0..MANY / all.len() {
                    // Most kinds may send, but nobody takes it.
                    let _ = socket.send(random.bytes(50), zmq::DONTWAIT);
                }
            }
        }
    }
    drop(context);
    victims.end("sockets of the wrong kind");
}

#[test]
fn subscriptions_of_any_length() {
    let _limit = limit(120, "subscriptions of any length");
    let victims = Victims::start("long");
    for port in victims.ports(&[PUB]) {
        for length in [100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000] {
            // By hand, because libzmq's subscriber has no stack for a long one.
            let mut stream = shaken_hands(&port, "SUB").unwrap();
            for first in [1, 0, 1] {
                let mut topic = vec![b'~'; length + 1];
                topic[0] = first;
                let head = [&[2][..], &(topic.len() as u64).to_be_bytes()].concat();
                // The other side may cut it, as it should from some length on.
                if stream.write_all(&[head, topic].concat()).is_err() {
                    break;
                }
            }
        }
    }
    victims.end("subscriptions of any length");
}
