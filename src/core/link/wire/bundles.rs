//! The bundles that are out at workers on the pylm wire: what becomes of each of their messages.

use std::time::Instant;

use uuid::Uuid;

use super::{Out, TIDY, Wire};
use crate::core::link::Made;
use crate::core::queue::{Queue, TaskId};
use crate::message::{Frame, Giving};

/// A bundle that is out.
pub(super) struct OutBundle {
    pub(super) out: Out,
    pub(super) bundle: Frame,
    /// Which of its messages have no result yet: a bit for each, from the lowest on.
    left: u64,
}

impl OutBundle {
    /// How many messages it has.
    pub(super) fn count(&self) -> u64 {
        self.bundle.count() as u64
    }

    /// Whether one of them has no result yet.
    fn is_left(&self, at: u64) -> bool {
        u32::try_from(at).is_ok_and(|at| self.left.unbounded_shr(at) & 1 == 1)
    }
}

impl Wire {
    /// A bundle has been given.
    pub(super) fn note_bundle(&mut self, first: TaskId, out: Out, bundle: Frame) {
        let count = bundle.count();
        let left = u64::MAX >> (u64::BITS as usize - count);
        self.in_bundles += count;
        self.bundles.insert(first, OutBundle { out, bundle, left });
    }

    /// The bundle that a task is of.
    pub(super) fn bundle_of(&self, id: TaskId) -> Option<&OutBundle> {
        let (first, known) = self.bundles.range(..=id).next_back()?;
        (id - first < known.count()).then_some(known)
    }

    /// Whether this is a giving of a task of a bundle that is out.
    pub(in crate::core::link) fn is_in_bundle(&self, giving: Giving) -> bool {
        giving.run == self.run && self.bundle_of(giving.task).is_some()
    }

    /// What has come of a task of a bundle has gone on.
    pub(in crate::core::link) fn passed(
        &mut self,
        giving: Giving,
        queue: &mut Queue<Made>,
        now: Instant,
    ) {
        self.last_news = Some(now);
        self.finished_of_bundle(giving.task, queue, now);
    }

    /// A result of a message of a bundle has come. (It was given once, so another one is one more.)
    /// When all have theirs, the bundle is done.
    pub(super) fn finished_of_bundle(&mut self, id: TaskId, queue: &mut Queue<Made>, now: Instant) {
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
        queue.scatter(first);
        for at in 0..known.count() {
            let id = first + at;
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
    pub(super) fn take_all_apart(
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

    /// Which task of a bundle has this in its `cache` field, and at which attempt it is.
    pub(super) fn bundle_with(&self, cache: &str) -> Option<(TaskId, u32)> {
        let key = Uuid::try_parse(cache).ok()?.as_u128();
        let mut all = self.bundles.iter();
        all.find_map(|(first, known)| {
            let at = known.bundle.index_of_key(key)?;
            // Of one that has its result, the key may be another's by now.
            known
                .is_left(at as u64)
                .then_some((first + at as u64, known.out.attempt))
        })
    }

    /// Forgets those that have come to their end elsewhere, if that may be much.
    pub(super) fn tidy_bundles(&mut self, queue: &Queue<Made>) {
        if self.in_bundles <= queue.len() + TIDY {
            return;
        }
        let is_over = |first: &TaskId| queue.item(*first).is_none();
        for (_, over) in self.bundles.extract_if(.., |first, _| is_over(first)) {
            self.in_bundles -= over.bundle.count();
        }
    }
}
