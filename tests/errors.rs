//! Every error says what was tried and where: its variant, and its text.

mod common;

use std::time::Duration;

use common::{client, echo_server, eval, fixed, limit, timed};
use palm::part::{Batch, channel};
use palm::part::{CacheService, PubService, PullService, WorkerPullService, WorkerPushService};
use palm::store::Memory;
use palm::{Addresses, Client, Error, Frame, Master, Result, Running, Server, Sink, Worker};

/// Checks that an error tells all of these.
#[track_caller]
fn tells(error: &Error, texts: &[&str]) {
    let text = error.to_string();
    for part in texts {
        assert!(text.contains(part), "'{part}' is missing in: {text}");
    }
}

/// An address at which somebody listens who has nothing to do with palm.
fn taken() -> (std::net::TcpListener, String) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap());
    (listener, address)
}

type Place = fn(Addresses, &str) -> Addresses;

const PLACES: [(&str, Place); 5] = [
    ("Pull", |all, at| all.pull(at)),
    ("Pub", |all, at| all.publish(at)),
    ("Cache", |all, at| all.db(at)),
    ("WorkerPush", |all, at| all.worker_push(at)),
    ("WorkerPull", |all, at| all.worker_pull(at)),
];

/// Starts a master, and a server if it has this place, with an address there.
fn start_at(place: (&str, Place), address: &str) -> Vec<Result<Running>> {
    let addresses = place.1(Addresses::ephemeral(), address);
    let mut started = vec![Master::new("m", addresses.clone()).start()];
    if !place.0.starts_with("Worker") {
        started.push(Server::new("s", addresses).start());
    }
    started
}

#[test]
fn a_port_in_use_is_an_error_of_the_start_that_names_part_and_address() {
    let _limit = limit(60, "ports in use");
    let (_listener, address) = taken();
    for place in PLACES {
        for started in start_at(place, &address) {
            let error = started.unwrap_err();
            tells(&error, &[&address, place.0, "in use"]);
            match error {
                Error::Bind {
                    part, address: at, ..
                } => assert_eq!((&*part, at), (place.0, address.clone())),
                other => panic!("{other}"),
            }
        }
    }
}

#[test]
fn a_start_that_failed_has_let_go_of_its_other_ports() {
    let _limit = limit(60, "a start that failed");
    let (_listener, address) = taken();
    let addresses = common::fixed_addresses().db(&address);
    Server::new("s", addresses.clone()).start().unwrap_err();
    Master::new("m", addresses.clone()).start().unwrap_err();
    for free in [&addresses.pull, &addresses.publish, &addresses.worker_push] {
        common::until("the port to be free", || common::is_free(free));
    }
}

#[test]
fn an_address_that_is_none_is_named() {
    let _limit = limit(60, "malformed addresses");
    for address in [
        "",
        "nonsense",
        "tcp://127.0.0.1",
        "tcp://127.0.0.1:x",
        "udp://a:1",
        "ipc://",
    ] {
        for place in PLACES {
            for started in start_at(place, address) {
                let error = started.unwrap_err();
                assert!(matches!(error, Error::Address { .. }), "{error}");
                tells(&error, &[&format!("'{address}'")]);
            }
        }
    }
    for address in [
        "",
        "nonsense",
        "tcp://127.0.0.1:*",
        "tcp://127.0.0.1:0",
        "tcp://*:5559",
    ] {
        let builder = Client::builder("s", address);
        for error in [
            builder.connect().map(drop).unwrap_err(),
            Worker::new(address).start().map(drop).unwrap_err(),
        ] {
            assert!(matches!(error, Error::Address { .. }), "{error}");
            tells(&error, &[&format!("'{address}'")]);
        }
    }
}

#[test]
fn an_address_of_another_machine_cannot_be_bound() {
    // From a range that is reserved for documentation.
    let address = "tcp://192.0.2.1:5555";
    for started in start_at(PLACES[0], address) {
        let error = started.unwrap_err();
        assert!(matches!(error, Error::Bind { .. }), "{error}");
        tells(&error, &[address, "Pull"]);
    }
}

#[test]
fn a_file_that_stands_at_an_ipc_address_stays() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("precious");
    std::fs::write(&file, "data").unwrap();
    let address = format!("ipc://{}", file.display());
    for started in start_at(PLACES[0], &address) {
        tells(&started.unwrap_err(), &[&address]);
    }
    assert_eq!(std::fs::read(&file).unwrap(), b"data");
}

#[test]
fn every_part_by_itself_names_the_address_it_cannot_bind() {
    let (_listener, address) = taken();
    let started = [
        (
            "Pull",
            PullService::new(&address).start(channel().unwrap().0),
        ),
        (
            "WorkerPull",
            WorkerPullService::new(&address).start(channel().unwrap().0),
        ),
        ("Pub", PubService::new(&address).start(channel().unwrap().1)),
        (
            "WorkerPush",
            WorkerPushService::new(&address).start(channel().unwrap().1),
        ),
        (
            "Cache",
            CacheService::new(&address, std::sync::Arc::new(Memory::new())).start(),
        ),
    ];
    for (name, result) in started {
        let error = result.map(drop).unwrap_err();
        assert!(matches!(error, Error::Bind { .. }), "{error}");
        tells(&error, &[name, &address]);
    }
}

#[test]
fn a_name_that_no_call_could_have_is_refused() {
    for name in ["", "two words", "a.b", "."] {
        let server = Server::new(name, Addresses::ephemeral()).start();
        let master = Master::new(name, Addresses::ephemeral()).start();
        for started in [server, master] {
            let error = started.unwrap_err();
            assert!(matches!(error, Error::Setup { .. }), "{error}");
            tells(&error, &[&format!("'{name}'")]);
        }
    }
}

#[test]
fn no_threads_at_all_are_refused() {
    let error = echo_server("lazy").threads(0).start().unwrap_err();
    assert!(matches!(error, Error::Setup { .. }), "{error}");
    tells(&error, &["lazy", "thread"]);
}

#[test]
fn more_threads_than_a_machine_has_are_refused() {
    let error = echo_server("busy").threads(100_000).start().unwrap_err();
    assert!(matches!(error, Error::Setup { .. }), "{error}");
    tells(&error, &["busy", "1024 threads", "100000"]);
}

#[test]
fn a_function_that_no_call_could_name_is_refused() {
    let master = Master::new("m", Addresses::ephemeral()).start().unwrap();
    for name in ["", "two words", "a.b", "line\n"] {
        let server = echo_server("odd").function(name, |_| Ok(())).start();
        let worker = Worker::new(&master.addresses().db).name("odd");
        let worker = worker.function(name, |_| Ok(())).start();
        for started in [server, worker] {
            let error = started.unwrap_err();
            assert!(matches!(error, Error::Setup { .. }), "{error}");
            tells(&error, &["'odd'", &format!("{name:?}")]);
        }
    }
}

#[test]
fn a_sink_that_comes_after_the_same_twice_is_refused() {
    let before = "tcp://127.0.0.1:5557";
    let sink = Sink::new("sink", Addresses::ephemeral());
    let sink = sink.after("first", before).after("other", before);
    let error = sink.after("first", before).start().unwrap_err();
    assert!(matches!(error, Error::Setup { .. }), "{error}");
    tells(&error, &["'sink'", "'first'", before, "twice"]);
}

#[test]
fn a_db_where_nobody_answers_is_an_error_in_time_that_names_it() {
    let _limit = limit(60, "a db where nobody answers");
    let nobody = fixed();
    // And one where somebody takes the connection, and says nothing.
    let (_listener, silent) = taken();
    let timeout = Duration::from_millis(300);
    for db in [nobody, silent] {
        let client = || {
            Client::builder("s", &db)
                .timeout(timeout)
                .connect()
                .map(drop)
        };
        let worker = || Worker::new(&db).timeout(timeout).start().map(drop);
        for start in [&client as &dyn Fn() -> Result<()>, &worker] {
            let (result, took) = timed(start);
            let error = result.unwrap_err();
            assert!(took >= timeout && took < 5 * timeout, "{took:?}");
            match &error {
                Error::Unreachable { waited, .. } => assert_eq!(*waited, timeout),
                other => panic!("{other}"),
            }
            tells(&error, &[&db, "0.3 s", "cache (db)"]);
        }
    }
}

#[test]
fn a_publisher_that_is_not_there_is_an_error_that_names_it() {
    let server = echo_server("s").start().unwrap();
    let nobody = fixed();
    let timeout = Duration::from_millis(400);
    let builder = Client::builder("s", &server.addresses().db).timeout(timeout);
    let error = builder.publish(&nobody).connect().unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    tells(&error, &[&nobody, "pub"]);
}

#[test]
fn another_server_than_the_expected_one_is_an_error_that_names_both() {
    let server = echo_server("found").start().unwrap();
    let db = &server.addresses().db;
    let error = Client::connect("expected", db).unwrap_err();
    assert!(matches!(error, Error::WrongServer { .. }), "{error}");
    tells(&error, &["'expected'", "'found'", db]);
    let client = client(&server);
    for error in [
        client.eval("other.echo", "x").unwrap_err(),
        client.job("other.echo", ["x"]).map(drop).unwrap_err(),
    ] {
        assert!(matches!(error, Error::WrongServer { .. }), "{error}");
        tells(&error, &["'other'", "'found'"]);
    }
}

#[test]
fn a_function_that_is_none_is_an_error_before_anything_is_sent() {
    let server = echo_server("s").start().unwrap();
    let client = client(&server);
    for path in [
        "",
        "s",
        "s.",
        ".echo",
        "s.echo.x",
        "s.echo  s.echo",
        " s.echo",
        "s.echo ",
    ] {
        for error in [
            client.eval(path, "x").unwrap_err(),
            client.job(path, ["x"]).map(drop).unwrap_err(),
        ] {
            assert!(matches!(error, Error::Path { .. }), "{error}");
            tells(&error, &[&format!("'{path}'")]);
        }
    }
}

#[test]
fn an_unknown_function_is_an_error_that_names_it_and_who_does_not_know_it() {
    let server = echo_server("s").start().unwrap();
    let error = eval(&client(&server), "s.missing", b"").unwrap_err();
    assert!(matches!(error, Error::UnknownFunction { .. }), "{error}");
    tells(&error, &["'s'", "'missing'"]);
}

#[test]
fn a_stage_past_the_steps_is_refused_by_name() {
    let server = echo_server("s").start().unwrap();
    // The first step is the server's own; the second is another's, where it is not sent.
    let client = client(&server);
    let result = eval(&client, "s.echo other.step", b"x");
    assert_eq!(result.unwrap(), b"x", "the first of two steps runs here");
    let error = eval(&client, "s.missing other.step", b"x").unwrap_err();
    tells(&error, &["'missing'"]);
}

#[test]
fn a_server_that_tells_no_address_is_an_error_that_names_the_key() {
    let store = std::sync::Arc::new(Memory::new());
    let cache = CacheService::new("tcp://127.0.0.1:*", store)
        .start()
        .unwrap();
    let db = cache.address_of("Cache").unwrap();
    let no_name = Client::connect("s", db).map(drop).unwrap_err();
    common::cache_call(db, "_.set", "name", b"s");
    let no_address = Client::connect("s", db).map(drop).unwrap_err();
    // A server has no workers.
    let server = echo_server("s").start().unwrap();
    let at_server = server.addresses().db.as_str();
    let no_worker = Worker::new(at_server).start().map(drop).unwrap_err();
    for (error, key, db) in [
        (no_name, "'name'", db),
        (no_address, "'pub_address'", db),
        (no_worker, "'worker_push_address'", at_server),
    ] {
        assert!(matches!(error, Error::NotConfigured { .. }), "{error}");
        tells(&error, &[key, db]);
    }
}

#[test]
fn a_call_without_a_worker_is_a_time_out_that_names_the_function() {
    let master = Master::new("m", Addresses::ephemeral()).start().unwrap();
    let client = client(&master);
    let timeout = Duration::from_millis(200);
    let (result, took) = timed(|| client.request("m.f").timeout(timeout).eval("x"));
    let error = result.unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error}");
    assert!(took >= timeout && took < 10 * timeout, "{took:?}");
    tells(&error, &["m.f", "0.2 s", "0 of 1"]);
}

#[test]
fn a_store_that_cannot_be_opened_is_an_error_that_names_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "no store").unwrap();
    let error = palm::store::open(&file).map(drop).unwrap_err();
    assert!(matches!(error, Error::Store { .. }), "{error}");
    tells(&error, &[&file.display().to_string()]);
}

#[test]
fn a_batch_for_a_part_that_has_ended_comes_back() {
    let (outlet, inlet) = channel().unwrap();
    let publisher = PubService::new("tcp://127.0.0.1:*").start(inlet).unwrap();
    publisher.stop().unwrap();
    let batch = || Batch::from_iter([Frame::new("", "c", "s.f", "", b"x")]);
    let sent = outlet.try_send(batch());
    assert_eq!(sent, Err(palm::part::NotSent::Closed(batch())));
}
