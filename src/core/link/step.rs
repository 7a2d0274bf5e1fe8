//! What a later step of a chain takes from the one before.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{
    Credit, MOST_DONE, Made, Party, STEP_LENIENCE, Taken, Taker, Tell, is_little, position_of, said,
};
use crate::core::custody::Ledger;
use crate::core::stalled::Stalled;
use crate::core::turns::{Portion, Turns};
use crate::message::Frame;
use crate::message::link::{Head, Hello, Kind, Outcome, Outgoing, Position, Welcome};

/// How many bytes may lie here that nobody has taken on, as a multiple of the credit: the giver
/// counts a little differently.
const LENIENCE: u64 = 2 * STEP_LENIENCE;

/// Who has said something within this time will again, as a rule: where messages come one after
/// another.
pub(crate) const SPOKE_NOW: Duration = Duration::from_millis(1);

/// Takes what an earlier step gives to a topic, answers for it with a [`Ticket`] each, and says
/// when it is done.
pub(crate) struct StepSession {
    /// Its id: a uuid, of this run of the step.
    session: String,
    name: String,
    topic: String,
    credit: Credit,
    ledger: Arc<Ledger>,
    /// Whose messages are not to be taken on at present.
    stalled: Arc<Stalled>,
    /// The run of the giver, and of its stream.
    epoch: String,
    run: u64,
    /// The number of that stream in the ledger: what is settled of an earlier one is told nobody.
    stream: u64,
    taker: Taker,
    /// What has come and was not taken on.
    arrived: Turns<Made>,
    /// How large that was when it came, at the least: taken apart it is larger.
    arrived_size: u64,
    /// How large messages are, about.
    usual: u64,
    /// What is done, and not said yet: numbers, and how many follow each other from there on.
    done: Vec<(u64, usize)>,
    /// Outcomes that are not said yet.
    outcomes: Vec<Outcome>,
    /// When it spoke last.
    spoke: Option<Instant>,
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
        stalled: Arc<Stalled>,
    ) -> Self {
        Self {
            session: session.into(),
            name: name.into(),
            topic: topic.into(),
            credit,
            ledger,
            stalled,
            epoch: String::new(),
            run: 0,
            stream: 0,
            taker: Taker::default(),
            arrived: Turns::default(),
            arrived_size: 0,
            usual: 0,
            done: Vec::new(),
            outcomes: Vec::new(),
            spoke: None,
            broken: false,
            closed: false,
        }
    }

    /// What is the next that has come: some of each client in turn, of each in the giver's order. What
    /// is of one that leaves too much of what comes of its messages stays here.
    pub(crate) fn next(&mut self, portion: Portion) -> Option<Made> {
        let stalled = &self.stalled;
        let next = self
            .arrived
            .next(portion, |made| !stalled.has(made.frame.session()));
        self.arrived_size = self.arrived_size.min(self.arrived.bytes());
        next
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

    /// How many are open that have not ended, if so much may be open besides that nobody waits for
    /// room: see [`is_little`].
    pub(crate) fn open_with_room(&self) -> usize {
        let open = self.taker.unsettled();
        let bytes = open as u64 * self.usual;
        let has_room = (open as u64) < self.credit.messages / 2 && bytes < self.credit.bytes / 2;
        if has_room { open } else { 0 }
    }

    /// How many messages are open: taken, and not done.
    #[cfg(test)]
    pub(crate) fn open(&self) -> usize {
        self.taker.open()
    }

    /// How many are open that have not ended.
    #[cfg(test)]
    pub(crate) fn unsettled(&self) -> usize {
        self.taker.unsettled()
    }

    /// What is kept, for a test that there is nothing.
    #[cfg(test)]
    pub(crate) fn left(&self) -> Option<String> {
        let (open, arrived) = (self.taker.open(), self.arrived.bytes());
        let unsaid = self.done.len() + self.outcomes.len();
        let nothing = open + unsaid == 0 && self.arrived.is_empty() && self.ledger.is_empty();
        (!nothing).then(|| format!("{open} open, {arrived} bytes arrived, {unsaid} unsaid"))
    }

    fn forget_arrived(&mut self) {
        self.arrived.clear();
        self.arrived_size = 0;
    }

    /// A message of the stream has come.
    fn take(&mut self, number: u64, frame: Frame) {
        if self.broken || self.closed {
            return;
        }
        let size = frame.len() as u64;
        let bytes = self.arrived_size + size > LENIENCE.saturating_mul(self.credit.bytes);
        // Each client may have one beyond that, whatever the others have.
        let is_first = self.arrived.bytes_of(frame.session()) == 0;
        // What was told of is open here until that was heard, and no more there.
        let open = self.taker.unsettled();
        let count = frame.count();
        let most = self.credit.messages.saturating_mul(STEP_LENIENCE);
        let messages = (open + count) as u64 > most;
        if !is_first && (bytes || messages) {
            // It stays with the giver, who counts wrongly.
            self.broken = true;
            return;
        }
        match self.taker.take(number, count) {
            Taken::New => {
                let ticket = self.ledger.ticket_for(self.stream, number, count);
                self.usual = (7 * self.usual + size / count as u64).div_ceil(8);
                let made = Made {
                    frame,
                    ticket: Some(ticket),
                };
                self.arrived.push(made);
                self.arrived_size += size;
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
            let (number, count) = (settled.number, settled.count);
            match self.taker.ended(number, count, settled.result) {
                Tell::Done => self.done.push((number, count)),
                Tell::Outcome(outcome) => self.outcomes.push(said(settled.number, &outcome)),
                Tell::Nothing => {}
            }
        }
    }
}

impl Party for StepSession {
    fn hello(&mut self) -> Hello {
        self.settle();
        // The position tells: what is done is not open.
        self.done.clear();
        self.broken = false;
        let position = (!self.epoch.is_empty()).then(|| Position {
            epoch: self.epoch.clone(),
            run: self.run,
            ..position_of(&self.taker)
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
        let goes_on = welcome.resumed && welcome.epoch == self.epoch && welcome.run == self.run;
        if goes_on {
            let untold = self.taker.untold().iter();
            let untold = untold.filter(|_| !planted!(OutcomeNotRepeated));
            self.outcomes = untold.map(|(number, of)| said(*number, of)).collect();
            return;
        }
        if welcome.epoch == self.epoch {
            // It gives them again.
            self.forget_arrived();
        } else {
            // So does another run of it, once it has them again. But of what was pushed to it on the pylm
            // wire it may know nothing.
            self.arrived.retain(|made| made.frame.place().is_none());
            self.arrived_size = self.arrived_size.min(self.arrived.bytes());
        }
        self.epoch = welcome.epoch;
        self.run = welcome.run;
        self.stream += 1;
        self.taker = Taker::default();
        self.done.clear();
        self.outcomes.clear();
    }

    fn heard(&mut self, head: Box<Head>, frames: Vec<Frame>, _: &mut Outgoing, _: Instant) {
        let mut number = head.first;
        // More than there are no peer has sent.
        for frame in frames.into_iter().take(head.sizes.len()) {
            let count = frame.count() as u64;
            self.take(number, frame);
            number = number.saturating_add(count);
        }
        for number in head.heard {
            self.taker.heard(number);
        }
    }

    fn lost(&mut self, _: Instant) {}

    fn speak(&mut self, out: &mut Outgoing, now: Instant) {
        self.settle();
        let done = self.done.iter().map(|(_, count)| count).sum::<usize>() + out.unhurried_things();
        let spoke = self.spoke.replace(now);
        let is_unhurried = is_little(done, self.taker.unsettled() + done)
            && spoke.is_some_and(|spoke| now < spoke + SPOKE_NOW);
        for done in self.done.chunks(MOST_DONE) {
            let say = |head: &mut Head| {
                done.iter()
                    .for_each(|(number, count)| head.add_done(*number, *count));
            };
            match is_unhurried {
                true => out.note_unhurried(done.iter().map(|(_, count)| count).sum(), say),
                false => out.note(say),
            }
        }
        self.done.clear();
        for outcome in self.outcomes.drain(..) {
            out.outcome(outcome);
        }
    }

    fn is_broken(&self) -> bool {
        self.broken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::custody::Ticket;
    use crate::message::link::differences;
    use crate::message::{Failure, FailureKind};

    const CREDIT: Credit = Credit {
        messages: 100,
        bytes: 10_000,
    };

    /// A step, as the one before it sees it.
    struct Peer {
        step: StepSession,
        out: Outgoing,
        now: Instant,
    }

    impl Peer {
        fn new() -> Self {
            let ledger = Ledger::new(|| {});
            let mut peer = Self {
                step: StepSession::new("id", "second", "first", CREDIT, ledger, Arc::default()),
                out: Outgoing::default(),
                now: Instant::now(),
            };
            peer.welcome("epoch", 1, false);
            peer
        }

        /// A new connection. What was said before is lost.
        fn welcome(&mut self, epoch: &str, run: u64, resumed: bool) -> Hello {
            self.step.lost(self.now);
            self.out.clear();
            let hello = self.step.hello();
            let welcome = Welcome {
                epoch: epoch.to_owned(),
                run,
                resumed,
                ..Welcome::default()
            };
            self.step.welcomed(welcome, &mut self.out, self.now);
            hello
        }

        fn give(&mut self, first: u64, payloads: &[&str]) {
            let frame = |payload: &&str| Frame::new("", "c", "s.f", "", payload.as_bytes());
            let frames: Vec<Frame> = payloads.iter().map(frame).collect();
            let head = Head {
                first,
                sizes: frames.iter().map(|frame| frame.len() as u32).collect(),
                ..Head::default()
            };
            self.step
                .heard(head.into(), frames, &mut self.out, self.now);
        }

        /// The next message, as the component takes it on.
        fn next(&mut self) -> Option<(String, Ticket)> {
            let Made { frame, ticket } = self.step.next(Portion::SINGLES)?;
            let ticket = ticket?;
            let payload = String::from_utf8(frame.payload().to_vec()).unwrap();
            Some((payload, ticket))
        }

        /// The component takes on all messages.
        fn all(&mut self) -> Vec<(String, Ticket)> {
            std::iter::from_fn(|| self.next()).collect()
        }

        fn texts(&mut self) -> Vec<String> {
            let all = self.all();
            all.into_iter()
                .map(|(text, ticket)| {
                    ticket.done();
                    text
                })
                .collect()
        }

        /// What it says, as one head.
        fn said(&mut self) -> Head {
            self.step.speak(&mut self.out, self.now);
            let mut said = self.out.take();
            assert!(said.len() < 2);
            said.pop()
                .map(|envelope| *envelope.head)
                .unwrap_or_default()
        }
    }

    fn failure() -> Failure {
        Failure::new(FailureKind::Unfinished, "nobody")
    }

    #[test]
    fn messages_come_in_their_order_and_are_done_when_their_tickets_are() {
        let mut peer = Peer::new();
        peer.give(1, &["a", "b", "c"]);
        let mut all = peer.all();
        assert_eq!(peer.said(), Head::default());
        assert_eq!(all[0].0, "a");
        all.remove(2).1.done();
        all.remove(0).1.done();
        assert_eq!(peer.said().done, [3, 1]);
        assert_eq!(all.remove(0).0, "b");
        // Its ticket is lost: it is not done, as far as this step goes.
        assert_eq!(peer.said(), Head::default());
        assert_eq!(peer.step.open(), 1);
    }

    #[test]
    fn what_little_is_done_of_much_is_said_with_more_unless_nothing_was_said_for_a_while() {
        let mut peer = Peer::new();
        peer.give(1, &["x"; 100]);
        let mut all = peer.all().into_iter().map(|(_, ticket)| ticket);
        let mut done = |peer: &mut Peer, count| {
            all.by_ref().take(count).for_each(Ticket::done);
            peer.step.speak(&mut peer.out, peer.now);
            let said = peer.out.take_due(peer.now);
            let said =
                said.map(|envelope| envelope.head.done().map(|(_, count)| count).sum::<usize>());
            said.sum::<usize>()
        };
        // Nothing was said before.
        assert_eq!(done(&mut peer, 1), 1);
        assert_eq!(done(&mut peer, 10), 0);
        assert_eq!(done(&mut peer, 10), 0);
        // That is a quarter of what was open.
        assert_eq!(done(&mut peer, 5), 25);
        assert_eq!(done(&mut peer, 2), 0);
        peer.now += SPOKE_NOW;
        assert_eq!(done(&mut peer, 1), 3);
        // Not many others are open any more.
        assert_eq!(done(&mut peer, 8), 8);
        assert_eq!(done(&mut peer, 1), 1);
    }

    #[test]
    fn the_hello_tells_what_has_come_and_what_of_it_is_open() {
        let mut peer = Peer::new();
        let position = Position {
            epoch: "epoch".to_owned(),
            run: 1,
            ..Position::default()
        };
        assert_eq!(
            peer.welcome("epoch", 1, true).position,
            Some(position.clone())
        );
        peer.give(1, &["a", "b", "c", "d", "e"]);
        let mut all = peer.all();
        for index in [3, 0] {
            all.remove(index).1.done();
        }
        let hello = peer.welcome("epoch", 1, true);
        let open = differences([2, 3, 5]);
        assert_eq!(
            hello.position,
            Some(Position {
                received: 5,
                open,
                ..position
            })
        );
        assert_eq!(
            (hello.session.as_str(), hello.topic.as_str()),
            ("id", "first")
        );
        // It has told of those by that.
        assert_eq!(peer.said(), Head::default());
        all.remove(0).1.done();
        assert_eq!(peer.said().done, [2]);
        peer.give(6, &["f"]);
        assert_eq!(peer.texts(), ["f"]);
    }

    #[test]
    fn an_outcome_is_said_on_each_connection_until_it_is_heard() {
        let mut peer = Peer::new();
        peer.give(1, &["a", "b"]);
        let mut all = peer.all();
        all.remove(0).1.failed(&[7], failure());
        all.remove(0).1.untracked();
        let outcomes = peer.said().outcomes;
        assert_eq!(outcomes.len(), 2);
        assert_eq!(outcomes[0].failed[0].path, [7]);
        assert_eq!(outcomes[0].failed[0].failure, Some(failure()));
        assert!(outcomes[1].untracked && outcomes[1].number == 2);
        assert_eq!(peer.said(), Head::default());
        let hello = peer.welcome("epoch", 1, true);
        assert_eq!(hello.position.unwrap().open, [1, 1]);
        assert_eq!(peer.said().outcomes, outcomes);
        let heard = Head {
            heard: vec![1],
            ..Head::default()
        };
        peer.step
            .heard(heard.into(), vec![], &mut Outgoing::default(), peer.now);
        peer.welcome("epoch", 1, true);
        assert_eq!(peer.said().outcomes, outcomes[1..]);
    }

    #[test]
    fn an_outcome_between_two_connections_is_said_once() {
        let mut peer = Peer::new();
        peer.give(1, &["a"]);
        let (_, ticket) = peer.next().unwrap();
        ticket.untracked();
        peer.welcome("epoch", 1, true);
        assert_eq!(peer.said().outcomes.len(), 1);
        assert_eq!(peer.said(), Head::default());
    }

    #[test]
    fn what_is_settled_of_an_earlier_run_is_told_nobody() {
        let mut peer = Peer::new();
        peer.give(1, &["a", "b"]);
        let mut old = peer.all();
        old.remove(0).1.done();
        peer.said();
        let hello = peer.welcome("epoch", 2, false);
        assert_eq!(hello.position.unwrap().received, 2);
        peer.give(1, &["b", "c"]);
        old.remove(0).1.done();
        assert_eq!(peer.said(), Head::default());
        assert_eq!(peer.texts(), ["b", "c"]);
        assert_eq!(peer.said().done().collect::<Vec<_>>(), [(1, 2)]);
    }

    #[test]
    fn what_lies_here_is_dropped_if_the_giver_gives_it_again_and_kept_if_it_may_not() {
        let mut peer = Peer::new();
        peer.give(1, &["a", "b"]);
        peer.welcome("epoch", 2, false);
        peer.give(1, &["a"]);
        assert_eq!(peer.step.open(), 1);
        // Of one that came over the link first, and not on the pylm wire, another run is told again.
        let mut frame = Frame::new("", "c", "s.f", "", b"tracked");
        frame.set_place(1, &[]);
        let head = Head {
            first: 2,
            sizes: vec![frame.len() as u32],
            ..Head::default()
        };
        let (now, out) = (peer.now, &mut peer.out);
        peer.step.heard(head.into(), vec![frame], out, now);
        assert_eq!(peer.step.open(), 2);
        peer.welcome("other", 1, false);
        assert_eq!(peer.step.open(), 0);
        assert_eq!(peer.texts(), ["a"]);
        assert_eq!(peer.said(), Head::default());
    }

    #[test]
    fn a_gap_breaks_the_connection_and_nothing_is_lost_by_it() {
        let mut peer = Peer::new();
        peer.give(1, &["a"]);
        peer.give(3, &["c"]);
        assert!(peer.step.is_broken());
        peer.give(2, &["b"]);
        let hello = peer.welcome("epoch", 1, true);
        assert_eq!(hello.position.unwrap().received, 1);
        assert!(!peer.step.is_broken());
        peer.give(2, &["b", "c"]);
        assert_eq!(peer.texts(), ["a", "b", "c"]);
    }

    #[test]
    fn what_is_of_one_that_does_not_read_is_not_taken_on_until_it_does() {
        let mut peer = Peer::new();
        peer.give(1, &["a", "b"]);
        let other = Frame::new("", "d", "s.f", "", b"x");
        let head = Head {
            first: 3,
            sizes: vec![other.len() as u32],
            ..Head::default()
        };
        let stalled = peer.step.stalled.clone();
        stalled.note_unread("c", Some(1));
        let (now, out) = (peer.now, &mut peer.out);
        peer.step.heard(head.into(), vec![other], out, now);
        assert_eq!(peer.texts(), ["x"]);
        assert_eq!(peer.said().done, [3]);
        stalled.note_unread("c", None);
        assert_eq!(peer.texts(), ["a", "b"]);
    }

    #[test]
    fn more_than_the_giver_may_make_of_the_credit_is_not_taken() {
        let mut peer = Peer::new();
        // Whoever gives sees to it whose they are.
        peer.give(1, &["x"; 400]);
        assert!(!peer.step.is_broken());
        peer.give(401, &["x"]);
        assert!(peer.step.is_broken());
        assert_eq!(peer.step.open(), 400);
        let mut peer = Peer::new();
        // One always may be open, however large.
        let large = "x".repeat(100_000);
        peer.give(1, &[&large]);
        assert!(!peer.step.is_broken());
        peer.give(2, &[&large]);
        assert!(peer.step.is_broken());
    }

    #[test]
    fn a_step_that_is_closed_takes_nothing_more_but_says_what_is_done() {
        let mut peer = Peer::new();
        peer.give(1, &["a", "b"]);
        let (_, ticket) = peer.next().unwrap();
        peer.step.close();
        peer.give(3, &["c"]);
        assert!(peer.next().is_none());
        ticket.done();
        assert_eq!(peer.said().done, [1]);
        let hello = peer.welcome("epoch", 1, true);
        assert_eq!(hello.position.unwrap().open, [2]);
    }
}
