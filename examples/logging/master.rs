//! A master that makes three messages of one, and says so when it changes the last result.

#[path = "../common/mod.rs"]
mod common;

use log::LevelFilter;
use palm::{Addresses, Master};

fn main() -> Result<(), common::Failure> {
    common::log(LevelFilter::Warn);
    let flags: common::ServerFlags = argh::from_env();
    let (name, addresses) = flags.with_defaults("server", Addresses::default());
    let component = name.clone();
    let mut counter = 0;
    Master::new(name, addresses)
        .scatter(|message| vec![message; 3])
        .gather(move |mut message| {
            counter += 1;
            if counter == 30 {
                log::error!(target: &component, "Changing the payload of the message");
                message.payload = b"final message".to_vec();
            }
            [message]
        })
        .start()?
        .wait()?;
    Ok(())
}
