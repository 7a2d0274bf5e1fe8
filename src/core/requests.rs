//! Requests that wait for their answers: each is answered once, in time or not at all, and
//! there are only so many.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::time::after;

/// The open requests, by the id that each has on its way. `E` is what it takes to answer one.
#[derive(Debug)]
pub(crate) struct Requests<E> {
    most: usize,
    timeout: Duration,
    open: HashMap<Uuid, E>,
    /// In the order of their ends. Those that are answered are still here for a while.
    ends: VecDeque<(Instant, Uuid)>,
}

impl<E> Requests<E> {
    /// At most so many are to be open, each for so long.
    pub(crate) fn new(most: usize, timeout: Duration) -> Self {
        Self {
            most,
            timeout,
            open: HashMap::new(),
            ends: VecDeque::new(),
        }
    }

    /// How many are open.
    pub(crate) fn len(&self) -> usize {
        self.open.len()
    }

    /// Notes a request. Whoever calls sees to it that there are not too many.
    pub(crate) fn open(&mut self, id: Uuid, request: E, now: Instant) {
        debug_assert!(self.open.len() < self.most);
        if self.ends.len() >= 2 * self.most {
            let open = &self.open;
            self.ends.retain(|(_, id)| open.contains_key(id));
        }
        self.ends.push_back((after(now, self.timeout), id));
        self.open.insert(id, request);
    }

    /// The request that is to be answered now, unless it has been or its time is over.
    pub(crate) fn close(&mut self, id: Uuid) -> Option<E> {
        self.open.remove(&id)
    }

    /// The next one whose time is over.
    pub(crate) fn expire(&mut self, now: Instant) -> Option<(Uuid, E)> {
        while self.ends.front().is_some_and(|(end, _)| *end <= now) {
            let (_, id) = self.ends.pop_front()?;
            if let Some(request) = self.open.remove(&id) {
                return Some((id, request));
            }
        }
        None
    }

    /// When to look for one whose time is over.
    pub(crate) fn next_end(&self) -> Option<Instant> {
        let open = !self.open.is_empty();
        self.ends.front().filter(|_| open).map(|(end, _)| *end)
    }

    /// All that are open.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = E> {
        self.ends.clear();
        self.open.drain().map(|(_, request)| request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(30);

    #[test]
    fn a_request_is_answered_once() {
        let mut requests = Requests::new(2, TIMEOUT);
        let (now, id) = (Instant::now(), Uuid::new_v4());
        requests.open(id, "me", now);
        assert_eq!(requests.close(id), Some("me"));
        assert_eq!(requests.close(id), None);
        assert_eq!(requests.close(Uuid::new_v4()), None);
        assert_eq!(requests.expire(now + TIMEOUT), None);
    }

    #[test]
    fn a_request_ends_when_its_time_is_over_and_not_before() {
        let mut requests = Requests::new(3, TIMEOUT);
        let now = Instant::now();
        let ids = [0, 1, 2].map(|second| {
            let id = Uuid::new_v4();
            requests.open(id, second, now + Duration::from_secs(second));
            id
        });
        requests.close(ids[0]);
        assert_eq!(requests.expire(now + TIMEOUT), None);
        let end = requests.next_end().unwrap();
        assert_eq!(requests.expire(end), Some((ids[1], 1)));
        assert_eq!(requests.expire(end), None);
        assert_eq!(requests.close(ids[1]), None);
        assert_eq!(requests.close(ids[2]), Some(2));
        assert_eq!(requests.next_end(), None);
    }

    #[test]
    fn what_was_answered_takes_no_room_for_long() {
        let mut requests = Requests::new(10, Duration::MAX);
        let now = Instant::now();
        let stuck = Uuid::new_v4();
        requests.open(stuck, 0, now);
        for number in 1..10_000 {
            let id = Uuid::new_v4();
            requests.open(id, number, now);
            requests.close(id);
            assert!(requests.ends.len() <= 20);
        }
        assert_eq!((requests.len(), requests.drain().last()), (1, Some(0)));
    }
}
