//! How much a part that takes its time is given at once.

use std::time::Duration;

/// Messages that take so long in all are given at once. More would only wait, in the order in which they
/// came, where what comes of others later cannot have its turn before them.
const AT_ONCE: Duration = Duration::from_millis(1);

/// Nor more than what so many bytes come of: whose client does not read is found out when that is kept.
const BYTES_AT_ONCE: u64 = 256 << 10;

/// Of messages that take so little it need not be reckoned how many those are: a batch has fewer.
const QUICK: Duration = Duration::from_micros(4);

/// How long messages take of late, and how large is what comes of them, on average.
#[derive(Debug)]
pub(super) struct Pace {
    each: Duration,
    bytes: u64,
}

impl Pace {
    /// Nothing is known yet: they may take long.
    pub(super) fn new() -> Self {
        Self {
            each: AT_ONCE,
            bytes: 0,
        }
    }

    /// So many have taken so long in all, and so many bytes have come of them. Each counts for an eighth
    /// of the average; but what much comes of is remembered for a while.
    pub(super) fn note(&mut self, count: usize, took: Duration, bytes: u64) {
        let count = u32::try_from(count).unwrap_or(u32::MAX).max(1);
        let weight = count.min(8);
        let (each, bytes) = (took / count, bytes / u64::from(count));
        self.each = self.each / 8 * (8 - weight) + each / 8 * weight;
        self.bytes = bytes.max(self.bytes - self.bytes.div_ceil(8));
    }

    /// How many are to be given at once, at the most.
    pub(super) fn most(&self) -> usize {
        let in_time = match self.each < QUICK {
            true => usize::MAX,
            false => (AT_ONCE.as_nanos() / self.each.as_nanos()).max(1) as usize,
        };
        let in_bytes = BYTES_AT_ONCE.checked_div(self.bytes);
        in_bytes.map_or(in_time, |most| in_time.min(most.max(1) as usize))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_much_is_given_at_once_as_takes_a_while() {
        let mut pace = Pace::new();
        assert_eq!(pace.most(), 1);
        let mut after = |count, took| {
            pace.note(count, took, 0);
            pace.most()
        };
        assert_eq!(after(100, Duration::from_millis(1)), 100);
        assert_eq!(after(512, Duration::from_micros(100)), usize::MAX);
        // One that takes long among many that do not is felt for some of them only.
        assert_eq!(after(1, Duration::from_millis(4)), 1);
        assert_eq!(after(8, Duration::from_micros(80)), 100);
        assert_eq!(after(8, Duration::from_secs(80)), 1);
        assert_eq!(after(1, Duration::MAX), 1);
    }

    #[test]
    fn of_what_much_comes_less_is_given_at_once() {
        let mut pace = Pace::new();
        pace.note(100, Duration::ZERO, 100 * 1_024);
        assert_eq!(pace.most(), 256);
        pace.note(100, Duration::ZERO, 100 << 20);
        assert_eq!(pace.most(), 1);
        // That is remembered for a while.
        pace.note(100, Duration::ZERO, 0);
        assert_eq!(pace.most(), 1);
        (0..200).for_each(|_| pace.note(100, Duration::ZERO, 0));
        assert_eq!(pace.most(), usize::MAX);
    }
}
