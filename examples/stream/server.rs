//! A server whose results go to the topics even and odd in turn.

#[path = "../common/mod.rs"]
mod common;

use log::LevelFilter;
use palm::Server;

fn main() -> Result<(), common::Failure> {
    common::log(LevelFilter::Debug);
    let flags: common::ServerFlags = argh::from_env();
    let (name, addresses) = flags.with_defaults("my_server", common::single_addresses());
    let mut counter = 0;
    Server::new(name, addresses)
        .function("foo", |call| {
            log::warn!(target: call.component(), "Got a message");
            Ok([b"you sent me ", call.payload()].concat())
        })
        .route(move |message| {
            message.stage += 1;
            counter += 1;
            let topic = if counter % 2 == 0 { "odd" } else { "even" };
            topic.to_owned()
        })
        .start()?
        .wait()?;
    Ok(())
}
