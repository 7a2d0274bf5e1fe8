//! Sends ten messages through three steps, whichever way each takes.

#[path = "../common/mod.rs"]
mod common;

use log::LevelFilter;
use palm::Client;

fn main() -> Result<(), common::Failure> {
    common::log(LevelFilter::Warn);
    let flags: common::ChainFlags = argh::from_env();
    let (server, db, last) = flags.with_defaults("my_server", 5555, 5581);
    let steps = [
        format!("{server}.foo"),
        "my_pipeline.foo".to_owned(),
        "my_sink.foo".to_owned(),
    ];
    let client = Client::builder(server, db).publish(last).connect()?;
    for result in client.job(steps, ["a message"; 10])? {
        println!("Client got:  {}", common::python(&result?));
    }
    Ok(())
}
