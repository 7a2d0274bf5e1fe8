//! A worker of both the master and the reducer. Start as many as there are cores.

#[path = "../common/mod.rs"]
mod common;
mod words;

use argh::FromArgs;
use log::LevelFilter;
use palm::{Worker, reduce};

/// Run a worker.
#[derive(FromArgs)]
#[argh(help_triggers("-h", "--help"))]
struct Flags {
    /// its name (default: a fresh uuid)
    #[argh(option, default = "uuid::Uuid::new_v4().to_string()")]
    name: String,
    /// address of the master's cache
    #[argh(option, default = "String::from(\"tcp://127.0.0.1:5559\")")]
    db: String,
    /// address of the reducer's cache
    #[argh(option, default = "String::from(\"tcp://127.0.0.1:5564\")")]
    reducer: String,
}

fn main() -> Result<(), common::Failure> {
    common::log(LevelFilter::Info);
    let flags: Flags = argh::from_env();
    let counting = Worker::new(flags.db)
        .name(&flags.name)
        .function("count", |call| Ok(words::count(call.payload())))
        .start()?;
    let merging = Worker::new(flags.reducer)
        .name(&flags.name)
        .handler("merge", reduce::combine(words::merge))
        .start()?;
    counting.wait()?;
    merging.stop()?;
    Ok(())
}
