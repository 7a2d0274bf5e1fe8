//! The command line: components as processes, and calls from a shell.

mod bench;
mod cache;
mod call;
mod common;
mod gateway;
mod hub;
mod job;
mod master;
mod signals;
mod status;
mod worker;

use std::process::ExitCode;

use argh::{FromArgs, SubCommands};

use common::{Failure, USAGE};

/// Clusters of high-performance components over ZeroMQ, on pylm's wire.
#[derive(FromArgs)]
#[argh(help_triggers("-h", "--help", "help"))]
struct Palm {
    #[argh(subcommand)]
    command: Command,
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum Command {
    Master(master::Master),
    Hub(hub::Hub),
    Worker(worker::Worker),
    Call(call::Call),
    Job(job::Job),
    Cache(cache::Cache),
    Gateway(gateway::Gateway),
    Status(status::Status),
    Bench(bench::Bench),
}

fn main() -> ExitCode {
    let Ok(args) = std::env::args_os()
        .map(|arg| arg.into_string())
        .collect::<Result<Vec<_>, _>>()
    else {
        common::say("palm: an argument is not UTF-8");
        return ExitCode::from(USAGE);
    };
    let args = common::mark_stdin(args.iter().skip(1).map(String::as_str));
    if matches!(args.as_slice(), ["--version" | "-V"]) {
        return say(concat!("palm ", env!("CARGO_PKG_VERSION")));
    }
    if let [bench::ROLE, role] = args.as_slice() {
        return end(bench::play(role));
    }
    match Palm::from_args(&["palm"], &args) {
        Ok(palm) => run(palm.command),
        Err(exit) if exit.status.is_ok() => say(&common::unmark_stdin(exit.output.trim_end())),
        Err(exit) => misused(&args, &common::unmark_stdin(exit.output.trim_end())),
    }
}

/// Says what is wrong with the arguments, and where help is.
fn misused(args: &[&str], wrong: &str) -> ExitCode {
    let names = Command::COMMANDS.iter().map(|command| command.name);
    let names: Vec<_> = names.collect();
    let first = args.first().filter(|first| !first.starts_with('-'));
    match first {
        Some(first) if names.contains(first) => {
            common::say(&format!("palm: {wrong}"));
            common::say(&format!("palm: see 'palm {first} --help'"));
        }
        Some(first) => {
            let names = names.join(", ");
            common::say(&format!("palm: '{first}' is no command: there are {names}"));
            common::say("palm: see 'palm --help'");
        }
        None => {
            common::say(&format!("palm: {wrong}"));
            common::say("palm: see 'palm --help', or 'palm COMMAND --help'");
        }
    }
    ExitCode::from(USAGE)
}

/// Prints a text that was asked for.
fn say(text: &str) -> ExitCode {
    match common::print(format!("{text}\n").as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => report(failure),
    }
}

fn report(Failure { message, code }: Failure) -> ExitCode {
    if let Some(message) = message {
        common::say(&format!("palm: {message}"));
    }
    ExitCode::from(code)
}

fn run(command: Command) -> ExitCode {
    if let Err(error) = signals::install() {
        common::say(&format!("palm: signals cannot be handled: {error}"));
        return ExitCode::FAILURE;
    }
    let result = match command {
        Command::Master(master) => master.run(),
        Command::Hub(hub) => hub.run(),
        Command::Worker(worker) => worker.run(),
        Command::Call(call) => call.run(),
        Command::Job(job) => job.run(),
        Command::Cache(cache) => cache.run(),
        Command::Gateway(gateway) => gateway.run(),
        Command::Status(status) => status.run(),
        Command::Bench(bench) => bench.run(),
    };
    end(result)
}

fn end(result: common::Outcome) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => report(failure),
    }
}
