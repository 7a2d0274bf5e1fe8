//! The order in which a job's outputs are read, if that matters.

use std::collections::{BTreeMap, VecDeque};

use super::job::Output;

/// Outputs that are to be read in the order of their messages, and those of a message in that of
/// their positions.
#[derive(Debug)]
pub(super) struct Order {
    /// The first message that is not done.
    head: u64,
    /// The path of its output that was let through last.
    last: Option<Vec<u64>>,
    /// What has to wait. Numbered, as malformed paths may look alike.
    held: BTreeMap<(u64, Vec<u64>, u64), Output>,
    count: u64,
}

impl Default for Order {
    fn default() -> Self {
        Self {
            head: 1,
            last: None,
            held: BTreeMap::new(),
            count: 0,
        }
    }
}

impl Order {
    /// Whether it is the turn of an output. One of no known message has none to wait for.
    pub(super) fn is_due(&self, output: &Output) -> bool {
        match output.number {
            Some(number) if number == self.head => follows(&self.last, &output.path),
            Some(number) => number < self.head,
            None => true,
        }
    }

    /// Lets an output through whose turn it is, and those that only waited for it.
    pub(super) fn pass(&mut self, output: Output, ready: &mut VecDeque<Output>) {
        if output.number == Some(self.head) {
            self.last = Some(output.path.clone());
        }
        ready.push_back(output);
        self.release(ready);
    }

    pub(super) fn hold(&mut self, output: Output) {
        self.count += 1;
        let number = output.number.unwrap_or_default();
        let key = (number, output.path.clone(), self.count);
        self.held.insert(key, output);
    }

    /// Messages up to `last` are there, some of which are not open any more.
    pub(super) fn advance(
        &mut self,
        last: u64,
        is_open: impl Fn(u64) -> bool,
        ready: &mut VecDeque<Output>,
    ) {
        while self.head <= last && !is_open(self.head) {
            self.head += 1;
            self.last = None;
        }
        self.release(ready);
    }

    fn release(&mut self, ready: &mut VecDeque<Output>) {
        while let Some(first) = self.held.first_entry() {
            let (number, path, _) = first.key();
            if *number > self.head || *number == self.head && !follows(&self.last, path) {
                return;
            }
            if *number == self.head {
                self.last = Some(path.clone());
            }
            ready.push_back(first.remove());
        }
    }
}

/// Whether nothing can stand between two paths: the second is the very first, or the next at the
/// same fork. (Where one ends and another begins is known only when all have come.)
fn follows(last: &Option<Vec<u64>>, path: &[u64]) -> bool {
    let Some(last) = last else {
        return path.iter().all(|position| *position == 0);
    };
    match (last.split_last(), path.split_last()) {
        (Some((last, before)), Some((next, now))) => {
            before == now && last.checked_add(1) == Some(*next)
        }
        _ => false,
    }
}
