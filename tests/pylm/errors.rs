//! What goes wrong on one side, as the other side hears of it.

use palm::message::Frame;
use palm::{Addresses, Client, Error, Master, PalmMessage};

use crate::support::*;

/// What a pylm client gets when it calls each function with the payload `7`.
fn pylm_client_gets(host: &Host, functions: &[&str]) -> Vec<String> {
    // With a pylm publisher the calls are made more than once until there is an answer; a
    // client of its own for each call keeps their answers apart.
    let at_once = match host.side() {
        Palm => functions.len(),
        Pylm => 1,
    };
    let call = |functions: &[&str]| pylm_client(host, &[&["functions"], functions].concat());
    functions.chunks(at_once).flat_map(call).collect()
}

fn eval(host: &Host, function: &str) -> palm::Result<Vec<u8>> {
    let client = Client::connect("server", host.db())?;
    client.request(function).timeout(SOON).eval("7")
}

fn assert_typed(host: &Host) {
    let failed = eval(host, "server.fail").unwrap_err();
    assert!(
        matches!(&failed, Error::Function { cause, .. } if cause.contains("no luck")),
        "{failed:?}"
    );
    let unknown = eval(host, "server.nope").unwrap_err();
    assert!(
        matches!(unknown, Error::UnknownFunction { .. }),
        "{unknown:?}"
    );
    let wrong = eval(host, "other.square").unwrap_err();
    assert!(matches!(wrong, Error::WrongServer { .. }), "{wrong:?}");
}

#[test]
fn a_pylm_client_of_a_palm_server_gets_0_for_every_error_and_the_server_goes_on() {
    let host = server(Palm);
    let called = [
        "server.fail",
        "server.nope",
        "other.square",
        "server",
        "server.square.twice",
        "server.square",
    ];
    let answers = pylm_client_gets(&host, &called);
    let expected = ["0", "0", "0", "0", "0", "7 49 server"];
    assert_eq!(answers, expected);
}

#[test]
fn a_pylm_client_gets_0_for_every_error_of_a_palm_master_s_workers_and_they_go_on() {
    for side in [Palm, Pylm] {
        let master = master(Palm);
        let mut worker = worker(side, "one", master.db());
        let called = [
            "server.fail",
            "server.nope",
            "server",
            // Not an error: workers look only at what follows the dot.
            "other.square",
        ];
        let answers = pylm_client_gets(&master, &called);
        assert_eq!(answers, ["0", "0", "0", "7 49 one"], "{side:?}");
        assert!(worker.is_alive());
    }
}

#[test]
fn a_pylm_client_gets_0_for_every_error_of_a_pylm_master_s_palm_worker_and_it_goes_on() {
    let master = master(Pylm);
    let mut worker = worker(Palm, "one", master.db());
    // A pylm master passes on what it cannot understand.
    let called = ["server.fail", "server.nope", "server", "server.square"];
    let answers = pylm_client_gets(&master, &called);
    assert_eq!(answers, ["0", "0", "0", "7 49 one"]);
    assert!(worker.is_alive());
}

#[test]
fn a_palm_client_gets_the_typed_error_of_a_palm_server() {
    assert_typed(&server(Palm));
}

#[test]
fn a_palm_client_gets_the_typed_error_of_a_palm_worker_whosever_the_master_is() {
    for side in [Palm, Pylm] {
        let master = master(side);
        let _worker = worker(Palm, "one", master.db());
        assert_typed(&master);
    }
}

#[test]
fn a_job_of_a_palm_client_gets_an_error_for_each_failed_message_and_ends() {
    let master = master(Palm);
    let _workers = ["one", "two"].map(|name| worker(Palm, name, master.db()));
    let client = Client::connect("server", master.db()).unwrap();
    let job = client.job("server.fail", vec!["x"; 100]).unwrap();
    let results: Vec<_> = job.collect();
    assert_eq!(results.len(), 100);
    let failed = |result| matches!(result, Err(Error::Function { .. }));
    assert!(results.into_iter().all(failed));
}

#[test]
fn a_palm_client_gets_0_for_an_error_of_a_pylm_server() {
    // (A pylm server ends on a function that it does not have.)
    let host = server(Pylm);
    assert_eq!(eval(&host, "server.fail").unwrap(), b"0");
    assert_eq!(eval(&host, "server.square").unwrap(), b"7 49 server");
}

#[test]
fn a_palm_client_gets_0_for_every_error_of_a_pylm_worker_whosever_the_master_is() {
    for side in [Palm, Pylm] {
        let master = master(side);
        let _worker = worker(Pylm, "one", master.db());
        assert_eq!(eval(&master, "server.fail").unwrap(), b"0");
        assert_eq!(eval(&master, "server.nope").unwrap(), b"0");
        assert_eq!(eval(&master, "server.square").unwrap(), b"7 49 one");
    }
}

/// That of a pylm worker is a payload `0`, which nobody can tell from a result.
#[test]
fn an_error_of_a_pylm_worker_is_a_result_for_gather_and_one_of_a_palm_worker_is_none() {
    for side in [Palm, Pylm] {
        let hooked = Master::new("server", Addresses::ephemeral());
        let master = palm_master(hooked.gather(|mut message| {
            message.payload.extend(b" gathered");
            [message]
        }));
        let _worker = worker(side, "one", master.db());
        match (side, eval(&master, "server.fail")) {
            (Palm, Err(Error::Function { .. })) => {}
            (Pylm, Ok(payload)) => assert_eq!(payload, b"0 gathered"),
            (_, other) => panic!("{side:?} worker: {other:?}"),
        }
        assert_eq!(
            eval(&master, "server.square").unwrap(),
            b"7 49 one gathered"
        );
    }
}

/// A function path and a stage that make no sense.
type BadPath = (&'static str, i64);

/// Each ends a pylm worker that gets it.
const DEADLY: [BadPath; 8] = [
    ("", 0),
    ("nodot", 0),
    (" ", 0),
    ("server.square ", 1),
    ("server.square  server.square", 2),
    ("server.square nodot", 1),
    ("server.square server.square", 2),
    ("server.square server.square", -3),
];

/// These, too: pylm separates steps at any white space once there is a space.
const DEADLY_WHITE_SPACE: [BadPath; 3] = [
    ("a\tserver.square server.square", 0),
    ("a\u{a0}server.square server.square", 0),
    ("a.b\nserver server.square", 1),
];

/// A well-formed message with a path that is not. The number is part of its client's id.
fn message(number: usize, (function, stage): BadPath) -> Vec<u8> {
    let message = PalmMessage {
        client: format!("raw {number}"),
        function: function.to_owned(),
        stage,
        payload: b"7".to_vec(),
        ..PalmMessage::default()
    };
    message.encode_frame()
}

/// Frames that are no messages, so that nobody can be told.
fn garbage() -> Vec<Vec<u8>> {
    vec![
        vec![],
        vec![0xff],
        b"no message at all".to_vec(),
        vec![0x12, 0x05, b'x'],                   // Ends within a field.
        vec![0x22, 0x02, 0xff, 0xfe],             // A function that is not UTF-8.
        vec![0x20, 0x01],                         // A function that is a number.
        vec![0x18, 0xff, 0xff, 0xff, 0xff, 0xff], // A stage that does not end.
        vec![0x00; 64],
    ]
}

/// Pushes garbage and bad paths to a palm master with a pylm worker, and sees that each path is
/// answered with `0`, and that the worker does not hear of any.
fn send_to_a_palm_master_with_a_pylm_worker(garbage: &[Vec<u8>], paths: &[BadPath]) {
    let master = master(Palm);
    let mut worker = worker(Pylm, "one", master.db());
    let context = zmq::Context::new();
    let answers = context.socket(zmq::SUB).unwrap();
    answers.connect(&master.addresses().publish).unwrap();
    answers.set_subscribe(b"raw ").unwrap();
    answers.set_rcvtimeo(SOON.as_millis() as i32).unwrap();
    let push = context.socket(zmq::PUSH).unwrap();
    push.connect(&master.addresses().pull).unwrap();
    for frame in garbage {
        push.send(frame, 0).unwrap();
    }
    for (number, path) in paths.iter().enumerate() {
        push.send(message(number, *path), 0).unwrap();
    }
    for (number, path) in paths.iter().enumerate() {
        let answer = answers.recv_multipart(0);
        let answer = answer.unwrap_or_else(|error| panic!("no answer to {path:?}: {error}"));
        let frame = Frame::parse(answer[1].clone(), 1_000).unwrap();
        assert_eq!(answer[0], format!("raw {number}").as_bytes());
        assert_eq!(frame.payload(), b"0", "to {path:?}");
    }
    check_squares(&squares(Palm, &master, 100), 100);
    assert!(worker.is_alive());
}

#[test]
fn neither_garbage_nor_a_bad_path_gets_through_a_palm_master_to_a_pylm_worker() {
    send_to_a_palm_master_with_a_pylm_worker(&garbage(), &DEADLY);
}

#[test]
fn no_path_with_odd_white_space_gets_through_a_palm_master_to_a_pylm_worker() {
    send_to_a_palm_master_with_a_pylm_worker(&[], &DEADLY_WHITE_SPACE);
}
