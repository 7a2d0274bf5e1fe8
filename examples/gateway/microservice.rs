//! A master that HTTP is put before: calls come in by URL, and go out to workers.

#[path = "../common/mod.rs"]
mod common;

use log::LevelFilter;
use palm::Assembly;
use palm::http::Gateway;
use palm::part::{WorkerPullService, WorkerPushService};

/// Run the microservice.
#[derive(argh::FromArgs)]
#[argh(help_triggers("-h", "--help"))]
struct Flags {
    /// its name (default: server)
    #[argh(option, default = "String::from(\"server\")")]
    name: String,
    /// address for messages to workers (default: tcp://127.0.0.1:5558)
    #[argh(option, default = "String::from(\"tcp://127.0.0.1:5558\")")]
    wpush: String,
    /// address for results from workers (default: tcp://127.0.0.1:5557)
    #[argh(option, default = "String::from(\"tcp://127.0.0.1:5557\")")]
    wpull: String,
    /// address of the cache (default: tcp://127.0.0.1:5559)
    #[argh(option, default = "String::from(\"tcp://127.0.0.1:5559\")")]
    db: String,
    /// host and port to listen at for HTTP (default: 127.0.0.1:8888)
    #[argh(option, default = "String::from(\"127.0.0.1:8888\")")]
    listen: String,
}

fn main() -> Result<(), common::Failure> {
    common::log(LevelFilter::Info);
    let flags: Flags = argh::from_env();
    Assembly::new(&flags.name)
        .inbound("Gateway", Gateway::new(flags.listen), "WorkerPush")
        .inbound("WorkerPull", WorkerPullService::new(flags.wpull), "Gateway")
        .outbound("WorkerPush", WorkerPushService::new(flags.wpush))
        .cache("Cache", flags.db)
        .preset("name", flags.name)
        .preset_address("db_address", "Cache")
        .preset_address("worker_pull_address", "WorkerPull")
        .preset_address("worker_push_address", "WorkerPush")
        .start()?
        .wait()?;
    Ok(())
}
