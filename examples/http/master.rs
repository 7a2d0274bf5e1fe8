//! A master whose functions are run over HTTP, by a web worker.

#[path = "../common/mod.rs"]
mod common;

use log::LevelFilter;
use palm::Assembly;
use palm::http::HttpConnection;
use palm::part::{PubService, PullService};

/// Run the master.
#[derive(argh::FromArgs)]
#[argh(help_triggers("-h", "--help"))]
struct Flags {
    /// its name (default: server)
    #[argh(option, default = "String::from(\"server\")")]
    name: String,
    /// address for messages from clients (default: tcp://127.0.0.1:5555)
    #[argh(option, default = "String::from(\"tcp://127.0.0.1:5555\")")]
    pull: String,
    /// address for results to clients (default: tcp://127.0.0.1:5556)
    #[argh(
        option,
        long = "pub",
        default = "String::from(\"tcp://127.0.0.1:5556\")"
    )]
    publish: String,
    /// address of the cache (default: tcp://127.0.0.1:5559)
    #[argh(option, default = "String::from(\"tcp://127.0.0.1:5559\")")]
    db: String,
    /// where the web worker is (default: http://127.0.0.1:8888)
    #[argh(option, default = "String::from(\"http://127.0.0.1:8888\")")]
    url: String,
}

fn main() -> Result<(), common::Failure> {
    common::log(LevelFilter::Info);
    let flags: Flags = argh::from_env();
    let connection = HttpConnection::new(flags.url).parallel(1);
    Assembly::new(&flags.name)
        .inbound("Pull", PullService::new(flags.pull), "HttpConnection")
        .outbound("HttpConnection", connection)
        .replies("HttpConnection", "Pub")
        .outbound("Pub", PubService::new(flags.publish))
        .cache("Cache", flags.db)
        .preset("name", flags.name)
        .preset_address("db_address", "Cache")
        .preset_address("pull_address", "Pull")
        .preset_address("pub_address", "Pub")
        .start()?
        .wait()?;
    Ok(())
}
