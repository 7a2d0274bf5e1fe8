//! After a stop no thread of palm's is left. One test in a process of its own: it counts the
//! threads of the whole process.

mod common;

use common::{client, echo_server, eval, fixed, limit, until};
use palm::part::{
    FunctionService, PullBypass, PullConnection, PushBypass, PushConnection, PushService,
    RepBypass, RepConnection, RepService, Route, SubConnection,
};
use palm::{Addresses, Assembly, Client, Error, Functions, Master, Server, Worker};

/// The names of this process' threads that are palm's.
fn threads() -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").expect("the threads");
    let names = tasks.filter_map(|task| {
        // One that has ended since is none.
        std::fs::read_to_string(task.ok()?.path().join("comm")).ok()
    });
    let mut names: Vec<String> = names.map(|name| name.trim().to_owned()).collect();
    names.retain(|name| name.starts_with("palm:"));
    names
}

fn none_left(after: &str) {
    until(&format!("the threads to end after {after}"), || {
        let left = threads();
        if !left.is_empty() {
            println!("still there: {left:?}");
        }
        left.is_empty()
    });
}

fn a_server() {
    let server = echo_server("s").threads(3).start().unwrap();
    let client = client(&server);
    assert_eq!(eval(&client, "s.echo", b"x").unwrap(), b"x");
    let running = threads();
    for part in ["cache", "functions-1", "link", "s"] {
        let name = format!("palm:{part}");
        // The system keeps the first 15 bytes of a name.
        let cut = &name[..name.len().min(15)];
        assert!(
            running.iter().any(|name| name == cut),
            "{name}: {running:?}"
        );
    }
    drop(client);
    server.stop().unwrap();
}

fn a_master_and_its_worker() {
    let master = Master::new("m", Addresses::ephemeral()).start().unwrap();
    let worker = Worker::new(&master.addresses().db)
        .function("echo", |call| Ok(call.payload().to_vec()))
        .start()
        .unwrap();
    let client = client(&master);
    let job = client.job("m.echo", vec!["x"; 500]).unwrap();
    assert_eq!(job.map(Result::unwrap).count(), 500);
    // The worst order: those on whom the others wait go first.
    master.stop().unwrap();
    worker.stop().unwrap();
}

fn a_job_that_is_dropped_early() {
    let server = echo_server("s").start().unwrap();
    let client = client(&server);
    let mut job = client.job("s.echo", std::iter::repeat("x")).unwrap();
    assert_eq!(job.next().unwrap().unwrap(), b"x");
    drop(job);
    let _never_read = client.job("s.echo", std::iter::repeat("x")).unwrap();
}

/// Every part of the list that the others do not have.
fn parts_of_all_kinds() {
    let free = "tcp://127.0.0.1:*";
    let functions = Functions::new().function("echo", |call| Ok(call.payload().to_vec()));
    let connected = Assembly::new("all")
        .inbound("Rep", RepService::new(free), "Functions")
        .inbound("Rep 2", RepConnection::new(fixed()), "Functions")
        .inbound("Pull", PullConnection::new(fixed()), "Push")
        .inbound("Sub", SubConnection::new(fixed(), "t"), "Push 2")
        .outbound("Functions", FunctionService::new(functions))
        .replies("Functions", Route::through(["Rep", "Rep 2"], |_, _| ()))
        .outbound("Push", PushService::new(free))
        .outbound("Push 2", PushConnection::new(fixed()))
        .bypass("Bypass", RepBypass::new(free, |_| vec![]))
        .bypass("Bypass 2", PullBypass::new(fixed(), |_| ()))
        .bypass("Bypass 3", PushBypass::new(fixed()))
        .start()
        .unwrap();
    let rep = connected.address_of("Rep").unwrap();
    let asks = common::peer(&zmq::Context::new(), zmq::REQ, rep);
    asks.send(common::message("me", "all.echo", b"x").encode_frame(), 0)
        .unwrap();
    // With a request that has no answer yet.
    connected.stop().unwrap();
}

/// With an open request, an idle connection, and a message that is sent again and again.
#[cfg(feature = "http")]
fn http() {
    use palm::http::{Front, HttpConnection, HttpService, HttpWorker};
    use palm::part::channel;

    let address = "127.0.0.1:0";
    let server = echo_server("s").start().unwrap();
    let front = Front::new(&server.addresses().db, address).start().unwrap();
    let worker = HttpWorker::new(address).threads(2).start().unwrap();
    let (outlet, _taken) = channel().unwrap();
    let service = HttpService::new(address).start(outlet).unwrap();
    let (messages, inlet) = channel().unwrap();
    let (outlet, _results) = channel().unwrap();
    let nowhere = HttpConnection::new("http://127.0.0.1:1").retries(9);
    let connection = nowhere.start(inlet, outlet).unwrap();
    let message = palm::Frame::from(&common::message("me", "s.echo", b"x"));
    messages.send([message].into_iter().collect()).unwrap();
    let mut idle = Vec::new();
    for running in [&front, &worker, &service] {
        let part = ["Gateway", "Http"].map(|part| running.address_of(part));
        let url = part.into_iter().flatten().next().unwrap();
        let place = url.strip_prefix("http://").unwrap();
        let mut stream = std::net::TcpStream::connect(place).unwrap();
        std::io::Write::write_all(&mut stream, b"GET /nobody.has_this HTTP/1.1\r\n\r\n").unwrap();
        idle.push(stream);
    }
    for running in [front, worker, service, connection] {
        running.stop().unwrap();
    }
}

fn starts_that_fail() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = format!("tcp://{}", taken.local_addr().unwrap());
    for _ in 0..5 {
        let addresses = Addresses::ephemeral().db(&taken);
        Server::new("s", addresses.clone()).start().unwrap_err();
        Master::new("m", addresses).start().unwrap_err();
    }
    let soon = std::time::Duration::from_millis(100);
    let builder = Client::builder("s", fixed()).timeout(soon);
    assert!(matches!(builder.connect(), Err(Error::Unreachable { .. })));
    let server = echo_server("s").start().unwrap();
    let builder = Client::builder("s", &server.addresses().db).timeout(soon * 2);
    builder.publish(fixed()).connect().unwrap_err();
}

#[test]
fn after_a_stop_no_thread_is_left() {
    let _limit = limit(60, "no thread left");
    for (what, work) in [
        ("a server and a client", a_server as fn()),
        ("a master, a worker and a client", a_master_and_its_worker),
        ("a job that was dropped early", a_job_that_is_dropped_early),
        ("parts of all kinds", parts_of_all_kinds),
        #[cfg(feature = "http")]
        ("HTTP", http),
        ("starts that failed", starts_that_fail),
    ] {
        assert_eq!(threads(), Vec::<String>::new(), "before {what}");
        work();
        none_left(what);
    }
}
