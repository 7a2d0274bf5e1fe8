//! Components put together from parts: what is wrong with one is an error of its start, and
//! what is right does what the templates do.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use common::{
    SOON, cache_call, client, eval, fixed, frame, is_free, limit, message, peer, published, sorted,
    subscriber, texts, until,
};
use palm::part::{
    FunctionService, LinkService, PubService, PullConnection, PullService, PushService, RepService,
    Route, SubConnection, WorkerPullService, WorkerPushService, channel,
};
use palm::store::{Memory, Store};
use palm::{Assembly, Client, Error, Functions, Running, Server, Worker};

/// A port that is free.
const FREE: &str = "tcp://127.0.0.1:*";

fn functions() -> Functions {
    Functions::new()
        .function("echo", |call| Ok(call.payload().to_vec()))
        .function("fail", |_| -> Result<(), palm::BoxError> {
            Err("no luck".into())
        })
}

/// No parts.
const NONE: [&str; 0] = [];

/// What is not wrong yet: it publishes what is pushed to this address.
fn sound(pull: &str) -> Assembly {
    Assembly::new("s")
        .inbound("Pull", PullService::new(pull), "Pub")
        .outbound("Pub", PubService::new(FREE))
}

/// What a start says that is wrong.
fn wrong(assembly: Assembly) -> String {
    match assembly.start().map(|running| running.name().to_owned()) {
        Err(error @ Error::Setup { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_wrong_assembly_is_an_error_of_its_start_that_says_what_is_wrong() {
    let _limit = limit(60, "wrong assemblies");
    let pull = || PullService::new(FREE);
    let rep = || RepService::new(FREE);
    let some = |name: &str| Assembly::new(name).inbound("Pull", pull(), "Pub");
    let functions = || FunctionService::new(functions());
    let at = fixed();
    let sound = || sound(&at);
    let link = LinkService::new(FREE).unwrap();
    for (assembly, says) in [
        (
            some("").outbound("Pub", PubService::new(FREE)),
            "a server's name",
        ),
        (
            some("a.b").outbound("Pub", PubService::new(FREE)),
            "'a.b': a server's name",
        ),
        (
            sound().inbound("", pull(), "Pub"),
            "\"\" is no name for a part",
        ),
        (
            sound().inbound("a\0", pull(), "Pub"),
            "is no name for a part",
        ),
        (
            sound().inbound("Pull", pull(), "Pub"),
            "two of its parts are named 'Pull'",
        ),
        (
            sound().inbound("Pub", pull(), "Pub"),
            "two of its parts are named 'Pub'",
        ),
        (
            sound().cache("Pull", FREE),
            "two of its parts are named 'Pull'",
        ),
        (Assembly::new("s"), "no inbound part"),
        (Assembly::new("s").cache("Cache", FREE), "no inbound part"),
        (some("s"), "'Pull' leads to 'Pub', which it does not have"),
        (
            sound().inbound("P", pull(), "Pull"),
            "'P' leads to 'Pull', which takes nothing",
        ),
        (
            sound().cache("Cache", FREE).inbound("P", pull(), "Cache"),
            "'P' leads to 'Cache', which takes nothing",
        ),
        (
            sound().inbound("P", pull(), Route::to("Pub").failures_to("Trouble")),
            "'P' leads to 'Trouble', which it does not have",
        ),
        (
            sound().inbound("P", pull(), Route::through(["Pub", "Q"], |_, _| ())),
            "'P' leads to 'Q', which it does not have",
        ),
        (
            sound().outbound("Push", PushService::new(FREE)),
            "nothing leads to 'Push'",
        ),
        (
            sound().outlet("Out", channel().unwrap().0),
            "nothing leads to 'Out'",
        ),
        (
            sound().replies("F", "Pub"),
            "there are replies of 'F', which it does not have",
        ),
        (sound().replies("Pub", "Pub"), "'Pub' gives nothing back"),
        (
            sound().inbound("Rep", rep(), "Pub").replies("Rep", "Pub"),
            "'Rep' gives nothing back",
        ),
        (
            sound()
                .inbound("P", pull(), "F")
                .outbound("F", functions())
                .replies("F", "Pub")
                .replies("F", "Nobody"),
            "'F' gives back has two routes",
        ),
        (
            sound()
                .inbound("P", pull(), "F")
                .outbound("F", functions().threads(0)),
            "'F': functions need at least one thread",
        ),
        (
            sound().inbound(
                "P",
                pull(),
                Route::through(NONE, |_, _| ()).scatter(|m| [m]),
            ),
            "the route of 'P' needs a part to lead to",
        ),
        (
            sound()
                .inbound("P", pull(), "F")
                .outbound("F", functions())
                .replies("F", "F"),
            "a circle of ways that wait for each other: 'F' to 'F'; one of them must not wait",
        ),
        (
            sound()
                .inbound("P", pull(), "A")
                .outbound("A", functions())
                .replies("A", Route::through(["Pub", "B"], |_, _| ()))
                .outbound("B", functions())
                .replies("B", Route::to("C").failures_to("Pub"))
                .outbound("C", functions())
                .replies("C", Route::to("Pub").failures_to("B")),
            "'B' to 'C' to 'B'; one of them must not wait (see `Route::and_unbounded`)",
        ),
        (
            sound().preset_address("key", "Sub"),
            "'key' is the address of 'Sub', which it does not",
        ),
        (
            sound()
                .inbound("Sub", SubConnection::new(fixed(), "t"), "Pub")
                .preset_address("key", "Sub"),
            "'key' is the address of 'Sub', which binds none",
        ),
        (
            sound().inbound("Clients", link.clients(pull()), "Pub"),
            "the link that 'Clients' is a face of is no part of it",
        ),
    ] {
        let shown = format!("{assembly:?}");
        let error = wrong(assembly);
        assert!(error.contains(says), "{shown}: {error}, not {says}");
        until(&format!("the port of {shown} to be free"), || is_free(&at));
    }
}

#[test]
fn circles_in_which_one_does_not_wait_or_is_answered_are_sound() {
    let _limit = limit(60, "sound circles");
    let functions = || FunctionService::new(functions());
    let again = Route::through(["Pub"], |frame, ways| ways.send(0, frame)).and_unbounded("A");
    let circles = Assembly::new("s")
        .inbound("Pull", PullService::new(FREE), "A")
        .outbound("A", functions())
        .replies("A", "B")
        .outbound("B", functions())
        .replies("B", again)
        .outbound("Pub", PubService::new(FREE))
        .inbound("Rep", RepService::new(FREE), "C")
        .outbound("C", functions())
        .replies("C", "D")
        .outbound("D", functions())
        .replies(
            "D",
            Route::through(["Rep", "Pub"], |frame, ways| ways.send(0, frame)),
        );
    circles.start().unwrap().stop().unwrap();
}

#[test]
fn a_bad_address_of_any_part_is_an_error_of_the_start_and_nothing_stays_bound() {
    let _limit = limit(60, "bad addresses");
    let (at, taken) = (fixed(), std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let taken = format!("tcp://{}", taken.local_addr().unwrap());
    for bad in ["nowhere", FREE, "tcp://127.0.0.1:0"] {
        let parts = sound(&at).inbound("From", PullConnection::new(bad), "Pub");
        let error = parts.start().unwrap_err();
        assert!(
            matches!(&error, Error::Address { address, .. } if address == bad),
            "{error}"
        );
        let parts = sound(&at).cache("Cache", "nowhere");
        assert!(matches!(parts.start(), Err(Error::Address { .. })));
    }
    let second = |name: &str| sound(&at).cache(name, &taken).start().unwrap_err();
    let error = second("Second");
    assert!(
        matches!(&error, Error::Bind { part, address, .. } if part == "Second" && *address == taken),
        "{error}"
    );
    until("the first part's port to be free", || is_free(&at));
}

/// With what a client and a worker need to know.
fn with_cache(assembly: Assembly) -> Assembly {
    assembly
        .cache("Cache", FREE)
        .preset("name", "s")
        .preset_address("pub_address", "Pub")
}

fn call_all(client: &Client, function: &str, calls: u32) {
    let payloads = (0..calls).map(u32::to_be_bytes);
    let request = client.request(function).timeout(SOON);
    let results = sorted(request.job(payloads.clone()).unwrap().map(Result::unwrap));
    assert!(results.into_iter().eq(payloads.map(Vec::from)));
}

#[test]
fn a_master_is_made_of_parts() {
    let _limit = limit(60, "a master of parts");
    let way_in = Route::to("WorkerPush").failures_to("Pub");
    let master = with_cache(Assembly::new("s"))
        .inbound("Pull", PullService::new(FREE), way_in)
        .inbound("WorkerPull", WorkerPullService::new(FREE), "Pub")
        .outbound("WorkerPush", WorkerPushService::new(FREE))
        .outbound("Pub", PubService::new(FREE))
        .preset_address("pull_address", "Pull")
        .preset_address("worker_pull_address", "WorkerPull")
        .preset_address("worker_push_address", "WorkerPush")
        .start()
        .unwrap();
    let workers = [(); 2].map(|()| {
        let worker = Worker::new(&master.addresses().db);
        worker
            .function("echo", |call| Ok(call.payload().to_vec()))
            .start()
            .unwrap()
    });
    let client = client(&master);
    call_all(&client, "s.echo", 2_000);
    // Does not get as far as a worker.
    let error = eval(&client, "s.echo s.echo.", b"x").unwrap_err();
    assert!(
        matches!(error, Error::Path { .. } | Error::Refused { .. }),
        "{error}"
    );
    drop(workers);
}

/// Runs functions on what comes from these parts.
fn server(name: &str) -> Assembly {
    Assembly::new(name)
        .outbound("Functions", FunctionService::new(functions()))
        .replies("Functions", "Pub")
        .outbound("Pub", PubService::new(FREE))
        .cache("Cache", FREE)
        .preset("name", name)
        .preset_address("pub_address", "Pub")
}

#[test]
fn a_server_is_made_of_parts() {
    let _limit = limit(60, "a server of parts");
    let server = server("s")
        .inbound("Pull", PullService::new(FREE), "Functions")
        .preset_address("pull_address", "Pull")
        .start()
        .unwrap();
    let client = client(&server);
    call_all(&client, "s.echo", 2_000);
    assert!(matches!(
        eval(&client, "s.fail", b"x"),
        Err(Error::Function { .. })
    ));
}

#[test]
fn a_sink_is_made_of_parts() {
    let _limit = limit(60, "a sink of parts");
    let steps = ["a", "b"].map(|name| {
        let server = Server::new(name, palm::Addresses::ephemeral()).pipelined(true);
        server
            .function("echo", |call| Ok(call.payload().to_vec()))
            .start()
            .unwrap()
    });
    let sub = |step: &Running| SubConnection::new(&step.addresses().publish, step.name());
    let sink = server("sink")
        .inbound("Sub a", sub(&steps[0]), "Functions")
        .inbound("Sub b", sub(&steps[1]), "Functions")
        .start()
        .unwrap();
    for step in &steps {
        let builder = Client::builder(step.name(), &step.addresses().db);
        let client = builder
            .publish(&sink.addresses().publish)
            .connect()
            .unwrap();
        call_all(&client, &format!("{}.echo sink.echo", step.name()), 500);
    }
}

#[test]
fn what_two_parts_take_goes_to_one() {
    let _limit = limit(60, "two parts to one");
    let both = sound(FREE)
        .inbound("Second", PullService::new(FREE), "Pub")
        .start()
        .unwrap();
    let context = zmq::Context::new();
    let results = subscriber(&context, &both.addresses().publish, "me");
    for part in ["Pull", "Second"] {
        let push = peer(&context, zmq::PUSH, both.address_of(part).unwrap());
        push.set_linger(1_000).unwrap();
        let frame = message("me", "s.f", part.as_bytes()).encode_frame();
        push.send(frame, 0).unwrap();
    }
    let taken = sorted([(); 2].map(|()| published(&results).1.payload));
    assert_eq!(taken, [b"Pull".to_vec(), b"Second".to_vec()]);
}

#[test]
fn replies_without_a_route_are_dropped() {
    let _limit = limit(60, "replies without a route");
    let (feed, inlet) = channel().unwrap();
    let run = Arc::new(AtomicUsize::new(0));
    let counter = run.clone();
    let functions = Functions::new().function("echo", move |call| {
        counter.fetch_add(1, Ordering::SeqCst);
        Ok(call.payload().to_vec())
    });
    let running = Assembly::new("s")
        .inlet("In", inlet, "Functions")
        .outbound("Functions", FunctionService::new(functions))
        .start()
        .unwrap();
    for _ in 0..100 {
        feed.send((0..100).map(|_| frame("x")).collect()).unwrap();
    }
    until("all functions to have run", || {
        run.load(Ordering::SeqCst) == 10_000
    });
    running.stop().unwrap();
}

#[test]
fn what_is_inside_gets_out_on_a_stop() {
    let _limit = limit(60, "a stop that drains");
    let ((feed, inlet), (outlet, out)) = (channel().unwrap(), channel().unwrap());
    let (entered, inside) = mpsc::sync_channel(100);
    let (open, gate) = mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let gated = Functions::new().function("echo", move |call| {
        entered.send(())?;
        gate.lock().unwrap().recv()?;
        Ok(call.payload().to_vec())
    });
    let running = Assembly::new("s")
        .inlet("In", inlet, "Functions")
        .outbound("Functions", FunctionService::new(gated))
        .replies("Functions", "Out")
        .outlet("Out", outlet)
        .start()
        .unwrap();
    feed.send((0..20).map(|number| frame(&number.to_string())).collect())
        .unwrap();
    inside.recv_timeout(SOON).expect("a function to run");
    running.stopper().stop();
    drop(feed);
    (0..20).for_each(|_| open.send(()).unwrap());
    let expected: Vec<String> = (0..20).map(|number| number.to_string()).collect();
    assert_eq!(texts(&out, 20), expected);
    assert_eq!(out.recv(), None);
    running.wait().unwrap();
}

#[test]
fn keys_are_set_before_anybody_can_ask() {
    let _limit = limit(60, "preset keys");
    let store = Arc::new(Memory::new());
    // The store may be set after the cache.
    let server = sound(FREE)
        .cache("Cache", FREE)
        .store(store.clone())
        .max_message(1_000)
        .preset("text", "value")
        .preset("bytes", [0, 1, 255])
        .preset_address("pub_address", "Pub")
        .start()
        .unwrap();
    let db = &server.addresses().db;
    let get = |key: &str| cache_call(db, "_.get", "", key.as_bytes());
    assert_eq!(get("text"), b"value");
    assert_eq!(get("bytes"), [0, 1, 255]);
    assert_eq!(get("pub_address"), server.addresses().publish.as_bytes());
    assert_eq!(cache_call(db, "_.set", "key", &[1; 900]), b"key");
    assert_eq!(store.get("key").unwrap(), Some(vec![1; 900]));
    assert_eq!(cache_call(db, "_.set", "key", &[1; 70_000]), b"");
}

#[test]
fn two_threads_of_one_name_are_not_taken_for_each_other() {
    let _limit = limit(60, "parts named as palm's own threads");
    let functions = FunctionService::new(functions()).threads(2);
    let running = Assembly::new("s")
        .inbound("Router", PullService::new(FREE), "F")
        .inbound("F-1", PullService::new(FREE), "F")
        .outbound("F", functions)
        .replies("F", "Pub")
        .outbound("Pub", PubService::new(FREE))
        .start()
        .unwrap();
    running.stop().unwrap();
}
