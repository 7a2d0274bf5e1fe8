//! The threads of a component: started together, ended together.
//!
//! ```text
//! spawn ─► every part opens its socket ─► ready ─► all are: presets ─► go ─► they work
//!                     │ one cannot                                          │
//!                     └─► the others are stopped, start() gives the error   │
//! stop(), or a part that dies ◄─────────────────────────────────────────────┘
//!   1. soft: sources take no more. What is inside runs on to the sinks, part by part, as
//!      each channel ends when those who send into it are gone.
//!   2. late, when the grace is over: a function that runs is finished, no other is begun.
//!   3. hard, when all that carry messages have ended, or the grace is over and no function
//!      runs any more: everybody ends.
//!   4. joined; wait() gives the first cause.
//! ```

use std::collections::BTreeMap;
use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, select};

use super::running::{Cause, Running, Shared};
use super::signal::Signal;
use crate::address::Addresses;
use crate::bell::Bell;
use crate::core::complaints::Complaints;
use crate::core::stalled::Stalled;
use crate::error::{Error, Result};
use crate::handler::panic_text;
use crate::socket::schedule;

/// How long what is inside a component may take to get out when it is stopped.
const GRACE: Duration = Duration::from_millis(250);

/// How long the last result of a function that ran on after that may take.
const LAST: Duration = Duration::from_millis(150);

/// What a part's thread has of its component.
pub(crate) struct Context {
    pub(crate) component: String,
    pub(crate) part: String,
    /// Sources take no more.
    pub(crate) soft: Signal,
    /// Those who work take up nothing new.
    pub(crate) late: Signal,
    /// Everybody ends.
    pub(crate) hard: Signal,
    events: Sender<Event>,
    go: Signal,
    /// Whether it ends because others have.
    deserted: AtomicBool,
}

impl Context {
    /// Says that the part is open, and waits until all are.
    ///
    /// # Errors
    /// [`Error::Stopped`] when another could not be opened.
    pub(crate) fn ready(&self, bound: Option<String>) -> Result<()> {
        match &bound {
            Some(address) => {
                log::info!(target: &self.component, "starting part {} at {address}", self.part);
            }
            None => log::info!(target: &self.component, "starting part {}", self.part),
        }
        let part = self.part.clone();
        let _ = self.events.send(Event::Ready { part, bound });
        select! {
            recv(self.go.raised()) -> _ => {}
            recv(self.hard.raised()) -> _ => {}
        }
        // If all are open, and a stop came before this thread could begin: it may have something
        // already, of which it is to see to it that it gets on, or to say that it did not.
        match self.go.is_raised() {
            true => Ok(()),
            false => Err(self.stopped()),
        }
    }

    /// The same, under the name of a part that this thread does the work of, too.
    pub(crate) fn of(&self, part: &str) -> Self {
        Self {
            component: self.component.clone(),
            part: part.to_owned(),
            soft: self.soft.clone(),
            late: self.late.clone(),
            hard: self.hard.clone(),
            events: self.events.clone(),
            go: self.go.clone(),
            deserted: AtomicBool::new(false),
        }
    }

    /// Tells what such a part has bound. Before the thread is [`ready`](Self::ready).
    pub(crate) fn has_bound(&self, address: String) {
        log::info!(target: &self.component, "starting part {} at {address}", self.part);
        let _ = self.events.send(Event::Bound {
            part: self.part.clone(),
            address,
        });
    }

    /// Has both signals ring a part's bell.
    pub(crate) fn wake_by(&self, bell: &Arc<Bell>) {
        self.soft.rings(bell.clone());
        self.hard.rings(bell.clone());
    }

    /// Says that messages which were taken did not get out before the end.
    pub(crate) fn say_lost(&self, messages: usize) {
        if messages > 0 {
            let (name, part) = (&self.component, &self.part);
            log::warn!(target: name, "{part} ended with {messages} messages that did not get on");
        }
    }

    /// Logs that something from a peer is refused, unless that peer had such a line just now.
    pub(crate) fn refuse(&self, complaints: &mut Complaints, peer: &str, why: impl Display) {
        if let Some(more) = complaints.note(peer, Instant::now()) {
            let (name, part) = (&self.component, &self.part);
            log::warn!(target: name, "{part} refused from {peer}: {why}{more}");
        }
    }

    /// The end of a part that cannot go on because those are gone that it gives to, or takes
    /// from: in order after a stop. The cause may be another part's death, of which is heard
    /// later; then that is the one to tell.
    pub(crate) fn deserted(&self, why: &str) -> Result<()> {
        if self.soft.is_raised() {
            return Ok(());
        }
        self.deserted.store(true, Ordering::SeqCst);
        Err(Error::died(&self.part, why))
    }

    /// Until when the last result may be sent after a stop.
    pub(crate) fn last(&self) -> Instant {
        Instant::now() + LAST
    }

    pub(crate) fn stopped(&self) -> Error {
        Error::Stopped {
            component: self.component.clone(),
        }
    }
}

enum Event {
    /// A part that has no thread of its own has bound an address.
    Bound {
        part: String,
        address: String,
    },
    Ready {
        part: String,
        bound: Option<String>,
    },
    Ended {
        id: usize,
        result: Result<()>,
        /// Whether it ended because others had.
        deserted: bool,
    },
}

/// Why a component has ended, if it was not a stop.
#[derive(Default)]
struct Causes {
    first: Option<Cause>,
    /// Of a part that ended because another had.
    deserted: Option<Cause>,
}

/// Whether a thread carries messages or only serves those that do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Duty {
    /// It carries messages: a stop waits for it to hand them on, for some time.
    Carries,
    /// It runs functions: a stop waits for the one that runs, however long.
    Works,
    /// It serves until the others have ended.
    Serves,
}

/// A component's threads while they are being started. (Public for the sake of the trait of the
/// parts, but named nowhere outside.)
pub struct Crew {
    name: String,
    soft: Signal,
    late: Signal,
    hard: Signal,
    events: (Sender<Event>, Receiver<Event>),
    go: Signal,
    members: Vec<Member>,
    failed: Option<Error>,
    /// What is to be true when all are spawned.
    demands: Vec<Box<dyn FnOnce() -> Result<()> + Send>>,
    stalled: Arc<Stalled>,
}

struct Member {
    id: usize,
    part: String,
    duty: Duty,
    thread: Option<JoinHandle<()>>,
}

impl Crew {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            soft: Signal::new(),
            late: Signal::new(),
            hard: Signal::new(),
            events: crossbeam_channel::unbounded(),
            go: Signal::new(),
            members: Vec::new(),
            failed: None,
            demands: Vec::new(),
            stalled: Arc::default(),
        }
    }

    /// The name of the component.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whose messages are better not run: its parts tell each other by this.
    pub(crate) fn stalled(&self) -> &Arc<Stalled> {
        &self.stalled
    }

    /// Is raised when the component is to stop.
    pub(crate) fn soft(&self) -> &Signal {
        &self.soft
    }

    /// Has the start fail unless something is true when all are spawned.
    pub(crate) fn demand(&mut self, demand: impl FnOnce() -> Result<()> + Send + 'static) {
        self.demands.push(Box::new(demand));
    }

    /// Starts a part's thread. It opens what it needs, calls [`Context::ready`], and works.
    pub(crate) fn spawn(
        &mut self,
        part: &str,
        duty: Duty,
        work: impl FnOnce(&Context) -> Result<()> + Send + 'static,
    ) {
        if self.failed.is_some() {
            return;
        }
        let context = Context {
            component: self.name.clone(),
            part: part.to_owned(),
            soft: self.soft.clone(),
            late: self.late.clone(),
            hard: self.hard.clone(),
            events: self.events.0.clone(),
            go: self.go.clone(),
            deserted: AtomicBool::new(false),
        };
        let id = self.members.len();
        let body = move || {
            if duty == Duty::Carries {
                schedule::carry();
            }
            let result = catch_unwind(AssertUnwindSafe(|| work(&context)))
                .unwrap_or_else(|panic| Err(Error::died(&context.part, panic_text(&*panic))));
            let deserted = context.deserted.load(Ordering::SeqCst);
            let _ = context.events.send(Event::Ended {
                id,
                result,
                deserted,
            });
        };
        let name = format!("palm:{}", part.to_lowercase());
        match std::thread::Builder::new().name(name).spawn(body) {
            Ok(thread) => self.members.push(Member {
                id,
                part: part.to_owned(),
                duty,
                thread: Some(thread),
            }),
            Err(error) => self.failed = Some(Error::system("a thread cannot be started")(error)),
        }
    }

    /// Waits until every part is ready, calls `preset` with what they bound, and lets them work.
    ///
    /// # Errors
    /// The first error of a part or of `preset`; all threads have ended then.
    pub(crate) fn start(
        mut self,
        preset: impl FnOnce(&BTreeMap<String, String>) -> Result<Addresses>,
    ) -> Result<Running> {
        let mut demands = std::mem::take(&mut self.demands).into_iter();
        let is_whole = demands.try_for_each(|demand| demand());
        let started = match self.failed.take() {
            Some(error) => Err(error),
            None => is_whole.and_then(|()| self.all_ready()),
        };
        // On an error, dropping the crew ends its threads.
        let bound = started?;
        let addresses = preset(&bound)?;
        self.supervise(addresses, bound)
    }

    fn all_ready(&self) -> Result<BTreeMap<String, String>> {
        let mut bound = BTreeMap::new();
        let mut ready = 0;
        while ready < self.members.len() {
            match self.events.1.recv() {
                Ok(Event::Bound { part, address }) => drop(bound.insert(part, address)),
                Ok(Event::Ready { part, bound: at }) => {
                    bound.extend(at.map(|at| (part, at)));
                    ready += 1;
                }
                Ok(Event::Ended { id, result, .. }) => {
                    let part = self.members.iter().find(|member| member.id == id);
                    let part = part.map_or("", |member| &member.part);
                    return Err(result
                        .err()
                        .unwrap_or_else(|| Error::died(part, "it ended")));
                }
                Err(_) => break, // Cannot be: `self` has a sender.
            }
        }
        Ok(bound)
    }

    fn supervise(
        mut self,
        addresses: Addresses,
        bound: BTreeMap<String, String>,
    ) -> Result<Running> {
        let shared = Shared::new(&self.name, self.soft.clone());
        let name = format!("palm:{}", self.name);
        let ending = shared.clone();
        let body = move || {
            self.go.raise();
            let cause = self.watch();
            ending.end(cause);
        };
        match std::thread::Builder::new().name(name).spawn(body) {
            Ok(_) => Ok(Running::new(shared, addresses, bound)),
            Err(error) => Err(Error::system("a thread cannot be started")(error)),
        }
    }

    /// Sees the threads to their end, and gives the cause if it was not a stop.
    fn watch(&mut self) -> Option<Cause> {
        let mut causes = Causes::default();
        // When patience with those who carry ends.
        let mut end: Option<Instant> = None;
        while !self.members.is_empty() {
            let worked = self.has(Duty::Works);
            if let Some(Event::Ended {
                id,
                result,
                deserted,
            }) = self.next_event(end)
            {
                let cause = match deserted {
                    true => &mut causes.deserted,
                    false => &mut causes.first,
                };
                self.note_end(id, result, cause);
                self.soft.raise();
            }
            if self.soft.is_raised() && end.is_none() {
                end = Some(Instant::now() + GRACE);
            }
            if worked && !self.has(Duty::Works) {
                // The last result has just come.
                end = end.max(Some(Instant::now() + LAST));
            }
            let is_late = end.is_some_and(|end| end <= Instant::now());
            if is_late {
                self.late.raise();
            }
            if is_late && self.has(Duty::Works) {
                // The function that runs, and then its result: however long it takes.
                end = Some(Instant::now() + LAST);
            } else if is_late || self.soft.is_raised() && !self.carries() {
                self.hard.raise();
            }
        }
        causes.first.or(causes.deserted)
    }

    fn has(&self, duty: Duty) -> bool {
        self.members.iter().any(|member| member.duty == duty)
    }

    fn carries(&self) -> bool {
        self.has(Duty::Carries) || self.has(Duty::Works)
    }

    fn next_event(&self, hard_at: Option<Instant>) -> Option<Event> {
        match hard_at {
            None => select! {
                recv(self.events.1) -> event => event.ok(),
                recv(self.soft.raised()) -> _ => None,
            },
            Some(_) if self.hard.is_raised() => self.events.1.recv().ok(),
            Some(at) => self.events.1.recv_deadline(at).ok(),
        }
    }

    /// Forgets a thread that has ended, and keeps its cause if it is the first.
    fn note_end(&mut self, id: usize, result: Result<()>, cause: &mut Option<Cause>) {
        let Some(index) = self.members.iter().position(|member| member.id == id) else {
            return; // Cannot be: each ends once.
        };
        let mut member = self.members.swap_remove(index);
        member.join();
        let part = member.part;
        let reason = match result {
            // Asked to end, or at the end of its channel.
            Ok(()) | Err(Error::Stopped { .. }) => return,
            Err(Error::Died { cause, .. }) => cause,
            Err(error) => error.to_string(),
        };
        log::error!(target: &self.name, "part {part} died: {reason}");
        cause.get_or_insert(Cause { part, reason });
    }
}

impl Member {
    fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            // A panic was caught inside and told as an event.
            let _ = thread.join();
        }
    }
}

impl Drop for Crew {
    /// Ends the threads of a component that did not come to be.
    fn drop(&mut self) {
        if !self.members.is_empty() {
            self.soft.raise();
            self.late.raise();
            self.hard.raise();
            self.members.iter_mut().for_each(Member::join);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn none(_: &BTreeMap<String, String>) -> Result<Addresses> {
        Ok(Addresses::default())
    }

    fn until_soft(context: &Context) -> Result<()> {
        context.ready(None)?;
        let _ = context.soft.raised().recv();
        Ok(())
    }

    fn until_hard(context: &Context) -> Result<()> {
        context.ready(None)?;
        let _ = context.hard.raised().recv();
        Ok(())
    }

    #[test]
    fn a_stop_ends_carriers_first_and_is_idempotent() {
        let mut crew = Crew::new("test");
        crew.spawn("a", Duty::Carries, until_soft);
        crew.spawn("b", Duty::Serves, until_hard);
        let running = crew.start(none).unwrap();
        assert!(!running.is_over());
        running.stopper().stop();
        running.stop().unwrap();
        running.stop().unwrap();
        assert!(running.is_over());
    }

    #[test]
    fn a_part_that_has_not_begun_before_a_stop_ends_in_its_own_way() {
        let mut crew = Crew::new("test");
        let (tell, told) = crossbeam_channel::bounded(1);
        crew.spawn("slow", Duty::Serves, move |context| {
            until_hard(context)?;
            // As if it had slept over all that.
            let _ = tell.send(context.ready(None).is_ok());
            Ok(())
        });
        crew.start(none).unwrap().stop().unwrap();
        assert!(told.recv().unwrap());
    }

    #[test]
    fn a_carrier_that_does_not_get_rid_of_its_messages_is_ended_after_the_grace() {
        let mut crew = Crew::new("test");
        crew.spawn("stuck", Duty::Carries, until_hard);
        let running = crew.start(none).unwrap();
        let before = Instant::now();
        running.stop().unwrap();
        assert!(before.elapsed() >= GRACE);
    }

    #[test]
    fn a_result_that_comes_just_before_the_end_of_the_grace_has_its_time_to_get_out() {
        let mut crew = Crew::new("test");
        let (done, result) = crossbeam_channel::bounded::<()>(1);
        let (got_out, out) = crossbeam_channel::bounded(1);
        crew.spawn("works", Duty::Works, move |context| {
            context.ready(None)?;
            let _ = context.soft.raised().recv();
            std::thread::sleep(GRACE - Duration::from_millis(20));
            drop(done);
            Ok(())
        });
        crew.spawn("carries", Duty::Carries, move |context| {
            context.ready(None)?;
            let _ = result.recv();
            let _ = context.hard.raised().recv_timeout(LAST / 2);
            let _ = got_out.send(!context.hard.is_raised());
            Ok(())
        });
        let running = crew.start(none).unwrap();
        running.stop().unwrap();
        assert!(out.recv().unwrap());
    }

    #[test]
    fn the_first_part_that_dies_ends_the_component_with_its_cause() {
        let mut crew = Crew::new("test");
        crew.spawn("good", Duty::Carries, until_soft);
        crew.spawn("bad", Duty::Serves, |context| {
            context.ready(None)?;
            panic!("out of luck");
        });
        let running = crew.start(none).unwrap();
        let error = running.wait().unwrap_err();
        assert_eq!(error.to_string(), "part bad died: out of luck");
        assert_eq!(running.stop().unwrap_err().to_string(), error.to_string());
    }

    #[test]
    fn a_part_that_others_have_left_is_the_cause_only_if_there_is_no_other() {
        let deserted = |context: &Context| {
            context.ready(None)?;
            context.deserted("nobody is there")
        };
        for (other_dies, cause) in [
            (true, "part bad died: x"),
            (false, "part left died: nobody is there"),
        ] {
            let mut crew = Crew::new("test");
            crew.spawn("left", Duty::Carries, deserted);
            crew.spawn("bad", Duty::Carries, move |context| {
                until_soft(context)?;
                match other_dies {
                    true => Err(Error::died(&context.part, "x")),
                    false => Ok(()),
                }
            });
            let running = crew.start(none).unwrap();
            assert_eq!(running.wait().unwrap_err().to_string(), cause);
        }
        let mut crew = Crew::new("test");
        crew.spawn("left", Duty::Carries, |context| {
            until_soft(context)?;
            context.deserted("nobody is there")
        });
        crew.start(none).unwrap().stop().unwrap();
    }

    #[test]
    fn a_part_that_cannot_open_is_the_error_of_the_start() {
        let mut crew = Crew::new("test");
        crew.spawn("good", Duty::Carries, until_soft);
        crew.spawn("bad", Duty::Carries, |_| {
            Err(Error::Address {
                address: "here".into(),
                reason: "nowhere".into(),
            })
        });
        let error = crew.start(none).unwrap_err();
        assert!(matches!(error, Error::Address { .. }), "{error}");
    }

    #[test]
    fn a_failing_preset_is_the_error_of_the_start() {
        let mut crew = Crew::new("test");
        crew.spawn("good", Duty::Carries, until_soft);
        let preset =
            |_: &BTreeMap<String, String>| Err(Error::system("x")(std::io::Error::other("y")));
        assert!(crew.start(preset).is_err());
    }
}
