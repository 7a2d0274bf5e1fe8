//! A connection to a server, from the side that connects.

use std::time::{Duration, Instant};

use super::{BEAT, SILENCE};
use crate::message::Frame;
use crate::message::link::{Envelope, Head, Hello, Outgoing, VERSION, Welcome};

/// How long to wait for the answer to a hello before the connection is made anew.
const ANSWER: Duration = Duration::from_secs(1);

/// What is done over a [`Line`]: by a client, a later step of a chain, or a worker.
pub(crate) trait Party {
    /// Says who it is and what it has. The line fills in the version and the nonce.
    fn hello(&mut self) -> Hello;

    /// The server knows it now. What both sides had to say before is forgotten; whatever is
    /// still to be said goes to `out` again.
    fn welcomed(&mut self, welcome: Welcome, out: &mut Outgoing, now: Instant);

    /// The server has said something.
    fn heard(&mut self, head: Box<Head>, frames: Vec<Frame>, out: &mut Outgoing, now: Instant);

    /// The connection is gone, until it is welcomed again.
    fn lost(&mut self, now: Instant);

    /// Says what it has to say. Called whenever anything may have changed, while it is welcome.
    fn speak(&mut self, out: &mut Outgoing, now: Instant);

    /// Whether there is nothing left to do over this line.
    fn is_over(&self) -> bool {
        false
    }

    /// Whether this connection is no good, so that another is to be made.
    fn is_broken(&self) -> bool {
        false
    }

    /// When it wants to be called again though nothing happens.
    fn deadline(&self) -> Option<Instant> {
        None
    }
}

/// A connection to a server: says hello, keeps it alive, notices when it is broken, and begins
/// anew then.
///
/// libzmq connects again by itself, without a word. The server then gets messages from a
/// connection that it does not know, says so, and hears a hello again. If the server is silent
/// for too long, it may be somewhere else: then whoever drives the line finds out where, and
/// opens another socket.
#[derive(Debug)]
pub(crate) struct Line<P> {
    party: P,
    state: State,
    out: Outgoing,
    /// When something was heard last.
    heard: Instant,
    /// When something was said last.
    said: Instant,
    /// Whether something was heard since: then a heartbeat may go before its time, while both
    /// sides are awake.
    is_awake: bool,
    nonce: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// There is no socket.
    Closed,
    /// The answer to a hello is awaited.
    Asking {
        since: Instant,
    },
    Welcome,
}

/// What is to be done with the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Keep,
    /// It is to be closed, and another opened to where the server is.
    Reopen,
}

impl<P: Party> Line<P> {
    pub(crate) fn new(party: P, now: Instant) -> Self {
        Self {
            party,
            state: State::Closed,
            out: Outgoing::default(),
            heard: now,
            said: now,
            is_awake: false,
            nonce: 0,
        }
    }

    pub(crate) fn party(&self) -> &P {
        &self.party
    }

    #[cfg(test)]
    pub(crate) fn party_mut(&mut self) -> &mut P {
        &mut self.party
    }

    /// A new socket is open.
    pub(crate) fn opened(&mut self, now: Instant) {
        self.ask(now);
    }

    fn ask(&mut self, now: Instant) {
        if self.state == State::Welcome {
            self.party.lost(now);
        }
        self.out.clear();
        self.nonce += 1;
        let (hello, nonce) = (self.party.hello(), self.nonce);
        self.out.note(|head| {
            head.hello = Some(Box::new(Hello {
                version: VERSION,
                nonce,
                ..hello
            }));
        });
        self.state = State::Asking { since: now };
    }

    /// Something has come from the server.
    pub(crate) fn receive(&mut self, mut head: Box<Head>, frames: Vec<Frame>, now: Instant) {
        self.heard = now;
        self.is_awake = true;
        if head.unknown {
            // Once for each connection that it does not know; a hello may be on its way.
            if self.state == State::Welcome {
                self.ask(now);
            }
            return;
        }
        let nonce = self.nonce;
        match head.welcome.take_if(|welcome| welcome.nonce == nonce) {
            Some(welcome) if matches!(self.state, State::Asking { .. }) => {
                self.state = State::Welcome;
                self.party.welcomed(*welcome, &mut self.out, now);
            }
            _ if self.state != State::Welcome => return,
            _ => {}
        }
        if head.bye {
            self.close(now);
            return;
        }
        self.party.heard(head, frames, &mut self.out, now);
    }

    /// The connection has broken. The server may be somewhere else.
    pub(crate) fn cut(&mut self, now: Instant) {
        if self.state == State::Welcome {
            self.close(now);
        }
    }

    /// Gives up the connection.
    fn close(&mut self, now: Instant) {
        if self.state == State::Welcome {
            self.party.lost(now);
        }
        self.out.clear();
        self.state = State::Closed;
    }

    /// Looks what time it is, and has the party speak.
    pub(crate) fn tick(&mut self, now: Instant) -> Verdict {
        let silent = now.saturating_duration_since(self.heard) >= SILENCE;
        match self.state {
            State::Closed => return Verdict::Reopen,
            State::Asking { since } if now.saturating_duration_since(since) >= ANSWER => {
                self.close(now);
                return Verdict::Reopen;
            }
            State::Welcome if silent || self.party.is_broken() => {
                self.close(now);
                return Verdict::Reopen;
            }
            State::Asking { .. } => {}
            State::Welcome => self.party.speak(&mut self.out, now),
        }
        Verdict::Keep
    }

    /// Says that it leaves.
    pub(crate) fn leave(&mut self, now: Instant) {
        if self.state == State::Welcome {
            self.party.speak(&mut self.out, now);
            self.out.note(|head| head.bye = true);
        }
    }

    /// What is to be sent now: a heartbeat at the least, when it is time for one.
    pub(crate) fn take(&mut self, now: Instant) -> Vec<Envelope> {
        let mut said: Vec<_> = self.out.take_due(now).collect();
        let beat = if self.is_awake { BEAT / 2 } else { BEAT };
        self.is_awake = false;
        let is_due = now.saturating_duration_since(self.said) >= beat;
        if said.is_empty() && is_due && self.state == State::Welcome {
            said.push(Envelope::default());
        }
        if !said.is_empty() {
            self.said = now;
        }
        said
    }

    /// When to call [`tick`](Self::tick) again though nothing happens.
    pub(crate) fn deadline(&self) -> Instant {
        match self.state {
            State::Closed => self.said,
            State::Asking { since } => since + ANSWER,
            State::Welcome => {
                let own = (self.heard + SILENCE).min(self.said + BEAT);
                let others = [self.party.deadline(), self.out.deadline()];
                others.into_iter().flatten().fold(own, Instant::min)
            }
        }
    }
}
