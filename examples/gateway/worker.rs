//! A worker, like that of any other master.

#[path = "../common/mod.rs"]
mod common;

use log::LevelFilter;
use palm::Worker;

fn main() -> Result<(), common::Failure> {
    common::log(LevelFilter::Info);
    let flags: common::WorkerFlags = argh::from_env();
    Worker::new(flags.db)
        .name(flags.name)
        .function("function", |_| Ok(b"acknowledged"))
        .start()?
        .wait()?;
    Ok(())
}
