//! The threads of a component: started together, ended together.
//!
//! ```text
//! spawn ─► every part opens its socket ─► ready ─► all are: presets ─► go ─► they work
//!                     │ one cannot                                          │
//!                     └─► the others are stopped, start() gives the error   │
//! stop(), or a part that dies ◄─────────────────────────────────────────────┘
//!   1. soft: sources take no more. What is inside runs on to the sinks, part by part, as
//!      each channel ends when those who send into it are gone.
//!   2. hard, when all that carry messages have ended or the grace is over: everybody ends.
//!   3. joined; wait() gives the first cause.
//! ```

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, select};

use super::running::{Cause, Running, Shared};
use super::signal::Signal;
use crate::address::Addresses;
use crate::bell::Bell;
use crate::error::{Error, Result};
use crate::handler::panic_text;

/// How long what is inside a component may take to get out when it is stopped.
const GRACE: Duration = Duration::from_millis(400);

/// What a part's thread has of its component.
pub(crate) struct Context {
    pub(crate) component: String,
    pub(crate) part: String,
    /// Sources take no more.
    pub(crate) soft: Signal,
    /// Everybody ends.
    pub(crate) hard: Signal,
    events: Sender<Event>,
    go: Receiver<()>,
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
            recv(self.go) -> _ => {}
            recv(self.hard.raised()) -> _ => {}
        }
        if self.hard.is_raised() {
            return Err(self.stopped());
        }
        Ok(())
    }

    /// Has both signals ring a part's bell.
    pub(crate) fn wake_by(&self, bell: &Arc<Bell>) {
        self.soft.rings(bell.clone());
        self.hard.rings(bell.clone());
    }

    pub(crate) fn stopped(&self) -> Error {
        Error::Stopped {
            component: self.component.clone(),
        }
    }
}

enum Event {
    Ready { part: String, bound: Option<String> },
    Ended { part: String, result: Result<()> },
}

/// Whether a thread carries messages or only serves those that do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Duty {
    /// It carries messages: a stop waits for it to hand them on.
    Carries,
    /// It serves until the others have ended.
    Serves,
}

/// A component's threads while they are being started.
pub(crate) struct Crew {
    name: String,
    soft: Signal,
    hard: Signal,
    events: (Sender<Event>, Receiver<Event>),
    go: (Sender<()>, Receiver<()>),
    members: Vec<Member>,
    failed: Option<Error>,
}

struct Member {
    part: String,
    duty: Duty,
    thread: Option<JoinHandle<()>>,
}

impl Crew {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            soft: Signal::new(),
            hard: Signal::new(),
            events: crossbeam_channel::unbounded(),
            go: crossbeam_channel::bounded(0),
            members: Vec::new(),
            failed: None,
        }
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
            hard: self.hard.clone(),
            events: self.events.0.clone(),
            go: self.go.1.clone(),
        };
        let body = move || {
            let result = catch_unwind(AssertUnwindSafe(|| work(&context)))
                .unwrap_or_else(|panic| Err(Error::died(&context.part, panic_text(&*panic))));
            let part = context.part;
            let _ = context.events.send(Event::Ended { part, result });
        };
        let name = format!("palm:{}", part.to_lowercase());
        match std::thread::Builder::new().name(name).spawn(body) {
            Ok(thread) => self.members.push(Member {
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
        let started = match self.failed.take() {
            Some(error) => Err(error),
            None => self.all_ready(),
        };
        match started.and_then(|bound| Ok((preset(&bound)?, bound))) {
            Ok((addresses, bound)) => self.supervise(addresses, bound),
            Err(error) => {
                self.soft.raise();
                self.hard.raise();
                self.join();
                Err(error)
            }
        }
    }

    fn all_ready(&self) -> Result<BTreeMap<String, String>> {
        let mut bound = BTreeMap::new();
        for _ in 0..self.members.len() {
            match self.events.1.recv() {
                Ok(Event::Ready { part, bound: at }) => {
                    bound.extend(at.map(|at| (part, at)));
                }
                Ok(Event::Ended { part, result }) => {
                    return Err(result
                        .err()
                        .unwrap_or_else(|| Error::died(&part, "it ended")));
                }
                Err(_) => break, // Cannot be: `self` has a sender.
            }
        }
        Ok(bound)
    }

    fn join(&mut self) {
        for member in &mut self.members {
            if let Some(thread) = member.thread.take() {
                // A panic was caught inside and told as an event.
                let _ = thread.join();
            }
        }
    }

    fn supervise(
        mut self,
        addresses: Addresses,
        bound: BTreeMap<String, String>,
    ) -> Result<Running> {
        let shared = Shared::new(&self.name, self.soft.clone());
        let (soft, hard) = (self.soft.clone(), self.hard.clone());
        let name = format!("palm:{}", self.name);
        drop(std::mem::replace(
            &mut self.go.0,
            crossbeam_channel::bounded(0).0,
        ));
        let ending = shared.clone();
        let body = move || {
            let cause = self.watch();
            self.join();
            ending.end(cause);
        };
        match std::thread::Builder::new().name(name).spawn(body) {
            Ok(_) => Ok(Running::new(shared, addresses, bound)),
            Err(error) => {
                soft.raise();
                hard.raise();
                Err(Error::system("a thread cannot be started")(error))
            }
        }
    }

    /// Sees the threads to their end, and gives the cause if it was not a stop.
    fn watch(&mut self) -> Option<Cause> {
        let mut cause = None;
        let mut left = self.members.len();
        let mut hard_at: Option<Instant> = None;
        while left > 0 {
            match self.next_event(hard_at) {
                Some(Event::Ended { part, result }) => {
                    left -= 1;
                    self.note_end(part, result, &mut cause);
                    self.soft.raise();
                }
                Some(Event::Ready { .. }) => {}
                None if hard_at.is_some_and(|at| at <= Instant::now()) => self.hard.raise(),
                None => {} // The soft signal was raised.
            }
            if self.soft.is_raised() && hard_at.is_none() {
                hard_at = Some(Instant::now() + GRACE);
            }
            if self.soft.is_raised() && self.members.iter().all(|m| m.duty == Duty::Serves) {
                self.hard.raise();
            }
        }
        cause
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
    fn note_end(&mut self, part: String, result: Result<()>, cause: &mut Option<Cause>) {
        let ended = self
            .members
            .iter()
            .position(|member| member.part == part && member.duty == Duty::Carries);
        if let Some(index) = ended.or_else(|| self.members.iter().position(|m| m.part == part)) {
            let member = self.members.swap_remove(index);
            if let Some(thread) = member.thread {
                let _ = thread.join();
            }
        }
        let reason = match result {
            Ok(()) if self.soft.is_raised() => return,
            Ok(()) => "it ended without being asked to".to_owned(),
            Err(Error::Stopped { .. }) => return,
            Err(Error::Died { cause, .. }) => cause,
            Err(error) => error.to_string(),
        };
        log::error!(target: &self.name, "part {part} died: {reason}");
        cause.get_or_insert(Cause { part, reason });
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
    fn a_carrier_that_does_not_get_rid_of_its_messages_is_ended_after_the_grace() {
        let mut crew = Crew::new("test");
        crew.spawn("stuck", Duty::Carries, until_hard);
        let running = crew.start(none).unwrap();
        let before = Instant::now();
        running.stop().unwrap();
        assert!(before.elapsed() >= GRACE);
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
