//! A sink, after as many steps as its flags name.

#[path = "../common/mod.rs"]
mod common;

use log::LevelFilter;
use palm::{Addresses, Sink};

fn main() -> Result<(), common::Failure> {
    common::log(LevelFilter::Debug);
    let flags: common::StepFlags = argh::from_env();
    let own = Addresses::default()
        .db(common::port(5560))
        .publish(common::port(5561));
    let (name, addresses, previous) = flags.after("my_pipeline", own, &[("my_server", 5557)]);
    let mut sink = Sink::new(name, addresses);
    for (previous, at) in previous {
        sink = sink.after(previous, at);
    }
    sink.function("foo", |call| {
        log::warn!(target: call.component(), "Got a message");
        Ok([b"and I pipelined ", call.payload()].concat())
    })
    .start()?
    .wait()?;
    Ok(())
}
