//! The workers of a master that speak the pylm wire.
//!
//! libzmq deals the messages out among them, and does not say to whom. So each says which task
//! it is, in a field that pylm keeps though it does not know it; workers that are neither pylm's
//! nor palm's send back at least the `cache` field, by which a task is known if no other has the
//! same there. When one of them is gone, what was out then and has not come back a while later
//! is given out again: some of it may have been with others, which costs a second run of it, and
//! of two results the first counts.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::tasks::placed_as;
use super::{Kept, Made};
use crate::core::custody::Ticket;
use crate::core::queue::{Queue, TaskId, WorkerId};
use crate::message::{Frame, Giving};

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

/// How often to look for such.
const LOOK: Duration = Duration::from_millis(100);

/// How many of them may answer after all.
const MOST_SILENT: usize = 65_536;

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
    /// What is out.
    out: BTreeMap<TaskId, Out>,
    /// The same by the `cache` field; `None` stands for several with the same.
    by_cache: HashMap<String, Option<TaskId>>,
    /// What a worker has answered once, and may answer again.
    answered: HashMap<TaskId, Answered>,
    /// The order in which that ends.
    ends: BTreeSet<(Instant, TaskId)>,
    /// What seems to be silent, and may answer after all.
    silent: BTreeMap<TaskId, Answered>,
    /// How many were given.
    turns: u64,
    /// The last turn of those that were answered.
    last_turn: u64,
    /// When anything was answered last, or given to those who had nothing.
    last_news: Option<Instant>,
    /// When to look for what is silent.
    look: Option<Instant>,
    to_send: VecDeque<Frame>,
    /// When to give out again what was out at some time.
    suspects: VecDeque<(Instant, Instant)>,
}

struct Out {
    attempt: u32,
    since: Instant,
    turn: u64,
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
            out: BTreeMap::new(),
            by_cache: HashMap::new(),
            answered: HashMap::new(),
            ends: BTreeSet::new(),
            silent: BTreeMap::new(),
            turns: 0,
            last_turn: 0,
            last_news: None,
            look: None,
            to_send: VecDeque::new(),
            suspects: VecDeque::new(),
        }
    }

    /// Gives a message to one of them.
    pub(super) fn give(&mut self, id: TaskId, attempt: u32, frame: &Frame, now: Instant) {
        let mut frame = frame.clone();
        frame.set_giving(Giving {
            task: id,
            attempt,
            run: self.run,
        });
        self.by_cache
            .entry(frame.cache().to_owned())
            .and_modify(|known| *known = known.filter(|known| *known == id))
            .or_insert(Some(id));
        if self.out.is_empty() {
            self.last_news = Some(now);
        }
        self.turns += 1;
        let out = Out {
            attempt,
            since: now,
            turn: self.turns,
        };
        self.out.insert(id, out);
        self.to_send.push_back(frame);
    }

    /// How many of them are connected.
    pub(super) fn peers(&self) -> usize {
        self.peers
    }

    pub(super) fn next(&mut self) -> Option<Frame> {
        self.to_send.pop_front()
    }

    /// What one of them has done. `None` when another was quicker with it.
    pub(super) fn finished(
        &mut self,
        frame: Frame,
        queue: &mut Queue<Kept>,
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
            return Some(silent.next(frame));
        }
        let out = self.out.remove(&id);
        if let Some(out) = &out {
            self.last_turn = self.last_turn.max(out.turn);
        }
        let since = out.map_or(now, |out| out.since);
        let ran = now.saturating_duration_since(since);
        // Whoever of them it was: it is done.
        let kept = queue.finish_any(Self::ID, id, ran, now)?;
        let end = now + MORE;
        let mut answered = Answered::new(kept, attempt);
        answered.end = Some(end);
        let made = answered.next(frame);
        self.answered.insert(id, answered);
        self.ends.insert((end, id));
        Some(made)
    }

    /// Which task a worker has done; none if it was not one of ours.
    fn giving(&self, frame: &Frame) -> Option<Giving> {
        if let Some(giving) = frame.giving() {
            // What came of an earlier run's says itself where it stands.
            return Some(giving).filter(|giving| giving.run == self.run);
        }
        let task = self.by_cache.get(frame.cache()).copied().flatten()?;
        let out = self.out.get(&task).map(|out| out.attempt);
        let answered = self.answered.get(&task).map(|answered| answered.attempt);
        let silent = self.silent.get(&task).map(|silent| silent.attempt);
        Some(Giving {
            task,
            attempt: out.or(answered).or(silent)?,
            run: self.run,
        })
    }

    /// A task is over: nothing more is expected of it.
    fn forget(&mut self, id: TaskId) {
        if let Some(answered) = self.answered.remove(&id) {
            self.by_cache.remove(answered.task.cache());
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
        queue: &mut Queue<Kept>,
        now: Instant,
    ) {
        if gone && !self.out.is_empty() {
            self.suspects.push_back((now + SUSPECT, now));
        }
        let before = std::mem::replace(&mut self.peers, peers);
        let (credit, bytes) = self.credit(peers);
        match (before, peers) {
            (0, 0) => {}
            (0, _) => queue.join_fixed(Self::ID, credit, bytes, now),
            (_, 0) => {
                self.to_send.clear();
                self.out.clear();
                self.by_cache.clear();
                self.suspects.clear();
                queue.leave(Self::ID, crate::core::queue::Leave::Drained, now);
            }
            _ => queue.set_credit(Self::ID, credit, bytes),
        }
    }

    /// Whether there are no other workers.
    pub(super) fn set_alone(&mut self, alone: bool, queue: &mut Queue<Kept>) {
        self.among = !alone;
        let (credit, bytes) = self.credit(self.peers);
        queue.set_credit(Self::ID, credit, bytes);
    }

    /// How many messages, and bytes, may be out at so many workers.
    fn credit(&self, peers: usize) -> (usize, usize) {
        let each = if self.among { AHEAD } else { AHEAD_ALONE };
        (peers * each, peers * BYTES)
    }

    fn is_full(&self) -> bool {
        self.peers > 0 && self.out.len() >= self.credit(self.peers).0
    }

    /// When all that may be out is, those of it that seem to be silent make room: nobody waits
    /// for them any more, and if they answer after all, that goes on.
    fn presume_silent(&mut self, now: Instant, queue: &mut Queue<Kept>) {
        if !self.is_full() {
            self.look = None;
            return;
        }
        if self.look.is_some_and(|look| look > now) {
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
        let silent = self.out.iter().filter(|(_, out)| is_silent(out));
        for id in silent.map(|(id, _)| *id).collect::<Vec<_>>() {
            let attempt = self.out.remove(&id).map_or(0, |out| out.attempt);
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
    fn tidy(&mut self, queue: &Queue<Kept>) {
        let known = queue.len() + self.answered.len() + self.silent.len();
        if self.by_cache.len() > 2 * known + TIDY {
            self.out.retain(|id, _| queue.item(*id).is_some());
            let known = |id: &TaskId| {
                self.out.contains_key(id)
                    || self.answered.contains_key(id)
                    || self.silent.contains_key(id)
            };
            self.by_cache
                .retain(|_, id| id.is_some_and(|id| known(&id)));
        }
    }

    /// Looks what time it is. Gives what has killed too many of them.
    pub(super) fn expire(&mut self, now: Instant, queue: &mut Queue<Kept>) -> Vec<(Kept, u32)> {
        self.tidy(queue);
        while let Some((end, id)) = self.ends.first().copied().filter(|(end, _)| *end <= now) {
            self.ends.remove(&(end, id));
            self.forget(id);
        }
        self.presume_silent(now, queue);
        let mut given_up = Vec::new();
        while let Some((_, gone)) = self.suspects.pop_front_if(|(end, _)| *end <= now) {
            let late = self.out.iter().filter(|(_, out)| out.since <= gone);
            let late: Vec<_> = late.map(|(id, out)| (*id, out.attempt)).collect();
            let mut again = Vec::new();
            for (id, attempt) in late {
                self.out.remove(&id);
                if attempt < MOST_ATTEMPTS {
                    again.push(id);
                } else if let Some(kept) = queue.finish_any(Self::ID, id, Duration::ZERO, now) {
                    given_up.push((kept, attempt));
                }
            }
            queue.hand_back(Self::ID, &again, now);
        }
        given_up
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let end = self.ends.first().map(|(end, _)| *end);
        let suspects = self.suspects.front().map(|(end, _)| *end);
        [end, suspects, self.look].into_iter().flatten().min()
    }
}

impl Answered {
    fn new(kept: Kept, attempt: u32) -> Self {
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
            ticket: self.ticket.clone(),
        }
    }
}
