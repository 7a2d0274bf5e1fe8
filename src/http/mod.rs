//! HTTP: functions by URL, and messages over HTTP in place of ZeroMQ. Needs the feature `http`.
//!
//! ```text
//! curl, browsers ─► Gateway ─► … workers …          a function by its name, payloads
//! … master … ─► HttpConnection ─► HttpWorker        whole messages
//! … master … ─► HttpConnection ─► HttpService ─► …  whole messages
//! ```
//!
//! | | |
//! |---|---|
//! | [`Gateway`] | a part: `POST /function` is a call, the reply its result |
//! | [`HttpService`] | a part: takes in messages that are POSTed |
//! | [`HttpConnection`] | a part: POSTs messages, and gives back the replies |
//! | [`HttpWorker`] | functions behind HTTP, for those who POST messages |
//! | [`Front`] | a gateway before a server that runs elsewhere |
//!
//! Each is compatible with its pylm counterpart. Connections are not encrypted: over networks
//! that are not trusted, put a proxy before both ends.

// First: the others use its macro.
#[macro_use]
mod server;

mod connection;
mod door;
mod feed;
mod front;
mod gateway;
mod limits;
mod request;
mod service;
mod waiting;
mod worker;

pub use connection::HttpConnection;
pub use front::Front;
pub use gateway::{Gateway, GatewayHandle};
pub use service::HttpService;
pub use worker::HttpWorker;
