//! Tasks that come over the palm link, and the thread that runs them.

use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, select};
use parking_lot::Mutex;

use super::signal::Signal;
use super::{Context, Crew, Dealer, Duty, Find};
use crate::bell::Bell;
use crate::core::link::{Party, WorkerSession};
use crate::error::Result;
use crate::handler::Runner;
use crate::message::Frame;
use crate::message::link::{Head, Hello, Outgoing, Welcome};

/// Runs the tasks of a master: one thread is there for the master, another runs functions. So
/// however long a function takes, its worker is heard of.
pub(crate) struct TaskLink {
    pub(crate) session: WorkerSession,
    /// Where the master's link is.
    pub(crate) find: Find,
    pub(crate) runner: Arc<Runner>,
    pub(crate) max_message: usize,
}

impl TaskLink {
    pub(crate) fn spawn(self, crew: &mut Crew) -> Result<()> {
        let bell = Bell::new()?;
        let session = Arc::new(Mutex::new(self.session));
        let (tell, told) = crossbeam_channel::bounded(1);
        let dealer = Dealer {
            name: "Link".to_owned(),
            party: Tasks {
                session: session.clone(),
                tell,
                soft: crew.soft().clone(),
            },
            find: self.find,
            max_message: self.max_message,
        };
        dealer.spawn(crew, Duty::Carries, bell.clone());
        let runner = self.runner;
        crew.spawn("Functions", Duty::Works, move |context| {
            context.ready(None)?;
            run(context, &session, &told, &runner, &bell);
            Ok(())
        });
        Ok(())
    }
}

/// Runs one task after another, until a stop.
fn run(
    context: &Context,
    session: &Mutex<WorkerSession>,
    told: &Receiver<()>,
    runner: &Runner,
    bell: &Bell,
) {
    while !context.soft.is_raised() {
        let next = session.lock().next();
        let Some((id, frame)) = next else {
            select! {
                recv(told) -> _ => {}
                recv(context.soft.raised()) -> _ => {}
            }
            continue;
        };
        let start = Instant::now();
        let mut results = Vec::new();
        runner.run(&frame, &mut |result| results.push(result));
        session.lock().finished(id, start.elapsed(), results);
        bell.announce();
    }
}

/// The session, as the connection's thread knows it.
struct Tasks {
    session: Arc<Mutex<WorkerSession>>,
    /// Says that there are tasks.
    tell: Sender<()>,
    soft: Signal,
}

impl Party for Tasks {
    fn hello(&mut self) -> Hello {
        self.session.lock().hello()
    }

    fn welcomed(&mut self, welcome: Welcome, out: &mut Outgoing, now: Instant) {
        self.session.lock().welcomed(welcome, out, now);
    }

    fn heard(&mut self, head: Head, frames: Vec<Frame>, out: &mut Outgoing, now: Instant) {
        let mut session = self.session.lock();
        session.heard(head, frames, out, now);
        if session.has_next() {
            // Once is enough, however often.
            let _ = self.tell.try_send(());
        }
    }

    fn lost(&mut self, now: Instant) {
        self.session.lock().lost(now);
    }

    fn speak(&mut self, out: &mut Outgoing, now: Instant) {
        self.session.lock().speak(out, now);
    }

    /// The signal wakes the thread, which asks this first.
    fn is_over(&self) -> bool {
        let mut session = self.session.lock();
        if self.soft.is_raised() {
            session.drain();
        }
        session.is_over()
    }
}
