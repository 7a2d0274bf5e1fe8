//! A client's session: what it has submitted and what has come of it, over one line or two.
//!
//! ```text
//!             submit            items 1, 2, ...              outputs
//!   feeder ──────────► giver ─────────────────► server ─ ─ ► last step
//!                        ▲   ◄───────────────── done           │ items
//!                        └── resume after a break              ▼
//!   reader ◄─────────── job: each (message, path) once ◄──── takers ──► done, when read
//! ```
//!
//! The giver keeps each message until the server says that it is done: that all which came of it
//! has been acknowledged here. Outputs come from the server, and from the last step if that is
//! another; each is acknowledged when its reader has taken it, or at once if nobody wants it: a
//! double, or one of a job that is over. What a job knows of its messages is in [`job`].

mod job;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use crate::message::link::{Credit, Head, Hello, Kind, Outgoing, Position, Welcome};
use crate::message::link::{differences, sums};
use crate::message::{Failure, Frame, number_under};

pub(crate) use job::{JobSettings, News, Output, Standing, Wake, What};

use super::{Giver, Taken, Taker};
use crate::core::custody;
use crate::error::Error;
use job::Job;

/// How much of each server's stream may be open: outputs that were not read.
const CREDIT: Credit = Credit {
    messages: 4_096,
    bytes: 16 << 20,
};

/// A job submits no more while so many messages of all jobs wait to be given: what the server
/// has no room for yet would only stand in the way of other jobs.
const MOST_WAITING: usize = 256;

/// The most that a job may submit before it asks again.
const AT_ONCE: usize = 64;

/// The most done messages that are told in one head.
const MOST_DONE: usize = 4_096;

/// A message of a job.
#[derive(Clone, Debug)]
pub(crate) struct Submitted {
    pub(crate) job: u64,
    /// Its number in the job: 1, 2, ...
    pub(crate) number: u64,
    pub(crate) frame: Arc<Frame>,
}

/// Where an output came in, which is where it is to be acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    line: usize,
    /// Which run of the stream, counted here.
    run: u64,
    number: u64,
    size: u64,
}

/// How much may be submitted before it is asked again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Room {
    pub(crate) messages: usize,
    /// Bytes of payloads.
    pub(crate) bytes: usize,
}

/// What a client has with its servers.
pub(crate) struct Session {
    id: String,
    jobs: HashMap<u64, Job>,
    last_job: u64,
    giver: Giver<Submitted>,
    lines: Vec<Incoming>,
    /// How much of each server's stream may be open, as a rule.
    credit: Credit,
    /// Jobs that have ended before their messages have, and how many of those the server has.
    cancelled: BTreeMap<u64, usize>,
    /// Those of them of which it has not been told.
    untold: Vec<u64>,
    /// Jobs that would submit more if less were waiting.
    blocked: Vec<u64>,
    over: bool,
}

/// The stream of one server, as it comes in.
#[derive(Default)]
struct Incoming {
    taker: Taker,
    /// The server's epoch, and its number for this run of the stream.
    position: Option<(String, u64)>,
    /// Our number for it.
    run: u64,
    /// The bytes of what is open.
    bytes: u64,
    /// What is to be acknowledged.
    done: Vec<u64>,
    /// The credit that the server was told.
    told: Credit,
    welcome: bool,
}

impl Session {
    /// A session of this id with so many servers: the first, to which it submits, and perhaps
    /// the last of a chain.
    pub(crate) fn new(id: &str, servers: usize) -> Self {
        Self {
            id: id.to_owned(),
            jobs: HashMap::new(),
            last_job: 0,
            giver: Giver::new(),
            lines: (0..servers).map(|_| Incoming::default()).collect(),
            credit: CREDIT,
            cancelled: BTreeMap::new(),
            untold: Vec::new(),
            blocked: Vec::new(),
            over: false,
        }
    }

    /// Begins a job; `wake` is called when there is news for it. `None` when the session has
    /// ended.
    pub(crate) fn open(&mut self, settings: JobSettings, wake: Wake) -> Option<u64> {
        if self.over {
            return None;
        }
        self.last_job += 1;
        self.jobs.insert(self.last_job, Job::new(settings, wake));
        Some(self.last_job)
    }

    /// The id that the messages of a job carry as their client's.
    pub(crate) fn topic(&self, job: u64) -> String {
        format!("{}/{job}", self.id)
    }

    /// How much a job may submit: the next message, of this size, and those after it. Nothing
    /// when it is to wait for [`News::Room`]. `None` when it is over.
    pub(crate) fn room(&mut self, job: u64, size: usize) -> Option<Room> {
        let waiting = self.giver.waiting();
        let open = self.jobs.get(&job).filter(|_| !self.over)?;
        if waiting >= MOST_WAITING && open.has_open() {
            self.blocked.push(job);
            return Some(Room::default());
        }
        let mut room = open.room(size);
        room.messages = room.messages.min(AT_ONCE);
        Some(room)
    }

    /// Takes over a message.
    pub(crate) fn submit(&mut self, message: Submitted) {
        if let Some(job) = self.jobs.get_mut(&message.job).filter(|_| !self.over) {
            job.submitted(message.number, message.frame.payload().len());
            let size = message.frame.len();
            self.giver.push(size as u64, message);
        }
    }

    /// A job submits no more; because of an error, if there is one.
    pub(crate) fn fed(&mut self, job: u64, broken: Option<Error>) {
        if let Some(job) = self.jobs.get_mut(&job) {
            job.fed(broken);
        }
    }

    /// Moves up to so many outputs of a job to its reader, and says how it stands with the job if
    /// there are none.
    pub(crate) fn take(
        &mut self,
        job: u64,
        most: usize,
        into: &mut VecDeque<Output>,
    ) -> Option<Standing> {
        let over = self.over;
        match self.jobs.get_mut(&job) {
            Some(job) => job.take(most, into, over),
            None => Some(Standing::Gone),
        }
    }

    /// Outputs of a job have been read.
    pub(crate) fn read(&mut self, job: u64, outputs: impl IntoIterator<Item = Output>) {
        for output in outputs {
            if let Some(origin) = output.origin {
                self.acknowledge(origin);
            }
            if let Some(job) = self.jobs.get_mut(&job) {
                job.read(&output);
            }
        }
    }

    /// How often a job has moved, and whether it waits for something to come.
    pub(crate) fn progress(&self, job: u64) -> (u64, bool) {
        self.jobs.get(&job).map_or((0, false), Job::progress)
    }

    /// A job is over. What is not given of it is withdrawn, and the server is told not to run
    /// what it has. Nothing is left of it here when its messages are done.
    pub(crate) fn end(&mut self, number: u64) {
        let Some(mut job) = self.jobs.remove(&number) else {
            return;
        };
        for output in job.unread() {
            output
                .origin
                .into_iter()
                .for_each(|at| self.acknowledge(at));
        }
        if job.kept() > 0 {
            let withdrawn = self.giver.withdraw(|message| message.job == number);
            let given = job.kept() - withdrawn.len();
            if given > 0 && job.awaits_outputs() {
                self.cancelled.insert(number, given);
                self.untold.push(number);
            }
        }
        job.wake_all();
    }

    /// Ends all jobs: what has come can still be read.
    pub(crate) fn close(&mut self) {
        self.over = true;
        self.jobs.values().for_each(Job::wake_all);
    }

    /// Whether all servers know the session at present.
    pub(crate) fn is_welcome(&self) -> bool {
        self.lines.iter().all(|line| line.welcome)
    }

    fn acknowledge(&mut self, at: Origin) {
        let line = &mut self.lines[at.line];
        if line.run == at.run {
            line.bytes -= at.size;
            line.taker.ended(at.number, custody::Outcome::default());
            line.done.push(at.number);
        }
    }

    /// A message is done, by its giver's word.
    fn done(&mut self, message: &Submitted) {
        match self.jobs.get_mut(&message.job) {
            Some(job) => job.done(message.number),
            None => self.less_cancelled(message.job),
        }
    }

    fn less_cancelled(&mut self, job: u64) {
        if let Some(left) = self.cancelled.get_mut(&job) {
            *left -= 1;
            if *left == 0 {
                self.cancelled.remove(&job);
            }
        }
    }

    /// An output has come.
    fn output(&mut self, frame: Frame, origin: Origin) {
        let number = number_under(&self.id, frame.client());
        let job = number.and_then(|number| self.jobs.get_mut(&number));
        let now = job.map_or(Some(origin), |job| {
            let place = frame.place();
            let number = place.map(|place| place.number);
            let path = place.map_or(Vec::new(), |place| place.path.to_vec());
            job.output(number, path, What::Frame(frame), Some(origin))
        });
        now.into_iter().for_each(|at| self.acknowledge(at));
    }
}

/// What is said to, and heard from, the server of each line.
impl Session {
    pub(crate) fn hello(&mut self, line: usize) -> Hello {
        let id = self.id.clone();
        let line = &mut self.lines[line];
        // The position tells it.
        line.done.clear();
        line.told = self.credit;
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
            ..Hello::default()
        }
    }

    pub(crate) fn welcomed(&mut self, line: usize, welcome: Welcome) {
        let incoming = &mut self.lines[line];
        incoming.welcome = true;
        if !welcome.resumed {
            *incoming = Incoming {
                run: incoming.run + 1,
                told: incoming.told,
                welcome: true,
                ..Incoming::default()
            };
        }
        incoming.position = Some((welcome.epoch, welcome.run));
        if line == 0 {
            self.resume(welcome.credit, welcome.position);
        }
        self.jobs.values().for_each(Job::wake_all);
    }

    /// The first server is there again, with what it has of our stream.
    fn resume(&mut self, credit: Option<Credit>, position: Option<Position>) {
        self.giver.set_credit(credit.unwrap_or_default());
        match position {
            None => self.giver.restart(),
            Some(at) => {
                for message in self.giver.resume(at.received, sums(&at.open)) {
                    self.done(&message);
                }
            }
        }
        let jobs = &self.jobs;
        let over = |message: &Submitted| !jobs.contains_key(&message.job);
        for message in self.giver.withdraw(over) {
            self.less_cancelled(message.job);
        }
        self.untold = self.cancelled.keys().copied().collect();
    }

    pub(crate) fn lost(&mut self, line: usize) {
        self.lines[line].welcome = false;
    }

    pub(crate) fn heard(
        &mut self,
        line: usize,
        head: Head,
        frames: Vec<Frame>,
        out: &mut Outgoing,
    ) {
        for (number, frame) in (head.first..=u64::MAX).zip(frames) {
            self.item(line, number, frame);
        }
        if line > 0 {
            return;
        }
        if let Some(credit) = head.credit {
            self.giver.set_credit(credit);
        }
        for number in head.done {
            if let Some(message) = self.giver.done(number) {
                self.done(&message);
            }
        }
        for outcome in head.outcomes {
            out.note(|head| head.heard.push(outcome.number));
            let Some(message) = self.giver.done(outcome.number) else {
                continue;
            };
            for failed in outcome.failed {
                let failure = failed.failure.unwrap_or_default();
                self.failed(&message, failed.path, failure);
            }
            match self.jobs.get_mut(&message.job) {
                Some(job) if outcome.untracked => job.untracked(message.number),
                _ => self.done(&message),
            }
        }
    }

    fn item(&mut self, line: usize, number: u64, frame: Frame) {
        let incoming = &mut self.lines[line];
        match incoming.taker.take(number) {
            Taken::New => {}
            Taken::Double => return,
            Taken::Gap => {
                log::warn!(target: &self.id, "messages are missing before number {number}");
                return;
            }
        }
        let size = frame.len() as u64;
        incoming.bytes += size;
        let origin = Origin {
            line,
            run: incoming.run,
            number,
            size,
        };
        self.output(frame, origin);
    }

    /// What came of a message could be given to nobody.
    fn failed(&mut self, message: &Submitted, path: Vec<u8>, failure: Failure) {
        if let Some(job) = self.jobs.get_mut(&message.job) {
            job.output(Some(message.number), path, What::Failure(failure), None);
        }
    }

    pub(crate) fn speak(&mut self, line: usize, out: &mut Outgoing) {
        if line == 0 {
            self.give(out);
        }
        let hungry = self.is_pressing(line) && self.jobs.values().any(Job::is_hungry);
        let incoming = &mut self.lines[line];
        for done in incoming.done.chunks(MOST_DONE) {
            out.note(|head| head.done.extend(done));
        }
        incoming.done.clear();
        let credit = incoming.credit(self.credit, hungry);
        if credit != incoming.told {
            incoming.told = credit;
            out.note(|head| head.credit = Some(credit));
        }
    }

    fn give(&mut self, out: &mut Outgoing) {
        let waiting = self.giver.waiting();
        while let Some((number, message)) = self.giver.give() {
            out.item(number, message.frame.clone());
        }
        for job in self.untold.drain(..) {
            out.note(|head| head.cancel.push(job));
        }
        if self.giver.waiting() < waiting && self.giver.waiting() < MOST_WAITING {
            for job in std::mem::take(&mut self.blocked) {
                if let Some(job) = self.jobs.get(&job) {
                    job.wake(News::Room);
                }
            }
        }
    }

    /// Whether much of the credit of a server is taken by what nobody reads.
    fn is_pressing(&self, line: usize) -> bool {
        let line = &self.lines[line];
        2 * line.taker.open() as u64 > self.credit.messages || 2 * line.bytes > self.credit.bytes
    }
}

impl Incoming {
    /// How much may be open. More than usual when a job waits, while others leave unread what
    /// stands before its outputs in the stream: its reader may be the one who has to read those.
    fn credit(&self, usual: Credit, hungry: bool) -> Credit {
        let open = Credit {
            messages: self.taker.open() as u64,
            bytes: self.bytes,
        };
        let more = Credit {
            messages: open.messages + usual.messages,
            bytes: open.bytes + usual.bytes,
        };
        let is_short = |told: u64, open: u64, usual: u64| told < open + usual / 2;
        if hungry
            && (is_short(self.told.messages, open.messages, usual.messages)
                || is_short(self.told.bytes, open.bytes, usual.bytes))
        {
            return more;
        }
        let is_usual = 2 * open.messages <= usual.messages && 2 * open.bytes <= usual.bytes;
        if is_usual { usual } else { self.told }
    }
}

#[cfg(test)]
impl Session {
    pub(crate) fn set_credit_messages(&mut self, messages: u64) {
        self.credit.messages = messages;
    }

    /// What is kept, for a test that there is nothing.
    pub(crate) fn left(&self) -> Vec<String> {
        let open = self.lines.iter().map(|line| line.taker.open()).sum();
        let untold = self.lines.iter().map(|line| line.done.len()).sum();
        let bytes = self.lines.iter().map(|line| line.bytes as usize).sum();
        let kept = [
            ("jobs", self.jobs.len()),
            ("messages", self.giver.len()),
            ("open outputs", open),
            ("bytes of those", bytes),
            ("acknowledgements", untold),
            ("cancelled jobs", self.cancelled.len()),
            ("untold ends of jobs", self.untold.len()),
        ];
        let kept = kept.into_iter().filter(|(_, count)| *count > 0);
        kept.map(|(what, count)| format!("{count} {what}"))
            .collect()
    }
}

#[cfg(test)]
mod tests;
