//! `palm worker`

use std::sync::Arc;

use argh::FromArgs;
use palm::{Functions, Handler, Wire};

use crate::common::{FOREVER, Failure, Outcome, log_level, timeout, unmark_stdin, wire};
use crate::signals;

mod command;

use command::Command;

/// Run a worker that starts a command for each message: the payload is its standard input, its
/// standard output is the result, an exit code other than 0 is the error of the call, with the
/// end of its standard error. The command finds the name of the function in PALM_FUNCTION. At
/// SIGINT or SIGTERM the worker finishes the command that runs, hands back what it has not begun,
/// and ends; at a second one it ends the command, and itself, at once.
#[derive(FromArgs)]
#[argh(subcommand, name = "worker", help_triggers("-h", "--help"))]
pub struct Worker {
    /// its name (default: a fresh uuid)
    #[argh(option)]
    name: Option<String>,
    /// address of the master's cache (default: tcp://127.0.0.1:5559)
    #[argh(option, default = "String::from(\"tcp://127.0.0.1:5559\")")]
    db: String,
    /// the wire to speak with the master: link, if it has one, or pylm (default: link)
    #[argh(option, default = "Wire::Link", from_str_fn(wire))]
    wire: Wire,
    /// where the master gives out work on the pylm wire (default: as it tells at db)
    #[argh(option)]
    wpush: Option<String>,
    /// where the master takes results on the pylm wire (default: as it tells at db)
    #[argh(option)]
    wpull: Option<String>,
    /// the one function that the command is run for, so that others are unknown (default: it is
    /// run for every function that is called)
    #[argh(option)]
    function: Option<String>,
    /// how many seconds to wait for the master, 0 for as long as it takes (default: 10)
    #[argh(option, default = "10.0")]
    timeout: f64,
    /// log what it does, on standard error
    #[argh(switch, short = 'i')]
    info: bool,
    /// log everything
    #[argh(switch, short = 'd')]
    debug: bool,
    /// the command and its arguments, after --
    #[argh(positional, greedy)]
    command: Vec<String>,
}

impl Worker {
    pub fn run(self) -> Outcome {
        log_level(self.debug, self.info);
        let command: Vec<String> = self.command.iter().map(|part| unmark_stdin(part)).collect();
        let Some((program, arguments)) = command.split_first() else {
            return Err(Failure::usage(
                "a worker needs a command: palm worker -- CMD [ARG…]",
            ));
        };
        let command = Arc::new(Command::new(program, arguments)?);
        let handler: Arc<dyn Handler> = command.clone();
        let functions = match self.function {
            Some(name) => Functions::new().handler(name, handler),
            None => Functions::new().any(handler),
        };
        let mut worker = palm::Worker::new(self.db)
            .functions(functions)
            .wire(self.wire)
            .timeout(timeout(self.timeout)?.unwrap_or(FOREVER));
        if let Some(name) = self.name {
            worker = worker.name(name);
        }
        if let Some(address) = self.wpush {
            worker = worker.worker_push(address);
        }
        if let Some(address) = self.wpull {
            worker = worker.worker_pull(address);
        }
        let running = worker.start()?;
        let stopper = running.stopper();
        signals::on_first(move |_| {
            stopper.stop();
            // What runs is finished; or, at a second signal, ended with the worker.
            signals::on_first(move |signal| {
                command.stop();
                std::process::exit(signals::exit_code(signal));
            });
        });
        log::info!(target: running.name(), "ready");
        Ok(running.wait()?)
    }
}
