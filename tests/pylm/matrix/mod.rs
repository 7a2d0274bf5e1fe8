//! pylm's documented examples give the same output whichever side is palm: every mix of their
//! roles, with palm's example programs on one side and their twins in Python on the other.
//!
//! Each test is a row of the table below, and runs all mixes of its example. How each went is
//! printed even if the test passes: all of it together is the matrix.

mod addresses;
mod example;
mod mix;
mod probe;
mod report;

use crate::support::{Peer, SOON};
use example::Example;
use mix::palm_example;

#[test]
fn single() {
    Example::new("single")
        .server("single_server", "my_server")
        .client("single_client", "--server my_server --db @db")
        .prints(1, "Client got:  b'you sent me a message'")
        .runs_in_every_mix();
}

#[test]
fn parallel() {
    Example::new("parallel")
        .master("master")
        .worker("worker")
        .client("parallel_client", "--server server --db @db")
        .prints(10, "b'worker1 processed a message'")
        .runs_in_every_mix();
}

#[test]
fn cache() {
    Example::new("cache")
        .master("master")
        .worker("cache_worker")
        .client("cache_client", "--server server --db @db")
        .prints(1, "b' cached data '")
        .prints(10, "b'worker1 cached data a message'")
        .runs_in_every_mix();
}

#[test]
fn scatter() {
    Example::new("scatter")
        .master("scatter_master")
        .worker("cache_worker")
        .client("scatter_client", "--server server --db @db")
        .prints(1, "b' cached data '")
        .prints(30, "b'worker1 cached data a message'")
        .runs_in_every_mix();
}

#[test]
fn gather() {
    Example::new("gather")
        .master("gather_master")
        .worker("cache_worker")
        .client("scatter_client", "--server server --db @db")
        .prints(1, "b' cached data '")
        .prints(29, "b'worker1 cached data a message'")
        .prints(1, "b'final message'")
        .runs_in_every_mix();
}

#[test]
fn mux_parallel() {
    Example::new("mux_parallel")
        .master("master")
        .worker("mux_parallel_worker")
        .client("mux_parallel_client", "--server server --db @db")
        .prints(10, "b'worker1 processed a message 1'")
        .prints(10, "b'worker1 processed a message 2'")
        .runs_in_every_mix();
}

#[test]
fn logging() {
    Example::new("logging")
        .master("logging_master")
        .worker("logging_worker")
        .client("logging_client", "--server server --db @db")
        .prints(29, "b'worker1 cached data a message'")
        .prints(1, "b'final message'")
        .logs("master", 1, "Changing the payload of the message")
        .logs("worker", 1, "Processed 30 messages")
        .runs_in_every_mix();
}

#[test]
fn error() {
    Example::new("error")
        .server("error_server", "my_server")
        .client("single_client", "--server my_server --db @db")
        .prints(1, "Client got:  b'0'")
        // More than pylm's wire has room for: the cause.
        .prints_between_palm_peers(
            "Client got an error: my_server.foo failed: there is no x (at 'my_server')",
        )
        .logs("server", 1, "Got a message")
        .runs_in_every_mix();
}

#[test]
fn pipeline() {
    Example::new("pipeline")
        .server("pipeline_server", "my_server")
        .step(
            "pipeline",
            "pipeline_pipeline",
            "my_server@pub > my_pipeline > last",
        )
        .client("pipeline_client", "--server my_server --db @db --sub @last")
        .probed("my_server.foo my_pipeline.foo")
        .prints(1, "Client got:  b'and I pipelined you sent me a message'")
        .runs_in_every_mix();
}

#[test]
fn tee() {
    Example::new("tee")
        .server("pipeline_server", "my_server")
        .step(
            "pipeline_echo",
            "tee_pipeline_echo",
            "my_server@pub > my_pipeline > echo",
        )
        .step(
            "pipeline_close",
            "pipeline_pipeline",
            "my_server@pub > my_pipeline > last",
        )
        .client("pipeline_client", "--server my_server --db @db --sub @last")
        .probed("my_server.foo my_pipeline.foo")
        .prints(1, "Client got:  b'and I pipelined you sent me a message'")
        .logs("pipeline_echo", 1, "Just echo, nothing else")
        .runs_in_every_mix();
}

#[test]
fn stream() {
    Example::new("stream")
        .server("stream_server", "my_server")
        .step(
            "pipeline_echo",
            "tee_pipeline_echo",
            "odd@pub > my_pipeline > echo",
        )
        .step(
            "pipeline_close",
            "pipeline_pipeline",
            "even@pub > my_pipeline > last",
        )
        .client("stream_client", "--server my_server --db @db --sub @last")
        .probed("my_server.foo my_pipeline.foo")
        .prints(5, "Client got:  b'and I pipelined you sent me a message'")
        .logs("pipeline_echo", 5, "Just echo, nothing else")
        .runs_in_every_mix();
}

#[test]
fn sink() {
    Example::new("sink")
        .server("pipeline_server", "my_server")
        .step("sink", "sink_sink", "my_server@pub > my_pipeline > last")
        .client("pipeline_client", "--server my_server --db @db --sub @last")
        .probed("my_server.foo my_pipeline.foo")
        .prints(1, "Client got:  b'and I pipelined you sent me a message'")
        .runs_in_every_mix();
}

#[test]
fn stream_sink() {
    Example::new("stream_sink")
        .server("stream_server", "my_server")
        .step(
            "pipeline_even",
            "stream_sink_pipeline",
            "even@pub > my_pipeline > even",
        )
        .step(
            "pipeline_odd",
            "stream_sink_pipeline",
            "odd@pub > my_pipeline > odd",
        )
        .step(
            "sink",
            "stream_sink_sink",
            "my_pipeline@even my_pipeline@odd > my_sink > last",
        )
        .client(
            "stream_sink_client",
            "--server my_server --db @db --sub @last",
        )
        .probed("my_server.foo my_pipeline.foo my_sink.foo")
        .probed_in_both_branches()
        .prints(
            10,
            "Client got:  b'and gathered and I pipelined you sent me a message'",
        )
        .runs_in_every_mix();
}

#[test]
fn master_pipeline() {
    Example::new("master_pipeline")
        .master("master_pipeline_master")
        .worker("worker")
        .step(
            "pipeline",
            "pipeline_pipeline",
            "server@pub > my_pipeline > last",
        )
        .client(
            "master_pipeline_client",
            "--server server --db @db --sub @last",
        )
        .probed("server.foo my_pipeline.foo")
        .prints(10, "b'and I pipelined worker1 processed a message'")
        .runs_in_every_mix();
}

#[test]
fn server_hub() {
    Example::new("server_hub")
        .server("pipeline_server", "server")
        .role(
            "hub",
            "server_hub_hub",
            "--name hub --previous server --sub @pub --pub @last --wpush @wpush --wpull @wpull \
             --db @hub",
        )
        .role("worker", "worker", "--name worker1 --db @hub")
        .client("server_hub_client", "--server server --db @db --sub @last")
        .probed("server.foo hub.foo")
        .prints(1, "Client got:  b'worker1 processed you sent me a message'")
        .runs_in_every_mix();
}

#[test]
fn template() {
    Example::new("template")
        .master("template_master")
        .role(
            "worker",
            "template_worker",
            "--name worker1 --db @db --wpush @wpush --wpull @wpull",
        )
        .client(
            "template_client",
            "--server server --db @db --pull @pull --pub @pub",
        )
        .prints(10, "b'worker1 processed a message'")
        .runs_in_every_mix();
}

#[test]
fn gateway() {
    Example::new("gateway")
        .needs_http()
        .role(
            "microservice",
            "gateway_microservice",
            "--name server --wpush @wpush --wpull @wpull --db @db --listen %web",
        )
        .worker("gateway_worker")
        .client("gateway_client", "--url http://%web")
        .prints(1, "b'acknowledged'")
        .runs_in_every_mix();
}

#[test]
fn http() {
    Example::new("http")
        .needs_http()
        .role(
            "master",
            "http_master",
            "--name server --pull @pull --pub @pub --db @db --url http://%web",
        )
        .role("web_worker", "http_web_worker", "--listen %web")
        .client("parallel_client", "--server server --db @db")
        .prints(10, "b'a message processed online'")
        .runs_in_every_mix();
}

#[test]
fn applications() {
    Example::new("applications")
        .master("master")
        .worker("applications_worker")
        .role(
            "launcher",
            "applications_launcher",
            "--server server --function foo --db @db",
        )
        .prints(10, "b'worker1 processed a message'")
        .runs_in_every_mix();
}

/// It has no roles to mix: all is in one process, to show that a function is the same in each.
#[test]
fn handlers() {
    let handlers = Peer::start("handlers", palm_example("handlers").unwrap());
    let printed = handlers.printed(SOON).unwrap();
    let expected = [
        "hello and server! and pipeline! and sink!",
        "hello and worker!",
    ];
    assert_eq!(printed, expected);
}
