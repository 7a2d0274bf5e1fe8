//! Which request a result belongs to.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::limits::{Budget, Held};
use crate::message::{Frame, number_under};

/// The requests that wait for their results, each under a key of its own: `ID/NUMBER`.
#[derive(Debug)]
pub(super) struct Waiting {
    id: String,
    open: Mutex<Open>,
    /// The results that slow clients have not read yet.
    unread: Arc<Budget>,
    late: AtomicU64,
}

#[derive(Debug, Default)]
struct Open {
    last: u64,
    requests: HashMap<u64, oneshot::Sender<Answer>>,
    over: bool,
}

/// A result, for as long as it is in memory.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) frame: Frame,
    _held: Held,
}

/// A request's place among those that wait. It leaves when this is dropped.
pub(super) struct Ticket {
    pub(super) key: String,
    number: u64,
    result: oneshot::Receiver<Answer>,
    waiting: Arc<Waiting>,
}

impl Answer {
    /// A result that counts as unread.
    pub(super) fn new(frame: Frame, unread: &Arc<Budget>) -> Self {
        let _held = unread.hold_all(frame.len());
        Self { frame, _held }
    }
}

impl Waiting {
    pub(super) fn new(max_message: usize) -> Arc<Self> {
        Arc::new(Self {
            id: uuid::Uuid::new_v4().to_string(),
            open: Mutex::default(),
            unread: Budget::for_messages_of(max_message),
            late: AtomicU64::new(0),
        })
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Whether a key is one of ours.
    pub(super) fn owns(&self, key: &str) -> bool {
        self.number(key).is_some()
    }

    /// How many results came that nobody waited for.
    pub(super) fn late(&self) -> u64 {
        self.late.load(Ordering::SeqCst)
    }

    /// Adds a request. `None` when no more results will come.
    pub(super) fn add(self: &Arc<Self>) -> Option<Ticket> {
        let (sender, result) = oneshot::channel();
        let mut open = self.open.lock();
        if open.over {
            return None;
        }
        open.last += 1;
        let number = open.last;
        open.requests.insert(number, sender);
        Some(Ticket {
            key: format!("{}/{number}", self.id),
            number,
            result,
            waiting: self.clone(),
        })
    }

    /// Whether there is room for more results.
    pub(super) fn has_room(&self) -> bool {
        !self.unread.is_full()
    }

    /// Ends when there may be room again.
    pub(super) async fn room(&self) {
        self.unread.less().await;
    }

    /// Gives a result to its request. The first counts: others, and those that nobody waits for
    /// any more, are counted and dropped. False for those.
    pub(super) fn deliver(&self, key: &str, frame: Frame) -> bool {
        let number = self.number(key);
        let request = number.and_then(|number| self.open.lock().requests.remove(&number));
        let answer = Answer::new(frame, &self.unread);
        let delivered = request.is_some_and(|request| request.send(answer).is_ok());
        if !delivered {
            self.late.fetch_add(1, Ordering::SeqCst);
        }
        delivered
    }

    /// No more results will come.
    pub(super) fn end(&self) {
        let mut open = self.open.lock();
        open.over = true;
        open.requests.clear();
    }

    fn number(&self, key: &str) -> Option<u64> {
        number_under(&self.id, key)
    }
}

impl Ticket {
    /// The result; `None` when none will come.
    pub(super) async fn result(&mut self) -> Option<Answer> {
        (&mut self.result).await.ok()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.waiting.open.lock().requests.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(payload: &[u8]) -> Frame {
        Frame::new("", "", "s.f", "", payload)
    }

    #[test]
    fn a_result_finds_its_request_once_and_no_other() {
        let waiting = Waiting::new(1);
        let mut one = waiting.add().unwrap();
        let mut two = waiting.add().unwrap();
        for key in ["other/1", waiting.id(), &format!("{}/9", waiting.id())] {
            assert!(!waiting.deliver(key, frame(b"x")));
        }
        assert!(waiting.deliver(&one.key, frame(b"x")));
        assert!(!waiting.deliver(&one.key, frame(b"x")));
        assert_eq!(one.result.try_recv().unwrap().frame.payload(), b"x");
        assert!(two.result.try_recv().is_err());
        assert_eq!(waiting.late(), 4);
    }

    #[test]
    fn one_who_has_gone_leaves_nothing_behind() {
        let waiting = Waiting::new(1);
        let ticket = waiting.add().unwrap();
        let key = ticket.key.clone();
        drop(ticket);
        assert!(waiting.open.lock().requests.is_empty());
        assert!(!waiting.deliver(&key, frame(b"x")));
        waiting.end();
        assert!(waiting.add().is_none());
    }
}
