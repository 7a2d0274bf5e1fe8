//! HTTP before a server that runs elsewhere.

use std::time::Duration;

use palm::http::Front;
use palm::{Addresses, Error, Hub, Master, Server, Worker};

use crate::common::{fixed_addresses, limit, start_again, until};
use crate::kit::{Raw, client, functions, place, post_by, post_text, url};

const CLIENTS: usize = 50;
const CALLS: usize = 40;

fn front(db: &str) -> Front {
    Front::new(db, "127.0.0.1:0")
}

#[test]
fn many_clients_call_a_master_through_it() {
    let _limit = limit(120, "a front");
    let master = Master::new("server", Addresses::ephemeral())
        .start()
        .unwrap();
    let db = &master.addresses().db;
    let worker = || Worker::new(db).functions(functions()).start().unwrap();
    let _workers = [worker(), worker()];
    let front = front(db).start().unwrap();
    let url = url(&front, "square");
    std::thread::scope(|scope| {
        for number in 0..CLIENTS {
            let url = &url;
            scope.spawn(move || {
                let client = client();
                for call in 0..CALLS {
                    let n = number * CALLS + call;
                    let (status, result) = post_by(&client, url, n.to_string());
                    let result = String::from_utf8(result).unwrap();
                    assert_eq!((status, result), (200, format!("{n} {}", n * n)));
                }
            });
        }
    });
}

#[test]
fn a_function_without_a_server_is_one_of_the_server_behind() {
    let _limit = limit(60, "a front");
    let server = Server::new("my_server", Addresses::ephemeral());
    let server = server.functions(functions()).start().unwrap();
    let front = front(&server.addresses().db).start().unwrap();
    assert_eq!(post_text(&url(&front, "echo"), "x"), (200, "x".into()));
    assert_eq!(post_text(&url(&front, "my_server.echo"), "x").0, 200);
    assert_eq!(post_text(&url(&front, "other.echo"), "x").0, 404);
    assert_eq!(post_text(&url(&front, "fail"), "x").0, 502);
}

#[test]
fn results_may_come_from_the_last_step_of_a_chain() {
    let _limit = limit(60, "a front");
    let first = Server::new("first", Addresses::ephemeral())
        .functions(functions())
        .pipelined(true)
        .start()
        .unwrap();
    let last = Hub::new("last", Addresses::ephemeral())
        .after("first", &first.addresses().publish)
        .start()
        .unwrap();
    let worker = Worker::new(&last.addresses().db);
    let _worker = worker.functions(functions()).start().unwrap();
    let front = front(&first.addresses().db)
        .publish(&last.addresses().publish)
        .start()
        .unwrap();
    assert_eq!(
        post_text(&url(&front, "first.echo"), "x"),
        (200, "x".into())
    );
}

#[test]
fn it_goes_on_when_its_server_has_been_restarted() {
    let _limit = limit(60, "a front");
    let addresses = fixed_addresses();
    let start = || {
        let server = Server::new("s", addresses.clone());
        server.functions(functions()).start()
    };
    let server = start_again(start);
    let front = front(&addresses.db);
    let front = front.timeout(Duration::from_millis(500)).start().unwrap();
    assert_eq!(post_text(&url(&front, "echo"), "x").0, 200);
    server.stop().unwrap();
    drop(server);
    assert_eq!(post_text(&url(&front, "echo"), "x").0, 504);
    let _server = start_again(start);
    until("it to be found again", || {
        post_text(&url(&front, "echo"), "x").0 == 200
    });
}

#[test]
fn on_a_stop_results_still_come_in() {
    let _limit = limit(60, "a front");
    let server = Server::new("s", Addresses::ephemeral());
    let (begun, begins) = std::sync::mpsc::channel();
    let server = server
        .function("slow", move |_| {
            begun.send(())?;
            std::thread::sleep(Duration::from_millis(100));
            Ok("done")
        })
        .start()
        .unwrap();
    let front = front(&server.addresses().db).start().unwrap();
    let mut raw = Raw::to(place(&front));
    raw.post("/slow", "x");
    begins.recv().unwrap();
    front.stop().unwrap();
    let reply = raw.reply();
    assert_eq!((reply.status, reply.body.as_str()), (200, "done"));
}

#[test]
fn a_server_that_is_not_there_is_the_error_of_the_start() {
    let _limit = limit(60, "a front");
    let wait = Duration::from_millis(200);
    let error = front("tcp://127.0.0.1:1").wait(wait).start().unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    let server = Server::new("s", Addresses::ephemeral()).start().unwrap();
    let db = &server.addresses().db;
    let nowhere = front(db).publish("tcp://127.0.0.1:1").wait(wait);
    let error = nowhere.start().unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    let taken = front(db).start().unwrap();
    let error = Front::new(db, place(&taken)).start().unwrap_err();
    assert!(matches!(error, Error::Bind { .. }), "{error}");
}
