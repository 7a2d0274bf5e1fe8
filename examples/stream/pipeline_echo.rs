//! The branch for the topic odd, which ends here: its function gives no result.

#[path = "../common/mod.rs"]
mod common;

use log::LevelFilter;
use palm::{Addresses, Pipeline};

fn main() -> Result<(), common::Failure> {
    common::log(LevelFilter::Debug);
    let flags: common::StepFlags = argh::from_env();
    let own = Addresses::default()
        .db(common::port(5570))
        .publish(common::port(5571));
    let (name, addresses, (previous, at)) = flags.after_one("my_pipeline", own, ("odd", 5557));
    Pipeline::new(name, addresses)
        .after(previous, at)
        .function("foo", |call| {
            log::warn!(target: call.component(), "Just echo, nothing else");
            Ok(())
        })
        .start()?
        .wait()?;
    Ok(())
}
