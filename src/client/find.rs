//! Where the links of the servers are that a client talks to.

use std::time::{Duration, Instant};

use crate::address::seen_from;
use crate::bell::Bell;
use crate::error::{Error, Result};
use crate::part::WELCOME;
use crate::socket::{Kind, Monitor, Socket, Want};
use crate::time::after;

/// How long a publisher that has answered at all may take to say that it is a palm peer.
const SETTLE: Duration = Duration::from_millis(300);

/// How often to look whether the connection is made, and whether to go on.
const LOOK: Duration = Duration::from_millis(5);

/// The most that a publisher may say of its link, in bytes.
const MOST: usize = 4_096;

/// Asks a publisher where its component's link is: a palm publisher says so to whoever
/// subscribes to [`WELCOME`]. `None` when it has none, or is not a palm peer.
///
/// # Errors
/// [`Error::Unreachable`] when nobody is there within the time-out, or the caller gives up.
pub(super) fn link_at(
    publisher: &str,
    timeout: Duration,
    give_up: &dyn Fn() -> bool,
) -> Result<Option<String>> {
    let mut socket = Socket::open(Kind::Sub, "Link", MOST)?;
    socket.subscribe(WELCOME)?;
    let monitor = socket.monitor()?;
    let told = socket
        .connect(publisher)
        .and_then(|()| told(&mut socket, &monitor, timeout, give_up));
    socket.end_monitor(monitor);
    let told = told?.ok_or_else(|| Error::Unreachable {
        what: "the publisher (pub)",
        address: publisher.to_owned(),
        waited: timeout,
    })?;
    Ok(told.map(|address| seen_from(&address, publisher)))
}

/// What the publisher tells; `None` when it is not reached.
fn told(
    socket: &mut Socket,
    monitor: &Monitor,
    timeout: Duration,
    give_up: &dyn Fn() -> bool,
) -> Result<Option<Option<String>>> {
    let bell = Bell::new()?;
    let mut parts = Vec::new();
    let deadline = after(Instant::now(), timeout);
    let mut settled = None;
    loop {
        if socket.try_recv(&mut parts)? {
            return Ok(Some(address_in(&parts)));
        }
        let now = Instant::now();
        if settled.is_none() && monitor.connected() {
            settled = Some(now + SETTLE);
        }
        match settled {
            Some(at) if now >= at => return Ok(Some(None)),
            None if now >= deadline => return Ok(None),
            _ if give_up() => return Ok(None),
            _ => bell.sleep(|| false, || socket.wait(Want::Read, &bell, Some(LOOK)))?,
        }
    }
}

/// The address in a welcome: `_.link ADDRESS`.
fn address_in(parts: &[Vec<u8>]) -> Option<String> {
    let [welcome] = parts else {
        return None;
    };
    let address = welcome.strip_prefix(WELCOME.as_bytes())?;
    let address = std::str::from_utf8(address.strip_prefix(b" ")?).ok()?;
    (!address.is_empty()).then(|| address.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_welcome_tells_an_address_or_none() {
        let told = |parts: &[&str]| {
            let parts: Vec<_> = parts.iter().map(|part| part.as_bytes().to_vec()).collect();
            address_in(&parts)
        };
        assert_eq!(told(&["_.link tcp://a:1"]).as_deref(), Some("tcp://a:1"));
        for none in [&["_.link"][..], &["_.link "], &["_.linktcp://a:1"], &[]] {
            assert_eq!(told(none), None);
        }
        assert_eq!(told(&["_.link x", "a message"]), None);
    }
}
