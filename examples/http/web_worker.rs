//! A worker that runs functions for whoever POSTs messages.

#[path = "../common/mod.rs"]
mod common;

use log::LevelFilter;
use palm::http::HttpWorker;

/// Run the web worker.
#[derive(argh::FromArgs)]
#[argh(help_triggers("-h", "--help"))]
struct Flags {
    /// host and port to listen at (default: 127.0.0.1:8888)
    #[argh(option, default = "String::from(\"127.0.0.1:8888\")")]
    listen: String,
}

fn main() -> Result<(), common::Failure> {
    common::log(LevelFilter::Info);
    let flags: Flags = argh::from_env();
    HttpWorker::new(flags.listen)
        .name("web_worker")
        .function("foo", |call| {
            Ok([call.payload(), b" processed online"].concat())
        })
        .start()?
        .wait()?;
    Ok(())
}
