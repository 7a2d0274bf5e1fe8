//! Counts the words of files, and prints them as `sort | uniq -c` does.

#[path = "../common/mod.rs"]
mod common;
mod words;

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use argh::FromArgs;
use log::LevelFilter;
use palm::Client;

/// Count the words of files.
#[derive(FromArgs)]
#[argh(help_triggers("-h", "--help"))]
struct Flags {
    /// name of the master that counts
    #[argh(option, default = "String::from(\"map\")")]
    server: String,
    /// address of its cache
    #[argh(option, default = "String::from(\"tcp://127.0.0.1:5559\")")]
    db: String,
    /// name of the reducer
    #[argh(option, default = "String::from(\"reduce\")")]
    reducer: String,
    /// address where the reducer publishes its results
    #[argh(
        option,
        long = "pub",
        default = "String::from(\"tcp://127.0.0.1:5561\")"
    )]
    publish: String,
    /// the files
    #[argh(positional)]
    files: Vec<PathBuf>,
}

fn main() -> Result<(), common::Failure> {
    common::log(LevelFilter::Warn);
    let flags: Flags = argh::from_env();
    let mut text: Box<dyn Read + Send> = Box::new(io::empty());
    for path in &flags.files {
        let file = File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
        text = Box::new(text.chain(file));
    }
    let client = Client::builder(&flags.server, &flags.db)
        .publish(&flags.publish)
        .connect()?;
    let steps = [
        format!("{}.count", flags.server),
        format!("{}.merge", flags.reducer),
    ];
    let failed = Arc::new(OnceLock::new());
    let chunks = words::Chunks::of(text, failed.clone());
    // The mark at the end has the reducer close its groups, and tells how many there were.
    let job = client.request(steps).end_mark().job(chunks)?;
    let tables: Vec<Vec<u8>> = job.collect::<Result<_, _>>()?;
    if let Some(error) = failed.get() {
        return Err(format!("the files cannot be read: {error}").into());
    }
    let mut out = io::BufWriter::new(io::stdout().lock());
    words::print(&tables, &mut out)?;
    out.flush()?;
    Ok(())
}
