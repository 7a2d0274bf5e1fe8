//! `palm master`

use std::path::Path;

use argh::FromArgs;
use palm::{Addresses, store};

use crate::common::{Outcome, announce, log_level};
use crate::signals;

/// Run a master: clients submit to it, workers do the work.
#[derive(FromArgs)]
#[argh(subcommand, name = "master", help_triggers("-h", "--help", "help"))]
pub struct Master {
    /// its name, which clients must give (default: server)
    #[argh(option, default = "String::from(\"server\")")]
    name: String,
    /// address for messages from clients (default: tcp://127.0.0.1:5555)
    #[argh(option)]
    pull: Option<String>,
    /// address for results to clients (default: tcp://127.0.0.1:5556)
    #[argh(option, long = "pub")]
    publish: Option<String>,
    /// address for messages to workers (default: tcp://127.0.0.1:5557)
    #[argh(option)]
    wpush: Option<String>,
    /// address for results from workers (default: tcp://127.0.0.1:5558)
    #[argh(option)]
    wpull: Option<String>,
    /// address of the cache, the only one that others need to know (default:
    /// tcp://127.0.0.1:5559)
    #[argh(option)]
    db: Option<String>,
    /// folder in which the cache survives a restart (needs the feature rocksdb; default: in
    /// memory)
    #[argh(option)]
    data: Option<String>,
    /// log what it does, on standard error
    #[argh(switch, short = 'i')]
    info: bool,
    /// log everything
    #[argh(switch, short = 'd')]
    debug: bool,
}

impl Master {
    pub fn run(self) -> Outcome {
        log_level(self.debug, self.info);
        let mut addresses = Addresses::default();
        for (address, given) in [
            (&mut addresses.pull, self.pull),
            (&mut addresses.publish, self.publish),
            (&mut addresses.worker_push, self.wpush),
            (&mut addresses.worker_pull, self.wpull),
            (&mut addresses.db, self.db),
        ] {
            if let Some(given) = given {
                *address = given;
            }
        }
        let mut master = palm::Master::new(self.name, addresses);
        if let Some(folder) = self.data {
            master = master.store(store::open(Path::new(&folder))?);
        }
        let running = master.start()?;
        let stopper = running.stopper();
        signals::on_first(move |_| stopper.stop());
        announce(running.addresses(), running.name());
        Ok(running.wait()?)
    }
}
