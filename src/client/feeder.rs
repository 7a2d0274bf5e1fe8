//! Feeds the payloads of a job to whatever sends them.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::{Error, Result};
use crate::handler::panic_text;
use crate::message::{End, Frame};

/// What all messages of a job have in common.
pub(super) struct Form {
    /// One of them, with nothing in it.
    empty: Frame,
    cache: String,
    max_message: usize,
}

impl Form {
    pub(super) fn new(empty: Frame, cache: &str, max_message: usize) -> Self {
        Self {
            empty,
            cache: cache.to_owned(),
            max_message,
        }
    }

    /// The message with this payload.
    pub(super) fn frame(&self, payload: &[u8]) -> Result<Frame> {
        self.check(payload)?;
        Ok(self.empty.another(&self.cache, payload))
    }

    fn check(&self, payload: &[u8]) -> Result<()> {
        if payload.len() > self.max_message {
            return Err(Error::TooLarge {
                size: payload.len(),
                limit: self.max_message,
            });
        }
        Ok(())
    }

    /// What is the same in all of them.
    pub(super) fn in_common(&self) -> Frame {
        self.empty.another(&self.cache, b"")
    }

    /// The mark at the end of the job, after so many messages.
    fn mark(&self, messages: usize) -> Frame {
        self.empty.with_end(End {
            messages: messages as u64,
        })
    }
}

/// Sends the messages of a job, over one wire or the other.
pub(super) trait Submit {
    /// The next payload is being waited for: so that long, nothing is late.
    fn awaits_input(&self);
    /// Sends a message with this payload when the window has room for it.
    ///
    /// # Errors
    /// [`Error::Stopped`] when the job is over, [`Error::TooLarge`].
    fn submit(&mut self, form: &Form, payload: &[u8]) -> Result<()>;
    /// Sends the mark at the end of the job, if there is still anybody who could.
    fn submit_mark(&mut self, frame: Frame);
    /// Whether a job ends by what becomes of its messages, and not by a count.
    fn knows_its_end(&self) -> bool;
    /// There were so many messages, and there will be no more: because of an error, perhaps.
    fn fed(&self, messages: usize, ended: Result<()>);
}

/// Feeds a job until its payloads end, or it does.
pub(super) fn feed<P: AsRef<[u8]>>(
    form: &Form,
    to: &mut impl Submit,
    end_mark: bool,
    payloads: impl Iterator<Item = P>,
) {
    let mut sent = 0;
    let fed = catch_unwind(AssertUnwindSafe(|| feed_all(form, to, payloads, &mut sent)));
    let ended = fed.unwrap_or_else(|panic| {
        let function = "the iterator of payloads".to_owned();
        let cause = format!("it panicked: {}", panic_text(&*panic));
        Err(Error::Function { function, cause })
    });
    // Sent also when it was cut short: so the cluster lets go of it.
    let mark = end_mark.then(|| form.mark(sent));
    match to.knows_its_end() {
        // One more message: without it, the job might seem to be over.
        true => {
            mark.into_iter().for_each(|mark| to.submit_mark(mark));
            to.fed(sent, ended);
        }
        // The number is to be known when the answer comes.
        false => {
            to.fed(sent, ended);
            mark.into_iter().for_each(|mark| to.submit_mark(mark));
        }
    }
}

fn feed_all<P: AsRef<[u8]>>(
    form: &Form,
    to: &mut impl Submit,
    mut payloads: impl Iterator<Item = P>,
    sent: &mut usize,
) -> Result<()> {
    loop {
        to.awaits_input();
        let Some(payload) = payloads.next() else {
            return Ok(());
        };
        let payload = payload.as_ref();
        form.check(payload)?;
        to.submit(form, payload)?;
        *sent += 1;
    }
}
