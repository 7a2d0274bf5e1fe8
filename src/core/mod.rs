//! The state machines: no sockets, no clocks, no threads, no disks. What happens is told to
//! them, with the time; what to do is what they answer.

// First: the others use its macro.
#[macro_use]
pub(crate) mod planted;

pub(crate) mod complaints;
pub(crate) mod custody;
pub(crate) mod divide;
pub(crate) mod link;
pub(crate) mod numbered;
pub(crate) mod outbox;
pub(crate) mod queue;
pub(crate) mod ranges;
pub(crate) mod reduction;
pub(crate) mod requests;
pub(crate) mod stalled;
mod subscriptions;
pub(crate) mod turns;
pub(crate) mod window;
