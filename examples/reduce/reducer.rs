//! Makes one table of words of all that the master's workers have counted: the second step.

#[path = "../common/mod.rs"]
mod common;
mod words;

use argh::FromArgs;
use log::LevelFilter;
use palm::message::PalmMessage;
use palm::reduce::Group;
use palm::{Addresses, Reducer};

/// Run a reducer.
#[derive(FromArgs)]
#[argh(help_triggers("-h", "--help"))]
struct Flags {
    /// its name
    #[argh(option, default = "String::from(\"reduce\")")]
    name: String,
    /// name of the step before
    #[argh(option, default = "String::from(\"map\")")]
    previous: String,
    /// address where that publishes
    #[argh(option, default = "String::from(\"tcp://127.0.0.1:5556\")")]
    sub: String,
    /// address for results to clients
    #[argh(
        option,
        long = "pub",
        default = "String::from(\"tcp://127.0.0.1:5561\")"
    )]
    publish: String,
    /// address for messages to workers
    #[argh(option, default = "String::from(\"tcp://127.0.0.1:5562\")")]
    wpush: String,
    /// address for results from workers
    #[argh(option, default = "String::from(\"tcp://127.0.0.1:5563\")")]
    wpull: String,
    /// address of the cache
    #[argh(option, default = "String::from(\"tcp://127.0.0.1:5564\")")]
    db: String,
}

fn main() -> Result<(), common::Failure> {
    common::log(LevelFilter::Info);
    let flags: Flags = argh::from_env();
    let addresses = Addresses::default()
        .publish(flags.publish)
        .worker_push(flags.wpush)
        .worker_pull(flags.wpull)
        .db(flags.db);
    Reducer::new(flags.name, addresses)
        .after(flags.previous, flags.sub)
        .scatter(shards)
        .key(|message| Group::of(&message.cache))
        .start()?
        .wait()?;
    Ok(())
}

/// Each shard of a chunk's table, as a message of its own. Its id says which shard it is.
fn shards(mut message: PalmMessage) -> Vec<PalmMessage> {
    let tables = std::mem::take(&mut message.payload);
    let shards = words::shards(&tables);
    let messages = shards.map(|(number, table)| PalmMessage {
        cache: number.to_string(),
        payload: table.to_vec(),
        ..message.clone()
    });
    messages.collect()
}
