//! The word count of a reduction is that of `sort | uniq -c`, on 50 MB of text, whatever the
//! number of workers.

mod common;
#[path = "../examples/reduce/words.rs"]
mod words;

use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, OnceLock};

use palm::message::PalmMessage;
use palm::reduce::{self, Group};
use palm::{Addresses, Client, Master, Reducer, Running, Worker};

use common::{limit, timed};

const BYTES: usize = 50 << 20;

/// All files of real text that there are: of this repository, and of the crates that it uses.
fn sources() -> Vec<PathBuf> {
    let cargo = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let cargo = cargo.or_else(|| std::env::home_dir().map(|home| home.join(".cargo")));
    let crates = cargo.unwrap_or_default().join("registry/src");
    let mut open = vec!["src".into(), "README.md".into(), crates];
    let mut files = Vec::new();
    while let Some(path) = open.pop() {
        if let Ok(entries) = fs::read_dir(&path) {
            open.extend(entries.flatten().map(|entry| entry.path()));
        } else if path
            .extension()
            .is_some_and(|end| end == "rs" || end == "md" || end == "txt")
        {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// Writes the files in an order that looks random and is not, again and again, until there is
/// enough.
fn write_text(path: &Path) -> usize {
    let mut files = sources();
    let mut out = BufWriter::new(File::create(path).expect("a file"));
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut written = 0;
    while written < BYTES {
        for at in (1..files.len()).rev() {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            files.swap(at, (random >> 33) as usize % (at + 1));
        }
        for file in &files {
            let text = fs::read(file).unwrap_or_default();
            out.write_all(&text).expect("room for the text");
            written += text.len();
            if written >= BYTES {
                break;
            }
        }
    }
    out.flush().expect("room for the text");
    written
}

/// What the system's own tools count.
fn counted_by_tools(text: &Path) -> Vec<u8> {
    let words = r"tr -s '[:space:]' '\n' | sed '/^$/d' | sort | uniq -c";
    let output = Command::new("sh")
        .args(["-c", words])
        .env("LC_ALL", "C")
        .stdin(File::open(text).expect("the text"))
        .stderr(Stdio::inherit())
        .output()
        .expect("sh, tr, sed, sort and uniq");
    assert!(output.status.success());
    output.stdout
}

/// The programs of the example `reduce`, in this process.
struct Cluster {
    master: Running,
    reducer: Running,
    workers: Vec<Running>,
}

impl Cluster {
    fn start(workers: usize) -> Self {
        let master = Master::new("map", Addresses::ephemeral()).pipelined(true);
        let master = master.start().expect("a master");
        let reducer = Reducer::new("reduce", Addresses::ephemeral())
            .after("map", &master.addresses().publish)
            .scatter(shards)
            .key(|message| Group::of(&message.cache))
            .start()
            .expect("a reducer");
        let counting = || {
            Worker::new(&master.addresses().db)
                .function("count", |call| Ok(words::count(call.payload())))
                .start()
        };
        let merging = || {
            Worker::new(&reducer.addresses().db)
                .handler("merge", reduce::combine(words::merge))
                .start()
        };
        let workers = (0..workers).flat_map(|_| [counting(), merging()]);
        let workers = workers.collect::<Result<_, _>>().expect("workers");
        Self {
            master,
            reducer,
            workers,
        }
    }

    fn count(&self, text: &Path) -> Vec<u8> {
        let client = Client::builder("map", &self.master.addresses().db)
            .publish(&self.reducer.addresses().publish)
            .connect()
            .expect("a client");
        let failed = Arc::new(OnceLock::new());
        let text = BufReader::new(File::open(text).expect("the text"));
        let chunks = words::Chunks::of(text, failed.clone());
        let request = client.request("map.count reduce.merge").end_mark();
        let tables: Result<Vec<_>, _> = request.job(chunks).expect("a job").collect();
        let tables = tables.expect("no failure");
        assert!(failed.get().is_none(), "{failed:?}");
        assert!(tables.len() <= words::SHARDS, "{} tables", tables.len());
        let mut printed = Vec::new();
        words::print(&tables, &mut printed).expect("tables");
        printed
    }

    fn stop(self) {
        for running in self.workers {
            running.stop().expect("a worker that ends well");
        }
        self.reducer.stop().expect("a reducer that ends well");
        self.master.stop().expect("a master that ends well");
    }
}

fn shards(mut message: PalmMessage) -> Vec<PalmMessage> {
    let tables = std::mem::take(&mut message.payload);
    let messages = words::shards(&tables).map(|(number, table)| PalmMessage {
        cache: number.to_string(),
        payload: table.to_vec(),
        ..message.clone()
    });
    messages.collect()
}

#[test]
fn the_word_count_is_that_of_sort_and_uniq() {
    let _limit = limit(300, "the word count");
    let folder = tempfile::tempdir().expect("a folder");
    let text = folder.path().join("text");
    let bytes = write_text(&text);
    assert!(bytes >= BYTES);
    let (expected, by_tools) = timed(|| counted_by_tools(&text));
    let lines = expected.iter().filter(|&&byte| byte == b'\n').count();
    println!("{bytes} bytes, {lines} different words; tr, sort and uniq: {by_tools:.1?}");
    for workers in [1, 2, 4] {
        let cluster = Cluster::start(workers);
        let (counted, time) = timed(|| cluster.count(&text));
        println!("{workers} workers: {time:.1?}");
        // Not `assert_eq`, which would print both.
        let different = counted.split(|&byte| byte == b'\n');
        let different = different.zip(expected.split(|&byte| byte == b'\n'));
        let different = different
            .into_iter()
            .find(|(counted, expected)| counted != expected);
        let different = different.map(|(counted, expected)| {
            let counted = counted.escape_ascii();
            format!("'{counted}' in place of '{}'", expected.escape_ascii())
        });
        assert_eq!(different, None, "with {workers} workers");
        assert_eq!(counted.len(), expected.len(), "with {workers} workers");
        cluster.stop();
    }
}

#[test]
fn words_are_what_stands_between_white_space_wherever_chunks_are_cut() {
    let long = "x".repeat(3 * words::CHUNK);
    let text = format!(" one\ttwo\u{b}one\u{c}\r\n{long} \u{a0}one é two\n\n{long}y");
    let failed = Arc::new(OnceLock::new());
    let mut table = Vec::new();
    let chunks: Vec<_> = words::Chunks::of(text.as_bytes(), failed).collect();
    assert!(chunks.len() > 1);
    assert_eq!(chunks.concat(), text.as_bytes());
    for chunk in &chunks {
        for (_, shard) in words::shards(&words::count(chunk)) {
            table = words::merge(shard, &table).expect("tables");
        }
    }
    let counts: Vec<(u64, &[u8])> = words::Lines(&table)
        .collect::<Result<_, _>>()
        .expect("lines");
    let expected = [
        (2, "one".as_bytes()),
        (2, b"two"),
        (1, long.as_bytes()),
        (1, &[long.as_bytes(), b"y"].concat()),
        (1, "\u{a0}one".as_bytes()),
        (1, "é".as_bytes()),
    ];
    assert_eq!(counts.len(), expected.len());
    assert!(counts == expected);
    assert!(words::merge(b"1 a\n", b"no table").is_err());
}

/// The example's programs, each a process.
#[cfg(feature = "cli")]
#[test]
fn the_programs_of_the_example_print_what_sort_and_uniq_print() {
    let _limit = limit(60, "the programs");
    let folder = tempfile::tempdir().expect("a folder");
    let (one, other) = (folder.path().join("one"), folder.path().join("other"));
    fs::copy(file!(), &one).expect("a copy");
    fs::copy("README.md", &other).expect("a copy");
    let (map, reduce) = (common::fixed_addresses(), common::fixed_addresses());
    let _master = Program::start("reduce_master", |command| {
        command.args(["--pull", &map.pull, "--pub", &map.publish, "--db", &map.db]);
        command.args(["--wpush", &map.worker_push, "--wpull", &map.worker_pull]);
    });
    let _reducer = Program::start("reduce_reducer", |command| {
        command.args(["--sub", &map.publish, "--pub", &reduce.publish]);
        command.args([
            "--wpush",
            &reduce.worker_push,
            "--wpull",
            &reduce.worker_pull,
        ]);
        command.args(["--db", &reduce.db]);
    });
    let _workers = [(); 2].map(|()| {
        Program::start("reduce_worker", |command| {
            command.args(["--db", &map.db, "--reducer", &reduce.db]);
        })
    });
    let client = program("reduce_client")
        .args(["--db", &map.db, "--pub", &reduce.publish])
        .args([&one, &other])
        .output()
        .expect("a client");
    assert!(client.status.success(), "{client:?}");
    let text = [one, other].map(|file| fs::read(file).expect("a copy"));
    let whole = folder.path().join("whole");
    fs::write(&whole, text.concat()).expect("a file");
    let expected = String::from_utf8(counted_by_tools(&whole)).expect("a text");
    assert_eq!(String::from_utf8(client.stdout).expect("a text"), expected);
}

/// A program that runs until this is dropped.
#[cfg(feature = "cli")]
struct Program(std::process::Child);

#[cfg(feature = "cli")]
impl Program {
    fn start(name: &str, flags: impl FnOnce(&mut Command)) -> Self {
        let mut command = program(name);
        flags(&mut command);
        Self(command.stdout(Stdio::null()).spawn().expect("a process"))
    }
}

#[cfg(feature = "cli")]
impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(feature = "cli")]
fn program(name: &str) -> Command {
    let test = std::env::current_exe().expect("this program");
    let folder = test.ancestors().nth(2).expect("target/debug");
    let program = folder.join("examples").join(name);
    let there = program.exists();
    assert!(
        there,
        "no {}: `cargo build --examples` makes it",
        program.display()
    );
    Command::new(program)
}
