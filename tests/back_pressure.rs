//! Work that takes long, readers and workers that are not there: what waits is not lost, and
//! what is done is not held back.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::{SOON, client, limit, until};
use palm::{Addresses, BoxError, Cache, CacheClient, Client, Error, Master, Server, Store, Worker};

const MS: Duration = Duration::from_millis(1);

#[test]
fn what_waits_for_a_worker_for_half_a_minute_is_not_lost() {
    let _limit = limit(120, "a job that waits for its worker");
    let master = Master::new("m", Addresses::ephemeral()).start().unwrap();
    let db = master.addresses().db.clone();
    let client = client(&master);
    // Far more than fits between the client and the master's end.
    let payloads = (0..600u32).map(|number| [&number.to_be_bytes()[..], &[0; 100_000]].concat());
    let job = client.job("m.number", payloads).unwrap();
    // Longer than any time-out of a connection may be.
    sleep(30_000 * MS);
    let _worker = Worker::new(&db)
        .function("number", |call| Ok(call.payload()[..4].to_vec()))
        .start()
        .unwrap();
    let mut results: Vec<_> = job.map(Result::unwrap).collect();
    results.sort_unstable();
    let expected: Vec<_> = (0..600u32).map(|number| number.to_be_bytes()).collect();
    assert_eq!(results, expected);
}

#[test]
fn every_message_is_run_though_several_threads_give_no_results() {
    let _limit = limit(60, "a server that answers nothing");
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = runs.clone();
    let server = Server::new("s", Addresses::ephemeral())
        .threads(2)
        .function("count", move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
            Ok(())
        })
        .start()
        .unwrap();
    let client = client(&server);
    for round in 1..=60 {
        let request = client.request("s.count").expect(1).timeout(5 * MS);
        let job = request.job(vec![[0; 10]; 250]).unwrap();
        until("every message to be run", || {
            runs.load(Ordering::SeqCst) == round * 250
        });
        drop(job);
    }
}

#[test]
fn a_result_does_not_wait_for_the_next_message_to_be_done() {
    let _limit = limit(30, "a fast result before a slow one");
    let server = Server::new("s", Addresses::ephemeral())
        .function("sleep", |call| {
            sleep(u32::from(call.payload()[0]) * 100 * MS);
            Ok(call.payload().to_vec())
        })
        .start()
        .unwrap();
    let client = client(&server);
    let start = Instant::now();
    let mut job = client.job("s.sleep", [[0], [20]]).unwrap();
    assert_eq!(job.next().unwrap().unwrap(), [0]);
    assert!(start.elapsed() < 1_500 * MS, "{:?}", start.elapsed());
    assert_eq!(job.next().unwrap().unwrap(), [20]);
}

#[test]
fn a_function_that_runs_when_its_worker_is_stopped_gives_its_result() {
    let _limit = limit(30, "the last result of a worker");
    let master = Master::new("m", Addresses::ephemeral()).start().unwrap();
    let db = master.addresses().db.clone();
    let begun = Arc::new(AtomicUsize::new(0));
    let counted = begun.clone();
    let worker = Worker::new(&db)
        .function("slow", move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
            sleep(1_500 * MS);
            Ok("done")
        })
        .start()
        .unwrap();
    let client = client(&master);
    let mut job = client.job("m.slow", ["x"]).unwrap();
    until("the function to begin", || {
        begun.load(Ordering::SeqCst) == 1
    });
    worker.stop().unwrap();
    assert_eq!(job.next().unwrap().unwrap(), b"done");
}

#[test]
fn a_worker_stays_with_its_master_when_a_client_sets_garbage_as_its_address() {
    let _limit = limit(30, "a worker that is told garbage");
    let master = Master::new("m", Addresses::ephemeral()).start().unwrap();
    let db = master.addresses().db.clone();
    let worker = Worker::new(&db)
        .function("foo", |_| Ok("result"))
        .start()
        .unwrap();
    let client = client(&master);
    let address = client.get("worker_push_address").unwrap().unwrap();
    client.set(Some("worker_push_address"), b"garbage").unwrap();
    // The worker looks every second: let it look more than once.
    sleep(2_500 * MS);
    assert!(!worker.is_over());
    assert_eq!(client.eval("m.foo", "").unwrap(), b"result");
    client.set(Some("worker_push_address"), &address).unwrap();
}

/// A store that takes its time.
struct Slow {
    sets: AtomicUsize,
    store: palm::store::Memory,
}

impl Store for Slow {
    fn get(&self, key: &str) -> palm::Result<Option<Vec<u8>>> {
        self.store.get(key)
    }

    fn set(&self, key: &str, value: &[u8]) -> palm::Result<()> {
        if key.starts_with("slow") {
            self.sets.fetch_add(1, Ordering::SeqCst);
            sleep(1_500 * MS);
        }
        self.store.set(key, value)
    }

    fn delete(&self, key: &str) -> palm::Result<()> {
        self.store.delete(key)
    }

    fn scan(&self, prefix: &str, each: &mut palm::store::Each<'_>) -> palm::Result<()> {
        self.store.scan(prefix, each)
    }
}

#[test]
fn a_cache_call_that_takes_longer_than_a_retry_gets_its_answer() {
    let _limit = limit(60, "a slow store");
    let store = Arc::new(Slow {
        sets: AtomicUsize::new(0),
        store: palm::store::Memory::new(),
    });
    let server = Server::new("s", Addresses::ephemeral()).store(store.clone());
    let server = server.start().unwrap();
    let cache = CacheClient::new(&server.addresses().db).timeout(SOON.max(20_000 * MS));
    assert_eq!(cache.set("slow key", b"value").unwrap(), "slow key");
    assert!(store.sets.load(Ordering::SeqCst) <= 3);
    assert_eq!(
        cache.get("slow key").unwrap().as_deref(),
        Some(&b"value"[..])
    );
}

#[test]
fn settings_at_their_ends_are_no_harm() {
    let _limit = limit(30, "settings at their ends");
    let server = Server::new("s", Addresses::ephemeral())
        .patience(Duration::MAX)
        .hold(0)
        .function("echo", |call| Ok(call.payload().to_vec()))
        .start()
        .unwrap();
    let db = &server.addresses().db;
    let client = Client::builder("s", db).timeout(Duration::MAX);
    let client = client.connect().unwrap();
    let request = client.request("s.echo").timeout(Duration::MAX);
    let request = request.window(0).window_bytes(0);
    assert_eq!(request.clone().eval("x").unwrap(), b"x");
    assert_eq!(request.job(["y"; 3]).unwrap().count(), 3);
    assert_eq!(client.set(Some("key"), b"value").unwrap(), "key");
}

#[test]
fn the_cause_of_an_error_is_cut_so_that_it_gets_through() {
    let _limit = limit(30, "a long cause");
    let server = Server::new("s", Addresses::ephemeral())
        .max_message(1_000)
        .function("fail", |_| -> Result<(), BoxError> {
            Err("no luck ".repeat(1_000_000).into())
        })
        .start()
        .unwrap();
    let client = client(&server);
    let Err(Error::Function { cause, .. }) = client.eval("s.fail", "") else {
        panic!("no error of the function");
    };
    assert!(cause.starts_with("no luck no luck") && cause.len() < 5_000);
    let long = format!("s.{}", "x".repeat(50_000));
    let Err(Error::UnknownFunction { cause, .. }) = client.eval(&long, "") else {
        panic!("no error of the call");
    };
    assert!(cause.len() < 500, "{cause}");
}

#[test]
fn a_component_whose_start_fails_leaves_nothing_behind() {
    struct Broken;
    impl Store for Broken {
        fn get(&self, _: &str) -> palm::Result<Option<Vec<u8>>> {
            Ok(None)
        }
        fn set(&self, _: &str, _: &[u8]) -> palm::Result<()> {
            panic!("the store is broken on purpose")
        }
        fn delete(&self, _: &str) -> palm::Result<()> {
            Ok(())
        }
        fn scan(&self, _: &str, _: &mut palm::store::Each<'_>) -> palm::Result<()> {
            Ok(())
        }
    }
    let _limit = limit(30, "a start that fails");
    let addresses = common::fixed_addresses();
    let broken = Master::new("m", addresses.clone()).store(Arc::new(Broken));
    let start = std::panic::AssertUnwindSafe(|| broken.start());
    assert!(std::panic::catch_unwind(start).is_err());
    Master::new("m", addresses).start().unwrap().stop().unwrap();
}
