//! What a client does, and what it has seen.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::common::Failure;

/// What a client process does.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Load {
    /// How many clients it is at once.
    pub clients: usize,
    /// How many messages each of them sends.
    pub count: usize,
    /// The size of a payload, in bytes; of 8 at the least, for its number.
    pub size: usize,
    /// How many may be open at once; 0 for what the client does by itself.
    pub window: usize,
    /// How they are sent.
    pub kind: Kind,
    /// How long results are left unread at first; or nothing at all is done.
    pub late: Duration,
}

/// How messages are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// All in a stream.
    Stream,
    /// One at a time, each awaited.
    Calls,
    /// To the cache in place of a function, one at a time: each is set, and read again.
    Cache,
    /// Not at all: all are there, and nobody does anything.
    Idle,
}

/// What came of it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// From the first message to the last result, without the time in which it did not read.
    pub seconds: f64,
    /// Messages without a result.
    pub lost: usize,
    /// Results too many.
    pub doubled: usize,
    /// Of one at a time: how long each took, in seconds, in ascending order.
    pub calls: Vec<f64>,
}

impl Load {
    /// The payload with a number.
    pub fn payload(&self, number: usize) -> Vec<u8> {
        let mut payload = (number as u64).to_le_bytes().to_vec();
        payload.resize(self.size.max(8), 0x5a);
        payload
    }

    /// Does nothing for its time.
    pub fn idle(&self) -> Report {
        let start = Instant::now();
        std::thread::sleep(self.late);
        Report {
            seconds: start.elapsed().as_secs_f64(),
            ..Report::default()
        }
    }

    /// Times one call after the other.
    pub fn time_calls(
        &self,
        mut call: impl FnMut(Vec<u8>) -> Result<Vec<u8>, Failure>,
    ) -> Result<Report, Failure> {
        let mut seen = Seen::new(self.count);
        let mut calls = Vec::with_capacity(self.count);
        let start = Instant::now();
        for number in 0..self.count {
            let payload = self.payload(number);
            let start = Instant::now();
            let result = call(payload)?;
            calls.push(start.elapsed().as_secs_f64());
            seen.note(&result);
        }
        calls.sort_by(f64::total_cmp);
        Ok(Report {
            calls,
            ..seen.report(start.elapsed())
        })
    }

    /// Times streams, each in a thread of its own: `stream` sends everything and gives the
    /// results.
    pub fn time_streams<S, R>(&self, streams: impl Iterator<Item = S>) -> Result<Report, Failure>
    where
        S: FnOnce() -> Result<R, Failure> + Send,
        R: Iterator<Item = Result<Vec<u8>, Failure>>,
    {
        let start = Instant::now();
        let ended = std::thread::scope(|scope| {
            let running: Vec<_> = streams
                .map(|stream| scope.spawn(|| self.read(stream()?)))
                .collect();
            let ended = running.into_iter().map(|thread| {
                let died = || Failure::from("a thread of the client has died".to_owned());
                thread.join().map_err(|_| died())?
            });
            ended.collect::<Result<Vec<Seen>, Failure>>()
        })?;
        let took = start.elapsed().saturating_sub(self.late);
        let mut report = Report::default();
        for seen in ended {
            let one = seen.report(took);
            report.lost += one.lost;
            report.doubled += one.doubled;
        }
        report.seconds = took.as_secs_f64();
        Ok(report)
    }

    fn read(
        &self,
        results: impl Iterator<Item = Result<Vec<u8>, Failure>>,
    ) -> Result<Seen, Failure> {
        std::thread::sleep(self.late);
        let mut seen = Seen::new(self.count);
        for result in results {
            seen.note(&result?);
        }
        Ok(seen)
    }
}

/// Which results have come.
pub struct Seen {
    numbers: Vec<bool>,
    left: usize,
    doubled: usize,
}

impl Seen {
    pub fn new(count: usize) -> Self {
        Self {
            numbers: vec![false; count],
            left: count,
            doubled: 0,
        }
    }

    /// One has come. Whether it is one that was not there yet.
    pub fn note(&mut self, result: &[u8]) {
        let number = result.first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
        let number = number.and_then(|number| usize::try_from(number).ok());
        match number.and_then(|number| self.numbers.get_mut(number)) {
            Some(seen) if !*seen => {
                *seen = true;
                self.left -= 1;
            }
            _ => self.doubled += 1,
        }
    }

    pub fn is_complete(&self) -> bool {
        self.left == 0
    }

    pub fn report(&self, took: Duration) -> Report {
        Report {
            seconds: took.as_secs_f64(),
            lost: self.left,
            doubled: self.doubled,
            calls: Vec::new(),
        }
    }
}

/// Takes its time for every second message.
pub fn nap(payload: &[u8], nap: Duration) {
    if payload.first().is_some_and(|byte| byte % 2 == 0) {
        std::thread::sleep(nap);
    }
}
