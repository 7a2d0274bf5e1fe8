//! What drives a line: as `part/dealer.rs` does it.

use std::time::{Duration, Instant};

use super::net::{Env, SocketId};
use super::plan::Id;
use crate::core::link::{Line, Party, Verdict};
use crate::message::Frame;
use crate::message::link::Envelope;

const PAUSE: Duration = Duration::from_millis(250);

pub(super) struct Dealer<P> {
    owner: Id,
    number: usize,
    to: Id,
    pub(super) line: Line<P>,
    socket: Option<SocketId>,
    /// When to look for the component again.
    look: Instant,
}

impl<P: Party> Dealer<P> {
    pub(super) fn new(owner: Id, number: usize, to: Id, party: P, now: Instant) -> Self {
        Self {
            owner,
            number,
            to,
            line: Line::new(party, now),
            socket: None,
            look: now,
        }
    }

    /// Something has come by a socket, which may be an old one.
    pub(super) fn receive(&mut self, socket: SocketId, envelope: Envelope, now: Instant) {
        if self.socket == Some(socket) {
            let Envelope { head, frames } = envelope;
            self.line.receive(head, frames, now);
        }
    }

    /// Does what there is to do. Gives when to come again.
    pub(super) fn run(&mut self, env: &mut Env) -> Instant {
        let now = env.now;
        if self.look > now {
            return self.look;
        }
        if self.line.tick(now) == Verdict::Reopen {
            if let Some(socket) = self.socket.take() {
                env.close(socket);
            }
            if !env.runs(self.to) {
                self.look = now + PAUSE;
                return self.look;
            }
            self.socket = Some(env.open(self.owner, self.number, self.to));
            self.line.opened(now);
        }
        self.send(env);
        self.line.deadline()
    }

    pub(super) fn send(&mut self, env: &mut Env) {
        let said = self.line.take(env.now);
        if let Some(socket) = self.socket {
            for envelope in said {
                env.say(|| format!("{} says to {}: {}", self.owner, self.to, text(&envelope)));
                env.send_up(socket, envelope);
            }
        }
    }

    pub(super) fn leave(&mut self, env: &mut Env) {
        self.line.leave(env.now);
        self.send(env);
    }
}

/// What is said, for people.
pub(super) fn text(envelope: &Envelope) -> String {
    use std::fmt::Write;
    let Envelope { head, frames } = envelope;
    let mut text = String::new();
    if envelope.head == Default::default() {
        return "a beat".to_owned();
    }
    if let Some(hello) = &head.hello {
        let holds: Vec<_> = hello.holds.iter().map(|id| (id.id, id.attempt)).collect();
        let _ = write!(
            text,
            "hello from {} #{} {:?} holds {holds:?} ",
            hello.session, hello.nonce, hello.position
        );
    }
    if let Some(welcome) = &head.welcome {
        let _ = write!(
            text,
            "welcome #{} to {} at {:?} run {} resumed {} ",
            welcome.nonce, welcome.epoch, welcome.position, welcome.run, welcome.resumed
        );
    }
    for (say, is) in [
        ("who are you ", head.unknown),
        ("drains ", head.drain),
        ("bye ", head.bye),
    ] {
        if is {
            text.push_str(say);
        }
    }
    if !head.sizes.is_empty() {
        let _ = write!(text, "items from {} ", head.first);
    }
    for (say, all) in [
        ("done", &head.done),
        ("complete", &head.complete),
        ("heard", &head.heard),
        ("cancel", &head.cancel),
    ] {
        if !all.is_empty() {
            let _ = write!(text, "{say} {all:?} ");
        }
    }
    for outcome in &head.outcomes {
        let _ = write!(text, "outcome of {}: {:?} ", outcome.number, outcome.failed);
    }
    if let Some(credit) = &head.credit {
        let _ = write!(text, "credit {} {} ", credit.messages, credit.bytes);
    }
    for (id, _) in head.tasks() {
        let _ = write!(text, "task {:?} ", (id.id, id.attempt));
    }
    for result in head.results() {
        let id = (result.id.id, result.id.attempt, result.id.messages());
        let _ = write!(text, "{} results of {id:?} ", result.count);
    }
    for (say, all) in [("recall", &head.recall), ("returned", &head.returned)] {
        if let Some(all) = all {
            let all: Vec<_> = all
                .ids
                .iter()
                .map(|id| (id.id, id.attempt, id.count))
                .collect();
            let _ = write!(text, "{say} {all:?} ");
        }
    }
    for frame in frames {
        let _ = write!(text, "[{}]", label(frame));
    }
    text
}

/// A message, for people.
pub(super) fn label(frame: &Frame) -> String {
    let place = frame
        .place()
        .map(|place| (place.number, place.path.to_vec()));
    let texts = || (0..frame.count()).map(|at| super::client::text_of(&frame.single(at)));
    let body = match frame.failure() {
        Some(failure) => failure.cause,
        None => texts().collect::<Vec<_>>().join(", "),
    };
    format!("{body} {place:?}")
}
