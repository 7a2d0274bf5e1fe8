//! A master, put together from its parts.

#[path = "../common/mod.rs"]
mod common;

use log::LevelFilter;
use palm::part::{PubService, PullService, WorkerPullService, WorkerPushService};
use palm::{Addresses, Assembly};

fn main() -> Result<(), common::Failure> {
    common::log(LevelFilter::Info);
    let flags: common::ServerFlags = argh::from_env();
    let (name, at) = flags.with_defaults("server", Addresses::default());
    Assembly::new(&name)
        .inbound("Pull", PullService::new(&at.pull), "WorkerPush")
        .inbound("WorkerPull", WorkerPullService::new(&at.worker_pull), "Pub")
        .outbound("WorkerPush", WorkerPushService::new(&at.worker_push))
        .outbound("Pub", PubService::new(&at.publish))
        .cache("Cache", &at.db)
        .preset("name", name)
        .preset_address("db_address", "Cache")
        .preset_address("pull_address", "Pull")
        .preset_address("pub_address", "Pub")
        .preset_address("worker_pull_address", "WorkerPull")
        .preset_address("worker_push_address", "WorkerPush")
        .start()?
        .wait()?;
    Ok(())
}
