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
//!
//! Of an output that is all of its message the server says so at once, as it is the rule: then
//! the message is done here, and nobody waits for the acknowledgement, which goes with the next
//! thing that is said.

mod inbox;
mod job;
mod lines;
mod order;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::message::link::Credit;
use crate::message::{BUNDLE_BYTES, Frame, number_under};

pub(crate) use inbox::Inbox;
pub(crate) use job::{JobSettings, News, Output, Standing, Wake, What};

use super::{Giver, PRESSING_BYTES, PRESSING_MESSAGES, Taker, kept_size};
use crate::core::custody;
use crate::core::divide::Divide;
use crate::error::Error;
use job::Job;

/// How much of each server's stream may be open: outputs that were not read.
const CREDIT: Credit = Credit {
    messages: 4_096,
    bytes: 16 << 20,
};

/// A job submits no more while so many messages of all jobs wait to be given: what the server
/// has no room for yet would only stand in the way of other jobs.
const MOST_WAITING: usize = 1_024;

/// The most that a job may submit before it asks again.
const AT_ONCE: usize = 256;

/// A message of a job, or a bundle.
#[derive(Clone, Debug)]
pub(crate) struct Submitted {
    pub(crate) job: u64,
    /// Its number in the job: 1, 2, ... That of the first, of a bundle.
    pub(crate) number: u64,
    pub(crate) frame: Frame,
}

impl Submitted {
    /// So many of its messages, from this place on.
    fn part(&self, first: usize, count: usize) -> Self {
        Self {
            job: self.job,
            number: self.number + first as u64,
            frame: self.frame.part(first, count),
        }
    }
}

impl Divide for Submitted {
    fn count(&self) -> usize {
        self.frame.count()
    }

    fn split_off(&mut self, count: usize) -> Self {
        let rest = self.part(count, self.count() - count);
        *self = self.part(0, count);
        rest
    }

    fn singles(self) -> impl ExactSizeIterator<Item = Self> {
        (0..self.count()).map(move |at| self.part(at, 1))
    }
}

/// Where an output came in, which is where it is to be acknowledged; or some that follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    line: usize,
    /// Which run of the stream, counted here.
    run: u64,
    number: u64,
    count: usize,
    size: u64,
    /// Whether nobody waits for the acknowledgement: its message is known to be done.
    is_last: bool,
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
    jobs: BTreeMap<u64, Job>,
    last_job: u64,
    giver: Giver<Submitted>,
    lines: Vec<Incoming>,
    /// How much of each server's stream may be open.
    credit: Credit,
    /// Jobs that have ended before their messages have, and how many of those the server has.
    cancelled: BTreeMap<u64, usize>,
    /// Those of them of which it has not been told.
    untold: Vec<u64>,
    /// Jobs that would submit more if less were waiting.
    blocked: BTreeSet<u64>,
    over: bool,
    /// The largest payload that it takes, and that the first server does.
    max_message: usize,
    server_limit: usize,
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
    /// What is to be acknowledged, and whether somebody waits for that.
    done: Vec<(u64, usize)>,
    is_awaited: bool,
    /// The bytes of what was acknowledged since somebody waited for that, at the most.
    untold_bytes: u64,
    welcome: bool,
    /// Whether something is missing in it.
    broken: bool,
}

impl Session {
    /// A session of this id with so many servers: the first, to which it submits, and perhaps
    /// the last of a chain. It takes payloads of up to so many bytes.
    pub(crate) fn new(id: &str, servers: usize, max_message: usize) -> Self {
        Self {
            id: id.to_owned(),
            jobs: BTreeMap::new(),
            last_job: 0,
            giver: Giver::new(),
            lines: (0..servers).map(|_| Incoming::default()).collect(),
            credit: CREDIT,
            cancelled: BTreeMap::new(),
            untold: Vec::new(),
            blocked: BTreeSet::new(),
            over: false,
            max_message,
            server_limit: usize::MAX,
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

    /// Whether the first server lets nothing of what waits be given at present.
    pub(crate) fn is_held_up(&self) -> bool {
        self.giver.is_held_up()
    }

    /// How much a job may submit: the next message, of this size, and those after it. Nothing
    /// when it is to wait for [`News::Room`]. `None` when it is over.
    pub(crate) fn room(&mut self, job: u64, size: usize) -> Option<Room> {
        let waiting = self.giver.waiting();
        let open = self.jobs.get_mut(&job).filter(|_| !self.over)?;
        let is_blocked = waiting >= MOST_WAITING && open.has_open();
        open.set_blocked(is_blocked);
        if is_blocked {
            self.blocked.insert(job);
            return Some(Room::default());
        }
        let mut room = open.room(size);
        room.messages = room.messages.min(AT_ONCE);
        Some(room)
    }

    /// Takes over a message, or a bundle, as far as the server takes those.
    pub(crate) fn submit(&mut self, message: Submitted) {
        let Some(job) = self.jobs.get_mut(&message.job).filter(|_| !self.over) else {
            return;
        };
        let count = message.count();
        for at in 0..count {
            let size = message.frame.payload_at(at).len();
            job.submitted(message.number + at as u64, size);
        }
        if self.server_limit >= BUNDLE_BYTES {
            return self.giver.push(kept_size(&message.frame), message);
        }
        for message in message.singles() {
            self.giver.push(kept_size(&message.frame), message);
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

    /// Outputs of a job have been read, in the order in which they were taken.
    pub(crate) fn read(&mut self, job: u64, outputs: impl IntoIterator<Item = Output>) {
        let Some(job) = self.jobs.get_mut(&job) else {
            return;
        };
        let mut done = Acknowledging::new(&mut self.lines);
        for output in outputs {
            job.read(&output).into_iter().for_each(|at| done.add(at));
        }
        done.end();
        if !planted!(NoWakeUp) {
            job.wake_for_room();
        }
    }

    /// Whether there is one job at present.
    pub(crate) fn has_one_job(&self) -> bool {
        self.jobs.len() == 1
    }

    /// How often a job has moved, and whether it waits for something to come.
    pub(crate) fn progress(&self, job: u64) -> (u64, bool) {
        self.jobs.get(&job).map_or((0, false), Job::progress)
    }

    /// A job is over. What is not given of it is withdrawn, and the server is told not to run
    /// what it has. Nothing is left of it here when its messages are done. Whether something of it
    /// is to be told at once.
    pub(crate) fn end(&mut self, number: u64) -> bool {
        let Some(mut job) = self.jobs.remove(&number) else {
            return false;
        };
        let mut done = Acknowledging::new(&mut self.lines);
        job.unacknowledged(|at| done.add(at));
        done.end();
        let is_cut_short = job.kept() > 0;
        if is_cut_short {
            let withdrawn = self.giver.withdraw(|message| message.job == number);
            let given = job.kept() - withdrawn.iter().map(|(_, left)| left).sum::<usize>();
            if given > 0 && job.awaits_outputs() {
                self.cancelled.insert(number, given);
                self.untold.push(number);
            }
        }
        job.wake_all();
        is_cut_short || self.lines.iter().any(Incoming::tells_at_once)
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

    /// An output has come, or a bundle of some.
    fn output(&mut self, frame: Frame, origin: Origin) {
        let number = number_under(&self.id, frame.client());
        let job = number.and_then(|number| self.jobs.get_mut(&number));
        let mut done = Acknowledging::new(&mut self.lines);
        let Some(job) = job else {
            done.add(origin);
            return done.end();
        };
        let place = frame.place();
        let number = place.map(|place| place.number);
        let path = place.map_or(Vec::new(), |place| place.path.to_vec());
        let share = origin.size / origin.count as u64;
        let mut left = origin.size;
        for at in 0..origin.count {
            let size = if at + 1 == origin.count { left } else { share };
            left -= size;
            let own = Origin {
                number: origin.number + at as u64,
                count: 1,
                size,
                ..origin
            };
            let number = number.map(|number| number.wrapping_add(at as u64));
            let what = What::Frame(frame.clone(), at);
            let now = job.output(number, &path, what, Some(own));
            now.into_iter().for_each(|at| done.add(at));
        }
        done.end();
        job.wake(News::Outputs);
    }
}

/// Messages of a job are done, by their giver's word: so many from this number on.
fn note_done(
    jobs: &mut BTreeMap<u64, Job>,
    cancelled: &mut BTreeMap<u64, usize>,
    job: u64,
    first: u64,
    count: usize,
) {
    if let Some(job) = jobs.get_mut(&job) {
        return job.done(first, count);
    }
    if let Some(left) = cancelled.get_mut(&job) {
        *left = left.saturating_sub(count);
        if *left == 0 {
            cancelled.remove(&job);
        }
    }
}

/// Acknowledges outputs: those that follow each other at once.
struct Acknowledging<'a> {
    lines: &'a mut [Incoming],
    last: Option<Origin>,
}

impl<'a> Acknowledging<'a> {
    fn new(lines: &'a mut [Incoming]) -> Self {
        Self { lines, last: None }
    }

    fn add(&mut self, at: Origin) {
        if let Some(last) = &mut self.last
            && (last.line, last.run, last.is_last) == (at.line, at.run, at.is_last)
            && last.number + last.count as u64 == at.number
        {
            last.count += at.count;
            last.size += at.size;
            return;
        }
        if let Some(before) = self.last.replace(at) {
            acknowledge(self.lines, before);
        }
    }

    fn end(mut self) {
        if let Some(last) = self.last.take() {
            acknowledge(self.lines, last);
        }
    }
}

impl Incoming {
    /// Whether so much is not acknowledged that the server might hold back what else there is.
    fn is_pressing(&self) -> bool {
        self.taker.open() > PRESSING_MESSAGES || self.bytes > PRESSING_BYTES
    }
}

fn acknowledge(lines: &mut [Incoming], at: Origin) {
    let line = &mut lines[at.line];
    if line.run == at.run {
        line.bytes -= at.size;
        let outcome = custody::Outcome::default();
        line.taker.ended(at.number, at.count, outcome);
        line.done.push((at.number, at.count));
        line.is_awaited |= !at.is_last;
        line.untold_bytes += at.size;
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
