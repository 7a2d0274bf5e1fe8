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

/// How long after a first result of a message others of it may come: a worker does not say
/// how many there are.
const MORE: Duration = Duration::from_millis(100);

/// After so long, what is not answered may be silent; and after so long again, nothing is
/// expected of it.
const SILENT: Duration = Duration::from_secs(5);
const LATE: Duration = Duration::from_secs(60);

/// So many tasks may be remembered that are over.
const TIDY: usize = 1_024;

/// The position of a second result: above any that a hook may give.
const SECOND: u64 = 1 << 33;

#[derive(Default)]
pub(super) struct Wire {
    peers: usize,
    /// Whether there are palm workers, too.
    among: bool,
    /// What is out, and since when.
    out: BTreeMap<TaskId, Out>,
    /// The same by the `cache` field: the last one of those with the same.
    by_cache: HashMap<String, TaskId>,
    /// What a worker has answered once, and may answer again.
    answered: HashMap<TaskId, Answered>,
    /// The order in which that ends.
    ends: BTreeSet<(Instant, TaskId)>,
    /// When something was answered last.
    last_answer: Option<Instant>,
    to_send: VecDeque<Frame>,
    /// When to give out again what was out at some time.
    suspects: Option<(Instant, Instant)>,
}

struct Out {
    attempt: u32,
    since: Instant,
}

struct Answered {
    attempt: u32,
    /// The task without its payload.
    task: Frame,
    ticket: Option<Ticket>,
    results: u64,
}

impl Wire {
    /// What the queue knows them by: as one worker.
    pub(super) const ID: WorkerId = 0;

    /// Gives a message to one of them.
    pub(super) fn give(&mut self, id: TaskId, attempt: u32, frame: &Frame, now: Instant) {
        let mut frame = frame.clone();
        frame.set_giving(Giving { task: id, attempt });
        self.by_cache.insert(frame.cache().to_owned(), id);
        self.out.insert(
            id,
            Out {
                attempt,
                since: now,
            },
        );
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
        let Some(Giving { task: id, attempt }) = self.giving(&frame) else {
            return Some(Made {
                frame,
                ticket: None,
            });
        };
        if let Some(answered) = self.answered.get_mut(&id) {
            if answered.attempt != attempt {
                queue.note_late();
                return None;
            }
            answered.results += 1;
            let mut frame = placed_as(frame, &answered.task);
            frame.add_position(SECOND + answered.results);
            self.last_answer = Some(now);
            return Some(Made {
                frame,
                ticket: answered.ticket.clone(),
            });
        }
        let since = self.out.remove(&id).map_or(now, |out| out.since);
        let ran = now.saturating_duration_since(since);
        // Whoever of them it was: it is done.
        let kept = queue.finish_any(Self::ID, id, ran, now)?;
        let made = Made {
            frame: placed_as(frame, &kept.frame),
            ticket: kept.ticket.clone(),
        };
        let answered = Answered {
            attempt,
            task: kept.frame.with_payload(b""),
            ticket: kept.ticket,
            results: 0,
        };
        self.answered.insert(id, answered);
        self.ends.insert((now + MORE, id));
        self.last_answer = Some(now);
        Some(made)
    }

    /// Which task a worker has done; none if it was not one of ours.
    fn giving(&self, frame: &Frame) -> Option<Giving> {
        frame.giving().or_else(|| {
            let task = *self.by_cache.get(frame.cache())?;
            let out = self.out.get(&task).map(|out| out.attempt);
            let answered = self.answered.get(&task).map(|answered| answered.attempt);
            let attempt = out.or(answered)?;
            Some(Giving { task, attempt })
        })
    }

    /// A task is over: nothing more is expected of it.
    fn forget(&mut self, id: TaskId) {
        if let Some(answered) = self.answered.remove(&id) {
            let cache = answered.task.cache();
            if self.by_cache.get(cache) == Some(&id) {
                self.by_cache.remove(cache);
            }
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
            self.suspects = Some((now + SUSPECT, now));
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
                self.suspects = None;
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

    /// A function that gives nothing is silent on this wire. So when all that may be out is, and
    /// others are answered, those that have been out for long are taken to be such: nobody waits
    /// for them any more, and if they answer after all, that goes on.
    fn presume_silent(&mut self, now: Instant, queue: &mut Queue<Kept>) {
        let is_old = |since: Instant| now.saturating_duration_since(since) >= SILENT;
        let answers = self.last_answer.is_some_and(|last| !is_old(last));
        if self.out.len() < self.credit(self.peers).0 || !answers {
            return;
        }
        let old = self.out.iter().filter(|(_, out)| is_old(out.since));
        for id in old.map(|(id, _)| *id).collect::<Vec<_>>() {
            let attempt = self.out.remove(&id).map_or(0, |out| out.attempt);
            if let Some(kept) = queue.finish_any(Self::ID, id, Duration::ZERO, now) {
                if let Some(ticket) = kept.ticket {
                    ticket.untracked();
                }
                let answered = Answered {
                    attempt,
                    task: kept.frame.with_payload(b""),
                    ticket: None,
                    results: 0,
                };
                self.answered.insert(id, answered);
                self.ends.insert((now + LATE, id));
            }
        }
    }

    /// Forgets what was out and has come to its end elsewhere, if that may be much.
    fn tidy(&mut self, queue: &Queue<Kept>) {
        if self.by_cache.len() > 2 * (queue.len() + self.answered.len()) + TIDY {
            self.out.retain(|id, _| queue.item(*id).is_some());
            let (out, answered) = (&self.out, &self.answered);
            self.by_cache
                .retain(|_, id| out.contains_key(id) || answered.contains_key(id));
        }
    }

    pub(super) fn expire(&mut self, now: Instant, queue: &mut Queue<Kept>) {
        self.tidy(queue);
        while let Some((end, id)) = self.ends.first().copied().filter(|(end, _)| *end <= now) {
            self.ends.remove(&(end, id));
            self.forget(id);
        }
        self.presume_silent(now, queue);
        if let Some((_, gone)) = self.suspects.take_if(|(end, _)| *end <= now) {
            let late = self.out.iter().filter(|(_, out)| out.since <= gone);
            let late: Vec<_> = late.map(|(id, _)| *id).collect();
            for id in &late {
                self.out.remove(id);
            }
            queue.hand_back(Self::ID, &late, now);
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let end = self.ends.first().map(|(end, _)| *end);
        let suspects = self.suspects.map(|(end, _)| end);
        let is_full = self.peers > 0 && self.out.len() >= self.credit(self.peers).0;
        let oldest = self.out.values().map(|out| out.since).next();
        let silent = oldest.filter(|_| is_full).map(|since| since + SILENT);
        let silent = silent.filter(|_| self.last_answer.is_some());
        end.into_iter().chain(suspects).chain(silent).min()
    }
}
