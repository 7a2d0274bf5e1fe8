//! The parts of a component that is not started yet, and what will be between them.

use std::collections::HashMap;
use std::sync::Arc;

use super::channel::{channel, channel_ringing};
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
    pub(super) most: usize,
    /// The names of the parts within it.
    pub(super) within: &'static [&'static str],
    /// Whether it answers for what it takes.
    pub(super) answers: bool,
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
            most: part.most(),
            within: P::WITHIN,
            answers: P::ANSWERS,
            bell: part.bell(),
            role,
            route: None,
            checked: part.check(),
            body: Body::Part(Box::new(move |crew, wiring| part.spawn(crew, wiring))),
        }
    }

    pub(super) fn end(name: String, role: Role, body: Body) -> Self {
        Self {
            name,
            takes: role == Role::Outbound,
            gives: role == Role::Inbound,
            most: usize::MAX,
            within: &[],
            answers: false,
            bell: None,
            role,
            route: None,
            checked: Ok(()),
            body,
        }
    }
}

/// What is between the parts: it becomes the router.
#[derive(Default)]
pub(super) struct Joints {
    router: Router,
    exits: HashMap<String, ExitId>,
    lines: Vec<(String, Inlet, Route)>,
}

impl Joints {
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
            most,
            answers,
            bell,
            route,
            ..
        } = entry;
        let spawn = match entry.body {
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
        if let Some(route) = route {
            let (outlet, inlet) = channel()?;
            wiring.outlet = Some(outlet);
            self.lines.push((name.clone(), inlet, route));
        }
        if is_reached {
            let (outlet, inlet) = match bell {
                Some(bell) => channel_ringing(bell),
                None => channel()?,
            };
            wiring.inlet = Some(inlet);
            let exit = self.router.exit(&name, outlet, most, answers);
            self.exits.insert(name, exit);
        }
        spawn(crew, wiring)
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
