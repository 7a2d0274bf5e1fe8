//! What was submitted and is not in the session yet: where messages become bundles.

use super::Submitted;
use crate::message::{BUNDLE_BYTES, Bundler, Frame};

/// Messages that were submitted, in order. Small ones of a job that follow each other are put
/// together as long as nobody takes them: so the faster they come, the fewer bundles they are, and
/// none has to wait for others.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    all: Vec<Entry>,
}

#[derive(Debug)]
enum Entry {
    Whole(Submitted),
    Open {
        job: u64,
        /// Of the first message.
        number: u64,
        bundler: Bundler,
    },
}

impl Inbox {
    /// A message by itself.
    pub(crate) fn push(&mut self, message: Submitted) {
        self.all.push(Entry::Whole(message));
    }

    /// A message of a job with this payload, the next one after the last; what it has beside it is
    /// in `form`, which is the same for all of the job. Whether there is something new to take: if
    /// not, whoever takes what was there takes this as well.
    pub(crate) fn add(&mut self, job: u64, number: u64, form: &Frame, payload: &[u8]) -> bool {
        if let Some(Entry::Open {
            job: of, bundler, ..
        }) = self.all.last_mut()
            && *of == job
            && bundler.has_room(payload.len())
        {
            bundler.push(payload);
            return false;
        }
        let mut bundler = Bundler::of_job(form, number);
        bundler.push(payload);
        self.all.push(Entry::Open {
            job,
            number,
            bundler,
        });
        true
    }

    /// Whether a payload is so small that it is worth while to put it with others.
    pub(crate) fn is_small(payload: &[u8]) -> bool {
        payload.len() <= BUNDLE_BYTES / 4
    }

    /// Takes out all there is.
    pub(crate) fn take(&mut self) -> impl Iterator<Item = Submitted> + '_ {
        self.all.drain(..).map(|entry| match entry {
            Entry::Whole(message) => message,
            Entry::Open {
                job,
                number,
                mut bundler,
            } => Submitted {
                job,
                number,
                frame: bundler.take(),
            },
        })
    }
}
