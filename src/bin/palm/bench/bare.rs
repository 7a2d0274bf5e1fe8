//! The same topologies in bare ZeroMQ, with no promises at all: what palm is measured against.
//!
//! Opaque bytes, no bound on any queue, and each process does no more than move messages. What
//! forwards or works is one thread that polls, which is the fastest way here.

use std::time::Instant;

use super::load::{Load, Report, Seen};
use super::process;
use super::role::Place;
use crate::common::{Failure, Outcome};

/// How many messages are moved one way before the other has its turn.
const AT_ONCE: usize = 256;

/// What is published before the measurement begins, until it comes through.
const PROBE: [u8; 8] = u64::MAX.to_le_bytes();

/// How long to wait for a probe before the next is sent, in milliseconds.
const PAUSE: i64 = 20;

fn failed(error: zmq::Error) -> Failure {
    format!("bare ZeroMQ: {error}").into()
}

struct Sockets(zmq::Context);

impl Sockets {
    fn new() -> Self {
        Self(zmq::Context::new())
    }

    fn open(&self, kind: zmq::SocketType) -> Result<zmq::Socket, Failure> {
        let open = || {
            let socket = self.0.socket(kind)?;
            socket.set_sndhwm(0)?;
            socket.set_rcvhwm(0)?;
            socket.set_linger(0)?;
            Ok(socket)
        };
        open().map_err(failed)
    }

    /// A socket that is bound, and where.
    fn bind(&self, kind: zmq::SocketType) -> Result<(zmq::Socket, String), Failure> {
        let socket = self.open(kind)?;
        socket.bind("tcp://127.0.0.1:*").map_err(failed)?;
        let address = socket.get_last_endpoint().map_err(failed)?;
        let address = address.map_err(|_| "an address that is no text".to_owned())?;
        Ok((socket, address))
    }

    fn connect(&self, kind: zmq::SocketType, address: &str) -> Result<zmq::Socket, Failure> {
        let socket = self.open(kind)?;
        socket.connect(address).map_err(failed)?;
        Ok(socket)
    }
}

/// Moves messages, up to so many. Whether there were so many.
fn relay(from: &zmq::Socket, to: &zmq::Socket) -> Result<bool, Failure> {
    let mut message = zmq::Message::new();
    for _ in 0..AT_ONCE {
        match from.recv(&mut message, zmq::DONTWAIT) {
            Ok(()) => to
                .send(std::mem::replace(&mut message, zmq::Message::new()), 0)
                .map_err(failed)?,
            Err(zmq::Error::EAGAIN) => return Ok(false),
            Err(error) => return Err(failed(error)),
        }
    }
    Ok(true)
}

/// Moves messages for ever.
fn relay_all(ways: &[(&zmq::Socket, &zmq::Socket)]) -> Outcome {
    let mut items: Vec<_> = ways
        .iter()
        .map(|(from, _)| from.as_poll_item(zmq::POLLIN))
        .collect();
    loop {
        let mut more = false;
        for (from, to) in ways {
            more |= relay(from, to)?;
        }
        if !more {
            zmq::poll(&mut items, -1).map_err(failed)?;
        }
    }
}

/// client PUSH -> PULL, PUSH -> workers -> PULL, PUB -> client SUB
pub fn forwarder() -> Outcome {
    let sockets = Sockets::new();
    let (pull, pull_at) = sockets.bind(zmq::PULL)?;
    let (push, push_at) = sockets.bind(zmq::PUSH)?;
    let (results, results_at) = sockets.bind(zmq::PULL)?;
    let (publish, publish_at) = sockets.bind(zmq::PUB)?;
    process::tell(&Place {
        pull: pull_at,
        publish: publish_at,
        more: vec![push_at, results_at],
        ..Place::default()
    })?;
    process::end_when_told();
    relay_all(&[(&results, &publish), (&pull, &push)])
}

/// PULL -> PUSH
pub fn worker(pull: &str, push: &str) -> Outcome {
    let sockets = Sockets::new();
    let from = sockets.connect(zmq::PULL, pull)?;
    let to = sockets.connect(zmq::PUSH, push)?;
    process::tell(&Place::default())?;
    process::end_when_told();
    relay_all(&[(&from, &to)])
}

/// PULL -> PUB
pub fn server() -> Outcome {
    let sockets = Sockets::new();
    let (pull, pull_at) = sockets.bind(zmq::PULL)?;
    let (publish, publish_at) = sockets.bind(zmq::PUB)?;
    process::tell(&Place {
        pull: pull_at,
        publish: publish_at,
        ..Place::default()
    })?;
    process::end_when_told();
    relay_all(&[(&pull, &publish)])
}

/// SUB -> PUB
pub fn step(of: &str) -> Outcome {
    let sockets = Sockets::new();
    let sub = sockets.connect(zmq::SUB, of)?;
    sub.set_subscribe(b"").map_err(failed)?;
    let (publish, publish_at) = sockets.bind(zmq::PUB)?;
    process::tell(&Place {
        publish: publish_at,
        ..Place::default()
    })?;
    process::end_when_told();
    relay_all(&[(&sub, &publish)])
}

/// PUSH ... SUB
pub fn client(push: &str, sub: &str, load: &Load) -> Outcome {
    let sockets = Sockets::new();
    let sub = sockets.connect(zmq::SUB, sub)?;
    sub.set_subscribe(b"").map_err(failed)?;
    let push = sockets.connect(zmq::PUSH, push)?;
    // A publisher drops what nobody subscribes to yet: so first something has to come through,
    // by each way that there is, and then all of it.
    let (mut sent, mut come) = (0, 0);
    while come == 0 || come < sent {
        if come == 0 {
            push.send(PROBE.as_slice(), 0).map_err(failed)?;
            sent += 1;
        }
        if sub.poll(zmq::POLLIN, PAUSE).map_err(failed)? > 0 {
            sub.recv_bytes(0).map_err(failed)?;
            come += 1;
        } else if come > 0 {
            break; // Those before it were dropped.
        }
    }
    process::tell(&Place::default())?;
    if !process::wait_for_go() {
        return Ok(());
    }
    process::end_when_told();
    let report = match load.calls {
        true => load.time_calls(|payload| {
            push.send(payload, 0).map_err(failed)?;
            sub.recv_bytes(0).map_err(failed)
        })?,
        false => stream(push, &sub, load)?,
    };
    process::tell_last(&report)
}

/// Sends by a thread of its own, and reads all that comes.
fn stream(push: zmq::Socket, sub: &zmq::Socket, load: &Load) -> Result<Report, Failure> {
    let all = load.clients * load.count;
    let mut seen = Seen::new(all);
    let start = Instant::now();
    let (room, limit) = match load.window {
        0 => (None, None),
        window => {
            let (room, limit) = std::sync::mpsc::sync_channel::<()>(window);
            (Some(room), Some(limit))
        }
    };
    std::thread::scope(|scope| {
        let pushing = scope.spawn(move || {
            for number in 0..all {
                // The other end is gone when something has failed there.
                if room.as_ref().is_some_and(|room| room.send(()).is_err()) {
                    break;
                }
                push.send(load.payload(number), 0).map_err(failed)?;
            }
            Ok(push)
        });
        std::thread::sleep(load.late);
        let mut message = zmq::Message::new();
        while !seen.is_complete() {
            if sub.poll(zmq::POLLIN, LOST).map_err(failed)? == 0 {
                break; // What has not come by now is lost.
            }
            while !seen.is_complete() && sub.recv(&mut message, zmq::DONTWAIT).is_ok() {
                seen.note(&message);
                if let Some(limit) = &limit {
                    // What has come was sent, so there is one.
                    let _ = limit.try_recv();
                }
            }
        }
        let took = start.elapsed();
        drop(limit);
        match pushing.join() {
            Ok(ended) => ended.map(|_| seen.report(took)),
            Err(_) => Err("bare ZeroMQ: the sender has died".to_owned().into()),
        }
    })
}

/// After so many milliseconds without a result the rest is taken to be lost.
const LOST: i64 = 10_000;
