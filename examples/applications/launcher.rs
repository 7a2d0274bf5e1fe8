//! Sends ten messages to the server and the function that its flags name.

#[path = "../common/mod.rs"]
mod common;

use log::LevelFilter;
use palm::Client;

/// Send ten messages to a server.
#[derive(argh::FromArgs)]
#[argh(help_triggers("-h", "--help"))]
struct Flags {
    /// name of the server to call
    #[argh(option)]
    server: String,
    /// name of the function to call
    #[argh(option)]
    function: String,
    /// address of the server's cache (default: tcp://127.0.0.1:5559)
    #[argh(option, default = "String::from(\"tcp://127.0.0.1:5559\")")]
    db: String,
}

fn main() -> Result<(), common::Failure> {
    common::log(LevelFilter::Warn);
    let flags: Flags = argh::from_env();
    let function = format!("{}.{}", flags.server, flags.function);
    let client = Client::connect(flags.server, flags.db)?;
    for result in client.job(&function, [" a message"; 10])? {
        println!("{}", common::python(&result?));
    }
    Ok(())
}
