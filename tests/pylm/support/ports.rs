//! Ports that nobody else takes, for those who must be told their addresses beforehand.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

use palm::Addresses;

/// Below the range from which systems take a port for whoever connects or binds `*`: a port
/// that is free here and not bound at once, or free for the moment of a restart, stays free.
const FIRST: u16 = 10_000;
const COUNT: u16 = 20_000;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// A port of the loopback interface that is free, and that no other test of this process is
/// given.
pub fn free_port() -> u16 {
    // Test processes that run at the same time begin at different places.
    let start = (std::process::id() % u32::from(COUNT)) as u16;
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + ((u32::from(start) * 31 + u32::from(step)) % u32::from(COUNT)) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port among {COUNT} from {FIRST}");
}

/// Five addresses that are free, and that no other test of this process is given.
pub fn free_addresses() -> Addresses {
    let free = || format!("tcp://127.0.0.1:{}", free_port());
    Addresses::ephemeral()
        .pull(free())
        .publish(free())
        .worker_push(free())
        .worker_pull(free())
        .db(free())
}
