//! The work of a server or a worker: threads that run its functions.

use std::sync::Arc;

use super::{Batch, Context, Crew, Duty, Inlet, NotSent, Outlet, Received};
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
            lost: 0,
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
    while let Some(batch) = inlet.recv_until(&context.late) {
        let mut parcels = batch.into_iter();
        while !context.late.is_raised() && !results.closed {
            let Some(parcel) = parcels.next() else { break };
            runner.run(&parcel.frame, &mut |result| {
                results.add(result.into(), context)
            });
            results.try_send();
        }
        results.send(context);
        results.lost += parcels.len();
    }
    while let Received::Batch(batch) = inlet.try_recv() {
        results.lost += batch.len();
    }
    context.say_lost(results.lost);
}

/// The results on their way out. One is sent on at once, if there is room: the next function
/// may run for long.
struct Results {
    outlet: Outlet,
    waiting: Batch,
    lost: usize,
    /// Nobody takes them any more.
    closed: bool,
}

impl Results {
    fn add(&mut self, result: super::Parcel, context: &Context) {
        if self.closed {
            self.lost += 1;
            return;
        }
        self.waiting.push(result);
        if self.waiting.is_full() {
            self.send(context);
        }
    }

    /// Sends what waits, if there is room.
    fn try_send(&mut self) {
        if !self.waiting.is_empty() {
            match self.outlet.try_send(std::mem::take(&mut self.waiting)) {
                Ok(()) => {}
                Err(NotSent::Full(batch)) => self.waiting = batch,
                Err(NotSent::Closed(batch)) => self.close(&batch),
            }
        }
    }

    /// Sends what waits, after waiting for room: until a stop, and a little longer.
    fn send(&mut self, context: &Context) {
        if self.waiting.is_empty() {
            return;
        }
        let batch = std::mem::take(&mut self.waiting);
        let sent = match self.outlet.send_until(batch, &context.late) {
            Err(NotSent::Full(batch)) => self.outlet.send_deadline(batch, context.last()),
            done => done,
        };
        if let Err(NotSent::Full(batch) | NotSent::Closed(batch)) = sent {
            self.close(&batch);
        }
    }

    fn close(&mut self, unsent: &Batch) {
        self.lost += unsent.len();
        self.closed = true;
    }
}
