//! Many clients at once.

use palm::http::Gateway;

use crate::common::limit;
use crate::kit::{Raw, client, master, place, post_by, url};

const CLIENTS: u64 = 200;
const CALLS: u64 = 20;

#[test]
fn two_hundred_concurrent_clients_each_get_their_own_results_from_two_workers() {
    let _limit = limit(120, "many clients");
    let gateway = Gateway::new("127.0.0.1:0");
    let handle = gateway.handle();
    let (master, workers) = master(gateway, 2);
    let url = url(&master, "square");
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
    assert_eq!((handle.open(), handle.late()), (0, 0));
    for worker in &workers {
        worker.stop().unwrap();
    }
    master.stop().unwrap();
}

#[test]
fn two_hundred_requests_are_open_at_once_in_one_thread() {
    let _limit = limit(120, "many open requests");
    let gateway = Gateway::new("127.0.0.1:0");
    let handle = gateway.handle();
    let (master, workers) = master(gateway, 0);
    let mut clients: Vec<Raw> = (0..CLIENTS).map(|_| Raw::to(place(&master))).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.post("/square", &number.to_string());
    }
    crate::common::until("all to be open", || handle.open() == CLIENTS as usize);
    let worker = palm::Worker::new(&master.addresses().db)
        .functions(crate::kit::functions())
        .start()
        .unwrap();
    for (number, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.reply().body, format!("{number} {}", number * number));
    }
    drop((worker, workers));
}
