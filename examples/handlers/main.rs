//! One function, unchanged, in a server, a pipeline, a sink and a worker.

#[path = "../common/mod.rs"]
mod common;

use palm::{Addresses, BoxError, Call, Client, Master, Pipeline, Server, Sink, Worker};

/// What all of them run. It need not know where.
fn exclaim(call: &Call<'_>) -> Result<Vec<u8>, BoxError> {
    Ok([call.payload(), b" and ", call.component().as_bytes(), b"!"].concat())
}

fn main() -> Result<(), common::Failure> {
    let server = Server::new("server", Addresses::ephemeral())
        .function("exclaim", exclaim)
        .pipelined(true)
        .start()?;
    let pipeline = Pipeline::new("pipeline", Addresses::ephemeral())
        .after("server", &server.addresses().publish)
        .function("exclaim", exclaim)
        .to_client(false)
        .start()?;
    let sink = Sink::new("sink", Addresses::ephemeral())
        .after("pipeline", &pipeline.addresses().publish)
        .function("exclaim", exclaim)
        .start()?;
    let client = Client::builder("server", &server.addresses().db)
        .publish(&sink.addresses().publish)
        .connect()?;
    let steps = ["server.exclaim", "pipeline.exclaim", "sink.exclaim"];
    print(&client.eval(steps, "hello")?);

    let master = Master::new("master", Addresses::ephemeral()).start()?;
    let worker = Worker::new(&master.addresses().db)
        .name("worker")
        .function("exclaim", exclaim)
        .start()?;
    let client = Client::connect("master", &master.addresses().db)?;
    print(&client.eval("master.exclaim", "hello")?);

    for component in [worker, master, sink, pipeline, server] {
        component.stop()?;
    }
    Ok(())
}

fn print(result: &[u8]) {
    println!("{}", String::from_utf8_lossy(result));
}
