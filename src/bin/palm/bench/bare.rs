//! The same topologies in bare ZeroMQ, with no promises at all: what palm is measured against.
//!
//! Opaque bytes, no bound on any queue, and each process does no more than move messages. What
//! forwards or works is one thread that polls, which is the fastest way here.

use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::load::{Kind, Load, Report, Seen};
use super::role::Place;
use super::{load, process};
use crate::common::{Failure, Outcome};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Role {
    Forwarder,
    Worker {
        pull: String,
        push: String,
        nap: Duration,
    },
    Server,
    Step {
        of: String,
    },
    Client {
        push: String,
        sub: String,
        load: Load,
    },
    Cache,
    CacheClient {
        db: String,
        load: Load,
    },
}

impl Role {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Forwarder => "forwarder",
            Self::Worker { .. } => "worker",
            Self::Server | Self::Cache => "server",
            Self::Step { .. } => "step",
            Self::Client { .. } | Self::CacheClient { .. } => "client",
        }
    }

    pub fn play(self, go: &Receiver<()>) -> Outcome {
        match self {
            Self::Forwarder => forwarder(),
            Self::Worker { pull, push, nap } => worker(&pull, &push, nap),
            Self::Server => server(),
            Self::Step { of } => step(&of),
            Self::Client { push, sub, load } => client(&push, &sub, &load, go),
            Self::Cache => cache(),
            Self::CacheClient { db, load } => cache_client(&db, &load, go),
        }
    }
}

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
fn forwarder() -> Outcome {
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
    relay_all(&[(&results, &publish), (&pull, &push)])
}

/// PULL -> PUSH, with a nap at every second message.
fn worker(pull: &str, push: &str, nap: Duration) -> Outcome {
    let sockets = Sockets::new();
    let from = sockets.connect(zmq::PULL, pull)?;
    let to = sockets.connect(zmq::PUSH, push)?;
    process::tell(&Place::default())?;
    if nap.is_zero() {
        return relay_all(&[(&from, &to)]);
    }
    loop {
        let message = from.recv_bytes(0).map_err(failed)?;
        load::nap(&message, nap);
        to.send(message, 0).map_err(failed)?;
    }
}

/// PULL -> PUB
fn server() -> Outcome {
    let sockets = Sockets::new();
    let (pull, pull_at) = sockets.bind(zmq::PULL)?;
    let (publish, publish_at) = sockets.bind(zmq::PUB)?;
    process::tell(&Place {
        pull: pull_at,
        publish: publish_at,
        ..Place::default()
    })?;
    relay_all(&[(&pull, &publish)])
}

/// REP, which answers what it is asked: what a cache costs at least. Two requests are one
/// message of the load.
fn cache() -> Outcome {
    let sockets = Sockets::new();
    let (answers, db) = sockets.bind(zmq::REP)?;
    process::tell(&Place {
        db,
        ..Place::default()
    })?;
    let mut message = zmq::Message::new();
    loop {
        answers.recv(&mut message, 0).map_err(failed)?;
        let answer = std::mem::replace(&mut message, zmq::Message::new());
        answers.send(answer, 0).map_err(failed)?;
    }
}

/// REQ ... REQ
fn cache_client(db: &str, load: &Load, go: &Receiver<()>) -> Outcome {
    let sockets = Sockets::new();
    let asks = sockets.connect(zmq::REQ, db)?;
    process::tell(&Place::default())?;
    if go.recv().is_err() {
        return Ok(());
    }
    let report = load.time_calls(|payload| {
        asks.send(payload.as_slice(), 0).map_err(failed)?;
        asks.recv_bytes(0).map_err(failed)?;
        asks.send(payload, 0).map_err(failed)?;
        asks.recv_bytes(0).map_err(failed)
    })?;
    process::tell(&report)?;
    process::rest()
}

/// SUB -> PUB
fn step(of: &str) -> Outcome {
    let sockets = Sockets::new();
    let sub = sockets.connect(zmq::SUB, of)?;
    sub.set_subscribe(b"").map_err(failed)?;
    let (publish, publish_at) = sockets.bind(zmq::PUB)?;
    process::tell(&Place {
        publish: publish_at,
        ..Place::default()
    })?;
    relay_all(&[(&sub, &publish)])
}

/// PUSH ... SUB
fn client(push: &str, sub: &str, load: &Load, go: &Receiver<()>) -> Outcome {
    let sockets = Sockets::new();
    let sub = sockets.connect(zmq::SUB, sub)?;
    sub.set_subscribe(b"").map_err(failed)?;
    let push = sockets.connect(zmq::PUSH, push)?;
    // A publisher drops what nobody subscribes to yet: so first something has to come through. A
    // probe that comes later still is read past.
    loop {
        push.send(PROBE.as_slice(), 0).map_err(failed)?;
        if sub.poll(zmq::POLLIN, PAUSE).map_err(failed)? > 0 {
            break;
        }
    }
    process::tell(&Place::default())?;
    if go.recv().is_err() {
        return Ok(());
    }
    let report = match load.kind {
        Kind::Idle => load.idle(),
        Kind::Stream => stream(push, &sub, load)?,
        Kind::Calls | Kind::Cache => load.time_calls(|payload| {
            push.send(payload, 0).map_err(failed)?;
            loop {
                let result = sub.recv_bytes(0).map_err(failed)?;
                if result != PROBE {
                    return Ok(result);
                }
            }
        })?,
    };
    process::tell(&report)?;
    process::rest()
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
                if *message == PROBE {
                    continue;
                }
                seen.note(&message);
                if let Some(limit) = &limit {
                    // What has come was sent, so there is one.
                    let _ = limit.try_recv();
                }
            }
        }
        let took = start.elapsed().saturating_sub(load.late);
        drop(limit);
        match pushing.join() {
            Ok(ended) => ended.map(|_| seen.report(took)),
            Err(_) => Err("bare ZeroMQ: the sender has died".to_owned().into()),
        }
    })
}

/// After so many milliseconds without a result the rest is taken to be lost.
const LOST: i64 = 10_000;
