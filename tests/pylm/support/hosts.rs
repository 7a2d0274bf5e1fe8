//! Servers, masters and workers of either side.

use std::process::Command;

use palm::{Addresses, Master, Running, Server, Worker};

use super::{Palm, Peer, Pylm, SOON, Side, free_addresses, functions, script};

/// A server, master or worker that runs.
pub enum Host {
    Palm(Running),
    Pylm(Peer, Addresses),
}

impl Host {
    pub fn addresses(&self) -> &Addresses {
        match self {
            Self::Palm(running) => running.addresses(),
            Self::Pylm(_, addresses) => addresses,
        }
    }

    pub fn db(&self) -> &str {
        &self.addresses().db
    }

    /// Whether it publishes as pylm does: at once, whether somebody is subscribed or not.
    pub fn side(&self) -> Side {
        match self {
            Self::Palm(_) => Palm,
            Self::Pylm(..) => Pylm,
        }
    }

    pub fn is_alive(&mut self) -> bool {
        match self {
            Self::Palm(running) => !running.is_over(),
            Self::Pylm(peer, _) => peer.is_alive(),
        }
    }
}

/// A server named `server`.
pub fn server(side: Side) -> Host {
    match side {
        Palm => Host::Palm(
            Server::new("server", Addresses::ephemeral())
                .functions(functions())
                .start()
                .unwrap(),
        ),
        Pylm => pylm_server(&[]),
    }
}

/// A pylm server named `server` whose results go to a next step.
pub fn pylm_first_step() -> Host {
    pylm_server(&["--pipelined"])
}

fn pylm_server(more: &[&str]) -> Host {
    let at = free_addresses();
    let mut command = script("server.py");
    flag(&mut command, "name", "server");
    flag(&mut command, "pull", &at.pull);
    flag(&mut command, "pub", &at.publish);
    flag(&mut command, "db", &at.db);
    command.args(more);
    let peer = Peer::start("pylm server", command);
    ready(&peer, "its sockets to be bound", |lines| {
        lines.iter().any(|line| line == "bound")
    });
    Host::Pylm(peer, at)
}

/// A master named `server`.
pub fn master(side: Side) -> Host {
    match side {
        Palm => palm_master(Master::new("server", Addresses::ephemeral())),
        Pylm => pylm_master_at(&free_addresses()),
    }
}

pub fn palm_master(master: Master) -> Host {
    Host::Palm(master.start().unwrap())
}

pub fn pylm_master_at(at: &Addresses) -> Host {
    let mut command = script("master.py");
    flag(&mut command, "name", "server");
    flag(&mut command, "pull", &at.pull);
    flag(&mut command, "pub", &at.publish);
    flag(&mut command, "wpush", &at.worker_push);
    flag(&mut command, "wpull", &at.worker_pull);
    flag(&mut command, "db", &at.db);
    Host::Pylm(started_master(command), at.clone())
}

/// A worker of the master whose cache is at `db`; it has found its master.
pub fn worker(side: Side, name: &str, db: &str) -> Host {
    match side {
        Palm => Host::Palm(
            Worker::new(db)
                .name(name)
                .functions(functions())
                .start()
                .unwrap(),
        ),
        Pylm => pylm_worker(name, db, &[]),
    }
}

/// A pylm worker whose function `parts` gives several results.
pub fn mux_worker(name: &str, db: &str) -> Host {
    pylm_worker(name, db, &["--mux"])
}

fn pylm_worker(name: &str, db: &str, more: &[&str]) -> Host {
    let mut command = script("worker.py");
    flag(&mut command, "name", name);
    flag(&mut command, "db", db);
    command.args(more);
    let peer = Peer::start(&format!("pylm worker {name}"), command);
    ready(&peer, "it to be ready", |lines| {
        lines.iter().any(|line| line == "ready")
    });
    Host::Pylm(peer, Addresses::default().db(db))
}

fn flag(command: &mut Command, name: &str, value: &str) {
    command.arg(format!("--{name}")).arg(value);
}

/// Starts a pylm master, and waits until the parts that say that they are bound have said so.
fn started_master(command: Command) -> Peer {
    let peer = Peer::start("pylm master", command);
    ready(&peer, "its parts to start", |lines| {
        let started = |line: &&String| line.ends_with("successfully started");
        lines.iter().filter(started).count() == 4
    });
    peer
}

fn ready(peer: &Peer, what: &str, condition: impl Fn(&[String]) -> bool) {
    if let Err(error) = peer.wait_for(what, SOON, condition) {
        panic!("{error}");
    }
}
