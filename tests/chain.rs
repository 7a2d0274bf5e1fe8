//! Chains: pipelines, tees and sinks lose no message and double none, in whatever order their
//! steps start; and what fails on the way gets to the client.

mod common;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{
    Random, SOON, echo_server, fixed, fixed_addresses, limit, message, published, sorted,
    subscriber, together, until,
};
use palm::{
    Addresses, Client, Error, Functions, Hub, Master, Pipeline, Reducer, Running, Server, Sink,
    Status, Worker,
};

const MESSAGES: u32 = 20_000;

/// Something to be started at some time.
type Start = Box<dyn FnOnce() -> palm::Result<Running> + Send>;

/// Starts steps in a random order, while a client runs a job over them, and gives its results.
fn run(
    what: &str,
    mut steps: Vec<Start>,
    ends: (&Addresses, &str),
    path: &[&str],
    results: usize,
) -> Vec<Vec<u8>> {
    let mut random = Random::new(what);
    for last in (1..steps.len()).rev() {
        steps.swap(last, random.below(last + 1));
    }
    // Somewhere between them the client starts.
    let before = random.below(steps.len() + 1);
    let after = steps.split_off(before);
    let mut running: Vec<Running> = steps.into_iter().map(|start| start().unwrap()).collect();
    let (first, publish) = (ends.0.clone(), ends.1.to_owned());
    let path: Vec<String> = path.iter().map(|step| (*step).to_owned()).collect();
    let server = path[0].split('.').next().unwrap().to_owned();
    let job = std::thread::spawn(move || {
        let client = Client::builder(server, &first.db).publish(publish);
        let client = client.connect().expect("a client");
        let request = client.request(path).timeout(SOON).expect(results);
        let payloads = (0..MESSAGES).map(|number| number.to_string());
        let job = request.job(payloads).expect("a job");
        job.map(|result| result.expect("a result")).collect()
    });
    running.extend(after.into_iter().map(|start| start().unwrap()));
    job.join().expect("the job")
}

fn pipeline(name: &str, addresses: &Addresses, after: (&str, &str)) -> Pipeline {
    Pipeline::new(name, addresses.clone())
        .after(after.0, after.1)
        .function("echo", |call| Ok(call.payload().to_vec()))
}

fn first(addresses: &Addresses) -> Server {
    Server::new("first", addresses.clone())
        .function("echo", |call| Ok(call.payload().to_vec()))
        .pipelined(true)
}

/// A client of a chain from its first step to its last.
fn client(first: &Running, last: &Running) -> Client {
    let client = Client::builder(first.name(), &first.addresses().db);
    let client = client.publish(&last.addresses().publish);
    client.connect().expect("a client")
}

fn numbers() -> Vec<Vec<u8>> {
    sorted((0..MESSAGES).map(|number| number.to_string().into_bytes()))
}

#[test]
fn five_pipelines_lose_none_and_double_none_in_any_order_of_starts() {
    let _limit = limit(120, "five pipelines");
    let server = fixed_addresses();
    let mut steps: Vec<Start> = Vec::new();
    let mut path = vec!["first.echo"];
    let mut previous = ("first", server.publish.clone());
    for name in ["p1", "p2", "p3", "p4", "p5"] {
        let addresses = fixed_addresses();
        let step = pipeline(name, &addresses, (previous.0, &previous.1)).to_client(name == "p5");
        steps.push(Box::new(|| step.start()));
        previous = (name, addresses.publish);
        path.push(match name {
            "p1" => "p1.echo",
            "p2" => "p2.echo",
            "p3" => "p3.echo",
            "p4" => "p4.echo",
            _ => "p5.echo",
        });
    }
    let begin = first(&server);
    steps.push(Box::new(|| begin.start()));
    let results = run(
        "five pipelines",
        steps,
        (&server, &previous.1),
        &path,
        MESSAGES as usize,
    );
    // One thread each and one way: the order is kept as well.
    assert!(
        results
            .iter()
            .map(|result| String::from_utf8_lossy(result))
            .eq((0..MESSAGES).map(|number| number.to_string()))
    );
}

/// The client listens to one publisher: so a tee's branches come together in a sink.
#[test]
fn a_tee_of_three_gives_each_branch_every_message_once_in_any_order_of_starts() {
    let _limit = limit(120, "a tee");
    let server = fixed_addresses();
    let last = fixed_addresses();
    let begin = first(&server).subscribers(3);
    let mut steps: Vec<Start> = vec![Box::new(|| begin.start())];
    let mut sink = Sink::new("sink", last.clone());
    for branch in ["a", "b", "c"] {
        let addresses = fixed_addresses();
        let step = Pipeline::new("branch", addresses.clone())
            .after("first", &server.publish)
            .function("mark", move |call| {
                Ok([branch.as_bytes(), call.payload()].concat())
            })
            .to_client(false);
        sink = sink.after("branch", &addresses.publish);
        steps.push(Box::new(|| step.start()));
    }
    let sink = sink.function("echo", |call| Ok(call.payload().to_vec()));
    steps.push(Box::new(|| sink.start()));
    let path = ["first.echo", "branch.mark", "sink.echo"];
    let results = run(
        "a tee",
        steps,
        (&server, &last.publish),
        &path,
        3 * MESSAGES as usize,
    );
    let expected = ["a", "b", "c"].iter().flat_map(|branch| {
        (0..MESSAGES).map(move |number| format!("{branch}{number}").into_bytes())
    });
    assert_eq!(sorted(results), sorted(expected));
}

#[test]
fn a_stream_that_parts_and_meets_in_a_sink_loses_none_in_any_order_of_starts() {
    let _limit = limit(120, "stream and sink");
    let server = fixed_addresses();
    let last = fixed_addresses();
    let mut count = 0_u32;
    let begin = first(&server).route(move |message| {
        message.stage += 1;
        count += 1;
        if count % 2 == 1 { "even" } else { "odd" }.to_owned()
    });
    let mut steps: Vec<Start> = vec![Box::new(|| begin.start())];
    let mut sink = Sink::new("sink", last.clone());
    for topic in ["even", "odd"] {
        let addresses = fixed_addresses();
        let step = pipeline("branch", &addresses, (topic, &server.publish)).to_client(false);
        sink = sink.after("branch", &addresses.publish);
        steps.push(Box::new(|| step.start()));
    }
    let sink = sink.function("echo", |call| Ok(call.payload().to_vec()));
    steps.push(Box::new(|| sink.start()));
    let path = ["first.echo", "branch.echo", "sink.echo"];
    let results = run(
        "stream and sink",
        steps,
        (&server, &last.publish),
        &path,
        MESSAGES as usize,
    );
    assert_eq!(sorted(results), numbers());
}

#[test]
fn masters_and_hubs_take_their_turn_in_a_chain() {
    let _limit = limit(60, "a master and a hub");
    let master = Master::new("first", Addresses::ephemeral())
        .pipelined(true)
        .start()
        .unwrap();
    let hub = Hub::new("hub", Addresses::ephemeral())
        .after("first", &master.addresses().publish)
        .scatter(|message| [message.clone(), message])
        .pipelined(true)
        .start()
        .unwrap();
    let last = pipeline(
        "last",
        &Addresses::ephemeral(),
        ("hub", &hub.addresses().publish),
    );
    let last = last.start().unwrap();
    let functions = Functions::new()
        .function("double", |call| Ok(call.payload().repeat(2)))
        .function("split", |call| {
            Ok(call
                .payload()
                .iter()
                .map(|byte| vec![*byte])
                .collect::<Vec<_>>())
        });
    let workers: Vec<Running> = [&master, &hub, &hub]
        .iter()
        .map(|of| {
            Worker::new(&of.addresses().db)
                .functions(functions.clone())
                .start()
                .unwrap()
        })
        .collect();
    let client = client(&master, &last);
    let path = ["first.double", "hub.split", "last.echo"];
    let request = client.request(path).timeout(SOON).expect(8 * 100);
    let results = request.job(vec!["ab"; 100]).unwrap();
    let mut counts: HashMap<Vec<u8>, usize> = HashMap::new();
    for result in results {
        *counts.entry(result.unwrap()).or_default() += 1;
    }
    assert_eq!(
        counts,
        HashMap::from([(b"a".to_vec(), 400), (b"b".to_vec(), 400)])
    );
    drop(workers);
}

/// A chain of a server, a pipeline that fails at times, a hub and a last pipeline.
#[test]
fn what_fails_at_a_step_is_its_clients_error_and_runs_no_later_function() {
    let _limit = limit(60, "a failure on the way");
    let server = Server::new("first", Addresses::ephemeral())
        .function("pick", |call| match call.payload() {
            b"first" => Err("at the first".into()),
            payload => Ok(payload.to_vec()),
        })
        .pipelined(true)
        .start()
        .unwrap();
    let second = Pipeline::new("second", Addresses::ephemeral())
        .after("first", &server.addresses().publish)
        .function("pick", |call| match call.payload() {
            b"second" => Err("at the second".into()),
            payload => Ok(payload.to_vec()),
        })
        .to_client(false)
        .start()
        .unwrap();
    let hub = Hub::new("third", Addresses::ephemeral())
        .after("second", &second.addresses().publish)
        .start()
        .unwrap();
    let worker = Worker::new(&hub.addresses().db)
        .function("pick", |call| match call.payload() {
            b"0" => panic!("a failure was run"),
            payload => Ok(payload.to_vec()),
        })
        .start()
        .unwrap();
    let client = client(&server, &hub);
    let call = |path: [&str; 3], payload: &str| client.request(path).timeout(SOON).eval(payload);
    let path = ["first.pick", "second.pick", "third.pick"];
    assert_eq!(call(path, "fine").unwrap(), b"fine");
    for (payload, cause) in [("first", "at the first"), ("second", "at the second")] {
        let error = call(path, payload).unwrap_err();
        assert!(matches!(error, Error::Function { .. }), "{error}");
        assert!(error.to_string().contains(cause), "{error}");
    }
    let error = call(["first.pick", "other.pick", "third.pick"], "fine").unwrap_err();
    assert!(matches!(error, Error::Refused { .. }), "{error}");
    let error = call(["first.pick", "second.none", "third.pick"], "fine").unwrap_err();
    assert!(matches!(error, Error::UnknownFunction { .. }), "{error}");
    // A path that is too short: the last step has no turn, and says so.
    let error = client
        .request(["first.pick", "second.pick"])
        .timeout(SOON)
        .eval("fine");
    assert!(matches!(error, Err(Error::Refused { .. })), "{error:?}");
    drop(worker);
}

#[test]
fn a_branch_that_gives_nothing_answers_nobody_not_even_with_an_earlier_failure() {
    let _limit = limit(60, "a silent branch");
    let server = Server::new("first", Addresses::ephemeral())
        .function("pick", |call| match call.payload() {
            b"bad" => Err("bad".into()),
            payload => Ok(payload.to_vec()),
        })
        .pipelined(true)
        .subscribers(2)
        .start()
        .unwrap();
    let (seen, saw) = std::sync::mpsc::channel();
    let seen = std::sync::Mutex::new(seen);
    // Both publish where the client listens: a sink after both.
    let silent = Pipeline::new("branch", Addresses::ephemeral())
        .after("first", &server.addresses().publish)
        .function("work", move |call| {
            seen.lock().unwrap().send(call.payload().to_vec())?;
            Ok(())
        })
        .to_client(false)
        .start()
        .unwrap();
    let loud = Pipeline::new("branch", Addresses::ephemeral())
        .after("first", &server.addresses().publish)
        .function("work", |call| Ok(call.payload().to_vec()))
        .to_client(false)
        .start()
        .unwrap();
    let sink = Sink::new("sink", Addresses::ephemeral())
        .after("branch", &silent.addresses().publish)
        .after("branch", &loud.addresses().publish)
        .function("echo", |call| Ok(call.payload().to_vec()))
        .start()
        .unwrap();
    let client = client(&server, &sink);
    let path = ["first.pick", "branch.work", "sink.echo"];
    let job = client.request(path).timeout(SOON);
    let results: Vec<_> = job
        .job(["one", "bad", "two", "bad", "three"])
        .unwrap()
        .collect();
    let good: Vec<_> = results.iter().flatten().cloned().collect();
    assert_eq!(good, [b"one".to_vec(), b"two".to_vec(), b"three".to_vec()]);
    assert_eq!(results.iter().filter(|result| result.is_err()).count(), 2);
    for expected in [&b"one"[..], b"two", b"three"] {
        assert_eq!(saw.recv_timeout(SOON).unwrap(), expected);
    }
    assert!(saw.try_recv().is_err());
}

/// The same with a hub, which has to be told that its workers give nothing.
#[test]
fn a_silent_hub_leaves_earlier_failures_to_the_other_branches_and_tells_its_own() {
    let _limit = limit(60, "a silent hub");
    let server = Server::new("first", Addresses::ephemeral())
        .function("pick", |call| match call.payload() {
            b"bad" => Err("bad".into()),
            payload => Ok(payload.to_vec()),
        })
        .pipelined(true)
        .subscribers(2)
        .start()
        .unwrap();
    let (seen, saw) = std::sync::mpsc::channel();
    let seen = std::sync::Mutex::new(seen);
    let hub = Hub::new("branch", Addresses::ephemeral())
        .after("first", &server.addresses().publish)
        .silent(true)
        .pipelined(true)
        .start()
        .unwrap();
    let _worker = Worker::new(&hub.addresses().db)
        .function("work", move |call| match call.payload() {
            b"ill" => Err("ill".into()),
            payload => Ok(seen.lock().unwrap().send(payload.to_vec())?),
        })
        .start()
        .unwrap();
    let loud = Pipeline::new("branch", Addresses::ephemeral())
        .after("first", &server.addresses().publish)
        .function("work", |call| Ok(call.payload().to_vec()))
        .to_client(false)
        .start()
        .unwrap();
    let sink = Sink::new("sink", Addresses::ephemeral())
        .after("branch", &hub.addresses().publish)
        .after("branch", &loud.addresses().publish)
        .function("echo", |call| Ok(call.payload().to_vec()))
        .start()
        .unwrap();
    let client = client(&server, &sink);
    let request = client
        .request(["first.pick", "branch.work", "sink.echo"])
        .timeout(SOON);
    let results: Vec<_> = request
        .clone()
        .job(["one", "bad", "two"])
        .unwrap()
        .collect();
    let good: Vec<_> = results.iter().flatten().cloned().collect();
    assert_eq!(good, [b"one".to_vec(), b"two".to_vec()]);
    for expected in [&b"one"[..], b"two"] {
        assert_eq!(saw.recv_timeout(SOON).unwrap(), expected);
    }
    assert!(saw.try_recv().is_err());
    // What fails at its workers is an error beside the other branch's result.
    let own = request.expect(2).job(["ill"]).unwrap();
    let (good, bad): (Vec<_>, Vec<_>) = own.partition(Result::is_ok);
    assert_eq!((good.len(), bad.len()), (1, 1));
    let error = bad.into_iter().flat_map(Result::err).next().unwrap();
    assert!(error.to_string().contains("ill"), "{error}");
}

#[test]
fn a_step_that_restarts_gets_what_waited_for_it() {
    let _limit = limit(60, "a restart");
    let server = echo_server("first").pipelined(true).start().unwrap();
    let publish = fixed();
    let new = || {
        let addresses = Addresses::ephemeral().publish(&publish);
        pipeline("second", &addresses, ("first", &server.addresses().publish)).start()
    };
    let step = new().unwrap();
    let client = Client::builder("first", &server.addresses().db)
        .publish(&publish)
        .connect()
        .unwrap();
    let path = ["first.echo", "second.echo"];
    let one = |payload: &str| client.request(path).timeout(SOON).eval(payload);
    assert_eq!(one("before").unwrap(), b"before");
    step.stop().unwrap();
    std::thread::scope(|scope| {
        let call = scope.spawn(|| one("meanwhile"));
        let _step = common::start_again(new);
        assert_eq!(call.join().unwrap().unwrap(), b"meanwhile");
    });
}

#[test]
fn only_the_exact_name_of_a_step_is_taken() {
    let _limit = limit(60, "names");
    let server = Server::new("first", Addresses::ephemeral())
        .function("echo", |call| Ok(call.payload().to_vec()))
        .route(|message| {
            message.stage += 1;
            String::from_utf8_lossy(&message.payload).into_owned()
        })
        .start()
        .unwrap();
    let branch = |topic: &'static str| {
        Pipeline::new("branch", Addresses::ephemeral())
            .after(topic, &server.addresses().publish)
            .function("mark", move |call| {
                Ok([call.payload(), b" by ", topic.as_bytes()].concat())
            })
            .to_client(false)
            .start()
            .unwrap()
    };
    let (short, long) = (branch("step"), branch("step10"));
    let sink = Sink::new("sink", Addresses::ephemeral())
        .after("branch", &short.addresses().publish)
        .after("branch", &long.addresses().publish)
        .function("echo", |call| Ok(call.payload().to_vec()))
        .start()
        .unwrap();
    let client = client(&server, &sink);
    let path = ["first.echo", "branch.mark", "sink.echo"];
    let job = client
        .request(path)
        .timeout(SOON)
        .job(["step10", "step", "step10"])
        .unwrap();
    let results = sorted(job.map(|result| String::from_utf8(result.unwrap()).unwrap()));
    assert_eq!(
        results,
        ["step by step", "step10 by step10", "step10 by step10"]
    );
}

#[test]
fn a_step_with_none_or_too_many_before_it_does_not_start() {
    let free = Addresses::ephemeral;
    for error in [
        Pipeline::new("p", free()).start().unwrap_err(),
        Sink::new("p", free()).start().unwrap_err(),
        Hub::new("p", free()).start().unwrap_err(),
    ] {
        assert!(matches!(error, Error::Setup { .. }), "{error}");
        assert!(error.to_string().contains("'p'"), "{error}");
    }
    let at = "tcp://127.0.0.1:5556";
    let group = |_: &palm::PalmMessage| palm::reduce::Group::of("k");
    for (error, say) in [
        (
            Pipeline::new("p", free())
                .after("a", at)
                .after("b", at)
                .start(),
            "Sink",
        ),
        (
            Hub::new("p", free()).after("a", at).after("b", at).start(),
            "one step",
        ),
        (
            Reducer::new("p", free())
                .key(group)
                .after("a", at)
                .after("b", at)
                .start(),
            "one step",
        ),
    ] {
        let error = error.unwrap_err();
        assert!(matches!(error, Error::Setup { .. }), "{error}");
        assert!(error.to_string().contains(say), "{error}");
    }
    let bad = Pipeline::new("p", free())
        .after("first", "nonsense")
        .start();
    assert!(matches!(bad, Err(Error::Address { .. })), "{bad:?}");
}

#[test]
fn garbage_from_a_publisher_stops_no_step_and_good_messages_get_through() {
    let _limit = limit(60, "a publisher of garbage");
    let context = zmq::Context::new();
    let publisher = context.socket(zmq::XPUB).unwrap();
    publisher.set_linger(0).unwrap();
    publisher.set_rcvtimeo(10_000).unwrap();
    publisher.set_sndhwm(0).unwrap();
    publisher.bind("tcp://127.0.0.1:*").unwrap();
    let address = publisher.get_last_endpoint().unwrap().unwrap();
    let step = pipeline("second", &Addresses::ephemeral(), ("first", &address));
    let step = step.max_message(10_000).start().unwrap();
    // It does not answer the first of these as one of palm does.
    assert_eq!(publisher.recv_bytes(0).unwrap(), b"\x01_.link");
    assert_eq!(publisher.recv_bytes(0).unwrap(), b"\x01first");
    let results = common::subscriber(&context, &step.addresses().publish, "me");

    let mut random = Random::new("a publisher of garbage");
    for number in 0..2_000 {
        let garbage = match number % 20 {
            0 => random.bytes(200_000),
            _ => random.bytes(100),
        };
        let parts = match number % 4 {
            0 => vec![b"first".to_vec()],
            1 => vec![b"first".to_vec(), garbage],
            2 => vec![b"first".to_vec(), garbage, random.bytes(9)],
            _ => vec![b"first and more".to_vec(), garbage],
        };
        publisher.send_multipart(parts, 0).unwrap();
    }
    let good = common::message("me", "first.echo second.echo", b"good");
    let good = palm::PalmMessage { stage: 1, ..good };
    publisher
        .send_multipart([b"first".to_vec(), good.encode_frame()], 0)
        .unwrap();
    // Garbage that is a message by chance has no client: so this is the first result for one.
    let (topic, message) = common::published(&results);
    assert_eq!((topic.as_str(), &message.payload[..]), ("me", &b"good"[..]));
    step.stop().unwrap();
}

#[test]
fn a_peer_that_subscribes_twice_and_leaves_takes_nothing_away() {
    let _limit = limit(60, "a double subscription");
    let server = echo_server("first").pipelined(true).start().unwrap();
    let context = zmq::Context::new();
    let odd = common::subscriber(&context, &server.addresses().publish, "first");
    odd.set_subscribe(b"first").unwrap();
    let push = common::peer(&context, zmq::PUSH, &server.addresses().pull);
    let send = |payload: &[u8]| {
        let message = common::message("me", "first.echo second.echo", payload);
        push.send(message.encode_frame(), 0).unwrap();
    };
    send(b"one");
    assert_eq!(common::published(&odd).1.payload, b"one");
    drop(odd);
    // As long as the publisher has not noticed, it goes nowhere: as this wire has it.
    common::until("the publisher to hold a message", || {
        send(b"two");
        let status = Status::of(&server.addresses().db, SOON).unwrap();
        !status.waits.is_empty()
    });
    let address = &server.addresses().publish;
    let step = pipeline("second", &Addresses::ephemeral(), ("first", address));
    let step = step.start().unwrap();
    let me = common::subscriber(&context, &step.addresses().publish, "me");
    assert_eq!(common::published(&me).1.payload, b"two");
}

#[test]
fn a_hook_that_panics_in_a_chain_is_an_error_of_the_client_at_its_end() {
    let _limit = limit(60, "a panicking route");
    let server = Server::new("first", Addresses::ephemeral())
        .function("echo", |call| Ok(call.payload().to_vec()))
        .route(|message| {
            message.stage += 1;
            assert_ne!(message.payload, b"bad", "not this one");
            "on".to_owned()
        })
        .start()
        .unwrap();
    let address = &server.addresses().publish;
    let step = pipeline("second", &Addresses::ephemeral(), ("on", address));
    let step = step.start().unwrap();
    let client = client(&server, &step);
    let request = client.request(["first.echo", "second.echo"]).timeout(SOON);
    let results: Vec<_> = request.job(["good", "bad", "good"]).unwrap().collect();
    assert_eq!(results.iter().flatten().count(), 2);
    let error = results.into_iter().find_map(Result::err).unwrap();
    assert!(error.to_string().contains("not this one"), "{error}");
}

/// How many messages of a client's big job run in the last of so many steps, each of which takes a
/// thread of it a millisecond, between another client's call and the answer.
fn before_a_call(steps: usize, threads: usize) -> usize {
    let ran = Arc::new(AtomicUsize::new(0));
    let last = Functions::new().function("f", {
        let ran = ran.clone();
        move |call| {
            if call.payload() != b"call" {
                std::thread::sleep(Duration::from_millis(1));
                ran.fetch_add(1, Ordering::SeqCst);
            }
            Ok(ran.load(Ordering::SeqCst).to_string())
        }
    });
    let first = Functions::new().function("f", |call| Ok(call.payload().to_vec()));
    let functions = |step| if step == steps { &last } else { &first }.clone();
    let name = |step| format!("s{step}");
    let server = Server::new(name(1), Addresses::ephemeral())
        .functions(functions(1))
        .threads(threads)
        .pipelined(steps > 1);
    let mut running = vec![server.start().unwrap()];
    for step in 2..=steps {
        let before = running.last().unwrap().addresses().publish.clone();
        let next = Pipeline::new(name(step), Addresses::ephemeral())
            .after(name(step - 1), before)
            .functions(functions(step))
            .threads(threads)
            .to_client(step == steps);
        running.push(next.start().unwrap());
    }
    let connect = || client(running.first().unwrap(), running.last().unwrap());
    let (busy, other) = (connect(), connect());
    let path: Vec<String> = (1..=steps).map(|step| format!("s{step}.f")).collect();
    let request = busy.request(path.clone()).timeout(SOON);
    let job = request.job((0..8_000).map(|number: u32| number.to_string()));
    let job = job.unwrap();
    until("much of the big job waits", || {
        ran.load(Ordering::SeqCst) >= 100
    });
    let before = ran.load(Ordering::SeqCst);
    let request = other.request(path).timeout(SOON);
    let at = request.eval("call").unwrap();
    job.cancel();
    let at: usize = String::from_utf8(at).unwrap().parse().unwrap();
    at - before
}

#[test]
fn a_call_does_not_wait_until_all_is_done_of_the_big_job_of_another_client() {
    let _limit = limit(60, "a call beside a big job");
    for (steps, threads) in [(1, 1), (1, 3), (2, 1), (3, 2)] {
        let before = before_a_call(steps, threads);
        assert!(before < 60, "{before} of {steps} steps, {threads} threads");
    }
}

#[test]
fn several_threads_of_a_step_share_what_a_pylm_step_publishes() {
    let _limit = limit(60, "threads that share what is published");
    let context = zmq::Context::new();
    let publisher = context.socket(zmq::XPUB).unwrap();
    publisher.set_rcvtimeo(SOON.as_millis() as i32).unwrap();
    publisher.bind("tcp://127.0.0.1:*").unwrap();
    let at = publisher.get_last_endpoint().unwrap().unwrap();
    let (functions, most) = together();
    let step = Pipeline::new("second", Addresses::ephemeral())
        .after("first", at)
        .functions(functions)
        .threads(4)
        .start()
        .unwrap();
    let results = subscriber(&context, &step.addresses().publish, "me");
    // It listens for a palm publisher first.
    while publisher.recv_bytes(0).unwrap() != b"\x01first" {}
    let mut message = message("me", "first.f second.f", b"x");
    message.stage = 1;
    for _ in 0..64 {
        let parts = [b"first".to_vec(), message.encode_frame()];
        publisher.send_multipart(parts, 0).unwrap();
    }
    for _ in 0..64 {
        assert_eq!(published(&results).1.payload, b"x");
    }
    assert_eq!(most.load(Ordering::SeqCst), 4);
}
