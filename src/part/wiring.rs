//! What a component gives a part when it starts it.

use std::sync::Arc;

use super::{Crew, Inlet, Measure, Outlet};
use crate::bell::Bell;
use crate::error::Result;
use crate::store::SharedStore;

/// A part's place in its component.
pub struct Wiring {
    /// The part's name.
    pub(crate) name: String,
    /// Where what it gives goes; `None` when nothing is made of that.
    pub(crate) outlet: Option<Outlet>,
    /// Where what it takes comes from; `None` when nothing leads to it.
    pub(crate) inlet: Option<Inlet>,
    /// The component's cache.
    pub(crate) store: SharedStore,
}

impl Wiring {
    pub(super) fn new(name: &str, store: SharedStore) -> Self {
        Self {
            name: name.to_owned(),
            outlet: None,
            inlet: None,
            store,
        }
    }
}

/// What all parts are. Only palm's own are: whoever has another source or sink of messages
/// joins it to a component by a channel.
pub trait Part: Send + 'static {
    /// Whether messages come from it.
    const GIVES: bool;

    /// Whether messages can go to it.
    const TAKES: bool;

    /// The names of the parts that it starts within it.
    #[doc(hidden)]
    const WITHIN: &'static [&'static str] = &[];

    /// Whether it answers for what it takes: it says what becomes of each message that came over
    /// the palm link, by its ticket.
    const ANSWERS: bool = false;

    /// Whether it takes bundles: messages of the palm link that are one frame.
    #[doc(hidden)]
    const BUNDLES: bool = false;

    /// Checks what can be checked before anything is opened.
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// How much may wait for it.
    #[doc(hidden)]
    fn measure(&self) -> Measure {
        Measure::USUAL
    }

    /// What to ring when there is something for it, if it has a bell of its own.
    #[doc(hidden)]
    fn bell(&self) -> Option<Arc<Bell>> {
        None
    }

    /// Starts its threads.
    fn spawn(self, crew: &mut Crew, wiring: Wiring) -> Result<()>;
}

/// A part that messages come from.
pub trait Inbound: Part {}

/// A part that messages go to. Some give something back for each.
pub trait Outbound: Part {}

/// A part beside the stream of messages.
pub trait Bypass: Part {}
