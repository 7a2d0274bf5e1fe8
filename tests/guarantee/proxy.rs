//! A TCP proxy that cuts connections.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::common::Random;

/// Passes on what comes, until a connection is cut. Whoever was cut off may connect again.
pub struct Proxy {
    address: String,
    connections: Arc<Mutex<Vec<[TcpStream; 2]>>>,
    cut: Arc<AtomicU64>,
}

impl Proxy {
    /// A proxy for an address `tcp://HOST:PORT`. Each connection is cut after so many bytes in
    /// one direction at the most, wherever in a frame that is.
    pub fn start(target: &str, most: usize, mut random: Random) -> Self {
        let target = target.strip_prefix("tcp://").unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("tcp://{}", listener.local_addr().unwrap());
        let connections = Arc::new(Mutex::new(Vec::new()));
        let cut = Arc::new(AtomicU64::new(0));
        let (open, count) = (connections.clone(), cut.clone());
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let Ok(far) = TcpStream::connect(&target) else {
                    continue;
                };
                let both = || [near.try_clone().unwrap(), far.try_clone().unwrap()];
                open.lock().unwrap().push(both());
                for (from, to) in [(0, 1), (1, 0)] {
                    let (both, life) = (both(), random.below(most));
                    let count = count.clone();
                    std::thread::spawn(move || {
                        pump(&both[from], &both[to], life, &count);
                        end(&both);
                    });
                }
            }
        });
        Self {
            address,
            connections,
            cut,
        }
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    /// Cuts all connections.
    pub fn cut_all(&self) {
        for both in self.connections.lock().unwrap().drain(..) {
            self.cut.fetch_add(u64::from(end(&both)), Ordering::SeqCst);
        }
    }

    /// Cuts one connection.
    pub fn cut_one(&self, random: &mut Random) {
        let mut connections = self.connections.lock().unwrap();
        if !connections.is_empty() {
            let index = random.below(connections.len());
            let both = connections.swap_remove(index);
            self.cut.fetch_add(u64::from(end(&both)), Ordering::SeqCst);
        }
    }

    /// How many it has cut.
    pub fn cut(&self) -> u64 {
        self.cut.load(Ordering::SeqCst)
    }
}

/// Passes bytes on until either side ends, or so many have passed.
fn pump(mut from: &TcpStream, mut to: &TcpStream, mut life: usize, cut: &AtomicU64) {
    let mut bytes = vec![0; 16 << 10];
    loop {
        let read = from.read(&mut bytes).unwrap_or(0);
        let passed = read.min(life);
        if read == 0 || to.write_all(&bytes[..passed]).is_err() {
            return;
        }
        if passed < read {
            cut.fetch_add(1, Ordering::SeqCst);
            return;
        }
        life -= passed;
    }
}

/// Ends a connection. False if it had ended.
fn end(both: &[TcpStream; 2]) -> bool {
    let ended = both.each_ref().map(|side| side.shutdown(Shutdown::Both));
    ended.iter().all(Result::is_ok)
}
