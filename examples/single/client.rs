//! Calls the server once.

#[path = "../common/mod.rs"]
mod common;

use log::LevelFilter;
use palm::Client;

fn main() -> Result<(), common::Failure> {
    common::log(LevelFilter::Warn);
    let flags: common::ClientFlags = argh::from_env();
    let (server, function, db) = flags.with_defaults("my_server", "tcp://127.0.0.1:5555");
    let client = Client::connect(server, db)?;
    let result = client.eval(&function, "a message")?;
    println!("Client got:  {}", common::python(&result));
    Ok(())
}
