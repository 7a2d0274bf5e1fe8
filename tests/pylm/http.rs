//! HTTP: each piece of palm's with its counterparts of pylm's.

use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use palm::http::{Front, Gateway, HttpConnection, HttpService, HttpWorker};
use palm::part::{
    FunctionService, PubService, PullService, Received, SubConnection, WorkerPullService,
    WorkerPushService, channel,
};
use palm::{Assembly, Client, Error, Frame, PalmMessage, Running};

use crate::support::*;

const COUNT: usize = 50;
const FREE: &str = "tcp://127.0.0.1:*";

/// A free `HOST:PORT`, and the port by itself.
fn free_place() -> (String, String) {
    let address = free_addresses().pull;
    let place = address.strip_prefix("tcp://").unwrap().to_owned();
    let port = place.rsplit(':').next().unwrap().to_owned();
    (place, port)
}

/// Starts a Python program, and waits until somebody listens at `place`.
fn listening(name: &str, command: Command, place: &str) -> Peer {
    let peer = Peer::start(name, command);
    let deadline = Instant::now() + SOON;
    while TcpStream::connect(place).is_err() {
        assert!(Instant::now() < deadline, "{}", peer.transcript());
        std::thread::sleep(Duration::from_millis(10));
    }
    peer
}

/// pylm's web worker, and its URL.
fn pylm_web_worker() -> (Peer, String) {
    let (place, port) = free_place();
    let mut command = script("http_worker.py");
    command.args(["--port", &port]);
    // Not by a connection: it has one thread, and waits for what a connection sends.
    let peer = Peer::start("pylm web worker", command);
    let bound = |lines: &[String]| lines.iter().any(|line| line == "bound");
    peer.wait_for("it to be bound", SOON, bound).unwrap();
    (peer, format!("http://{place}"))
}

fn palm_web_worker() -> Running {
    let worker = HttpWorker::new("127.0.0.1:0").name("web");
    worker.functions(functions()).start().unwrap()
}

fn url(of: &Running, part: &str) -> String {
    of.address_of(part).unwrap().to_owned()
}

/// A server whose functions run at a URL.
fn palm_http_master(url: &str) -> Running {
    Assembly::new("server")
        .inbound("Pull", PullService::new(FREE), "Http")
        .outbound("Http", HttpConnection::new(url))
        .replies("Http", "Pub")
        .outbound("Pub", PubService::new(FREE))
        .cache("Cache", FREE)
        .preset("name", "server")
        .preset_address("pull_address", "Pull")
        .preset_address("pub_address", "Pub")
        .start()
        .unwrap()
}

/// The same of pylm's.
fn pylm_http_master(url: &str) -> Host {
    let at = free_addresses();
    let mut command = script("http_master.py");
    command.args(["--name", "server", "--pull", &at.pull, "--pub", &at.publish]);
    command.args(["--db", &at.db, "--url", url]);
    let place = at.pull.strip_prefix("tcp://").unwrap();
    Host::Pylm(listening("pylm http master", command, place), at)
}

/// The status and the body of the reply to a call of a function by HTTP.
fn post(url: &str, body: &[u8]) -> (u16, String) {
    let agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(SOON))
        .proxy(None)
        .build()
        .new_agent();
    let mut response = agent.post(url).send(body).unwrap();
    let status = response.status().as_u16();
    (status, response.body_mut().read_to_string().unwrap())
}

/// Calls `square` of some numbers, four at once, and checks the results. (Of more, pylm's gateway
/// refuses some: five connections may wait at it.)
fn squares_over_http(url: &str) {
    let call = |number: usize| {
        let (status, line) = post(url, number.to_string().as_bytes());
        assert_eq!(status, 200, "{line}");
        line
    };
    let lines: Vec<String> = std::thread::scope(|scope| {
        let share = |first: usize| (first..COUNT).step_by(4).map(call).collect::<Vec<_>>();
        let clients: Vec<_> = (0..4)
            .map(|first| scope.spawn(move || share(first)))
            .collect();
        let lines = clients
            .into_iter()
            .flat_map(|client| client.join().unwrap());
        lines.collect()
    });
    check_squares(&lines, COUNT);
}

#[test]
fn pylms_web_worker_runs_functions_behind_palms_connection() {
    let (_worker, at) = pylm_web_worker();
    let master = Host::Palm(palm_http_master(&at));
    for client in [Palm, Pylm] {
        let done = check_squares(&squares(client, &master, COUNT), COUNT);
        assert_eq!(done["web"], COUNT);
    }
    let client = Client::connect("server", master.db()).unwrap();
    match client.eval("server.fail", "x").unwrap_err() {
        Error::Function { cause, .. } => {
            assert!(cause.contains("500") && cause.contains(&at), "{cause}");
        }
        error => panic!("{error}"),
    }
}

#[test]
fn palms_web_worker_runs_functions_behind_pylms_connection() {
    let worker = palm_web_worker();
    let mut master = pylm_http_master(&url(&worker, "Http"));
    for client in [Palm, Pylm] {
        let done = check_squares(&squares(client, &master, COUNT), COUNT);
        assert_eq!(done["web"], COUNT);
    }
    // Of a failure, pylm's connection makes the message unchanged, and goes on.
    let client = Client::connect("server", master.db()).unwrap();
    let call = |function: &str| client.request(function).timeout(SOON).eval("7");
    assert_eq!(call("server.fail").unwrap(), b"7");
    assert_eq!(call("server.square").unwrap(), b"7 49 web");
    assert!(master.is_alive());
}

#[test]
fn palms_service_that_replies_runs_functions_behind_pylms_connection() {
    let server = Assembly::new("server")
        .inbound("Http", HttpService::new("127.0.0.1:0"), "Functions")
        .outbound("Functions", FunctionService::new(functions()))
        .replies("Functions", "Http")
        .start()
        .unwrap();
    let master = pylm_http_master(&url(&server, "Http"));
    check_squares(&squares(Palm, &master, COUNT), COUNT);
}

#[test]
fn pylms_service_takes_what_palms_connection_posts() {
    let (place, port) = free_place();
    let at = free_addresses().publish;
    let mut command = script("http_service.py");
    command.args(["--port", &port, "--pub", &at]);
    let _service = listening("pylm http service", command, &place);
    let (outlet, published) = channel().unwrap();
    let _sub = SubConnection::new(&at, "me").start(outlet).unwrap();
    let (messages, inlet) = channel().unwrap();
    let (outlet, results) = channel().unwrap();
    let connection = HttpConnection::new(format!("http://{place}")).parallel(1);
    let _connection = connection.start(inlet, outlet).unwrap();
    let message = |payload: &[u8]| PalmMessage {
        client: "me".into(),
        function: "server.f".into(),
        payload: payload.to_vec(),
        ..PalmMessage::default()
    };
    // Until the subscription stands, which pylm does not tell.
    let deadline = Instant::now() + SOON;
    let taken = loop {
        assert!(Instant::now() < deadline, "nothing is published");
        let batch = [Frame::from(&message(b"hello"))].into_iter().collect();
        messages.send(batch).unwrap();
        if let Received::Batch(batch) = published.recv_timeout(Duration::from_millis(200)) {
            break batch.into_iter().next().unwrap().frame;
        }
    };
    assert_eq!(taken.payload(), b"hello");
    // That it is taken is no result.
    assert_eq!(results.try_recv(), Received::Nothing);
}

#[test]
fn workers_of_both_sides_work_behind_palms_gateway() {
    let gateway = Gateway::new("127.0.0.1:0");
    let master = Assembly::new("server")
        .inbound("Gateway", gateway, "WorkerPush")
        .inbound("WorkerPull", WorkerPullService::new(FREE), "Gateway")
        .outbound("WorkerPush", WorkerPushService::new(FREE))
        .cache("Cache", FREE)
        .preset_address("worker_pull_address", "WorkerPull")
        .preset_address("worker_push_address", "WorkerPush")
        .start()
        .unwrap();
    let db = &master.addresses().db;
    let at = url(&master, "Gateway");
    let alone = worker(Pylm, "one", db);
    squares_over_http(&format!("{at}/square"));
    // An error of pylm's is nothing but this.
    assert_eq!(post(&format!("{at}/fail"), b"x"), (200, "0".to_owned()));
    let _other = worker(Palm, "two", db);
    squares_over_http(&format!("{at}/square"));
    drop(alone);
    drop(master);
}

#[test]
fn workers_of_both_sides_work_behind_pylms_gateway() {
    let (place, port) = free_place();
    let at = free_addresses();
    let mut command = script("gateway.py");
    command.args(["--name", "server", "--port", &port, "--db", &at.db]);
    command.args(["--wpush", &at.worker_push, "--wpull", &at.worker_pull]);
    let _gateway = listening("pylm gateway", command, &place);
    let _one = worker(Palm, "one", &at.db);
    squares_over_http(&format!("http://{place}/square"));
    let _two = worker(Pylm, "two", &at.db);
    squares_over_http(&format!("http://{place}/square"));
}

#[test]
fn palms_gateway_stands_before_a_pylm_master() {
    let master = master(Pylm);
    let _one = worker(Palm, "one", master.db());
    let _two = worker(Pylm, "two", master.db());
    let front = Front::new(master.db(), "127.0.0.1:0").start().unwrap();
    let at = url(&front, "Gateway");
    squares_over_http(&format!("{at}/square"));
    squares_over_http(&format!("{at}/server.square"));
}

#[test]
fn palms_gateway_stands_before_a_pylm_server() {
    let server = server(Pylm);
    let front = Front::new(server.db(), "127.0.0.1:0").start().unwrap();
    squares_over_http(&format!("{}/square", url(&front, "Gateway")));
}
