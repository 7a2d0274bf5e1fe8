//! A master: its workers run the functions, each in a process of its own.

#[path = "../common/mod.rs"]
mod common;

use log::LevelFilter;
use palm::{Addresses, Master};

fn main() -> Result<(), common::Failure> {
    common::log(LevelFilter::Info);
    let flags: common::ServerFlags = argh::from_env();
    let (name, addresses) = flags.with_defaults("server", Addresses::default());
    Master::new(name, addresses).start()?.wait()?;
    Ok(())
}
