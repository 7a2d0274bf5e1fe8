//! Functions: what a server does itself.

use std::sync::Arc;

use parking_lot::Mutex;

use super::wiring::{Outbound, Part, Wiring};
use super::{Batch, Context, Crew, Duty, Inlet, NotSent, Outlet, Parcel};
use crate::cache::StoreCache;
use crate::core::custody::share;
use crate::error::{Error, Result};
use crate::handler::{Functions, Runner};
use crate::message::{DEFAULT_MAX_MESSAGE, Frame};

/// Runs functions on what comes in, and gives back what comes of it. They see the cache of
/// their component, and run only what is addressed to it.
///
/// What has failed in an earlier step is given back as it is.
#[derive(Debug)]
pub struct FunctionService {
    functions: Functions,
    threads: usize,
    max_message: usize,
}

impl FunctionService {
    /// Runs these functions in a thread, one after another.
    pub fn new(functions: Functions) -> Self {
        Self {
            functions,
            threads: 1,
            max_message: DEFAULT_MAX_MESSAGE,
        }
    }

    function_settings!();

    /// How many threads run functions: 1 by default, which keeps the order of the messages.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// The largest payload that a function may give, in bytes: 64 MiB by default.
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.max_message = bytes;
        self
    }
}

impl Part for FunctionService {
    const GIVES: bool = true;
    const TAKES: bool = true;
    const ANSWERS: bool = true;

    fn check(&self) -> Result<()> {
        match self.threads {
            0 => Err(Error::Setup {
                component: "functions".to_owned(),
                reason: "they need at least one thread".to_owned(),
            }),
            _ => Ok(()),
        }
    }

    fn most(&self) -> usize {
        // Several threads share what comes one by one; a batch would go to one of them.
        if self.threads > 1 { 1 } else { usize::MAX }
    }

    fn spawn(self, crew: &mut Crew, wiring: Wiring) -> Result<()> {
        let runner = Runner {
            functions: self.functions,
            component: crew.name().to_owned(),
            only_own_name: true,
            max_message: self.max_message,
            cache: Arc::new(StoreCache::new(wiring.store)),
            complaints: Mutex::default(),
        };
        if let Some(inlet) = wiring.inlet {
            let runner = Arc::new(runner);
            spawn_work(
                crew,
                &wiring.name,
                self.threads,
                runner,
                inlet,
                wiring.outlet,
            );
        }
        Ok(())
    }
}

impl Outbound for FunctionService {}

/// What is done with a message, in a thread that may take its time.
pub(crate) trait Work: Send + Sync + 'static {
    /// Gives each result to `emit`.
    fn run(&self, context: &Context, frame: &Frame, emit: &mut dyn FnMut(Frame));
}

impl Work for Runner {
    fn run(&self, _: &Context, frame: &Frame, emit: &mut dyn FnMut(Frame)) {
        Runner::run(self, frame, emit);
    }
}

/// Starts `threads` threads that work on what comes in and send on what comes of it. One thread
/// keeps the order.
pub(crate) fn spawn_work(
    crew: &mut Crew,
    part: &str,
    threads: usize,
    work: Arc<impl Work>,
    inlet: Inlet,
    outlet: Option<Outlet>,
) {
    let inlet = Arc::new(inlet);
    for number in 1..=threads {
        let name = match threads {
            1 => part.to_owned(),
            _ => format!("{part}-{number}"),
        };
        let (work, inlet) = (work.clone(), inlet.clone());
        let mut results = Results {
            outlet: outlet.clone(),
            waiting: Batch::new(),
            lost: 0,
            closed: false,
        };
        crew.spawn(&name, Duty::Works, move |context| {
            context.ready(None)?;
            run(context, &*work, &inlet, &mut results)
        });
    }
}

fn run(context: &Context, work: &impl Work, inlet: &Inlet, results: &mut Results) -> Result<()> {
    let mut made: Vec<Parcel> = Vec::new();
    while !results.closed {
        let Some(batch) = inlet.recv_until(&context.late) else {
            break;
        };
        let mut parcels = batch.into_iter();
        while !context.late.is_raised() && !results.closed {
            let Some(parcel) = parcels.next() else { break };
            work.run(context, &parcel.frame, &mut |result| {
                made.push(result.into())
            });
            if results.outlet.is_none() {
                made.clear();
            }
            share(parcel.ticket, made.iter_mut());
            for result in made.drain(..) {
                results.add(result, context);
            }
            results.try_send();
        }
        results.send(context);
        results.lost += parcels.len();
    }
    context.say_lost(results.lost + inlet.drain());
    match results.closed {
        true => context.deserted("nobody takes its results any more"),
        false => Ok(()),
    }
}

/// The results on their way out. One is sent on at once, if there is room: the next function
/// may run for long.
struct Results {
    /// `None` when nobody wants them.
    outlet: Option<Outlet>,
    waiting: Batch,
    lost: usize,
    /// Nobody takes them any more.
    closed: bool,
}

impl Results {
    fn add(&mut self, result: Parcel, context: &Context) {
        if self.outlet.is_none() {
            return;
        }
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
        let Some(outlet) = &self.outlet else { return };
        if !self.waiting.is_empty() {
            match outlet.try_send(std::mem::take(&mut self.waiting)) {
                Ok(()) => {}
                Err(NotSent::Full(batch)) => self.waiting = batch,
                Err(NotSent::Closed(batch)) => self.close(&batch),
            }
        }
    }

    /// Sends what waits, after waiting for room: until a stop, and a little longer.
    fn send(&mut self, context: &Context) {
        let Some(outlet) = self.outlet.as_ref().filter(|_| !self.waiting.is_empty()) else {
            return;
        };
        let batch = std::mem::take(&mut self.waiting);
        let sent = match outlet.send_until(batch, &context.late) {
            Err(NotSent::Full(batch)) => outlet.send_deadline(batch, context.last()),
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
