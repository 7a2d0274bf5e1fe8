//! The addresses of one run of an example.

use std::collections::BTreeMap;
use std::process::Command;

use crate::support::free_port;

/// The names that the arguments of the roles have for addresses, and the port of each.
#[derive(Default)]
pub struct Ports(BTreeMap<String, u16>);

impl Ports {
    /// The address `host:port` of this name; the same each time.
    pub fn of(&mut self, name: &str) -> String {
        let port = self.0.entry(name.to_owned()).or_insert_with(free_port);
        format!("127.0.0.1:{port}")
    }

    /// Whether somebody has been given this address.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Gives arguments to a program, with `@name` as an address of ZeroMQ, `%name` (at the end
    /// of a word) as `host:port`.
    pub fn give(&mut self, command: &mut Command, args: &str) {
        for word in args.split_whitespace() {
            match (word.strip_prefix('@'), word.split_once('%')) {
                (Some(name), _) => command.arg(format!("tcp://{}", self.of(name))),
                (_, Some((before, name))) => command.arg(format!("{before}{}", self.of(name))),
                _ => command.arg(word),
            };
        }
    }
}

/// The words that follow a flag.
pub fn values<'a>(args: &'a str, flag: &'a str) -> impl Iterator<Item = &'a str> {
    let words = args.split_whitespace();
    let next = words.clone().skip(1);
    words
        .zip(next)
        .filter(move |(word, _)| *word == flag)
        .map(|(_, value)| value)
}
