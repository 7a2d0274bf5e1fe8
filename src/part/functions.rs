//! The work of a server or a worker: threads that run its functions.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Batch, Context, Crew, Duty, Inlet, Outlet};
use crate::error::Result;
use crate::handler::Runner;

/// How long a result may wait for others to go with it.
const TOGETHER: Duration = Duration::from_micros(200);

/// Starts `threads` threads that run what comes in and send on what comes of it. One thread
/// keeps the order.
pub(crate) fn spawn_functions(
    crew: &mut Crew,
    threads: usize,
    runner: Runner,
    inlet: &Inlet,
    outlet: &Outlet,
) {
    let runner = Arc::new(runner);
    for number in 1..=threads {
        let name = match threads {
            1 => "Functions".to_owned(),
            _ => format!("Functions-{number}"),
        };
        let (runner, inlet, outlet) = (runner.clone(), inlet.clone(), outlet.clone());
        crew.spawn(&name, Duty::Carries, move |context| {
            context.ready(None)?;
            run(context, &runner, &inlet, &outlet)
        });
    }
}

fn run(context: &Context, runner: &Runner, inlet: &Inlet, outlet: &Outlet) -> Result<()> {
    while let Some(batch) = inlet.recv_until(&context.hard) {
        let mut results = Batch::new();
        let mut oldest = Instant::now();
        for parcel in batch {
            if context.hard.is_raised() {
                break;
            }
            let mut gone = false;
            runner.run(&parcel.frame, &mut |result| {
                results.push(result);
                if results.is_full() {
                    let full = std::mem::take(&mut results);
                    gone |= outlet.send_until(full, &context.hard).is_err();
                }
            });
            let now = Instant::now();
            if !results.is_empty() && now.duration_since(oldest) >= TOGETHER {
                let some = std::mem::take(&mut results);
                gone |= outlet.send_until(some, &context.hard).is_err();
                oldest = now;
            }
            if gone {
                return Ok(()); // Whoever took the results is gone, and says why.
            }
        }
        if !results.is_empty() && outlet.send_until(results, &context.hard).is_err() {
            return Ok(());
        }
    }
    Ok(())
}
