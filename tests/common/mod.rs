//! What the tests share: bounded waits, raw peers of libzmq, random bytes that can be replayed.

// Every test file is a crate of its own and uses a part of this.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use palm::part::{Inlet, Received};
use palm::{Addresses, Client, Frame, Functions, PalmMessage, Running, Server};

/// How long anything that should happen at once may take on a busy machine.
pub const SOON: Duration = Duration::from_secs(10);

/// Waits until `condition` holds.
pub fn until(what: &str, condition: impl FnMut() -> bool) {
    until_within(SOON, what, condition);
}

/// Waits until `condition` holds, for at most `limit`.
pub fn until_within(limit: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < limit, "waited {limit:?} for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Ends the process when a test hangs: a blocked thread cannot be failed in another way.
pub struct Limit(#[allow(dead_code)] mpsc::Sender<()>);

/// From here to the end of the test that holds it, it may take so many seconds.
#[must_use]
pub fn limit(seconds: u64, what: &'static str) -> Limit {
    let (alive, ended) = mpsc::channel();
    std::thread::spawn(move || {
        let limit = Duration::from_secs(seconds);
        if ended.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout) {
            // Not `eprintln`, which the test harness would keep to itself.
            let _ = writeln!(std::io::stderr(), "{what}: not over after {seconds} s");
            std::process::abort();
        }
    });
    Limit(alive)
}

/// How long it took.
pub fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let result = work();
    (result, start.elapsed())
}

/// A server's settings with free ports and a function `echo`.
pub fn echo_server(name: &str) -> Server {
    Server::new(name, Addresses::ephemeral()).function("echo", |call| Ok(call.payload().to_vec()))
}

/// A function `f` that takes its time, and how often it has run at once, at the most.
pub fn together() -> (Functions, Arc<AtomicUsize>) {
    let most = Arc::new(AtomicUsize::new(0));
    let (seen, now) = (most.clone(), AtomicUsize::new(0));
    let functions = Functions::new().function("f", move |call| {
        seen.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(20));
        now.fetch_sub(1, Ordering::SeqCst);
        Ok(call.payload().to_vec())
    });
    (functions, most)
}

/// A client of whatever runs under this name.
pub fn client(running: &Running) -> Client {
    Client::connect(running.name(), &running.addresses().db).expect("a client")
}

/// One call that does not wait for minutes.
pub fn eval(client: &Client, function: &str, payload: &[u8]) -> palm::Result<Vec<u8>> {
    client.request(function).timeout(SOON).eval(payload)
}

/// All results of a job, sorted.
pub fn sorted<T: Ord>(results: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut results: Vec<T> = results.into_iter().collect();
    results.sort();
    results
}

/// A message as a peer that is not palm would make it.
pub fn message(client: &str, function: &str, payload: &[u8]) -> PalmMessage {
    PalmMessage {
        pipeline: "raw".into(),
        client: client.into(),
        function: function.into(),
        payload: payload.to_vec(),
        ..Default::default()
    }
}

/// A socket of libzmq that connects to an address. None of its calls waits for ever, and
/// what it has not sent when it is closed is gone.
pub fn peer(context: &zmq::Context, kind: zmq::SocketType, address: &str) -> zmq::Socket {
    let socket = context.socket(kind).expect("a socket");
    let soon = i32::try_from(SOON.as_millis()).expect("milliseconds");
    socket.set_linger(0).expect("linger");
    socket.set_rcvtimeo(soon).expect("a time-out");
    socket.set_sndtimeo(soon).expect("a time-out");
    socket.connect(address).expect("a connection");
    socket
}

/// A raw subscriber to a topic.
pub fn subscriber(context: &zmq::Context, address: &str, topic: &str) -> zmq::Socket {
    let socket = peer(context, zmq::SUB, address);
    socket.set_subscribe(topic.as_bytes()).expect("a topic");
    socket
}

/// The next message that is published to a raw subscriber.
pub fn published(subscriber: &zmq::Socket) -> (String, PalmMessage) {
    let parts = subscriber
        .recv_multipart(0)
        .unwrap_or_else(|error| panic!("waited {SOON:?} for a published message: {error}"));
    let [topic, frame] = parts.as_slice() else {
        panic!("a published message has {} frames", parts.len());
    };
    let topic = String::from_utf8(topic.clone()).expect("a topic");
    let message = PalmMessage::decode_frame(frame, usize::MAX).expect("a message");
    (topic, message)
}

/// A cache call as any REQ peer makes it.
pub fn cache_call(db: &str, function: &str, key: &str, payload: &[u8]) -> Vec<u8> {
    let context = zmq::Context::new();
    let socket = peer(&context, zmq::REQ, db);
    let request = PalmMessage {
        cache: key.into(),
        ..message("raw", function, payload)
    };
    socket.send(request.encode_frame(), 0).expect("a request");
    socket
        .recv_bytes(0)
        .unwrap_or_else(|error| panic!("waited {SOON:?} for {function} at {db}: {error}"))
}

/// A TCP address that no other test has, for one who comes back to it. The system gives ports
/// from 32768 on to whoever asks for a free one: so these are below.
pub fn fixed() -> String {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Test files run at the same time as other processes do: they start at different places.
    let first = std::process::id().wrapping_mul(331);
    loop {
        let number = u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = 12_000 + first.wrapping_add(number) % 20_000;
        let address = format!("tcp://127.0.0.1:{port}");
        if is_free(&address) {
            return address;
        }
    }
}

/// Five addresses as [`fixed`] gives them.
pub fn fixed_addresses() -> Addresses {
    Addresses {
        pull: fixed(),
        publish: fixed(),
        worker_push: fixed(),
        worker_pull: fixed(),
        db: fixed(),
        link: String::new(),
    }
}

/// Starts something at addresses that something else just had: libzmq closes sockets in a
/// thread of its own, a little later.
pub fn start_again(mut start: impl FnMut() -> palm::Result<Running>) -> Running {
    let mut started = None;
    until("the addresses to be free again", || {
        match start() {
            Ok(running) => started = Some(running),
            Err(error) => assert!(matches!(error, palm::Error::Bind { .. }), "{error}"),
        }
        started.is_some()
    });
    started.expect("it has started")
}

/// Whether a TCP address can be bound, so that whoever had it has let go of it.
pub fn is_free(address: &str) -> bool {
    let place = address.strip_prefix("tcp://").expect("a tcp address");
    std::net::TcpListener::bind(place).is_ok()
}

/// Whether somebody accepts connections at a TCP address.
pub fn is_open(address: &str) -> bool {
    let place = address.strip_prefix("tcp://").expect("a tcp address");
    std::net::TcpStream::connect(place).is_ok()
}

/// A message for a function `echo`, of a client `me`.
pub fn frame(payload: &str) -> Frame {
    Frame::new("", "me", "s.echo", "", payload.as_bytes())
}

/// So many messages that come out of a channel, as text.
pub fn texts(inlet: &Inlet, count: usize) -> Vec<String> {
    let mut texts = Vec::new();
    while texts.len() < count {
        match inlet.recv_timeout(SOON) {
            Received::Batch(batch) => texts.extend(
                batch
                    .into_iter()
                    .map(|parcel| String::from_utf8(parcel.frame.payload().to_vec()).unwrap()),
            ),
            end => panic!("{end:?} after {texts:?}"),
        }
    }
    assert_eq!(texts.len(), count, "{texts:?}");
    texts
}

/// How many TCP connections there are to an address that is bound here, as the one who bound it
/// has them: after a peer has gone, until that is noticed.
pub fn connections(address: &str) -> usize {
    let (_, port) = address.rsplit_once(':').expect("a tcp address");
    let port = format!(":{:04X}", port.parse::<u16>().expect("a port"));
    let table = std::fs::read_to_string("/proc/net/tcp").expect("the connections");
    let open = table.lines().filter(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        // Established, or closed by the other side.
        matches!(fields[..], [_, local, _, "01" | "08", ..] if local.ends_with(&port))
    });
    open.count()
}

/// The log of this process: how many warnings there were, and the first lines of each kind.
pub struct Log {
    /// By component and first word.
    lines: Mutex<BTreeMap<(String, String), Vec<String>>>,
    warnings: Mutex<BTreeMap<String, usize>>,
}

/// More lines of a kind than this are counted, but not kept.
const KEPT: usize = 200;

static LOG: Log = Log {
    lines: Mutex::new(BTreeMap::new()),
    warnings: Mutex::new(BTreeMap::new()),
};

impl Log {
    /// Takes the log of this process over, for all of its tests.
    pub fn install() -> &'static Self {
        // First, or another test that finds the log there would miss lines until then.
        log::set_max_level(log::LevelFilter::Info);
        // It may be there already: then it is this one.
        let _ = log::set_logger(&LOG);
        &LOG
    }

    /// How many warnings and errors of a component's there were.
    pub fn warnings(&self, component: &str) -> usize {
        let warnings = self.warnings.lock().expect("the log");
        warnings.get(component).copied().unwrap_or(0)
    }

    /// The lines of a component's that have this text in them.
    pub fn lines(&self, component: &str, text: &str) -> Vec<String> {
        let lines = self.lines.lock().expect("the log");
        let of_it = lines.iter().filter(|((of, _), _)| of == component);
        let matching = of_it
            .flat_map(|(_, lines)| lines)
            .filter(|line| line.contains(text));
        matching.cloned().collect()
    }
}

impl log::Log for Log {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        if record.level() <= log::Level::Warn {
            let mut warnings = self.warnings.lock().expect("the log");
            *warnings.entry(record.target().to_owned()).or_default() += 1;
        }
        let line = record.args().to_string();
        let kind = line.split(' ').next().unwrap_or_default().to_owned();
        let mut lines = self.lines.lock().expect("the log");
        let lines = lines.entry((record.target().to_owned(), kind)).or_default();
        if lines.len() < KEPT {
            lines.push(line);
        }
    }

    fn flush(&self) {}
}

/// Random numbers by xorshift64*, the same ones for the same seed.
pub struct Random(u64);

impl Random {
    /// From the environment variable `PALM_SEED`, else from the time. Printed, so that a test
    /// that failed can be run with the same numbers.
    pub fn new(what: &str) -> Self {
        let given = std::env::var("PALM_SEED").ok();
        let seed = given.and_then(|seed| seed.parse().ok()).unwrap_or_else(|| {
            let now = std::time::SystemTime::now();
            let since = now.duration_since(std::time::UNIX_EPOCH);
            since.map_or(1, |time| time.as_nanos() as u64)
        });
        println!("{what}: PALM_SEED={seed}");
        Self(seed.max(1))
    }

    pub fn number(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        (self.number() % end as u64) as usize
    }

    /// Up to `most` random bytes.
    pub fn bytes(&mut self, most: usize) -> Vec<u8> {
        let length = self.below(most + 1);
        std::iter::repeat_with(|| self.number() as u8)
            .take(length)
            .collect()
    }
}
