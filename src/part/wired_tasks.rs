//! Tasks that come over the pylm wire, and the thread that runs them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::attached::{Attached, Plan};
use super::push::{PREFETCH, STALL, Stall};
use super::receive::{Came, Intake};
use super::{Context, Crew, Duty, Place, Target};
use crate::bell::Bell;
use crate::error::Result;
use crate::handler::Runner;
use crate::message::{DEFAULT_MAX_MESSAGE, Frame};
use crate::socket::{Kind, Want};

/// Runs the tasks of a master that speaks the pylm wire: one thread pulls them, runs them one
/// after another, and pushes what comes of them. Nobody asks on that wire whether a worker is
/// there, so nothing needs to be said while a function runs.
pub(crate) struct WiredTasks {
    /// Where to pull from and to push to.
    pub(crate) from: Target,
    pub(crate) to: Target,
    pub(crate) runner: Arc<Runner>,
    pub(crate) max_message: usize,
}

impl WiredTasks {
    pub(crate) fn spawn(self, crew: &mut Crew) -> Result<()> {
        let bell = Bell::new()?;
        crew.spawn("Functions", Duty::Works, move |context| {
            context.wake_by(&bell);
            context.late.rings(bell.clone());
            let plan = |kind, part: &str, target, high_water| Plan {
                kind,
                part: part.to_owned(),
                topic: None,
                place: Place::Connect(target),
                max_message: DEFAULT_MAX_MESSAGE.max(self.max_message),
                high_water,
            };
            let pull = plan(Kind::Pull, "Pull", self.from, Some(PREFETCH));
            let (pull, _) = Attached::open(pull, &bell)?;
            let push = plan(Kind::Push, "Push", self.to, None);
            let (push, _) = Attached::open(push, &bell)?;
            context.ready(None)?;
            let mut working = Working {
                context,
                pull,
                at_pull: context.of("Pull"),
                intake: Intake::new(None, self.max_message, false),
                runner: &self.runner,
                results: VecDeque::new(),
                push,
                at_push: context.of("Push"),
                bell: &bell,
            };
            working.run()
        });
        Ok(())
    }
}

struct Working<'a> {
    context: &'a Context,
    pull: Attached,
    at_pull: Context,
    intake: Intake,
    runner: &'a Runner,
    results: VecDeque<Frame>,
    push: Attached,
    at_push: Context,
    bell: &'a Bell,
}

impl Working<'_> {
    fn run(&mut self) -> Result<()> {
        let result = self.run_all();
        self.intake.say_refused(&self.at_pull);
        self.at_push.say_lost(self.results.len());
        result
    }

    /// Runs what comes, until a stop.
    fn run_all(&mut self) -> Result<()> {
        while !self.context.soft.is_raised() {
            self.pull.follow(self.context);
            let socket = &mut self.pull.socket;
            match self.intake.receive(socket, &self.at_pull)? {
                Came::Message(frame) => {
                    let results = &mut self.results;
                    self.runner
                        .run(&frame, &mut |result| results.push_back(result));
                    if !self.push_all()? {
                        break;
                    }
                }
                Came::Other => {}
                Came::Nothing => {
                    let moved = || self.pull.has_moved() || self.push.has_moved();
                    let news = || self.context.soft.is_raised() || moved();
                    let socket = &self.pull.socket;
                    self.bell
                        .sleep(news, || socket.wait(Want::Read, self.bell, None))?;
                    self.push.follow(self.context);
                }
            }
        }
        Ok(())
    }

    /// Pushes the results of a function, and waits for room: until a stop, and a little longer.
    /// False when it was in vain.
    fn push_all(&mut self) -> Result<bool> {
        let (mut stall, mut last) = (None, None);
        while let Some(frame) = self.results.front_mut() {
            // Before each attempt: what is given to the old connection is lost with it.
            self.push.follow(self.context);
            if self.push.socket.try_send_frame(frame)? {
                self.results.pop_front();
                continue;
            }
            let is_late = self.context.late.is_raised();
            let now = Instant::now();
            if is_late && *last.get_or_insert_with(|| self.context.last()) <= now {
                return Ok(false);
            }
            stall.get_or_insert_with(Stall::begin).tell(&self.at_push);
            let until = last.map_or(STALL, |last| last.duration_since(now));
            let news = || self.push.has_moved() || self.context.late.is_raised() != is_late;
            let socket = &self.push.socket;
            self.bell
                .sleep(news, || socket.wait(Want::Write, self.bell, Some(until)))?;
        }
        Ok(true)
    }
}
