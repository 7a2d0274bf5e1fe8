//! The branch that answers the client.

#[path = "../common/mod.rs"]
mod common;

use log::LevelFilter;
use palm::{Addresses, Pipeline};

fn main() -> Result<(), common::Failure> {
    common::log(LevelFilter::Debug);
    let flags: common::StepFlags = argh::from_env();
    let own = Addresses::default()
        .db(common::port(5560))
        .publish(common::port(5561));
    let (name, addresses, (previous, at)) =
        flags.after_one("my_pipeline", own, ("my_server", 5557));
    Pipeline::new(name, addresses)
        .after(previous, at)
        .function("foo", |call| {
            log::warn!(target: call.component(), "Got a message");
            Ok([b"and I pipelined ", call.payload()].concat())
        })
        .start()?
        .wait()?;
    Ok(())
}
