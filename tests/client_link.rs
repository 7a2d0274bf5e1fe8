//! What a client promises over the palm link: each message's results once, though servers are
//! killed; jobs that end by themselves; order, cancel, time limits.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use common::{SOON, client, echo_server, eval, fixed_addresses, limit, start_again, timed, until};
use palm::{Addresses, Client, Error, Job, Master, Pipeline, Running, Server, Wire, Worker};

fn texts(count: usize) -> impl Iterator<Item = String> + Clone + Send {
    (0..count).map(|number| number.to_string())
}

/// Gives nothing of one digit, one of two, and more of more.
fn several(name: &str, addresses: Addresses) -> Server {
    Server::new(name, addresses)
        .function("several", |call| {
            let payload = call.payload().to_vec();
            let times = payload.len() - 1;
            Ok(vec![payload; times])
        })
        .function("echo", |call| Ok(call.payload().to_vec()))
        .function("fail", |call| match call.payload() {
            b"3" => Err("three".into()),
            payload => Ok(payload.to_vec()),
        })
}

/// A client of a chain from its first step to its last.
fn of_chain(first: &Running, last: &Running) -> Client {
    let client = Client::builder(first.name(), &first.addresses().db);
    let client = client.publish(&last.addresses().publish);
    client.connect().expect("a client")
}

/// Which message each result came of, and its position, sorted. No two may be the same.
fn places(mut job: Job) -> Vec<(u64, Vec<u64>)> {
    let place = |result: palm::JobResult| {
        result.payload.expect("a result");
        (result.message.expect("a message"), result.position)
    };
    let mut places: Vec<_> = job.results().map(place).collect();
    places.sort();
    let all = places.len();
    places.dedup();
    assert_eq!(places.len(), all, "there are doubles");
    places
}

#[test]
fn the_link_is_spoken_unless_the_pylm_wire_is_asked_for() {
    let server = echo_server("s").start().unwrap();
    assert_eq!(client(&server).wire(), Wire::Link);
    let pylm = Client::builder("s", &server.addresses().db).wire(Wire::Pylm);
    let pylm = pylm.connect().unwrap();
    assert_eq!(pylm.wire(), Wire::Pylm);
    assert_eq!(eval(&pylm, "s.echo", b"x").unwrap(), b"x");
    // There nobody tells which message a result is of.
    let mut job = pylm.job("s.echo", ["x"]).unwrap();
    let places: Vec<_> = job.results().map(|result| result.message).collect();
    assert_eq!(places, [None]);
}

#[test]
fn a_job_ends_by_itself_whatever_comes_of_its_messages() {
    let _limit = limit(60, "a job that ends by itself");
    let server = several("s", Addresses::ephemeral()).start().unwrap();
    let client = client(&server);
    let job = client.job("s.several", texts(2_000)).unwrap();
    let places = places(job);
    assert_eq!(places.len(), 90 + 2 * 900 + 3 * 1_000);
    assert_eq!(places[0], (10, vec![]));
    assert_eq!(places[90..92], [(100, vec![0]), (100, vec![1])]);
    assert_eq!(client.job("s.several", texts(10)).unwrap().count(), 0);
    match client.eval("s.several", "1").unwrap_err() {
        Error::Refused { cause, .. } => assert_eq!(cause, "it gave no result"),
        other => panic!("{other}"),
    }
}

#[test]
fn so_does_one_over_a_chain_and_over_workers() {
    let _limit = limit(60, "a chain that ends by itself");
    let master = Master::new("m", Addresses::ephemeral()).pipelined(true);
    let master = master.start().unwrap();
    let echo = |call: &palm::Call| Ok(call.payload().to_vec());
    let workers = [1, 2].map(|_| {
        let worker = Worker::new(&master.addresses().db).function("echo", move |call| echo(call));
        worker.start().unwrap()
    });
    let last = Pipeline::new("p", Addresses::ephemeral())
        .after("m", &master.addresses().publish)
        .function("several", |call| {
            Ok(vec![call.payload().to_vec(); call.payload().len() - 1])
        })
        .start()
        .unwrap();
    let client = of_chain(&master, &last);
    assert_eq!(client.wire(), Wire::Link);
    let job = client.job(["m.echo", "p.several"], texts(1_000)).unwrap();
    assert_eq!(places(job).len(), 90 + 2 * 900);
    drop(workers);
}

#[test]
fn results_come_in_the_order_of_the_messages_if_that_is_asked_for() {
    let _limit = limit(60, "results in order");
    let server = Server::new("s", Addresses::ephemeral())
        .threads(4)
        .function("f", |call| {
            // The later, the faster.
            let number: u64 = std::str::from_utf8(call.payload())?.parse()?;
            std::thread::sleep(Duration::from_micros(300 * (7 - number % 8)));
            Ok(vec![call.payload().to_vec(); 1 + number as usize % 3])
        })
        .start()
        .unwrap();
    let client = client(&server);
    let request = client.request("s.f").ordered().timeout(SOON);
    let mut job = request.job(texts(1_000)).unwrap();
    let order = job
        .results()
        .map(|result| (result.message.unwrap(), result.position));
    let order: Vec<_> = order.collect();
    assert!(order.is_sorted());
    assert_eq!(order.len(), 1_000 + 333 + 2 * 333);
    assert_eq!(order.last().unwrap().0, 999);
}

#[test]
fn a_server_that_is_stopped_and_started_again_and_again_costs_no_result_and_doubles_none() {
    let _limit = limit(120, "a server that comes back");
    const MESSAGES: usize = 20_000;
    let addresses = fixed_addresses();
    let start = || several("s", addresses.clone()).start();
    let mut server = start().unwrap();
    let client = client(&server);
    let request = client.request("s.several").timeout(Duration::from_secs(30));
    let mut job = request.job(texts(MESSAGES)).unwrap();
    let mut all = Vec::new();
    for _ in 0..3 {
        let some = job.results().take(1_000);
        all.extend(some.map(|result| (result.message.unwrap(), result.position)));
        drop(server);
        server = start_again(start);
    }
    all.extend(places(job));
    all.sort();
    let count = all.len();
    all.dedup();
    assert_eq!((all.len(), count), (90 + 1_800 + 27_000 + 40_000, count));
}

#[test]
fn a_step_that_is_started_again_costs_no_result_and_doubles_none() {
    let _limit = limit(120, "a step that comes back");
    let first = Server::new("first", Addresses::ephemeral())
        .function("echo", |call| Ok(call.payload().to_vec()))
        .pipelined(true)
        .start()
        .unwrap();
    let addresses = fixed_addresses();
    let start = || {
        Pipeline::new("p", addresses.clone())
            .after("first", &first.addresses().publish)
            .function("echo", |call| Ok(call.payload().to_vec()))
            .start()
    };
    let mut last = start().unwrap();
    let client = of_chain(&first, &last);
    let request = client.request(["first.echo", "p.echo"]);
    let mut job = request
        .timeout(Duration::from_secs(30))
        .job(texts(10_000))
        .unwrap();
    let mut all = Vec::new();
    for _ in 0..2 {
        all.extend(
            job.results()
                .take(1_000)
                .map(|result| result.message.unwrap()),
        );
        drop(last);
        last = start_again(start);
    }
    all.extend(places(job).into_iter().map(|(message, _)| message));
    all.sort_unstable();
    assert_eq!(all, (0..10_000).collect::<Vec<_>>());
}

#[test]
fn a_message_that_fails_is_an_error_that_says_which_and_the_job_goes_on() {
    let _limit = limit(60, "errors");
    let server = several("s", Addresses::ephemeral()).start().unwrap();
    let client = client(&server);
    let mut job = client.job("s.fail", texts(5)).unwrap();
    for result in job.results() {
        match (result.message, result.payload) {
            (Some(3), Err(Error::Function { cause, .. })) => assert_eq!(cause, "three (at 's')"),
            (Some(message), Ok(payload)) => assert_eq!(payload, message.to_string().as_bytes()),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(job.received(), 5);
    let unknown = client.eval("s.nope", "x").unwrap_err();
    assert!(
        matches!(unknown, Error::UnknownFunction { .. }),
        "{unknown}"
    );
}

#[test]
fn of_a_cancelled_job_nothing_more_is_run() {
    let _limit = limit(60, "a job that is cancelled");
    let begun = Arc::new(AtomicUsize::new(0));
    let master = Master::new("m", Addresses::ephemeral()).start().unwrap();
    let counter = begun.clone();
    let _worker = Worker::new(&master.addresses().db)
        .function("slow", move |call| {
            counter.fetch_add(1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(30));
            Ok(call.payload().to_vec())
        })
        .start()
        .unwrap();
    let client = client(&master);
    for by_drop in [false, true] {
        let mut job = client.request("m.slow").job(texts(1_000)).unwrap();
        assert!(job.next().unwrap().is_ok());
        if by_drop {
            drop(job);
        } else {
            job.cancel();
            let error = job.next().unwrap().unwrap_err();
            assert!(matches!(error, Error::Cancelled { .. }), "{error}");
            assert!(job.next().is_none());
        }
        let before = begun.load(Ordering::SeqCst);
        let (result, took) = timed(|| eval(&client, "m.slow", b"next").unwrap());
        assert_eq!(result, b"next");
        let more = begun.load(Ordering::SeqCst) - before;
        assert!(
            more < 40,
            "{more} were run after it was cancelled, in {took:?}"
        );
    }
}

#[test]
fn a_call_ends_at_its_deadline_though_it_moves() {
    let _limit = limit(60, "a deadline");
    let server = Server::new("s", Addresses::ephemeral())
        .function("slow", |call| {
            std::thread::sleep(Duration::from_millis(20));
            Ok(call.payload().to_vec())
        })
        .start()
        .unwrap();
    let allowed = Duration::from_millis(300);
    for wire in [Wire::Link, Wire::Pylm] {
        let client = Client::builder("s", &server.addresses().db).wire(wire);
        let client = client.connect().unwrap();
        // The time runs from the moment when the job is there.
        let (last, took) = timed(|| {
            let job = client.request("s.slow").deadline(allowed).job(texts(1_000));
            job.unwrap().last().unwrap().unwrap_err()
        });
        assert!(
            matches!(&last, Error::Timeout { after, .. } if *after == allowed),
            "{last}"
        );
        assert!(took >= allowed && took < 5 * allowed, "{took:?}");
    }
}

#[test]
fn a_client_that_does_not_read_stops_only_itself() {
    let _limit = limit(60, "a client that does not read");
    let server = echo_server("s").start().unwrap();
    let idle = client(&server);
    let pulled = Arc::new(AtomicUsize::new(0));
    let counter = pulled.clone();
    let payloads = (0..100_000).map(move |_| {
        counter.fetch_add(1, Ordering::SeqCst);
        [7; 1_000]
    });
    let unread = idle.request("s.echo").timeout(SOON).job(payloads).unwrap();
    let mut last = usize::MAX;
    until("the job to stand still", || {
        std::thread::sleep(Duration::from_millis(100));
        let before = std::mem::replace(&mut last, pulled.load(Ordering::SeqCst));
        before == last
    });
    assert!(last < 20_000, "{last} were pulled");
    let status = palm::Status::of(&server.addresses().db, SOON).unwrap();
    let clients: Vec<_> = status.clients.iter().map(|known| &known.session).collect();
    assert_eq!(clients, [idle.id()]);
    let other = client(&server);
    let job = other.job("s.echo", texts(20_000)).unwrap();
    assert_eq!(job.map(Result::unwrap).count(), 20_000);
    // Its own calls go on, too.
    assert_eq!(eval(&idle, "s.echo", b"x").unwrap(), b"x");
    assert_eq!(unread.map(Result::unwrap).count(), 100_000);
}

#[test]
fn calls_within_a_job_whose_results_wait_get_theirs() {
    let _limit = limit(60, "calls within a job");
    let server = Server::new("s", Addresses::ephemeral())
        .function("many", |_| Ok(vec![vec![7; 1_000]; 30_000]))
        .function("echo", |call| Ok(call.payload().to_vec()))
        .start()
        .unwrap();
    let client = client(&server);
    let mut job = client.job("s.many", ["x"]).unwrap();
    for _ in 0..3 {
        assert!(job.next().unwrap().is_ok());
        assert_eq!(eval(&client, "s.echo", b"call").unwrap(), b"call");
    }
    assert_eq!(job.count(), 29_997);
}

#[test]
fn a_server_that_is_gone_is_a_time_out_and_what_was_given_up_is_not_run_when_it_is_back() {
    let _limit = limit(60, "a server that is gone");
    let addresses = fixed_addresses();
    let run = Arc::new(AtomicUsize::new(0));
    let start = || {
        let counter = run.clone();
        Server::new("s", addresses.clone())
            .function("f", move |call| {
                counter.fetch_add(1, Ordering::SeqCst);
                Ok(call.payload().to_vec())
            })
            .start()
    };
    let server = start().unwrap();
    let client = client(&server);
    drop(server);
    let short = Duration::from_millis(300);
    let call = client.request("s.f").timeout(short);
    for call in [call.clone(), call.timeout(None).deadline(short)] {
        let (error, took) = timed(|| call.eval("x").unwrap_err());
        assert!(
            matches!(&error, Error::Timeout { after, .. } if *after == short),
            "{error}"
        );
        let cause = "and the server cannot be reached";
        assert!(error.to_string().contains(cause), "{error}");
        assert!(took < Duration::from_secs(2), "{took:?}");
    }
    let _server = start_again(start);
    assert_eq!(eval(&client, "s.f", b"y").unwrap(), b"y");
    assert_eq!(run.load(Ordering::SeqCst), 1);
}

#[test]
fn fewer_results_than_were_expected_are_an_error_and_more_are_cut_off() {
    let _limit = limit(60, "expected results");
    let server = echo_server("s").start().unwrap();
    let client = client(&server);
    let job = client.request("s.echo").expect(5).job(texts(3)).unwrap();
    let last = job.last().unwrap().unwrap_err().to_string();
    assert!(last.contains("3 of the 5"), "{last}");
    let job = client
        .request("s.echo")
        .expect(5)
        .job(texts(1_000))
        .unwrap();
    assert_eq!(job.map(Result::unwrap).count(), 5);
}

#[test]
fn a_link_is_heard_however_much_goes_over_the_pylm_wire() {
    let _limit = limit(60, "a link beside a busy pylm wire");
    let server = echo_server("s").start().unwrap();
    let db = &server.addresses().db;
    let pylm = Client::builder("s", db).wire(Wire::Pylm).connect().unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (pylm, stop) = (&pylm, &stop);
        scope.spawn(move || {
            let mut number = 0_u64;
            let payloads = std::iter::from_fn(move || {
                number += 1;
                // So much that none of it stands still.
                (number < 400_000).then(|| number.to_string())
            });
            let job = pylm.job("s.echo", payloads).unwrap();
            job.take_while(|_| !stop.load(Ordering::SeqCst)).count()
        });
        for _ in 0..20 {
            // Longer than that, and a client would take it for a pylm peer.
            palm::Status::of(db, Duration::from_millis(300)).unwrap();
        }
        stop.store(true, Ordering::SeqCst);
    });
}
