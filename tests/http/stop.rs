//! The end of parts that listen.

use std::time::Duration;

use palm::http::{Front, Gateway};
use palm::part::FunctionService;
use palm::{Addresses, Assembly, Functions, Server};

use crate::common::{is_free, limit, timed, until};
use crate::kit::{Raw, front, master, place};

#[test]
fn a_stop_leaves_no_connection_and_no_listener() {
    let _limit = limit(60, "a stop");
    let front = front(|gateway| gateway);
    let mut idle = Raw::to(front.place());
    assert_eq!(idle.post("/echo", "x").reply().body, "x");
    let mut mute = Raw::to(front.place());
    let ((), time) = timed(|| front.running.stop().unwrap());
    assert!(time < Duration::from_secs(2), "it took {time:?}");
    assert!(idle.is_closed() && mute.is_closed());
    assert!(is_free(&format!("tcp://{}", front.place())));
    front.running.stop().unwrap();
}

#[test]
fn a_function_that_runs_is_finished_and_its_reply_sent() {
    let _limit = limit(60, "a stop");
    let (begun, begins) = std::sync::mpsc::channel();
    let functions = Functions::new().function("slow", move |_: &palm::Call<'_>| {
        begun.send(())?;
        std::thread::sleep(Duration::from_secs(1));
        Ok(b"done")
    });
    let running = Assembly::new("front")
        .inbound(
            "Gateway",
            Gateway::new("127.0.0.1:0").server("front"),
            "Functions",
        )
        .outbound("Functions", FunctionService::new(functions))
        .replies("Functions", "Gateway")
        .start()
        .unwrap();
    let mut raw = Raw::to(place(&running));
    raw.post("/slow", "x");
    begins.recv().unwrap();
    running.stop().unwrap();
    let reply = raw.reply();
    assert_eq!((reply.status, reply.body.as_str()), (200, "done"));
    assert!(raw.is_closed());
}

#[test]
fn requests_whose_result_will_not_come_are_told_so() {
    let _limit = limit(60, "a stop");
    let gateway = Gateway::new("127.0.0.1:0");
    let handle = gateway.handle();
    let (master, _workers) = master(gateway, 0);
    let mut clients: Vec<Raw> = (0..10).map(|_| Raw::to(place(&master))).collect();
    for client in &mut clients {
        client.post("/echo", "x");
    }
    until("the requests", || handle.open() == 10);
    let ((), time) = timed(|| master.stop().unwrap());
    assert!(time < Duration::from_secs(2), "it took {time:?}");
    for client in &mut clients {
        let reply = client.reply();
        assert_eq!(reply.status, 503, "{}", reply.body);
        assert!(client.is_closed());
    }
    assert_eq!(handle.open(), 0);
}

#[test]
fn requests_whose_result_may_come_to_the_last_are_told_in_the_end() {
    let _limit = limit(60, "a stop");
    let server = Server::new("s", Addresses::ephemeral())
        .function("none", |_| Ok(()))
        .start()
        .unwrap();
    let front = Front::new(&server.addresses().db, "127.0.0.1:0");
    let front = front.start().unwrap();
    let mut clients: Vec<Raw> = (0..10).map(|_| Raw::to(place(&front))).collect();
    for client in &mut clients {
        client.post("/none", "x");
    }
    // One that comes after them has its answer: so they are open.
    assert_eq!(
        Raw::to(place(&front)).post("/other", "x").reply().status,
        404
    );
    let ((), time) = timed(|| front.stop().unwrap());
    assert!(time < Duration::from_secs(2), "it took {time:?}");
    for client in &mut clients {
        assert_eq!(client.reply().status, 503);
        assert!(client.is_closed());
    }
}
