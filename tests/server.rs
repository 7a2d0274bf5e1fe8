//! What a server promises: its functions, its hook, its limits.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::{
    SOON, cache_call, client, echo_server, eval, limit, message, peer, published, together, until,
};
use palm::{Addresses, BoxError, Call, Client, Error, Functions, Handler, Reply, Server, Wire};

#[test]
fn a_function_answers_nothing_one_or_many() {
    let _limit = limit(30, "nothing, one or many");
    let server = Server::new("s", Addresses::ephemeral())
        .function("even", |call| {
            let even = call.payload()[0].is_multiple_of(2);
            Ok(even.then(|| call.payload().to_vec()))
        })
        .function("nothing", |_| Ok(()))
        .function("bytes", |call| {
            let bytes = call.payload().iter().map(|&byte| vec![byte]);
            Ok(bytes.collect::<Vec<_>>())
        })
        .start()
        .unwrap();
    let client = client(&server);
    let job = |function: &str, payloads: Vec<Vec<u8>>, expect| {
        let request = client.request(function).timeout(SOON).expect(expect);
        let job = request.job(payloads).unwrap();
        job.collect::<Result<Vec<_>, _>>().unwrap()
    };
    let numbers = (0..10).map(|number| vec![number]).collect();
    assert_eq!(job("s.even", numbers, 5), [[0], [2], [4], [6], [8]]);
    let nothing = client.request("s.nothing").eval(b"x");
    assert!(matches!(nothing, Err(Error::Refused { .. })), "{nothing:?}");
    let many = job("s.bytes", vec![b"abc".to_vec(), vec![], b"d".to_vec()], 4);
    assert_eq!(many, [b"a", b"b", b"c", b"d"]);
}

#[test]
fn every_kind_of_reply_goes_out_as_it_is() {
    let server = Server::new("s", Addresses::ephemeral())
        .function("vec", |_| Ok(vec![0_u8, 255]))
        .function("slice", |_| Ok(&b"static"[..]))
        .function("array", |_| Ok(b"array"))
        .function("string", |_| Ok("string".to_owned()))
        .function("str", |_| Ok("str"))
        .function("reply", |_| Ok(Reply::One(vec![7])))
        .function("empty", |_| Ok(Vec::<u8>::new()))
        .start()
        .unwrap();
    let client = client(&server);
    for (function, expected) in [
        ("s.vec", &[0_u8, 255][..]),
        ("s.slice", b"static"),
        ("s.array", b"array"),
        ("s.string", b"string"),
        ("s.str", b"str"),
        ("s.reply", &[7]),
        ("s.empty", b""),
    ] {
        let result = eval(&client, function, b"payload").unwrap();
        assert_eq!(result, expected, "{function}");
    }
}

#[test]
fn all_fields_but_the_payload_come_back_and_an_empty_id_is_filled() {
    let server = echo_server("s").start().unwrap();
    let context = zmq::Context::new();
    let results = common::subscriber(&context, &server.addresses().publish, "c");
    let push = common::peer(&context, zmq::PUSH, &server.addresses().pull);
    let mut sent = palm::PalmMessage {
        stage: 5,
        cache: "my key".into(),
        ..message("c", "s.echo", b"data")
    };
    push.send(sent.encode_frame(), 0).unwrap();
    assert_eq!(published(&results).1, sent);
    sent.cache.clear();
    push.send(sent.encode_frame(), 0).unwrap();
    let (_, result) = published(&results);
    assert_eq!(result.cache.len(), 36, "no uuid: '{}'", result.cache);
    assert_eq!(result.payload, b"data");
}

/// Counts how many of it run at once, and returns the number when `most` do, or after a while.
struct Meeting {
    inside: AtomicUsize,
    most: usize,
}

impl Handler for Meeting {
    fn call(&self, _: &Call<'_>) -> Result<Reply, BoxError> {
        self.inside.fetch_add(1, Ordering::SeqCst);
        let start = Instant::now();
        let mut seen = 0;
        while seen < self.most && start.elapsed() < SOON / 2 {
            seen = seen.max(self.inside.load(Ordering::SeqCst));
            std::thread::yield_now();
        }
        Ok(seen.to_string().into())
    }
}

#[test]
fn several_threads_run_functions_at_once() {
    let _limit = limit(60, "functions in parallel");
    let meeting = Meeting {
        inside: AtomicUsize::new(0),
        most: 4,
    };
    let server = Server::new("s", Addresses::ephemeral())
        .handler("meet", Arc::new(meeting))
        .threads(4)
        .start()
        .unwrap();
    let client = client(&server);
    // All four must be inside at the same time, or each gives up and reports fewer.
    let results: Result<Vec<_>, _> = client
        .job("s.meet", ["a", "b", "c", "d"])
        .unwrap()
        .collect();
    assert_eq!(results.unwrap(), [b"4", b"4", b"4", b"4"]);
}

#[test]
fn several_threads_share_what_comes_over_the_pylm_wire() {
    let _limit = limit(60, "threads that share what is pushed");
    let (functions, most) = together();
    let server = Server::new("s", Addresses::ephemeral())
        .functions(functions)
        .threads(4)
        .start()
        .unwrap();
    let client = Client::builder("s", &server.addresses().db).wire(Wire::Pylm);
    let client = client.connect().unwrap();
    let request = client.request("s.f").timeout(SOON).expect(64);
    let job = request.job((0..64).map(|number: u32| number.to_string()));
    assert_eq!(job.unwrap().map(Result::unwrap).count(), 64);
    assert_eq!(most.load(Ordering::SeqCst), 4);
}

#[test]
fn clients_on_either_wire_have_their_turn_beside_each_other() {
    let _limit = limit(60, "clients on both wires");
    let counts = [(); 2].map(|()| Arc::new(AtomicUsize::new(0)));
    let counted = counts.clone();
    let server = Server::new("s", Addresses::ephemeral())
        .function("f", move |call| {
            std::thread::sleep(Duration::from_millis(1));
            let wire = usize::from(call.payload() == b"pushed");
            counted[wire].fetch_add(1, Ordering::SeqCst);
            Ok(())
        })
        .start()
        .unwrap();
    let client = client(&server);
    let job = client.request("s.f").timeout(SOON);
    let job = job.job(std::iter::repeat_n("linked", 10_000)).unwrap();
    let context = zmq::Context::new();
    let push = peer(&context, zmq::PUSH, &server.addresses().pull);
    let pushed = message("pylm", "s.f", b"pushed").encode_frame();
    let ran = || [0, 1].map(|wire: usize| counts[wire].load(Ordering::SeqCst));
    until("either has run", || {
        while push.send(&pushed, zmq::DONTWAIT).is_ok() {}
        ran().into_iter().min() >= Some(100)
    });
    let before = ran();
    until("more has run", || {
        while push.send(&pushed, zmq::DONTWAIT).is_ok() {}
        ran().iter().sum::<usize>() >= before.iter().sum::<usize>() + 500
    });
    let now = ran();
    let more = [0, 1].map(|wire| now[wire] - before[wire]);
    assert!(more.into_iter().min() >= Some(100), "{more:?}");
    job.cancel();
}

#[test]
fn one_thread_runs_one_at_a_time_and_keeps_the_order() {
    let _limit = limit(60, "one thread keeps the order");
    let inside = AtomicUsize::new(0);
    let server = Server::new("s", Addresses::ephemeral())
        .function("alone", move |call| {
            let others = inside.fetch_add(1, Ordering::SeqCst);
            std::thread::yield_now();
            inside.fetch_sub(1, Ordering::SeqCst);
            match others {
                0 => Ok(call.payload().to_vec()),
                _ => Err("two at once".into()),
            }
        })
        .start()
        .unwrap();
    let client = client(&server);
    let payloads = |count: u32| (0..count).map(u32::to_be_bytes);
    let results = client.job("s.alone", payloads(5_000)).unwrap();
    let mut expected = payloads(5_000);
    for result in results {
        assert_eq!(result.unwrap(), expected.next().unwrap());
    }
    assert_eq!(expected.next(), None);
}

#[test]
fn several_threads_lose_and_double_nothing() {
    let _limit = limit(60, "several threads");
    let server = echo_server("s").threads(3).start().unwrap();
    let client = client(&server);
    let payloads = (0..5_000_u32).map(u32::to_be_bytes);
    let results = client.job("s.echo", payloads.clone()).unwrap();
    let results = common::sorted(results.map(Result::unwrap));
    assert!(
        results
            .iter()
            .map(Vec::as_slice)
            .eq(payloads.collect::<Vec<_>>().iter())
    );
}

/// A function with a type of its own.
struct Adder(u8);

impl Handler for Adder {
    fn call(&self, call: &Call<'_>) -> Result<Reply, BoxError> {
        let sum: Vec<u8> = call.payload().iter().map(|byte| byte + self.0).collect();
        Ok(sum.into())
    }
}

/// Tells what it knows of its call.
struct Name;

impl Handler for Name {
    fn call(&self, call: &Call<'_>) -> Result<Reply, BoxError> {
        let message = call.message();
        let (component, step) = (call.component(), message.function());
        Ok(format!(
            "{component} {step} {} {}",
            message.pipeline(),
            message.cache()
        )
        .into())
    }
}

#[test]
fn trait_objects_are_functions_and_any_takes_the_rest() {
    let functions = Functions::new()
        .handler("add", Arc::new(Adder(1)))
        .function("add", |_| Ok("replaced"))
        .handler("add", Arc::new(Adder(2)))
        .any(Arc::new(Name));
    let server = Server::new("s", Addresses::ephemeral())
        .functions(functions)
        .start()
        .unwrap();
    let db = &server.addresses().db;
    let client = palm::Client::builder("s", db)
        .session("me")
        .connect()
        .unwrap();
    assert_eq!(eval(&client, "s.add", &[1, 2]).unwrap(), [3, 4]);
    let request = client.request("s.whatever").timeout(SOON).cache("key");
    assert_eq!(request.eval(b"").unwrap(), b"s s.whatever me key");
}

#[test]
fn route_chooses_the_topic_and_changes_the_result() {
    let server = echo_server("s")
        .route(|message| {
            message.payload.push(b'!');
            match message.payload[0] % 2 {
                0 => "even".into(),
                _ => "odd".into(),
            }
        })
        .start()
        .unwrap();
    let context = zmq::Context::new();
    let [even, odd] =
        ["even", "odd"].map(|t| common::subscriber(&context, &server.addresses().publish, t));
    let push = common::peer(&context, zmq::PUSH, &server.addresses().pull);
    for number in 0..4 {
        push.send(message("c", "s.echo", &[number]).encode_frame(), 0)
            .unwrap();
    }
    for (subscriber, topic, numbers) in [(&even, "even", [0, 2]), (&odd, "odd", [1, 3])] {
        for number in numbers {
            let (to, result) = published(subscriber);
            assert_eq!((to.as_str(), result.payload), (topic, vec![number, b'!']));
        }
    }
}

#[test]
fn a_server_tells_its_peers_where_it_is() {
    let server = echo_server("s").start().unwrap();
    let addresses = server.addresses();
    let get = |key: &str| {
        let value = cache_call(&addresses.db, "s.get", "", key.as_bytes());
        String::from_utf8(value).unwrap()
    };
    assert_eq!(get("name"), "s");
    assert_eq!(get("pull_address"), addresses.pull);
    assert_eq!(get("pub_address"), addresses.publish);
    for key in ["worker_pull_address", "worker_push_address"] {
        assert_eq!(get(key), "", "a server has no workers");
    }
    for address in [&addresses.pull, &addresses.publish, &addresses.db] {
        assert!(address.starts_with("tcp://127.0.0.1:"), "{address}");
        assert!(common::is_open(address), "{address}");
    }
    for (part, address) in [
        ("Pull", &addresses.pull),
        ("Pub", &addresses.publish),
        ("Cache", &addresses.db),
    ] {
        assert_eq!(server.address_of(part), Some(address.as_str()));
    }
    assert_eq!(server.address_of("WorkerPush"), None);
    assert_eq!(addresses.worker_push, "");
}

#[test]
fn ipc_and_inproc_addresses_work_as_tcp_does() {
    let _limit = limit(60, "ipc and inproc");
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| format!("ipc://{}/{name}", folder.path().display());
    // Of this process alone, in which other tests run too.
    let inner = |name: &str| format!("inproc://server-test-{name}");
    let ipc = Addresses::ephemeral()
        .pull(file("pull"))
        .publish(file("pub"))
        .db(file("db"));
    let inproc = Addresses::ephemeral()
        .pull(inner("pull"))
        .publish(inner("pub"))
        .db(inner("db"));
    for addresses in [ipc, inproc] {
        let server = Server::new("s", addresses.clone())
            .function("echo", |call| Ok(call.payload().to_vec()))
            .start()
            .unwrap();
        assert_eq!(server.addresses().pull, addresses.pull);
        assert_eq!(server.addresses().publish, addresses.publish);
        assert_eq!(server.addresses().db, addresses.db);
        let client = client(&server);
        let payloads = (0..500_u32).map(u32::to_be_bytes);
        let results = client.job("s.echo", payloads.clone()).unwrap();
        let results: Vec<_> = results.map(Result::unwrap).collect();
        assert!(
            results
                .iter()
                .map(Vec::as_slice)
                .eq(payloads.collect::<Vec<_>>().iter())
        );
    }
}

#[test]
fn a_free_ipc_file_is_told() {
    let server = Server::new("s", Addresses::ephemeral().db("ipc://*"))
        .function("echo", |call| Ok(call.payload().to_vec()))
        .start()
        .unwrap();
    let db = &server.addresses().db;
    assert!(db.starts_with("ipc://") && !db.ends_with('*'), "{db}");
    assert_eq!(eval(&client(&server), "s.echo", b"x").unwrap(), b"x");
}

#[test]
fn debug_tells_what_it_is() {
    let text = format!("{:?}", echo_server("my_server"));
    assert!(
        text.contains("my_server") && text.contains("echo"),
        "{text}"
    );
}
