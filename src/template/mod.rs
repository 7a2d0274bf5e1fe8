//! The templates: assemblies of parts, and nothing else.

#[macro_use]
mod common;
mod hub;
mod master;
mod pipeline;
mod reducer;
mod server;
mod sink;

pub use hub::Hub;
pub use master::Master;
pub use pipeline::Pipeline;
pub use reducer::Reducer;
pub use server::Server;
pub use sink::Sink;
