//! What a reducer promises: each group becomes one message, its result or a failure, whoever
//! closes it and however many workers there are.

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{Log, SOON, client, limit, message, peer, published, sorted, subscriber, until};
use palm::message::{End, Failure, FailureKind};
use palm::reduce::{Group, Pair, combine};
use palm::{
    Addresses, BoxError, Client, Error, Master, PalmMessage, Pipeline, Reducer, Running, Server,
    Worker,
};

/// A value is a text: the key of its group, numbers, and what the message says of the group,
/// `#N` for its number of values and `!` when it closes it. With no number it is no value.
fn group(message: &PalmMessage) -> Group {
    let text = String::from_utf8_lossy(&message.payload);
    let mut words = text.split(' ');
    let mut group = Group::of(words.next().expect("a key"));
    let mut has_value = false;
    for word in words {
        match word.strip_prefix('#') {
            Some(values) => group = group.expecting(values.parse().expect("a number")),
            None if word == "!" => group = group.closing(),
            None => has_value = true,
        }
    }
    match has_value {
        true => group,
        false => group.without_value(),
    }
}

/// The key of a value, and its numbers.
fn parsed(value: &[u8]) -> (String, Vec<u64>) {
    let text = String::from_utf8_lossy(value);
    let (key, rest) = text.split_once(' ').unwrap_or((&text, ""));
    let numbers = rest.split(' ').filter_map(|word| word.parse().ok());
    (key.to_owned(), sorted(numbers))
}

fn joined(left: &[u8], right: &[u8]) -> Result<Vec<u8>, BoxError> {
    let ((key, mut left), (other, right)) = (parsed(left), parsed(right));
    assert_eq!(key, other, "values of two groups were combined");
    left.extend(right);
    if left.contains(&666) {
        return Err("666 is not to be combined".into());
    }
    let numbers: Vec<String> = left.iter().map(u64::to_string).collect();
    Ok(format!("{key} {}", numbers.join(" ")).into_bytes())
}

fn reducer() -> Reducer {
    Reducer::new("r", Addresses::ephemeral()).key(group)
}

fn workers(reducer: &Running, count: usize) -> Vec<Running> {
    let worker = |_| {
        Worker::new(&reducer.addresses().db)
            .handler("join", combine(joined))
            .start()
            .expect("a worker")
    };
    (0..count).map(worker).collect()
}

/// The results of a job, in order: `KEY NUMBERS`, or the error.
fn results(job: palm::Job) -> Vec<String> {
    sorted(job.map(|result| match result {
        Ok(value) => {
            let (key, numbers) = parsed(&value);
            format!("{key} {numbers:?}")
        }
        Err(error) => error.to_string(),
    }))
}

/// What comes of a job with a mark at its end.
fn with_end(client: &Client, payloads: &[&str]) -> Vec<String> {
    let payloads: Vec<String> = payloads.iter().map(|&payload| payload.to_owned()).collect();
    let request = client.request("r.join").end_mark().timeout(SOON);
    results(request.job(payloads).expect("a job"))
}

/// What comes of a job with so many results.
fn expecting(client: &Client, results_: usize, payloads: &[&str]) -> Vec<String> {
    let payloads: Vec<String> = payloads.iter().map(|&payload| payload.to_owned()).collect();
    let request = client.request("r.join").expect(results_).timeout(SOON);
    results(request.job(payloads).expect("a job"))
}

#[test]
fn every_value_is_in_the_result_of_its_group_with_any_number_of_workers() {
    let _limit = limit(120, "jobs with 1, 2 and 4 workers");
    for count in [1, 2, 4] {
        let reducer = reducer().start().unwrap();
        let workers = workers(&reducer, count);
        let client = client(&reducer);
        let run = |job: u64| {
            let values = (0..3_000).map(move |n| format!("{} {}", n % 7, n + 10_000 * job));
            let job = client
                .request("r.join")
                .end_mark()
                .timeout(SOON)
                .job(values);
            let results = job.unwrap().map(|result| parsed(&result.unwrap()));
            results.collect::<BTreeMap<_, _>>()
        };
        // Two at once, with the same keys.
        std::thread::scope(|scope| {
            let jobs = [1, 2].map(|job| (job, scope.spawn(move || run(job))));
            for (job, results) in jobs {
                let results = results.join().unwrap();
                assert_eq!(results.len(), 7, "job {job}, {count} workers");
                for (key, numbers) in results {
                    let key: u64 = key.parse().unwrap();
                    let values = (0..3_000).filter(|n| n % 7 == key);
                    let values: Vec<u64> = values.map(|n| n + 10_000 * job).collect();
                    assert_eq!(numbers, values, "key {key}, job {job}, {count} workers");
                }
            }
        });
        for worker in workers {
            worker.stop().unwrap();
        }
        reducer.stop().unwrap();
    }
}

#[test]
fn a_group_is_closed_by_its_number_of_values() {
    let _limit = limit(60, "groups with a number");
    let reducer = reducer().start().unwrap();
    let _workers = workers(&reducer, 2);
    let client = client(&reducer);
    let told_first = ["a 1 #4", "b 5", "a 2", "b 6 #2", "a 3", "a 4"];
    assert_eq!(
        expecting(&client, 2, &told_first),
        ["a [1, 2, 3, 4]", "b [5, 6]"]
    );
    let told_last = ["a 1", "a 2", "a #2", "a 3 #1"];
    assert_eq!(expecting(&client, 2, &told_last), ["a [1, 2]", "a [3]"]);
}

#[test]
fn a_group_is_closed_by_a_message_with_or_without_a_value() {
    let _limit = limit(60, "groups with a marker");
    let reducer = reducer().start().unwrap();
    let _workers = workers(&reducer, 2);
    let client = client(&reducer);
    let payloads = ["a 1", "b 4", "a 2 !", "b 5", "b !", "a 3", "a !", "never !"];
    let expected = ["a [1, 2]", "a [3]", "b [4, 5]"];
    assert_eq!(expecting(&client, 3, &payloads), expected);
}

#[test]
fn the_end_of_a_job_closes_what_is_open_and_ends_the_job() {
    let _limit = limit(60, "the end of a job");
    let reducer = reducer().start().unwrap();
    let _workers = workers(&reducer, 2);
    let client = client(&reducer);
    let mixed = ["a 1", "b 2 !", "c 3 #1", "a 4", "d 5"];
    assert_eq!(
        with_end(&client, &mixed),
        ["a [1, 4]", "b [2]", "c [3]", "d [5]"]
    );
    assert_eq!(with_end(&client, &[]), [""; 0]);
}

#[test]
fn a_combination_that_fails_is_the_one_error_of_its_group() {
    let _limit = limit(60, "a failing combination");
    let reducer = reducer().start().unwrap();
    let _workers = workers(&reducer, 2);
    let client = client(&reducer);
    let payloads = ["a 12", "a 666", "b 1", "a 14", "a 15", "a 16", "b 2"];
    let results = with_end(&client, &payloads);
    assert_eq!(results.len(), 2, "{results:?}");
    assert_eq!(results[0], "b [1, 2]");
    assert!(results[1].contains("666 is not"), "{results:?}");
    // Nothing of it is left for the next.
    assert_eq!(with_end(&client, &["a 1", "a 2"]), ["a [1, 2]"]);
}

#[test]
fn a_key_function_that_panics_is_the_error_of_that_message() {
    let _limit = limit(60, "a panic");
    let reducer = reducer().start().unwrap();
    let _workers = workers(&reducer, 1);
    let client = client(&reducer);
    let results = with_end(&client, &["a 1 #1", "a #x", "b 2", "b 3"]);
    assert_eq!(results.len(), 3, "{results:?}");
    assert_eq!(results[0], "a [1]", "it is known to be whole");
    assert!(results[1].contains("key of 'r' panicked"), "{results:?}");
    assert!(results[2].contains("may have been a value"), "{results:?}");
}

#[test]
fn groups_too_many_are_refused_with_a_word_why() {
    let _limit = limit(60, "refused groups");
    let reducer = reducer().max_groups(2).start().unwrap();
    let _workers = workers(&reducer, 1);
    let client = client(&reducer);
    let payloads = ["a 1 #2", "b 2 #2", "c 3 #2", "b 4", "a 5"];
    let results = expecting(&client, 3, &payloads);
    assert_eq!(results[..2], ["a [1, 5]", "b [2, 4]"]);
    assert!(results[2].contains("no room"), "{results:?}");
    assert!(results[2].contains("2 groups"), "{results:?}");
}

#[test]
fn values_over_the_bound_in_bytes_are_refused_with_a_word_why() {
    let _limit = limit(60, "refused values");
    let reducer = reducer().hold_values(10_000).start().unwrap();
    let _workers = workers(&reducer, 1);
    let client = client(&reducer);
    let large = format!("a 1 {}", " ".repeat(20_000));
    let results = with_end(&client, &[&large, "b 2"]);
    assert_eq!(results.len(), 2, "{results:?}");
    assert_eq!(results[0], "b [2]");
    assert!(results[1].contains("10000 bytes"), "{results:?}");
}

#[test]
fn a_reducer_in_the_middle_of_a_chain_takes_and_passes_on_what_the_others_do() {
    let _limit = limit(60, "a chain");
    let server = Server::new("first", Addresses::ephemeral())
        .function("check", |call| match call.payload() {
            b"bad" => Err("it is bad".into()),
            payload => Ok(payload.to_vec()),
        })
        .threads(4)
        .pipelined(true)
        .start()
        .unwrap();
    let reducer = reducer()
        .after("first", &server.addresses().publish)
        .pipelined(true)
        .start()
        .unwrap();
    let last = Pipeline::new("last", Addresses::ephemeral())
        .after("r", &reducer.addresses().publish)
        .function("praise", |call| {
            let (key, numbers) = parsed(call.payload());
            Ok(format!("good-{key} {}", numbers.iter().sum::<u64>()))
        })
        .start()
        .unwrap();
    let _workers = workers(&reducer, 2);
    let client = Client::builder("first", &server.addresses().db)
        .publish(&last.addresses().publish)
        .connect()
        .unwrap();
    let steps = ["first.check", "r.join", "last.praise"];
    let run = |payloads: Vec<String>| {
        let request = client.request(steps).end_mark().timeout(SOON);
        results(request.job(payloads).unwrap())
    };
    // Four threads: messages, and the mark, overtake each other.
    for _ in 0..20 {
        let numbers = (1..=100).map(|n| format!("{} {n}", n % 2)).collect();
        assert_eq!(run(numbers), ["good-0 [2550]", "good-1 [2500]"]);
    }
    let failed = run(["a 1 #2", "bad", "a 2", "b 3"].map(str::to_owned).into());
    assert_eq!(failed.len(), 3, "{failed:?}");
    assert!(failed[0].contains("it is bad"), "{failed:?}");
    assert!(failed[1].contains("may have been a value"), "{failed:?}");
    assert_eq!(failed[2], "good-a [3]");
}

#[test]
fn what_is_scattered_counts_as_one_message_at_the_end() {
    let _limit = limit(60, "scattered messages");
    let reducer = reducer()
        .scatter(|message: PalmMessage| {
            let text = String::from_utf8(message.payload.clone()).unwrap();
            let pieces: Vec<_> = text.split_terminator(',').map(str::to_owned).collect();
            pieces.into_iter().map(move |piece| PalmMessage {
                payload: piece.into(),
                ..message.clone()
            })
        })
        .start()
        .unwrap();
    let _workers = workers(&reducer, 2);
    let payloads = ["a 1,b 2,a 3", "", "b 4"];
    let results = with_end(&client(&reducer), &payloads);
    assert_eq!(results, ["a [1, 3]", "b [2, 4]"]);
}

#[test]
fn a_mark_goes_past_the_functions_hooks_and_workers_of_the_others() {
    let _limit = limit(60, "marks past the others");
    let run = |running: &Running, path: &str| {
        let client = client(running);
        let request = client.request(path).end_mark().timeout(SOON);
        let job = request.job((0..50).map(|n| n.to_string())).unwrap();
        let results: Vec<_> = job.map(Result::unwrap).collect();
        assert_eq!(results.len(), 50, "{path}");
        assert!(!results.contains(&Vec::new()), "{path}: the mark was run");
    };
    let server = common::echo_server("s").start().unwrap();
    run(&server, "s.echo");
    let master = Master::new("m", Addresses::ephemeral())
        .scatter(|message| [message])
        .gather(|message| [message])
        .start()
        .unwrap();
    let _worker = Worker::new(&master.addresses().db)
        .function("echo", |call| Ok(call.payload().to_vec()))
        .start()
        .unwrap();
    run(&master, "m.echo");
}

#[test]
fn a_job_that_is_cut_short_says_so_after_the_results_of_what_was_sent() {
    let _limit = limit(60, "a job cut short");
    let reducer = reducer().start().unwrap();
    let _workers = workers(&reducer, 1);
    let client = client(&reducer);
    let payloads = ["a 1", "a 2", "panic"].into_iter().inspect(|payload| {
        assert_ne!(*payload, "panic", "on purpose");
    });
    let job = client
        .request("r.join")
        .end_mark()
        .timeout(SOON)
        .job(payloads);
    let mut results: Vec<_> = job.unwrap().collect();
    let error = results.pop().unwrap().unwrap_err();
    assert!(error.to_string().contains("on purpose"), "{error}");
    assert_eq!(results.len(), 1);
    assert_eq!(parsed(results[0].as_ref().unwrap()).1, [1, 2]);
}

#[test]
fn a_job_that_nobody_reads_any_more_leaves_no_group_open() {
    let _limit = limit(60, "a job that is dropped");
    let reducer = reducer().max_groups(1).start().unwrap();
    let _workers = workers(&reducer, 1);
    let client = client(&reducer);
    let slowly = std::iter::repeat_with(|| {
        std::thread::sleep(Duration::from_millis(1));
        "a 1"
    });
    let job = client.request("r.join").end_mark().job(slowly).unwrap();
    until("the group of the first job to be open", || {
        with_end(&client, &["a 2"])[0].contains("no room")
    });
    drop(job);
    until("room for a group", || {
        with_end(&client, &["a 2"]) == ["a [2]"]
    });
}

#[test]
fn a_reader_that_is_slow_holds_up_the_workers_and_gets_every_result() {
    let _limit = limit(120, "a slow reader");
    // Some hundreds of them are in libzmq's queues, and some in the system's buffers.
    const GROUPS: usize = 12_000;
    let reducer = reducer().hold(1 << 20).start().unwrap();
    let done = Arc::new(AtomicUsize::new(0));
    let counter = done.clone();
    let counted = combine(move |left, right| {
        counter.fetch_add(1, Ordering::Relaxed);
        joined(left, right)
    });
    let worker = || {
        Worker::new(&reducer.addresses().db)
            .handler("join", counted.clone())
            .start()
            .unwrap()
    };
    let _workers = [worker(), worker()];
    let at = reducer.addresses();
    let context = zmq::Context::new();
    let results = context.socket(zmq::SUB).unwrap();
    results.set_rcvhwm(1).unwrap();
    results.set_rcvtimeo(SOON.as_millis() as i32).unwrap();
    results.connect(&at.publish).unwrap();
    results.set_subscribe(b"c").unwrap();
    let clients = peer(&context, zmq::PUSH, &at.pull);
    clients.set_sndtimeo(60_000).unwrap();
    let numbers = (0..500).map(|n| n.to_string()).collect::<Vec<_>>();
    let numbers = numbers.join(" ");
    std::thread::scope(|scope| {
        let feeding = scope.spawn(move || {
            for n in 0..2 * GROUPS {
                let value = format!("{} {numbers} #2", n / 2);
                let message = message("c", "r.join", value.as_bytes());
                clients.send(message.encode_frame(), 0).unwrap();
            }
            // What it has not sent would be gone with it.
            clients
        });
        // Nobody reads: so at some time they have nothing to do any more, though most is left.
        let mut before = 0;
        until("the workers to be held up", || {
            std::thread::sleep(Duration::from_millis(500));
            let now = done.load(Ordering::Relaxed);
            let same = now > 0 && now == before;
            before = now;
            same
        });
        assert!(before < GROUPS / 2, "{before} groups were combined");
        let mut groups = std::collections::HashSet::new();
        while groups.len() < GROUPS {
            let (_, result) = published(&results);
            let (key, numbers) = parsed(&result.payload);
            assert_eq!(numbers.len(), 1_000, "{key}");
            assert!(groups.insert(key));
        }
        assert_eq!(done.load(Ordering::Relaxed), GROUPS);
        feeding.join().unwrap();
    });
}

#[test]
fn a_group_to_which_nothing_happens_is_given_up() {
    let _limit = limit(60, "an idle group");
    let reducer = reducer()
        .max_idle(Duration::from_millis(200))
        .start()
        .unwrap();
    let client = client(&reducer);
    let request = client.request("r.join").expect(1).timeout(SOON);
    let mut waiting = request.job(["a 1"]).unwrap();
    let given_up = std::thread::spawn(move || waiting.next());
    until("the group to be given up", || {
        assert_eq!(with_end(&client, &["b 2"]), ["b [2]"]);
        given_up.is_finished()
    });
    let error = given_up.join().unwrap().unwrap().unwrap_err();
    assert!(matches!(error, Error::Refused { .. }), "{error}");
    assert!(error.to_string().contains("nothing has come"), "{error}");
}

/// A worker that is not palm's: it sends back the message with another payload.
#[test]
fn any_worker_that_sends_the_id_back_will_do_and_what_is_strange_is_ignored() {
    let _limit = limit(60, "a raw worker");
    let log = Log::install();
    let reducer = Reducer::new("raw", Addresses::ephemeral());
    let reducer = reducer.key(group).start().unwrap();
    let at = reducer.addresses();
    let context = zmq::Context::new();
    let results = subscriber(&context, &at.publish, "c");
    let pull = peer(&context, zmq::PULL, &at.worker_push);
    let push = peer(&context, zmq::PUSH, &at.worker_pull);
    let clients = peer(&context, zmq::PUSH, &at.pull);
    let sent = |payload: &str| PalmMessage {
        cache: "my key".into(),
        stage: 3,
        ..message("c", "raw.join", payload.as_bytes())
    };
    for payload in ["a 1", "a 2 #2"] {
        clients.send(sent(payload).encode_frame(), 0).unwrap();
    }
    let task = pull.recv_bytes(0).unwrap();
    let mut task = PalmMessage::decode_frame(&task, 1 << 20).unwrap();
    let pair = Pair::decode_payload(&task.payload).unwrap();
    assert_eq!((task.stage, task.function.as_str()), (3, "raw.join"));
    assert_ne!(task.cache, "my key");
    task.payload = [&pair.left[..], b" ", &pair.right].concat();
    let strange = PalmMessage {
        cache: "another id".into(),
        ..task.clone()
    };
    for frame in [&strange, &task, &task] {
        push.send(frame.encode_frame(), 0).unwrap();
    }
    let (topic, result) = published(&results);
    assert_eq!(topic, "c");
    assert_eq!(parsed(&result.payload), ("a".into(), vec![1, 2]));
    let expected = PalmMessage {
        payload: result.payload.clone(),
        ..sent("")
    };
    assert_eq!(result, expected, "all but the payload is as it was");
    let what = "a result of a worker is none of an open task";
    until("a word on strange results", || {
        !log.lines("raw", what).is_empty()
    });
}

#[test]
fn failures_and_marks_of_peers_that_are_not_palm_are_understood_as_they_stand() {
    let _limit = limit(60, "raw failures and marks");
    let reducer = reducer().start().unwrap();
    let at = reducer.addresses();
    let context = zmq::Context::new();
    let results = subscriber(&context, &at.publish, "c");
    let clients = peer(&context, zmq::PUSH, &at.pull);
    let failure = Failure::new(FailureKind::Function, "before");
    let failed = PalmMessage {
        failure: Some(failure.clone()),
        ..message("c", "r.join", b"0")
    };
    // As a pylm worker leaves it that ran a function on it.
    let mark = PalmMessage {
        end: Some(End { messages: 2 }),
        ..message("c", "r.join", b"0")
    };
    let bad_path = message("c", "nonsense", b"a 1");
    for message in [
        &mark,
        &failed,
        &message("c", "r.join", b"a 1 #1"),
        &bad_path,
    ] {
        clients.send(message.encode_frame(), 0).unwrap();
    }
    assert_eq!(published(&results).1.failure, Some(failure));
    assert_eq!(published(&results).1.payload, b"a 1 #1");
    let (_, end) = published(&results);
    assert_eq!(
        (end.end, end.payload),
        (Some(End { messages: 2 }), Vec::new())
    );
    let refused = published(&results).1.failure.unwrap();
    assert_eq!(refused.kind(), FailureKind::BadPath);
}

#[test]
fn a_failure_is_logged_where_it_is_made_and_not_where_it_is_passed_on() {
    let _limit = limit(60, "a log");
    let log = Log::install();
    let first = Reducer::new("makes", Addresses::ephemeral())
        .key(group)
        .max_groups(0)
        .pipelined(true)
        .start()
        .unwrap();
    let second = Reducer::new("passes", Addresses::ephemeral())
        .after("makes", &first.addresses().publish)
        .key(group)
        .start()
        .unwrap();
    let client = Client::builder("makes", &first.addresses().db)
        .publish(&second.addresses().publish)
        .connect()
        .unwrap();
    let request = client.request(["makes.join", "passes.join"]).timeout(SOON);
    let error = request.eval("a 1").unwrap_err();
    assert!(error.to_string().contains("0 groups"), "{error}");
    assert_eq!(log.lines("makes", "0 groups").len(), 1);
    assert_eq!(log.lines("passes", "0 groups"), [""; 0]);
}

#[test]
fn what_is_open_when_it_is_stopped_is_said_to_be_lost() {
    let _limit = limit(60, "a stop");
    let log = Log::install();
    let reducer = Reducer::new("stopped", Addresses::ephemeral());
    let reducer = reducer.key(group).start().unwrap();
    let client = client(&reducer);
    let request = client.request("stopped.join").expect(1);
    let job = request.job(["a 1", "a 2", "b 3 !"]).unwrap();
    assert_eq!(parsed(&job.map(Result::unwrap).next().unwrap()).0, "b");
    reducer.stop().unwrap();
    let lines = log.lines("stopped", "lost:");
    assert!(
        lines[0].contains("1 open groups, with 1 pairs"),
        "{lines:?}"
    );
}

#[test]
fn a_reducer_without_a_key_function_does_not_start() {
    let error = Reducer::new("r", Addresses::ephemeral())
        .start()
        .unwrap_err();
    assert!(matches!(error, Error::Setup { .. }), "{error}");
    assert!(error.to_string().contains("keys of messages"), "{error}");
}
