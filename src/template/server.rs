//! A server that runs its functions itself.

use std::fmt;

use super::common::Common;
use crate::address::Addresses;
use crate::error::Result;
use crate::handler::Functions;
use crate::part::Running;

/// A server: messages come in, its own functions run, results go out.
///
/// ```text
/// clients ─► Pull ─► Functions ─► Pub ─► clients       Cache ◄─► clients
/// ```
///
/// # Building
/// [`Server::new`] with a name, which callers must give, and [`Addresses`], of which `pull`,
/// `publish` and `db` are used. Then functions, and whatever else is not as it should be.
///
/// # Functions
/// A closure from a [`Call`](crate::Call) to nothing, one payload or many, or an error, which its client
/// gets; see [`Reply`](crate::Reply). They run one after another, in order, unless [`threads`](Self::threads)
/// says otherwise.
///
/// # Lifecycle
/// [`start`](Self::start) returns when all its parts are ready. It runs until
/// [`Running::stop`], or until the [`Running`] is dropped, or until a part dies.
///
/// ```
/// use palm::{Addresses, Client, Server};
///
/// let server = Server::new("my_server", Addresses::ephemeral())
///     .function("foo", |call| Ok([b"you sent me ", call.payload()].concat()))
///     .start()?;
/// let client = Client::connect("my_server", &server.addresses().db)?;
/// assert_eq!(client.eval("my_server.foo", b"a message")?, b"you sent me a message");
/// server.stop()?;
/// # Ok::<(), palm::Error>(())
/// ```
pub struct Server {
    common: Common,
    functions: Functions,
    threads: usize,
}

impl Server {
    /// A server of this name that will bind these addresses.
    pub fn new(name: impl Into<String>, addresses: Addresses) -> Self {
        Self {
            common: Common::new(name.into(), addresses),
            functions: Functions::new(),
            threads: 1,
        }
    }

    local_settings!();
    pipelined_setting!();
    common_settings!();

    /// Starts it. Returns when all parts are ready.
    ///
    /// # Errors
    /// An address that is malformed, in use or not to be bound; a name or number of threads
    /// that makes no sense; a store that cannot be written.
    pub fn start(self) -> Result<Running> {
        let pull = self.common.pull();
        self.common
            .with_functions(self.functions, self.threads)?
            .for_clients(pull, "Functions")
            .start()
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("name", &self.common.name)
            .field("addresses", &self.common.addresses)
            .field("functions", &self.functions)
            .finish_non_exhaustive()
    }
}
