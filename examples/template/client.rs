//! Sends ten messages, to addresses that it is told.

#[path = "../common/mod.rs"]
mod common;

use log::LevelFilter;
use palm::Client;

/// Run a client that is told all addresses.
#[derive(argh::FromArgs)]
#[argh(help_triggers("-h", "--help"))]
struct Flags {
    /// name of the server to call
    #[argh(option, default = "String::from(\"server\")")]
    server: String,
    /// address of the server's cache
    #[argh(option, default = "common::port(5559)")]
    db: String,
    /// address where the server takes messages
    #[argh(option, default = "common::port(5555)")]
    pull: String,
    /// address where the server publishes
    #[argh(option, long = "pub", default = "common::port(5556)")]
    publish: String,
}

fn main() -> Result<(), common::Failure> {
    common::log(LevelFilter::Warn);
    let flags: Flags = argh::from_env();
    let function = format!("{}.foo", flags.server);
    let client = Client::builder(flags.server, flags.db)
        .pull(flags.pull)
        .publish(flags.publish)
        .connect()?;
    for result in client.job(&function, ["a message"; 10])? {
        println!("{}", common::python(&result?));
    }
    Ok(())
}
