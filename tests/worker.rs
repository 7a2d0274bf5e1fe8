//! What a worker promises: its functions, its master's cache, and that it finds its master.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{SOON, client, connections, eval, fixed_addresses, limit, start_again, timed, until};
use palm::{
    Addresses, BoxError, Call, Client, Error, Functions, Handler, Master, Reply, Running, Server,
    Worker,
};

fn master() -> Running {
    Master::new("m", Addresses::ephemeral()).start().unwrap()
}

fn echo(db: &str) -> Worker {
    Worker::new(db).function("echo", |call| Ok(call.payload().to_vec()))
}

/// A function with a state of its own.
#[derive(Default)]
struct Counter(AtomicUsize);

impl Handler for Counter {
    fn call(&self, call: &Call<'_>) -> Result<Reply, BoxError> {
        let count = 1 + self.0.fetch_add(1, Ordering::SeqCst);
        let key = String::from_utf8(call.payload().to_vec())?;
        call.cache().set(&key, count.to_string().as_bytes())?;
        Ok(count.to_string().into())
    }
}

#[test]
fn the_same_functions_run_in_a_server_and_in_a_worker() {
    let counter = Arc::new(Counter::default());
    let functions = Functions::new()
        .handler("count", counter.clone())
        .function("where", |call| Ok(call.component().to_owned()));
    let server = Server::new("s", Addresses::ephemeral())
        .functions(functions.clone())
        .start()
        .unwrap();
    let master = master();
    let worker = Worker::new(&master.addresses().db)
        .name("w")
        .functions(functions)
        .start()
        .unwrap();
    let (direct, by_worker) = (client(&server), client(&master));
    assert_eq!(eval(&direct, "s.count", b"key").unwrap(), b"1");
    assert_eq!(eval(&by_worker, "m.count", b"key").unwrap(), b"2");
    assert_eq!(counter.0.load(Ordering::SeqCst), 2);
    // Each has written to the cache of its own component.
    assert_eq!(direct.get("key").unwrap().unwrap(), b"1");
    assert_eq!(by_worker.get("key").unwrap().unwrap(), b"2");
    assert_eq!(eval(&direct, "s.where", b"").unwrap(), b"s");
    assert_eq!(eval(&by_worker, "m.where", b"").unwrap(), b"w");
    assert_eq!(worker.name(), "w");
}

#[test]
fn errors_and_panics_reach_the_caller_and_the_worker_goes_on() {
    let _limit = limit(60, "errors and panics");
    let master = master();
    let worker = echo(&master.addresses().db)
        .name("w")
        .function("panic", |_| -> Result<(), BoxError> {
            panic!("lost my head")
        })
        .function("fail", |_| -> Result<(), BoxError> {
            Err("no luck".into())
        })
        .handler("count", Arc::new(Counter::default()))
        .start()
        .unwrap();
    let client = client(&master);
    for _ in 0..20 {
        for (function, text) in [
            ("m.panic", "lost my head"),
            ("m.fail", "no luck"),
            ("m.count", "utf-8"),
        ] {
            match eval(&client, function, b"\xff").unwrap_err() {
                Error::Function { cause, .. } => {
                    assert!(cause.contains(text) && cause.contains("'w'"), "{cause}");
                }
                other => panic!("{other}"),
            }
        }
        assert_eq!(eval(&client, "m.echo", b"x").unwrap(), b"x");
    }
    assert!(!worker.is_over());
}

#[test]
fn a_function_of_a_worker_uses_the_cache_of_its_master() {
    let master = master();
    let _worker = Worker::new(&master.addresses().db)
        .function("move", |call| {
            let cache = call.cache();
            let value = cache.get(call.message().cache())?.ok_or("no value")?;
            cache.delete(call.message().cache())?;
            let key = cache.set("", &value)?;
            Ok(key)
        })
        .start()
        .unwrap();
    let client = client(&master);
    client.set(Some("from"), b"value").unwrap();
    let request = client.request("m.move").timeout(SOON).cache("from");
    let key = String::from_utf8(request.eval(b"").unwrap()).unwrap();
    assert_eq!(client.get(&key).unwrap().unwrap(), b"value");
    assert_eq!(client.get("from").unwrap(), None);
    let again = client.request("m.move").timeout(SOON).cache("from");
    assert!(matches!(again.eval(b""), Err(Error::Function { .. })));
}

#[test]
fn a_worker_that_starts_before_its_master_waits_for_it() {
    let _limit = limit(60, "a worker before its master");
    let folder = tempfile::tempdir().unwrap();
    let db = format!("ipc://{}/db", folder.path().display());
    let early = std::thread::spawn({
        let db = db.clone();
        move || echo(&db).start()
    });
    // It cannot return yet, whatever it does meanwhile.
    std::thread::sleep(Duration::from_millis(300));
    assert!(!early.is_finished());
    let addresses = Addresses::ephemeral().db(db);
    let master = Master::new("m", addresses).start().unwrap();
    let (worker, took) = timed(|| early.join().unwrap());
    let _worker = worker.unwrap();
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!(eval(&client(&master), "m.echo", b"x").unwrap(), b"x");
}

#[test]
fn addresses_that_are_given_are_used_in_place_of_those_told() {
    let _limit = limit(60, "given addresses");
    let (told, given) = (master(), master());
    let addresses = given.addresses();
    let worker = echo(&told.addresses().db)
        .worker_push(&addresses.worker_push)
        .worker_pull(&addresses.worker_pull)
        .start()
        .unwrap();
    assert_eq!(worker.addresses().worker_push, addresses.worker_push);
    assert_eq!(worker.addresses().worker_pull, addresses.worker_pull);
    calls_succeed(&client(&given), 100);
    // Nor does it go over to the other one when it looks where that is, every second.
    std::thread::sleep(Duration::from_millis(1_200));
    calls_succeed(&client(&given), 100);
}

#[test]
fn a_worker_follows_its_master_to_other_addresses() {
    let _limit = limit(60, "a master that moves");
    let old = fixed_addresses();
    let first = Master::new("m", old.clone()).start().unwrap();
    let worker = echo(&old.db).start().unwrap();
    assert_eq!(eval(&client(&first), "m.echo", b"1").unwrap(), b"1");
    first.stop().unwrap();
    let moved = fixed_addresses().db(&old.db);
    let second = start_again(|| Master::new("m", moved.clone()).start());
    assert_ne!(second.addresses().worker_push, old.worker_push);
    let client = client(&second);
    // The worker looks every second.
    let (result, took) = timed(|| eval(&client, "m.echo", b"2"));
    assert_eq!(result.unwrap(), b"2");
    assert!(took < Duration::from_secs(5), "{took:?}");
    calls_succeed(&client, 500);
    assert!(!worker.is_over());
}

#[test]
fn a_worker_goes_on_when_its_master_is_back_at_the_same_addresses() {
    let _limit = limit(60, "a master that comes back");
    let addresses = fixed_addresses();
    let mut worker = None;
    for _ in 0..3 {
        let master = start_again(|| Master::new("m", addresses.clone()).start());
        let worker = worker.get_or_insert_with(|| echo(&addresses.db).start().unwrap());
        calls_succeed(&client(&master), 200);
        assert!(!worker.is_over());
        master.stop().unwrap();
    }
}

fn calls_succeed(client: &Client, count: u32) {
    let payloads = (0..count).map(u32::to_be_bytes);
    let job = client
        .request("m.echo")
        .timeout(SOON)
        .job(payloads)
        .unwrap();
    assert_eq!(job.map(Result::unwrap).count(), count as usize);
}

#[test]
fn a_stop_finishes_the_running_function_and_its_result_gets_out() {
    let _limit = limit(60, "the running function");
    let master = master();
    let (entered, inside) = std::sync::mpsc::sync_channel(1);
    let (open, gate) = std::sync::mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let worker = Worker::new(&master.addresses().db)
        .function("slow", move |call| {
            entered.send(())?;
            gate.lock().unwrap().recv()?;
            Ok(call.payload().to_vec())
        })
        .start()
        .unwrap();
    let client = client(&master);
    let mut job = client.request("m.slow").timeout(SOON).job(["x"]).unwrap();
    inside.recv_timeout(SOON).expect("the function to run");
    worker.stopper().stop();
    assert!(!worker.is_over());
    open.send(()).unwrap();
    worker.wait().unwrap();
    assert_eq!(job.next().unwrap().unwrap(), b"x");
}

#[test]
fn a_worker_without_a_master_stops_within_a_second() {
    let _limit = limit(60, "a worker without a master");
    let master = master();
    let worker = echo(&master.addresses().db).start().unwrap();
    let idle = echo(&master.addresses().db).start().unwrap();
    master.stop().unwrap();
    let (stopped, took) = timed(|| worker.stop());
    stopped.unwrap();
    assert!(took < Duration::from_secs(1), "{took:?}");
    // By now the other one has seen that the master is gone, and asks for it.
    std::thread::sleep(Duration::from_millis(1_200));
    assert!(!idle.is_over());
    let (stopped, took) = timed(|| idle.stop());
    stopped.unwrap();
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[test]
fn a_worker_that_leaves_does_not_hold_up_those_who_stay() {
    let _limit = limit(60, "a worker that leaves");
    let master = master();
    let leaving = echo(&master.addresses().db).start().unwrap();
    let client = client(&master);
    calls_succeed(&client, 100);
    leaving.stop().unwrap();
    // What a master gives to a worker before it notices that it has gone is lost.
    until("the master to notice", || {
        connections(&master.addresses().worker_push) == 0
    });
    let _stays = echo(&master.addresses().db).start().unwrap();
    calls_succeed(&client, 1_000);
}

#[test]
fn a_result_over_the_limit_of_the_worker_is_an_error() {
    let master = master();
    let _worker = Worker::new(&master.addresses().db)
        .function("large", |_| Ok(vec![0_u8; 1_001]))
        .max_message(1_000)
        .start()
        .unwrap();
    match eval(&client(&master), "m.large", b"").unwrap_err() {
        Error::Function { cause, .. } => assert!(cause.contains("1001"), "{cause}"),
        other => panic!("{other}"),
    }
}
