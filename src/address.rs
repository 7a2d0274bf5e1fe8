//! Addresses: where a component's sockets are, and the checks before one is opened.

use std::path::Path;

use crate::error::{Error, Result};

/// The addresses of a component, by their role: five on the pylm wire, and the palm link.
///
/// The defaults are those of a master in pylm's examples: pull 5555, pub 5556, push to workers
/// 5557, pull from workers 5558, cache 5559, all tcp on the loopback interface. A server that
/// runs its functions itself uses pull, publish and db only.
///
/// `tcp://127.0.0.1:*` binds a free port, and `ipc://*` a free file; what was bound is told by
/// the running component. `ipc://FILE` and `inproc://NAME` (within one process,
/// and in one with many sockets only among the first 150 of them) work too.
///
/// ```
/// use palm::Addresses;
/// let addresses = Addresses::default().db("tcp://127.0.0.1:6000");
/// assert_eq!(addresses.pull, "tcp://127.0.0.1:5555");
/// assert_eq!(addresses.db, "tcp://127.0.0.1:6000");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// Where messages come in (PULL).
    pub pull: String,
    /// Where results are published (PUB).
    pub publish: String,
    /// Where messages go out to workers (PUSH).
    pub worker_push: String,
    /// Where the workers' results come in (PULL).
    pub worker_pull: String,
    /// Where the cache answers (REP).
    pub db: String,
    /// Where palm peers connect (ROUTER). Empty, as it is by default, stands for a free port of
    /// the interface that `db` is on. Peers learn it at `db`, or at `publish`.
    pub link: String,
}

impl Default for Addresses {
    fn default() -> Self {
        let port = |port: u16| format!("tcp://127.0.0.1:{port}");
        Self {
            pull: port(5555),
            publish: port(5556),
            worker_push: port(5557),
            worker_pull: port(5558),
            db: port(5559),
            link: String::new(),
        }
    }
}

impl Addresses {
    /// Free ports of the loopback interface for all of them.
    pub fn ephemeral() -> Self {
        let free = || "tcp://127.0.0.1:*".to_owned();
        Self {
            pull: free(),
            publish: free(),
            worker_push: free(),
            worker_pull: free(),
            db: free(),
            link: free(),
        }
    }

    /// None of them.
    pub(crate) fn none() -> Self {
        Self {
            pull: String::new(),
            publish: String::new(),
            worker_push: String::new(),
            worker_pull: String::new(),
            db: String::new(),
            link: String::new(),
        }
    }

    /// Sets where messages come in.
    pub fn pull(mut self, address: impl Into<String>) -> Self {
        self.pull = address.into();
        self
    }

    /// Sets where results are published.
    pub fn publish(mut self, address: impl Into<String>) -> Self {
        self.publish = address.into();
        self
    }

    /// Sets where messages go out to workers.
    pub fn worker_push(mut self, address: impl Into<String>) -> Self {
        self.worker_push = address.into();
        self
    }

    /// Sets where the workers' results come in.
    pub fn worker_pull(mut self, address: impl Into<String>) -> Self {
        self.worker_pull = address.into();
        self
    }

    /// Sets where the cache answers.
    pub fn db(mut self, address: impl Into<String>) -> Self {
        self.db = address.into();
        self
    }

    /// Sets where palm peers connect.
    pub fn link(mut self, address: impl Into<String>) -> Self {
        self.link = address.into();
        self
    }

    /// Where to bind the link: what was set, or a free place beside `db`.
    pub(crate) fn link_place(&self) -> String {
        if !self.link.is_empty() {
            return self.link.clone();
        }
        match self.db.split_once("://") {
            Some(("tcp", rest)) => {
                let host = rest.rsplit_once(':').map_or(rest, |(host, _)| host);
                format!("tcp://{host}:*")
            }
            Some(("ipc", _)) => "ipc://*".to_owned(),
            Some(("inproc", name)) => format!("inproc://{name}.link"),
            _ => "tcp://127.0.0.1:*".to_owned(),
        }
    }
}

/// What an address is for; some are good for one only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Bind,
    Connect,
}

/// Checks an address as far as that goes without opening it.
pub(crate) fn check(address: &str, purpose: Purpose) -> Result<()> {
    let checked = match address.split_once("://") {
        Some(("tcp", rest)) => check_tcp(rest, purpose),
        Some(("ipc", rest)) => check_ipc(rest, purpose),
        Some(("inproc", "")) => Err("inproc:// needs a name".to_owned()),
        Some(("inproc", _)) => Ok(()),
        Some((scheme, _)) => Err(format!(
            "unknown transport '{scheme}' (tcp, ipc and inproc are known)"
        )),
        None => Err("it is not of the form TRANSPORT://…".to_owned()),
    };
    checked.map_err(|reason| Error::Address {
        address: address.to_owned(),
        reason,
    })
}

fn check_tcp(rest: &str, purpose: Purpose) -> Result<(), String> {
    let (host, port) = rest.rsplit_once(':').ok_or("tcp:// needs HOST:PORT")?;
    if host.is_empty() {
        return Err("the host is missing".to_owned());
    }
    let bracketed = host.starts_with('[') && host.ends_with(']');
    if host.contains(':') && !bracketed {
        return Err("an IPv6 host is written in brackets".to_owned());
    }
    if host.chars().any(|c| c.is_whitespace() || c == '/') {
        return Err("the host has a character that no host has".to_owned());
    }
    let free = port == "*" || port == "0";
    match purpose {
        Purpose::Bind if free => Ok(()),
        Purpose::Connect if free || host == "*" => {
            Err("'*' and port 0 are good to bind, not to connect".to_owned())
        }
        _ => match port.parse::<u16>() {
            Ok(_) => Ok(()),
            Err(_) => Err(format!("'{port}' is no port number")),
        },
    }
}

/// The longest path that a UNIX socket takes, on the strictest of the usual systems.
const IPC_PATH: usize = 103;

fn check_ipc(rest: &str, purpose: Purpose) -> Result<(), String> {
    match (rest, purpose) {
        ("", _) => Err("ipc:// needs a file name".to_owned()),
        ("*", Purpose::Bind) => Ok(()),
        ("*", Purpose::Connect) => Err("'*' is good to bind, not to connect".to_owned()),
        (path, _) if path.len() > IPC_PATH => {
            Err(format!("a socket's path has at most {IPC_PATH} bytes"))
        }
        (_, Purpose::Connect) => Ok(()),
        (path, Purpose::Bind) => check_ipc_place(Path::new(path)),
    }
}

/// libzmq removes whatever stands at the path that it binds: so look before it does.
fn check_ipc_place(path: &Path) -> Result<(), String> {
    use std::os::unix::fs::FileTypeExt;

    if path.as_os_str().as_encoded_bytes().starts_with(b"@") {
        return Ok(()); // Linux' abstract namespace: no file.
    }
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if !parent.is_dir() {
        return Err(format!("there is no folder {}", parent.display()));
    }
    match std::fs::symlink_metadata(path) {
        Ok(file) if !file.file_type().is_socket() => {
            Err("there is a file of that name that is no socket".to_owned())
        }
        _ => Ok(()),
    }
}

/// Whether a UNIX socket that somebody listens to stands at an `ipc://` address.
pub(crate) fn ipc_is_taken(address: &str) -> bool {
    match address.strip_prefix("ipc://") {
        Some(path) if path != "*" && !path.starts_with('@') => {
            std::os::unix::net::UnixStream::connect(path).is_ok()
        }
        _ => false,
    }
}

/// An address that a server tells, as its peer must write it: one that is bound to every
/// interface (`0.0.0.0`, `[::]`, `*`) is reached at the host where its cache was reached.
pub(crate) fn seen_from(told: &str, db: &str) -> String {
    let host_and_port = |address: &str| {
        let (host, port) = address.strip_prefix("tcp://")?.rsplit_once(':')?;
        Some((host.to_owned(), port.to_owned()))
    };
    match (host_and_port(told), host_and_port(db)) {
        (Some((host, port)), Some((db_host, _)))
            if matches!(host.as_str(), "0.0.0.0" | "[::]" | "*") =>
        {
            format!("tcp://{db_host}:{port}")
        }
        _ => told.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_addresses_are_taken() {
        for address in [
            "tcp://127.0.0.1:5555",
            "tcp://*:5555",
            "tcp://127.0.0.1:*",
            "tcp://[::1]:80",
            "tcp://eth0:0",
            "ipc://*",
            "inproc://a",
        ] {
            check(address, Purpose::Bind).unwrap();
        }
        for address in ["tcp://host.example:1", "ipc:///nowhere/file", "inproc://a"] {
            check(address, Purpose::Connect).unwrap();
        }
    }

    #[test]
    fn malformed_addresses_are_refused_by_name() {
        for address in [
            "",
            "127.0.0.1:5555",
            "tcp://",
            "tcp://:1",
            "tcp://a",
            "tcp://a:b",
            "tcp://a:70000",
            "tcp://::1:5",
            "tcp://a b:1",
            "http://a:1",
            "ipc://",
            "inproc://",
            "tcp://a:-1",
        ] {
            for purpose in [Purpose::Bind, Purpose::Connect] {
                let error = check(address, purpose).unwrap_err().to_string();
                assert!(error.contains(&format!("'{address}'")), "{error}");
            }
        }
        assert!(check("tcp://127.0.0.1:*", Purpose::Connect).is_err());
    }

    #[test]
    fn a_file_is_not_bound_over() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("precious");
        std::fs::write(&file, "data").unwrap();
        assert!(check(&format!("ipc://{}", file.display()), Purpose::Bind).is_err());
        let missing = folder.path().join("no/such");
        assert!(check(&format!("ipc://{}", missing.display()), Purpose::Bind).is_err());
    }

    #[test]
    fn a_wildcard_host_is_reached_where_the_cache_is() {
        let db = "tcp://10.0.0.7:5559";
        assert_eq!(seen_from("tcp://0.0.0.0:5555", db), "tcp://10.0.0.7:5555");
        assert_eq!(seen_from("tcp://10.0.0.8:5555", db), "tcp://10.0.0.8:5555");
        assert_eq!(seen_from("ipc:///tmp/x", db), "ipc:///tmp/x");
        assert_eq!(
            seen_from("tcp://0.0.0.0:1", "inproc://x"),
            "tcp://0.0.0.0:1"
        );
    }
}
