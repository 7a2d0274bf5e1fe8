//! A hub: its workers work on the results of the step before.

#[path = "../common/mod.rs"]
mod common;

use log::LevelFilter;
use palm::{Addresses, Hub};

fn main() -> Result<(), common::Failure> {
    common::log(LevelFilter::Info);
    let flags: common::StepFlags = argh::from_env();
    let own = Addresses::default()
        .publish(common::port(5558))
        .worker_pull(common::port(5559))
        .worker_push(common::port(5560))
        .db(common::port(5561));
    let (name, addresses, (previous, at)) = flags.after_one("hub", own, ("server", 5557));
    Hub::new(name, addresses)
        .after(previous, at)
        .start()?
        .wait()?;
    Ok(())
}
