//! The router: the one thread of a component that decides where each message goes. (Where there is
//! nothing to decide, parts are joined without it: see [`entry`](super::entry).)
//!
//! Each route takes from one inlet, has a hook turn each message into none, one or many, and
//! gives them to outlets. A route whose outlet is full takes no more until there is room: that
//! is the back-pressure, by route, so that a route which is stuck does not stop another.

use std::collections::VecDeque;

use crossbeam_channel::Select;

use super::{Batch, Context, Crew, Duty, Inlet, NotSent, Outlet, Parcel, Received};
use crate::core::custody::{Stand, Ticket, share};
use crate::error::{Error, Result};
use crate::message::Frame;

/// What a route does with a message: sends what comes of it on its [`Ways`].
pub(crate) type Hook = Box<dyn FnMut(Frame, &mut Ways<'_>) + Send>;

/// A component's router while it is being put together.
#[derive(Default)]
pub(crate) struct Router {
    routes: Vec<Line>,
    exits: Vec<Exit>,
    /// What a hook has made of a message, while that is shared out.
    made: Vec<(ExitId, Parcel)>,
}

struct Line {
    name: String,
    inlet: Inlet,
    hook: Hook,
    /// Whether the hook may give other messages than it gets.
    makes: bool,
    ways: Vec<Way>,
    backlog: VecDeque<Parcel>,
    open: bool,
}

struct Exit {
    name: String,
    /// `None` when nothing will come for it any more.
    outlet: Option<Outlet>,
    pending: Batch,
    taker: Taker,
    /// How many messages nobody was there for.
    lost: usize,
}

/// Who takes what goes out at an exit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taker {
    /// A part that answers for what it takes, and says what becomes of it.
    Keeper,
    /// A part that does not.
    Part,
    /// A user, who does not either, and may go away.
    User,
}

/// Which exit of a router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ExitId(usize);

/// A way from a route to an exit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Way {
    pub(crate) exit: ExitId,
    /// Whether the route waits while the exit has no room. One that does not must itself see
    /// to it that what it sends is bounded.
    pub(crate) waits: bool,
}

/// Where the hook of a [`Route`](super::Route) sends what it makes of a message.
pub struct Ways<'a> {
    made: &'a mut Vec<(ExitId, Parcel)>,
    ways: &'a [Way],
    /// The topic that the message came with.
    topic: Option<String>,
}

impl Ways<'_> {
    /// Sends a message on one of the route's ways: they are numbered from 0, as they were
    /// named. On a way that there is not, nothing is sent. One without a topic has that with
    /// which the message came that it was made of.
    pub fn send(&mut self, way: usize, message: impl Into<Parcel>) {
        if let Some(Way { exit, .. }) = self.ways.get(way) {
            let mut parcel = message.into();
            parcel.topic = parcel.topic.or_else(|| self.topic.clone());
            self.made.push((*exit, parcel));
        }
    }
}

impl Router {
    /// Adds the outlet to a part, which may answer for what it is given.
    pub(crate) fn exit(&mut self, name: &str, outlet: Outlet, answers: bool) -> ExitId {
        let taker = match answers {
            true => Taker::Keeper,
            false => Taker::Part,
        };
        self.add(name, outlet, taker)
    }

    /// Adds the outlet to a user. If the user goes away, the component ends.
    pub(crate) fn user_exit(&mut self, name: &str, outlet: Outlet) -> ExitId {
        self.add(name, outlet, Taker::User)
    }

    fn add(&mut self, name: &str, outlet: Outlet, taker: Taker) -> ExitId {
        self.exits.push(Exit {
            name: name.to_owned(),
            outlet: Some(outlet),
            pending: Batch::new(),
            taker,
            lost: 0,
        });
        ExitId(self.exits.len() - 1)
    }

    /// Adds a route from an inlet, with the ways that its hook may use.
    pub(crate) fn route(
        &mut self,
        name: &str,
        inlet: Inlet,
        ways: Vec<Way>,
        (makes, hook): (bool, Hook),
    ) {
        self.routes.push(Line {
            name: name.to_owned(),
            inlet,
            hook,
            makes,
            ways,
            backlog: VecDeque::new(),
            open: true,
        });
    }

    /// Starts its thread, if it has anything to do.
    pub(crate) fn spawn(mut self, crew: &mut Crew) {
        if self.routes.is_empty() {
            return;
        }
        for route in &self.routes {
            route.inlet.set_most(route.most(&self.exits));
        }
        crew.spawn("Router", Duty::Carries, move |context| {
            context.ready(None)?;
            for route in &self.routes {
                // The first is the way of its messages, the others are for what it refuses.
                if let Some(way) = route.ways.first() {
                    let (from, to) = (&route.name, &self.exits[way.exit.0].name);
                    log::info!(target: &context.component, "{from} connects to {to}");
                }
            }
            self.run(context)
        });
    }

    fn run(&mut self, context: &Context) -> Result<()> {
        let mut first = 0;
        loop {
            // All flushing is here: so what `wait` sees is what `step` saw.
            let mut worked = self
                .exits
                .iter_mut()
                .fold(false, |moved, exit| exit.flush() | moved);
            let left = self
                .exits
                .iter()
                .find(|exit| exit.lost > 0 && exit.taker == Taker::User);
            if let Some(exit) = left.filter(|_| !context.soft.is_raised()) {
                let cause = format!("nobody takes what goes to '{}' any more", exit.name);
                self.say_lost(context);
                return Err(Error::died(&context.part, cause));
            }
            // Each has its turn to be first: two may share an exit that has little room.
            first += 1;
            for turn in 0..self.routes.len() {
                worked |= self.step((first + turn) % self.routes.len());
            }
            self.close_finished();
            let closed = self.exits.iter().all(|exit| exit.outlet.is_none());
            // Where nothing leads on, the messages end in the hooks.
            let over = closed && !self.routes.iter().any(|route| route.open);
            if over || context.hard.is_raised() {
                self.say_lost(context);
                return Ok(());
            }
            if !worked {
                self.wait(context);
            }
        }
    }

    /// Moves a batch along a route, as far as there is room. Whether anything moved.
    fn step(&mut self, index: usize) -> bool {
        let route = &mut self.routes[index];
        if !route.open {
            return false;
        }
        // What may wait behind it waits before it.
        route.inlet.set_most(route.most(&self.exits));
        if route.is_blocked(&self.exits) {
            return false;
        }
        if route.backlog.is_empty() {
            match route.inlet.try_recv() {
                Received::Batch(batch) => route.backlog.extend(batch),
                Received::Nothing => return false,
                Received::End => {
                    route.open = false;
                    return true;
                }
            }
        }
        while let Some(parcel) = route.backlog.pop_front() {
            let Parcel {
                topic,
                frame,
                ticket,
            } = parcel;
            let stand = route.makes.then(|| Stand::of(&frame)).flatten();
            let mut ways = Ways {
                made: &mut self.made,
                ways: &route.ways,
                topic,
            };
            (route.hook)(frame, &mut ways);
            if let Some(stand) = stand {
                let made = self.made.iter_mut();
                made.for_each(|(_, parcel)| stand.take_in(&mut parcel.frame));
            }
            share(ticket, self.made.iter_mut().map(|(_, parcel)| parcel));
            for (exit, parcel) in self.made.drain(..) {
                self.exits[exit.0].pending.push(parcel);
            }
            if route.waits_for(&self.exits, Exit::is_full) {
                break;
            }
        }
        true
    }

    /// Lets go of the outlets that nothing can come for any more: so the parts behind them end.
    fn close_finished(&mut self) {
        for index in 0..self.exits.len() {
            let leads = |way: &Way| way.exit.0 == index;
            let fed = |route: &Line| route.open && route.ways.iter().any(leads);
            if self.exits[index].pending.is_empty() && !self.routes.iter().any(fed) {
                self.exits[index].outlet = None;
            }
        }
    }

    fn say_lost(&self, context: &Context) {
        let unsent = |exit: &Exit| exit.pending.len() + exit.lost;
        let pending: usize = self.exits.iter().map(unsent).sum();
        let untaken = |route: &Line| route.backlog.len() + route.inlet.drain();
        let backlog: usize = self.routes.iter().map(untaken).sum();
        context.say_lost(pending + backlog);
    }

    /// Waits until a route has something to take and room to give it, or a full exit has room.
    fn wait(&self, context: &Context) {
        let mut select = Select::new();
        select.recv(context.hard.raised());
        for exit in self.exits.iter().filter(|exit| !exit.pending.is_empty()) {
            if let Some(outlet) = &exit.outlet {
                outlet.select(&mut select);
            }
        }
        for route in self.routes.iter().filter(|route| route.open) {
            if !route.is_blocked(&self.exits) {
                route.inlet.select(&mut select);
            }
        }
        select.ready();
    }
}

impl Line {
    /// Whether one of the exits that it waits for is in some state.
    fn waits_for(&self, exits: &[Exit], state: impl Fn(&Exit) -> bool) -> bool {
        let mut awaited = self.ways.iter().filter(|way| way.waits);
        awaited.any(|way| state(&exits[way.exit.0]))
    }

    /// How many messages all that it waits for want at once.
    fn most(&self, exits: &[Exit]) -> usize {
        let awaited = self.ways.iter().filter(|way| way.waits);
        let outlets = awaited.filter_map(|way| exits[way.exit.0].outlet.as_ref());
        outlets.map(Outlet::most).min().unwrap_or(usize::MAX)
    }

    fn is_blocked(&self, exits: &[Exit]) -> bool {
        self.waits_for(exits, |exit| !exit.pending.is_empty())
    }
}

impl Exit {
    fn is_full(&self) -> bool {
        let outlet = self.outlet.as_ref();
        outlet.map_or(self.pending.is_full(), |outlet| {
            outlet.next_in(&self.pending).is_none()
        })
    }

    /// Hands over what is pending. Whether anything was.
    fn flush(&mut self) -> bool {
        let mut moved = false;
        while !self.pending.is_empty() {
            let Some(outlet) = &self.outlet else {
                self.lost += self.pending.len();
                self.pending = Batch::new();
                break;
            };
            let answers = self.taker == Taker::Keeper;
            if !answers && !outlet.has_room() {
                break;
            }
            let mut now = self.pending.take(outlet.most());
            // What they do not answer for is not done if they do not even get it.
            let tickets = match answers {
                true => Vec::new(),
                false => now.take_tickets(),
            };
            match outlet.try_send(now) {
                Ok(()) => {
                    moved = true;
                    tickets.into_iter().for_each(Ticket::untracked);
                }
                Err(NotSent::Full(batch)) => {
                    self.pending.put_back(batch);
                    break;
                }
                // A part has died, and the component ends, and says why; or a user has left.
                Err(NotSent::Closed(batch)) => {
                    self.lost += batch.len();
                    self.outlet = None;
                }
            }
        }
        moved
    }
}
