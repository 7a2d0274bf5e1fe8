//! Calls a function by its URL. `curl http://127.0.0.1:8888/function` does the same.

#[path = "../common/mod.rs"]
mod common;

use std::process::ExitCode;

/// Call a function by HTTP.
#[derive(argh::FromArgs)]
#[argh(help_triggers("-h", "--help"))]
struct Flags {
    /// where the gateway is (default: http://127.0.0.1:8888)
    #[argh(option, default = "String::from(\"http://127.0.0.1:8888\")")]
    url: String,
}

fn main() -> ExitCode {
    let flags: Flags = argh::from_env();
    let url = format!("{}/function", flags.url);
    let result = ureq::get(&url)
        .call()
        .and_then(|mut reply| reply.body_mut().read_to_vec());
    match result {
        Ok(result) => {
            println!("{}", common::python(&result));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("Error: {url}: {error}");
            ExitCode::FAILURE
        }
    }
}
