//! Sends ten messages, and gets thirty results, of which the last is another.

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
    let request = client.request(&function).expect(30);
    for result in request.job(["a message"; 10])? {
        println!("{}", common::python(&result?));
    }
    Ok(())
}
