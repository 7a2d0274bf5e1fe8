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

/// What has come of a job of the numbers from 0 on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    pub messages: u64,
    pub results: u64,
    /// Messages without a result or an error.
    pub missing: u64,
    /// Results and errors over one a message.
    pub doubles: u64,
    /// Results that are not what comes of the message that they say they are of.
    pub wrong: u64,
    pub errors: u64,
    pub took: Duration,
}

impl Tally {
    /// Reads a job of so many messages of this size to its end. Each went through some steps.
    pub fn of(
        mut job: Job,
        messages: u64,
        size: usize,
        steps: u32,
        mut progress: impl FnMut(u64),
    ) -> Self {
        let start = Instant::now();
        let mut tally = Self {
            messages,
            ..Self::default()
        };
        let mut seen = vec![0_u64; messages as usize];
        let mut come = 0;
        for result in job.results() {
            let Some(message) = result.message else {
                // It ends the job.
                eprintln!("the job ended: {:?}", result.payload);
                tally.errors += 1;
                continue;
            };
            match seen.get_mut(message as usize) {
                Some(seen) => *seen += 1,
                None => tally.wrong += 1,
            }
            match result.payload {
                Ok(result) => {
                    let expected = (0..steps).fold(message, |number, _| step(number));
                    tally.results += 1;
                    tally.wrong += u64::from(result != payload(expected, size));
                }
                Err(error) => {
                    eprintln!("message {message}: {error}");
                    tally.errors += 1;
                }
            }
            come += 1;
            if come % 500 == 0 {
                progress(come);
            }
        }
        tally.missing = seen.iter().filter(|seen| **seen == 0).count() as u64;
        tally.doubles = seen.iter().map(|seen| seen.saturating_sub(1)).sum();
        tally.took = start.elapsed();
        tally
    }

    /// Each message has exactly one result, and it is the right one.
    #[track_caller]
    pub fn is_whole(&self) {
        let wanted = Self {
            messages: self.messages,
            results: self.messages,
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
            "{messages} {results} {missing} {doubles} {wrong} {errors} {took}"
        )
    }
}

impl FromStr for Tally {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let numbers = text.split(' ').map(str::parse);
        let numbers = numbers.collect::<Result<Vec<u64>, _>>()?;
        let [messages, results, missing, doubles, wrong, errors, took] = numbers[..] else {
            panic!("no tally: {text}");
        };
        Ok(Self {
            messages,
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
        results: 2,
        missing: 3,
        doubles: 4,
        wrong: 5,
        errors: 6,
        took: Duration::from_micros(7),
    };
    assert_eq!(tally.to_string().parse(), Ok(tally));
}
