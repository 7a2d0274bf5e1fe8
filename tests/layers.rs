//! Who may know whom: the dependency rule of the design, held over the source text.
//!
//! `bin -> cluster -> template -> part -> core -> message, store -> error`; client and worker
//! and http stand beside template; libzmq is known to `socket.rs` alone, and tokio to `http`.

use std::path::PathBuf;

/// A source file: its path below `src`, and its code without comments.
struct Source {
    path: String,
    code: String,
}

/// Cargo runs tests in the package's folder. (Its path at the time of the build may be another
/// one: a clone whose build is still in the cache.)
fn root() -> PathBuf {
    PathBuf::from("src")
}

/// All source files at or below a path in `src`.
fn sources(of: &str) -> Vec<Source> {
    let mut found = Vec::new();
    let mut open = vec![root().join(of)];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            let entries = std::fs::read_dir(&path).unwrap();
            open.extend(entries.map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let code = std::fs::read_to_string(&path).unwrap();
            let below = path.strip_prefix(root()).unwrap();
            found.push(Source {
                path: below.to_str().unwrap().to_owned(),
                code: without_comments(&code),
            });
        }
    }
    found
}

/// Code without line comments: they may speak of whatever they like. (A `//` within a string
/// is cut off as well, which can only hide what stands after an address on the same line.)
fn without_comments(code: &str) -> String {
    let lines = code.lines().map(|line| match line.find("//") {
        Some(at) => &line[..at],
        None => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The modules of the crate that code names: what follows `crate::`, also in braces.
fn modules(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(list) => found.extend(heads_of_a_list(list)),
            None => found.push(head(rest)),
        }
    }
    found
}

fn head(path: &str) -> String {
    let end = path.find(|c: char| !c.is_alphanumeric() && c != '_');
    path[..end.unwrap_or(path.len())].to_owned()
}

/// The first names of what stands in braces, up to the brace that closes.
fn heads_of_a_list(list: &str) -> Vec<String> {
    let mut heads = Vec::new();
    let (mut depth, mut start) = (0, Some(0));
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => start = Some(at + 1),
            c if depth == 0 && !c.is_whitespace() => {
                if let Some(from) = start.take() {
                    heads.push(head(list[from.max(at)..].trim_start()));
                }
            }
            _ => {}
        }
    }
    heads
}

/// Whether code names something as a word of its own.
fn mentions(code: &str, word: &str) -> bool {
    let part_of_name = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = code[at + word.len()..].chars().next();
        !before.is_some_and(part_of_name) && !after.is_some_and(part_of_name)
    })
}

/// Checks that no file at or below `of` names one of the modules, or what they export.
fn never_uses(of: &str, forbidden: &[&str]) {
    let sources = sources(of);
    assert!(!sources.is_empty(), "there is no src/{of}");
    for Source { path, code } in sources {
        for module in modules(&code) {
            let allowed = !forbidden.contains(&module.as_str());
            assert!(allowed, "src/{path} uses crate::{module}");
        }
        for module in forbidden {
            let by_super = format!("super::{module}");
            assert!(!mentions(&code, &by_super), "src/{path} uses {by_super}");
        }
    }
}

/// What the modules of the outer layers export at the top of the crate.
const OUTER: [&str; 16] = [
    "template", "client", "worker", "cluster", "http", "reduce", "Server", "Pipeline", "Sink",
    "Master", "Hub", "Reducer", "Client", "Worker", "Job", "Request",
];

fn outer_and(more: &[&'static str]) -> Vec<&'static str> {
    [&OUTER, more].concat()
}

#[test]
fn only_socket_rs_knows_libzmq() {
    for source in sources("") {
        for name in ["zmq", "zmq_sys"] {
            // The bare ZeroMQ that palm is measured against is no part of palm.
            let allowed = ["socket.rs", "bin/palm/bench/bare.rs"].contains(&source.path.as_str());
            let mentioned = mentions(&source.code, name);
            assert!(allowed || !mentioned, "src/{} mentions {name}", source.path);
        }
    }
    assert!(mentions(&sources("socket.rs")[0].code, "zmq_sys"));
}

#[test]
fn only_what_knows_libzmq_and_the_scheduler_has_unsafe_code() {
    for source in sources("") {
        if !["socket.rs", "socket/schedule.rs"].contains(&source.path.as_str()) {
            assert!(!mentions(&source.code, "unsafe"), "src/{}", source.path);
        }
    }
}

#[test]
fn libzmq_is_no_part_of_the_public_interface() {
    let lib = &sources("lib.rs")[0].code;
    assert!(lib.lines().any(|line| line == "mod socket;"), "in lib.rs");
    assert!(!mentions(lib, "pub mod socket") && !lib.contains("use socket"));
    // Nor by way of one of its types: nothing in it is visible outside the crate.
    let socket = &sources("socket.rs")[0].code;
    for line in socket.lines() {
        assert!(!line.trim_start().starts_with("pub "), "socket.rs: {line}");
    }
}

#[test]
fn the_state_machines_know_no_socket_and_no_part() {
    never_uses("core", &outer_and(&["socket", "part"]));
    for source in sources("core") {
        for io in [
            "std::net",
            "std::fs",
            "std::thread",
            "crossbeam_channel",
            "parking_lot",
        ] {
            // Tickets go through the threads of a component.
            let allowed = source.path == "core/custody.rs" && io == "parking_lot";
            let uses = source.code.contains(io);
            assert!(allowed || !uses, "src/{} uses {io}", source.path);
        }
        if source.path.ends_with("/tests.rs") || source.path.contains("/tests/") {
            continue;
        }
        // Time is told to them.
        let tests = source
            .code
            .find("#[cfg(test)]")
            .unwrap_or(source.code.len());
        assert!(
            !source.code[..tests].contains("now()"),
            "src/{}",
            source.path
        );
    }
}

#[test]
fn parts_know_no_template_client_or_worker() {
    never_uses("part", &outer_and(&[]));
}

#[test]
fn templates_know_no_client_worker_or_cluster() {
    never_uses(
        "template",
        &["client", "worker", "cluster", "Client", "Worker"],
    );
}

#[test]
fn client_and_worker_know_no_template_and_not_each_other() {
    let templates = [
        "template", "cluster", "Server", "Pipeline", "Sink", "Master", "Hub", "Reducer",
    ];
    never_uses("client", &[&templates[..], &["worker", "Worker"]].concat());
    never_uses(
        "worker.rs",
        &[&templates[..], &["client", "Client"]].concat(),
    );
}

#[test]
fn http_knows_no_template_client_or_worker_and_no_socket() {
    let socket = ["socket", "core"];
    for source in sources("http") {
        // What counts refusals is a state machine like others, and the only one it needs.
        let allowed = source.code.replace("crate::core::complaints", "");
        let found = modules(&allowed);
        let odd = socket
            .iter()
            .find(|name| found.contains(&(**name).to_owned()));
        assert_eq!(odd, None, "src/{}", source.path);
    }
    let beside: Vec<_> = OUTER.into_iter().filter(|name| *name != "http").collect();
    never_uses("http", &beside);
}

#[test]
fn only_http_knows_tokio_and_hyper() {
    for source in sources("") {
        let of_http = source.path.starts_with("http/");
        for name in ["tokio", "hyper", "ureq"] {
            let mentioned = mentions(&source.code, name);
            assert!(of_http || !mentioned, "src/{} mentions {name}", source.path);
        }
    }
}

#[test]
fn messages_and_stores_know_nothing_above_them() {
    for of in ["message", "store"] {
        never_uses(
            of,
            &outer_and(&["socket", "part", "core", "handler", "cache", "address"]),
        );
    }
}

#[test]
fn errors_know_nothing_at_all() {
    let error = &sources("error.rs")[0].code;
    assert_eq!(modules(error), Vec::<String>::new());
    assert!(!error.contains("super::"));
}

#[test]
fn the_binary_uses_the_public_interface_only() {
    for source in sources("bin") {
        let of_lib = modules(&source.code);
        assert!(
            !of_lib.contains(&"socket".to_owned()),
            "src/{}",
            source.path
        );
        assert!(!source.code.contains("#[path"), "src/{}", source.path);
    }
}

#[test]
fn what_this_test_looks_for_it_finds() {
    let code = "use crate::{a::b, c::{d, e}, f};\nuse crate::g::h; // crate::i\n";
    assert_eq!(modules(&without_comments(code)), ["a", "c", "f", "g"]);
    assert!(mentions("use zmq::Socket", "zmq") && !mentions("zmq_sys::x", "zmq"));
}
