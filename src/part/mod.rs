//! Parts: what components are put together from.
//!
//! A part is one thread that owns one socket. It gives what it receives to an [`Outlet`], or
//! sends what comes from an [`Inlet`]; a [`channel`] joins the two. The templates are made of
//! these parts and of nothing else, and whoever wants another combination makes it likewise:
//!
//! ```
//! use palm::part::{PubService, PullService, channel};
//!
//! // Publishes whatever is pushed to it, under the id of its client.
//! let (outlet, inlet) = channel()?;
//! let pull = PullService::new("tcp://127.0.0.1:*").start(outlet)?;
//! let publisher = PubService::new("tcp://127.0.0.1:*").start(inlet)?;
//! println!("push to {:?}", pull.address_of("Pull"));
//! println!("subscribe at {:?}", publisher.address_of("Pub"));
//! pull.stop()?;
//! publisher.stop()?;
//! # Ok::<(), palm::Error>(())
//! ```
//!
//! | part | socket | gives | takes |
//! |------|--------|-------|-------|
//! | [`PullService`] | PULL, binds | what clients push, each with an id in `cache` | |
//! | [`PubService`] | PUB, binds | | what to publish, by topic |
//! | [`WorkerPushService`] | PUSH, binds | | what workers shall do |
//! | [`WorkerPullService`] | PULL, binds | what workers have done | |
//! | [`CacheService`] | REP, binds | | |
//!
//! # The contract of a part
//!
//! - Its `start` returns when its socket is bound, or with the error, which names the address.
//! - What it takes it sends, in order; what it cannot send yet it keeps, within bounds, and
//!   takes no more. It drops nothing without counting and saying so.
//! - Malformed input is counted, and logged once per peer and ten seconds. It stops nothing.
//! - On a stop, one that gives ends at once; one that takes goes on until its channel has
//!   ended and is empty, for 0.25 s at the longest.
//! - A part that cannot go on ends, and [`Running::wait`] says why.

mod attached;
mod cache;
mod channel;
mod crew;
mod functions;
mod publish;
mod pull;
mod push;
mod router;
mod running;
mod signal;
mod subscribe;

pub use cache::CacheService;
pub use channel::{Batch, Inlet, NotSent, Outlet, Parcel, Received, channel};
pub use publish::PubService;
pub use pull::{PullService, WorkerPullService};
pub use push::WorkerPushService;
pub use running::{Running, Stopper};

pub(crate) use attached::{Place, Target};
pub(crate) use channel::channel_of;
pub(crate) use crew::{Context, Crew, Duty};
pub(crate) use functions::spawn_functions;
pub(crate) use publish::WELCOME;
pub(crate) use pull::Pull;
pub(crate) use push::Push;
pub(crate) use router::{Deliveries, ExitId, Router};
pub(crate) use signal::Signal;
pub(crate) use subscribe::{Reader, Subscribe};

use crate::address::Addresses;
use crate::error::Result;

/// Starts one part by itself.
fn start_alone(name: &str, spawn: impl FnOnce(&mut Crew) -> Result<()>) -> Result<Running> {
    let mut crew = Crew::new(name);
    spawn(&mut crew)?;
    let empty = || Addresses {
        pull: String::new(),
        publish: String::new(),
        worker_push: String::new(),
        worker_pull: String::new(),
        db: String::new(),
    };
    crew.start(|_| Ok(empty()))
}
