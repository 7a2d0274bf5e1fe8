//! What the examples share: the flags, and how results are printed.

#![allow(dead_code, reason = "no example uses all of it")]

use argh::FromArgs;
use palm::Addresses;
use palm::logging::{self, Output};

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
    /// address for results to clients
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
            if let Some(given) = given {
                *address = given;
            }
        }
        (self.name.unwrap_or_else(|| name.to_owned()), addresses)
    }
}

/// The addresses of the examples with a single server.
pub fn single_addresses() -> Addresses {
    Addresses::default()
        .db("tcp://127.0.0.1:5555")
        .pull("tcp://127.0.0.1:5556")
        .publish("tcp://127.0.0.1:5557")
}

/// Run a worker.
#[derive(FromArgs)]
#[argh(help_triggers("-h", "--help"))]
pub struct WorkerFlags {
    /// its name (default: a fresh uuid)
    #[argh(option, default = "uuid::Uuid::new_v4().to_string()")]
    pub name: String,
    /// address of the master's cache
    #[argh(option, default = "String::from(\"tcp://127.0.0.1:5559\")")]
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

/// Has the log written to standard output, as pylm does.
pub fn log(level: log::LevelFilter) {
    logging::init(level, Output::Stdout);
}

/// Bytes as Python prints them, so that the output can be compared.
pub fn python(bytes: &[u8]) -> String {
    format!("b'{}'", bytes.escape_ascii())
}

/// Why an example ends early, in words.
pub struct Failure(palm::BoxError);

impl<E: Into<palm::BoxError>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

/// What Rust prints when `main` fails.
impl std::fmt::Debug for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}
