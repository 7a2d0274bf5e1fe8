//! How a client finds its servers, and connects to them over the pylm wire.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::calls::{Calls, Delivery};
use super::find::link_at;
use super::link::Places;
use super::pusher::Pusher;
use super::{ClientBuilder, Connected};
use crate::address::Addresses;
use crate::cache::CacheClient;
use crate::error::{Error, Result};
use crate::part::{Crew, Hearing, Running, Subscribe, Target};
use crate::wire::Wire;

/// How many messages a job has open at the most when their results are published by a pylm peer.
/// That drops what is over its high-water mark of 1,000, and libzmq tells it only of every 500th
/// message that it has got rid of: so it may drop when little more than 500 wait.
const OPEN_AT_PYLM: usize = 450;

impl ClientBuilder {
    /// Connects over the pylm wire.
    pub(super) fn connect_pylm(
        &self,
        id: &str,
        mut crew: Crew,
        addresses: Addresses,
        timeout: Duration,
    ) -> Result<(Connected, Running)> {
        log::debug!(
            target: id,
            "pushes to {}, subscribes at {}", addresses.pull, addresses.publish
        );
        let hearing = Hearing::new()?;
        let calls = Calls::new(id, hearing.clone());
        let pusher = Arc::new(Pusher::connect(id, &addresses.pull)?);
        let is_palm = Arc::new(AtomicBool::new(false));
        let subscribe = Subscribe {
            name: "Sub".to_owned(),
            target: Target::new(&addresses.publish),
            prefix: id.to_owned(),
            max_message: self.max_message,
            timeout,
            is_palm: is_palm.clone(),
        };
        subscribe.spawn(&mut crew, hearing, Delivery::to(calls.clone()));
        let running = crew.start(|_| Ok(addresses))?;
        let most_open = match is_palm.load(Ordering::SeqCst) {
            true => usize::MAX,
            false => OPEN_AT_PYLM,
        };
        let connected = Connected::Pylm {
            calls,
            pusher,
            most_open,
        };
        Ok((connected, running))
    }
}

/// Finds out where to connect to, while the time lasts.
pub(super) struct Search<'a> {
    pub(super) builder: &'a ClientBuilder,
    pub(super) cache: &'a CacheClient,
    pub(super) deadline: Instant,
}

impl Search<'_> {
    pub(super) fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    pub(super) fn unreachable(&self, what: &'static str, address: String) -> Error {
        Error::Unreachable {
            what,
            address,
            waited: self.builder.timeout,
        }
    }

    /// What was left of the time is not what the caller allowed.
    fn in_all(&self, error: Error) -> Error {
        match error {
            Error::Unreachable { what, address, .. } => self.unreachable(what, address),
            other => other,
        }
    }

    pub(super) fn check_name(&self) -> Result<()> {
        let name = self.cache.preset("name", self.left(), &|| false);
        let found = name.map_err(|error| self.in_all(error))?;
        if found == self.builder.server {
            return Ok(());
        }
        Err(Error::WrongServer {
            expected: self.builder.server.clone(),
            found,
            address: self.builder.db.clone(),
        })
    }

    pub(super) fn place(&self, given: &Option<String>, key: &str) -> Result<String> {
        let placed = self.cache.place(given, key, self.left(), &|| false);
        placed.map_err(|error| self.in_all(error))
    }

    /// The same of what a server need not tell.
    fn told(&self, key: &str) -> Result<Option<String>> {
        match self.place(&None, key) {
            Ok(address) => Ok(Some(address)),
            Err(Error::NotConfigured { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Where the links are. `None` when the pylm wire is to be spoken.
    pub(super) fn links(&self, addresses: &Addresses) -> Result<Option<Places>> {
        if self.builder.wire == Wire::Pylm {
            return Ok(None);
        }
        let is_elsewhere = |given: &Option<String>, key| match given {
            Some(given) => Ok(self.told(key)?.as_ref() != Some(given)),
            None => Ok::<bool, Error>(false),
        };
        if is_elsewhere(&self.builder.pull, "pull_address")? {
            return Ok(None);
        }
        let Some(first) = self.told("link_address")? else {
            return Ok(None);
        };
        if !is_elsewhere(&self.builder.publish, "pub_address")? {
            return Ok(Some(Places { first, last: None }));
        }
        let publisher = addresses.publish.clone();
        let last = link_at(&publisher, self.left(), &|| false);
        let last = last.map_err(|error| self.in_all(error))?;
        Ok(last.map(|last| Places {
            last: (last != first).then_some((last, publisher)),
            first,
        }))
    }
}
