//! What fails in a server reaches whom it concerns, and stops nothing.

mod common;

use std::time::Duration;

use common::{SOON, client, echo_server, eval, limit, message, published, until};
use palm::{Addresses, BoxError, Error, Server};

fn failing_server() -> palm::Running {
    echo_server("s")
        .function("fail", |_| -> Result<(), BoxError> {
            Err("no luck today".into())
        })
        .function("panic", |_| -> Result<(), BoxError> {
            panic!("lost my {}", "head")
        })
        .function("index", |call| Ok(vec![call.payload()[1_000]]))
        .start()
        .unwrap()
}

#[test]
fn errors_and_panics_reach_their_caller_and_the_server_goes_on() {
    let _limit = limit(60, "errors and panics");
    let server = failing_server();
    let client = client(&server);
    for round in 0..50 {
        let failed = |function: &str, text: &str| {
            match eval(&client, function, b"x").unwrap_err() {
                Error::Function {
                    function: of,
                    cause,
                } => {
                    assert_eq!(of, function);
                    assert!(cause.contains(text), "{cause}");
                }
                other => panic!("{function}: {other}"),
            };
        };
        failed("s.fail", "no luck today");
        failed("s.panic", "lost my head");
        failed("s.index", "out of bounds");
        match eval(&client, "s.nope", b"x").unwrap_err() {
            Error::UnknownFunction { function, cause } => {
                assert_eq!(function, "s.nope");
                assert!(cause.contains("'s'") && cause.contains("'nope'"), "{cause}");
            }
            other => panic!("{other}"),
        }
        assert_eq!(eval(&client, "s.echo", &[round]).unwrap(), [round]);
    }
    assert!(!server.is_over());
}

#[test]
fn a_job_goes_on_after_the_error_of_one_message() {
    let server = Server::new("s", Addresses::ephemeral())
        .function("odd", |call| match call.payload()[0] % 2 {
            1 => Ok(call.payload().to_vec()),
            _ => Err("even".into()),
        })
        .start()
        .unwrap();
    let client = client(&server);
    let request = client.request("s.odd").timeout(SOON);
    let results: Vec<_> = request.job((0..100).map(|n| [n])).unwrap().collect();
    assert_eq!(results.len(), 100);
    for (number, result) in (0..).zip(results) {
        match result {
            Ok(payload) => assert_eq!(payload, [number]),
            Err(Error::Function { .. }) => assert_eq!(number % 2, 0),
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn a_peer_that_is_not_palm_gets_0_for_every_failure() {
    let server = failing_server();
    let context = zmq::Context::new();
    let topic = "raw-client";
    let results = common::subscriber(&context, &server.addresses().publish, topic);
    let push = common::peer(&context, zmq::PUSH, &server.addresses().pull);
    let functions = ["s.fail", "s.panic", "s.nope", "other.echo", "garbage", ""];
    for function in functions {
        push.send(message(topic, function, b"x").encode_frame(), 0)
            .unwrap();
    }
    for function in functions {
        let (to, result) = published(&results);
        assert_eq!((to.as_str(), result.client.as_str()), (topic, topic));
        assert_eq!(result.function, function);
        assert_eq!(result.payload, b"0", "{function}");
        assert!(result.failure.is_some(), "{function}");
    }
}

#[test]
fn a_panicking_route_is_the_error_of_its_message_only() {
    let server = echo_server("s")
        .route(|message| {
            assert_ne!(message.payload, b"bad", "cannot route this");
            message.client.clone()
        })
        .start()
        .unwrap();
    let client = client(&server);
    let results = client.job("s.echo", ["a", "bad", "b"]).unwrap();
    let results: Vec<_> = results.collect();
    assert_eq!(results[0].as_deref().unwrap(), b"a");
    match &results[1] {
        Err(Error::Function { cause, .. }) => {
            assert!(cause.contains("route of 's'"), "{cause}");
            assert!(cause.contains("cannot route this"), "{cause}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(results[2].as_deref().unwrap(), b"b");
}

#[test]
fn a_result_over_the_limit_is_an_error_and_at_the_limit_is_none() {
    let server = Server::new("s", Addresses::ephemeral())
        .function("size", |call| {
            let size: usize = std::str::from_utf8(call.payload())?.parse()?;
            Ok(vec![7; size])
        })
        .max_message(1_000)
        .start()
        .unwrap();
    let client = client(&server);
    assert_eq!(eval(&client, "s.size", b"1000").unwrap().len(), 1_000);
    match eval(&client, "s.size", b"1001").unwrap_err() {
        Error::Function { cause, .. } => assert!(cause.contains("1001"), "{cause}"),
        other => panic!("{other}"),
    }
    match eval(&client, "s.size", b"no number").unwrap_err() {
        Error::Function { cause, .. } => assert!(cause.contains("invalid digit"), "{cause}"),
        other => panic!("{other}"),
    }
}

#[test]
fn a_message_over_the_limit_of_the_server_does_not_stop_it() {
    let _limit = limit(30, "a message over the limit");
    let server = echo_server("s").max_message(1_000).start().unwrap();
    let client = client(&server);
    assert_eq!(eval(&client, "s.echo", &[7; 1_000]).unwrap().len(), 1_000);
    // A little over, and far over, which would cost the connection if it were sent.
    for size in [1_001, 80_000, 10_000_000] {
        match eval(&client, "s.echo", &vec![0; size]).unwrap_err() {
            Error::Refused { cause, .. } => {
                let says = format!("a message of {size} bytes is over the limit of 1000 bytes");
                assert!(cause.contains(&says), "{cause}");
            }
            other => panic!("{size}: {other}"),
        }
        let soon = Duration::from_millis(300);
        until("the server to answer again", || {
            let again = client.request("s.echo").timeout(soon * 3);
            again.eval(b"x").is_ok_and(|result| result == b"x")
        });
    }
    assert!(!server.is_over());
}

#[test]
fn what_is_said_of_a_message_over_the_limit_is_one_small_message() {
    let _limit = limit(30, "one failure for a message");
    let server = echo_server("s").max_message(1_000).start().unwrap();
    let context = zmq::Context::new();
    let results = common::subscriber(&context, &server.addresses().publish, "raw");
    let push = common::peer(&context, zmq::PUSH, &server.addresses().pull);
    push.send(message("raw", "s.echo", &[0; 100_000]).encode_frame(), 0)
        .unwrap();
    push.send(message("raw", "s.echo", b"next").encode_frame(), 0)
        .unwrap();
    let (_, failed) = published(&results);
    assert_eq!(failed.payload, b"0");
    assert!(failed.failure.is_some());
    assert!(failed.encode_frame().len() < 500);
    assert_eq!(published(&results).1.payload, b"next");
}
