//! The palm link: who says what when.

mod giver;
mod line;
mod step;
mod taker;
mod upstream;
mod worker;

use std::time::Duration;

pub(crate) use giver::Giver;
pub(crate) use line::{Line, Party, Verdict};
pub(crate) use step::StepSession;
pub(crate) use taker::{Taken, Taker, Tell};
pub(crate) use upstream::{Speaks, Upstream};
pub(crate) use worker::WorkerSession;

pub(crate) use crate::message::link::Credit;

/// How often each side of a link says something, so that the other knows that it is there.
pub(crate) const BEAT: Duration = Duration::from_millis(250);

/// After so long a silence, the other side is taken to be gone.
pub(crate) const SILENCE: Duration = Duration::from_secs(2);
