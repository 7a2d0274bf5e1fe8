//! What a session says to the server of each line, and hears from it.

use super::job::{Job, News, What};
use super::{Acknowledging, Incoming, MOST_WAITING, Origin, Session, Submitted, note_done};
use crate::core::link::tasks::limit_of;
use crate::core::link::{Credit, MOST_DONE, Taken};
use crate::message::link::{Head, Hello, Kind, Outgoing, Position, Welcome, differences, sums};
use crate::message::{BUNDLE_BYTES, Failure, Frame};

/// Acknowledgements of so many bytes are told at once though nobody waits for them: the server
/// may keep back what else there is until it has heard them.
const MANY_BYTES: u64 = 64 << 10;

impl Session {
    pub(crate) fn hello(&mut self, line: usize) -> Hello {
        let id = self.id.clone();
        let line = &mut self.lines[line];
        // The position tells it.
        line.done.clear();
        let (received, open) = line.taker.position();
        let position = line.position.as_ref().map(|(epoch, run)| Position {
            epoch: epoch.clone(),
            run: *run,
            received,
            open: differences(open),
        });
        Hello {
            kind: Kind::Client.into(),
            session: id.clone(),
            name: id.clone(),
            topic: id,
            credit: Some(self.credit),
            position,
            max_message: self.max_message as u64,
            ..Hello::default()
        }
    }

    pub(crate) fn welcomed(&mut self, line: usize, welcome: Welcome) {
        let incoming = &mut self.lines[line];
        incoming.welcome = true;
        if !welcome.resumed {
            *incoming = Incoming {
                run: incoming.run + 1,
                welcome: true,
                ..Incoming::default()
            };
        }
        incoming.position = Some((welcome.epoch, welcome.run));
        if line == 0 {
            self.server_limit = limit_of(welcome.max_message);
            self.resume(welcome.credit, welcome.position);
        }
        self.jobs.values().for_each(Job::wake_all);
    }

    /// The first server is there again, with what it has of our stream.
    fn resume(&mut self, credit: Option<Credit>, position: Option<Position>) {
        self.giver.set_credit(credit.unwrap_or_default());
        let (jobs, cancelled) = (&mut self.jobs, &mut self.cancelled);
        match position {
            None => self.giver.restart(|_, _| {}),
            Some(at) => self.giver.resume(
                at.received,
                sums(&at.open),
                |message, place, count| {
                    let first = message.number + place as u64;
                    note_done(jobs, cancelled, message.job, first, count);
                },
                |_, _| {},
            ),
        }
        if self.server_limit < BUNDLE_BYTES {
            self.giver.divide_waiting();
        }
        // Of those that are over, what is known to be done already is not counted again.
        let is_over = |message: &Submitted| !jobs.contains_key(&message.job);
        for (job, left) in self.giver.withdraw(is_over) {
            note_done(jobs, cancelled, job.job, job.number, left);
        }
        self.untold = self.cancelled.keys().copied().collect();
    }

    pub(crate) fn lost(&mut self, line: usize) {
        self.lines[line].welcome = false;
        self.lines[line].broken = false;
    }

    /// Whether something is missing in the stream of a server.
    pub(crate) fn is_broken(&self, line: usize) -> bool {
        self.lines[line].broken
    }

    pub(crate) fn heard(
        &mut self,
        line: usize,
        mut head: Box<Head>,
        frames: Vec<Frame>,
        out: &mut Outgoing,
    ) {
        let came = frames.iter().map(Frame::count).sum::<usize>();
        let completed = head
            .complete()
            .fold(0_usize, |sum, (_, count)| sum.saturating_add(count));
        let is_last = line == 0 && came == completed;
        let mut number = head.first;
        for frame in frames {
            let count = frame.count() as u64;
            self.item(line, number, frame, is_last);
            number = number.saturating_add(count);
        }
        if line > 0 {
            return;
        }
        if let Some(credit) = head.credit {
            self.giver.set_credit(credit);
        }
        // Of what has not come, nothing is done.
        let outcomes = std::mem::take(&mut head.outcomes);
        let complete = head.complete().filter(|_| !self.lines[line].broken);
        let (jobs, cancelled) = (&mut self.jobs, &mut self.cancelled);
        for (number, count) in head.done().chain(complete) {
            let part = |message: &Submitted, place: usize, count| {
                let first = message.number + place as u64;
                note_done(jobs, cancelled, message.job, first, count);
            };
            self.giver.done(number, count, part, |_, _| {});
        }
        for outcome in outcomes {
            out.note(|head| head.heard.push(outcome.number));
            let Some((message, _)) = self.giver.done_alone(outcome.number, |_, _| {}) else {
                continue;
            };
            for failed in outcome.failed {
                let failure = failed.failure.unwrap_or_default();
                self.failed(&message, &failed.path, failure);
            }
            let Submitted { job, number, .. } = message;
            match self.jobs.get_mut(&job) {
                Some(job) if outcome.untracked => job.untracked(number),
                _ => note_done(&mut self.jobs, &mut self.cancelled, job, number, 1),
            }
        }
    }

    fn item(&mut self, line: usize, number: u64, frame: Frame, is_last: bool) {
        let incoming = &mut self.lines[line];
        let count = frame.count();
        match incoming.taker.take(number, count) {
            Taken::New => {}
            Taken::Double => return,
            Taken::Gap => {
                // Nothing can be made of what follows: the connection is to be made anew.
                incoming.broken = true;
                return;
            }
        }
        let size = frame.len() as u64;
        incoming.bytes += size;
        let origin = Origin {
            line,
            run: incoming.run,
            number,
            count,
            size,
            is_last,
        };
        self.output(frame, origin);
    }

    /// What came of a message could be given to nobody.
    fn failed(&mut self, message: &Submitted, path: &[u8], failure: Failure) {
        if let Some(job) = self.jobs.get_mut(&message.job) {
            job.output(Some(message.number), path, What::Failure(failure), None);
            job.wake(News::Outputs);
        }
    }

    pub(crate) fn speak(&mut self, line: usize, out: &mut Outgoing) {
        if line == 0 {
            self.give(out);
        }
        if self.lines[line].is_pressing() && self.jobs.values().any(Job::is_hungry) {
            self.acknowledge_early();
            self.lines[line].is_awaited = true;
        }
        let incoming = &mut self.lines[line];
        let at_once = incoming.tells_at_once();
        incoming.is_awaited = false;
        if at_once {
            incoming.untold_bytes = 0;
        }
        for done in incoming.done.chunks(MOST_DONE) {
            let say = |head: &mut Head| {
                done.iter()
                    .for_each(|(number, count)| head.add_done(*number, *count));
            };
            match at_once {
                true => out.note(say),
                false => out.note_unhurried(done.iter().map(|(_, count)| count).sum(), say),
            }
        }
        incoming.done.clear();
    }

    /// A job waits, while others leave their outputs unread: whoever has to read those may be the
    /// one who waits. So they are acknowledged before they are read, and no server holds back
    /// what is waited for because of them.
    fn acknowledge_early(&mut self) {
        let mut done = Acknowledging::new(&mut self.lines);
        for job in self.jobs.values_mut() {
            job.unacknowledged(|at| done.add(at));
        }
        done.end();
    }

    fn give(&mut self, out: &mut Outgoing) {
        let limit = self.server_limit;
        while let Some((number, Submitted { frame, .. })) = self.giver.give() {
            // A bundle does: see `submit`.
            let fits = frame.payload().len() <= limit;
            out.item(
                number,
                match fits {
                    true => frame.clone(),
                    false => frame.as_too_large(limit, "the server"),
                },
            );
        }
        for job in self.untold.drain(..) {
            out.note(|head| head.cancel.push(job));
        }
        // Not for each that was given: a job that is woken is to have much to do.
        if self.giver.waiting() <= MOST_WAITING / 2 {
            for job in std::mem::take(&mut self.blocked) {
                if let Some(job) = self.jobs.get_mut(&job) {
                    job.set_blocked(false);
                    job.wake(News::Room);
                }
            }
        }
    }
}

impl Incoming {
    /// Whether what is done is to be told at once, and not with the next thing or soon.
    pub(super) fn tells_at_once(&self) -> bool {
        self.is_awaited || self.untold_bytes >= MANY_BYTES
    }
}
