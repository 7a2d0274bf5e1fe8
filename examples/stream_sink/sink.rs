//! A sink: the two branches come together again.

#[path = "../common/mod.rs"]
mod common;

use log::LevelFilter;
use palm::{Addresses, Sink};

fn main() -> Result<(), common::Failure> {
    common::log(LevelFilter::Debug);
    let flags: common::StepFlags = argh::from_env();
    let own = Addresses::default()
        .db(common::port(5580))
        .publish(common::port(5581));
    let (name, addresses, previous) = flags.after(
        "my_sink",
        own,
        &[("my_pipeline", 5561), ("my_pipeline", 5571)],
    );
    let mut sink = Sink::new(name, addresses);
    for (previous, at) in previous {
        sink = sink.after(previous, at);
    }
    sink.function("foo", |call| {
        log::warn!(target: call.component(), "Got a message");
        Ok([b"and gathered ", call.payload()].concat())
    })
    .start()?
    .wait()?;
    Ok(())
}
