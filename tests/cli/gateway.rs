//! `palm gateway`

#[cfg(not(feature = "http"))]
#[test]
fn without_the_feature_it_says_what_it_needs() {
    let output = crate::kit::palm(&["gateway"], b"");
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("--features http"), "{said}");
}

#[cfg(feature = "http")]
mod with_http {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::time::{Duration, Instant};

    use crate::kit::{BOUND, Palm, palm};

    /// A gateway before this master, and where it listens.
    fn gateway(master: &Palm, more: &[&str]) -> (Palm, String) {
        let arguments = [
            "gateway",
            "-i",
            "--db",
            master.db(),
            "--listen",
            "127.0.0.1:0",
        ];
        let gateway = Palm::start(&[&arguments[..], more].concat());
        let line = gateway.line_with("ready: ");
        let place = line.rsplit("http://").next().unwrap().to_owned();
        (gateway, place)
    }

    /// The head and the body of a reply, in lower case.
    fn post(place: &str, path: &str, body: &str) -> (String, String) {
        let mut stream = TcpStream::connect(place).unwrap();
        stream.set_read_timeout(Some(BOUND)).unwrap();
        let length = body.len();
        let head = format!("POST {path} HTTP/1.0\r\nContent-Length: {length}\r\n\r\n{body}");
        stream.write_all(head.as_bytes()).unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        let (head, body) = reply.split_once("\r\n\r\n").unwrap();
        (head.to_lowercase(), body.to_owned())
    }

    #[test]
    fn it_puts_http_before_a_master() {
        let master = Palm::master(&[]);
        let _worker = master.worker(&["tr", "a-z", "A-Z"]);
        let (gateway, place) = gateway(&master, &["--max", "100"]);
        for path in ["/any", "/server.any"] {
            let (head, body) = post(&place, path, "a message");
            assert!(head.starts_with("http/1.0 200"), "{head}");
            assert_eq!(body, "A MESSAGE");
        }
        let (head, _) = post(&place, "/any", &"x".repeat(101));
        assert!(head.starts_with("http/1.0 413"), "{head}");
        let log = gateway.stop();
        assert!(log.contains("calls 'server'"), "{log}");
    }

    #[test]
    fn a_result_that_takes_too_long_is_a_time_out() {
        let master = Palm::master(&[]);
        let _worker = master.worker(&["sleep", "1"]);
        let (_gateway, place) = gateway(&master, &["--timeout", "0.3"]);
        assert!(post(&place, "/any", "").0.starts_with("http/1.0 504"));
    }

    #[test]
    fn a_signal_ends_it_within_a_second() {
        let master = Palm::master(&[]);
        for signal in ["INT", "TERM"] {
            let (mut gateway, place) = gateway(&master, &[]);
            let mut open = TcpStream::connect(&place).unwrap();
            open.write_all(b"GET /any HTTP/1.1\r\nHost: x\r\n\r\n")
                .unwrap();
            let start = Instant::now();
            gateway.signal(signal);
            assert_eq!(gateway.wait(BOUND).code(), Some(0));
            let took = start.elapsed();
            assert!(took < Duration::from_secs(1), "it took {took:?}");
        }
    }

    #[test]
    fn what_it_cannot_do_it_says() {
        let master = Palm::master(&[]);
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = taken.local_addr().unwrap().to_string();
        for (arguments, code, expected) in [
            (&["--listen", &taken][..], 1, taken.as_str()),
            (&["--listen", "here"], 2, "'here'"),
            (
                &["--db", "tcp://127.0.0.1:1", "--timeout", "0.2"],
                1,
                "127.0.0.1:1",
            ),
            (&["--timeout", "-1"], 2, "-1 seconds"),
            (&["--what"], 2, "--what"),
        ] {
            let arguments = match arguments[0] {
                "--listen" => [&["gateway", "--db", master.db()], arguments].concat(),
                _ => [&["gateway"], arguments].concat(),
            };
            let output = palm(&arguments, b"");
            let said = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(code), "{said}");
            assert!(said.contains(expected), "{said}");
        }
    }
}
