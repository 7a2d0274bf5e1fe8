//! Messages that are POSTed to an `HttpService`.

use std::time::Duration;

use palm::http::HttpService;
use palm::part::{FunctionService, channel};
use palm::{Assembly, PalmMessage, Running};

use crate::common::{limit, message};
use crate::kit::{Raw, client, functions, post};

fn at(running: &Running) -> String {
    running.address_of("Http").expect("it listens").to_owned()
}

/// Functions behind a service that replies.
fn replying(service: HttpService) -> Running {
    Assembly::new("server")
        .inbound("Http", service, "Functions")
        .outbound("Functions", FunctionService::new(functions()).threads(4))
        .replies("Functions", "Http")
        .start()
        .unwrap()
}

fn post_message(url: &str, message: &PalmMessage) -> (u16, PalmMessage) {
    let (status, body) = post(url, message.encode_frame());
    let reply = PalmMessage::decode_frame(&body, usize::MAX);
    (status, reply.expect("a message"))
}

#[test]
fn without_a_way_back_the_reply_says_that_the_message_is_taken() {
    let _limit = limit(60, "messages over HTTP");
    let (outlet, inlet) = channel().unwrap();
    let service = HttpService::new("127.0.0.1:0").start(outlet).unwrap();
    let mut sent = message("me", "server.f", b"data");
    assert_eq!(
        post(&at(&service), sent.encode_frame()),
        (200, b"1".to_vec())
    );
    let taken = inlet.recv().unwrap().into_iter().next().unwrap().frame;
    assert_eq!(taken.cache().len(), 36, "no fresh id");
    sent.cache = "key".into();
    let (status, _) = post(&(at(&service) + "/any/path"), sent.encode_frame());
    assert_eq!(status, 200);
    let taken = inlet.recv().unwrap().into_iter().next().unwrap().frame;
    assert_eq!(taken.to_message(), sent);
    // Messages that nobody takes any more are not said to be taken.
    drop(inlet);
    assert_eq!(post(&at(&service), sent.encode_frame()).0, 503);
    // It cannot go on, and says so.
    let error = service.wait().unwrap_err().to_string();
    assert_eq!(error, "part Http died: nobody takes its messages any more");
}

#[test]
fn with_a_way_back_the_reply_is_the_resulting_message() {
    let _limit = limit(60, "messages over HTTP");
    let server = replying(HttpService::new("127.0.0.1:0"));
    let sent = PalmMessage {
        cache: "key".into(),
        ..message("me", "server.square", b"12")
    };
    let result = PalmMessage {
        payload: b"12 144".to_vec(),
        ..sent.clone()
    };
    assert_eq!(post_message(&at(&server), &sent), (200, result));
    let (status, failed) = post_message(&at(&server), &message("me", "server.fail", b"x"));
    assert_eq!((status, failed.payload.as_slice()), (500, &b"0"[..]));
    assert!(failed.failure.unwrap().cause.contains("no luck"));
    assert_eq!(failed.cache.len(), 36, "no fresh id");
}

#[test]
fn messages_with_the_same_id_have_their_own_replies() {
    let _limit = limit(60, "messages over HTTP");
    let server = replying(HttpService::new("127.0.0.1:0"));
    let url = at(&server);
    std::thread::scope(|scope| {
        for number in 0..50_u64 {
            let url = &url;
            scope.spawn(move || {
                let sent = PalmMessage {
                    cache: "the same".into(),
                    ..message("the same", "server.square", number.to_string().as_bytes())
                };
                let (status, reply) = post_message(url, &sent);
                assert_eq!((status, reply.cache.as_str()), (200, "the same"));
                let square = format!("{number} {}", number * number);
                assert_eq!(reply.payload, square.as_bytes());
            });
        }
    });
}

#[test]
fn what_is_no_message_is_refused() {
    let _limit = limit(60, "no messages");
    let service = HttpService::new("127.0.0.1:0").max_message(1_000);
    let server = replying(service.timeout(Duration::from_millis(100)));
    assert_eq!(post(&at(&server), b"what is this").0, 400);
    assert_eq!(client().get(at(&server)).call().unwrap().status(), 405);
    let large = message("me", "server.echo", &vec![0; 100_000]);
    assert_eq!(post(&at(&server), large.encode_frame()).0, 413);
    let silent = message("me", "server.none", b"x");
    assert_eq!(post(&at(&server), silent.encode_frame()).0, 504);
    let mut raw = Raw::to(at(&server).strip_prefix("http://").unwrap());
    raw.send("POST / HTTP/1.1\r\nHost: x\r\n\r\n");
    // No body at all is the message whose fields are all empty, which calls nothing.
    assert_eq!(raw.reply().status, 500);
}
