//! Peers that are pylm's own.

use std::net::TcpListener;

use serde::Serialize;

use super::load::Load;
use super::role::Place;
use crate::common::Failure;

/// What plays their roles.
pub const SCRIPT: &str = include_str!("pylm.py");

#[derive(Clone, Debug, Serialize)]
pub enum Role {
    Master(Place),
    Server(Place),
    Worker(Place),
    Client { db: String, load: Load },
}

impl Role {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Master(_) => "master",
            Self::Server(_) => "server",
            Self::Worker(_) => "worker",
            Self::Client { .. } => "client",
        }
    }
}

/// A place that is free: pylm's components must be told their ports.
pub fn free_place() -> Result<Place, Failure> {
    let listen = |_| TcpListener::bind("127.0.0.1:0");
    let listeners = (0..5).map(listen).collect::<Result<Vec<_>, _>>();
    let listeners = listeners.map_err(|error| format!("no port is free: {error}"))?;
    let mut free = Vec::new();
    for listener in &listeners {
        let at = listener.local_addr().map_err(|error| error.to_string())?;
        free.push(format!("tcp://{at}"));
    }
    let more = free.split_off(3);
    let [db, publish, pull] = <[String; 3]>::try_from(free).unwrap_or_default();
    Ok(Place {
        db,
        publish,
        pull,
        more,
    })
}
