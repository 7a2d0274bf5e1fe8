//! What a master promises: work for its workers, its hooks, what it tells its peers.

mod common;

use std::time::Duration;

use common::{SOON, cache_call, client, eval, limit, message, published, sorted, until};
use palm::{Addresses, Client, Error, Master, PalmMessage, Running, Worker};

fn master() -> Master {
    Master::new("m", Addresses::ephemeral())
}

/// A worker whose `echo` gives the payload back, and whose `fail` fails.
fn worker(master: &Running) -> Running {
    Worker::new(&master.addresses().db)
        .function("echo", |call| Ok(call.payload().to_vec()))
        .function("fail", |_| -> Result<(), palm::BoxError> {
            Err("no luck today".into())
        })
        .start()
        .unwrap()
}

fn results(client: &Client, payloads: &[&str], expect: usize) -> Vec<Result<String, Error>> {
    let payloads: Vec<String> = payloads.iter().map(|&payload| payload.into()).collect();
    let request = client.request("m.echo").timeout(SOON).expect(expect);
    let text = |payload| String::from_utf8(payload).unwrap();
    let job = request.job(payloads).unwrap();
    job.map(|result| result.map(text)).collect()
}

fn texts(client: &Client, payloads: &[&str], expect: usize) -> Vec<String> {
    let results = results(client, payloads, expect);
    results.into_iter().map(Result::unwrap).collect()
}

/// The cause of the one error among results.
fn only_failure(results: Vec<Result<String, Error>>) -> String {
    let mut causes = results.into_iter().filter_map(|result| match result {
        Ok(_) => None,
        Err(Error::Function { cause, .. }) => Some(cause),
        Err(other) => panic!("{other}"),
    });
    let cause = causes.next().expect("no error among the results");
    assert_eq!(causes.next(), None);
    cause
}

#[test]
fn workers_share_the_messages_and_nothing_is_lost_or_doubled() {
    let _limit = limit(60, "three workers");
    let master = master().start().unwrap();
    let workers = ["a", "b", "c"].map(|name| {
        Worker::new(&master.addresses().db)
            .name(name)
            .function("who", |call| {
                Ok([call.component().as_bytes(), call.payload()].concat())
            })
            .start()
            .unwrap()
    });
    let client = client(&master);
    let payloads = (0..6_000_u32).map(u32::to_be_bytes);
    let job = client.job("m.who", payloads.clone()).unwrap();
    let results: Vec<Vec<u8>> = job.map(Result::unwrap).collect();
    for worker in &workers {
        let of_it = |result: &&Vec<u8>| result.starts_with(worker.name().as_bytes());
        let share = results.iter().filter(of_it).count();
        // How much depends on which of them the system lets run.
        assert!(share > 0, "{} did none", worker.name());
    }
    let numbers = sorted(results.into_iter().map(|result| result[1..].to_vec()));
    assert!(
        numbers
            .iter()
            .map(Vec::as_slice)
            .eq(payloads.collect::<Vec<_>>().iter())
    );
}

#[test]
fn a_call_that_comes_before_the_first_worker_waits_for_it() {
    let _limit = limit(60, "a call before the worker");
    let master = master().start().unwrap();
    let client = client(&master);
    let payloads = (0..2_000_u32).map(u32::to_be_bytes);
    let mut job = client.job("m.echo", payloads).unwrap();
    let _worker = worker(&master);
    assert_eq!(job.by_ref().filter_map(Result::ok).count(), 2_000);
}

#[test]
fn failures_of_a_worker_reach_the_caller() {
    let master = master().start().unwrap();
    let _worker = worker(&master);
    let client = client(&master);
    match eval(&client, "m.fail", b"x").unwrap_err() {
        Error::Function { cause, .. } => assert!(cause.contains("no luck today"), "{cause}"),
        other => panic!("{other}"),
    }
    match eval(&client, "m.nope", b"x").unwrap_err() {
        Error::UnknownFunction { cause, .. } => assert!(cause.contains("'nope'"), "{cause}"),
        other => panic!("{other}"),
    }
    assert_eq!(eval(&client, "m.echo", b"x").unwrap(), b"x");
}

#[test]
fn scatter_makes_none_one_or_many_messages() {
    let _limit = limit(60, "scatter");
    let master = master()
        .scatter(|message| {
            let times = usize::from(message.payload[0] - b'0');
            vec![message; times]
        })
        .start()
        .unwrap();
    let _worker = worker(&master);
    let client = client(&master);
    let expected = ["1b", "2c", "2c", "3d", "3d", "3d"];
    assert_eq!(texts(&client, &["0a", "1b", "2c", "3d"], 6), expected);
}

#[test]
fn gather_makes_none_one_or_many_results_and_keeps_state() {
    let _limit = limit(60, "gather");
    let mut seen = Vec::new();
    let master = master()
        .gather(move |message: PalmMessage| {
            seen.push(message.payload.clone());
            // All three at once, when the third has come.
            let all = (seen.len() == 3).then(|| std::mem::take(&mut seen));
            let payloads = all.into_iter().flatten();
            let of = move |payload| PalmMessage {
                payload,
                ..message.clone()
            };
            payloads.map(of).collect::<Vec<_>>()
        })
        .start()
        .unwrap();
    let _worker = worker(&master);
    let client = client(&master);
    let payloads = ["a", "b", "c", "d", "e", "f", "g"];
    assert_eq!(texts(&client, &payloads, 6), payloads[..6]);
}

#[test]
fn what_fails_at_a_worker_goes_past_gather_to_its_client() {
    let _limit = limit(60, "failures and gather");
    let (seen, sees) = std::sync::mpsc::channel();
    let master = master()
        .scatter(|mut message| {
            if message.payload == b"bad" {
                message.function = "m.fail".into();
            }
            [message]
        })
        .gather(move |message: PalmMessage| {
            seen.send(message.payload.clone()).unwrap();
            let payload = [&message.payload[..], b" gathered"].concat();
            [PalmMessage { payload, ..message }]
        })
        .start()
        .unwrap();
    let _worker = worker(&master);
    // A worker of pylm tells of a failure by a `0`, which is a result as any other.
    let results = results(&client(&master), &["a", "bad", "0", "b"], 4);
    let good: Vec<_> = results.iter().flatten().cloned().collect();
    assert_eq!(good, ["a gathered", "0 gathered", "b gathered"]);
    let cause = only_failure(results);
    assert!(cause.contains("no luck today"), "{cause}");
    let seen: Vec<Vec<u8>> = sees.try_iter().collect();
    assert_eq!(seen, [&b"a"[..], b"0", b"b"]);
}

#[test]
fn the_hooks_run_in_turn_and_keep_the_order_of_one_worker() {
    let _limit = limit(60, "hooks in turn");
    let mark = |mark: &'static str| {
        move |mut message: PalmMessage| {
            message.payload.extend(mark.as_bytes());
            [message]
        }
    };
    let master = master()
        .scatter(mark(" scattered"))
        .gather(mark(" gathered"))
        .route(|message| {
            message.payload.extend(b" routed");
            message.client.clone()
        })
        .start()
        .unwrap();
    let _worker = worker(&master);
    let client = client(&master);
    let payloads: Vec<String> = (0..1_000).map(|number| number.to_string()).collect();
    let job = client.job("m.echo", payloads.clone()).unwrap();
    let mut expected = payloads.iter();
    for result in job {
        let text = String::from_utf8(result.unwrap()).unwrap();
        let number = expected.next().unwrap();
        assert_eq!(text, format!("{number} scattered gathered routed"));
    }
    assert_eq!(expected.next(), None);
}

#[test]
fn a_panicking_hook_is_the_error_of_its_message_only() {
    let _limit = limit(60, "panicking hooks");
    let fuse = |bad: &'static str| {
        move |message: PalmMessage| {
            assert_ne!(message.payload, bad.as_bytes(), "not this one");
            [message]
        }
    };
    let routed = fuse("bad route");
    let master = master()
        .scatter(fuse("bad scatter"))
        .gather(fuse("bad gather"))
        .route(move |message| {
            let [message] = routed(message.clone());
            message.client
        })
        .start()
        .unwrap();
    let _worker = worker(&master);
    let client = client(&master);
    for hook in ["scatter", "gather", "route"] {
        let bad = format!("bad {hook}");
        let cause = only_failure(results(&client, &["a", &bad, "b"], 3));
        assert!(cause.contains(&format!("{hook} of 'm'")), "{cause}");
        assert!(cause.contains("not this one"), "{cause}");
    }
    assert_eq!(texts(&client, &["still", "here"], 2), ["still", "here"]);
    assert!(!master.is_over());
}

#[test]
fn scatter_may_send_to_other_functions_and_clients() {
    let master = master()
        .scatter(|message| {
            let copy = PalmMessage {
                client: "listener".into(),
                ..message.clone()
            };
            [message, copy]
        })
        .start()
        .unwrap();
    let context = zmq::Context::new();
    let listener = common::subscriber(&context, &master.addresses().publish, "listener");
    let _worker = worker(&master);
    assert_eq!(
        eval(&client(&master), "m.echo", b"hello").unwrap(),
        b"hello"
    );
    assert_eq!(published(&listener).1.payload, b"hello");
}

#[test]
fn a_path_that_a_worker_could_not_read_is_refused_and_never_gets_there() {
    let master = master().start().unwrap();
    let context = zmq::Context::new();
    let addresses = master.addresses();
    let worker = common::peer(&context, zmq::PULL, &addresses.worker_push);
    let results = common::subscriber(&context, &addresses.publish, "c");
    let push = common::peer(&context, zmq::PUSH, &addresses.pull);
    let bad = ["", "garbage", "m.", ".f", "a.b.c", "m.a  m.b"];
    for function in bad.into_iter().chain(["m.good"]) {
        push.send(message("c", function, b"x").encode_frame(), 0)
            .unwrap();
    }
    for function in bad {
        let (_, refused) = published(&results);
        assert_eq!(
            (refused.function.as_str(), refused.payload),
            (function, b"0".to_vec())
        );
        let cause = refused.failure.unwrap().cause;
        assert!(cause.contains(&format!("'{function}'")), "{cause}");
    }
    let first = worker.recv_bytes(0).unwrap();
    let first = PalmMessage::decode_frame(&first, 1_000).unwrap();
    assert_eq!(first.function, "m.good");
}

#[test]
fn a_worker_that_is_not_palm_gets_the_message_and_gives_it_back() {
    let master = master().start().unwrap();
    let context = zmq::Context::new();
    let told = |key: &str| {
        let value = cache_call(&master.addresses().db, "_.get", "", key.as_bytes());
        String::from_utf8(value).unwrap()
    };
    let pull = common::peer(&context, zmq::PULL, &told("worker_push_address"));
    let push = common::peer(&context, zmq::PUSH, &told("worker_pull_address"));
    let client = client(&master);
    let mut job = client.job("m.double", ["ab"]).unwrap();
    let task = pull.recv_bytes(0).unwrap();
    let mut task = PalmMessage::decode_frame(&task, 1_000).unwrap();
    assert_eq!((task.function.as_str(), task.stage), ("m.double", 0));
    assert_eq!(task.cache.len(), 36, "an id to send back");
    task.payload = task.payload.repeat(2);
    push.send(task.encode_frame(), 0).unwrap();
    assert_eq!(job.next().unwrap().unwrap(), b"abab");
    assert!(job.next().is_none());
}

#[test]
fn a_master_tells_its_peers_where_it_is() {
    let master = master().start().unwrap();
    let addresses = master.addresses();
    for (key, value) in [
        ("name", "m"),
        ("db_address", &addresses.db),
        ("pull_address", &addresses.pull),
        ("pub_address", &addresses.publish),
        ("worker_push_address", &addresses.worker_push),
        ("worker_pull_address", &addresses.worker_pull),
    ] {
        let told = cache_call(&addresses.db, "m.get", "", key.as_bytes());
        assert_eq!(String::from_utf8(told).unwrap(), value, "{key}");
    }
    for address in [&addresses.worker_push, &addresses.worker_pull] {
        assert!(common::is_open(address), "{address}");
    }
}

#[test]
fn ipc_and_inproc_addresses_work_as_tcp_does() {
    let _limit = limit(60, "ipc and inproc");
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| format!("ipc://{}/{name}", folder.path().display());
    let inner = |name: &str| format!("inproc://master-test-{name}");
    let all = |of: &dyn Fn(&str) -> String| Addresses {
        pull: of("pull"),
        publish: of("pub"),
        worker_push: of("wpush"),
        worker_pull: of("wpull"),
        db: of("db"),
        link: of("link"),
    };
    for addresses in [all(&file), all(&inner)] {
        let master = Master::new("m", addresses.clone()).start().unwrap();
        assert_eq!(master.addresses(), &addresses);
        let _worker = worker(&master);
        let client = client(&master);
        let payloads = (0..500_u32).map(u32::to_be_bytes);
        let job = client.job("m.echo", payloads).unwrap();
        assert_eq!(job.filter_map(Result::ok).count(), 500);
    }
}

#[test]
fn a_message_over_the_limit_stops_neither_master_nor_worker() {
    let _limit = limit(60, "messages over the limit");
    let master = master().max_message(1_000).start().unwrap();
    let worker = Worker::new(&master.addresses().db)
        .function("size", |call| {
            let size: usize = std::str::from_utf8(call.payload())?.parse()?;
            Ok(vec![7; size])
        })
        .start()
        .unwrap();
    let client = client(&master);
    let soon = Duration::from_millis(300);
    let size = |text: &[u8]| client.request("m.size").timeout(soon).eval(text);
    // Too large from the client, then from the worker: a little, and by far.
    for payload in [&[b'1'; 80_000][..], b"1001", b"80000", b"1000000"] {
        match eval(&client, "m.size", payload).unwrap_err() {
            Error::Refused { cause, .. } => {
                assert!(cause.contains("over the limit of 1000 bytes"), "{cause}");
            }
            other => panic!("{other}"),
        }
        until("an answer", || {
            size(b"1000").is_ok_and(|r| r.len() == 1_000)
        });
    }
    assert!(!master.is_over() && !worker.is_over());
}
