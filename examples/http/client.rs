//! Sends ten messages to the master.

#[path = "../common/mod.rs"]
mod common;

use log::LevelFilter;
use palm::Client;

fn main() -> Result<(), common::Failure> {
    common::log(LevelFilter::Warn);
    let flags: common::ClientFlags = argh::from_env();
    let (server, function, db) = flags.with_defaults("server", "tcp://127.0.0.1:5559");
    let client = Client::connect(server, db)?;
    for result in client.job(&function, ["a message"; 10])? {
        println!("{}", common::python(&result?));
    }
    Ok(())
}
