//! The flags of the examples.

use argh::FromArgs;
use palm::Addresses;

/// The address of a port of this machine.
pub fn port(port: u16) -> String {
    format!("tcp://127.0.0.1:{port}")
}

/// The addresses of the examples with a single server.
pub fn single_addresses() -> Addresses {
    Addresses::default()
        .db(port(5555))
        .pull(port(5556))
        .publish(port(5557))
}

/// Run a server or a master.
#[derive(FromArgs)]
#[argh(help_triggers("-h", "--help"))]
pub struct ServerFlags {
    /// its name
    #[argh(option)]
    pub name: Option<String>,
    /// address for messages from clients
    #[argh(option)]
    pub pull: Option<String>,
    /// address for results to clients, or to a next step
    #[argh(option, long = "pub")]
    pub publish: Option<String>,
    /// address for messages to workers
    #[argh(option)]
    pub wpush: Option<String>,
    /// address for results from workers
    #[argh(option)]
    pub wpull: Option<String>,
    /// address of the cache
    #[argh(option)]
    pub db: Option<String>,
}

impl ServerFlags {
    /// The name, and the addresses with those that were given in place of the defaults.
    pub fn with_defaults(self, name: &str, mut addresses: Addresses) -> (String, Addresses) {
        for (address, given) in [
            (&mut addresses.pull, self.pull),
            (&mut addresses.publish, self.publish),
            (&mut addresses.worker_push, self.wpush),
            (&mut addresses.worker_pull, self.wpull),
            (&mut addresses.db, self.db),
        ] {
            replace(address, given);
        }
        (self.name.unwrap_or_else(|| name.to_owned()), addresses)
    }
}

fn replace(address: &mut String, given: Option<String>) {
    if let Some(given) = given {
        *address = given;
    }
}

/// Run a step after others.
#[derive(FromArgs)]
#[argh(help_triggers("-h", "--help"))]
pub struct StepFlags {
    /// its name
    #[argh(option)]
    pub name: Option<String>,
    /// name of a previous step; for several, each with its --sub
    #[argh(option)]
    pub previous: Vec<String>,
    /// address where a previous step publishes
    #[argh(option)]
    pub sub: Vec<String>,
    /// address for results
    #[argh(option, long = "pub")]
    pub publish: Option<String>,
    /// address for messages to workers
    #[argh(option)]
    pub wpush: Option<String>,
    /// address for results from workers
    #[argh(option)]
    pub wpull: Option<String>,
    /// address of the cache
    #[argh(option)]
    pub db: Option<String>,
}

impl StepFlags {
    /// The name, the step's own addresses, and the previous steps, each with its address: those
    /// that were given in place of the defaults. There may be more than by default.
    pub fn after(
        self,
        name: &str,
        addresses: Addresses,
        previous: &[(&str, u16)],
    ) -> (String, Addresses, Vec<(String, String)>) {
        let mut steps: Vec<_> = previous
            .iter()
            .map(|&(name, at)| (name.to_owned(), port(at)))
            .collect();
        if !self.previous.is_empty() || !self.sub.is_empty() {
            steps = self.previous.into_iter().zip(self.sub).collect();
        }
        let own = ServerFlags {
            name: self.name,
            pull: None,
            publish: self.publish,
            wpush: self.wpush,
            wpull: self.wpull,
            db: self.db,
        };
        let (name, addresses) = own.with_defaults(name, addresses);
        (name, addresses, steps)
    }

    /// The same with one previous step.
    pub fn after_one(
        mut self,
        name: &str,
        addresses: Addresses,
        previous: (&str, u16),
    ) -> (String, Addresses, (String, String)) {
        let step = (
            self.previous.pop().unwrap_or_else(|| previous.0.to_owned()),
            self.sub.pop().unwrap_or_else(|| port(previous.1)),
        );
        let (name, addresses, _) = self.after(name, addresses, &[]);
        (name, addresses, step)
    }
}

/// Run a worker.
#[derive(FromArgs)]
#[argh(help_triggers("-h", "--help"))]
pub struct WorkerFlags {
    /// its name (default: a fresh uuid)
    #[argh(option, default = "uuid::Uuid::new_v4().to_string()")]
    pub name: String,
    /// address of the master's cache
    #[argh(option, default = "port(5559)")]
    pub db: String,
}

/// Run a client.
#[derive(FromArgs)]
#[argh(help_triggers("-h", "--help"))]
pub struct ClientFlags {
    /// name of the server to call
    #[argh(option)]
    pub server: Option<String>,
    /// name of the function to call
    #[argh(option, default = "String::from(\"foo\")")]
    pub function: String,
    /// address of the server's cache
    #[argh(option)]
    pub db: Option<String>,
}

impl ClientFlags {
    /// The server's name, the path of the function, and the address of the cache.
    pub fn with_defaults(self, server: &str, db: &str) -> (String, String, String) {
        let server = self.server.unwrap_or_else(|| server.to_owned());
        let path = format!("{server}.{}", self.function);
        (server, path, self.db.unwrap_or_else(|| db.to_owned()))
    }
}

/// Run a client of several steps.
#[derive(FromArgs)]
#[argh(help_triggers("-h", "--help"))]
pub struct ChainFlags {
    /// name of the first step
    #[argh(option)]
    pub server: Option<String>,
    /// address of the first step's cache
    #[argh(option)]
    pub db: Option<String>,
    /// address where the last step publishes
    #[argh(option)]
    pub sub: Option<String>,
}

impl ChainFlags {
    /// The first step's name, the address of its cache, and where the last step publishes.
    pub fn with_defaults(self, server: &str, db: u16, sub: u16) -> (String, String, String) {
        (
            self.server.unwrap_or_else(|| server.to_owned()),
            self.db.unwrap_or_else(|| port(db)),
            self.sub.unwrap_or_else(|| port(sub)),
        )
    }
}
