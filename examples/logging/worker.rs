//! A worker that says how many messages it has processed, every ten.

#[path = "../common/mod.rs"]
mod common;

use std::sync::atomic::{AtomicUsize, Ordering};

use log::LevelFilter;
use palm::Worker;

fn main() -> Result<(), common::Failure> {
    common::log(LevelFilter::Info);
    let flags: common::WorkerFlags = argh::from_env();
    let calls = AtomicUsize::new(0);
    Worker::new(flags.db)
        .name(flags.name)
        .function("foo", move |call| {
            let calls = calls.fetch_add(1, Ordering::Relaxed) + 1;
            if calls.is_multiple_of(10) {
                log::info!(target: call.component(), "Processed {calls} messages");
            }
            let cached = call.cache().get("cached")?.unwrap_or_default();
            Ok([call.component().as_bytes(), &cached, call.payload()].concat())
        })
        .start()?
        .wait()?;
    Ok(())
}
