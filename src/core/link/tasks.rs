//! The work of a master: who of its workers runs what, and what comes of it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::wire::{ToWorker, Wire};
use super::{Conn, Made, Peers, kept_size, take_single};
use crate::core::custody::Shares;
use crate::core::divide::Divide;
use crate::core::queue::{Leave, Order, Queue, Ran, Settings, Takes, TaskId, WorkerId};
use crate::message::link::{self, Hello, Outgoing, TaskResult};
use crate::message::{BUNDLE_BYTES, Failure, FailureKind, Frame, Giving};

/// How long a worker whose connection broke may take to connect again before its tasks go
/// elsewhere. One that was killed does not; one whose connection was cut does so at once.
const BACK: Duration = Duration::from_millis(400);

/// How many messages wait for workers, or are with them, before no more are taken.
const MOST_TASKS: usize = 65_536;

/// So many messages of a client, and such a part of all bytes, it takes whatever else there is: where
/// there are many clients, none may have more open.
const LEAST_TASKS: usize = 512;
const PARTS: u64 = 256;

/// That a result of so many bytes was taken a worker waits for: it has room for few of those.
const LARGE: usize = 16 << 10;

/// How many bytes of results may wait for the component before no more tasks are given.
const MOST_RESULTS: u64 = 1 << 20;

/// The tasks of a master, and the workers that it gives them to.
pub(crate) struct Tasks {
    queue: Queue<Made>,
    most_bytes: u64,
    workers: BTreeMap<String, Worker>,
    sessions: BTreeMap<WorkerId, String>,
    /// The names of those that have left since work was given out last.
    gone: HashMap<WorkerId, String>,
    next_worker: WorkerId,
    orders: Vec<Order<Made>>,
    /// What has come of them.
    results: VecDeque<Made>,
    result_bytes: u64,
    /// What has come of tasks of which more is to come, by their workers' sessions.
    parts: HashMap<String, (link::TaskId, Vec<Frame>)>,
    /// The workers on the pylm wire, if there may be any.
    wire: Wire,
}

struct Worker {
    id: WorkerId,
    name: String,
    conn: Option<Conn>,
    /// The largest payload that it takes.
    max_message: usize,
    /// Since when it has no connection.
    away: Instant,
}

/// What is known of a worker, for people.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct WorkerStats {
    pub(crate) name: String,
    pub(crate) session: String,
    pub(crate) connected: bool,
    pub(crate) draining: bool,
    pub(crate) given: usize,
    pub(crate) credit: usize,
    pub(crate) finished: u64,
    pub(crate) average: Option<Duration>,
}

impl Tasks {
    /// When about so many `bytes` are kept, [`is_full`](Self::is_full) says so.
    pub(crate) fn new(settings: Settings, bytes: usize, run: u64) -> Self {
        Self {
            queue: Queue::new(settings),
            most_bytes: bytes as u64,
            workers: BTreeMap::new(),
            sessions: BTreeMap::new(),
            gone: HashMap::new(),
            next_worker: Wire::ID + 1,
            orders: Vec::new(),
            results: VecDeque::new(),
            result_bytes: 0,
            parts: HashMap::new(),
            wire: Wire::new(run),
        }
    }

    /// A message that a worker is to run.
    pub(crate) fn push(&mut self, mut made: Made, now: Instant) {
        made.settle_in(self.queue.bytes() as u64, self.most_bytes);
        let of = made.frame.clone();
        let (session, job) = (of.session(), of.client());
        let function = function_of(&of);
        let size = made.size() as usize;
        self.queue.push(session, job, function, size, made, now);
    }

    /// A worker has connected.
    pub(crate) fn join(&mut self, hello: &Hello, same_epoch: bool, conn: Conn, now: Instant) {
        // What it had begun to tell, it tells again.
        self.parts.remove(&hello.session);
        let functions = Some(&hello.functions).filter(|names| !names.is_empty());
        if let Some(known) = self.workers.get_mut(&hello.session) {
            known.conn = Some(conn);
            let holds = if same_epoch {
                holds_of(hello)
            } else {
                Vec::new()
            };
            self.queue.set_away(known.id, false);
            self.queue.resume(known.id, &holds, now);
            return;
        }
        let id = self.next_worker;
        self.next_worker += 1;
        let worker = Worker {
            id,
            name: hello.name.clone(),
            conn: Some(conn),
            max_message: limit_of(hello.max_message),
            away: now,
        };
        self.workers.insert(hello.session.clone(), worker);
        self.sessions.insert(id, hello.session.clone());
        self.queue.join(id, functions.cloned(), now);
        if limit_of(hello.max_message) < BUNDLE_BYTES {
            self.queue.set_takes(id, Takes::Singles);
        }
        self.wire.set_alone(false, &mut self.queue);
        if same_epoch && !hello.holds.is_empty() {
            // It was taken for dead: what it has is with others now.
            self.queue.resume(id, &holds_of(hello), now);
        }
    }

    /// What has come of a worker's task: these messages, with so many bytes.
    pub(crate) fn finished(
        &mut self,
        session: &str,
        result: TaskResult,
        (bytes, frames): (usize, impl ExactSizeIterator<Item = Frame>),
        out: Option<&mut Outgoing>,
        now: Instant,
    ) {
        let Some(worker) = self.workers.get(session) else {
            return;
        };
        let of = result.id;
        // Hardly any task has more results than one head holds.
        let before = match self.parts.is_empty() {
            true => None,
            false => self.parts.remove(session).filter(|(begun, _)| *begun == of),
        };
        if before.is_none() && !result.more {
            self.ran(worker.id, result, (bytes, frames), out, now);
            return;
        }
        let mut all = before.map(|(_, all)| all).unwrap_or_default();
        all.extend(frames);
        if result.more {
            // Of what is with somebody else, the end would not count either.
            if self.queue.has_given(worker.id, of.id, of.attempt) {
                self.parts.insert(session.to_owned(), (of, all));
            }
        } else {
            let bytes = all.iter().map(Frame::len).sum();
            self.ran(worker.id, result, (bytes, all.into_iter()), out, now);
        }
    }

    /// A worker has run a task.
    fn ran(
        &mut self,
        worker: WorkerId,
        result: TaskResult,
        (bytes, frames): (usize, impl ExactSizeIterator<Item = Frame>),
        out: Option<&mut Outgoing>,
        now: Instant,
    ) {
        let of = result.id;
        if let Some(out) = out {
            let say = |head: &mut link::Head| head.done.push(of.id);
            match bytes >= LARGE {
                true => out.note(say),
                false => out.note_unhurried(1, say),
            }
        }
        let count = of.messages();
        let ran = Ran {
            time: Duration::from_nanos(result.ran.saturating_mul(1_000) / count as u64),
            bytes: bytes / count,
        };
        match self
            .queue
            .finish_part(worker, (of.id, count), of.attempt, ran, now)
        {
            Some(kept) if count > 1 => self.results_of_bundle(kept, frames),
            Some(kept) => self.results_of(kept, frames),
            None if self.queue.has_given(worker, of.id, of.attempt) => {
                let kept = self.queue.finish(worker, of.id, of.attempt, ran, now);
                kept.into_iter().for_each(|kept| self.does_not_fit(kept));
            }
            None if planted!(NoFencing) => {
                let late = frames.map(|frame| Made {
                    frame,
                    ticket: None,
                });
                late.for_each(|late| self.add_result(late));
            }
            None => {}
        }
    }

    fn results_of(&mut self, kept: Made, frames: impl ExactSizeIterator<Item = Frame>) {
        let mut shares = Shares::new(kept.ticket, frames.len());
        for frame in frames {
            // A bundle would be more messages than there were.
            let frame = placed_as(frame.single(0), &kept.frame);
            let mut made = Made {
                frame,
                ticket: None,
            };
            shares.give(&mut made);
            self.add_result(made);
        }
    }

    /// Each of the messages of a bundle has one result, so they are a bundle as well.
    fn results_of_bundle(&mut self, kept: Made, mut frames: impl ExactSizeIterator<Item = Frame>) {
        match (frames.len(), frames.next()) {
            (1, Some(frame)) if frame.count() == kept.count() => self.add_result(Made {
                frame: placed_as(frame, &kept.frame),
                ticket: kept.ticket,
            }),
            _ => self.does_not_fit(kept),
        }
    }

    /// What a worker says has come of a task is of more messages than that was, or of others.
    fn does_not_fit(&mut self, kept: Made) {
        let cause = "its worker's answer does not fit";
        self.fail(kept, &Failure::new(FailureKind::Unfinished, cause));
    }

    fn add_result(&mut self, made: Made) {
        self.result_bytes += kept_size(&made.frame);
        self.results.push_back(made);
    }

    /// A worker hands tasks back that it has not begun.
    pub(crate) fn returned(&mut self, session: &str, ids: &[link::TaskId], now: Instant) {
        if let Some(worker) = self.workers.get(session) {
            let ids = ids.iter().map(|of| (of.id, Some(of.messages())));
            let ids: Vec<_> = ids.collect();
            self.queue.hand_back(worker.id, &ids, now);
        }
    }

    /// A worker has not got these, as far as is known.
    pub(crate) fn not_given(
        &mut self,
        session: &str,
        ids: impl Iterator<Item = link::TaskId>,
        now: Instant,
    ) {
        if let Some(worker) = self.workers.get(session) {
            let ids: Vec<_> = ids.map(|of| (of.id, None)).collect();
            if !ids.is_empty() {
                self.queue.hand_back(worker.id, &ids, now);
            }
        }
    }

    /// A worker is to get nothing more.
    pub(crate) fn drain(&mut self, session: &str, now: Instant) {
        if let Some(worker) = self.workers.get(session) {
            self.queue.drain(worker.id, now);
        }
    }

    /// A worker has left, or died.
    pub(crate) fn leave(&mut self, session: &str, leave: Leave, now: Instant) {
        self.parts.remove(session);
        if let Some(worker) = self.workers.remove(session) {
            self.sessions.remove(&worker.id);
            self.gone.insert(worker.id, worker.name);
            self.queue.leave(worker.id, leave, now);
            self.wire
                .set_alone(self.workers.is_empty(), &mut self.queue);
        }
    }

    /// A connection is gone. Its worker may come back at once.
    pub(crate) fn lost(&mut self, session: &str, conn: Conn, now: Instant) {
        if let Some(worker) = self.workers.get_mut(session)
            && worker.conn == Some(conn)
        {
            worker.conn = None;
            worker.away = now;
            self.queue.set_away(worker.id, true);
        }
    }

    /// A worker was silent for so long that it is taken for dead.
    pub(crate) fn silent(&mut self, session: &str, conn: Conn, now: Instant) {
        if self
            .workers
            .get(session)
            .is_some_and(|worker| worker.conn == Some(conn))
        {
            self.leave(session, Leave::Died, now);
        }
    }

    /// A client does not read what has come of its tasks: what workers have not begun is to wait.
    pub(crate) fn call_back(&mut self, session: &str) {
        self.queue.call_back(session);
    }

    /// A client does not want these jobs any more.
    pub(crate) fn cancel(&mut self, session: &str, jobs: &[u64]) {
        let names = jobs.iter().map(|job| format!("{session}/{job}"));
        for kept in self.queue.cancel(names) {
            cancelled(kept);
        }
    }

    /// A client has left, and wants nothing any more.
    pub(crate) fn forget(&mut self, session: &str) {
        for kept in self.queue.cancel_session(session) {
            cancelled(kept);
        }
    }

    /// Gives out what is to be given out. `room` says how much may come of a client's tasks: see
    /// [`Queue::assign`].
    pub(crate) fn assign(
        &mut self,
        now: Instant,
        room: impl Fn(&str, u64) -> Option<u64>,
        peers: &mut Peers,
    ) {
        self.expire(now);
        let mut orders = std::mem::take(&mut self.orders);
        // What comes of more could be put nowhere, while results wait for the component.
        let has_room = !self.is_choked();
        let room = |session: &str, coming| room(session, coming).filter(|_| has_room);
        self.queue.assign(now, room, &mut orders);
        for order in orders.drain(..) {
            match order {
                Order::Give {
                    worker: Wire::ID,
                    id,
                    attempt,
                } => {
                    if let Some(kept) = self.queue.item_mut(id) {
                        self.wire.give(id, attempt, &mut kept.frame, now);
                    }
                }
                Order::Give {
                    worker,
                    id,
                    attempt,
                } => {
                    self.give(worker, link::TaskId::single(id, attempt), peers, now);
                }
                Order::Recall { worker, ids } => {
                    if let Some(out) = self.conn_of(worker).and_then(|conn| peers.to(conn)) {
                        let ids = ids.into_iter().map(|id| link::TaskId::single(id, 0));
                        out.note(|head| {
                            let recall = head.recall.get_or_insert_default();
                            recall.ids.extend(ids);
                        });
                    }
                }
                Order::GiveUp {
                    item,
                    attempts,
                    worker,
                } => self.give_up(item, attempts, worker),
                Order::NoFunction { item } => self.no_function(item),
                Order::Cancelled { item } => cancelled(item),
            }
        }
        self.orders = orders;
        self.gone.clear();
    }

    fn give(&mut self, worker: WorkerId, id: link::TaskId, peers: &mut Peers, now: Instant) {
        let session = self.sessions.get(&worker);
        let known = session.and_then(|session| self.workers.get(session));
        let (Some(known), Some(kept)) = (known, self.queue.item(id.id)) else {
            return;
        };
        let limit = known.max_message;
        if kept.frame.payload().len() > limit {
            // No bundle: of those, one of this limit is given none.
            let failed = kept.frame.as_too_large(limit, &known.name);
            let (id, attempt) = (id.id, id.attempt);
            if let Some(kept) = self.queue.finish(worker, id, attempt, Duration::ZERO, now) {
                self.results_of(kept, [failed].into_iter());
            }
        } else if let Some(out) = known.conn.and_then(|conn| peers.to(conn)) {
            out.task(id, kept.frame.clone());
        }
    }

    fn conn_of(&self, worker: WorkerId) -> Option<Conn> {
        let session = self.sessions.get(&worker)?;
        self.workers.get(session)?.conn
    }

    fn give_up(&mut self, kept: Made, attempts: u32, worker: WorkerId) {
        let last = self.gone.get(&worker);
        let last = last
            .map(|name| format!(", '{name}' last"))
            .unwrap_or_default();
        let function = function_of(&kept.frame);
        let cause = match attempts {
            1 => format!("a worker ended while it ran '{function}'{last}"),
            _ => format!("{attempts} workers ended while they ran '{function}'{last}"),
        };
        self.fail(kept, &Failure::given_up(attempts, cause));
    }

    fn no_function(&mut self, kept: Made) {
        let function = function_of(&kept.frame);
        let cause = format!("no worker has a function '{function}'");
        self.fail(kept, &Failure::new(FailureKind::UnknownFunction, cause));
    }

    /// A failure goes the way of the result.
    fn fail(&mut self, kept: Made, failure: &Failure) {
        for kept in kept.singles() {
            let frame = kept.frame.with_failure(failure);
            self.results_of(kept, [frame].into_iter());
        }
    }

    fn expire(&mut self, now: Instant) {
        let gone = self.workers.iter().filter(|(_, worker)| {
            worker.conn.is_none() && now.saturating_duration_since(worker.away) >= BACK
        });
        for session in gone.map(|(session, _)| session.clone()).collect::<Vec<_>>() {
            self.leave(&session, Leave::Died, now);
        }
        for (kept, attempts) in self.wire.expire(now, &mut self.queue) {
            let function = function_of(&kept.frame);
            let cause =
                format!("it was with {attempts} workers on the pylm wire that ended: '{function}'");
            self.fail(kept, &Failure::given_up(attempts, cause));
        }
    }

    /// When to call [`assign`](Self::assign) though nothing happens.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let away = self.workers.values().filter(|worker| worker.conn.is_none());
        let away = away.map(|worker| worker.away + BACK).min();
        let ends = [
            self.queue.next_deadline(),
            away,
            self.wire.deadline(&self.queue),
        ];
        ends.into_iter().flatten().min()
    }

    /// The next message for a worker on the pylm wire: it may be written to the buffer.
    pub(crate) fn next_wired(&mut self, buffer: &mut Vec<u8>) -> Option<ToWorker> {
        self.wire.next(buffer)
    }

    /// What a worker on the pylm wire has done. What is no task of ours goes on as it is.
    pub(crate) fn wired(&mut self, frame: Frame, now: Instant) {
        let made = self.wire.finished(frame, &mut self.queue, now);
        made.into_iter().for_each(|made| self.add_result(made));
    }

    /// Whether nobody wants to know more of what a worker on the pylm wire has made than of which
    /// giving it is, and nothing else is before it.
    pub(crate) fn may_pass(&self, giving: Giving) -> bool {
        self.results.is_empty() && self.wire.is_in_bundle(giving)
    }

    /// That has gone to its client.
    pub(crate) fn passed(&mut self, giving: Giving, now: Instant) {
        self.wire.passed(giving, &mut self.queue, now);
    }

    /// So many workers are connected on the pylm wire; some may have gone since the last time.
    pub(crate) fn set_wired(&mut self, workers: usize, gone: bool, now: Instant) {
        self.wire.set_peers(workers, gone, &mut self.queue, now);
    }

    /// The next message that has come of a task, or the next bundle if whoever asks takes
    /// `bundles`.
    pub(crate) fn next_result(&mut self, bundles: bool) -> Option<Made> {
        let is_bundle = self.results.front()?.count() > 1;
        if is_bundle && !bundles {
            let made = take_single(&mut self.results);
            let left = self.results.iter().map(|made| kept_size(&made.frame));
            self.result_bytes = left.sum();
            return made;
        }
        let made = self.results.pop_front()?;
        self.result_bytes -= kept_size(&made.frame);
        Some(made)
    }

    /// Whether it wants to take no more. What each client may have at the least is beside the others'
    /// room. So are those messages and bytes that wait of clients that crowd: of theirs no more is taken,
    /// and what was on its way is to get out of the others' way. But of what nobody answers for, which can
    /// be left nowhere, it takes no more than there is room for.
    pub(crate) fn is_full(&self, (messages, bytes): (usize, u64)) -> bool {
        let (most, sessions) = (self.most_bytes.max(1), self.queue.sessions());
        let room = most.saturating_add(self.least_bytes().saturating_mul(sessions as u64));
        let (kept, loose) = (self.queue.bytes() as u64, self.queue.loose_bytes() as u64);
        kept.saturating_sub(bytes) >= room
            || loose >= most
            || self.queue.len().saturating_sub(messages) >= MOST_TASKS + LEAST_TASKS * sessions
    }

    /// How many messages a client has, and bytes, if it takes no more of it.
    pub(crate) fn crowd_of(&self, session: &str) -> Option<(usize, u64)> {
        let (messages, bytes) = self.queue.load_of(session);
        Some((messages, bytes as u64)).filter(|_| !self.takes_of(session))
    }

    /// Whether it takes more of a client: as long as that has less than what is left of half the room.
    /// So those whose tasks wait because they do not read leave some to others.
    pub(crate) fn takes_of(&self, session: &str) -> bool {
        let (messages, bytes) = self.queue.load_of(session);
        let left = (MOST_TASKS / 2).saturating_sub(self.queue.len());
        let left_bytes = (self.most_bytes / 2).saturating_sub(self.queue.bytes() as u64);
        messages < left.max(LEAST_TASKS)
            && (messages == 0 || (bytes as u64) < left_bytes.max(self.least_bytes()))
    }

    fn least_bytes(&self) -> u64 {
        self.most_bytes / PARTS
    }

    /// Whether it takes what is pushed on the pylm wire, if there is room at all. Of that libzmq has
    /// read more by then than it can know of: so it keeps half of what it may keep.
    pub(crate) fn takes_pushed(&self) -> bool {
        let most = self.most_bytes / 2;
        (self.queue.loose_bytes() as u64) < most.max(1)
    }

    /// How many results there are that nobody answers for.
    pub(crate) fn unanswered(&self) -> usize {
        let results = self.results.iter();
        let unanswered = results.filter(|made| made.ticket.is_none());
        unanswered.map(|made| made.frame.count()).sum()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.len() == 0 && self.results.is_empty()
    }

    /// How many workers are connected on the pylm wire.
    pub(crate) fn wired_workers(&self) -> usize {
        self.wire.peers()
    }

    /// How many bytes of results wait for the component.
    pub(crate) fn result_bytes(&self) -> u64 {
        self.result_bytes
    }

    /// Whether so much waits for the component that no more is run.
    pub(crate) fn is_choked(&self) -> bool {
        self.result_bytes >= MOST_RESULTS
    }

    pub(crate) fn queue(&self) -> &Queue<Made> {
        &self.queue
    }

    pub(crate) fn stats(&self) -> Vec<WorkerStats> {
        let of_queue = self.queue.stats().workers;
        let stats = self.workers.iter().map(|(session, worker)| {
            let own = of_queue.iter().find(|stats| stats.id == worker.id);
            WorkerStats {
                name: worker.name.clone(),
                session: session.clone(),
                connected: worker.conn.is_some(),
                draining: own.is_none_or(|own| own.draining),
                given: own.map_or(0, |own| own.given),
                credit: own.map_or(0, |own| own.credit),
                finished: own.map_or(0, |own| own.finished),
                average: own.and_then(|own| own.average),
            }
        });
        stats.collect()
    }
}

/// What a worker says that it holds.
fn holds_of(hello: &Hello) -> Vec<(TaskId, u32, usize)> {
    let holds = hello.holds.iter();
    holds
        .map(|held| (held.id, held.attempt, held.messages()))
        .collect()
}

/// Nobody wants what would come of it.
fn cancelled(kept: Made) {
    if let Some(ticket) = kept.ticket {
        ticket.done();
    }
}

/// The largest payload that a peer takes, as it has told.
pub(super) fn limit_of(told: u64) -> usize {
    match told {
        0 => usize::MAX,
        told => usize::try_from(told).unwrap_or(usize::MAX),
    }
}

/// The function that a worker is to run.
fn function_of(frame: &Frame) -> &str {
    frame.step().map_or("", |step| step.function)
}

/// A result stands where its task stood, whatever its worker says.
pub(super) fn placed_as(mut frame: Frame, task: &Frame) -> Frame {
    match task.place() {
        Some(place) if frame.place() != Some(place) => frame.set_place(place.number, place.path),
        None if frame.place().is_some() => frame.clear_place(),
        _ => {}
    }
    frame
}

#[cfg(test)]
impl Tasks {
    /// What is kept, for a test that there is nothing.
    pub(super) fn left(&self) -> Vec<String> {
        let stats = self.queue.stats();
        let mut left = Vec::new();
        let kept = [
            ("tasks", self.queue.len()),
            ("bytes of tasks", self.queue.bytes()),
            ("sessions with tasks", stats.sessions.len()),
            ("results", self.results.len()),
            ("results of which more is to come", self.parts.len()),
            ("orders", self.orders.len()),
        ];
        let kept = kept.into_iter().filter(|(_, count)| *count > 0);
        left.extend(kept.map(|(what, count)| format!("{count} {what}")));
        if self.sessions.len() != self.workers.len() || stats.workers.len() != self.workers.len() {
            left.push(format!(
                "{} workers, by other counts others",
                self.workers.len()
            ));
        }
        left
    }
}
