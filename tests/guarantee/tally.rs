//! Numbers as payloads, and the count of what came of them.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

use palm::Job;

/// What each step makes of a number: never the same of two.
pub fn step(number: u64) -> u64 {
    3 * number + 1
}

/// A payload of some size that begins with a number.
pub fn payload(number: u64, size: usize) -> Vec<u8> {
    let mut payload = number.to_be_bytes().to_vec();
    payload.resize(size.max(8), 0x5a);
    payload
}

/// The number that a payload begins with.
pub fn number(payload: &[u8]) -> u64 {
    u64::from_be_bytes(payload[..8].try_into().expect("a number"))
}

/// A payload with another number, and the same otherwise.
pub fn with_number(mut payload: Vec<u8>, number: u64) -> Vec<u8> {
    payload[..8].copy_from_slice(&number.to_be_bytes());
    payload
}

/// How many results the function `several` makes of a number.
pub fn several(number: u64) -> u64 {
    number % MOST
}

/// More than `several` makes of any.
const MOST: u64 = 4;

/// A payload with another last byte, by which the results of one message are told apart.
pub fn with_copy(mut payload: Vec<u8>, copy: u64) -> Vec<u8> {
    *payload.last_mut().expect("a payload") = copy as u8;
    payload
}

/// A job of the numbers from 0 on, and what should come of it.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub messages: u64,
    /// The size of each payload: at least 8, and 9 if a step makes several results.
    pub size: usize,
    pub steps: u32,
    /// Which of the steps is `several`, from 0, if one is.
    pub several: Option<u32>,
}

impl Plan {
    /// One step, which makes one result of each.
    pub fn of(messages: u64, size: usize) -> Self {
        Self {
            messages,
            size,
            steps: 1,
            several: None,
        }
    }

    fn after(number: u64, steps: u32) -> u64 {
        (0..steps).fold(number, |number, _| step(number))
    }

    /// How many results there should be of a message.
    fn count(&self, message: u64) -> u64 {
        self.several
            .map_or(1, |before| several(Self::after(message, before)))
    }

    pub fn results(&self) -> u64 {
        (0..self.messages).map(|message| self.count(message)).sum()
    }

    /// Which of the results of a message this should be, if it is one.
    fn copy_of(&self, message: u64, result: &[u8]) -> Option<u64> {
        let expected = payload(Self::after(message, self.steps), self.size);
        (0..self.count(message)).find(|copy| match self.several {
            Some(_) => with_copy(expected.clone(), *copy) == result,
            None => expected == result,
        })
    }
}

/// What has come of a job of the numbers from 0 on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    pub messages: u64,
    /// How many results should come of them.
    pub expected: u64,
    pub results: u64,
    /// Results that should have come and have not.
    pub missing: u64,
    /// Results that have come before.
    pub doubles: u64,
    /// Results that are not what comes of the message that they say they are of.
    pub wrong: u64,
    pub errors: u64,
    pub took: Duration,
}

impl Tally {
    /// Reads a job to its end.
    pub fn of(mut job: Job, plan: Plan, mut progress: impl FnMut(u64)) -> Self {
        let start = Instant::now();
        let mut tally = Self {
            messages: plan.messages,
            expected: plan.results(),
            ..Self::default()
        };
        let mut seen = vec![0_u8; (plan.messages * MOST) as usize];
        for result in job.results() {
            let message = result.message;
            match result.payload {
                Ok(result) => {
                    tally.results += 1;
                    let message = message.filter(|message| *message < plan.messages);
                    let copy = message.and_then(|message| plan.copy_of(message, &result));
                    match message.zip(copy) {
                        Some((message, copy)) => seen[(message * MOST + copy) as usize] += 1,
                        None => tally.wrong += 1,
                    }
                }
                Err(error) => {
                    eprintln!("message {message:?}: {error}");
                    tally.errors += 1;
                }
            }
            if tally.results.is_multiple_of(500) {
                progress(tally.results);
            }
        }
        let different = seen.iter().filter(|seen| **seen > 0).count() as u64;
        tally.missing = tally.expected - different;
        tally.doubles = seen
            .iter()
            .map(|seen| u64::from(seen.saturating_sub(1)))
            .sum();
        tally.took = start.elapsed();
        tally
    }

    /// All results are there, each once, and nothing else.
    #[track_caller]
    pub fn is_whole(&self) {
        let wanted = Self {
            messages: self.messages,
            expected: self.expected,
            results: self.expected,
            took: self.took,
            ..Self::default()
        };
        assert_eq!(*self, wanted, "missing, doubled, wrong or failed");
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            messages,
            expected,
            results,
            missing,
            doubles,
            wrong,
            errors,
            took,
        } = self;
        let took = took.as_micros();
        write!(
            f,
            "{messages} {expected} {results} {missing} {doubles} {wrong} {errors} {took}"
        )
    }
}

impl FromStr for Tally {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let numbers = text.split(' ').map(str::parse);
        let numbers = numbers.collect::<Result<Vec<u64>, _>>()?;
        let [
            messages,
            expected,
            results,
            missing,
            doubles,
            wrong,
            errors,
            took,
        ] = numbers[..]
        else {
            panic!("no tally: {text}");
        };
        Ok(Self {
            messages,
            expected,
            results,
            missing,
            doubles,
            wrong,
            errors,
            took: Duration::from_micros(took),
        })
    }
}

#[test]
fn a_tally_is_told_whole() {
    let tally = Tally {
        messages: 1,
        expected: 2,
        results: 3,
        missing: 4,
        doubles: 5,
        wrong: 6,
        errors: 7,
        took: Duration::from_micros(8),
    };
    assert_eq!(tally.to_string().parse(), Ok(tally));
}
