//! A worker of the hub. It finds the hub as it would a master.

#[path = "../common/mod.rs"]
mod common;

use log::LevelFilter;
use palm::Worker;

/// Run a worker.
#[derive(argh::FromArgs)]
#[argh(help_triggers("-h", "--help"))]
struct Flags {
    /// its name (default: a fresh uuid)
    #[argh(option, default = "uuid::Uuid::new_v4().to_string()")]
    name: String,
    /// address of the hub's cache
    #[argh(option, default = "common::port(5561)")]
    db: String,
}

fn main() -> Result<(), common::Failure> {
    common::log(LevelFilter::Info);
    let flags: Flags = argh::from_env();
    Worker::new(flags.db)
        .name(flags.name)
        .function("foo", |call| {
            log::info!(target: call.component(), "Processed");
            Ok([call.component().as_bytes(), b" processed ", call.payload()].concat())
        })
        .start()?
        .wait()?;
    Ok(())
}
