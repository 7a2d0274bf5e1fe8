//! The workers of a master that speak the pylm wire.
//!
//! libzmq deals the messages out among them, and does not say to whom. So each says which task
//! it is, in a field that pylm keeps though it does not know it; workers that are neither pylm's
//! nor palm's send back at least the `cache` field, by which a task is known if no other has the
//! same there. When one of them is gone, what was out then and has not come back a while later
//! is given out again: some of it may have been with others, which costs a second run of it, and
//! of two results the first counts.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use super::Made;
use super::tasks::placed_as;
use crate::core::custody::Ticket;
use crate::core::numbered::Numbered;
use crate::core::queue::{Queue, Takes, TaskId, WorkerId};
use crate::message::{Frame, Giving};

/// How many messages are out for each worker when there are no others, and when there are.
const AHEAD_ALONE: usize = 1_024;
const AHEAD: usize = 8;

/// From this length on a message is large, in bytes.
const LARGE: usize = 32 << 10;

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

/// How often to look for such.
const LOOK: Duration = Duration::from_millis(100);

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

/// A bundle that is out.
struct OutBundle {
    out: Out,
    bundle: Frame,
    /// Which of its messages have no result yet: a bit for each, from the lowest on.
    left: u64,
}

impl OutBundle {
    /// How many messages it has.
    fn count(&self) -> u64 {
        self.bundle.count() as u64
    }

    /// Whether one of them has no result yet.
    fn is_left(&self, at: u64) -> bool {
        u32::try_from(at).is_ok_and(|at| self.left.unbounded_shr(at) & 1 == 1)
    }
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
pub(crate) enum Given {
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
                    LARGE.. => {
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
            count => {
                let out = OutBundle {
                    out,
                    bundle: frame.clone(),
                    left: u64::MAX >> (u64::BITS as usize - count),
                };
                self.bundles.insert(id, out);
                self.in_bundles += count;
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
    pub(super) fn next(&mut self, buffer: &mut Vec<u8>) -> Option<Given> {
        let ToSend::Bundle {
            bundle,
            next,
            first,
        } = self.to_send.front_mut()?
        else {
            return match self.to_send.pop_front()? {
                ToSend::Frame(frame) => Some(Given::Frame(frame)),
                ToSend::Bundle { .. } => None, // Cannot be: it was looked at just now.
            };
        };
        let giving = Giving {
            task: first.task + *next as u64,
            ..*first
        };
        buffer.clear();
        bundle.write_given(*next, giving, buffer);
        *next += 1;
        if *next == bundle.count() {
            self.to_send.pop_front();
        }
        Some(Given::Written)
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
        if self.bundle_of(id).is_some() {
            self.finished_of_bundle(id, queue, now);
            return Some(unplaced(frame));
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

    /// The bundle that a task is of, with its first one.
    fn bundle_of(&self, id: TaskId) -> Option<(TaskId, &OutBundle)> {
        let (first, bundle) = self.bundles.range(..=id).next_back()?;
        (id - first < bundle.count()).then_some((*first, bundle))
    }

    /// Whether this is a task of a bundle.
    pub(super) fn is_loose(&self, giving: Giving) -> bool {
        giving.run == self.run && self.bundle_of(giving.task).is_some()
    }

    /// What has come of a task of a bundle has gone on.
    pub(super) fn passed(&mut self, giving: Giving, queue: &mut Queue<Made>, now: Instant) {
        self.last_news = Some(now);
        self.finished_of_bundle(giving.task, queue, now);
    }

    /// A result of a message of a bundle has come. (It was given once, so another one is one more.)
    /// When all have theirs, the bundle is done.
    fn finished_of_bundle(&mut self, id: TaskId, queue: &mut Queue<Made>, now: Instant) {
        let Some((first, known)) = self.bundles.range_mut(..=id).next_back() else {
            return;
        };
        let (first, at) = (*first, id - first);
        if !known.is_left(at) {
            return;
        }
        known.left &= !(1 << at);
        let Out { turn, since, .. } = known.out;
        self.last_turn = self.last_turn.max(turn + at);
        if known.left == 0 {
            self.in_bundles -= known.bundle.count();
            self.bundles.remove(&first);
            let ran = now.saturating_duration_since(since);
            queue.finish_any(Self::ID, first, ran, now);
        }
    }

    /// Takes a bundle apart: what of it has its result is done, and each of the others is out by
    /// itself.
    fn take_apart(&mut self, first: TaskId, queue: &mut Queue<Made>, now: Instant) {
        let Some(known) = self.bundles.remove(&first) else {
            return;
        };
        self.in_bundles -= known.bundle.count();
        if queue.item(first).is_none() {
            return; // It has come to its end elsewhere.
        }
        for at in 0..known.count() {
            let id = first + at;
            queue.take_off(id);
            if known.is_left(at) {
                let turn = known.out.turn + at;
                let cache = known.bundle.single(at as usize);
                self.note_out(id, Out { turn, ..known.out }, cache.cache());
            } else {
                let ran = now.saturating_duration_since(known.out.since);
                queue.finish_any(Self::ID, id, ran, now);
            }
        }
    }

    /// Takes those apart that are meant.
    fn take_all_apart(
        &mut self,
        which: impl Fn(&OutBundle) -> bool,
        queue: &mut Queue<Made>,
        now: Instant,
    ) {
        let all = self.bundles.iter().filter(|(_, known)| which(known));
        for first in all.map(|(first, _)| *first).collect::<Vec<_>>() {
            self.take_apart(first, queue, now);
        }
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
        if let Some((task, attempt)) = self.bundle_with(frame.cache()) {
            return Some(Giving {
                task,
                attempt,
                run: self.run,
            });
        }
        let cache = self.hasher.hash_one(frame.cache());
        let task = self.by_cache.get(&cache)?.only()?;
        let out = self.out.get(task).map(|out| out.attempt);
        let answered = self.answered.get(&task).map(|answered| answered.attempt);
        let silent = self.silent.get(&task).map(|silent| silent.attempt);
        Some(Giving {
            task,
            attempt: out.or(answered).or(silent)?,
            run: self.run,
        })
    }

    /// Which task of a bundle has this in its `cache` field, and at which attempt it is.
    fn bundle_with(&self, cache: &str) -> Option<(TaskId, u32)> {
        let mut all = self.bundles.iter();
        all.find_map(|(first, known)| {
            let at = known.bundle.index_of_cache(cache)?;
            Some((first + at as u64, known.out.attempt))
        })
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

    fn is_full(&self) -> bool {
        self.peers > 0 && self.open() >= self.credit(self.peers).0
    }

    /// When all that may be out is, those of it that seem to be silent make room: nobody waits
    /// for them any more, and if they answer after all, that goes on.
    fn presume_silent(&mut self, now: Instant, queue: &mut Queue<Made>) {
        if !self.is_full() || self.look.is_some_and(|look| look > now) {
            return;
        }
        self.look = Some(now + LOOK);
        let age = |since: Instant| now.saturating_duration_since(since);
        let all_silent = self.last_news.is_some_and(|last| age(last) >= SILENT);
        let overtaken = self.last_turn.saturating_sub(2 * self.peers as u64);
        let is_silent = |out: &Out| {
            let is_overtaken = out.turn < overtaken && age(out.since) >= OVERTAKEN;
            is_overtaken || all_silent && age(out.since) >= SILENT
        };
        // What has its result makes room at once, where others of its bundle seem to have none.
        let is_late = |known: &OutBundle| {
            let is_overtaken = known.out.turn + known.count() <= overtaken;
            is_overtaken && age(known.out.since) >= LOOK || is_silent(&known.out)
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
        if self.in_bundles > queue.len() + TIDY {
            let is_over = |first: &TaskId| queue.item(*first).is_none();
            for (_, over) in self.bundles.extract_if(.., |first, _| is_over(first)) {
                self.in_bundles -= over.bundle.count();
            }
        }
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

    pub(super) fn deadline(&self) -> Option<Instant> {
        let end = self.ends.first().map(|(end, _)| *end);
        let suspects = self.suspects.front().map(|(end, _)| *end);
        let look = self.look.filter(|_| self.is_full());
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

/// A result of a message that nobody has numbered stands nowhere, whatever its worker says.
fn unplaced(mut frame: Frame) -> Made {
    if frame.place().is_some() {
        frame.clear_place();
    }
    Made {
        frame,
        ticket: None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::core::custody::Ledger;
    use crate::core::queue::{Order, Settings};
    use crate::message::{FrameReader, Gathering};
    use crate::sim::rng::Rng;

    const RUN: u64 = 7;
    const MS: Duration = Duration::from_millis(1);

    struct Master {
        wire: Wire,
        queue: Queue<Made>,
        ledger: Arc<Ledger>,
        pushed: u64,
        now: Instant,
    }

    impl Master {
        /// With so many workers.
        fn new(peers: usize) -> Self {
            let mut master = Self {
                wire: Wire::new(RUN),
                queue: Queue::new(Settings::default()),
                ledger: Ledger::new(|| {}),
                pushed: 0,
                now: Instant::now(),
            };
            master.peers(peers, false);
            master
        }

        fn peers(&mut self, peers: usize, gone: bool) {
            self.wire.set_peers(peers, gone, &mut self.queue, self.now);
        }

        fn push(&mut self, count: usize) {
            for _ in 0..count {
                self.pushed += 1;
                let mut frame = Frame::new("", "c/1", "s.f", "key", b"x");
                frame.set_place(self.pushed, &[]);
                let kept = Made {
                    frame,
                    ticket: Some(self.ledger.ticket(1, self.pushed)),
                };
                self.queue.push("c", "c/1", "f", 1, kept, self.now);
            }
        }

        /// What goes to the workers now.
        fn given(&mut self) -> Vec<Frame> {
            let mut orders = Vec::new();
            self.queue.assign(self.now, |_| true, &mut orders);
            for order in orders {
                if let Order::Give { id, attempt, .. } = order {
                    let frame = &mut self.queue.item_mut(id).unwrap().frame;
                    self.wire.give(id, attempt, frame, self.now);
                }
            }
            let mut buffer = Vec::new();
            let mut given = Vec::new();
            while let Some(next) = self.wire.next(&mut buffer) {
                given.push(match next {
                    Given::Frame(frame) => frame,
                    Given::Written => Frame::parse(buffer.clone(), 1_000).unwrap(),
                });
            }
            given
        }

        /// A bundle of messages that nobody answers for.
        fn push_bundle(&mut self, count: usize) {
            let mut gathering = Gathering::default();
            let mut reader = FrameReader::default();
            for _ in 0..count {
                let frame = Frame::new("", "c/1", "s.f", "", b"x");
                let added = gathering.add(&mut reader, frame.as_bytes(), 1_000);
                assert_eq!(added, Some(None));
            }
            let kept = Made {
                frame: gathering.take().unwrap(),
                ticket: None,
            };
            assert_eq!(kept.frame.count(), count);
            self.queue.push("c", "c/1", "f", count, kept, self.now);
        }

        /// Answers each of these, with the number of its task.
        fn answer_all<'a>(&mut self, given: impl IntoIterator<Item = &'a Frame>) -> Vec<u64> {
            let made = given.into_iter().filter_map(|frame| {
                let task = frame.giving().unwrap().task;
                let made = self.answer(frame, &task.to_be_bytes())?;
                assert!(made.ticket.is_none() && made.frame.place().is_none());
                Some(u64::from_be_bytes(made.frame.payload().try_into().unwrap()))
            });
            made.collect()
        }

        fn answer(&mut self, frame: &Frame, payload: &[u8]) -> Option<Made> {
            let result = frame.with_payload(payload);
            self.wire.finished(result, &mut self.queue, self.now)
        }

        fn wait(&mut self, time: Duration) -> usize {
            self.now += time;
            self.wire.expire(self.now, &mut self.queue).len()
        }

        /// The messages that are settled, and whether each was tracked.
        fn settled(&self) -> Vec<(u64, bool)> {
            let settled = self.ledger.take().into_iter();
            settled
                .map(|of| (of.number, !of.result.untracked))
                .collect()
        }
    }

    fn settle(made: Option<Made>) -> Vec<u8> {
        let made = made.unwrap();
        if let Some(ticket) = made.ticket {
            ticket.done();
        }
        made.frame.payload().to_vec()
    }

    #[test]
    fn several_results_of_a_message_are_all_of_it_and_stand_apart() {
        let mut master = Master::new(1);
        master.push(1);
        let given = master.given();
        let mut places = Vec::new();
        for part in 0..5 {
            let made = master.answer(&given[0], &[part]).unwrap();
            places.push(made.frame.place().unwrap().path.to_vec());
            settle(Some(made));
            assert_eq!(master.wait(400 * MS), 0);
        }
        places.dedup();
        assert_eq!(places.len(), 5);
        assert!(master.settled().is_empty());
        master.wait(MORE);
        assert_eq!(master.settled(), [(1, true)]);
        assert!(master.wire.by_cache.is_empty() && master.wire.ends.is_empty());
    }

    #[test]
    fn nothing_is_kept_of_what_came_over_the_pylm_wire_and_each_result_of_it_passes() {
        let mut master = Master::new(1);
        let frame = Frame::new("", "c", "s.f", "key", b"x");
        for _ in 0..3 {
            let kept = Made {
                frame: frame.clone(),
                ticket: None,
            };
            master.queue.push("c", "c", "f", 1, kept, master.now);
        }
        let given = master.given();
        for frame in &given {
            assert_eq!(settle(master.answer(frame, b"1")), b"1");
            assert_eq!(settle(master.answer(frame, b"2")), b"2");
        }
        assert!(master.wire.answered.is_empty() && master.wire.ends.is_empty());
        assert_eq!(master.queue.counters().fenced, 0);
    }

    #[test]
    fn of_what_was_given_twice_the_result_of_one_counts_however_late_the_other() {
        let mut master = Master::new(2);
        let kept = Made {
            frame: Frame::new("", "c", "s.f", "key", b"x"),
            ticket: None,
        };
        master.queue.push("c", "c", "f", 1, kept, master.now);
        let first = master.given();
        master.peers(1, true);
        master.wait(SUSPECT);
        let again = master.given();
        assert_eq!(settle(master.answer(&again[0], b"1")), b"1");
        master.wait(2 * MORE);
        assert!(master.answer(&first[0], b"2").is_none());
    }

    #[test]
    fn what_an_earlier_run_of_the_master_gave_is_no_task_of_this_one() {
        let mut master = Master::new(1);
        master.push(1);
        let given = master.given();
        let mut old = given[0].clone();
        let giving = old.giving().unwrap();
        old.set_giving(Giving { run: 1, ..giving });
        let passed = master.answer(&old, b"old").unwrap();
        assert!(passed.ticket.is_none());
        assert_eq!(settle(master.answer(&given[0], b"new")), b"new");
    }

    #[test]
    fn what_was_out_when_a_worker_left_is_given_again_and_the_first_result_counts() {
        let mut master = Master::new(2);
        master.push(2);
        let first = master.given();
        master.peers(1, true);
        master.wait(SUSPECT);
        let again = master.given();
        assert_eq!(again.len(), 2);
        assert_eq!(settle(master.answer(&first[0], b"1")), b"1");
        assert!(master.answer(&again[0], b"2").is_none());
        assert_eq!(settle(master.answer(&again[1], b"3")), b"3");
    }

    #[test]
    fn a_message_that_is_with_every_worker_that_ends_is_given_up() {
        let mut master = Master::new(2);
        master.push(1);
        let mut given_up = 0;
        for _ in 0..=MOST_ATTEMPTS {
            master.given();
            master.peers(1, true);
            given_up += master.wait(SUSPECT);
            master.peers(2, false);
        }
        assert_eq!(given_up, 1);
        assert!(master.given().is_empty());
    }

    #[test]
    fn what_is_silent_makes_room_when_later_ones_are_answered_and_may_answer_after_all() {
        let mut master = Master::new(1);
        master.push(2 * AHEAD_ALONE);
        let given = master.given();
        assert_eq!(given.len(), AHEAD_ALONE);
        assert!(master.given().is_empty());
        // Every second one gives nothing: in the end all that is out are such.
        let mut out = given.clone();
        for _ in 0..20 {
            for frame in out.iter().skip(1).step_by(2) {
                settle(master.answer(frame, b"y"));
            }
            master.wait(OVERTAKEN);
            out = master.given();
        }
        assert_eq!(master.pushed, 2 * AHEAD_ALONE as u64);
        assert_eq!(master.queue.len(), master.wire.out.len());
        assert!(master.wire.out.len() < AHEAD_ALONE);
        let late = master.answer(&given[0], b"late").unwrap();
        assert_eq!(
            (late.frame.payload(), late.ticket.is_none()),
            (&b"late"[..], true)
        );
        assert!(master.settled().contains(&(1, false)));
    }

    #[test]
    fn functions_that_all_give_nothing_do_not_stop_the_rest_for_ever() {
        let mut master = Master::new(1);
        master.push(AHEAD_ALONE + 1);
        assert_eq!(master.given().len(), AHEAD_ALONE);
        master.wait(LOOK);
        assert!(master.given().is_empty());
        assert!(master.wire.deadline().is_some_and(|look| look > master.now));
        master.wait(SILENT);
        assert_eq!(master.given().len(), 1);
    }

    #[test]
    fn results_of_a_bundle_go_on_as_they_come_and_nothing_is_kept_of_it() {
        let mut master = Master::new(2);
        master.push_bundle(64);
        master.push_bundle(2);
        let given = master.given();
        assert_eq!(given.len(), 66);
        let mut caches: Vec<_> = given.iter().map(Frame::cache).collect();
        caches.sort_unstable();
        caches.dedup();
        assert_eq!(caches.len(), 66);
        assert_eq!(master.queue.counters().finished, 0);
        let order = |id: u64| id * 29 % 66;
        let shuffled = (0..66).map(|at| &given[order(at) as usize]);
        let made = master.answer_all(shuffled);
        assert_eq!(made, (0..66).map(order).collect::<Vec<_>>());
        assert_eq!(master.queue.counters().finished, 66);
        // Others of the same are one more each.
        assert_eq!(master.answer_all(&given[..1]), [0]);
        assert_eq!(master.wire.open() + master.queue.len(), 0);
        assert!(master.wire.by_cache.is_empty() && master.wire.bundles.is_empty());
        assert_eq!(master.queue.counters().fenced, 0);
    }

    #[test]
    fn a_message_of_a_bundle_is_known_by_its_cache_if_its_worker_says_nothing_else() {
        let mut master = Master::new(1);
        master.push_bundle(5);
        let given = master.given();
        for frame in given.iter().rev() {
            let result = Frame::new("", "c/1", "s.f", frame.cache(), b"y");
            let made = master.wire.finished(result, &mut master.queue, master.now);
            assert_eq!(settle(made), b"y");
        }
        assert_eq!(master.queue.len(), 0);
    }

    #[test]
    fn only_what_has_no_result_of_a_bundle_is_given_again() {
        let mut master = Master::new(1);
        master.push_bundle(6);
        let first = master.given();
        assert_eq!(master.answer_all([&first[1], &first[4]]), [1, 4]);
        master.peers(0, true);
        master.peers(1, false);
        let again = master.given();
        assert_eq!(master.answer_all(&again), [0, 2, 3, 5]);
        // These came after all.
        assert!(master.answer_all([&first[0], &first[5]]).is_empty());
        assert_eq!(master.queue.len(), 0);
    }

    #[test]
    fn what_is_silent_of_a_bundle_makes_room_for_others() {
        let mut master = Master::new(1);
        for _ in 0..2 * AHEAD_ALONE / 64 {
            master.push_bundle(64);
        }
        let mut out = master.given();
        assert_eq!(out.len(), AHEAD_ALONE);
        let mut answered = 0;
        for _ in 0..20 {
            let made = master.answer_all(out.iter().skip(1).step_by(2));
            answered += made.len();
            master.wait(OVERTAKEN);
            out = master.given();
        }
        assert!(answered >= AHEAD_ALONE - 20);
        assert_eq!(master.queue.len(), master.wire.open());
        assert!(master.wire.open() < AHEAD_ALONE);
    }

    #[test]
    fn where_one_of_each_bundle_is_silent_the_others_make_room_soon() {
        let mut master = Master::new(1);
        for _ in 0..4 * AHEAD_ALONE / 64 {
            master.push_bundle(64);
        }
        let mut answered = 0;
        for _ in 0..10 {
            let given = master.given();
            let answers = given.iter().filter(|frame| {
                let task = frame.giving().unwrap().task;
                task % 64 != 0
            });
            answered += master.answer_all(answers).len();
            master.wait(LOOK);
        }
        assert!(answered >= 3 * AHEAD_ALONE, "{answered}");
    }

    /// Workers come and go, with what they have: each message has one result that counts.
    #[test]
    fn whatever_becomes_of_workers_each_message_has_one_result() {
        for seed in 0..300 {
            let mut rng = Rng::new(seed);
            let mut master = Master::new(2);
            let mut at_workers = [Vec::new(), Vec::new()];
            let mut late: Vec<Frame> = Vec::new();
            let (mut pushed, mut made) = (0, Vec::new());
            for step in 0.. {
                assert!(step < 2_000, "it does not end in world {seed}");
                let ends = step > 150;
                if ends && master.queue.len() == 0 {
                    break;
                }
                if !ends && rng.one_in(2) {
                    let count = rng.between(2, 64);
                    master.push_bundle(count);
                    pushed += count as u64;
                }
                for (at, frame) in master.given().into_iter().enumerate() {
                    let worker = at % at_workers.len();
                    at_workers[worker].push(frame);
                }
                let worker = rng.below(at_workers.len());
                let queue: &mut Vec<Frame> = &mut at_workers[worker];
                for _ in 0..rng.below(if ends { 200 } else { 100 }).min(queue.len()) {
                    let at = rng.below(3.min(queue.len()));
                    let frame = queue.remove(at);
                    made.extend(master.answer_all([&frame]));
                }
                if !ends && rng.one_in(15) {
                    let gone = std::mem::take(&mut at_workers[worker]);
                    // Some of it is on its way back.
                    late.extend(gone.into_iter().filter(|_| rng.one_in(3)));
                    let left = at_workers.len() - 1;
                    if rng.one_in(3) {
                        at_workers.iter_mut().for_each(Vec::clear);
                        master.peers(0, true);
                    } else {
                        master.peers(left, true);
                    }
                    master.peers(left + 1, false);
                }
                if !late.is_empty() && rng.one_in(3) {
                    let at = rng.below(late.len());
                    made.extend(master.answer_all([&late.swap_remove(at)]));
                }
                master.wait(rng.time(SUSPECT));
            }
            made.sort_unstable();
            assert_eq!(made, (0..pushed).collect::<Vec<_>>(), "world {seed}");
            assert_eq!(master.wire.open(), 0, "world {seed}");
        }
    }
}
