//! Cuts the connections of its own process.

use std::mem::ManuallyDrop;
use std::net::{Shutdown, TcpStream};
use std::os::fd::{FromRawFd, RawFd};
use std::time::Duration;

use crate::common::Random;

/// Cuts one of the process' TCP connections, whichever it is, about every so often. `told` hears
/// how many it were.
pub fn start(every: Duration, told: impl Fn(u64) + Send + 'static) {
    let mut random = Random::new("connections that are cut");
    std::thread::spawn(move || {
        let mut cut = 0;
        loop {
            std::thread::sleep(every / 2 + every * random.below(100) as u32 / 100);
            let mut open = sockets();
            while !open.is_empty() {
                if end(open.swap_remove(random.below(open.len()))) {
                    cut += 1;
                    told(cut);
                    break;
                }
            }
        }
    });
}

/// What may be a socket.
fn sockets() -> Vec<RawFd> {
    let files = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    let sockets = files.filter(|file| {
        let target = std::fs::read_link(file.path()).unwrap_or_default();
        target.to_string_lossy().starts_with("socket:")
    });
    let numbers = sockets.filter_map(|file| file.file_name().to_str()?.parse().ok());
    numbers.collect()
}

/// Cuts a connection. False if it is none.
fn end(socket: RawFd) -> bool {
    // SAFETY: it is not closed here, and nothing is read from it or written to it. If its owner
    // has closed it meanwhile, and the number is another's, then that is cut: it is chosen by
    // chance as it is.
    let stream = ManuallyDrop::new(unsafe { TcpStream::from_raw_fd(socket) });
    // One that listens has no peer.
    stream.peer_addr().is_ok() && stream.shutdown(Shutdown::Both).is_ok()
}
