//! A worker: its machine, and the function that takes its time.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::client::text_of;
use super::component::results;
use super::dealer::Dealer;
use super::net::{Arrival, Env};
use super::plan::{Does, Id, Plan};
use crate::core::link::WorkerSession;
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
    since: Instant,
    until: Instant,
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
            if let Some(task) = self.running.take_if(|task| task.until <= env.now) {
                let text = text_of(&task.frame);
                match self.plan.done(self.step, &text) {
                    Does::Kills => return Goes::Dies,
                    Does::KillsOnce(_) if killed.insert(text) => return Goes::Dies,
                    _ => {}
                }
                let results = results(&self.plan, self.step, &task.frame);
                let ran = task.until - task.since;
                self.dealer.line.party_mut().finished(task.id, ran, results);
            }
            if self.running.is_some() {
                break;
            }
            let Some((id, frame)) = self.dealer.line.party_mut().next() else {
                break;
            };
            let time = env.rng.time(self.plan.work).max(Duration::from_micros(1));
            *runs.entry((self.step, text_of(&frame))).or_default() += 1;
            env.say(|| format!("{} runs {} for {time:?}", self.id, text_of(&frame)));
            self.running = Some(Running {
                id,
                frame,
                since: env.now,
                until: env.now + time,
            });
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
