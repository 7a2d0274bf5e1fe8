//! A master that makes three messages of each.

#[path = "../common/mod.rs"]
mod common;

use log::LevelFilter;
use palm::{Addresses, Master};

fn main() -> Result<(), common::Failure> {
    common::log(LevelFilter::Info);
    let flags: common::ServerFlags = argh::from_env();
    let (name, addresses) = flags.with_defaults("server", Addresses::default());
    Master::new(name, addresses)
        .scatter(|message| vec![message; 3])
        .start()?
        .wait()?;
    Ok(())
}
