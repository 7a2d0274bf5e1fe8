//! A server whose results go on to the next step.

#[path = "../common/mod.rs"]
mod common;

use log::LevelFilter;
use palm::Server;

fn main() -> Result<(), common::Failure> {
    common::log(LevelFilter::Debug);
    let flags: common::ServerFlags = argh::from_env();
    let (name, addresses) = flags.with_defaults("server", common::single_addresses());
    Server::new(name, addresses)
        .function("foo", |call| {
            log::warn!(target: call.component(), "Got a message");
            Ok([b"you sent me ", call.payload()].concat())
        })
        .pipelined(true)
        .start()?
        .wait()?;
    Ok(())
}
