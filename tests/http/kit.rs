//! Gateways to test, and HTTP clients: an ordinary one, and one that can misbehave.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use palm::http::{Gateway, GatewayHandle, HttpConnection};
use palm::part::{FunctionService, PubService, PullService, WorkerPullService, WorkerPushService};
use palm::{Assembly, BoxError, Call, Functions, Reply, Running, Worker};

use crate::common::SOON;

pub const FREE: &str = "tcp://127.0.0.1:*";

/// What servers and workers run here.
pub fn functions() -> Functions {
    Functions::new()
        .function("echo", |call: &Call<'_>| Ok(call.payload().to_vec()))
        .function("square", |call: &Call<'_>| {
            let number: u64 = std::str::from_utf8(call.payload())?.parse()?;
            Ok(format!("{number} {}", number * number))
        })
        .function("fail", |_: &Call<'_>| -> Result<Reply, BoxError> {
            Err("no luck".into())
        })
        .function("none", |_: &Call<'_>| Ok(()))
        .function("two", |_: &Call<'_>| {
            Ok(vec![b"one".to_vec(), b"two".to_vec()])
        })
        .function("large", |call: &Call<'_>| {
            let length = std::str::from_utf8(call.payload())?.parse()?;
            Ok(vec![b'x'; length])
        })
        .function("sleep", |call: &Call<'_>| {
            let time = std::str::from_utf8(call.payload())?.parse()?;
            std::thread::sleep(Duration::from_millis(time));
            Ok(b"slept")
        })
}

/// A gateway before functions in the same component.
pub struct Front {
    pub running: Running,
    pub handle: GatewayHandle,
}

/// A gateway as it should be, before the functions of a component `front`.
pub fn front(gateway: impl FnOnce(Gateway) -> Gateway) -> Front {
    let gateway = gateway(Gateway::new("127.0.0.1:0").server("front"));
    let handle = gateway.handle();
    let running = Assembly::new("front")
        .inbound("Gateway", gateway, "Functions")
        .outbound("Functions", FunctionService::new(functions()).threads(4))
        .replies("Functions", "Gateway")
        .start()
        .unwrap();
    Front { running, handle }
}

/// A master `server` whose gateway is all that messages come from, and its workers.
pub fn master(gateway: Gateway, workers: usize) -> (Running, Vec<Running>) {
    let master = Assembly::new("server")
        .inbound("Gateway", gateway, "WorkerPush")
        .inbound("WorkerPull", WorkerPullService::new(FREE), "Gateway")
        .outbound("WorkerPush", WorkerPushService::new(FREE))
        .cache("Cache", FREE)
        .preset_address("worker_pull_address", "WorkerPull")
        .preset_address("worker_push_address", "WorkerPush")
        .start()
        .unwrap();
    let worker = || Worker::new(&master.addresses().db).functions(functions());
    let workers = (0..workers).map(|_| worker().start().unwrap()).collect();
    (master, workers)
}

/// A server `server` that has its functions run over HTTP.
pub fn server_over(connection: HttpConnection) -> Running {
    Assembly::new("server")
        .inbound("Pull", PullService::new(FREE), "Elsewhere")
        .outbound("Elsewhere", connection)
        .replies("Elsewhere", "Pub")
        .outbound("Pub", PubService::new(FREE))
        .cache("Cache", FREE)
        .preset("name", "server")
        .preset_address("pull_address", "Pull")
        .preset_address("pub_address", "Pub")
        .start()
        .unwrap()
}

impl Front {
    pub fn url(&self, function: &str) -> String {
        url(&self.running, function)
    }

    /// `HOST:PORT`.
    pub fn place(&self) -> &str {
        place(&self.running)
    }
}

/// The URL of a function behind the gateway of a component.
pub fn url(running: &Running, function: &str) -> String {
    let address = running.address_of("Gateway").expect("a gateway");
    format!("{address}/{function}")
}

/// Where the gateway of a component listens, as `HOST:PORT`.
pub fn place(running: &Running) -> &str {
    let address = running.address_of("Gateway").expect("a gateway");
    address.strip_prefix("http://").expect("a URL")
}

/// An ordinary client that keeps its connections.
pub fn client() -> ureq::Agent {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(3 * SOON))
        .proxy(None)
        .build()
        .new_agent()
}

/// Posts a body, and gives the status and the body of the reply.
pub fn post(url: &str, body: impl AsRef<[u8]>) -> (u16, Vec<u8>) {
    post_by(&client(), url, body)
}

/// The same by a certain client.
pub fn post_by(client: &ureq::Agent, url: &str, body: impl AsRef<[u8]>) -> (u16, Vec<u8>) {
    let mut response = client.post(url).send(body.as_ref()).expect("a reply");
    let status = response.status().as_u16();
    let body = response.body_mut().with_config().limit(u64::MAX);
    (status, body.read_to_vec().unwrap())
}

/// The status and the body as text.
pub fn post_text(url: &str, body: impl AsRef<[u8]>) -> (u16, String) {
    let (status, body) = post(url, body);
    (status, String::from_utf8(body).expect("a text"))
}

/// A connection of which every byte is up to the test. None of its calls waits for ever.
pub struct Raw(pub TcpStream);

/// A reply as it came.
#[derive(Debug)]
pub struct RawReply {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Raw {
    pub fn to(place: &str) -> Self {
        let stream = TcpStream::connect(place).expect("a connection");
        stream.set_read_timeout(Some(SOON)).expect("a time-out");
        stream.set_write_timeout(Some(SOON)).expect("a time-out");
        Self(stream)
    }

    pub fn send(&mut self, text: &str) -> &mut Self {
        self.0.write_all(text.as_bytes()).expect("it is sent");
        self
    }

    /// Sends a whole request of one.
    pub fn post(&mut self, path: &str, body: &str) -> &mut Self {
        let length = body.len();
        let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n");
        self.send(&(head + body))
    }

    /// Reads one reply. (That to a HEAD has no body.)
    pub fn reply(&mut self) -> RawReply {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.0.read_exact(&mut byte).expect("a head");
            head.extend(byte);
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        self.0.read_exact(&mut body).expect("a body");
        let body = String::from_utf8(body).unwrap();
        RawReply { status, head, body }
    }

    /// Waits until the other side has closed.
    pub fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        match self.0.read_to_end(&mut rest) {
            Ok(_) => true,
            Err(error) => error.kind() == ErrorKind::ConnectionReset,
        }
    }
}
