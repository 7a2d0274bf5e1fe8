//! `palm call`

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use argh::FromArgs;
use palm::Wire;

use crate::common::{Failure, Outcome, log_level, payload, print, timeout, wire};
use crate::job::{connect, path};
use crate::signals;

/// Call a function with one payload and print the result.
#[derive(FromArgs)]
#[argh(subcommand, name = "call", help_triggers("-h", "--help", "help"))]
pub struct Call {
    /// address of the server's cache (default: tcp://127.0.0.1:5559)
    #[argh(option, default = "String::from(\"tcp://127.0.0.1:5559\")")]
    db: String,
    /// where to push the message (default: as the server tells at db)
    #[argh(option)]
    pull: Option<String>,
    /// where to subscribe for the result: the pub address of the last step (default: as the
    /// server tells at db)
    #[argh(option)]
    sub: Option<String>,
    /// one more step, SERVER.FUNCTION, after those before (repeats)
    #[argh(option)]
    then: Vec<String>,
    /// what to speak: link (the default, where the server has one) or pylm
    #[argh(option, from_str_fn(wire), default = "Wire::Link")]
    wire: Wire,
    /// how many seconds to wait for the server, and then for the result, 0 for as long as it
    /// takes (default: 10 for the server, 300 for the result)
    #[argh(option)]
    timeout: Option<f64>,
    /// log what it does, on standard error
    #[argh(switch, short = 'i')]
    info: bool,
    /// log everything
    #[argh(switch, short = 'd')]
    debug: bool,
    /// what to call, or the first step of a chain
    #[argh(positional, arg_name = "SERVER.FUNCTION")]
    function: String,
    /// the payload; - for standard input, nothing for an empty one. One that begins with - is
    /// put after --
    #[argh(positional, arg_name = "PAYLOAD")]
    payload: Option<String>,
}

impl Call {
    pub fn run(self) -> Outcome {
        log_level(self.debug, self.info);
        let timeout = self.timeout.map(timeout).transpose()?;
        let path = path(self.function, &self.then, self.sub.as_deref())?;
        let client = connect(&path, self.db, self.pull, self.sub, self.wire, timeout)?;
        let payload = payload(self.payload.as_deref())?;
        let mut request = client.request(&path);
        if let Some(timeout) = timeout {
            request = request.timeout(timeout);
        }
        // A call that a signal ends is cancelled: nobody is to run it any more.
        let mut job = request.expect(1).job([payload])?;
        let (canceller, caught) = (job.canceller(), Arc::new(AtomicI32::new(0)));
        let signal = caught.clone();
        signals::on_first(move |number| {
            signal.store(number, Ordering::SeqCst);
            canceller.cancel();
        });
        let result = job.next();
        drop((job, client));
        match (caught.load(Ordering::SeqCst), result) {
            (0, Some(result)) => print(&result?),
            (0, None) => Err("the call has ended without a result".to_owned().into()),
            (signal, _) => Err(Failure {
                message: Some("interrupted".to_owned()),
                code: u8::try_from(signals::exit_code(signal)).unwrap_or(1),
            }),
        }
    }
}
