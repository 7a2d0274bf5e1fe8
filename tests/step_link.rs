//! What a later step over the palm link promises: it may be restarted at will.

mod common;

use std::time::Duration;

use common::{SOON, limit, sorted};
use palm::{Addresses, Client, Pipeline, Running, Server};

#[test]
fn a_middle_step_that_is_restarted_in_the_midst_of_a_job_loses_and_doubles_nothing() {
    let _limit = limit(90, "a middle step that is restarted");
    const COUNT: u32 = 20_000;
    let echo = |call: &palm::Call<'_>| Ok(call.payload().to_vec());
    let first = Server::new("first", Addresses::ephemeral())
        .function("echo", echo)
        .pipelined(true)
        .start()
        .unwrap();
    // At the same address each time: the last step knows no other.
    let addresses = common::fixed_addresses();
    let middle = || -> Running {
        common::start_again(|| {
            Pipeline::new("middle", addresses.clone())
                .after("first", &first.addresses().publish)
                .function("echo", echo)
                .to_client(false)
                .start()
        })
    };
    let last = Pipeline::new("last", Addresses::ephemeral())
        .after("middle", &addresses.publish)
        .function("echo", echo)
        .start()
        .unwrap();
    let client = Client::builder("first", &first.addresses().db)
        .publish(&last.addresses().publish)
        .connect()
        .unwrap();
    let mut running = middle();
    std::thread::scope(|scope| {
        let job = scope.spawn(|| {
            let payloads = (0..COUNT).map(u32::to_be_bytes);
            let steps = ["first.echo", "middle.echo", "last.echo"];
            let job = client.request(steps).timeout(2 * SOON).job(payloads);
            let results = job.unwrap().map(|result| {
                let result = result.unwrap();
                u32::from_be_bytes(result.try_into().unwrap())
            });
            sorted(results)
        });
        for _ in 0..3 {
            std::thread::sleep(Duration::from_millis(60));
            running.stop().unwrap();
            running = middle();
        }
        assert_eq!(job.join().unwrap(), (0..COUNT).collect::<Vec<_>>());
    });
}
