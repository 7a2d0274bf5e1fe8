//! Things with ascending numbers, of which nearly all are taken out about in the order in which
//! they came.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Index;

/// So many places may be empty without any being moved.
const SPARE: usize = 256;

/// Room for more than so many is given back when nothing is left.
const SPACIOUS: usize = 4_096;

/// A map by numbers, as a queue: to add the next, to look one up and to take one out costs the
/// same, however many there are.
///
/// The places from the first to the last of the queue are there, be they empty. So the first
/// ones must not keep many others: when more places are empty than not, the oldest go to a tree.
#[derive(Debug)]
pub(crate) struct Numbered<T> {
    old: BTreeMap<u64, T>,
    /// The number of the first place of the queue.
    first: u64,
    places: VecDeque<Option<T>>,
    /// How many of them are not empty.
    filled: usize,
}

impl<T> Default for Numbered<T> {
    fn default() -> Self {
        Self {
            old: BTreeMap::new(),
            first: 0,
            places: VecDeque::new(),
            filled: 0,
        }
    }
}

impl<T> Numbered<T> {
    /// Adds something; as a rule with a number larger than those of all others. Gives what had
    /// the number before.
    pub(crate) fn insert(&mut self, number: u64, value: T) -> Option<T> {
        if let Some(place) = self.place(number) {
            let before = self.places[place].replace(value);
            self.filled += usize::from(before.is_none());
            return before;
        }
        let next = self.first + self.places.len() as u64;
        if number < self.first && !self.is_empty() {
            return self.old.insert(number, value);
        }
        if self.places.is_empty() {
            self.first = number;
        } else if number - next <= SPARE as u64 {
            self.places.extend((next..number).map(|_| None));
        } else {
            self.retire(self.places.len());
            self.first = number;
        }
        self.places.push_back(Some(value));
        self.filled += 1;
        self.tidy();
        None
    }

    /// Moves the first places to the tree.
    fn retire(&mut self, places: usize) {
        for value in self.places.drain(..places) {
            if let Some(value) = value {
                self.old.insert(self.first, value);
                self.filled -= 1;
            }
            self.first += 1;
        }
    }

    /// Has the first place not be empty, and not most of the others.
    fn tidy(&mut self) {
        self.drop_empty();
        if self.places.is_empty() && self.places.capacity() > SPACIOUS {
            self.places = VecDeque::new();
        }
        if self.places.len() > 2 * self.filled + SPARE {
            self.retire(self.places.len() / 2);
            self.drop_empty();
        }
    }

    fn drop_empty(&mut self) {
        while let Some(None) = self.places.front() {
            self.places.pop_front();
            self.first += 1;
        }
    }

    fn place(&self, number: u64) -> Option<usize> {
        let place = usize::try_from(number.checked_sub(self.first)?).ok()?;
        (place < self.places.len()).then_some(place)
    }

    pub(crate) fn get(&self, number: u64) -> Option<&T> {
        match self.place(number) {
            Some(place) => self.places[place].as_ref(),
            None => self.old.get(&number),
        }
    }

    pub(crate) fn get_mut(&mut self, number: u64) -> Option<&mut T> {
        match self.place(number) {
            Some(place) => self.places[place].as_mut(),
            None => self.old.get_mut(&number),
        }
    }

    pub(crate) fn contains(&self, number: u64) -> bool {
        self.get(number).is_some()
    }

    /// Takes one out.
    pub(crate) fn remove(&mut self, number: u64) -> Option<T> {
        let Some(place) = self.place(number) else {
            return self.old.remove(&number);
        };
        let value = self.places[place].take()?;
        self.filled -= 1;
        self.tidy();
        Some(value)
    }

    /// Takes out those with this number or a larger one.
    pub(crate) fn split_off(&mut self, number: u64) -> Vec<(u64, T)> {
        let old = self.old.split_off(&number);
        let place = match number.checked_sub(self.first) {
            None => 0,
            Some(place) => usize::try_from(place).map_or(usize::MAX, |place| place),
        };
        let place = place.min(self.places.len());
        let first = self.first + place as u64;
        let late = self.places.split_off(place);
        let late = late.into_iter().zip(first..);
        let late: Vec<_> = late
            .filter_map(|(value, number)| Some((number, value?)))
            .collect();
        self.filled -= late.len();
        if self.places.is_empty() {
            // All that is left is before it.
            self.first = number;
        }
        self.tidy();
        old.into_iter().chain(late).collect()
    }

    /// In the order of their numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &T)> {
        let old = self.old.iter().map(|(number, value)| (*number, value));
        let places = self.places.iter().zip(self.first..);
        old.chain(places.filter_map(|(value, number)| Some((number, value.as_ref()?))))
    }

    pub(crate) fn len(&self) -> usize {
        self.old.len() + self.filled
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T> Index<u64> for Numbered<T> {
    type Output = T;

    fn index(&self, number: u64) -> &T {
        self.get(number).expect("it is there")
    }
}

impl<T> IntoIterator for Numbered<T> {
    type Item = (u64, T);
    type IntoIter = std::vec::IntoIter<(u64, T)>;

    /// In the order of their numbers.
    fn into_iter(mut self) -> Self::IntoIter {
        self.split_off(0).into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sequence of numbers that looks like chance.
    struct Dice(u64);

    impl Dice {
        fn below(&mut self, most: u64) -> u64 {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (self.0 >> 33) % most
        }
    }

    #[test]
    fn it_is_a_map_whatever_is_done() {
        for seed in 0..200 {
            let mut dice = Dice(seed);
            let (mut own, mut map) = (Numbered::default(), BTreeMap::new());
            let mut next = dice.below(5);
            for step in 0..3_000 {
                match dice.below(20) {
                    0..8 => {
                        own.insert(next, step);
                        map.insert(next, step);
                        next += 1;
                    }
                    10 => {
                        let number = next.saturating_sub(dice.below(300));
                        assert_eq!(own.insert(number, step), map.insert(number, step));
                        next = next.max(number + 1);
                    }
                    8 if dice.below(10) == 0 => next += dice.below(1_000),
                    9 if dice.below(100) == 0 => {
                        let from = next.saturating_sub(dice.below(50));
                        let late: Vec<_> = map.split_off(&from).into_iter().collect();
                        assert_eq!(own.split_off(from), late);
                        next = next.min(from.max(1));
                    }
                    _ => {
                        let near = map.keys().nth(dice.below(3) as usize).copied();
                        let far = next.saturating_sub(dice.below(100));
                        let number = match dice.below(8) {
                            0 => far,
                            _ => near.unwrap_or(far),
                        };
                        assert_eq!(own.contains(number), map.contains_key(&number));
                        assert_eq!(own.get_mut(number), map.get_mut(&number));
                        assert_eq!(own.remove(number), map.remove(&number));
                    }
                }
                assert_eq!(own.len(), map.len());
                assert!(own.places.len() <= 2 * own.filled + SPARE);
            }
            assert!(
                own.iter()
                    .eq(map.iter().map(|(number, step)| (*number, step)))
            );
            assert_eq!(own.into_iter().collect::<BTreeMap<_, _>>(), map);
        }
    }

    #[test]
    fn an_old_one_does_not_keep_the_places_of_those_after_it() {
        let mut own = Numbered::default();
        own.insert(1, 1);
        for number in 2..1_000_000 {
            own.insert(number, number);
            own.remove(number);
            assert!(own.places.len() <= SPARE + 2);
        }
        assert_eq!(own.get(1), Some(&1));
        assert_eq!(own.remove(1), Some(1));
        assert!(own.is_empty());
    }
}
