//! Jobs of many numbers, from either side, and the check of their results.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::mpsc;
use std::time::Duration;

use palm::Client;

use super::{Host, LONG, Palm, Peer, Pylm, SOON, Side, script};

const END: &[u8] = b"end";

/// Runs `server.square` on the numbers up to `count`, and gives the results as lines.
pub fn squares(client: Side, host: &Host, count: usize) -> Vec<String> {
    match client {
        Palm => {
            let client = Client::connect("server", host.db()).unwrap();
            palm_numbers(&client, "server.square", 0..count)
        }
        Pylm => pylm_numbers(host, &["--function", "server.square"], count),
    }
}

/// A job of a palm client. As the Python side in `feed.py` it ends with a mark that is sent
/// when all results have been read, so that one that came twice would be seen.
fn palm_numbers(client: &Client, function: &str, numbers: Range<usize>) -> Vec<String> {
    let count = numbers.len();
    let (all_read, read) = mpsc::channel::<()>();
    let end = std::iter::once_with(move || {
        // The results are missing, and the job times out, if this does.
        let _ = read.recv_timeout(LONG);
        END.to_vec()
    });
    let payloads = numbers.map(|number| number.to_string().into_bytes());
    let job = client
        .request(function)
        .timeout(SOON)
        .job(payloads.chain(end))
        .unwrap();
    let mut lines = Vec::with_capacity(count);
    for result in job {
        let result = result.unwrap();
        if result == END {
            break;
        }
        lines.push(String::from_utf8(result).unwrap());
        if lines.len() == count {
            all_read.send(()).unwrap();
        }
    }
    lines
}

/// A job of numbers of a pylm client. `args` has the function, and more.
pub fn pylm_numbers(host: &Host, args: &[&str], count: usize) -> Vec<String> {
    let count = count.to_string();
    let args = [args, &["--count", &count, "numbers"]].concat();
    pylm_client(host, &args)
}

/// Runs a pylm client of a server or master, and gives what it prints. `args` are flags, then
/// what to do.
pub fn pylm_client(host: &Host, args: &[&str]) -> Vec<String> {
    pylm_client_within(LONG, host, args)
}

/// The same, with another bound than that of a job of many messages.
pub fn pylm_client_within(timeout: Duration, host: &Host, args: &[&str]) -> Vec<String> {
    let mut command = script("client.py");
    command.args(["--server", "server", "--db", host.db()]);
    if host.side() == Pylm {
        command.arg("--careful");
    }
    command.args(args);
    let client = Peer::start("pylm client", command);
    client
        .printed(timeout)
        .unwrap_or_else(|error| panic!("{error}"))
}

/// Panics unless each number up to `count` came back exactly once, with its square. Gives how
/// many each worker, or the server, has done.
pub fn check_squares(lines: &[String], count: usize) -> BTreeMap<String, usize> {
    let mut done = BTreeMap::new();
    let mut times = vec![0_usize; count];
    for line in lines {
        let fields: Vec<&str> = line.split(' ').collect();
        let [number, square, by] = fields[..] else {
            panic!("'{line}' is no result of square");
        };
        let number: usize = number.parse().unwrap();
        assert_eq!(square, (number * number).to_string(), "in '{line}'");
        assert!(number < count, "'{line}' was not asked for");
        times[number] += 1;
        *done.entry(by.to_owned()).or_default() += 1;
    }
    let of = |wanted: fn(usize) -> bool| -> Vec<usize> {
        (0..count).filter(|&n| wanted(times[n])).collect()
    };
    let (lost, doubled) = (of(|times| times == 0), of(|times| times > 1));
    assert!(
        lost.is_empty() && doubled.is_empty(),
        "of {count} messages {} are lost, such as {:?}, and {} doubled, such as {:?}",
        lost.len(),
        &lost[..lost.len().min(10)],
        doubled.len(),
        &doubled[..doubled.len().min(10)]
    );
    done
}
