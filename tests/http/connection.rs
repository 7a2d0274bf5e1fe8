//! Messages that an `HttpConnection` POSTs, to servers good and bad.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use palm::http::{HttpConnection, HttpService, HttpWorker};
use palm::part::{FunctionService, Inlet, Outlet, channel};
use palm::{Assembly, Client, Error, Frame, PalmMessage, Running};

use crate::common::{SOON, client, eval, fixed, limit, message, sorted, start_again, timed};
use crate::kit::{functions, server_over};

fn worker() -> Running {
    let worker = HttpWorker::new("127.0.0.1:0").functions(functions());
    worker.threads(4).start().unwrap()
}

fn at(running: &Running) -> &str {
    running.address_of("Http").expect("it listens")
}

fn square(number: usize) -> Vec<u8> {
    format!("{number} {}", number * number).into_bytes()
}

fn numbers(count: usize) -> Vec<String> {
    (0..count).map(|number| number.to_string()).collect()
}

/// All squares of a job, in the order in which they came.
fn squares(client: &Client, count: usize) -> Vec<Vec<u8>> {
    let job = client.request("server.square").timeout(SOON);
    let results = job.job(numbers(count)).unwrap();
    results.map(|result| result.unwrap()).collect()
}

/// The connection by itself, and the other ends of its channels.
struct Alone {
    outlet: Outlet,
    inlet: Inlet,
    _running: Running,
}

fn alone(connection: HttpConnection) -> Alone {
    let (outlet, messages) = channel().unwrap();
    let (results, inlet) = channel().unwrap();
    let running = connection.start(messages, results).unwrap();
    Alone {
        outlet,
        inlet,
        _running: running,
    }
}

fn alone_at(url: &str) -> Alone {
    alone(HttpConnection::new(url).parallel(1))
}

impl Alone {
    fn send(&self, message: &PalmMessage) {
        let batch = [Frame::from(message)].into_iter().collect();
        self.outlet.send(batch).unwrap();
    }

    fn next(&self) -> PalmMessage {
        match self.inlet.recv_timeout(SOON) {
            palm::part::Received::Batch(batch) => {
                let mut parcels = batch.into_iter();
                assert_eq!(parcels.len(), 1);
                parcels.next().unwrap().frame.to_message()
            }
            other => panic!("{other:?} in place of a result"),
        }
    }

    fn post(&self, message: &PalmMessage) -> PalmMessage {
        self.send(message);
        self.next()
    }

    /// What the next failure says.
    fn cause(&self) -> String {
        let result = self.post(&message("me", "s.f", b"x"));
        assert_eq!(result.payload, b"0");
        result.failure.expect("a failure").cause
    }
}

/// A server that does with one connection after another what it is told, and then ends.
struct Bad {
    url: String,
    served: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Bad {
    /// Each reply as it is sent, an empty one is none: the connection is just closed.
    fn new(replies: Vec<Vec<u8>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/path", listener.local_addr().unwrap());
        let served = Arc::new(AtomicUsize::new(0));
        let count = served.clone();
        let thread = std::thread::spawn(move || {
            for reply in replies {
                let (mut stream, _) = listener.accept().unwrap();
                stream.set_read_timeout(Some(SOON)).unwrap();
                let read = stream.read(&mut [0; 10_000]).unwrap();
                assert!(read > 0);
                count.fetch_add(1, Ordering::SeqCst);
                stream.write_all(&reply).unwrap();
            }
        });
        Self {
            url,
            served,
            thread: Some(thread),
        }
    }

    fn served(mut self) -> usize {
        self.thread.take().unwrap().join().unwrap();
        self.served.load(Ordering::SeqCst)
    }
}

fn reply(status: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("HTTP/1.0 {status}\r\nContent-Length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

#[test]
fn a_job_runs_behind_http() {
    let _limit = limit(60, "a job over HTTP");
    let worker = worker();
    let server = server_over(HttpConnection::new(at(&worker)));
    let client = client(&server);
    let expected = sorted((0..500).map(square));
    assert_eq!(sorted(squares(&client, 500)), expected);
    match eval(&client, "server.fail", b"x").unwrap_err() {
        Error::Function { cause, .. } => assert!(cause.contains("no luck"), "{cause}"),
        error => panic!("{error}"),
    }
    let error = eval(&client, "server.nothing", b"x").unwrap_err();
    assert!(matches!(error, Error::UnknownFunction { .. }), "{error}");
    let large = eval(&client, "server.large", b"5000000").unwrap();
    assert_eq!(large.len(), 5_000_000);
}

#[test]
fn a_service_that_replies_does_as_well_as_a_worker() {
    let _limit = limit(60, "a job over HTTP");
    let behind = Assembly::new("server")
        .inbound("Http", HttpService::new("127.0.0.1:0"), "Functions")
        .outbound("Functions", FunctionService::new(functions()))
        .replies("Functions", "Http")
        .start()
        .unwrap();
    let server = server_over(HttpConnection::new(at(&behind)));
    let client = client(&server);
    assert_eq!(sorted(squares(&client, 200)), sorted((0..200).map(square)));
    let error = eval(&client, "server.fail", b"x").unwrap_err();
    assert!(matches!(error, Error::Function { .. }), "{error}");
}

#[test]
fn one_at_a_time_keeps_the_order() {
    let _limit = limit(60, "a job in order");
    let worker = worker();
    let server = server_over(HttpConnection::new(at(&worker)).parallel(1));
    let expected: Vec<_> = (0..100).map(square).collect();
    assert_eq!(squares(&client(&server), 100), expected);
}

#[test]
fn what_gives_nothing_gives_nothing_and_what_has_failed_is_not_sent() {
    let _limit = limit(60, "nothing");
    let worker = worker();
    let alone = alone_at(at(&worker));
    alone.send(&message("me", "s.none", b"x"));
    let result = alone.post(&message("me", "s.echo", b"y"));
    assert_eq!(result.payload, b"y");
    let server = Bad::new(vec![reply("200 OK", b"1"), reply("200 OK", b"")]);
    let taken = alone_at(&server.url);
    taken.send(&message("me", "s.f", b"x"));
    // That nothing came of the first is seen when there is something of the second.
    assert!(taken.cause().contains("no message"));
    assert_eq!(server.served(), 2);
    // It has failed before, and would be run again by whoever does not see that.
    let failed = Frame::from(&message("me", "s.echo", b"z"));
    let failed = failed.with_failure(&palm::message::Failure::new(
        palm::message::FailureKind::Function,
        "before",
    ));
    assert_eq!(alone.post(&failed.to_message()), failed.to_message());
}

#[test]
fn nobody_there_is_a_failure_that_names_the_url() {
    let _limit = limit(60, "nobody");
    let place = TcpListener::bind("127.0.0.1:0").unwrap().local_addr();
    let url = format!("http://{}", place.unwrap());
    let alone = alone(HttpConnection::new(&url));
    let (cause, time) = timed(|| alone.cause());
    assert!(cause.contains(&url), "{cause}");
    // After 0.1 s and 0.2 s, it was tried again.
    assert!(time >= Duration::from_millis(300), "{time:?}");
}

#[test]
fn a_server_that_dies_or_is_busy_is_asked_again() {
    let _limit = limit(60, "a dying server");
    let result = message("me", "s.f", b"result");
    let good = reply("200 OK", &result.encode_frame());
    for bad in [
        Vec::new(),
        b"HTTP/1.1 200 O".to_vec(),
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc".to_vec(),
        reply("503 Busy", b"later"),
        reply("502 Bad Gateway", b""),
    ] {
        let server = Bad::new(vec![bad.clone(), bad.clone(), good.clone()]);
        let alone = alone(HttpConnection::new(&server.url));
        let said = String::from_utf8_lossy(&bad).into_owned();
        assert_eq!(alone.post(&message("me", "s.f", b"x")), result, "{said}");
        assert_eq!(server.served(), 3, "{said}");
    }
}

#[test]
fn retries_have_an_end_and_may_be_none() {
    let _limit = limit(60, "retries");
    let server = Bad::new(vec![Vec::new(); 4]);
    let cause = alone(HttpConnection::new(&server.url).retries(3)).cause();
    assert!(cause.contains(&server.url), "{cause}");
    assert_eq!(server.served(), 4);
    let server = Bad::new(vec![Vec::new()]);
    alone(HttpConnection::new(&server.url).retries(0)).cause();
    assert_eq!(server.served(), 1);
}

#[test]
fn what_the_function_or_the_url_is_to_blame_for_is_not_tried_again() {
    let _limit = limit(60, "refusals");
    for (bad, expected) in [
        (reply("500 Internal Server Error", b""), "500"),
        (reply("500 Oops", b"<h1>no luck</h1>"), "no luck"),
        (
            reply("404 Not Found", b"not here"),
            "404 Not Found: not here",
        ),
        (reply("302 Found\r\nLocation: /elsewhere", b""), "302"),
        (reply("200 OK", b"2"), "no message"),
        (reply("200 OK", b""), "no message"),
        (reply("200 OK", &vec![b'x'; 100_000]), "limit"),
    ] {
        let server = Bad::new(vec![bad]);
        let connection = HttpConnection::new(&server.url).max_message(1_000);
        let cause = alone(connection).cause();
        assert!(cause.contains(expected), "{cause}");
        assert!(cause.contains(&server.url), "{cause}");
        assert_eq!(server.served(), 1);
    }
}

#[test]
fn a_server_that_does_not_answer_is_a_failure_after_the_time_out() {
    let _limit = limit(60, "a deaf server");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let connection = HttpConnection::new(&url).timeout(Duration::from_millis(300));
    let (cause, time) = timed(|| alone(connection).cause());
    assert!(cause.contains(&url) && cause.contains("timeout"), "{cause}");
    assert!(time < Duration::from_secs(5), "{time:?}");
}

#[test]
fn a_worker_that_is_started_again_loses_nothing() {
    let _limit = limit(120, "a restart");
    const COUNT: usize = 2_000;
    let place = fixed().strip_prefix("tcp://").unwrap().to_owned();
    let start = || {
        let worker = HttpWorker::new(&place).functions(functions());
        worker.threads(2).start()
    };
    let worker = start().unwrap();
    let connection = HttpConnection::new(format!("http://{place}")).retries(8);
    let server = server_over(connection);
    let client = client(&server);
    let mut job = client
        .request("server.square")
        .timeout(3 * SOON)
        .job(numbers(COUNT))
        .unwrap();
    let mut results: Vec<_> = job.by_ref().take(COUNT / 4).map(Result::unwrap).collect();
    worker.stop().unwrap();
    drop(worker);
    std::thread::sleep(Duration::from_millis(300));
    let _again = start_again(start);
    results.extend(job.map(Result::unwrap));
    assert_eq!(sorted(results), sorted((0..COUNT).map(square)));
}

#[test]
fn a_url_that_is_none_is_refused_by_name() {
    for url in [
        "",
        "here",
        "https://127.0.0.1:1",
        "ftp://x/y",
        "http://",
        "http:///x",
        "/x",
        "http://a b/",
    ] {
        let (outlet, inlet) = channel().unwrap();
        let error = HttpConnection::new(url).start(inlet, outlet).unwrap_err();
        assert!(matches!(error, Error::Address { .. }), "{url}: {error}");
        assert!(error.to_string().contains(&format!("'{url}'")), "{error}");
    }
    let (outlet, inlet) = channel().unwrap();
    let none = HttpConnection::new("http://127.0.0.1:1").parallel(0);
    assert!(none.start(inlet, outlet).is_err());
}
