//! The work of a server or a worker: threads that run its functions.

use std::sync::Arc;

use super::{Batch, Context, Crew, Duty, Inlet, NotSent, Outlet};
use crate::error::Result;
use crate::handler::Runner;

/// Starts `threads` threads that run what comes in and send on what comes of it. One thread
/// keeps the order.
pub(crate) fn spawn_functions(
    crew: &mut Crew,
    threads: usize,
    runner: Runner,
    inlet: Inlet,
    outlet: &Outlet,
) {
    let (runner, inlet) = (Arc::new(runner), Arc::new(inlet));
    for number in 1..=threads {
        let name = match threads {
            1 => "Functions".to_owned(),
            _ => format!("Functions-{number}"),
        };
        let (runner, inlet) = (runner.clone(), inlet.clone());
        let mut results = Results {
            outlet: outlet.clone(),
            waiting: Batch::new(),
            closed: false,
        };
        crew.spawn(&name, Duty::Works, move |context| {
            context.ready(None)?;
            run(context, &runner, &inlet, &mut results);
            Ok(())
        });
    }
}

fn run(context: &Context, runner: &Runner, inlet: &Inlet, results: &mut Results) {
    let mut lost = 0;
    while let Some(batch) = inlet.recv_until(&context.late) {
        let mut parcels = batch.into_iter();
        for parcel in parcels.by_ref() {
            if context.late.is_raised() || results.closed {
                lost += 1;
                break;
            }
            runner.run(&parcel.frame, &mut |result| {
                results.add(result.into(), context)
            });
            results.try_send();
        }
        lost += parcels.len();
        results.send(context);
    }
    context.say_lost(lost + results.waiting.len());
}

/// The results on their way out. One is sent on at once, if there is room: the next function
/// may run for long.
struct Results {
    outlet: Outlet,
    waiting: Batch,
    /// Nobody takes them any more; whoever did says why.
    closed: bool,
}

impl Results {
    fn add(&mut self, result: super::Parcel, context: &Context) {
        self.waiting.push(result);
        if self.waiting.is_full() {
            self.send(context);
        }
    }

    /// Sends what waits, if there is room.
    fn try_send(&mut self) {
        if !self.waiting.is_empty() {
            let batch = std::mem::take(&mut self.waiting);
            let sent = self.outlet.try_send(batch);
            self.keep(sent);
        }
    }

    /// Sends what waits, after waiting for room: until a stop, and a little longer.
    fn send(&mut self, context: &Context) {
        if self.waiting.is_empty() || self.closed {
            return;
        }
        let batch = std::mem::take(&mut self.waiting);
        let sent = match self.outlet.send_until(batch, &context.late) {
            Err(NotSent::Full(batch)) => self.outlet.send_deadline(batch, context.last()),
            done => done,
        };
        self.keep(sent);
    }

    fn keep(&mut self, sent: Result<(), NotSent>) {
        match sent {
            Ok(()) => {}
            Err(NotSent::Full(batch)) => self.waiting = batch,
            Err(NotSent::Closed(batch)) => {
                self.waiting = batch;
                self.closed = true;
            }
        }
    }
}
