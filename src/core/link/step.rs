//! What a later step of a chain takes from the one before.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::{Credit, Party, Taken, Taker, Tell};
use crate::core::custody::{self, Ledger, Ticket};
use crate::message::Frame;
use crate::message::link::{
    Failed, Head, Hello, Kind, Outcome, Outgoing, Position, Welcome, differences,
};

/// How many bytes may lie here that nobody has taken on, as a multiple of the credit: the giver
/// counts a little differently.
const LENIENCE: u64 = 2;

/// Takes what an earlier step gives to a topic, answers for it with a [`Ticket`] each, and says
/// when it is done.
#[derive(Debug)]
pub(crate) struct StepSession {
    /// Its id: a uuid, of this run of the step.
    session: String,
    name: String,
    topic: String,
    credit: Credit,
    ledger: Arc<Ledger>,
    /// The run of the giver, and of its stream.
    epoch: String,
    run: u64,
    /// The number of that stream in the ledger: what is settled of an earlier one is told nobody.
    stream: u64,
    taker: Taker,
    /// What has come and was not taken on.
    arrived: VecDeque<(Frame, Ticket)>,
    arrived_bytes: u64,
    /// What is done, and not said yet.
    done: Vec<u64>,
    /// Outcomes that are not said yet.
    outcomes: Vec<Outcome>,
    broken: bool,
    closed: bool,
}

impl StepSession {
    /// A step of this name, for what goes to the topic. The id is to be another one at each
    /// start. What is settled in the ledger is to be [said](Party::speak): its wake-up rings
    /// whoever owns the connection.
    pub(crate) fn new(
        session: impl Into<String>,
        name: impl Into<String>,
        topic: impl Into<String>,
        credit: Credit,
        ledger: Arc<Ledger>,
    ) -> Self {
        Self {
            session: session.into(),
            name: name.into(),
            topic: topic.into(),
            credit,
            ledger,
            epoch: String::new(),
            run: 0,
            stream: 0,
            taker: Taker::default(),
            arrived: VecDeque::new(),
            arrived_bytes: 0,
            done: Vec::new(),
            outcomes: Vec::new(),
            broken: false,
            closed: false,
        }
    }

    /// The next message that has come, in the giver's order.
    pub(crate) fn next(&mut self) -> Option<(Frame, Ticket)> {
        let (frame, ticket) = self.arrived.pop_front()?;
        self.arrived_bytes -= frame.len() as u64;
        Some((frame, ticket))
    }

    /// Takes nothing more on this connection: another is to be made, if it is to any.
    pub(crate) fn break_off(&mut self) {
        self.broken = true;
    }

    /// Takes nothing more at all. What was not taken on is the giver's again, some day.
    pub(crate) fn close(&mut self) {
        self.closed = true;
        self.forget_arrived();
    }

    /// How many messages are open: taken, and not done.
    pub(crate) fn open(&self) -> usize {
        self.taker.open()
    }

    fn forget_arrived(&mut self) {
        self.arrived.clear();
        self.arrived_bytes = 0;
    }

    /// A message of the stream has come.
    fn take(&mut self, number: u64, frame: Frame) {
        if self.broken || self.closed {
            return;
        }
        let size = frame.len() as u64;
        let bytes = self.arrived_bytes + size > LENIENCE.saturating_mul(self.credit.bytes);
        let messages = self.taker.open() as u64 >= self.credit.messages;
        if bytes && !self.arrived.is_empty() || messages && self.taker.open() > 0 {
            // It stays with the giver, who counts wrongly.
            self.broken = true;
            return;
        }
        match self.taker.take(number) {
            Taken::New => {
                let ticket = self.ledger.ticket(self.stream, number);
                self.arrived_bytes += size;
                self.arrived.push_back((frame, ticket));
            }
            Taken::Double => {}
            Taken::Gap => self.broken = true,
        }
    }

    /// Looks what is settled.
    fn settle(&mut self) {
        for settled in self.ledger.take() {
            if settled.stream != self.stream {
                continue; // Its giver is gone, or gives it again.
            }
            match self.taker.ended(settled.number, settled.result) {
                Tell::Done => self.done.push(settled.number),
                Tell::Outcome(outcome) => self.outcomes.push(told(settled.number, &outcome)),
                Tell::Nothing => {}
            }
        }
    }
}

/// An outcome as it is said.
fn told(number: u64, outcome: &custody::Outcome) -> Outcome {
    let failed = outcome.failed.iter().map(|(path, failure)| Failed {
        path: path.clone(),
        failure: Some(failure.clone()),
    });
    Outcome {
        number,
        failed: failed.collect(),
        untracked: outcome.untracked,
    }
}

impl Party for StepSession {
    fn hello(&mut self) -> Hello {
        self.settle();
        // The position tells: what is done is not open.
        self.done.clear();
        self.broken = false;
        let (received, open) = self.taker.position();
        let position = (!self.epoch.is_empty()).then(|| Position {
            epoch: self.epoch.clone(),
            run: self.run,
            received,
            open: differences(open),
        });
        Hello {
            kind: Kind::Step.into(),
            session: self.session.clone(),
            name: self.name.clone(),
            topic: self.topic.clone(),
            credit: Some(self.credit),
            position,
            ..Hello::default()
        }
    }

    fn welcomed(&mut self, welcome: Welcome, _: &mut Outgoing, _: Instant) {
        let goes_on =
            welcome.resumed && welcome.epoch == self.epoch && welcome.run == self.run;
        if goes_on {
            let untold = self.taker.untold().iter();
            self.outcomes = untold.map(|(number, of)| told(*number, of)).collect();
            return;
        }
        if welcome.epoch == self.epoch {
            // It gives them again. (Another run of it may know nothing of them.)
            self.forget_arrived();
        }
        self.epoch = welcome.epoch;
        self.run = welcome.run;
        self.stream += 1;
        self.taker = Taker::default();
        self.done.clear();
        self.outcomes.clear();
    }

    fn heard(&mut self, head: Head, frames: Vec<Frame>, _: &mut Outgoing, _: Instant) {
        // Each is one higher than the one before, and more than there are no peer has sent.
        let numbers = (0..head.sizes.len() as u64).map(|more| head.first.saturating_add(more));
        for (number, frame) in numbers.zip(frames) {
            self.take(number, frame);
        }
        for number in head.heard {
            self.taker.heard(number);
        }
    }

    fn lost(&mut self, _: Instant) {}

    fn speak(&mut self, out: &mut Outgoing, _: Instant) {
        self.settle();
        for number in self.done.drain(..) {
            out.note(|head| head.done.push(number));
        }
        for outcome in self.outcomes.drain(..) {
            out.note(|head| head.outcomes.push(outcome));
        }
    }
}
