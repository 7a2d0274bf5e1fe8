//! Calls a function that fails. A pylm client gets the payload `0`; a palm client of a palm
//! server gets the error.

#[path = "../common/mod.rs"]
mod common;

use log::LevelFilter;
use palm::Client;

fn main() -> Result<(), common::Failure> {
    common::log(LevelFilter::Warn);
    let flags: common::ClientFlags = argh::from_env();
    let (server, function, db) = flags.with_defaults("my_server", "tcp://127.0.0.1:5555");
    let client = Client::connect(server, db)?;
    match client.eval(&function, "a message") {
        Ok(result) => println!("Client got:  {}", common::python(&result)),
        Err(error) => println!("Client got an error: {error}"),
    }
    Ok(())
}
