//! The connections of a link.

use std::collections::HashMap;

use crate::core::link::Conn;

/// How many connections that are no peers may be remembered.
const STRANGERS: usize = 1_024;

/// The connections by their numbers, and by what libzmq calls them.
#[derive(Default)]
pub(super) struct Connections {
    numbers: HashMap<Vec<u8>, Conn>,
    pub(super) names: HashMap<Conn, Vec<u8>>,
    next: Conn,
    /// So many may be remembered before those are looked for that are gone.
    most: usize,
}

impl Connections {
    /// The number of a connection. Those of which `is_known` is not true are forgotten when there
    /// are many: they get another if they say something more.
    pub(super) fn number(&mut self, name: &[u8], is_known: impl Fn(Conn) -> bool) -> Conn {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        if self.names.len() >= self.most {
            self.names.retain(|number, _| is_known(*number));
            self.numbers.retain(|_, number| is_known(*number));
            self.most = STRANGERS + 2 * self.names.len();
        }
        self.next += 1;
        self.numbers.insert(name.to_vec(), self.next);
        self.names.insert(self.next, name.to_vec());
        self.next
    }

    pub(super) fn forget(&mut self, name: &[u8]) {
        if let Some(number) = self.numbers.remove(name) {
            self.names.remove(&number);
        }
    }

    pub(super) fn remove(&mut self, number: Conn) {
        if let Some(name) = self.names.remove(&number) {
            self.numbers.remove(&name);
        }
    }
}
