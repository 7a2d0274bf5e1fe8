//! A worker, with addresses that it is told.

#[path = "../common/mod.rs"]
mod common;

use log::LevelFilter;
use palm::Worker;

/// Run a worker that is told all addresses.
#[derive(argh::FromArgs)]
#[argh(help_triggers("-h", "--help"))]
struct Flags {
    /// its name (default: a fresh uuid)
    #[argh(option, default = "uuid::Uuid::new_v4().to_string()")]
    name: String,
    /// address of the master's cache
    #[argh(option, default = "common::port(5559)")]
    db: String,
    /// address where the master gives out work
    #[argh(option, default = "common::port(5557)")]
    wpush: String,
    /// address where the master takes results
    #[argh(option, default = "common::port(5558)")]
    wpull: String,
}

fn main() -> Result<(), common::Failure> {
    common::log(LevelFilter::Info);
    let flags: Flags = argh::from_env();
    Worker::new(flags.db)
        .name(flags.name)
        .worker_push(flags.wpush)
        .worker_pull(flags.wpull)
        .function("foo", |call| {
            Ok([call.component().as_bytes(), b" processed ", call.payload()].concat())
        })
        .start()?
        .wait()?;
    Ok(())
}
