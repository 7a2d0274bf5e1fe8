//! `palm cache`

use argh::FromArgs;
use palm::{Cache as _, CacheClient};

use crate::common::{FOREVER, Failure, Outcome, log_level, payload, print, timeout, unmark_stdin};

/// Read and change the cache of a server or a master.
#[derive(FromArgs)]
#[argh(subcommand, name = "cache", help_triggers("-h", "--help", "help"))]
pub struct Cache {
    /// address of the cache (default: tcp://127.0.0.1:5559)
    #[argh(option, default = "String::from(\"tcp://127.0.0.1:5559\")")]
    db: String,
    /// how many seconds to wait for an answer, 0 for as long as it takes (default: 10)
    #[argh(option, default = "10.0")]
    timeout: f64,
    /// log what it does, on standard error
    #[argh(switch, short = 'i')]
    info: bool,
    /// log everything
    #[argh(switch, short = 'd')]
    debug: bool,
    #[argh(subcommand)]
    call: Call,
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum Call {
    Get(Get),
    Set(Set),
    Delete(Delete),
}

/// Print the value of a key. No value, or an empty one, is a failure.
#[derive(FromArgs)]
#[argh(subcommand, name = "get", help_triggers("-h", "--help"))]
struct Get {
    /// the key
    #[argh(positional, arg_name = "KEY")]
    key: String,
}

/// Set a key, and print it.
#[derive(FromArgs)]
#[argh(subcommand, name = "set", help_triggers("-h", "--help"))]
struct Set {
    /// the key; an empty one stands for a new one
    #[argh(positional, arg_name = "KEY")]
    key: String,
    /// the value; - for standard input, nothing for an empty one. One that begins with - is put
    /// after --
    #[argh(positional, arg_name = "VALUE")]
    value: Option<String>,
}

/// Remove a key. It is no failure if there is none.
#[derive(FromArgs)]
#[argh(subcommand, name = "delete", help_triggers("-h", "--help"))]
struct Delete {
    /// the key
    #[argh(positional, arg_name = "KEY")]
    key: String,
}

impl Cache {
    pub fn run(self) -> Outcome {
        log_level(self.debug, self.info);
        let timeout = timeout(self.timeout)?.unwrap_or(FOREVER);
        let cache = CacheClient::new(self.db).timeout(timeout);
        match self.call {
            Call::Get(Get { key }) => match cache.get(&unmark_stdin(&key))? {
                Some(value) => print(&value),
                None => Err(Failure::from(format!(
                    "no value for the key '{}'",
                    unmark_stdin(&key)
                ))),
            },
            Call::Set(Set { key, value }) => {
                let key = cache.set(&unmark_stdin(&key), &payload(value.as_deref())?)?;
                print(format!("{key}\n").as_bytes())
            }
            Call::Delete(Delete { key }) => Ok(cache.delete(&unmark_stdin(&key))?),
        }
    }
}
