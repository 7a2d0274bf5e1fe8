//! Messages that are not run at present: too much of what came of others of their clients is not read.

use std::sync::Arc;

use crossbeam_channel::{Receiver, select};

use super::signal::Signal;
use crate::bell::Bell;
use crate::core::link::Made;
use crate::core::stalled::Stalled;
use crate::core::turns::{Portion, Turns};

/// What a thread that works on messages has put aside. As no more is taken in of such a client, that is
/// what was on its way by then: it is not much, but too much may come of it.
pub(super) struct Aside {
    stalled: Arc<Stalled>,
    waiting: Turns<Made>,
    woken: Receiver<()>,
}

impl Aside {
    /// Has the bell rung when messages may run again.
    pub(super) fn new(stalled: &Arc<Stalled>, bell: &Arc<Bell>) -> Self {
        let (wake, woken) = crossbeam_channel::bounded(1);
        let bell = bell.clone();
        stalled.wakes(move || {
            // One that waits already will do.
            let _ = wake.try_send(());
            bell.ring();
        });
        Self {
            stalled: stalled.clone(),
            waiting: Turns::default(),
            woken,
        }
    }

    /// Whether too much of what came of a client's messages is not read.
    pub(super) fn is_stalled(&self, session: &str) -> bool {
        self.stalled.has(session)
    }

    /// Whether a message that has come is to be put aside: also one of whose client others are. Not what
    /// came over the pylm wire, of which there is no end.
    pub(super) fn takes(&self, made: &Made) -> bool {
        let session = made.frame.session();
        made.ticket.is_some() && (self.is_stalled(session) || self.waiting.has(session))
    }

    /// Puts a message aside, or a bundle, after what else there is of its client.
    pub(super) fn put(&mut self, made: Made) {
        self.waiting.push(made);
    }

    /// Puts back what was the next.
    pub(super) fn put_back(&mut self, made: Made) {
        self.waiting.put_back(made);
    }

    /// What is the next that may run again, of each client in turn.
    pub(super) fn next(&mut self, portion: Portion) -> Option<Made> {
        if self.waiting.is_empty() {
            return None;
        }
        // Who may run again after this wakes the thread once more.
        let _ = self.woken.try_recv();
        let stalled = &self.stalled;
        self.waiting
            .next(portion, |made| !stalled.has(made.frame.session()))
    }

    /// Whether there is nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// How many messages there are.
    pub(super) fn len(&self) -> usize {
        self.waiting.messages()
    }

    /// Where there is something when messages may run again that [`next`](Self::next) did not give: if
    /// there are any.
    pub(super) fn woken(&self) -> Option<&Receiver<()>> {
        (!self.is_empty()).then_some(&self.woken)
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

    fn next(aside: &mut Aside) -> Option<String> {
        let Made { frame, .. } = aside.next(Portion::SINGLES)?;
        let payload = String::from_utf8(frame.payload().to_vec()).unwrap();
        Some(format!("{}{payload}", frame.session()))
    }

    #[test]
    fn what_is_put_aside_comes_in_its_order_when_it_may_run_and_wakes_who_waits() -> Result<()> {
        let stalled = Arc::new(Stalled::default());
        let mut aside = Aside::new(&stalled, &Bell::new()?);
        assert!(!aside.takes(&message("a", "1")));
        stalled.note_unread("a", Some(1));
        stalled.note_unread("b", Some(1));
        for payload in ["1", "2", "3"] {
            assert!(aside.takes(&message("a", payload)));
            aside.put(message("a", payload));
        }
        aside.put(message("b", "1"));
        assert_eq!(next(&mut aside), None);
        let mut pushed = message("a", "4");
        pushed.ticket = None;
        assert!(!aside.takes(&pushed));
        assert!(!aside.takes(&message("c", "1")));
        let is_woken = |aside: &Aside| aside.woken().is_some_and(|woken| !woken.is_empty());
        assert!(!is_woken(&aside));
        stalled.note_unread("a", None);
        assert!(is_woken(&aside));
        // As long as others of its messages are here, none is before them.
        assert!(aside.takes(&message("a", "4")));
        assert_eq!(next(&mut aside).as_deref(), Some("a1"));
        assert!(!is_woken(&aside));
        stalled.note_unread("a", Some(1));
        aside.put_back(message("a", "x"));
        assert_eq!(next(&mut aside), None);
        stalled.note_unread("b", None);
        assert_eq!(next(&mut aside).as_deref(), Some("b1"));
        stalled.note_unread("a", None);
        let left = Vec::from_iter(std::iter::from_fn(|| next(&mut aside)));
        assert_eq!(
            (left, aside.len()),
            (["ax", "a2", "a3"].map(str::to_owned).to_vec(), 0)
        );
        assert!(aside.woken().is_none() && !aside.takes(&message("a", "4")));
        Ok(())
    }
}
