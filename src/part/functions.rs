//! Functions: what a server does itself.

use std::sync::Arc;

use parking_lot::Mutex;

use super::aside::Aside;
use super::pace::Pace;
use super::run_clock::RunClock;
use super::wiring::{self, Outbound, Wiring};
use super::{Batch, Context, Crew, Duty, Inlet, Measure, NotSent, Outlet, Parcel, Received};
use crate::cache::StoreCache;
use crate::core::custody::{Ticket, share};
use crate::core::divide::Divide;
use crate::core::link::{Made, Part, Parts};
use crate::core::turns::Portion;
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
    let aside = Arc::new(Aside::new(crew.stalled(), inlet.bell()));
    for number in 1..=threads {
        let name = match threads {
            1 => part.to_owned(),
            _ => format!("{part}-{number}"),
        };
        let (work, inlet) = (work.clone(), inlet.clone());
        let aside = aside.clone();
        let results = Results {
            outlet: outlet.clone(),
            waiting: Batch::new(),
            bytes: 0,
            lost: 0,
            closed: false,
        };
        crew.spawn(&name, Duty::Works, move |context| {
            context.late.rings(inlet.bell().clone());
            context.ready(None)?;
            let mut working = Working {
                context,
                work: &*work,
                inlet: &inlet,
                is_alone: threads == 1,
                quick: 0,
                ran: 0,
                clock: RunClock::new(),
                aside,
                results,
            };
            working.run()
        });
    }
}

/// A thread that works on what comes in, alone or beside others.
struct Working<'a, W> {
    context: &'a Context,
    work: &'a W,
    inlet: &'a Inlet,
    is_alone: bool,
    /// How many messages took no time of late.
    quick: usize,
    /// How many were run of what was given at once.
    ran: usize,
    clock: RunClock,
    aside: Arc<Aside>,
    results: Results,
}

/// After so many messages that took no time, bundles are not taken apart: what comes of their
/// messages goes on together, which is late for those before one that takes its time. Each such
/// halves what is counted, of which there is so much at the most: a thread that is not let run now
/// and then is no function that takes its time.
const QUICK: usize = 32;
const MOST_QUICK: usize = 1_024;

impl<W: Work> Working<'_, W> {
    fn run(&mut self) -> Result<()> {
        let mut pace = Pace::new();
        while !self.is_over() {
            let again = self.next_again();
            let (late, woken) = (&self.context.late, self.aside.woken());
            let heard = match (&again, self.is_alone) {
                // What has come has its turn beside that.
                (Some(_), true) => self.inlet.try_recv(),
                (Some(_), false) => Received::Nothing,
                (None, true) => {
                    let woken = (!self.aside.is_empty()).then_some(woken);
                    self.inlet.hear_until(late, woken)
                }
                // Another thread may put something aside meanwhile.
                (None, false) => self.inlet.recv_until(late, Some(woken)),
            };
            let batch = match heard {
                Received::Batch(batch) => batch,
                Received::Nothing => Batch::new(),
                Received::End if again.is_some() => Batch::new(),
                Received::End if !self.aside.is_empty() => {
                    self.aside.wait(&self.context.late);
                    continue;
                }
                Received::End => break,
            };
            self.clock.begin();
            let start = self.clock.now();
            again.into_iter().for_each(|made| self.run_bundle(made));
            let mut parcels = batch.into_iter();
            while !self.is_over() {
                let Some(parcel) = parcels.next() else { break };
                let Parcel { frame, ticket, .. } = parcel;
                self.run_new(Made { frame, ticket });
            }
            if !self.inlet.is_ready() {
                self.results.ring();
            }
            self.results.send(self.context);
            self.results.lost += parcels.map(|parcel| parcel.frame.count()).sum::<usize>();
            // With what it waited for room: who cannot go on is to be given little, too.
            let took = self.clock.now().saturating_duration_since(start);
            let bytes = std::mem::take(&mut self.results.bytes);
            let ran = std::mem::take(&mut self.ran);
            if ran > 0 {
                pace.note(ran, took, bytes);
            }
            if self.is_alone {
                self.inlet.set_most(pace.most());
            }
        }
        self.aside.pass_on();
        // That is given again by those it came from.
        self.aside.clear();
        self.context
            .say_lost(self.results.lost + self.inlet.drain());
        match self.results.closed {
            true => self.context.deserted("nobody takes its results any more"),
            false => Ok(()),
        }
    }

    /// Whether nothing more is to be run.
    fn is_over(&self) -> bool {
        self.context.late.is_raised() || self.results.closed
    }

    /// The next that was put aside and may run again: a bundle if that is run as one.
    fn next_again(&mut self) -> Option<Made> {
        self.aside.next(match self.quick >= QUICK {
            true => Portion::ANY,
            false => Portion::SINGLES,
        })
    }

    /// Works on what has come, but for what is put aside.
    fn run_new(&mut self, made: Made) {
        if self.aside.takes(&made) {
            return self.aside.put(made);
        }
        if made.count() == 1 || self.quick >= QUICK {
            return self.run_bundle(made);
        }
        let mut singles = made.singles();
        while !self.is_over() {
            let Some(single) = singles.next() else { break };
            match self.aside.takes(&single) {
                true => self.aside.put(single),
                false => self.run_single(single),
            }
        }
        self.results.lost += singles.len();
    }

    /// Works on a message, or on those of a bundle as such.
    fn run_bundle(&mut self, made: Made) {
        match made.count() {
            1 => self.run_single(made),
            _ => self.run_quick(made),
        }
    }

    fn run_single(&mut self, made: Made) {
        let Made { frame, ticket } = made;
        let mut results = Vec::new();
        let start = self.clock.now();
        let emit = &mut |result| results.push(result);
        self.work.run(self.context, &frame, emit);
        let is_quick = self.clock.now().saturating_duration_since(start) < Parts::SLOW;
        self.ran += 1;
        self.note_quick(usize::from(is_quick), is_quick);
        self.results.add_all(ticket, results, self.context);
        self.results.try_send();
    }

    /// Works on the messages of a bundle, until a stop, or until the others are to be put aside.
    fn run_quick(&mut self, made: Made) {
        let Made {
            mut frame,
            mut ticket,
        } = made;
        let count = frame.count();
        let mut left = count;
        let Self {
            context,
            clock,
            aside,
            results,
            ..
        } = self;
        let is_answered = ticket.is_some();
        let mut parts = Parts::new(frame.clone(), clock.now());
        self.work.run_each(context, &frame, &mut |ran| {
            ran.note(&mut parts, clock.now());
            let is_over = context.late.is_raised() || results.closed;
            let is_unread = is_answered && aside.is_stalled(frame.session());
            let goes_on = !is_over && !is_unread;
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
        let is_quick = !parts.had_slow();
        self.ran += count - left;
        match left {
            0 => {}
            _ if self.is_over() => self.results.lost += left,
            _ => {
                let frame = frame.split_off(count - left);
                self.aside.put_back(Made { frame, ticket });
            }
        }
        self.note_quick(count - left, is_quick);
    }

    /// So many messages more took no time, or took some.
    fn note_quick(&mut self, count: usize, is_quick: bool) {
        let more = (self.quick + count).min(MOST_QUICK);
        self.quick = if is_quick { more } else { more / 2 };
    }
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
