//! The workers of a master that speak the pylm wire.
//!
//! libzmq deals the messages out among them, and does not say to whom. So each says which task
//! it is, in a field that pylm keeps though it does not know it; workers that are neither pylm's
//! nor palm's send back at least the `cache` field, by which a task is known if no other has the
//! same there. When one of them is gone, what was out then and has not come back a while later
//! is given out again: some of it may have been with others, which costs a second run of it, and
//! of two results the first counts.

mod bundles;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use bundles::OutBundle;

use super::Made;
use super::tasks::placed_as;
use crate::core::custody::Ticket;
use crate::core::numbered::Numbered;
use crate::core::queue::{Queue, Ran, Takes, TaskId, WorkerId};
use crate::message::{Frame, Giving, LENT};

/// How many messages are out for each worker when there are no others, and when there are.
const AHEAD_ALONE: usize = 1_024;
const AHEAD: usize = 8;

/// How many bytes are out for each worker.
const BYTES: usize = 2 << 20;

/// After a worker is gone, how long the others may take for what they have.
const SUSPECT: Duration = Duration::from_millis(500);

/// A message that was given again so often because of that has killed enough of them.
const MOST_ATTEMPTS: u32 = 20;

/// How long after a result of a message another of it may come: a worker does not say how many
/// there are.
const MORE: Duration = Duration::from_millis(500);

/// A function that gives nothing is silent on this wire. After how long a message is taken to be
/// of one if others that were given later have been answered; and if none at all has been.
const OVERTAKEN: Duration = Duration::from_secs(1);
const SILENT: Duration = Duration::from_secs(30);

/// The same of both where no more may be out by its bytes: those may be few messages, with functions
/// that take their time.
const LARGE_SILENT: Duration = Duration::from_secs(300);

/// How often to look for such; and while there are bundles, one of whose messages that may be true
/// of: then those are taken apart, if they are as old.
const LOOK: Duration = Duration::from_millis(100);
const LOOK_AT_BUNDLES: Duration = Duration::from_millis(10);

/// How many of them may answer after all.
const MOST_SILENT: usize = 65_536;

/// Of how many tasks it is remembered that they were given again.
const MOST_AGAIN: usize = 65_536;

/// So many tasks may be remembered that are over.
const TIDY: usize = 1_024;

/// The position of a second result: above any that a hook may give.
const SECOND: u64 = 1 << 33;

pub(super) struct Wire {
    /// The number of this run of the master: what an earlier one gave is not ours.
    run: u64,
    peers: usize,
    /// Whether there are palm workers, too.
    among: bool,
    /// What is out, but for
    out: Numbered<Out>,
    /// the bundles, by their first tasks,
    bundles: BTreeMap<TaskId, OutBundle>,
    /// which are so many messages.
    in_bundles: usize,
    /// The same by what the `cache` field hashes to.
    by_cache: HashMap<u64, OfCache>,
    hasher: RandomState,
    /// What a worker has answered once, and may answer again.
    answered: HashMap<TaskId, Answered>,
    /// The order in which that ends.
    ends: BTreeSet<(Instant, TaskId)>,
    /// What seems to be silent, and may answer after all.
    silent: BTreeMap<TaskId, Answered>,
    /// What was given again of late: of two results of one of these, one is too many.
    again: BTreeSet<TaskId>,
    /// In which order that was.
    again_order: VecDeque<TaskId>,
    /// How many were given.
    turns: u64,
    /// The last turn of those that were answered.
    last_turn: u64,
    /// When anything was answered last, or given to those who had nothing.
    last_news: Option<Instant>,
    /// When to look for what is silent, if all is out that may be.
    look: Option<Instant>,
    to_send: VecDeque<ToSend>,
    /// When to give out again what was out at some time.
    suspects: VecDeque<(Instant, Instant)>,
}

#[derive(Clone, Copy)]
struct Out {
    attempt: u32,
    since: Instant,
    turn: u64,
}

/// What is to be sent.
enum ToSend {
    Frame(Frame),
    /// The messages of a bundle from this one on, and which giving of which task the first is.
    Bundle {
        bundle: Frame,
        next: usize,
        first: Giving,
    },
}

/// A message for a worker.
#[derive(Debug)]
pub(crate) enum ToWorker {
    Frame(Frame),
    /// It was written to the buffer.
    Written,
}

/// The tasks that have the same `cache` field.
#[derive(Default)]
struct OfCache {
    /// If it is only one, or all that are left have been the same one.
    id: Option<TaskId>,
    count: usize,
}

impl OfCache {
    fn add(&mut self, id: TaskId) {
        if self.id == Some(id) {
            return;
        }
        self.id = (self.count == 0).then_some(id);
        self.count += 1;
    }

    /// Whether that was the last one.
    fn remove(&mut self, id: TaskId) -> bool {
        if self.id.is_none_or(|known| known == id) {
            self.count -= 1;
        }
        self.count == 0
    }

    fn only(&self) -> Option<TaskId> {
        self.id
    }
}

struct Answered {
    attempt: u32,
    /// The task without its payload.
    task: Frame,
    ticket: Option<Ticket>,
    results: u64,
    end: Option<Instant>,
}

impl Wire {
    /// What the queue knows them by: as one worker.
    pub(super) const ID: WorkerId = 0;

    pub(super) fn new(run: u64) -> Self {
        Self {
            run,
            peers: 0,
            among: false,
            out: Numbered::default(),
            bundles: BTreeMap::new(),
            in_bundles: 0,
            by_cache: HashMap::new(),
            hasher: RandomState::new(),
            answered: HashMap::new(),
            ends: BTreeSet::new(),
            silent: BTreeMap::new(),
            again: BTreeSet::new(),
            again_order: VecDeque::new(),
            turns: 0,
            last_turn: 0,
            last_news: None,
            look: None,
            to_send: VecDeque::new(),
            suspects: VecDeque::new(),
        }
    }

    /// Gives a message to one of them, or the messages of a bundle to some. A large message says
    /// itself from now on which giving it is, so that it needs not be copied.
    pub(super) fn give(&mut self, id: TaskId, attempt: u32, frame: &mut Frame, now: Instant) {
        let giving = Giving {
            task: id,
            attempt,
            run: self.run,
        };
        if self.open() == 0 {
            self.last_news = Some(now);
        }
        let out = Out {
            attempt,
            since: now,
            turn: self.turns + 1,
        };
        self.turns += frame.count() as u64;
        match frame.count() {
            1 => {
                let frame = match frame.len() {
                    LENT.. => {
                        frame.set_giving(giving);
                        frame.clone()
                    }
                    _ => {
                        let mut given = frame.clone();
                        given.set_giving(giving);
                        given
                    }
                };
                self.note_out(id, out, frame.cache());
                self.to_send.push_back(ToSend::Frame(frame));
            }
            _ => {
                self.note_bundle(id, out, frame.clone());
                self.to_send.push_back(ToSend::Bundle {
                    bundle: frame.clone(),
                    next: 0,
                    first: giving,
                });
            }
        }
    }

    fn note_out(&mut self, id: TaskId, out: Out, cache: &str) {
        let cache = self.hasher.hash_one(cache);
        self.by_cache.entry(cache).or_default().add(id);
        self.out.insert(id, out);
    }

    /// How many messages are out: those of a bundle are until it is done.
    fn open(&self) -> usize {
        self.out.len() + self.in_bundles
    }

    /// How many of them are connected.
    pub(super) fn peers(&self) -> usize {
        self.peers
    }

    /// The next message to send. One of a bundle is written to the buffer.
    pub(super) fn next(&mut self, buffer: &mut Vec<u8>) -> Option<ToWorker> {
        match self.to_send.pop_front()? {
            ToSend::Frame(frame) => Some(ToWorker::Frame(frame)),
            ToSend::Bundle {
                bundle,
                next,
                first,
            } => {
                let giving = Giving {
                    task: first.task + next as u64,
                    ..first
                };
                buffer.clear();
                bundle.write_given(next, giving, buffer);
                let next = next + 1;
                if next < bundle.count() {
                    self.to_send.push_front(ToSend::Bundle {
                        bundle,
                        next,
                        first,
                    });
                }
                Some(ToWorker::Written)
            }
        }
    }

    /// What one of them has done. `None` when another was quicker with it.
    pub(super) fn finished(
        &mut self,
        frame: Frame,
        queue: &mut Queue<Made>,
        now: Instant,
    ) -> Option<Made> {
        let Some(Giving {
            task: id, attempt, ..
        }) = self.giving(&frame)
        else {
            return Some(Made {
                frame,
                ticket: None,
            });
        };
        self.last_news = Some(now);
        if let Some(answered) = self.answered.get_mut(&id) {
            if answered.attempt != attempt {
                queue.note_late();
                return None;
            }
            // There may be still more.
            if let Some(end) = answered.end.replace(now + MORE) {
                self.ends.remove(&(end, id));
            }
            self.ends.insert((now + MORE, id));
            return Some(answered.next(frame));
        }
        if let Some(silent) = self.silent.get_mut(&id) {
            if silent.results == 0 {
                silent.attempt = attempt;
            } else if silent.attempt != attempt {
                queue.note_late();
                return None;
            }
            return Some(silent.next(frame));
        }
        if let Some(known) = self.bundle_of(id) {
            let frame = placed_as(frame, &known.bundle);
            self.finished_of_bundle(id, queue, now);
            return Some(Made {
                frame,
                ticket: None,
            });
        }
        if queue.item(id).is_none() && self.is_one_more(id, &frame) {
            return Some(Made {
                frame,
                ticket: None,
            });
        }
        let out = self.out.remove(id);
        if let Some(out) = &out {
            self.last_turn = self.last_turn.max(out.turn);
        }
        let since = out.map_or(now, |out| out.since);
        let ran = now.saturating_duration_since(since);
        // Whoever of them it was: it is done.
        let ran = Ran {
            time: ran,
            bytes: frame.len() / frame.count(),
        };
        let kept = queue.finish_any(Self::ID, id, ran, now)?;
        if !self.is_to_remember(id, &kept, &frame) {
            self.forget_cache(kept.frame.cache(), id);
            return Some(Made {
                frame: placed_as(frame, &kept.frame),
                ticket: None,
            });
        }
        let end = now + MORE;
        let mut answered = Answered::new(kept, attempt);
        answered.end = Some(end);
        let made = answered.next(frame);
        self.answered.insert(id, answered);
        self.ends.insert((end, id));
        Some(made)
    }

    /// Whether a task has to be remembered after its first result: because somebody is told when
    /// all its results are there, or they are to be told apart, or some may be too many, or
    /// because its worker does not say which task it is. Others are over at once: however fast
    /// they come, nothing of them is kept.
    fn is_to_remember(&self, id: TaskId, kept: &Made, result: &Frame) -> bool {
        kept.ticket.is_some()
            || kept.frame.place().is_some()
            || self.again.contains(&id)
            || result.giving().is_none()
    }

    /// Whether a result is one more of a task that was given once, and was not to be remembered.
    fn is_one_more(&self, id: TaskId, result: &Frame) -> bool {
        !self.again.contains(&id) && result.giving().is_some() && result.place().is_none()
    }

    /// These are to be given again, maybe to others.
    fn note_again(&mut self, ids: impl IntoIterator<Item = TaskId>) {
        for id in ids {
            if self.again.insert(id) {
                self.again_order.push_back(id);
            }
        }
        while self.again.len() > MOST_AGAIN
            && let Some(id) = self.again_order.pop_front()
        {
            self.again.remove(&id);
        }
    }

    /// Which task a worker has done; none if it was not one of ours.
    fn giving(&self, frame: &Frame) -> Option<Giving> {
        if let Some(giving) = frame.giving() {
            // What came of an earlier run's says itself where it stands.
            return Some(giving).filter(|giving| giving.run == self.run);
        }
        let known = self.bundle_with(frame.cache());
        let (task, attempt) = known.or_else(|| self.single_with(frame.cache()))?;
        Some(Giving {
            task,
            attempt,
            run: self.run,
        })
    }

    /// Which task that is out, or was, by itself has this in its `cache` field, and at which attempt
    /// it is; none if others have the same there.
    fn single_with(&self, cache: &str) -> Option<(TaskId, u32)> {
        let cache = self.hasher.hash_one(cache);
        let task = self.by_cache.get(&cache)?.only()?;
        let out = self.out.get(task).map(|out| out.attempt);
        let answered = self.answered.get(&task).map(|answered| answered.attempt);
        let silent = self.silent.get(&task).map(|silent| silent.attempt);
        Some((task, out.or(answered).or(silent)?))
    }

    fn forget_cache(&mut self, cache: &str, id: TaskId) {
        let cache = self.hasher.hash_one(cache);
        if let Some(known) = self.by_cache.get_mut(&cache)
            && known.remove(id)
        {
            self.by_cache.remove(&cache);
        }
    }

    /// A task is over: nothing more is expected of it.
    fn forget(&mut self, id: TaskId) {
        if let Some(answered) = self.answered.remove(&id) {
            self.forget_cache(answered.task.cache(), id);
            if let Some(ticket) = answered.ticket {
                ticket.done();
            }
        }
    }

    /// So many of them are connected.
    pub(super) fn set_peers(
        &mut self,
        peers: usize,
        gone: bool,
        queue: &mut Queue<Made>,
        now: Instant,
    ) {
        if gone && self.open() > 0 {
            self.suspects.push_back((now + SUSPECT, now));
        }
        let before = std::mem::replace(&mut self.peers, peers);
        let (credit, bytes) = self.credit(peers);
        match (before, peers) {
            (0, 0) => {}
            (0, _) => {
                queue.join_fixed(Self::ID, credit, bytes, now);
                queue.set_takes(Self::ID, self.takes());
            }
            (_, 0) => {
                self.to_send.clear();
                self.take_all_apart(|_| true, queue, now);
                let out = std::mem::take(&mut self.out);
                self.note_again(out.into_iter().map(|(id, _)| id));
                self.by_cache.clear();
                self.suspects.clear();
                queue.leave(Self::ID, crate::core::queue::Leave::Drained, now);
            }
            _ => queue.set_credit(Self::ID, credit, bytes),
        }
    }

    /// Whether there are no other workers.
    pub(super) fn set_alone(&mut self, alone: bool, queue: &mut Queue<Made>) {
        self.among = !alone;
        let (credit, bytes) = self.credit(self.peers);
        queue.set_credit(Self::ID, credit, bytes);
        queue.set_takes(Self::ID, self.takes());
    }

    /// Which bundles go to them. Where few messages are out, each makes room for the next one.
    fn takes(&self) -> Takes {
        match self.among {
            true => Takes::Singles,
            false => Takes::Loose,
        }
    }

    /// How many messages, and bytes, may be out at so many workers.
    fn credit(&self, peers: usize) -> (usize, usize) {
        let each = if self.among { AHEAD } else { AHEAD_ALONE };
        (peers * each, peers * BYTES)
    }

    /// Whether all messages are out that may be.
    fn has_many(&self) -> bool {
        self.open() >= self.credit(self.peers).0
    }

    /// The same of messages or bytes.
    fn is_full(&self, queue: &Queue<Made>) -> bool {
        self.peers > 0 && (self.has_many() || queue.is_held_up(Self::ID))
    }

    /// When all that may be out is, those of it that seem to be silent make room: nobody waits
    /// for them any more, and if they answer after all, that goes on.
    fn presume_silent(&mut self, now: Instant, queue: &mut Queue<Made>) {
        if !self.is_full(queue) || self.look.is_some_and(|look| look > now) {
            return;
        }
        self.look = Some(match self.bundles.is_empty() {
            true => now + LOOK,
            false => now + LOOK_AT_BUNDLES,
        });
        let (overtaken_for, silent_for) = match self.has_many() {
            true => (OVERTAKEN, SILENT),
            false => (LARGE_SILENT, LARGE_SILENT),
        };
        let age = |since: Instant| now.saturating_duration_since(since);
        let all_silent = self.last_news.is_some_and(|last| age(last) >= silent_for);
        let overtaken = self.last_turn.saturating_sub(2 * self.peers as u64);
        let is_silent = |out: &Out| {
            let is_overtaken = out.turn < overtaken && age(out.since) >= overtaken_for;
            is_overtaken || all_silent && age(out.since) >= silent_for
        };
        // What has its result makes room at once, where others of its bundle seem to have none.
        let is_late = |known: &OutBundle| {
            let is_overtaken = known.out.turn + known.count() <= overtaken;
            is_overtaken && age(known.out.since) >= LOOK_AT_BUNDLES || is_silent(&known.out)
        };
        self.take_all_apart(is_late, queue, now);
        let silent = self.out.iter().filter(|(_, out)| is_silent(out));
        for id in silent.map(|(id, _)| id).collect::<Vec<_>>() {
            let attempt = self.out.remove(id).map_or(0, |out| out.attempt);
            let Some(mut kept) = queue.finish_any(Self::ID, id, Duration::ZERO, now) else {
                continue;
            };
            if let Some(ticket) = kept.ticket.take() {
                ticket.untracked();
            }
            self.silent.insert(id, Answered::new(kept, attempt));
            if self.silent.len() > MOST_SILENT {
                self.silent.pop_first();
            }
        }
    }

    /// Forgets what was out and has come to its end elsewhere, if that may be much.
    fn tidy(&mut self, queue: &Queue<Made>) {
        self.tidy_bundles(queue);
        let known = queue.len() + self.answered.len() + self.silent.len();
        if self.by_cache.len() > 2 * known + TIDY {
            let over = self.out.iter().map(|(id, _)| id);
            let over = over.filter(|id| queue.item(*id).is_none());
            for id in over.collect::<Vec<_>>() {
                self.out.remove(id);
            }
            let known = |id: &TaskId| {
                self.out.contains(*id)
                    || self.answered.contains_key(id)
                    || self.silent.contains_key(id)
            };
            self.by_cache
                .retain(|_, of| of.only().is_some_and(|id| known(&id)));
        }
    }

    /// Looks what time it is. Gives what has killed too many of them.
    pub(super) fn expire(&mut self, now: Instant, queue: &mut Queue<Made>) -> Vec<(Made, u32)> {
        self.tidy(queue);
        while let Some((end, id)) = self.ends.first().copied().filter(|(end, _)| *end <= now) {
            self.ends.remove(&(end, id));
            self.forget(id);
        }
        self.presume_silent(now, queue);
        let mut given_up = Vec::new();
        while let Some((_, gone)) = self.suspects.pop_front_if(|(end, _)| *end <= now) {
            self.take_all_apart(|known| known.out.since <= gone, queue, now);
            let late = self.out.iter().filter(|(_, out)| out.since <= gone);
            let late: Vec<_> = late.map(|(id, out)| (id, out.attempt)).collect();
            let mut again = Vec::new();
            for (id, attempt) in late {
                self.out.remove(id);
                if attempt < MOST_ATTEMPTS {
                    again.push(id);
                } else if let Some(kept) = queue.finish_any(Self::ID, id, Duration::ZERO, now) {
                    given_up.push((kept, attempt));
                }
            }
            self.note_again(again.iter().copied());
            let again: Vec<_> = again.into_iter().map(|id| (id, None)).collect();
            queue.hand_back(Self::ID, &again, now);
        }
        given_up
    }

    pub(super) fn deadline(&self, queue: &Queue<Made>) -> Option<Instant> {
        let end = self.ends.first().map(|(end, _)| *end);
        let suspects = self.suspects.front().map(|(end, _)| *end);
        let is_full = self.is_full(queue);
        let look = self.look.or(self.last_news).filter(|_| is_full);
        [end, suspects, look].into_iter().flatten().min()
    }
}

impl Answered {
    fn new(kept: Made, attempt: u32) -> Self {
        Self {
            attempt,
            task: kept.frame.with_payload(b""),
            ticket: kept.ticket,
            results: 0,
            end: None,
        }
    }

    /// The next result of the task.
    fn next(&mut self, frame: Frame) -> Made {
        let mut frame = placed_as(frame, &self.task);
        if self.results > 0 {
            frame.add_position(SECOND + self.results);
        }
        self.results += 1;
        Made {
            frame,
            ticket: self.ticket.as_mut().map(Ticket::split),
        }
    }
}

#[cfg(test)]
mod tests;
