#![warn(missing_docs)]
//! palm
mod address;
mod cache;
mod client;
mod core;
mod error;
mod handler;
#[cfg(feature = "cli")]
pub mod logging;
pub mod message;
pub mod part;
mod socket;
pub mod store;
mod template;
mod worker;

pub use address::Addresses;
pub use cache::CacheClient;
pub use client::{Client, ClientBuilder, Job, Request};
pub use error::{BoxError, Error, Result};
pub use handler::{Cache, Call, Functions, Handler, Reply};
pub use message::{Frame, PalmMessage};
pub use part::{Running, Stopper};
pub use template::{Master, Server};
pub use worker::Worker;
