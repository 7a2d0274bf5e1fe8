//! Calls a function by its URL. `curl http://127.0.0.1:8888/function` does the same.

#[path = "../common/mod.rs"]
mod common;

/// Call a function by HTTP.
#[derive(argh::FromArgs)]
#[argh(help_triggers("-h", "--help"))]
struct Flags {
    /// where the gateway is (default: http://127.0.0.1:8888)
    #[argh(option, default = "String::from(\"http://127.0.0.1:8888\")")]
    url: String,
}

fn main() -> Result<(), ureq::Error> {
    let flags: Flags = argh::from_env();
    let mut reply = ureq::get(format!("{}/function", flags.url)).call()?;
    let result = reply.body_mut().read_to_vec()?;
    println!("{}", common::python(&result));
    Ok(())
}
