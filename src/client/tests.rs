//! A client and a link that does what the tests tell it, over sockets.

use std::collections::HashMap;
use std::sync::atomic::AtomicUsize;
use std::thread::JoinHandle;

use super::*;
use crate::core::custody::{Ledger, share};
use crate::core::link::{Made, Post, PostSettings};
use crate::message::link::Envelope;
use crate::socket::{Kind, Socket, Want};
use crate::{Server, message};

/// What comes of a message: payloads, or a failure.
type Function = Box<dyn FnMut(&[u8]) -> Vec<Vec<u8>> + Send>;

/// A link that is put beside a server, which tells its address.
struct Beside {
    server: Running,
    stop: Arc<AtomicBool>,
    taken: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Beside {
    fn start(function: Function) -> Self {
        let server = Server::new("s", Addresses::ephemeral()).start().unwrap();
        let mut beside = Self {
            server,
            stop: Arc::default(),
            taken: Arc::default(),
            thread: None,
        };
        beside.open(function);
        beside
    }

    fn open(&mut self, function: Function) {
        let mut socket = Socket::open(Kind::LinkServer, "Link", 1 << 20).unwrap();
        let address = socket.bind("tcp://127.0.0.1:*").unwrap();
        let cache = CacheClient::new(&self.server.addresses().db);
        cache.set("link_address", address.as_bytes()).unwrap();
        self.stop = Arc::default();
        let (stop, taken) = (self.stop.clone(), self.taken.clone());
        self.thread = Some(std::thread::spawn(move || {
            serve(socket, function, &stop, &taken)
        }));
    }

    /// The link is killed, and another is there in its place, somewhere else.
    fn restart(&mut self, function: Function) {
        self.kill();
        self.open(function);
    }

    fn kill(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.take().map(JoinHandle::join);
    }

    fn client(&self) -> Client {
        let client = Client::connect("s", &self.server.addresses().db).unwrap();
        assert_eq!(client.wire(), Wire::Link);
        client
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        self.kill();
    }
}

fn serve(mut socket: Socket, mut function: Function, stop: &AtomicBool, taken: &AtomicUsize) {
    let bell = Bell::new().unwrap();
    let ledger = Ledger::new(|| {});
    let settings = PostSettings {
        epoch: uuid::Uuid::new_v4().to_string(),
        hold: 16 << 20,
        subscribers: 1,
        patience: Duration::from_secs(5),
        submits: true,
        workers: None,
    };
    let mut post = Post::new(settings, ledger);
    let mut conns: HashMap<Vec<u8>, u64> = HashMap::new();
    let mut parts = Vec::new();
    while !stop.load(Ordering::SeqCst) {
        let now = Instant::now();
        while socket.try_recv(&mut parts).unwrap() {
            let peer = parts.remove(0);
            let count = conns.len() as u64;
            let conn = *conns.entry(peer).or_insert(count);
            let (head, frames) = Envelope::decode(&mut parts).unwrap();
            let frames = frames
                .into_iter()
                .map(|bytes| Frame::parse(bytes, 1 << 20).unwrap());
            post.receive(conn, head, frames.collect(), now);
        }
        while let Some(item) = post.next_submitted() {
            taken.fetch_add(1, Ordering::SeqCst);
            let mut made: Vec<_> = function(item.frame.payload())
                .iter()
                .map(|payload| Made {
                    frame: match payload.strip_prefix(b"!") {
                        None => item.frame.with_payload(payload),
                        Some(_) => item
                            .frame
                            .with_failure(&message::Failure::given_up(5, "it was")),
                    },
                    ticket: None,
                })
                .collect();
            share(Some(item.ticket), made.iter_mut());
            for made in made {
                post.give_client(made.frame.client().to_owned(), made, now);
            }
        }
        post.tick(now);
        for (conn, envelope) in post.take(now) {
            let peer = conns.iter().find(|(_, known)| **known == conn).unwrap().0;
            socket.say_to(peer, envelope.encode()).unwrap();
        }
        let pause = Some(Duration::from_millis(1));
        bell.sleep(|| false, || socket.wait(Want::Read, &bell, pause))
            .unwrap();
    }
}

fn echo() -> Function {
    Box::new(|payload| vec![payload.to_vec()])
}

fn texts(count: usize) -> impl Iterator<Item = String> + Send {
    (0..count).map(|number| number.to_string())
}

#[test]
fn calls_and_jobs_give_each_result_once_and_end_by_themselves() {
    let beside = Beside::start(Box::new(|payload| match payload.len() {
        1 => vec![],
        2 => vec![payload.to_vec()],
        _ => vec![payload.to_vec(); 2],
    }));
    let client = beside.client();
    assert_eq!(client.eval("s.f", "ab").unwrap(), b"ab");
    match client.eval("s.f", "a") {
        Err(Error::Refused { cause, .. }) => assert!(cause.contains("no result"), "{cause}"),
        other => panic!("{other:?}"),
    }
    let mut job = client.job("s.f", texts(20_000)).unwrap();
    let mut seen: Vec<_> = job
        .results()
        .map(|result| (result.message, result.position))
        .collect();
    seen.sort();
    assert_eq!(seen.len(), 90 + 2 * 19_900);
    seen.dedup();
    assert_eq!(seen.len(), 90 + 2 * 19_900);
    assert_eq!(client.job("s.f", texts(0)).unwrap().count(), 0);
    assert_eq!(client.job("s.f", texts(10)).unwrap().count(), 0);
}

#[test]
fn results_come_in_order_when_that_is_asked_for() {
    let beside = Beside::start(Box::new(|payload| vec![payload.to_vec(), b"more".to_vec()]));
    let client = beside.client();
    let request = client.request("s.f").ordered();
    let mut job = request.job(texts(5_000)).unwrap();
    for (index, result) in job.results().enumerate() {
        assert_eq!(result.message, Some(index as u64 / 2));
        assert_eq!(result.position, [index as u64 % 2]);
    }
    assert_eq!(job.received(), 10_000);
}

#[test]
fn a_server_that_is_killed_and_comes_back_elsewhere_gets_what_was_not_done() {
    let mut beside = Beside::start(echo());
    let client = beside.client();
    let request = client.request("s.f").timeout(Duration::from_secs(30));
    let mut job = request.job(texts(30_000)).unwrap();
    let mut results: Vec<_> = job.by_ref().take(1_000).map(Result::unwrap).collect();
    beside.restart(echo());
    results.extend(job.by_ref().take(10_000).map(Result::unwrap));
    beside.restart(echo());
    results.extend(job.map(Result::unwrap));
    results.sort();
    results.dedup();
    assert_eq!(results.len(), 30_000);
}

#[test]
fn a_cancelled_job_says_so_and_its_window_is_all_that_was_taken() {
    let beside = Beside::start(echo());
    let client = beside.client();
    let endless = (0_u32..).map(u32::to_be_bytes);
    let mut job = client.request("s.f").window(50).job(endless).unwrap();
    assert!(job.next().unwrap().is_ok());
    let canceller = job.canceller();
    std::thread::spawn(move || canceller.cancel())
        .join()
        .unwrap();
    let error = job.next().unwrap().unwrap_err();
    assert!(matches!(error, Error::Cancelled { .. }), "{error}");
    assert!(job.next().is_none());
    assert!(beside.taken.load(Ordering::SeqCst) <= 60);
    assert_eq!(client.eval("s.f", "next").unwrap(), b"next");
}

#[test]
fn errors_have_their_types_and_the_job_goes_on() {
    let beside = Beside::start(echo());
    let client = beside.client();
    let mut job = client
        .request("s.f")
        .ordered()
        .job(["a", "!", "b"])
        .unwrap();
    let results: Vec<_> = job.results().map(|result| result.payload).collect();
    match &results[..] {
        [
            Ok(_),
            Err(Error::GivenUp {
                attempts: 5, cause, ..
            }),
            Ok(_),
        ] => assert_eq!(cause, "it was"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn fewer_results_than_were_expected_are_an_error_and_more_are_cut_off() {
    let beside = Beside::start(echo());
    let client = beside.client();
    let job = client.request("s.f").expect(5).job(texts(3)).unwrap();
    let last = job.last().unwrap().unwrap_err().to_string();
    assert!(last.contains("3 of the 5"), "{last}");
    let job = client.request("s.f").expect(5).job(texts(1_000)).unwrap();
    assert_eq!(job.map(Result::unwrap).count(), 5);
}

#[test]
fn a_server_that_is_gone_is_a_time_out_or_the_end_of_the_deadline() {
    let mut beside = Beside::start(echo());
    let client = beside.client();
    beside.kill();
    let short = Duration::from_millis(300);
    for request in [
        client.request("s.f").timeout(short),
        client.request("s.f").deadline(short),
    ] {
        let start = Instant::now();
        let error = request.eval("x").unwrap_err();
        assert!(
            matches!(&error, Error::Timeout { after, .. } if *after == short),
            "{error}"
        );
        assert!(start.elapsed() < Duration::from_secs(2));
    }
    // What was not wanted any more is not run when it is back.
    beside.open(echo());
    assert_eq!(client.eval("s.f", "y").unwrap(), b"y");
    assert_eq!(beside.taken.load(Ordering::SeqCst), 1);
}

#[test]
fn the_end_of_the_client_is_the_end_of_its_jobs() {
    let beside = Beside::start(echo());
    for round in 0..20 {
        let client = beside.client();
        let endless = (0_u32..).map(u32::to_be_bytes);
        let mut job = client
            .request("s.f")
            .window(1 + round % 5)
            .job(endless)
            .unwrap();
        assert!(job.next().unwrap().is_ok());
        let start = Instant::now();
        drop(client);
        assert!(start.elapsed() < Duration::from_secs(1));
        let error = job.by_ref().find_map(Result::err).unwrap();
        assert!(matches!(error, Error::Stopped { .. }), "{error}");
        assert!(job.next().is_none());
    }
}

#[test]
fn calls_within_a_job_that_is_not_read_get_their_results() {
    let beside = Beside::start(Box::new(|payload| match payload {
        b"many" => vec![vec![7; 1_000]; 30_000],
        payload => vec![payload.to_vec()],
    }));
    let client = beside.client();
    let mut job = client.job("s.f", ["many"]).unwrap();
    for _ in 0..3 {
        assert!(job.next().unwrap().is_ok());
        assert_eq!(client.eval("s.f", "call").unwrap(), b"call");
    }
    assert_eq!(job.count(), 29_997);
}
