//! Things that have some numbers in a row each, any of which may be taken out by itself.

use std::collections::BTreeMap;

/// How many numbers a thing has at the most.
pub(crate) const MOST: usize = u64::BITS as usize;

/// Things by the first of their numbers, in ascending order, and which of the numbers are open. A
/// thing is gone when none of its numbers is open.
#[derive(Debug)]
pub(crate) struct Ranges<T> {
    entries: BTreeMap<u64, Entry<T>>,
    /// How many numbers are open.
    open: usize,
}

#[derive(Debug)]
struct Entry<T> {
    value: T,
    count: usize,
    /// A bit for each number, from the first on.
    open: u64,
}

impl<T> Default for Ranges<T> {
    fn default() -> Self {
        Self {
            entries: BTreeMap::new(),
            open: 0,
        }
    }
}

/// The bits of the numbers from `start` to before `end`, of those of a thing.
fn bits(start: usize, end: usize) -> u64 {
    let upto = |end: usize| match end {
        MOST.. => u64::MAX,
        _ => (1 << end) - 1,
    };
    upto(end) & !upto(start)
}

/// The numbers of these bits in a row: where each row begins, and how long it is.
pub(crate) fn rows(mut bits: u64) -> impl Iterator<Item = (usize, usize)> {
    std::iter::from_fn(move || {
        if bits == 0 {
            return None;
        }
        let start = bits.trailing_zeros() as usize;
        let count = (bits >> start).trailing_ones() as usize;
        bits &= !self::bits(start, start + count);
        Some((start, count))
    })
}

impl<T> Ranges<T> {
    /// Adds something with so many numbers from this one on, which nothing else has: from 1 to
    /// [`MOST`].
    pub(crate) fn insert(&mut self, first: u64, count: usize, value: T) {
        debug_assert!((1..=MOST).contains(&count));
        let open = bits(0, count);
        self.open += count;
        let before = self.entries.insert(first, Entry { value, count, open });
        debug_assert!(before.is_none());
    }

    /// Takes out those of these numbers that are open. `part` is told of each thing that has some
    /// of them, with a bit for each; what has no others open is given to `gone` then.
    pub(crate) fn take(
        &mut self,
        first: u64,
        count: usize,
        mut part: impl FnMut(&mut T, u64),
        mut gone: impl FnMut(T),
    ) {
        let end = first.saturating_add(count as u64);
        let mut at = first;
        while at < end {
            let before = self.entries.range_mut(..=at).next_back();
            let here = before.filter(|(first, entry)| at - **first < entry.count as u64);
            let Some((&begin, entry)) = here else {
                match self.entries.range(at..end).next() {
                    Some((next, _)) => at = *next,
                    None => return,
                }
                continue;
            };
            let last = (end - begin).min(entry.count as u64);
            let taken = entry.open & bits((at - begin) as usize, last as usize);
            if taken != 0 {
                self.open -= taken.count_ones() as usize;
                entry.open &= !taken;
                part(&mut entry.value, taken);
            }
            if entry.open == 0
                && let Some(entry) = self.entries.remove(&begin)
            {
                gone(entry.value);
            }
            at = begin + last;
        }
    }

    /// Whether a number is open.
    pub(crate) fn contains(&self, number: u64) -> bool {
        let before = self.entries.range(..=number).next_back();
        before.is_some_and(|(first, entry)| {
            let at = number - first;
            at < entry.count as u64 && entry.open >> at & 1 == 1
        })
    }

    /// Takes out the thing that has a number, with its first number and the bits of those that are
    /// open.
    pub(crate) fn remove(&mut self, number: u64) -> Option<(u64, u64, T)> {
        let (first, entry) = self.entries.range(..=number).next_back()?;
        let first = *first;
        if number - first >= entry.count as u64 {
            return None;
        }
        let entry = self.entries.remove(&first)?;
        self.open -= entry.open.count_ones() as usize;
        Some((first, entry.open, entry.value))
    }

    pub(crate) fn get_mut(&mut self, first: u64) -> Option<&mut T> {
        self.entries.get_mut(&first).map(|entry| &mut entry.value)
    }

    /// Takes out what has no number below this one.
    pub(crate) fn split_off(&mut self, first: u64) -> impl DoubleEndedIterator<Item = T> + use<T> {
        let late = self.entries.split_off(&first);
        let open = late.values().map(|entry| entry.open.count_ones() as usize);
        self.open -= open.sum::<usize>();
        late.into_values().map(|entry| entry.value)
    }

    /// The numbers that are open, in ascending order.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = u64> + '_ {
        self.entries.iter().flat_map(|(first, entry)| {
            let open = (0..entry.count as u64).filter(|at| entry.open >> at & 1 == 1);
            open.map(move |at| first + at)
        })
    }

    /// How many numbers are open.
    pub(crate) fn len(&self) -> usize {
        self.open
    }

    /// All things, in ascending order.
    pub(crate) fn into_values(self) -> impl DoubleEndedIterator<Item = T> {
        self.entries.into_values().map(|entry| entry.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_is_taken_once_and_a_thing_is_gone_with_its_last() {
        let mut seed = 1_u64;
        let mut below = |most: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) % most
        };
        for _ in 0..300 {
            let (mut ranges, mut open, mut of) = (Ranges::default(), Vec::new(), Vec::new());
            let mut next = 1 + below(3);
            for thing in 0..20 {
                let count = 1 + below(MOST as u64);
                ranges.insert(next, count as usize, thing);
                open.extend(next..next + count);
                of.push((next, count));
                next += count + below(2) * below(10);
            }
            while !open.is_empty() {
                let (first, count) = (below(next + 5), 1 + below(150));
                let (mut told, mut gone) = (Vec::new(), Vec::new());
                let part = |thing: &mut usize, bits| {
                    let begin = of[*thing].0;
                    for (at, count) in rows(bits) {
                        told.extend(begin + at as u64..begin + (at + count) as u64);
                    }
                };
                ranges.take(first, count as usize, part, |thing| gone.push(thing));
                let is_taken = |number: &u64| (first..first + count).contains(number);
                let expected: Vec<_> = open.iter().copied().filter(is_taken).collect();
                open.retain(|number| !is_taken(number));
                assert_eq!(told, expected);
                for thing in gone {
                    let (begin, count) = of[thing];
                    assert!(
                        !open
                            .iter()
                            .any(|number| (begin..begin + count).contains(number))
                    );
                }
                assert!(ranges.numbers().eq(open.iter().copied()));
                assert_eq!(ranges.len(), open.len());
                let number = below(next + 5);
                assert_eq!(ranges.contains(number), open.contains(&number));
            }
            assert_eq!(ranges.into_values().count(), 0);
        }
    }

    #[test]
    fn what_nobody_could_have_meant_takes_what_there_is() {
        let mut ranges = Ranges::default();
        ranges.insert(5, MOST, 'a');
        ranges.insert(u64::MAX - 1, 1, 'b');
        let mut gone = Vec::new();
        ranges.take(0, usize::MAX, |_, _| {}, |thing| gone.push(thing));
        assert_eq!(gone, ['a', 'b']);
        ranges.take(u64::MAX, 7, |_, _| {}, |_| panic!("nothing is there"));
    }
}
