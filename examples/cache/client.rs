//! Puts a value into the cache that the workers read, and sends them ten messages.

#[path = "../common/mod.rs"]
mod common;

use log::LevelFilter;
use palm::Client;

fn main() -> Result<(), common::Failure> {
    common::log(LevelFilter::Warn);
    let flags: common::ClientFlags = argh::from_env();
    let (server, function, db) = flags.with_defaults("server", "tcp://127.0.0.1:5559");
    let client = Client::connect(server, db)?;
    client.set(Some("cached"), b" cached data ")?;
    let cached = client.get("cached")?.unwrap_or_default();
    println!("{}", common::python(&cached));
    for result in client.job(&function, ["a message"; 10])? {
        println!("{}", common::python(&result?));
    }
    Ok(())
}
