//! `palm master`

use std::path::Path;

use argh::FromArgs;
use palm::store;

use crate::common::{Failure, Outcome, addresses, log_level, run};

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
    /// address for palm peers (default: a free port beside that of the cache)
    #[argh(option)]
    link: Option<String>,
    /// folder in which the cache survives a restart (needs the feature rocksdb; default: in
    /// memory)
    #[argh(option)]
    data: Option<String>,
    /// pass results on to the next step, which subscribes to this one's name, instead of to
    /// the clients
    #[argh(switch)]
    pipelined: bool,
    /// how many next steps are to get a copy of each result (default: 1)
    #[argh(option, default = "1")]
    subscribers: usize,
    /// how many workers may end while they run a message before it is given up (default: 5)
    #[argh(option, default = "5")]
    max_attempts: u32,
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
        Failure::unless_zero(self.subscribers, "--subscribers")?;
        Failure::unless_zero(self.max_attempts as usize, "--max-attempts")?;
        let addresses = addresses(
            self.pull,
            self.publish,
            self.wpush,
            self.wpull,
            self.db,
            self.link,
        );
        let mut master = palm::Master::new(self.name, addresses)
            .pipelined(self.pipelined)
            .subscribers(self.subscribers)
            .max_attempts(self.max_attempts);
        if let Some(folder) = self.data {
            master = master.store(store::open(Path::new(&folder))?);
        }
        run(&master.start()?)
    }
}
