//! Functions behind HTTP.

use std::sync::{Arc, Barrier};
use std::time::Duration;

use palm::http::HttpWorker;
use palm::{Cache, CacheClient, Error, PalmMessage, Running};

use crate::common::{echo_server, limit, message, timed};
use crate::kit::{Raw, client, functions, post};

fn worker() -> HttpWorker {
    HttpWorker::new("127.0.0.1:0")
        .name("worker1")
        .functions(functions())
}

fn at(running: &Running) -> &str {
    running.address_of("Http").expect("it listens")
}

fn call(running: &Running, function: &str, payload: &[u8]) -> (u16, PalmMessage) {
    let (status, body) = post(at(running), message("me", function, payload).encode_frame());
    let reply = PalmMessage::decode_frame(&body, usize::MAX);
    (status, reply.expect("a message"))
}

#[test]
fn the_reply_is_the_message_with_the_result() {
    let _limit = limit(60, "a worker");
    let worker = worker().start().unwrap();
    let (status, reply) = call(&worker, "whoever.square", b"9");
    assert_eq!(
        (status, reply),
        (200, message("me", "whoever.square", b"9 81"))
    );
    let (status, reply) = call(&worker, "a.fail", b"9");
    assert_eq!((status, reply.payload.as_slice()), (500, &b"0"[..]));
    assert!(reply.failure.unwrap().cause.contains("no luck"));
    let (status, reply) = call(&worker, "a.nothing", b"9");
    assert_eq!(status, 500);
    assert!(reply.failure.unwrap().cause.contains("'nothing'"));
}

#[test]
fn a_function_has_one_result_or_none() {
    let _limit = limit(60, "a worker");
    let worker = worker().start().unwrap();
    let none = message("me", "a.none", b"");
    assert_eq!(post(at(&worker), none.encode_frame()), (204, Vec::new()));
    let (status, reply) = call(&worker, "a.two", b"");
    assert_eq!(status, 500);
    assert!(reply.failure.unwrap().cause.contains("it gave 2 results"));
}

#[test]
fn what_is_no_message_is_refused() {
    let _limit = limit(60, "a worker");
    let worker = worker().max_message(1_000).start().unwrap();
    assert_eq!(post(at(&worker), b"what is this").0, 400);
    assert_eq!(client().get(at(&worker)).call().unwrap().status(), 405);
    let large = message("me", "a.echo", &vec![0; 100_000]);
    assert_eq!(post(at(&worker), large.encode_frame()).0, 413);
    // And so is a result that is too large.
    assert_eq!(call(&worker, "a.large", b"1001").0, 500);
    assert_eq!(call(&worker, "a.large", b"1000").0, 200);
}

#[test]
fn as_many_functions_run_at_once_as_there_are_threads() {
    let _limit = limit(60, "threads");
    let all = Arc::new(Barrier::new(4));
    let worker = worker()
        .function("meet", move |_| {
            all.wait();
            Ok(())
        })
        .threads(4)
        .start()
        .unwrap();
    let meet = message("me", "a.meet", b"").encode_frame();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(post(at(&worker), &meet).0, 204));
        }
    });
    let error = HttpWorker::new("127.0.0.1:0").threads(0).start();
    assert!(matches!(error.unwrap_err(), Error::Setup { .. }));
}

#[test]
fn its_functions_have_a_cache_of_their_own_or_that_of_a_server() {
    let _limit = limit(60, "caches");
    let put = |call: &palm::Call<'_>| {
        call.cache().set("key", call.payload())?;
        Ok(call.cache().get("key")?)
    };
    let server = echo_server("s").start().unwrap();
    let db = &server.addresses().db;
    let of_its_own = worker().function("put", put).start().unwrap();
    let of_a_server = worker().function("put", put).db(db).start().unwrap();
    let cache = CacheClient::new(db);
    assert_eq!(call(&of_its_own, "a.put", b"one").1.payload, b"one");
    assert_eq!(cache.get("key").unwrap(), None);
    assert_eq!(call(&of_a_server, "a.put", b"two").1.payload, b"two");
    assert_eq!(cache.get("key").unwrap().as_deref(), Some(&b"two"[..]));
    assert!(worker().db("nowhere").start().is_err());
}

#[test]
fn on_a_stop_the_function_that_runs_is_finished_and_no_other_is_begun() {
    let _limit = limit(60, "a stop");
    let (begun, begins) = std::sync::mpsc::channel();
    let worker = worker()
        .function("slow", move |call| {
            begun.send(())?;
            std::thread::sleep(Duration::from_secs(1));
            Ok(call.payload().to_vec())
        })
        .start()
        .unwrap();
    let slow = message("me", "a.slow", b"x").encode_frame();
    let place = at(&worker).strip_prefix("http://").unwrap();
    let send = || {
        let mut raw = Raw::to(place);
        let head = format!(
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
            slow.len()
        );
        raw.send(&head).send(std::str::from_utf8(&slow).unwrap());
        raw
    };
    let mut first = send();
    begins.recv().unwrap();
    let mut second = send();
    // The second is open when a third has its answer, on the same listener.
    assert_eq!(post(at(&worker), b"what is this").0, 400);
    let ((), time) = timed(|| worker.stop().unwrap());
    assert!(time < Duration::from_secs(5), "it took {time:?}");
    assert_eq!(first.reply().status, 200);
    assert_eq!(second.reply().status, 503);
    assert!(begins.try_recv().is_err());
}
