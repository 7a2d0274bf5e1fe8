//! Messages that are not run at present: too much of what came of others of their clients is not read.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam_channel::{Receiver, Sender, select};
use parking_lot::Mutex;

use super::signal::Signal;
use crate::bell::Bell;
use crate::core::link::Made;
use crate::core::stalled::Stalled;
use crate::core::turns::{Portion, Turns};

/// What the threads of a part that work on messages have put aside. As no more is taken in of such a
/// client, that is what was on its way by then: it is not much, but too much may come of it.
pub(super) struct Aside {
    stalled: Arc<Stalled>,
    waiting: Mutex<Turns<Made>>,
    /// How many messages that is, for a look that costs little.
    messages: AtomicUsize,
    wake: Sender<()>,
    woken: Receiver<()>,
}

impl Aside {
    /// Has the bell rung when messages may run again.
    pub(super) fn new(stalled: &Arc<Stalled>, bell: &Arc<Bell>) -> Self {
        let (wake, woken) = crossbeam_channel::bounded(1);
        stalled.wakes({
            let (wake, bell) = (wake.clone(), bell.clone());
            move || {
                // One that is there already will do.
                let _ = wake.try_send(());
                bell.ring();
            }
        });
        Self {
            stalled: stalled.clone(),
            waiting: Mutex::default(),
            messages: AtomicUsize::new(0),
            wake,
            woken,
        }
    }

    /// Changes what is there.
    fn change<R>(&self, change: impl FnOnce(&mut Turns<Made>) -> R) -> R {
        let mut waiting = self.waiting.lock();
        let result = change(&mut waiting);
        self.messages.store(waiting.messages(), Ordering::Release);
        result
    }

    /// Whether too much of what came of a client's messages is not read.
    pub(super) fn is_stalled(&self, session: &str) -> bool {
        self.stalled.has(session)
    }

    /// Whether a message that has come is to be put aside: also one of whose client others are. Not what
    /// came over the pylm wire, of which there is no end.
    pub(super) fn takes(&self, made: &Made) -> bool {
        let session = made.frame.session();
        let is_behind = || !self.is_empty() && self.waiting.lock().has(session);
        made.ticket.is_some() && (self.is_stalled(session) || is_behind())
    }

    /// Puts a message aside, or a bundle, after what else there is of its client.
    pub(super) fn put(&self, made: Made) {
        self.change(|waiting| waiting.push(made));
    }

    /// Puts back what was the next.
    pub(super) fn put_back(&self, made: Made) {
        self.change(|waiting| waiting.put_back(made));
    }

    /// What is the next that may run again, of each client in turn.
    pub(super) fn next(&self, portion: Portion) -> Option<Made> {
        if self.is_empty() {
            return None;
        }
        // Who may run again after this wakes a thread once more.
        let _ = self.woken.try_recv();
        let stalled = &self.stalled;
        let may_run = |made: &Made| !stalled.has(made.frame.session());
        let next = self.change(|waiting| waiting.next(portion, may_run));
        if next.is_some() {
            // There may be something for another thread, or nothing any more.
            self.pass_on();
        }
        next
    }

    /// Wakes another thread: this one has looked.
    pub(super) fn pass_on(&self) {
        let _ = self.wake.try_send(());
    }

    /// Throws away what is there, at the end of those who take it.
    pub(super) fn clear(&self) {
        drop(self.change(std::mem::take));
    }

    /// Whether there is nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.messages.load(Ordering::Acquire) == 0
    }

    /// Where there is something when messages may run again that [`next`](Self::next) did not give.
    pub(super) fn woken(&self) -> &Receiver<()> {
        &self.woken
    }

    /// Waits for that, until `stop` is raised.
    pub(super) fn wait(&self, stop: &Signal) {
        select! {
            recv(self.woken) -> _ => {}
            recv(stop.raised()) -> _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::custody::Ledger;
    use crate::error::Result;
    use crate::message::Frame;

    fn message(session: &str, payload: &str) -> Made {
        let client = format!("{session}/1");
        Made {
            frame: Frame::new("", &client, "s.f", "", payload.as_bytes()),
            ticket: Some(Ledger::new(|| {}).ticket_for(1, 1, 1)),
        }
    }

    fn next(aside: &Aside) -> Option<String> {
        let Made { frame, .. } = aside.next(Portion::SINGLES)?;
        let payload = String::from_utf8(frame.payload().to_vec()).unwrap();
        Some(format!("{}{payload}", frame.session()))
    }

    #[test]
    fn what_is_put_aside_comes_in_its_order_when_it_may_run_and_wakes_who_waits() -> Result<()> {
        let stalled = Arc::new(Stalled::default());
        let aside = Aside::new(&stalled, &Bell::new()?);
        assert!(!aside.takes(&message("a", "1")));
        stalled.note_unread("a", Some(1));
        stalled.note_unread("b", Some(1));
        for payload in ["1", "2", "3"] {
            assert!(aside.takes(&message("a", payload)));
            aside.put(message("a", payload));
        }
        aside.put(message("b", "1"));
        assert_eq!(next(&aside), None);
        let mut pushed = message("a", "4");
        pushed.ticket = None;
        assert!(!aside.takes(&pushed));
        assert!(!aside.takes(&message("c", "1")));
        let is_woken = |aside: &Aside| !aside.woken().is_empty();
        assert!(!is_woken(&aside));
        stalled.note_unread("a", None);
        assert!(is_woken(&aside));
        // As long as others of its messages are here, none is before them.
        assert!(aside.takes(&message("a", "4")));
        assert_eq!(next(&aside).as_deref(), Some("a1"));
        // Another thread may take the next.
        assert!(is_woken(&aside));
        stalled.note_unread("a", Some(1));
        aside.put_back(message("a", "x"));
        assert_eq!(next(&aside), None);
        stalled.note_unread("b", None);
        assert_eq!(next(&aside).as_deref(), Some("b1"));
        stalled.note_unread("a", None);
        let left = Vec::from_iter(std::iter::from_fn(|| next(&aside)));
        assert_eq!(left, ["ax", "a2", "a3"]);
        assert!(aside.is_empty());
        aside.put(message("a", "5"));
        aside.clear();
        assert!(aside.is_empty());
        assert!(!aside.takes(&message("a", "4")));
        Ok(())
    }
}
