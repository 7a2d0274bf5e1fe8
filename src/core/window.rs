//! How far a job may run ahead of its reader: what keeps a client's memory bounded.
//!
//! On the pylm wire nobody says which message a result belongs to. But when a job expects one
//! result for each message, the messages that were sent and the results that were read tell
//! how many are on their way or wait to be read: so many may be open, and so many bytes, where
//! a message counts as much as its payload or an average result, whichever is larger. A job
//! that expects another number of results is held back only by the results that wait.

use std::collections::VecDeque;

/// How many results the average of their sizes looks back, about.
const MEMORY: usize = 16;

/// Room for so many messages is much, or for a quarter of the window.
const MUCH: usize = 256;

#[derive(Debug)]
pub(crate) struct Window {
    messages: usize,
    bytes: usize,
    /// Whether one result is expected for each message.
    counted: bool,
    open: VecDeque<usize>,
    open_bytes: usize,
    waiting: usize,
    waiting_bytes: usize,
    average: usize,
}

impl Window {
    pub(crate) fn new(messages: usize, bytes: usize, counted: bool) -> Self {
        Self {
            messages: messages.max(1),
            bytes: bytes.max(1),
            counted,
            open: VecDeque::new(),
            open_bytes: 0,
            waiting: 0,
            waiting_bytes: 0,
            average: 0,
        }
    }

    /// How many messages may be open.
    pub(crate) fn messages(&self) -> usize {
        self.messages
    }

    /// Whether a message of this size may be sent now. One at a time always may.
    pub(crate) fn may_send(&self, size: usize) -> bool {
        if self.counted {
            let next = self.open.len() + 1;
            next == 1
                || (next <= self.messages
                    && self.open_bytes + size <= self.bytes
                    && next.saturating_mul(self.average) <= self.bytes)
        } else {
            self.waiting < self.messages && self.waiting_bytes < self.bytes
        }
    }

    /// Whether so much may be sent that it is worth while to wake whoever sends.
    pub(crate) fn has_much_room(&self) -> bool {
        let some = (self.messages / 4).min(MUCH);
        let taken = match self.counted {
            true => self.open.len(),
            false => self.waiting,
        };
        taken + some <= self.messages
    }

    pub(crate) fn sent(&mut self, size: usize) {
        if self.counted {
            self.open.push_back(size);
            self.open_bytes += size;
        }
    }

    /// A result has come in.
    pub(crate) fn received(&mut self, size: usize) {
        self.waiting += 1;
        self.waiting_bytes += size;
        self.average = (self.average * (MEMORY - 1) + size).div_ceil(MEMORY);
    }

    /// A result has been read.
    pub(crate) fn read(&mut self, size: usize) {
        self.waiting = self.waiting.saturating_sub(1);
        self.waiting_bytes = self.waiting_bytes.saturating_sub(size);
        if let Some(size) = self.open.pop_front() {
            self.open_bytes -= size;
        }
    }

    /// How many results wait to be read.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    /// How many bytes they have.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// Whether results are due, as far as that is known.
    pub(crate) fn is_open(&self, awaits_input: bool) -> bool {
        match self.counted {
            true => !self.open.is_empty(),
            // Nobody knows: but while more is to be sent, it may be what is needed.
            false => !awaits_input,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends as much as it may, while the cluster answers at once and nobody reads.
    fn fill(window: &mut Window, payload: usize, result: usize) -> usize {
        let mut sent = 0;
        while window.may_send(payload) && sent < 10_000 {
            window.sent(payload);
            window.received(result);
            sent += 1;
        }
        sent
    }

    #[test]
    fn the_number_of_open_messages_is_bounded_and_reading_opens_it() {
        let mut window = Window::new(10, 1 << 20, true);
        assert_eq!(fill(&mut window, 1, 1), 10);
        window.read(1);
        window.read(1);
        assert_eq!(fill(&mut window, 1, 1), 2);
    }

    #[test]
    fn payloads_are_bounded_in_bytes_but_one_always_goes() {
        let mut window = Window::new(1_000, 100, true);
        assert_eq!(fill(&mut window, 30, 1), 3);
        let mut window = Window::new(1_000, 100, true);
        assert_eq!(fill(&mut window, 500, 1), 1);
    }

    #[test]
    fn results_larger_than_their_messages_are_bounded_too() {
        let mut window = Window::new(10_000, 1 << 20, true);
        let sent = fill(&mut window, 1, 100_000);
        assert!(sent * 100_000 < 4 << 20, "{sent}");
        assert!(sent > 4);
    }

    #[test]
    fn without_a_count_only_unread_results_hold_it_back() {
        let mut window = Window::new(1_000, 100, false);
        for _ in 0..5_000 {
            assert!(window.may_send(1_000));
            window.sent(1_000);
        }
        assert_eq!(fill(&mut window, 1, 50), 2);
        window.read(50);
        assert!(window.may_send(1));
    }
}
