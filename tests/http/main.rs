//! HTTP: the gateway, and messages over HTTP in place of ZeroMQ.

#![cfg(feature = "http")]

#[path = "../common/mod.rs"]
mod common;

mod connection;
mod front;
mod gateway;
mod kit;
mod limits;
mod many;
mod service;
mod stop;
mod worker;
