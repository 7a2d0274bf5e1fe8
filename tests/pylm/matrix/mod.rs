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
        .role(
            "server",
            "single_server",
            "--name my_server --pull @pull --pub @pub --db @db",
        )
        .client("client", "single_client", "--server my_server --db @db")
        .prints(1, "Client got:  b'you sent me a message'")
        .runs_in_every_mix();
}

#[test]
fn parallel() {
    Example::new("parallel")
        .master("master")
        .role("worker", "worker", "--name worker1 --db @db")
        .client("client", "parallel_client", "--server server --db @db")
        .prints(10, "b'worker1 processed a message'")
        .runs_in_every_mix();
}

#[test]
fn cache() {
    Example::new("cache")
        .master("master")
        .role("worker", "cache_worker", "--name worker1 --db @db")
        .client("client", "cache_client", "--server server --db @db")
        .prints(1, "b' cached data '")
        .prints(10, "b'worker1 cached data a message'")
        .runs_in_every_mix();
}

#[test]
fn scatter() {
    Example::new("scatter")
        .master("scatter_master")
        .role("worker", "cache_worker", "--name worker1 --db @db")
        .client("client", "scatter_client", "--server server --db @db")
        .prints(1, "b' cached data '")
        .prints(30, "b'worker1 cached data a message'")
        .runs_in_every_mix();
}

#[test]
fn gather() {
    Example::new("gather")
        .master("gather_master")
        .role("worker", "cache_worker", "--name worker1 --db @db")
        .client("client", "scatter_client", "--server server --db @db")
        .prints(1, "b' cached data '")
        .prints(29, "b'worker1 cached data a message'")
        .prints(1, "b'final message'")
        .runs_in_every_mix();
}

#[test]
fn mux_parallel() {
    Example::new("mux_parallel")
        .master("master")
        .role("worker", "mux_parallel_worker", "--name worker1 --db @db")
        .client("client", "mux_parallel_client", "--server server --db @db")
        .prints(10, "b'worker1 processed a message 1'")
        .prints(10, "b'worker1 processed a message 2'")
        .runs_in_every_mix();
}

#[test]
fn logging() {
    Example::new("logging")
        .master("logging_master")
        .role("worker", "logging_worker", "--name worker1 --db @db")
        .client("client", "logging_client", "--server server --db @db")
        .prints(29, "b'worker1 cached data a message'")
        .prints(1, "b'final message'")
        .logs("master", 1, "Changing the payload of the message")
        .logs("worker", 1, "Processed 30 messages")
        .runs_in_every_mix();
}

#[test]
fn error() {
    Example::new("error")
        .role(
            "server",
            "error_server",
            "--name my_server --pull @pull --pub @pub --db @db",
        )
        .client("client", "single_client", "--server my_server --db @db")
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
        .role(
            "server",
            "pipeline_server",
            "--name my_server --pull @pull --pub @pub --db @db",
        )
        .step(
            "pipeline",
            "pipeline_pipeline",
            "my_pipeline",
            &["my_server@pub"],
            "last",
        )
        .client(
            "client",
            "pipeline_client",
            "--server my_server --db @db --sub @last",
        )
        .probed("my_server.foo my_pipeline.foo")
        .prints(1, "Client got:  b'and I pipelined you sent me a message'")
        .runs_in_every_mix();
}

#[test]
fn tee() {
    Example::new("tee")
        .role(
            "server",
            "pipeline_server",
            "--name my_server --pull @pull --pub @pub --db @db",
        )
        .step(
            "pipeline_echo",
            "tee_pipeline_echo",
            "my_pipeline",
            &["my_server@pub"],
            "echo",
        )
        .step(
            "pipeline_close",
            "pipeline_pipeline",
            "my_pipeline",
            &["my_server@pub"],
            "last",
        )
        .client(
            "client",
            "pipeline_client",
            "--server my_server --db @db --sub @last",
        )
        .probed("my_server.foo my_pipeline.foo")
        .prints(1, "Client got:  b'and I pipelined you sent me a message'")
        .logs("pipeline_echo", 1, "Just echo, nothing else")
        .runs_in_every_mix();
}

#[test]
fn stream() {
    Example::new("stream")
        .role(
            "server",
            "stream_server",
            "--name my_server --pull @pull --pub @pub --db @db",
        )
        .step(
            "pipeline_echo",
            "tee_pipeline_echo",
            "my_pipeline",
            &["odd@pub"],
            "echo",
        )
        .step(
            "pipeline_close",
            "pipeline_pipeline",
            "my_pipeline",
            &["even@pub"],
            "last",
        )
        .client(
            "client",
            "stream_client",
            "--server my_server --db @db --sub @last",
        )
        .probed("my_server.foo my_pipeline.foo")
        .prints(5, "Client got:  b'and I pipelined you sent me a message'")
        .logs("pipeline_echo", 5, "Just echo, nothing else")
        .runs_in_every_mix();
}

#[test]
fn sink() {
    Example::new("sink")
        .role(
            "server",
            "pipeline_server",
            "--name my_server --pull @pull --pub @pub --db @db",
        )
        .step(
            "sink",
            "sink_sink",
            "my_pipeline",
            &["my_server@pub"],
            "last",
        )
        .client(
            "client",
            "pipeline_client",
            "--server my_server --db @db --sub @last",
        )
        .probed("my_server.foo my_pipeline.foo")
        .prints(1, "Client got:  b'and I pipelined you sent me a message'")
        .runs_in_every_mix();
}

#[test]
fn stream_sink() {
    Example::new("stream_sink")
        .role(
            "server",
            "stream_server",
            "--name my_server --pull @pull --pub @pub --db @db",
        )
        .step(
            "pipeline_even",
            "stream_sink_pipeline",
            "my_pipeline",
            &["even@pub"],
            "even",
        )
        .step(
            "pipeline_odd",
            "stream_sink_pipeline",
            "my_pipeline",
            &["odd@pub"],
            "odd",
        )
        .step(
            "sink",
            "stream_sink_sink",
            "my_sink",
            &["my_pipeline@even", "my_pipeline@odd"],
            "last",
        )
        .client(
            "client",
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
        .role("worker", "worker", "--name worker1 --db @db")
        .step(
            "pipeline",
            "pipeline_pipeline",
            "my_pipeline",
            &["server@pub"],
            "last",
        )
        .client(
            "client",
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
        .role(
            "server",
            "pipeline_server",
            "--name server --pull @pull --pub @pub --db @db",
        )
        .role(
            "hub",
            "server_hub_hub",
            "--name hub --previous server --sub @pub --pub @last --wpush @wpush --wpull @wpull \
             --db @hub",
        )
        .role("worker", "worker", "--name worker1 --db @hub")
        .client(
            "client",
            "server_hub_client",
            "--server server --db @db --sub @last",
        )
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
            "client",
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
        .role("worker", "gateway_worker", "--name worker1 --db @db")
        .client("client", "gateway_client", "--url http://%web")
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
        .client("client", "parallel_client", "--server server --db @db")
        .prints(10, "b'a message processed online'")
        .runs_in_every_mix();
}

#[test]
fn applications() {
    Example::new("applications")
        .master("master")
        .role("worker", "applications_worker", "--name worker1 --db @db")
        .client(
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
