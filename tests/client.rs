//! What a client promises: every call its own result, whoever else calls and whatever happens.

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{SOON, client, echo_server, eval, fixed_addresses, limit, sorted, start_again, until};
use palm::{Addresses, Client, Error, Server, Wire};

/// Numbers as payloads.
fn numbers(count: u32) -> impl Iterator<Item = [u8; 4]> + Clone + Send {
    (0..count).map(u32::to_be_bytes)
}

fn number(payload: &[u8]) -> u32 {
    u32::from_be_bytes(payload.try_into().expect("four bytes"))
}

#[test]
fn a_thousand_calls_in_a_row_get_their_results() {
    let _limit = limit(60, "1,000 calls");
    let server = echo_server("s").start().unwrap();
    let client = client(&server);
    for payload in numbers(1_000) {
        assert_eq!(eval(&client, "s.echo", &payload).unwrap(), payload);
    }
}

#[test]
fn payloads_of_every_type_and_size_come_back() {
    let _limit = limit(60, "payloads");
    let server = echo_server("s").start().unwrap();
    let client = client(&server);
    assert_eq!(client.eval("s.echo", "text").unwrap(), b"text");
    assert_eq!(
        client.eval("s.echo", String::from("text")).unwrap(),
        b"text"
    );
    for size in [0, 1, 127, 128, 70_000, 8 << 20] {
        let payload: Vec<u8> = (0..size).map(|index| (index % 251) as u8).collect();
        let result = eval(&client, "s.echo", &payload).unwrap();
        assert!(result == payload, "{size} bytes came back as others");
    }
}

#[test]
fn calls_within_the_loop_of_a_job_get_their_own_results() {
    let _limit = limit(60, "calls within a job");
    let server = echo_server("s").start().unwrap();
    let client = client(&server);
    let job = client.job("s.echo", numbers(500)).unwrap();
    let mut inner = client
        .job("s.echo", (0..500).map(|n| format!("inner {n}")))
        .unwrap();
    for (count, result) in job.enumerate() {
        assert_eq!(number(&result.unwrap()) as usize, count);
        let nested = format!("nested {count}");
        assert_eq!(
            eval(&client, "s.echo", nested.as_bytes()).unwrap(),
            nested.as_bytes()
        );
        let of_inner = inner.next().unwrap().unwrap();
        assert_eq!(of_inner, format!("inner {count}").as_bytes());
    }
    assert!(inner.next().is_none());
}

#[test]
fn several_threads_use_one_client_at_once() {
    let _limit = limit(60, "several threads");
    let server = echo_server("s").threads(2).start().unwrap();
    let client = client(&server);
    std::thread::scope(|scope| {
        for thread in 0..6_u32 {
            let client = &client;
            scope.spawn(move || {
                for call in 0..100 {
                    let payload = format!("call {call} of {thread}");
                    let result = eval(client, "s.echo", payload.as_bytes()).unwrap();
                    assert_eq!(result, payload.as_bytes());
                }
                let payloads = (0..500).map(move |count| format!("{thread}: {count}"));
                let job = client.job("s.echo", payloads.clone()).unwrap();
                let results = sorted(job.map(|result| String::from_utf8(result.unwrap()).unwrap()));
                assert_eq!(results, sorted(payloads));
            });
        }
    });
}

#[test]
fn clients_of_one_server_get_their_own_results() {
    let _limit = limit(60, "several clients");
    let server = echo_server("s").start().unwrap();
    std::thread::scope(|scope| {
        for name in ["a", "b", "c", "d"] {
            let client = client(&server);
            scope.spawn(move || {
                let payloads = (0..1_000).map(move |count| format!("{name}{count}"));
                let job = client.job("s.echo", payloads.clone()).unwrap();
                let results = job.map(|result| String::from_utf8(result.unwrap()).unwrap());
                assert!(results.eq(payloads));
            });
        }
    });
}

#[test]
fn a_late_result_is_not_the_next_ones() {
    let _limit = limit(60, "a late result");
    let server = Server::new("s", Addresses::ephemeral())
        .function("echo", |call| {
            if call.payload() == b"slow" {
                std::thread::sleep(Duration::from_millis(300));
            }
            Ok(call.payload().to_vec())
        })
        .start()
        .unwrap();
    let client = client(&server);
    for _ in 0..3 {
        let short = client.request("s.echo").timeout(Duration::from_millis(50));
        assert!(matches!(short.eval("slow"), Err(Error::Timeout { .. })));
        assert_eq!(eval(&client, "s.echo", b"quick").unwrap(), b"quick");
    }
}

#[test]
fn a_payload_over_the_limit_is_refused_before_it_is_sent() {
    let _limit = limit(30, "large payloads");
    let server = echo_server("s").start().unwrap();
    let builder = Client::builder("s", &server.addresses().db).max_message(100);
    let client = builder.connect().unwrap();
    let too_large = |error: Error| match error {
        Error::TooLarge { size, limit } => assert_eq!((size, limit), (101, 100)),
        other => panic!("{other}"),
    };
    too_large(client.eval("s.echo", [0; 101]).unwrap_err());
    assert_eq!(client.eval("s.echo", [7; 100]).unwrap(), [7; 100]);
    let payloads = [50, 101, 50].map(|size| vec![0; size]);
    let mut results: Vec<_> = client.job("s.echo", payloads).unwrap().collect();
    too_large(results.pop().unwrap().unwrap_err());
    assert!(results.len() <= 1, "{results:?}");
    too_large(client.set(None, &[0; 101]).unwrap_err());
}

#[test]
fn a_client_that_starts_before_its_server_waits_for_it() {
    let _limit = limit(60, "a client before its server");
    let addresses = fixed_addresses();
    let early = std::thread::spawn({
        let builder = Client::builder("s", &addresses.db).timeout(SOON);
        move || builder.connect()
    });
    std::thread::sleep(Duration::from_millis(300));
    assert!(!early.is_finished());
    let _server = Server::new("s", addresses)
        .function("echo", |call| Ok(call.payload().to_vec()))
        .start()
        .unwrap();
    let client = early.join().unwrap().unwrap();
    assert_eq!(eval(&client, "s.echo", b"x").unwrap(), b"x");
}

#[test]
fn a_client_goes_on_when_its_server_is_back_at_the_same_addresses() {
    let _limit = limit(60, "a server that comes back");
    let addresses = fixed_addresses();
    let start = || {
        let server = Server::new("s", addresses.clone());
        server
            .function("echo", |call| Ok(call.payload().to_vec()))
            .start()
    };
    let mut server = start().unwrap();
    let client = client(&server);
    for round in 0..3 {
        assert_eq!(eval(&client, "s.echo", &[round]).unwrap(), [round]);
        client.set(Some("key"), &[round]).unwrap();
        server.stop().unwrap();
        server = start_again(start);
        assert_eq!(client.get("key").unwrap(), None, "another store");
    }
    let results = client.job("s.echo", numbers(1_000)).unwrap();
    assert_eq!(results.map(Result::unwrap).count(), 1_000);
}

#[test]
fn addresses_that_are_given_are_used_in_place_of_those_told() {
    let (first, second) = (echo_server("s"), echo_server("s"));
    let (first, second) = (first.start().unwrap(), second.start().unwrap());
    let client = Client::builder("s", &first.addresses().db)
        .pull(&second.addresses().pull)
        .publish(&second.addresses().publish)
        .connect()
        .unwrap();
    assert_eq!(client.addresses().pull, second.addresses().pull);
    assert_eq!(client.addresses().publish, second.addresses().publish);
    assert_eq!(client.addresses().db, first.addresses().db);
    assert_eq!(client.server(), "s");
    first.stop().unwrap();
    assert_eq!(eval(&client, "s.echo", b"x").unwrap(), b"x");
}

#[test]
fn a_result_over_the_limit_of_the_client_is_its_error() {
    let _limit = limit(30, "large results");
    let server = echo_server("s")
        .function("grow", |call| Ok(call.payload().repeat(10)))
        .start()
        .unwrap();
    let builder = Client::builder("s", &server.addresses().db).max_message(1_000);
    let client = builder.connect().unwrap();
    assert_eq!(eval(&client, "s.grow", &[7; 100]).unwrap(), [7; 1_000]);
    match eval(&client, "s.grow", &[7; 101]).unwrap_err() {
        Error::Refused { function, cause } => {
            assert_eq!(function, "s.grow");
            let says = "a message of 1010 bytes is over the limit of 1000 bytes (at '";
            assert!(cause.contains(says), "{cause}");
        }
        other => panic!("{other}"),
    }
    // A job goes on after it.
    let payloads = [100, 101, 100].map(|size| vec![7; size]);
    let results = client.request("s.grow").timeout(SOON).job(payloads);
    let are_ok: Vec<_> = results.unwrap().map(|result| result.is_ok()).collect();
    assert_eq!(are_ok, [true, false, true]);
}

/// A server with a function that waits until it may go on, and says when it has begun.
struct Gate {
    server: palm::Running,
    /// How many calls have begun.
    begun: Arc<AtomicUsize>,
    /// Each call goes on when there is something here, or when this is dropped.
    open: Option<Sender<()>>,
}

impl Gate {
    fn new() -> Self {
        let (open, opened) = channel::<()>();
        let opened = Mutex::new(opened);
        let begun = Arc::<AtomicUsize>::default();
        let count = begun.clone();
        let server = echo_server("s")
            .threads(2)
            .function("gate", move |call| {
                count.fetch_add(1, Ordering::SeqCst);
                let _ = opened.lock().unwrap().recv();
                Ok(call.payload().to_vec())
            })
            .start()
            .unwrap();
        Self {
            server,
            begun,
            open: Some(open),
        }
    }

    fn client(&self, wire: Wire) -> Client {
        let client = Client::builder("s", &self.server.addresses().db).wire(wire);
        client.connect().unwrap()
    }

    /// Waits until so many calls have begun.
    fn wait(&self, calls: usize) {
        until("the function to begin", || {
            self.begun.load(Ordering::SeqCst) >= calls
        });
    }

    fn go_on(&self) {
        self.open.as_ref().unwrap().send(()).unwrap();
    }
}

const WIRES: [Wire; 2] = [Wire::Link, Wire::Pylm];

#[test]
fn a_call_that_comes_while_another_waits_has_its_result_before_it() {
    let _limit = limit(60, "a call beside one that waits");
    for wire in WIRES {
        let gate = Gate::new();
        let client = gate.client(wire);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| eval(&client, "s.gate", b"first").unwrap());
            gate.wait(1);
            for call in numbers(20) {
                assert_eq!(eval(&client, "s.echo", &call).unwrap(), call);
            }
            assert!(!waiting.is_finished());
            gate.go_on();
            assert_eq!(waiting.join().unwrap(), b"first");
        });
    }
}

#[test]
fn a_call_that_waits_ends_when_it_is_cancelled_or_late_and_the_next_one_has_its_result() {
    let _limit = limit(60, "the end of a call that waits");
    for wire in WIRES {
        let gate = Gate::new();
        let client = gate.client(wire);
        let mut job = client.job("s.gate", ["cancelled"]).unwrap();
        let canceller = job.canceller();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| job.next().unwrap().unwrap_err());
            gate.wait(1);
            canceller.cancel();
            let error = waiting.join().unwrap();
            assert!(matches!(error, Error::Cancelled { .. }), "{error}");
        });
        assert_eq!(eval(&client, "s.echo", b"next").unwrap(), b"next");
        let soon = Duration::from_millis(300);
        let late = client.request("s.gate").timeout(soon).eval("late");
        assert!(matches!(late, Err(Error::Timeout { .. })), "{late:?}");
        gate.go_on();
        gate.go_on();
        assert_eq!(eval(&client, "s.echo", b"next").unwrap(), b"next");
    }
}

#[test]
fn a_call_that_waits_ends_with_its_server_away_when_its_time_is_over() {
    let _limit = limit(60, "a server that goes while a call waits");
    for wire in WIRES {
        let mut gate = Gate::new();
        let client = gate.client(wire);
        std::thread::scope(|scope| {
            let soon = Duration::from_millis(1_500);
            let call = client.request("s.gate").deadline(soon);
            let waiting = scope.spawn(|| call.eval("x"));
            gate.wait(1);
            drop(gate.open.take());
            gate.server.stop().unwrap();
            match waiting.join().unwrap() {
                // Its result has come before the end.
                Ok(result) => assert_eq!(result, b"x"),
                Err(error) => assert!(matches!(error, Error::Timeout { .. }), "{error}"),
            }
        });
    }
}

#[test]
fn who_waits_for_results_lets_go_on_who_waits_for_room() {
    let _limit = limit(120, "a small window");
    let server = echo_server("s").start().unwrap();
    for wire in WIRES {
        let client = Client::builder("s", &server.addresses().db).wire(wire);
        let client = client.connect().unwrap();
        for window in [1, 2, 7] {
            let request = client.request("s.echo").timeout(SOON).window(window);
            let job = request.job(numbers(2_000)).unwrap();
            let results = job.map(|result| number(&result.unwrap()));
            assert!(results.eq(0..2_000), "{wire:?}, window {window}");
        }
    }
}
