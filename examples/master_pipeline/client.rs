//! Sends ten messages to workers, whose results go on to a pipeline.

#[path = "../common/mod.rs"]
mod common;

use log::LevelFilter;
use palm::Client;

fn main() -> Result<(), common::Failure> {
    common::log(LevelFilter::Warn);
    let flags: common::ChainFlags = argh::from_env();
    let (server, db, last) = flags.with_defaults("server", 5559, 5561);
    let steps = [format!("{server}.foo"), "my_pipeline.foo".to_owned()];
    let client = Client::builder(server, db).publish(last).connect()?;
    for result in client.job(steps, ["a message"; 10])? {
        println!("{}", common::python(&result?));
    }
    Ok(())
}
