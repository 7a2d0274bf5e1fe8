//! A worker that reads the master's cache.

#[path = "../common/mod.rs"]
mod common;

use log::LevelFilter;
use palm::Worker;

fn main() -> Result<(), common::Failure> {
    common::log(LevelFilter::Info);
    let flags: common::WorkerFlags = argh::from_env();
    Worker::new(flags.db)
        .name(flags.name)
        .function("foo", |call| {
            let cached = call.cache().get("cached")?.unwrap_or_default();
            Ok([call.component().as_bytes(), &cached, call.payload()].concat())
        })
        .start()?
        .wait()?;
    Ok(())
}
