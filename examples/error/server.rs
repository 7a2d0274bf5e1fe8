//! A server whose function fails: it says so, and goes on.

#[path = "../common/mod.rs"]
mod common;

use log::LevelFilter;
use palm::{BoxError, Server};

fn main() -> Result<(), common::Failure> {
    common::log(LevelFilter::Info);
    let flags: common::ServerFlags = argh::from_env();
    let (name, addresses) = flags.with_defaults("my_server", common::single_addresses());
    Server::new(name, addresses)
        .function("foo", |call| -> Result<(), BoxError> {
            log::warn!(target: call.component(), "Got a message");
            Err("there is no x".into())
        })
        .start()?
        .wait()?;
    Ok(())
}
