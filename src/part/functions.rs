//! Functions: what a server does itself.

use std::sync::Arc;

use parking_lot::Mutex;

use super::pace::Pace;
use super::run_clock::RunClock;
use super::wiring::{self, Outbound, Wiring};
use super::{Batch, Context, Crew, Duty, Inlet, Measure, NotSent, Outlet, Parcel};
use crate::cache::StoreCache;
use crate::core::custody::{Ticket, share};
use crate::core::divide::Divide;
use crate::core::link::{Made, Part, Parts};
use crate::error::{Error, Result};
use crate::handler::{Functions, Ran, Runner};
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

    /// How many threads run functions, from 1 to 1,024: 1 by default, which keeps the order of the
    /// messages.
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

impl wiring::Part for FunctionService {
    const GIVES: bool = true;
    const TAKES: bool = true;
    const ANSWERS: bool = true;
    const BUNDLES: bool = true;

    fn check(&self) -> Result<()> {
        let checked = self.functions.check(self.threads);
        checked.map_err(|reason| Error::Setup {
            component: "functions".to_owned(),
            reason,
        })
    }

    fn measure(&self) -> Measure {
        Measure::of_workers(self.threads)
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

    /// Does it with each message of a bundle, as long as `each` wants more: it is told what has
    /// come of each.
    fn run_each(&self, context: &Context, bundle: &Frame, each: &mut dyn FnMut(Ran) -> bool) {
        for at in 0..bundle.count() {
            let mut results = Vec::new();
            let emit = &mut |result| results.push(result);
            self.run(context, &bundle.single(at), emit);
            if !each(Ran::Other(results)) {
                return;
            }
        }
    }
}

impl Work for Runner {
    fn run(&self, _: &Context, frame: &Frame, emit: &mut dyn FnMut(Frame)) {
        Runner::run(self, frame, emit);
    }

    fn run_each(&self, _: &Context, bundle: &Frame, each: &mut dyn FnMut(Ran) -> bool) {
        Runner::run_each(self, bundle, each);
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
            bytes: 0,
            lost: 0,
            closed: false,
        };
        crew.spawn(&name, Duty::Works, move |context| {
            context.late.rings(inlet.bell().clone());
            context.ready(None)?;
            run(context, &*work, (&inlet, threads == 1), &mut results)
        });
    }
}

/// Works on what comes in, alone or beside other threads.
fn run(
    context: &Context,
    work: &impl Work,
    (inlet, is_alone): (&Inlet, bool),
    results: &mut Results,
) -> Result<()> {
    let mut made = Vec::new();
    // How many messages took no time of late.
    let mut quick = 0;
    let mut clock = RunClock::new();
    let mut pace = Pace::new();
    while !results.closed {
        let batch = match is_alone {
            true => inlet.hear_until(&context.late),
            false => inlet.recv_until(&context.late),
        };
        let Some(batch) = batch else { break };
        clock.begin();
        let (start, count) = (clock.now(), batch.len());
        let mut parcels = batch.into_iter();
        while !context.late.is_raised() && !results.closed {
            let Some(parcel) = parcels.next() else { break };
            if parcel.frame.count() > 1 && quick >= QUICK {
                let count = parcel.frame.count();
                let is_quick = run_bundle(context, work, &mut clock, parcel, results);
                quick = after(quick, count, is_quick);
                continue;
            }
            let Parcel { frame, ticket, .. } = parcel;
            let mut singles = (Made { frame, ticket }).singles();
            while !context.late.is_raised() && !results.closed {
                let Some(Made { frame, ticket }) = singles.next() else {
                    break;
                };
                let start = clock.now();
                work.run(context, &frame, &mut |result| made.push(result));
                let is_quick = clock.now().saturating_duration_since(start) < Parts::SLOW;
                quick = after(quick, usize::from(is_quick), is_quick);
                results.add_all(ticket, std::mem::take(&mut made), context);
                results.try_send();
            }
            results.lost += singles.len();
        }
        if !inlet.is_ready() {
            results.ring();
        }
        results.send(context);
        results.lost += parcels.map(|parcel| parcel.frame.count()).sum::<usize>();
        // With what it waited for room: who cannot go on is to be given little, too.
        let took = clock.now().saturating_duration_since(start);
        pace.note(count, took, std::mem::take(&mut results.bytes));
        if is_alone {
            inlet.set_most(pace.most());
        }
    }
    context.say_lost(results.lost + inlet.drain());
    match results.closed {
        true => context.deserted("nobody takes its results any more"),
        false => Ok(()),
    }
}

/// After so many messages that took no time, bundles are not taken apart: what comes of their
/// messages goes on together, which is late for those before one that takes its time. Each such
/// halves what is counted, of which there is so much at the most: a thread that is not let run now
/// and then is no function that takes its time.
const QUICK: usize = 32;
const MOST_QUICK: usize = 1_024;

/// How much is counted after so many messages more.
fn after(quick: usize, count: usize, is_quick: bool) -> usize {
    let more = (quick + count).min(MOST_QUICK);
    if is_quick { more } else { more / 2 }
}

/// Works on the messages of a bundle, until a stop. Whether they took no time.
fn run_bundle(
    context: &Context,
    work: &impl Work,
    clock: &mut RunClock,
    parcel: Parcel,
    results: &mut Results,
) -> bool {
    let Parcel {
        frame, mut ticket, ..
    } = parcel;
    let mut left = frame.count();
    let mut parts = Parts::new(frame.clone(), clock.now());
    work.run_each(context, &frame, &mut |ran| {
        ran.note(&mut parts, clock.now());
        let goes_on = !context.late.is_raised() && !results.closed;
        if goes_on && !parts.is_due() {
            return true;
        }
        for Part {
            count,
            results: made,
            ..
        } in parts.take()
        {
            let rest = ticket.as_mut().filter(|_| count < left);
            let rest = rest.map(|ticket| ticket.split_off(count));
            let own = std::mem::replace(&mut ticket, rest);
            left -= count;
            results.add_all(own, made, context);
        }
        // Whoever gets them looks soon; so no result waits for the next message to end.
        match parts.had_slow() {
            true => results.try_send(),
            false => results.try_send_soon(),
        }
        goes_on
    });
    results.lost += left;
    !parts.had_slow()
}

/// The results on their way out. One is sent on at once, if there is room: the next function
/// may run for long.
struct Results {
    /// `None` when nobody wants them.
    outlet: Option<Outlet>,
    waiting: Batch,
    /// How large those are that were made of what is given at once.
    bytes: u64,
    lost: usize,
    /// Nobody takes them any more.
    closed: bool,
}

impl Results {
    /// What has come of a message, or of a bundle: that is a bundle as well.
    fn add_all(&mut self, ticket: Option<Ticket>, made: Vec<Frame>, context: &Context) {
        let mut made: Vec<Parcel> = match self.outlet {
            Some(_) => made.into_iter().map(Parcel::from).collect(),
            None => Vec::new(),
        };
        share(ticket, made.iter_mut());
        for result in made {
            self.add(result, context);
        }
    }

    fn add(&mut self, result: Parcel, context: &Context) {
        if self.outlet.is_none() {
            return;
        }
        let takes = self.outlet.as_ref().is_some_and(Outlet::takes_bundles);
        if result.frame.count() == 1 || takes {
            return self.add_one(result, context);
        }
        let Parcel { frame, ticket, .. } = result;
        for made in (Made { frame, ticket }).singles() {
            self.add_one(made.into(), context);
        }
    }

    fn add_one(&mut self, result: Parcel, context: &Context) {
        if self.closed {
            self.lost += result.frame.count();
            return;
        }
        self.bytes += result.frame.len() as u64;
        self.waiting.push(result);
        if self.waiting.is_full() {
            self.send(context);
        }
    }

    /// Sends what waits, if there is room.
    fn try_send(&mut self) {
        self.try_send_by(Outlet::try_send);
    }

    /// The same, of what needs not be looked at at once.
    fn try_send_soon(&mut self) {
        self.try_send_by(Outlet::try_send_soon);
    }

    /// Has looked at what was sent so.
    fn ring(&self) {
        self.outlet.iter().for_each(Outlet::ring);
    }

    fn try_send_by(&mut self, send: impl Fn(&Outlet, Batch) -> Result<(), NotSent>) {
        let Some(outlet) = &self.outlet else { return };
        while !self.waiting.is_empty() {
            match send(outlet, self.waiting.take(outlet.most())) {
                Ok(()) => {}
                Err(NotSent::Full(batch)) => return self.waiting.put_back(batch),
                Err(NotSent::Closed(batch)) => return self.close(&batch),
            }
        }
    }

    /// Sends what waits, after waiting for room: until a stop, and a little longer.
    fn send(&mut self, context: &Context) {
        while let Some(outlet) = self.outlet.as_ref().filter(|_| !self.waiting.is_empty()) {
            let batch = self.waiting.take(outlet.most());
            let sent = match outlet.send_until(batch, &context.late) {
                Err(NotSent::Full(batch)) => outlet.send_deadline(batch, context.last()),
                done => done,
            };
            if let Err(NotSent::Full(batch) | NotSent::Closed(batch)) = sent {
                self.close(&batch);
            }
        }
    }

    fn close(&mut self, unsent: &Batch) {
        self.lost += unsent.len() + std::mem::take(&mut self.waiting).len();
        self.closed = true;
    }
}
