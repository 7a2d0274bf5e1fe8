//! What a job promises: it keeps to its window, counts what it expects, and ends as it should.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{SOON, client, echo_server, eval, limit, timed, until};
use palm::{Addresses, Client, Error, Server, Wire};

/// Numbers as payloads.
fn numbers(count: u32) -> impl Iterator<Item = [u8; 4]> + Clone + Send {
    (0..count).map(u32::to_be_bytes)
}

fn number(payload: &[u8]) -> u32 {
    u32::from_be_bytes(payload.try_into().expect("four bytes"))
}

/// An iterator that counts what is taken of it.
fn counted(count: u32) -> (Arc<AtomicUsize>, impl Iterator<Item = [u8; 4]> + Send) {
    let pulled = Arc::new(AtomicUsize::new(0));
    let counter = pulled.clone();
    let count_it = move |_: &[u8; 4]| {
        counter.fetch_add(1, Ordering::SeqCst);
    };
    (pulled, numbers(count).inspect(count_it))
}

#[test]
fn an_iterator_is_pulled_no_faster_than_results_are_read() {
    let _limit = limit(60, "the window");
    const WINDOW: usize = 10;
    let server = echo_server("s").start().unwrap();
    let client = client(&server);
    let (pulled, payloads) = counted(1_000);
    let request = client.request("s.echo").timeout(SOON).window(WINDOW);
    let job = request.job(payloads).unwrap();
    // One more than the window: it waits in the feeder's hand.
    until("the window to be full", || {
        pulled.load(Ordering::SeqCst) > WINDOW
    });
    for (read, result) in job.enumerate() {
        let most = read + 1 + WINDOW + 1;
        let so_far = pulled.load(Ordering::SeqCst);
        assert!(so_far <= most, "{so_far} pulled, {read} read before");
        assert_eq!(number(&result.unwrap()) as usize, read);
    }
    assert_eq!(pulled.load(Ordering::SeqCst), 1_000);
}

#[test]
fn the_window_counts_bytes_too() {
    let _limit = limit(60, "the window in bytes");
    let server = echo_server("s").start().unwrap();
    let client = client(&server);
    let pulled = Arc::new(AtomicUsize::new(0));
    let counter = pulled.clone();
    let payloads = (0..200).map(move |_| {
        counter.fetch_add(1, Ordering::SeqCst);
        vec![0; 10_000]
    });
    let request = client.request("s.echo").timeout(SOON).window_bytes(55_000);
    let job = request.job(payloads).unwrap();
    until("five to be sent", || pulled.load(Ordering::SeqCst) > 5);
    for (read, result) in job.enumerate() {
        let so_far = pulled.load(Ordering::SeqCst);
        assert!(so_far <= read + 1 + 5 + 1, "{so_far} pulled, {read} read");
        assert_eq!(result.unwrap().len(), 10_000);
    }
}

#[test]
fn a_job_that_is_dropped_early_stops_its_iterator_and_nothing_else() {
    let _limit = limit(60, "a job that is dropped");
    let server = echo_server("s").start().unwrap();
    let client = client(&server);
    for read in [0, 1, 100] {
        let (pulled, payloads) = counted(u32::MAX);
        let mut job = client.job("s.echo", payloads).unwrap();
        assert_eq!(job.by_ref().take(read).filter_map(Result::ok).count(), read);
        assert_eq!(job.received(), read);
        drop(job);
        // The iterator holds the other reference: it is dropped when its thread ends.
        until("the iterator to be dropped", || {
            Arc::strong_count(&pulled) == 1
        });
        assert_eq!(eval(&client, "s.echo", b"next").unwrap(), b"next");
    }
}

#[test]
fn an_endless_iterator_gives_as_many_results_as_are_taken() {
    let _limit = limit(60, "an endless iterator");
    let server = echo_server("s").start().unwrap();
    let client = client(&server);
    let job = client
        .job("s.echo", (0_u32..).map(u32::to_be_bytes))
        .unwrap();
    let results = job.take(20_000).map(|result| number(&result.unwrap()));
    assert!(results.eq(0..20_000));
}

fn doubling() -> palm::Running {
    Server::new("s", Addresses::ephemeral())
        .function("twice", |call| Ok(vec![call.payload().to_vec(); 2]))
        .function("echo", |call| Ok(call.payload().to_vec()))
        .start()
        .unwrap()
}

#[test]
fn more_or_fewer_results_than_messages_are_counted_as_expected() {
    let _limit = limit(60, "expected results");
    let server = doubling();
    let client = client(&server);
    let read = |function: &str, messages, expect| -> Vec<u32> {
        let request = client.request(function).timeout(SOON).expect(expect);
        let job = request.job(numbers(messages)).unwrap();
        job.map(|result| number(&result.unwrap())).collect()
    };
    assert_eq!(read("s.twice", 3, 6), [0, 0, 1, 1, 2, 2]);
    // Whoever expects fewer than there are ends there, and the rest is in nobody's way.
    assert_eq!(read("s.twice", 1_000, 3), [0, 0, 1]);
    assert_eq!(read("s.echo", 4, 4), [0, 1, 2, 3]);
    // Twenty thousand results of ten thousand messages: far more than the window.
    assert_eq!(read("s.twice", 10_000, 20_000).len(), 20_000);
}

#[test]
fn results_that_never_come_are_a_time_out_that_tells_the_counts() {
    let server = doubling();
    // Over the link it is known that they never come.
    let client = Client::builder("s", &server.addresses().db).wire(Wire::Pylm);
    let client = client.connect().unwrap();
    let soon = Duration::from_millis(200);
    let request = client.request("s.echo").timeout(soon).expect(5);
    let mut job = request.job(numbers(3)).unwrap();
    assert_eq!(job.by_ref().take(3).filter_map(Result::ok).count(), 3);
    let (error, took) = timed(|| job.next().unwrap().unwrap_err());
    assert!(took >= soon, "{took:?}");
    match &error {
        Error::Timeout { what, after } => {
            assert_eq!(*after, soon);
            assert!(what.contains("s.echo") && what.contains("3 of 5"), "{what}");
        }
        other => panic!("{other}"),
    }
    assert!(job.next().is_none() && job.next().is_none());
}

#[test]
fn an_empty_iterator_is_an_empty_job() {
    let _limit = limit(30, "an empty job");
    let server = echo_server("s").start().unwrap();
    let client = client(&server);
    let mut job = client.job("s.echo", Vec::<String>::new()).unwrap();
    assert!(job.next().is_none() && job.next().is_none());
}

#[test]
fn an_iterator_that_panics_is_the_last_error_of_its_job() {
    let _limit = limit(30, "an iterator that panics");
    let server = echo_server("s").start().unwrap();
    let client = client(&server);
    let payloads = numbers(10).inspect(|payload| assert_ne!(number(payload), 5, "no fives"));
    let mut results: Vec<_> = client.job("s.echo", payloads).unwrap().collect();
    let last = results.pop().unwrap().unwrap_err().to_string();
    assert!(
        last.contains("iterator") && last.contains("no fives"),
        "{last}"
    );
    assert!(
        results.len() <= 5 && results.iter().all(Result::is_ok),
        "{results:?}"
    );
    assert_eq!(eval(&client, "s.echo", b"next").unwrap(), b"next");
}

#[test]
fn a_job_that_moves_slowly_does_not_time_out() {
    let _limit = limit(60, "a slow job");
    let server = Server::new("s", Addresses::ephemeral())
        .function("slow", |call| {
            std::thread::sleep(Duration::from_millis(60));
            Ok(call.payload().to_vec())
        })
        .start()
        .unwrap();
    let client = client(&server);
    let timeout = Duration::from_millis(600);
    let request = client.request("s.slow").timeout(timeout);
    let (results, took) = timed(|| {
        request
            .job(numbers(15))
            .unwrap()
            .filter_map(Result::ok)
            .count()
    });
    assert_eq!(results, 15);
    assert!(took > timeout, "too fast to show anything: {took:?}");
    // Nor does one without a time-out, nor one whose iterator is the slow one.
    let forever = client.request("s.slow").timeout(None);
    assert_eq!(forever.eval(b"x").unwrap(), b"x");
    let pause = |payload| {
        std::thread::sleep(Duration::from_millis(900));
        payload
    };
    let request = client.request("s.slow").timeout(timeout);
    let job = request.job(numbers(3).map(pause)).unwrap();
    assert_eq!(job.map(Result::unwrap).count(), 3);
}

#[test]
fn a_call_behind_a_queue_that_does_not_move_times_out() {
    let _limit = limit(60, "a queue that does not move");
    let master = palm::Master::new("m", Addresses::ephemeral())
        .start()
        .unwrap();
    let client = client(&master);
    let (pulled, payloads) = counted(u32::MAX);
    let _job = client
        .request("m.f")
        .window(usize::MAX)
        .job(payloads)
        .unwrap();
    // Nobody works, so all queues get full: then the iterator is pulled no more.
    let mut last = 0;
    until("the queues to be full", || {
        std::thread::sleep(Duration::from_millis(200));
        let before = std::mem::replace(&mut last, pulled.load(Ordering::SeqCst));
        last > 0 && last == before
    });
    let timeout = Duration::from_millis(300);
    let (result, took) = timed(|| client.request("m.f").timeout(timeout).eval("x"));
    assert!(matches!(result, Err(Error::Timeout { .. })), "{result:?}");
    assert!(took >= timeout && took < 10 * timeout, "{took:?}");
}

#[test]
fn the_end_of_a_client_is_the_end_of_its_jobs() {
    let _limit = limit(60, "the end of a client");
    let server = echo_server("s").start().unwrap();
    // The end comes at another moment each time: messages under way, results, both or neither.
    for round in 0..50 {
        let client = client(&server);
        let payloads = (0_u32..).map(u32::to_be_bytes);
        let request = client.request("s.echo").window(1 + round % 5);
        let mut job = request.job(payloads).unwrap();
        assert_eq!(number(&job.next().unwrap().unwrap()), 0);
        let ((), took) = timed(|| drop(client));
        assert!(took < Duration::from_secs(1), "{took:?}");
        // What had come by then may be read. Then it says that it was stopped, though all that
        // was sent has its result: there were payloads left.
        let error = job.by_ref().find_map(Result::err);
        let error = error.unwrap_or_else(|| panic!("round {round}: it ended as if complete"));
        assert!(matches!(error, Error::Stopped { .. }), "{error}");
        assert!(job.next().is_none());
    }
}
