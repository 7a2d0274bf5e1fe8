//! A server, pipeline, sink, master or hub: its machines, and a router that does at once what
//! the parts do in their threads.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::client::{padded, text_of};
use super::dealer::{Dealer, text};
use super::net::{Arrival, Env};
use super::plan::{Does, Id, Plan};
use crate::core::custody::{Ledger, share};
use crate::core::link::{Clients, Credit, Item, Made, Post, PostSettings, StepSession};
use crate::core::queue::Settings;
use crate::core::stalled::Stalled;
use crate::core::turns::Portion;
use crate::message::link::{Envelope, Head};
use crate::message::{BUNDLE_BYTES, Failure, FailureKind, Frame};

/// How many messages wait between two parts before the first of them is to wait.
const ROOM: usize = 4;

pub(super) struct Component {
    id: Id,
    plan: Rc<Plan>,
    pub(super) post: Post,
    pub(super) steps: Vec<Dealer<StepSession>>,
    /// On their way to the functions, or to the workers.
    todo: VecDeque<Made>,
    running: Option<(Instant, Made)>,
    /// On their way out.
    out: VecDeque<Made>,
    /// What came of a task that nobody answers for: it was somebody else's result that counted.
    unanswered: Option<String>,
}

impl Component {
    pub(super) fn new(id: Id, plan: &Rc<Plan>, env: &mut Env) -> Self {
        let step = &plan.steps[id];
        let stalled = Arc::<Stalled>::default();
        let settings = PostSettings {
            epoch: env.name("epoch"),
            hold: plan.hold,
            subscribers: step.to.len().max(1),
            patience: plan.patience,
            submits: step.from.is_empty(),
            max_message: 1 << 20,
            stalled: stalled.clone(),
            workers: step.has_workers.then(|| Settings {
                max_attempts: plan.max_attempts,
                ..Settings::default()
            }),
        };
        let mut post = Post::new(settings, Ledger::new(|| {}));
        post.set_client_credit(plan.credit);
        let steps = step.from.iter().enumerate().map(|(number, from)| {
            let session = StepSession::new(
                env.name("step"),
                step.name.as_str(),
                plan.steps[*from].name.as_str(),
                Credit {
                    messages: plan.step_credit,
                    bytes: plan.hold as u64,
                },
                Ledger::new(|| {}),
                stalled.clone(),
            );
            Dealer::new(id, number, *from, session, env.now)
        });
        Self {
            id,
            plan: plan.clone(),
            post,
            steps: steps.collect(),
            todo: VecDeque::new(),
            running: None,
            out: VecDeque::new(),
            unanswered: None,
        }
    }

    pub(super) fn receive(&mut self, arrival: Arrival, env: &mut Env) {
        match arrival {
            Arrival::Up(conn, Envelope { head, frames }) => {
                self.post.receive(env.number(conn), head, frames, env.now);
            }
            Arrival::Down(socket, envelope) => {
                let line = env.sockets[socket].line;
                self.steps[line].receive(socket, envelope, env.now);
            }
        }
    }

    /// Does what there is to do. Gives when to come again.
    pub(super) fn run(&mut self, env: &mut Env) -> Instant {
        let mut again = env.now + Duration::from_secs(1_000_000);
        loop {
            let mut moved = self.route(env);
            self.post.tick(env.now);
            moved |= self.route(env);
            again = self
                .steps
                .iter_mut()
                .fold(again, |again, step| again.min(step.run(env)));
            moved |= self.say(env);
            if !moved {
                break;
            }
        }
        let mut again = self
            .steps
            .iter_mut()
            .fold(again, |again, step| again.min(step.run(env)));
        if let Some(deadline) = self.post.deadline(env.now) {
            again = again.min(deadline);
        }
        if let Some((end, _)) = &self.running {
            again = again.min(*end);
        }
        again
    }

    /// What the router and the functions do. Whether there was anything.
    fn route(&mut self, env: &mut Env) -> bool {
        let mut moved = false;
        while self.out.len() < ROOM
            && let Some(made) = self.post.next_result(self.is_plain())
        {
            moved = true;
            if made.ticket.is_none() && self.unanswered.is_none() {
                self.unanswered = Some(text_of(&made.frame));
            }
            let is_plain = made.frame.is_failure() || self.is_plain();
            if is_plain || self.plan.gathered(self.id, &text_of(&made.frame)) {
                self.out.push_back(made);
            } else if let Some(ticket) = made.ticket {
                ticket.done();
            }
        }
        while self.out.len() < ROOM
            && self.todo.len() < ROOM
            && let Some(made) = self.next_in(env)
        {
            moved = true;
            self.take_in(made);
        }
        moved |= self.work(env);
        while !self.post.is_full()
            && let Some(made) = self.out.pop_front()
        {
            moved = true;
            match self.plan.steps[self.id].to.is_empty() {
                true => self.post.give_client(made, env.now),
                false => self
                    .post
                    .give_step(&self.plan.steps[self.id].name, made, env.now),
            }
        }
        moved
    }

    /// Whether bundles go through it as they are: there are workers who run them, and no hook.
    fn is_plain(&self) -> bool {
        let step = &self.plan.steps[self.id];
        step.has_workers && !step.scatters && !step.gathers
    }

    fn next_in(&mut self, env: &mut Env) -> Option<Made> {
        let portion = match self.is_plain() {
            true if env.rng.one_in(4) => Portion {
                at_once: env.rng.between(1, 5),
                in_a_row: env.rng.between(1, 20),
            },
            true => Portion::ANY,
            false => Portion::SINGLES,
        };
        if let Some(Item { frame, ticket }) = self.post.next_submitted(portion) {
            let ticket = Some(ticket);
            return Some(Made { frame, ticket });
        }
        self.steps
            .iter_mut()
            .find_map(|step| step.line.party_mut().next(portion))
    }

    /// A message comes from the side of the clients, or a bundle.
    fn take_in(&mut self, made: Made) {
        if made.frame.is_failure() {
            return self.out.push_back(made);
        }
        if self.is_plain() {
            return self.todo.push_back(made);
        }
        let Made { frame, ticket } = made;
        let parts = self.plan.scattered(self.id, &text_of(&frame));
        let parts = parts.iter().map(|text| Made {
            frame: frame.with_payload(&padded(text, &self.plan)),
            ticket: None,
        });
        let mut parts: Vec<Made> = parts.collect();
        share(ticket, parts.iter_mut());
        self.todo.extend(parts);
    }

    /// Gives the workers what there is to do, or does it.
    fn work(&mut self, env: &mut Env) -> bool {
        let mut moved = false;
        if self.plan.steps[self.id].has_workers {
            while !self.post.is_busy()
                && let Some(made) = self.todo.pop_front()
            {
                moved = true;
                self.post.work(made, env.now);
            }
            return moved;
        }
        while self.out.len() < ROOM {
            if self.running.is_none()
                && let Some(made) = self.todo.pop_front()
            {
                let time = env.rng.time(self.plan.work);
                self.running = Some((env.now + time, made));
            }
            let Some((_, made)) = self.running.take_if(|(end, _)| *end <= env.now) else {
                break;
            };
            moved = true;
            let mut results: Vec<Made> = results(&self.plan, self.id, &made.frame)
                .into_iter()
                .map(|frame| Made {
                    frame,
                    ticket: None,
                })
                .collect();
            share(made.ticket, results.iter_mut());
            self.out.extend(results);
        }
        moved
    }

    /// Says what there is to be said. Whether somebody turned out to be gone.
    fn say(&mut self, env: &mut Env) -> bool {
        let mut unsaid: BTreeMap<u64, Vec<Box<Head>>> = BTreeMap::new();
        for (number, envelope) in self.post.take(env.now) {
            if let Some(heads) = unsaid.get_mut(&number) {
                heads.push(envelope.head);
                continue;
            }
            env.say(|| format!("{} says over {number}: {}", self.id, text(&envelope)));
            let given = envelope.head.tasks.is_some();
            let tasks = envelope.frames.iter().filter(|_| given);
            let tasks = tasks.flat_map(|frame| (0..frame.count()).map(|at| frame.single(at)));
            let tasks: Vec<_> = tasks.map(|frame| text_of(&frame)).collect();
            if let Some(envelope) = env.send_down(number, envelope) {
                env.say(|| format!("{} finds {number} gone", self.id));
                unsaid.insert(number, vec![envelope.head]);
                continue;
            }
            for task in tasks {
                env.given.entry((task, self.id)).or_default().insert(number);
            }
        }
        for (number, heads) in &unsaid {
            self.post.unreachable(*number, heads, env.now);
        }
        !unsaid.is_empty()
    }

    /// Ends, and says so. What is inside is lost, and not done by that.
    pub(super) fn leave(&mut self, env: &mut Env) {
        self.todo.clear();
        self.running = None;
        self.out.clear();
        self.post.tick(env.now);
        self.post.leave();
        self.say(env);
        self.steps.iter_mut().for_each(|step| step.leave(env));
    }

    /// What is too much, or is kept though nothing is to be done any more.
    pub(super) fn excess(&self) -> Option<String> {
        if let Some(text) = &self.unanswered {
            return Some(format!("{} takes a late result: {text}", self.id));
        }
        // A message is let in while there is any room, and then goes to several.
        let message = self.plan.size + 1_000;
        // Where the credit is as large as that, it may be a bundle.
        let most = match self.plan.credit.max(self.plan.step_credit) {
            ..8 => message,
            _ => message.max(2 * BUNDLE_BYTES),
        };
        let slack = (ROOM + 4) * 4 * most * self.plan.steps[self.id].to.len().max(1);
        let kept = self.post.outlets().bytes();
        let most = (self.plan.hold + slack) as u64;
        if kept > most {
            return Some(format!(
                "{} keeps {kept} bytes, and {most} are allowed",
                self.id
            ));
        }
        let open = self
            .steps
            .iter()
            .map(|step| step.line.party().unsettled())
            .max();
        let open = open.unwrap_or(0) as u64;
        // Each client may have something beside what others have.
        let most = self.plan.step_credit.max(1);
        let beside = self.plan.clients.len() as u64 * (most / 4).max(1);
        if open > most + beside {
            return Some(format!("{} has {open} messages open", self.id));
        }
        let open = self.post.clients().map_or(0, Clients::most_open);
        // What it submits, and what it knows to be done as soon as it acknowledges the outputs.
        (open > 2 * self.plan.credit.max(1))
            .then(|| format!("{} has {open} messages of a client open", self.id))
    }

    /// The same of what it has of earlier steps, and which those are.
    pub(super) fn open(&self) -> impl Iterator<Item = (Id, String)> + '_ {
        let steps = self.plan.steps[self.id].from.iter().zip(&self.steps);
        steps.filter_map(|(from, step)| Some((*from, step.line.party().left()?)))
    }

    /// What is left when everything is over.
    pub(super) fn left(&self) -> Vec<String> {
        let mut left = self.post.left();
        let own = [
            ("to do", self.todo.len()),
            ("running", self.running.iter().len()),
            ("going out", self.out.len()),
        ];
        left.extend(
            own.into_iter()
                .filter(|(_, count)| *count > 0)
                .map(|(what, count)| format!("{count} {what}")),
        );
        left
    }
}

/// What the function of a step makes of a message.
pub(super) fn results(plan: &Plan, step: Id, frame: &Frame) -> Vec<Frame> {
    match plan.done(step, &text_of(frame)) {
        Does::Gives(all) | Does::KillsOnce(all) => {
            let all = all
                .iter()
                .map(|text| frame.with_payload(&padded(text, plan)));
            all.collect()
        }
        Does::Fails(cause) => {
            vec![frame.with_failure(&Failure::new(FailureKind::Function, cause))]
        }
        Does::Kills => Vec::new(),
    }
}
