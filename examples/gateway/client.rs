//! Calls a function by its URL. `curl http://127.0.0.1:8888/function` does the same.

#[path = "../common/mod.rs"]
mod common;

/// Call a function by HTTP.
#[derive(argh::FromArgs)]
#[argh(help_triggers("-h", "--help"))]
struct Flags {
    /// what to call (default: http://127.0.0.1:8888/function)
    #[argh(option, default = "String::from(\"http://127.0.0.1:8888/function\")")]
    url: String,
}

fn main() -> Result<(), ureq::Error> {
    let flags: Flags = argh::from_env();
    let mut reply = ureq::get(&flags.url).call()?;
    let result = reply.body_mut().read_to_vec()?;
    println!("{}", common::python(&result));
    Ok(())
}
