//! Things that have a name: known by a small number while something uses them, then forgotten.

use std::collections::{BTreeMap, HashMap};
use std::ops::{Index, IndexMut};
use std::sync::Arc;

/// By the order in which they came. No number is used twice.
#[derive(Debug)]
pub(super) struct Named<V> {
    numbers: HashMap<Arc<str>, u64>,
    values: BTreeMap<u64, (Arc<str>, V)>,
    next: u64,
    /// What was noted last: often it is the next, too.
    last: Option<(Arc<str>, u64)>,
}

impl<V> Named<V> {
    pub(super) fn new() -> Self {
        Self {
            numbers: HashMap::new(),
            values: BTreeMap::new(),
            next: 0,
            last: None,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    pub(super) fn contains(&self, number: u64) -> bool {
        self.values.contains_key(&number)
    }

    pub(super) fn number_of(&self, name: &str) -> Option<u64> {
        self.numbers.get(name).copied()
    }

    /// The number of a name, and whether it is new.
    pub(super) fn note(&mut self, name: &str, value: impl FnOnce() -> V) -> (u64, bool) {
        if let Some((last, number)) = &self.last
            && **last == *name
        {
            return (*number, false);
        }
        if let Some((name, &number)) = self.numbers.get_key_value(name) {
            self.last = Some((name.clone(), number));
            return (number, false);
        }
        let number = self.next;
        self.next += 1;
        let name: Arc<str> = name.into();
        self.last = Some((name.clone(), number));
        self.numbers.insert(name.clone(), number);
        self.values.insert(number, (name, value()));
        (number, true)
    }

    pub(super) fn name(&self, number: u64) -> &str {
        &self.values[&number].0
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &V)> {
        self.values.values().map(|(name, value)| (&**name, value))
    }

    pub(super) fn numbers(&self) -> Vec<u64> {
        self.values.keys().copied().collect()
    }

    pub(super) fn remove(&mut self, number: u64) {
        if let Some((name, _)) = self.values.remove(&number) {
            self.numbers.remove(&name);
            self.last.take_if(|(_, last)| *last == number);
        }
    }
}

impl<V> Index<u64> for Named<V> {
    type Output = V;

    fn index(&self, number: u64) -> &V {
        &self.values[&number].1
    }
}

impl<V> IndexMut<u64> for Named<V> {
    fn index_mut(&mut self, number: u64) -> &mut V {
        let (_, value) = self.values.get_mut(&number).expect("it is in use");
        value
    }
}
