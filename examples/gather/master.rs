//! A master that makes three messages of each, and changes the last of thirty results.

#[path = "../common/mod.rs"]
mod common;

use log::LevelFilter;
use palm::{Addresses, Master};

fn main() -> Result<(), common::Failure> {
    common::log(LevelFilter::Info);
    let flags: common::ServerFlags = argh::from_env();
    let (name, addresses) = flags.with_defaults("server", Addresses::default());
    let mut counter = 0;
    Master::new(name, addresses)
        .scatter(|message| vec![message; 3])
        .gather(move |mut message| {
            counter += 1;
            if counter == 30 {
                message.payload = b"final message".to_vec();
            }
            [message]
        })
        .start()?
        .wait()?;
    Ok(())
}
