//! Parts: what components are put together from.
//!
//! A part is one thread that owns one socket, but for a [link](LinkService), whose thread also
//! owns the sockets of the parts that its faces are made with: what goes from one of them to
//! another should not change threads. A part gives what it receives to an [`Outlet`], or sends
//! what comes from an [`Inlet`]; a [`channel`] joins the two. The templates are made of
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
//! A whole component, with a router between its parts where there is something to decide, is an
//! [`Assembly`].
//!
//! | part | socket | gives | takes |
//! |------|--------|-------|-------|
//! | [`PullService`] | PULL, binds | what clients push, each with an id in `cache` | |
//! | [`PullConnection`] | PULL, connects | the same, from one who binds | |
//! | [`SubConnection`] | SUB, connects | what an earlier step publishes | |
//! | [`ResultConnection`] | SUB, connects | what a server publishes for a client | |
//! | [`WorkerPullService`] | PULL, binds | what workers have done | |
//! | [`PubService`] | PUB, binds | | what to publish, by topic |
//! | [`WorkerPushService`] | PUSH, binds | | what workers shall do |
//! | [`PushService`] | PUSH, binds | | what others pull |
//! | [`PushConnection`] | PUSH, connects | | the same, for one who binds |
//! | [`FunctionService`] | | what functions give | what they shall run on |
//! | [`RepService`] | REP, binds | what is asked of it | the answers, if it waits for any |
//! | [`RepConnection`] | REP, connects | the same, from one who binds | the same |
//!
//! With the feature `http`, in the module `http`:
//!
//! | part | socket | gives | takes |
//! |------|--------|-------|-------|
//! | `Gateway` | HTTP, listens | a call for each request | the results: the replies |
//! | `HttpService` | HTTP, listens | messages that are POSTed | the replies, if it waits for any |
//! | `HttpConnection` | HTTP, connects | the replies | messages to POST |
//!
//! For palm peers, with those of the pylm wire:
//!
//! | part | socket | gives | takes |
//! |------|--------|-------|-------|
//! | [`LinkClients`] | ROUTER, binds | what clients submit | |
//! | [`LinkWorkers`] | the same | what workers have done | what they shall do |
//! | [`LinkPublisher`] | the same | | what goes to clients and later steps |
//!
//! Beside the stream of messages:
//!
//! | part | socket | does |
//! |------|--------|------|
//! | [`LinkService`] | ROUTER, binds | is the link of the three parts above |
//! | [`CacheService`] | REP, binds | answers cache calls |
//! | [`RepBypass`] | REP, binds | answers raw bytes by a function |
//! | [`PullBypass`] | PULL, connects | gives raw bytes to a function |
//! | [`PushBypass`] | PUSH, connects | sends raw bytes that any thread has |
//!
//! What binds is a service, what connects a connection. Which of the two sides binds makes no
//! difference to what goes over; it is a matter of which side has an address that is known.
//!
//! # The contract of a part
//!
//! - Its `start` returns when its socket is bound, or with the error, which names the address.
//! - What it takes it sends, in order; what it cannot send yet it keeps, within bounds, and
//!   takes no more. It drops nothing without counting and saying so.
//! - Malformed input is counted, and logged once per peer and ten seconds. It stops nothing.
//! - On a stop, one that gives ends at once; one that takes goes on until its channel has
//!   ended and is empty, for 0.25 s at the longest. One that answers takes no more requests,
//!   and goes on until those that it has are answered, as long at the longest.
//! - A part that cannot go on ends, and [`Running::wait`] says why. So does one whose messages
//!   nobody takes any more, when it has one to give, though nobody has stopped it.

mod answer;
mod aside;
mod assembly;
mod attached;
mod batch;
mod bypass;
mod cache;
mod channel;
mod crew;
mod dealer;
mod entry;
mod envelope;
mod follow;
mod functions;
mod link;
mod listened;
mod minder;
mod pace;
mod publish;
mod pull;
mod push;
mod push_bypass;
mod receive;
mod rep;
mod reply;
mod results;
mod route;
mod router;
mod run_clock;
mod running;
mod signal;
mod subscribe;
mod subscription;
mod tasks;
mod wired_tasks;
mod wiring;

pub use assembly::Assembly;
pub use batch::{Batch, Parcel};
pub use bypass::{PullBypass, RepBypass};
pub use cache::CacheService;
pub use channel::{Inlet, NotSent, Outlet, Received, channel};
pub use functions::FunctionService;
pub use link::{LinkClients, LinkPublisher, LinkService, LinkWorkers};
pub use publish::PubService;
pub use pull::{PullConnection, PullService, WorkerPullService};
pub use push::{PushConnection, PushService, WorkerPushService};
pub use push_bypass::{BypassSender, PushBypass, Unsent};
pub use rep::{RepConnection, RepService};
pub use results::ResultConnection;
pub use route::Route;
pub use router::Ways;
pub use running::{Running, Stopper};
pub use subscription::SubConnection;

pub(crate) use attached::{Place, Target};
pub(crate) use channel::Measure;
pub(crate) use crew::{Context, Crew, Duty};
pub(crate) use dealer::{Dealer, Find, Voice};
#[cfg(feature = "http")]
pub(crate) use functions::{Work, spawn_work};
pub(crate) use link::ShortWays;
pub(crate) use publish::{Choose, WELCOME};
pub(crate) use route::{Sorting, Spread, runnable, spread};
pub(crate) use signal::Signal;
pub(crate) use subscribe::{Hearing, Reader, Subscribe};
pub(crate) use tasks::TaskLink;
pub(crate) use wired_tasks::WiredTasks;
pub(crate) use wiring::Inbound;
#[cfg(feature = "http")]
pub(crate) use wiring::Outbound;

use std::sync::Arc;

use crate::address::Addresses;
use crate::error::Result;
use crate::store::Memory;
pub(crate) use wiring::{Part, Wiring};

/// Starts one part by itself.
pub(crate) fn start_alone<P: Part>(
    name: &str,
    part: P,
    outlet: Option<Outlet>,
    inlet: Option<Inlet>,
) -> Result<Running> {
    part.check()?;
    let mut crew = Crew::new(name);
    let wiring = Wiring {
        outlet,
        inlet,
        ..Wiring::new(name, Arc::new(Memory::new()))
    };
    part.spawn(&mut crew, wiring)?;
    crew.start(|_| Ok(Addresses::none()))
}
