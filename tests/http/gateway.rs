//! What a gateway answers to what.

use std::process::{Command, Stdio};
use std::time::Duration;

use palm::http::Gateway;
use palm::part::{PubService, PullService, Route, WorkerPullService, WorkerPushService};
use palm::{Assembly, Client, Error, Worker};

use crate::common::{eval, limit, until};
use crate::kit::{FREE, Raw, client, front, functions, place, post, post_text, url};

#[test]
fn a_get_or_a_post_of_a_function_gives_its_result_as_text() {
    let _limit = limit(60, "calls");
    let front = front(|gateway| gateway);
    let text = |status: u16, text: &str| (status, text.to_owned());
    assert_eq!(post_text(&front.url("echo"), "hello"), text(200, "hello"));
    assert_eq!(post_text(&front.url("front.echo"), "x"), text(200, "x"));
    assert_eq!(post_text(&front.url("echo/"), "x"), text(200, "x"));
    assert_eq!(post_text(&front.url("echo?a=b"), "x"), text(200, "x"));
    let binary: Vec<u8> = (0..=255).collect();
    assert_eq!(post(&front.url("echo"), &binary), (200, binary));
    // An empty body is one; none at all is pylm's `No Payload`.
    assert_eq!(post_text(&front.url("echo"), ""), text(200, ""));
    let mut reply = client().get(front.url("echo")).call().unwrap();
    assert_eq!(reply.headers()["content-type"], "text/plain");
    assert_eq!(reply.body_mut().read_to_string().unwrap(), "No Payload");
}

#[test]
fn a_get_may_have_a_body_and_a_body_may_come_in_chunks() {
    let _limit = limit(60, "bodies");
    let front = front(|gateway| gateway);
    let mut raw = Raw::to(front.place());
    raw.send("GET /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab");
    assert_eq!(raw.reply().body, "ab");
    raw.send("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    raw.send("3\r\nabc\r\n").send("2\r\nde\r\n0\r\n\r\n");
    assert_eq!(raw.reply().body, "abcde");
}

#[test]
fn a_connection_is_kept_and_requests_may_be_sent_ahead() {
    let _limit = limit(60, "keep-alive");
    let front = front(|gateway| gateway);
    let mut raw = Raw::to(front.place());
    for number in 0..100 {
        let text = format!("message {number}");
        assert_eq!(raw.post("/echo", &text).reply().body, text);
    }
    raw.post("/echo", "one").post("/echo", "two");
    assert_eq!(raw.reply().body, "one");
    assert_eq!(raw.reply().body, "two");
    raw.send("GET /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert_eq!(raw.reply().body, "No Payload");
    assert!(raw.is_closed());
    // As old clients do.
    let mut raw = Raw::to(front.place());
    raw.send("GET /echo HTTP/1.0\r\n\r\n");
    assert_eq!(raw.reply().body, "No Payload");
    assert!(raw.is_closed());
}

#[test]
fn what_is_no_function_is_not_found() {
    let _limit = limit(60, "404");
    let front = front(|gateway| gateway);
    for path in ["", "/", "a/b", "a.b.c", ".", "a.", ".a", "%00.%20/", "no"] {
        let (status, cause) = post_text(&front.url(path), "x");
        assert_eq!(status, 404, "{path}: {cause}");
    }
    let (status, cause) = post_text(&front.url("nothing"), "x");
    assert_eq!(status, 404);
    assert!(cause.contains("has no function 'nothing'"), "{cause}");
    let (status, cause) = post_text(&front.url("other.echo"), "x");
    assert_eq!(status, 404);
    assert!(cause.contains("'other.echo' was called"), "{cause}");
}

#[test]
fn other_methods_are_not_allowed() {
    let _limit = limit(60, "405");
    let front = front(|gateway| gateway);
    let mut raw = Raw::to(front.place());
    for method in ["PUT", "DELETE", "OPTIONS", "PATCH", "WHATEVER"] {
        raw.send(&format!("{method} /echo HTTP/1.1\r\nHost: x\r\n\r\n"));
        let reply = raw.reply();
        assert_eq!(reply.status, 405, "{method}");
        assert!(reply.head.contains("allow: get, post"), "{}", reply.head);
    }
    let head = client().head(front.url("echo")).call().unwrap();
    assert_eq!(head.status(), 405);
    assert_eq!(raw.post("/echo", "still there").reply().body, "still there");
}

#[test]
fn a_function_that_fails_is_a_bad_gateway_with_its_cause() {
    let _limit = limit(60, "502");
    let front = front(|gateway| gateway);
    let (status, cause) = post_text(&front.url("fail"), "x");
    assert_eq!(status, 502);
    assert!(cause.contains("no luck"), "{cause}");
    let (status, _) = post_text(&front.url("square"), "no number");
    assert_eq!(status, 502);
    assert_eq!(post_text(&front.url("square"), "7"), (200, "7 49".into()));
}

#[test]
fn a_result_that_does_not_come_in_time_is_a_time_out_and_counted_when_it_is_late() {
    let _limit = limit(60, "504");
    let front = front(|gateway| gateway.timeout(Duration::from_millis(100)));
    let (status, cause) = post_text(&front.url("none"), "x");
    assert_eq!(status, 504);
    assert!(cause.contains("no result within 0.1 s"), "{cause}");
    assert_eq!(front.handle.late(), 0);
    assert_eq!(post_text(&front.url("sleep"), "400").0, 504);
    until("the late result", || front.handle.late() == 1);
    // Of several the first counts.
    assert_eq!(post_text(&front.url("two"), "x"), (200, "one".into()));
    until("the second result", || front.handle.late() == 2);
    assert_eq!(front.handle.open(), 0);
}

#[test]
fn clients_and_http_may_call_the_same_master() {
    let _limit = limit(60, "a master with both");
    let gateway = Gateway::new("127.0.0.1:0");
    let handle = gateway.handle();
    let back = Route::through(["Gateway", "Pub"], move |result, ways| {
        ways.send(usize::from(!handle.owns(&result)), result);
    });
    let master = Assembly::new("server")
        .inbound("Pull", PullService::new(FREE), "WorkerPush")
        .inbound("Gateway", gateway, "WorkerPush")
        .inbound("WorkerPull", WorkerPullService::new(FREE), back)
        .outbound("WorkerPush", WorkerPushService::new(FREE))
        .outbound("Pub", PubService::new(FREE))
        .cache("Cache", FREE)
        .preset("name", "server")
        .preset_address("pull_address", "Pull")
        .preset_address("pub_address", "Pub")
        .preset_address("worker_pull_address", "WorkerPull")
        .preset_address("worker_push_address", "WorkerPush")
        .start()
        .unwrap();
    let db = &master.addresses().db;
    let _worker = Worker::new(db).functions(functions()).start().unwrap();
    let client = Client::connect("server", db).unwrap();
    for number in 0..20 {
        let text = number.to_string();
        let square = format!("{number} {}", number * number);
        assert_eq!(
            post_text(&url(&master, "square"), &text),
            (200, square.clone())
        );
        let result = eval(&client, "server.square", text.as_bytes());
        assert_eq!(result.unwrap(), square.as_bytes());
    }
}

#[test]
fn curl_is_a_client() {
    let _limit = limit(60, "curl");
    let front = front(|gateway| gateway.max_message(10_000));
    let curl = |arguments: &[&str]| {
        let mut command = Command::new("curl");
        command.args(["-s", "--noproxy", "*", "-w", " %{http_code}"]);
        let output = command.args(arguments).stdin(Stdio::null()).output();
        let output = output.expect("curl, which tests/run installs");
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(curl(&["-d", "hello", &front.url("echo")]), "hello 200");
    assert_eq!(curl(&[&front.url("echo")]), "No Payload 200");
    assert_eq!(
        curl(&["-I", &front.url("echo")]).split(' ').next_back(),
        Some("405")
    );
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("body");
    // Above 1 MB curl asks first (`Expect: 100-continue`), below it just sends.
    for length in [10_001, 900_000, 3_000_000] {
        std::fs::write(&file, vec![b'x'; length]).unwrap();
        let body = format!("@{}", file.display());
        let said = curl(&["--data-binary", &body, &front.url("echo")]);
        assert!(said.ends_with(" 413"), "{length} bytes: {said}");
    }
}

#[test]
fn an_address_that_cannot_be_bound_is_the_error_of_the_start() {
    let front = front(|gateway| gateway);
    let taken = format!("http://{}", front.place());
    let again = |address: &str| {
        Assembly::new("second")
            .inbound("Gateway", Gateway::new(address), "Pub")
            .outbound("Pub", PubService::new(FREE))
            .inbound("Pull", PullService::new(FREE), "Gateway")
            .start()
    };
    match again(&taken).unwrap_err() {
        Error::Bind { part, address, .. } => {
            assert_eq!((part.as_str(), address.as_str()), ("Gateway", &*taken));
        }
        error => panic!("{error}"),
    }
    for address in ["", "here", "127.0.0.1", ":80", "127.0.0.1:x", "127.0.0.1:*"] {
        let error = again(address).unwrap_err();
        assert!(matches!(error, Error::Address { .. }), "{error}");
        assert!(error.to_string().contains(address), "{error}");
    }
    assert_eq!(
        post(&format!("http://{}/echo", place(&front.running)), "x").0,
        200
    );
}

#[test]
fn a_gateway_that_no_route_leads_back_to_is_put_together_wrongly() {
    let error = Assembly::new("odd")
        .inbound("Gateway", Gateway::new("127.0.0.1:0"), "Pub")
        .outbound("Pub", PubService::new(FREE))
        .start()
        .unwrap_err();
    assert!(matches!(error, Error::Setup { .. }), "{error}");
    assert!(
        error
            .to_string()
            .contains("no route leads back to 'Gateway'"),
        "{error}"
    );
}
