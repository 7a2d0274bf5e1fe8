//! What was run where, and when: a file that the workers write to.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tempfile::TempDir;

const RECORD: usize = 40;

/// A function that was begun, or is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    pub number: u64,
    /// The process that ran it.
    pub process: u64,
    /// When, in nanoseconds since 1970.
    pub at: u64,
    /// What the worker was told to write with it.
    pub mark: u64,
    /// How long it took, in nanoseconds, if its end was written down.
    pub took: u64,
}

/// The writing side. Each record is one write to the end, so that a killed worker's are whole.
pub struct Writer(File);

impl Writer {
    pub fn open(path: &str) -> Self {
        let file = OpenOptions::new().create(true).append(true).open(path);
        Self(file.unwrap())
    }

    pub fn write(&self, number: u64, mark: u64, took: Duration) {
        let took = took.as_nanos() as u64;
        let fields = [number, u64::from(std::process::id()), now(), mark, took];
        let mut record = [0; RECORD];
        for (place, field) in record.chunks_exact_mut(8).zip(fields) {
            place.copy_from_slice(&field.to_le_bytes());
        }
        (&self.0).write_all(&record).unwrap();
    }
}

/// The time, in nanoseconds since 1970.
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(since.as_nanos()).unwrap()
}

/// The reading side.
pub struct Journal {
    _folder: TempDir,
    path: PathBuf,
}

impl Journal {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        File::create(&path).unwrap();
        Self {
            _folder: folder,
            path,
        }
    }

    pub fn path(&self) -> &str {
        self.path.to_str().unwrap()
    }

    pub fn runs(&self) -> Vec<Run> {
        let bytes = std::fs::read(&self.path).unwrap();
        let records = bytes.chunks_exact(RECORD);
        let field = |record: &[u8], index: usize| {
            u64::from_le_bytes(record[8 * index..][..8].try_into().unwrap())
        };
        let runs = records.map(|record| Run {
            number: field(record, 0),
            process: field(record, 1),
            at: field(record, 2),
            mark: field(record, 3),
            took: field(record, 4),
        });
        runs.collect()
    }

    /// How many functions were begun beyond those that were asked for.
    pub fn beyond(&self, asked: u64) -> u64 {
        self.runs().len() as u64 - asked
    }

    /// How many numbers were begun more than once, and the most often that one was.
    pub fn again(&self) -> (usize, usize) {
        let mut counts = HashMap::<u64, usize>::new();
        for run in self.runs() {
            *counts.entry(run.number).or_default() += 1;
        }
        let again = counts.values().filter(|count| **count > 1).count();
        (again, counts.values().copied().max().unwrap_or(0))
    }
}
