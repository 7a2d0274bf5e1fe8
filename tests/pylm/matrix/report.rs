//! How the mixes went.

use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::example::Example;
use super::mix::Mix;
use crate::support::Palm;

/// So many mixes of an example run at the same time: they wait more than they work.
const THREADS: usize = 4;

/// How a mix went.
pub enum Verdict {
    AsExpected,
    Failed(String),
    CannotBe(&'static str),
}

impl Verdict {
    pub fn was_run(&self) -> bool {
        !matches!(self, Self::CannotBe(_))
    }
}

/// Does something with each mix, with some at the same time.
pub fn at_the_same_time(mixes: &[Mix], run: impl Fn(&Mix) -> Verdict + Sync) -> Vec<Verdict> {
    let next = AtomicUsize::new(0);
    let verdicts: Vec<_> = mixes.iter().map(|_| Mutex::new(None)).collect();
    std::thread::scope(|scope| {
        for _ in 0..THREADS.min(mixes.len()) {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(mix) = mixes.get(number) else { break };
                    let verdict = run(mix);
                    *verdicts[number].lock().unwrap() = Some(verdict);
                }
            });
        }
    });
    let verdicts = verdicts.into_iter().map(Mutex::into_inner);
    verdicts
        .map(|verdict| verdict.unwrap().expect("every mix was run"))
        .collect()
}

/// Prints the verdicts, and panics if one failed.
pub fn matrix(example: &Example, mixes: &[Mix], verdicts: &[Verdict]) {
    let mut table = format!("{}\n", example.name);
    let mut failures = String::new();
    for (mix, verdict) in mixes.iter().zip(verdicts) {
        let mut name = String::new();
        for (role, side) in example.roles.iter().zip(&mix.0) {
            let side = if *side == Palm { "palm" } else { "pylm" };
            let _ = write!(name, "  {side} {}", role.name);
        }
        match verdict {
            Verdict::AsExpected => {
                _ = match example.special_line(&mix.0) {
                    Some(line) => writeln!(table, "{name}  between palm peers: {line}"),
                    None => writeln!(table, "{name}  same output"),
                };
            }
            Verdict::CannotBe(reason) => _ = writeln!(table, "{name}  cannot be: {reason}"),
            Verdict::Failed(error) => {
                _ = writeln!(table, "{name}  FAILED");
                _ = writeln!(failures, "{}{name}: {error}", example.name);
            }
        }
    }
    // Not `print!`: the matrix is to be seen when all is well, too.
    let _ = std::io::stderr().write_all(table.as_bytes());
    assert!(failures.is_empty(), "{failures}");
}
