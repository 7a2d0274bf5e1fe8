//! A worker, as of any master.

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
            log::info!(target: call.component(), "Processed");
            Ok([call.component().as_bytes(), b" processed ", call.payload()].concat())
        })
        .start()?
        .wait()?;
    Ok(())
}
