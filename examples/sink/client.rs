//! Calls a server whose result goes on to a sink, which answers.

#[path = "../common/mod.rs"]
mod common;

use log::LevelFilter;
use palm::Client;

fn main() -> Result<(), common::Failure> {
    common::log(LevelFilter::Warn);
    let flags: common::ChainFlags = argh::from_env();
    let (server, db, last) = flags.with_defaults("my_server", 5555, 5561);
    let steps = [format!("{server}.foo"), "my_pipeline.foo".to_owned()];
    let client = Client::builder(server, db).publish(last).connect()?;
    let result = client.eval(steps, "a message")?;
    println!("Client got:  {}", common::python(&result));
    Ok(())
}
