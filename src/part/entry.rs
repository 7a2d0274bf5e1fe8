//! The parts of a component that is not started yet, and what will be between them.

use std::collections::HashMap;
use std::sync::Arc;

use super::channel::{Measure, joined};
use super::router::{ExitId, Router, Way};
use super::wiring::{Part, Wiring};
use super::{Crew, Inlet, Outlet, Route};
use crate::bell::Bell;
use crate::error::Result;
use crate::store::SharedStore;

/// A part of an assembly that is not started yet.
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) takes: bool,
    pub(super) gives: bool,
    pub(super) measure: Measure,
    /// The names of the parts within it.
    pub(super) within: &'static [&'static str],
    /// Whether it answers for what it takes.
    pub(super) answers: bool,
    /// Whether it takes bundles.
    pub(super) bundles: bool,
    /// What is to be rung when there is something for it.
    pub(super) bell: Option<Arc<Bell>>,
    pub(super) role: Role,
    /// Where its messages go, if anywhere.
    pub(super) route: Option<Route>,
    /// What could be checked of it at once.
    pub(super) checked: Result<()>,
    pub(super) body: Body,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Inbound,
    Outbound,
    Bypass,
}

/// Starts a part.
pub(super) type Spawn = Box<dyn FnOnce(&mut Crew, Wiring) -> Result<()> + Send>;

pub(super) enum Body {
    Part(Spawn),
    /// The end of a channel whose other end somebody else has.
    Inlet(Inlet),
    Outlet(Outlet),
}

impl Entry {
    pub(super) fn of<P: Part>(name: String, role: Role, part: P) -> Self {
        Self {
            name,
            takes: P::TAKES,
            gives: P::GIVES,
            measure: part.measure(),
            within: P::WITHIN,
            answers: P::ANSWERS,
            bundles: P::BUNDLES,
            bell: part.bell(),
            role,
            route: None,
            checked: part.check(),
            body: Body::Part(Box::new(move |crew, wiring| part.spawn(crew, wiring))),
        }
    }

    fn is_part(&self) -> bool {
        matches!(self.body, Body::Part(_))
    }

    /// Whether it needs no router to say what becomes of its messages.
    fn takes_straight(&self) -> bool {
        self.is_part() && self.answers
    }

    fn channel(&self) -> Result<(Outlet, Inlet)> {
        channel_to(self.measure, self.bell.clone())
    }

    pub(super) fn end(name: String, role: Role, body: Body) -> Self {
        Self {
            name,
            takes: role == Role::Outbound,
            gives: role == Role::Inbound,
            measure: Measure::USUAL,
            within: &[],
            answers: false,
            bundles: false,
            bell: None,
            role,
            route: None,
            checked: Ok(()),
            body,
        }
    }
}

/// A channel to a part that has this bell, or none of its own.
fn channel_to(measure: Measure, bell: Option<Arc<Bell>>) -> Result<(Outlet, Inlet)> {
    let bell = bell.map_or_else(Bell::new, Ok)?;
    Ok(joined(measure, bell))
}

/// What is between the parts: channels from one to the other, and the router for the rest.
#[derive(Default)]
pub(super) struct Joints {
    router: Router,
    exits: HashMap<String, ExitId>,
    lines: Vec<(String, Inlet, Route)>,
    /// The ends of the channels that lead straight from part to part.
    outlets: HashMap<String, Outlet>,
    inlets: HashMap<String, Inlet>,
    /// Those parts.
    straight: Vec<(String, String)>,
}

impl Joints {
    /// The joints of these parts. Where the router would do nothing but hand messages on, to a
    /// part that nothing else leads to, there is a channel in its place.
    pub(super) fn of(parts: &[Entry]) -> Result<Self> {
        let mut joints = Self::default();
        let ways = || parts.iter().filter_map(|entry| entry.route.as_ref());
        let ways_to = |name: &str| {
            let ways = ways().flat_map(Route::ways);
            ways.filter(|way| way.part == name).count()
        };
        for entry in parts.iter().filter(|entry| entry.is_part()) {
            let Some(to) = entry.route.as_ref().and_then(Route::plainly_to) else {
                continue;
            };
            let target = parts.iter().find(|target| target.name == to);
            let target = target.filter(|target| target.takes_straight() && ways_to(to) == 1);
            if let Some(target) = target {
                let (mut outlet, inlet) = target.channel()?;
                outlet.set_takes_bundles(target.bundles);
                joints.outlets.insert(entry.name.clone(), outlet);
                joints.inlets.insert(target.name.clone(), inlet);
                joints.straight.push((entry.name.clone(), to.to_owned()));
            }
        }
        Ok(joints)
    }

    /// Starts a part, with the channels that it needs, or takes up the end of a user's channel.
    pub(super) fn add(
        &mut self,
        entry: Entry,
        is_reached: bool,
        crew: &mut Crew,
        store: &SharedStore,
    ) -> Result<()> {
        let Entry {
            name,
            measure,
            answers,
            bell,
            route,
            body,
            ..
        } = entry;
        let spawn = match body {
            Body::Part(spawn) => spawn,
            Body::Inlet(inlet) => {
                self.lines.extend(route.map(|route| (name, inlet, route)));
                return Ok(());
            }
            Body::Outlet(outlet) => {
                let exit = self.router.user_exit(&name, outlet);
                self.exits.insert(name, exit);
                return Ok(());
            }
        };
        let mut wiring = Wiring::new(&name, store.clone());
        wiring.outlet = self.outlets.remove(&name);
        wiring.inlet = self.inlets.remove(&name);
        if let Some(route) = route.filter(|_| wiring.outlet.is_none()) {
            let (outlet, inlet) = channel_to(Measure::USUAL, None)?;
            wiring.outlet = Some(outlet);
            self.lines.push((name.clone(), inlet, route));
        }
        if is_reached && wiring.inlet.is_none() {
            let (outlet, inlet) = channel_to(measure, bell)?;
            wiring.inlet = Some(inlet);
            let exit = self.router.exit(&name, outlet, answers);
            self.exits.insert(name, exit);
        }
        spawn(crew, wiring)
    }

    /// The parts that lead straight to others, and those.
    pub(super) fn straight(&mut self) -> Vec<(String, String)> {
        std::mem::take(&mut self.straight)
    }

    pub(super) fn into_router(mut self, component: &str) -> Router {
        for (name, inlet, route) in self.lines {
            let ways = route.ways().filter_map(|way| {
                let exit = *self.exits.get(&way.part)?;
                Some(Way {
                    exit,
                    waits: way.waits,
                })
            });
            let ways = ways.collect();
            let makes = route.makes();
            let hook = route.into_hook(component);
            self.router.route(&name, inlet, ways, (makes, hook));
        }
        self.router
    }
}
