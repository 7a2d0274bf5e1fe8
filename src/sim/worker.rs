//! A worker: its machine, and the function that takes its time.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::client::text_of;
use super::component::results;
use super::dealer::Dealer;
use super::net::{Arrival, Env};
use super::plan::{Does, Id, Plan};
use crate::core::link::{Progress, WorkerSession};
use crate::message::Frame;
use crate::message::link::TaskId;

pub(super) struct Worker {
    id: Id,
    step: Id,
    plan: Rc<Plan>,
    dealer: Dealer<WorkerSession>,
    running: Option<Running>,
}

struct Running {
    id: TaskId,
    frame: Frame,
    /// Of a bundle.
    progress: Option<Arc<Progress>>,
    /// When the message began that runs, and when it ends.
    since: Instant,
    until: Instant,
}

impl Running {
    /// The message that runs.
    fn message(&self) -> Frame {
        let progress = self.progress.as_ref();
        progress.map_or_else(|| self.frame.clone(), |progress| progress.running())
    }

    /// The next message begins to run.
    fn begin(&mut self, env: &mut Env, plan: &Plan, (id, step): (Id, Id), runs: &mut Runs) {
        let time = env.rng.time(plan.work).max(Duration::from_micros(1));
        let text = text_of(&self.message());
        env.say(|| format!("{id} runs {text} for {time:?}"));
        *runs.entry((step, text)).or_default() += 1;
        (self.since, self.until) = (env.now, env.now + time);
    }
}

/// How often each message was run, and where.
pub(super) type Runs = BTreeMap<(Id, String), usize>;

/// How a worker goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goes {
    On(Instant),
    /// Its function killed it.
    Dies,
    /// It was to leave, and has.
    Leaves,
}

impl Worker {
    pub(super) fn new(id: Id, plan: &Rc<Plan>, env: &mut Env) -> Self {
        let spec = &plan.workers[id - plan.steps.len()];
        let name = env.name("worker");
        let session = WorkerSession::new(name.clone(), name, spec.functions.clone());
        Self {
            id,
            step: spec.master,
            plan: plan.clone(),
            dealer: Dealer::new(id, 0, spec.master, session, env.now),
            running: None,
        }
    }

    pub(super) fn receive(&mut self, arrival: Arrival, env: &mut Env) {
        if let Arrival::Down(socket, envelope) = arrival {
            self.dealer.receive(socket, envelope, env.now);
        }
    }

    pub(super) fn drain(&mut self) {
        self.dealer.line.party_mut().drain();
    }

    /// Does what there is to do. `killed` has what has killed somebody before.
    pub(super) fn run(
        &mut self,
        env: &mut Env,
        killed: &mut BTreeSet<String>,
        runs: &mut Runs,
    ) -> Goes {
        loop {
            if let Some(task) = self.running.as_mut().filter(|task| task.until <= env.now) {
                let frame = task.message();
                let text = text_of(&frame);
                match self.plan.done(self.step, &text) {
                    Does::Kills => return Goes::Dies,
                    Does::KillsOnce(_) if killed.insert(text) => return Goes::Dies,
                    _ => {}
                }
                let results = results(&self.plan, self.step, &frame);
                let session = self.dealer.line.party_mut();
                let goes_on = match &task.progress {
                    None => {
                        session.finished(task.id, env.now - task.since, results);
                        false
                    }
                    Some(progress) => {
                        let next = progress.ran(|parts| match results.as_slice() {
                            [one] if !one.is_failure() => parts.one(one.payload(), env.now),
                            _ => parts.other(results, env.now),
                        });
                        // At any time, and whenever it is to be.
                        if next.is_due || env.rng.one_in(4) {
                            session.gather();
                        }
                        next.goes_on
                    }
                };
                if goes_on {
                    task.begin(env, &self.plan, (self.id, self.step), runs);
                } else {
                    self.running = None;
                }
                continue;
            }
            if self.running.is_some() {
                break;
            }
            let session = self.dealer.line.party_mut();
            let Some((id, frame)) = session.next() else {
                break;
            };
            let is_bundle = frame.count() > 1;
            let progress = is_bundle.then(|| session.begin_bundle(frame.clone(), env.now, env.now));
            let mut task = Running {
                id,
                frame,
                progress,
                since: env.now,
                until: env.now,
            };
            task.begin(env, &self.plan, (self.id, self.step), runs);
            self.running = Some(task);
        }
        let over =
            |dealer: &Dealer<WorkerSession>| crate::core::link::Party::is_over(dealer.line.party());
        if over(&self.dealer) {
            self.dealer.leave(env);
            return Goes::Leaves;
        }
        let again = self.dealer.run(env);
        let ends = self.running.as_ref().map(|task| task.until);
        Goes::On(ends.map_or(again, |end| end.min(again)))
    }

    pub(super) fn master(&self) -> Id {
        self.step
    }

    pub(super) fn left(&self) -> Option<String> {
        let held = self.dealer.line.party().held();
        (held > 0).then(|| format!("{held} tasks"))
    }
}
