//! A worker whose function gives two results for each message.

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
            let name = call.component().as_bytes();
            let result = |part| [name, b" processed ", call.payload(), part].concat();
            Ok(vec![result(b" 1"), result(b" 2")])
        })
        .start()?
        .wait()?;
    Ok(())
}
