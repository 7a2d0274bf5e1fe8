//! A job of a client: which of its messages are open, and what has come of them.

use std::collections::{BTreeSet, VecDeque};

use super::order::Order;
use super::{Origin, Room};
use crate::core::numbered::Numbered;
use crate::error::Error;
use crate::message::{Failure, Frame, positions};

/// How many outputs the average of their sizes looks back, about.
const MEMORY: usize = 16;

/// The most bytes that a reader takes at once, beside those of one output.
const MOST_BYTES: usize = 64 << 10;

/// How a job is to be done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct JobSettings {
    /// Whether outputs are read in the order of their messages.
    pub(crate) ordered: bool,
    /// Whether each message has one output, where nobody can tell. If not, then how many there
    /// are in all is known to whoever reads them.
    pub(crate) one_each: bool,
    /// How many messages may be open: not done, or with outputs that are not read.
    pub(crate) messages: usize,
    /// How many bytes of payloads these may have, and their outputs.
    pub(crate) bytes: usize,
}

/// What there is new for a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// It may submit more.
    Room,
    /// There are outputs to read, or there will be no more.
    Outputs,
}

/// Tells a job of news.
pub(crate) type Wake = Box<dyn Fn(News) + Send>;

/// What came of a message.
#[derive(Debug)]
pub(crate) enum What {
    /// A message: of a bundle, that at this place.
    Frame(Frame, usize),
    Failure(Failure),
}

/// One of the things that came of a message.
#[derive(Debug)]
pub(crate) struct Output {
    /// The message; `None` when nobody says which it is.
    pub(crate) number: Option<u64>,
    /// Its position at each point where several were made of one.
    pub(crate) path: Vec<u64>,
    pub(crate) what: What,
    /// Where it is to be acknowledged when it is read, if it was not before.
    pub(super) origin: Option<Origin>,
    size: usize,
}

impl Output {
    /// Takes out what it is, and leaves what is needed to say that it has been read.
    pub(crate) fn take(&mut self) -> What {
        std::mem::replace(&mut self.what, What::Failure(Failure::default()))
    }
}

impl What {
    fn size(&self) -> usize {
        match self {
            Self::Frame(frame, at) => frame.payload_at(*at).len(),
            Self::Failure(failure) => failure.cause.len(),
        }
    }
}

/// How it stands with a job that has no output to read.
#[derive(Debug)]
pub(crate) enum Standing {
    /// Some may come.
    Open,
    /// None will. There is an error if it was cut short by one.
    Complete(Option<Error>),
    /// The session has ended before.
    Stopped,
    /// It is over.
    Gone,
}

/// A message that is not done, or whose outputs are not all read.
#[derive(Debug)]
struct Message {
    size: usize,
    seen: Seen,
    unread: usize,
    /// All that came of it has come here: what comes now is a double.
    is_done: bool,
    /// Some of it went where nobody tells what becomes of it.
    untracked: bool,
}

/// The paths of the outputs that have come of a message.
#[derive(Debug, Default, PartialEq)]
enum Seen {
    #[default]
    Nothing,
    /// The empty path: as a rule that is all.
    First,
    Paths(BTreeSet<Vec<u8>>),
}

impl Seen {
    /// Adds a path. False when it is there.
    fn add(&mut self, path: &[u8]) -> bool {
        match self {
            Self::Paths(paths) => return paths.insert(path.to_vec()),
            Self::First if path.is_empty() => return false,
            Self::First => *self = Self::Paths(BTreeSet::from([Vec::new(), path.to_vec()])),
            Self::Nothing if path.is_empty() => *self = Self::First,
            Self::Nothing => *self = Self::Paths(BTreeSet::from([path.to_vec()])),
        }
        true
    }
}

pub(super) struct Job {
    settings: JobSettings,
    wake: Wake,
    open: Numbered<Message>,
    open_bytes: usize,
    /// How many messages it has submitted: the number of the last.
    last: u64,
    /// How many of them the giver still has.
    kept: usize,
    /// The outputs to read, in order. The first few of them are acknowledged.
    ready: VecDeque<Output>,
    acknowledged: usize,
    /// Of those that the reader has taken, where they are to be acknowledged when it has read
    /// them, if they were not before.
    taken: VecDeque<Option<Origin>>,
    order: Order,
    /// Outputs of no message that is known, each of which may be that of an untracked one.
    loose: usize,
    unread: usize,
    unread_bytes: usize,
    average: usize,
    /// How often anything was submitted, or has come.
    steps: u64,
    is_fed: bool,
    broken: Option<Error>,
    /// Whether it waits until less is waiting to be given, of all jobs.
    is_blocked: bool,
}

impl Job {
    pub(super) fn new(settings: JobSettings, wake: Wake) -> Self {
        Self {
            settings,
            wake,
            open: Numbered::default(),
            open_bytes: 0,
            last: 0,
            kept: 0,
            ready: VecDeque::new(),
            acknowledged: 0,
            taken: VecDeque::new(),
            order: Order::default(),
            loose: 0,
            unread: 0,
            unread_bytes: 0,
            average: 0,
            steps: 0,
            is_fed: false,
            broken: None,
            is_blocked: false,
        }
    }

    pub(super) fn wake(&self, news: News) {
        (self.wake)(news);
    }

    pub(super) fn wake_all(&self) {
        self.wake(News::Room);
        self.wake(News::Outputs);
    }

    /// Wakes who waits for room, if there is so much that it is worth while.
    pub(super) fn wake_for_room(&self) {
        if self.open.is_empty() || !self.is_blocked && self.has_much_room() {
            self.wake(News::Room);
        }
    }

    /// Says whether it waits until less is waiting to be given.
    pub(super) fn set_blocked(&mut self, is_blocked: bool) {
        self.is_blocked = is_blocked;
    }

    pub(super) fn has_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// How many of its messages the giver has.
    pub(super) fn kept(&self) -> usize {
        self.kept
    }

    /// How much may be submitted, when the next message has this size. One at a time always may.
    pub(super) fn room(&self, size: usize) -> Room {
        let bytes = self.settings.bytes;
        let open = self.open.len();
        let room = Room {
            messages: self.most_open().saturating_sub(open),
            bytes: bytes.saturating_sub(self.open_bytes),
        };
        let is_full = room.messages == 0 || room.bytes < size || self.unread_bytes >= bytes;
        match (open, is_full) {
            (0, true) => Room {
                messages: 1,
                bytes: size,
            },
            (_, true) => Room::default(),
            (_, false) => room,
        }
    }

    /// How many messages may be open, as large as their results are.
    fn most_open(&self) -> usize {
        let by_results = self.settings.bytes / self.average.max(1);
        self.settings.messages.min(by_results)
    }

    /// Whether there is room for so much that it is worth while to wake who waits for some; or all
    /// that has come is read, and more may come only of what is submitted then.
    fn has_much_room(&self) -> bool {
        let room = self.room(0);
        let much = self.most_open() / 4;
        self.unread == 0 || room.messages >= much && room.bytes >= self.settings.bytes / 4
    }

    pub(super) fn submitted(&mut self, number: u64, size: usize) {
        let message = Message {
            size,
            seen: Seen::Nothing,
            unread: 0,
            is_done: false,
            untracked: false,
        };
        self.open.insert(number, message);
        self.open_bytes += size;
        self.last = number;
        self.kept += 1;
        self.steps += 1;
    }

    pub(super) fn fed(&mut self, broken: Option<Error>) {
        self.is_fed = true;
        self.broken = broken;
        self.wake(News::Outputs);
    }

    /// An output has come. Gives back where it is to be acknowledged now: it is a double, or it
    /// has to wait for others, which may wait for it. Its reader is to be
    /// [woken](Self::wake) after it.
    pub(super) fn output(
        &mut self,
        number: Option<u64>,
        path: &[u8],
        what: What,
        origin: Option<Origin>,
    ) -> Option<Origin> {
        if let Some(number) = number {
            let open = self.open.get_mut(number);
            let new = open.and_then(|message| {
                let is_new = !message.is_done && message.seen.add(path);
                (is_new || planted!(NoDoublesDropped)).then_some(message)
            });
            let Some(message) = new else {
                return origin;
            };
            message.unread += 1;
        }
        let size = what.size();
        let output = Output {
            number,
            path: positions(path),
            what,
            origin,
            size,
        };
        self.unread += 1;
        self.unread_bytes += size;
        self.average = (self.average * (MEMORY - 1) + size).div_ceil(MEMORY);
        self.steps += 1;
        let now = self.line_up(output);
        match number {
            Some(number) => self.done_if_untracked(number),
            None => self.loose_output(),
        }
        now
    }

    /// Puts an output where it belongs.
    fn line_up(&mut self, mut output: Output) -> Option<Origin> {
        if !self.settings.ordered {
            // As long as there is room for more here, nobody else needs to keep it.
            let room = self.unread <= self.settings.messages / 2
                && self.unread_bytes <= self.settings.bytes / 2;
            let now = output.origin.take_if(|_| room);
            self.ready.push_back(output);
            return now;
        }
        if self.order.is_due(&output) {
            self.order.pass(output, &mut self.ready);
            return None;
        }
        let now = output.origin.take();
        self.order.hold(output);
        now
    }

    /// The server says that all which came of so many messages has come, from this one on.
    pub(super) fn done(&mut self, number: u64, count: usize) {
        self.kept = self.kept.saturating_sub(count);
        self.close(number, count);
    }

    /// Nothing more will come of so many messages, from this one on.
    fn close(&mut self, number: u64, count: usize) {
        (0..count as u64).for_each(|at| self.close_one(number + at));
        if self.settings.ordered {
            let is_open = |number| {
                let message = self.open.get(number);
                message.is_some_and(|message| !message.is_done)
            };
            self.order.advance(self.last, is_open, &mut self.ready);
        }
        // However little room that makes: perhaps nobody reads, and nothing else will make any.
        if !self.is_blocked || self.open.is_empty() {
            self.wake(News::Room);
        }
        self.wake(News::Outputs);
    }

    fn close_one(&mut self, number: u64) {
        let open = self.open.get_mut(number);
        if let Some(message) = open.filter(|message| !message.is_done) {
            message.is_done = true;
            self.steps += 1;
            self.forget_if_over(number);
        }
    }

    /// Something of a message went where nobody tells what becomes of it.
    pub(super) fn untracked(&mut self, number: u64) {
        self.kept = self.kept.saturating_sub(1);
        if let Some(message) = self.open.get_mut(number) {
            message.untracked = true;
            if self.loose > 0 && message.seen == Seen::Nothing && self.settings.one_each {
                self.loose -= 1;
                self.close(number, 1);
            } else {
                self.done_if_untracked(number);
            }
        }
    }

    /// A message of which nobody tells when it is done is so by its first output.
    fn done_if_untracked(&mut self, number: u64) {
        let message = self.open.get(number);
        let has_come = |message: &Message| message.untracked && message.seen != Seen::Nothing;
        if self.settings.one_each && message.is_some_and(has_come) {
            self.close(number, 1);
        }
    }

    /// An output has come that may be that of any message of which nobody tells.
    fn loose_output(&mut self) {
        if !self.settings.one_each {
            return;
        }
        let awaits = |message: &Message| {
            message.untracked && !message.is_done && message.seen == Seen::Nothing
        };
        let first = self.open.iter().find(|(_, message)| awaits(message));
        match first.map(|(number, _)| number) {
            Some(number) => self.close(number, 1),
            None => self.loose += 1,
        }
    }

    pub(super) fn take(
        &mut self,
        most: usize,
        into: &mut VecDeque<Output>,
        stopped: bool,
    ) -> Option<Standing> {
        if !self.ready.is_empty() {
            self.move_to(most, into);
            return None;
        }
        Some(match (self.is_fed && self.open.is_empty(), stopped) {
            (true, _) => Standing::Complete(self.broken.take()),
            (false, true) => Standing::Stopped,
            (false, false) => Standing::Open,
        })
    }

    /// Moves outputs to the reader: so many, but no more bytes than are good at once.
    fn move_to(&mut self, most: usize, into: &mut VecDeque<Output>) {
        let mut bytes = 0;
        for _ in 0..most.max(1) {
            let Some(mut output) = self.ready.pop_front() else {
                return;
            };
            self.acknowledged = self.acknowledged.saturating_sub(1);
            self.taken.push_back(output.origin.take());
            bytes += output.size;
            into.push_back(output);
            if bytes >= MOST_BYTES {
                return;
            }
        }
    }

    /// The next of those that were taken has been read. Gives back where to acknowledge it. Who
    /// submits is to be [woken](Self::wake_for_room) after it.
    pub(super) fn read(&mut self, output: &Output) -> Option<Origin> {
        self.unread -= 1;
        self.unread_bytes -= output.size;
        if let Some(number) = output.number {
            if let Some(message) = self.open.get_mut(number) {
                message.unread -= 1;
            }
            self.forget_if_over(number);
        }
        self.taken.pop_front().flatten()
    }

    fn forget_if_over(&mut self, number: u64) {
        let message = self.open.get(number);
        if message.is_some_and(|message| message.is_done && message.unread == 0) {
            let message = self.open.remove(number);
            self.open_bytes -= message.map_or(0, |message| message.size);
        }
    }

    /// How often it has moved, and whether something is to come.
    pub(super) fn progress(&self) -> (u64, bool) {
        (self.steps, !self.open.is_empty())
    }

    /// Whether its reader has read all there is, and waits for more.
    pub(super) fn is_hungry(&self) -> bool {
        self.unread == 0 && !self.open.is_empty()
    }

    /// Whether much may still come of its messages: more than what is on its way anyhow.
    pub(super) fn awaits_outputs(&self) -> bool {
        let mut open = self.open.iter();
        open.any(|(_, message)| !message.is_done && message.seen != Seen::First)
    }

    /// Has all acknowledged that is not.
    pub(super) fn unacknowledged(&mut self, mut acknowledge: impl FnMut(Origin)) {
        let taken = self.taken.iter_mut();
        let ready = self.ready.iter_mut().skip(self.acknowledged);
        let ready = ready.map(|output| &mut output.origin);
        // What waits for its turn was acknowledged before.
        taken
            .chain(ready)
            .filter_map(Option::take)
            .for_each(&mut acknowledge);
        self.acknowledged = self.ready.len();
    }
}
