//! Counts words, chunk by chunk: the first step. Its results go to the reducer.

#[path = "../common/mod.rs"]
mod common;

use log::LevelFilter;
use palm::{Addresses, Master};

fn main() -> Result<(), common::Failure> {
    common::log(LevelFilter::Info);
    let flags: common::ServerFlags = argh::from_env();
    let (name, addresses) = flags.with_defaults("map", Addresses::default());
    Master::new(name, addresses)
        .pipelined(true)
        .start()?
        .wait()?;
    Ok(())
}
