//! The workers, by kind: those with the same functions are of one kind. What a task costs
//! depends on how many kinds there are that have its function, and not on how many workers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use super::pace::Pace;
use super::ring::Ring;
use super::{FunctionId, SessionId, Settings, TaskId, WorkerId};

pub(super) type KindId = u64;

/// The order of the free workers of a kind: how many tasks each holds, when it got the last.
type Place = (usize, u64, WorkerId);

#[derive(Debug)]
pub(super) struct Worker {
    /// None: it is to get nothing more.
    pub(super) kind: Option<KindId>,
    /// In the order in which it was given them, and runs them.
    pub(super) given: VecDeque<(u64, TaskId)>,
    /// How many messages that is.
    pub(super) held: usize,
    pub(super) bytes: usize,
    pub(super) pace: Pace,
    pub(super) finished: u64,
    /// Since when it has been at the oldest one, as far as one can see from here.
    pub(super) since: Instant,
    /// What it runs is a suspect: nothing else is to be lost with it.
    pub(super) alone: bool,
    /// Which bundles it takes.
    pub(super) takes: Takes,
    /// It is to finish something before it gets more.
    pub(super) full: bool,
    /// Its connection is lost: it may be dead.
    pub(super) away: bool,
    pub(super) recall: Option<Recall>,
    /// What is to be recalled, and is not yet: tasks of cancelled jobs, and of clients that do not read.
    pub(super) unwanted: BTreeSet<TaskId>,
    /// When it was given the last one.
    turn: u64,
    /// Its place among the free ones, and whether it is among the deep ones.
    place: Option<Place>,
    deep: bool,
    /// Whether that is out of date.
    stale: bool,
}

/// Which bundles a worker takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Takes {
    /// Those that take no time.
    Bundles,
    /// Those that are not [tracked](Divide::is_tracked), however long they take.
    Loose,
    /// None.
    Singles,
}

/// A worker was asked for what it has not begun.
#[derive(Debug)]
pub(super) struct Recall {
    pub(super) ids: BTreeSet<TaskId>,
    /// Who would run them: else nobody is to, at present or any more.
    pub(super) kind: Option<KindId>,
}

#[derive(Debug)]
pub(super) struct Kind {
    /// None: they run anything.
    functions: Option<BTreeSet<FunctionId>>,
    pub(super) workers: BTreeSet<WorkerId>,
    free: BTreeSet<Place>,
    /// The sessions that have something for it.
    pub(super) ring: Ring,
    /// Its place among those that can be given something.
    ready: Option<(usize, KindId)>,
    /// How many recalls are open so that its idle workers have something to do.
    pub(super) recalls: usize,
    /// When to look for something to recall. None: nothing has been given ahead since the
    /// last look that it could run.
    pub(super) look_at: Option<Instant>,
}

impl Kind {
    pub(super) fn has(&self, function: FunctionId) -> bool {
        match &self.functions {
            Some(functions) => functions.contains(&function),
            None => true,
        }
    }

    /// The functions by name, if it does not run anything.
    pub(super) fn functions(&self) -> Option<&BTreeSet<FunctionId>> {
        self.functions.as_ref()
    }

    pub(super) fn has_free(&self) -> bool {
        !self.free.is_empty()
    }

    /// How many of its workers have room.
    pub(super) fn free(&self) -> usize {
        self.free.len()
    }

    /// Whether more of its workers have nothing to do than recalls are open for it.
    pub(super) fn wants_more(&self) -> bool {
        let next = self.free.iter().nth(self.recalls);
        next.is_some_and(|(given, ..)| *given == 0)
    }

    /// The idlest worker, of several the one that has rested longest; and the session whose turn it
    /// is.
    pub(super) fn next(&self) -> Option<(WorkerId, SessionId)> {
        Some((self.free.first()?.2, self.ring.first()?))
    }

    /// The idlest worker, of several the one that has had something last.
    pub(super) fn last(&self) -> Option<WorkerId> {
        let (held, ..) = self.free.first()?;
        let last = self.free.range(..(held + 1, 0, 0)).next_back()?;
        Some(last.2)
    }
}

impl Worker {
    /// How long the newest of its tasks will wait there. What has run for longer than an
    /// average task is thought to be half through.
    pub(super) fn expected_wait(&self, now: Instant) -> Duration {
        let elapsed = now.saturating_duration_since(self.since);
        let average = self.pace.average().unwrap_or(elapsed);
        let runs = match elapsed < average {
            true => average - elapsed,
            false => elapsed,
        };
        let between = u32::try_from(self.held.saturating_sub(2)).unwrap_or(u32::MAX);
        runs.saturating_add(average.saturating_mul(between))
    }

    /// Whether it may hold another task, however large.
    pub(super) fn has_place(&self) -> bool {
        self.places() > 0 && !self.full
    }

    /// How many more messages it may hold.
    pub(super) fn places(&self) -> usize {
        self.pace.credit().saturating_sub(self.held)
    }

    /// Takes out what it was given in this turn: as a rule that is the first.
    fn take(&mut self, turn: u64) -> Option<TaskId> {
        let place = match self.given.front() {
            Some((first, _)) if *first == turn => 0,
            _ => self
                .given
                .binary_search_by_key(&turn, |(turn, _)| *turn)
                .ok()?,
        };
        self.given.remove(place).map(|(_, id)| id)
    }

    /// What it has not begun, newest first.
    pub(super) fn unstarted(&self) -> impl Iterator<Item = TaskId> {
        let unstarted = self.given.len().saturating_sub(1);
        let newest_first = self.given.iter().rev().map(|(_, id)| *id);
        newest_first.take(unstarted)
    }

    /// What it runs, if that is all it has.
    pub(super) fn only(&self) -> Option<TaskId> {
        let first = self.given.front().map(|(_, id)| *id);
        first.filter(|_| self.given.len() == 1)
    }
}

#[derive(Debug, Default)]
pub(super) struct Pool {
    pub(super) workers: BTreeMap<WorkerId, Worker>,
    pub(super) kinds: BTreeMap<KindId, Kind>,
    by_functions: BTreeMap<Option<BTreeSet<FunctionId>>, KindId>,
    next_kind: KindId,
    /// The kinds with a free worker and something to run, that with the idlest one first.
    pub(super) ready: BTreeSet<(usize, KindId)>,
    /// Who holds something that it has not begun, and was not asked for it.
    pub(super) deep: BTreeSet<WorkerId>,
    /// It gets nothing new until it is empty, so that a suspect can run there.
    pub(super) reserved: Option<WorkerId>,
    /// Those that are to be put where they belong before anything is assigned.
    stale: Vec<WorkerId>,
}

impl Pool {
    /// The kind of those that run anything, if there is one.
    pub(super) fn any(&self) -> Option<KindId> {
        self.by_functions.get(&None).copied()
    }

    /// Takes in a worker. Gives its kind, and whether that is new.
    pub(super) fn join(
        &mut self,
        id: WorkerId,
        functions: Option<BTreeSet<FunctionId>>,
        settings: &Settings,
        now: Instant,
    ) -> (KindId, bool) {
        let known = self.by_functions.get(&functions).copied();
        let kind = known.unwrap_or_else(|| self.add_kind(functions, now));
        let worker = Worker {
            kind: Some(kind),
            given: VecDeque::new(),
            held: 0,
            bytes: 0,
            pace: Pace::new(settings),
            finished: 0,
            since: now,
            alone: false,
            takes: Takes::Bundles,
            full: false,
            away: false,
            recall: None,
            unwanted: BTreeSet::new(),
            turn: 0,
            place: None,
            deep: false,
            stale: false,
        };
        self.workers.insert(id, worker);
        self.kind(kind).workers.insert(id);
        self.refresh(id);
        (kind, known.is_none())
    }

    fn add_kind(&mut self, functions: Option<BTreeSet<FunctionId>>, now: Instant) -> KindId {
        let kind = Kind {
            functions: functions.clone(),
            workers: BTreeSet::new(),
            free: BTreeSet::new(),
            ring: Ring::default(),
            ready: None,
            recalls: 0,
            look_at: Some(now),
        };
        let id = self.next_kind;
        self.next_kind += 1;
        self.kinds.insert(id, kind);
        self.by_functions.insert(functions, id);
        id
    }

    /// Has a worker be of no kind any more. If it was the last one of its kind, gives that.
    pub(super) fn retire(&mut self, id: WorkerId) -> Option<(KindId, Kind)> {
        let kind = self.worker(id).kind.take()?;
        if self.reserved == Some(id) {
            self.reserved = None;
        }
        let place = self.worker(id).place.take();
        let entry = self.kind(kind);
        entry.workers.remove(&id);
        if let Some(place) = place {
            entry.free.remove(&place);
        }
        self.refresh(id);
        self.refresh_kind(kind);
        if !self.kinds[&kind].workers.is_empty() {
            return None;
        }
        let entry = self.kinds.remove(&kind)?;
        self.by_functions.remove(&entry.functions);
        Some((kind, entry))
    }

    pub(super) fn worker(&mut self, id: WorkerId) -> &mut Worker {
        self.workers.get_mut(&id).expect("it has joined")
    }

    pub(super) fn kind(&mut self, id: KindId) -> &mut Kind {
        self.kinds.get_mut(&id).expect("it has workers")
    }

    /// Notes that a worker was given a task. Who calls refreshes the worker.
    pub(super) fn gave(
        &mut self,
        id: WorkerId,
        turn: u64,
        (task, count): (TaskId, usize),
        size: usize,
        now: Instant,
    ) {
        let worker = self.worker(id);
        if worker.given.is_empty() {
            worker.since = now;
        }
        worker.given.push_back((turn, task));
        worker.held += count;
        worker.bytes += size;
        worker.turn = turn;
    }

    /// Notes that a worker has a task no more. Who calls says when it is done with the worker.
    pub(super) fn took(
        &mut self,
        id: WorkerId,
        turn: u64,
        count: usize,
        size: usize,
        now: Instant,
    ) {
        let worker = self.worker(id);
        if worker
            .given
            .front()
            .is_some_and(|(first, _)| *first == turn)
        {
            worker.since = now;
        }
        let task = worker.take(turn);
        worker.held -= count;
        worker.bytes -= size;
        worker.full = false;
        worker.alone &= !worker.given.is_empty();
        if let Some(task) = task {
            if !worker.unwanted.is_empty() {
                worker.unwanted.remove(&task);
            }
            if let Some(recall) = &mut worker.recall {
                recall.ids.remove(&task);
            }
        }
    }

    /// Notes that a bundle which a worker has is two tasks from now on: the other one is to run
    /// right after it.
    pub(super) fn divided(&mut self, id: WorkerId, task: TaskId, rest: (u64, TaskId)) {
        let worker = self.worker(id);
        let place = worker.given.partition_point(|(turn, _)| *turn < rest.0);
        worker.given.insert(place, rest);
        if worker.unwanted.contains(&task) {
            worker.unwanted.insert(rest.1);
        }
        if let Some(recall) = &mut worker.recall
            && recall.ids.contains(&task)
        {
            recall.ids.insert(rest.1);
        }
    }

    /// Has a worker be put where it belongs before anything is assigned: once, however many tasks
    /// it has finished by then.
    pub(super) fn refresh_later(&mut self, id: WorkerId) {
        if !std::mem::replace(&mut self.worker(id).stale, true) {
            self.stale.push(id);
        }
    }

    /// Puts those where they belong for which that was put off.
    pub(super) fn refresh_all(&mut self) {
        while let Some(id) = self.stale.pop() {
            // If it has not left.
            if let Some(worker) = self.workers.get_mut(&id) {
                worker.stale = false;
                self.refresh(id);
            }
        }
    }

    /// Puts a worker where it belongs now.
    pub(super) fn refresh(&mut self, id: WorkerId) {
        let reserved = self.reserved == Some(id);
        let worker = self.worker(id);
        let held = worker.held;
        let asks = worker.kind.is_some() && worker.pace.fixed().is_none();
        let deep = held >= 2 && worker.recall.is_none() && asks;
        let free = worker.has_place() && !worker.alone && !worker.away && !reserved;
        let place = free.then_some((held, worker.turn, id));
        let old = std::mem::replace(&mut worker.place, place);
        let kind = worker.kind;
        if deep != std::mem::replace(&mut worker.deep, deep) {
            match deep {
                true => self.deep.insert(id),
                false => self.deep.remove(&id),
            };
        }
        let Some(kind) = kind else {
            self.worker(id).place = None;
            return;
        };
        if old != place {
            let entry = self.kind(kind);
            if let Some(old) = old {
                entry.free.remove(&old);
            }
            entry.free.extend(place);
            self.refresh_kind(kind);
        }
    }

    /// Puts a kind where it belongs now.
    pub(super) fn refresh_kind(&mut self, id: KindId) {
        let kind = self.kind(id);
        let first = kind.free.first().filter(|_| !kind.ring.is_empty());
        let ready = first.map(|(given, ..)| (*given, id));
        let old = std::mem::replace(&mut kind.ready, ready);
        if old != ready {
            if let Some(old) = old {
                self.ready.remove(&old);
            }
            self.ready.extend(ready);
        }
    }

    /// A worker of one of these kinds that holds nothing, and has this function.
    pub(super) fn idle(&self, kinds: &[KindId]) -> Option<WorkerId> {
        let reserved = self.reserved.filter(|id| {
            let worker = &self.workers[id];
            let is_ready = worker.given.is_empty() && !worker.away;
            is_ready && worker.kind.is_some_and(|kind| kinds.contains(&kind))
        });
        let first = |kind: &KindId| self.kinds[kind].free.first().copied();
        reserved.or_else(|| {
            let place = kinds.iter().filter_map(first).min()?;
            (place.0 == 0).then_some(place.2)
        })
    }

    /// Keeps the worker of these kinds that will be empty first for a suspect.
    pub(super) fn reserve(&mut self, kinds: &[KindId]) {
        let all = kinds.iter().flat_map(|kind| &self.kinds[kind].workers);
        let busy = all.filter(|id| !self.workers[id].alone && !self.workers[id].away);
        let least = busy.min_by_key(|id| (self.workers[id].held, **id));
        if let Some(id) = least.copied() {
            self.reserved = Some(id);
            self.refresh(id);
        }
    }

    /// A worker's connection is lost, or it is back.
    pub(super) fn set_away(&mut self, id: WorkerId, away: bool) {
        self.worker(id).away = away;
        if away && self.reserved == Some(id) {
            self.reserved = None;
        }
        self.refresh(id);
    }

    /// Lets the reserved worker have other tasks again.
    pub(super) fn release(&mut self) {
        if let Some(id) = self.reserved.take() {
            self.refresh(id);
        }
    }
}

#[cfg(test)]
impl Pool {
    pub(super) fn is_empty(&self) -> bool {
        self.workers.is_empty()
            && self.kinds.is_empty()
            && self.by_functions.is_empty()
            && self.ready.is_empty()
            && self.deep.is_empty()
            && self.reserved.is_none()
    }

    pub(super) fn assert_sound(&self) {
        for (id, kind) in &self.kinds {
            assert!(!kind.workers.is_empty());
            let places = kind.workers.iter().filter_map(|id| self.workers[id].place);
            assert_eq!(places.collect::<BTreeSet<_>>(), kind.free);
            let open = self
                .workers
                .values()
                .filter_map(|worker| worker.recall.as_ref());
            let open = open.filter(|recall| recall.kind == Some(*id));
            assert_eq!(open.count(), kind.recalls);
            let ready = kind.has_free() && !kind.ring.is_empty();
            assert_eq!(ready, kind.ready.is_some());
            assert!(kind.ready.is_none_or(|ready| self.ready.contains(&ready)));
        }
        assert!(self.ready.len() <= self.kinds.len());
    }
}
