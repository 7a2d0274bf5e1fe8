//! A group: what the user says of it by message, and what is known of it.

use std::sync::Arc;
use std::time::Instant;

use super::job::JobName;
use crate::message::Frame;

/// Which group a message belongs to, and what the message says of it. Made by the key function
/// of a [`Reducer`](crate::Reducer).
///
/// Groups are told apart by their key within a job: the messages with the same stream, client
/// and function path.
///
/// ```
/// use palm::reduce::Group;
/// let plain = Group::of("apples");
/// let counted = Group::of("apples").expecting(12);
/// let last = Group::of("apples").closing();
/// let marker = Group::of("apples").closing().without_value();
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    pub(super) key: Vec<u8>,
    pub(super) expects: Option<u64>,
    pub(super) closes: bool,
    pub(super) has_value: bool,
}

impl Group {
    /// The group with this key. The payload of the message is one of its values.
    pub fn of(key: impl AsRef<[u8]>) -> Self {
        Self {
            key: key.as_ref().to_vec(),
            expects: None,
            closes: false,
            has_value: true,
        }
    }

    /// The group has so many values in all, and is closed when they have come, in whatever
    /// order. Any message of the group may say so, or each; the last word counts.
    pub fn expecting(mut self, values: u64) -> Self {
        self.expects = Some(values);
        self
    }

    /// The message closes its group: no value comes after it. So it must not overtake any, as
    /// it may behind several workers: there, have it say how many there are by
    /// [`expecting`](Self::expecting) in place of this.
    pub fn closing(mut self) -> Self {
        self.closes = true;
        self
    }

    /// The message is no value of its group, and only says something of it.
    pub fn without_value(mut self) -> Self {
        self.has_value = false;
        self
    }
}

/// A group that has no result yet.
#[derive(Debug)]
pub(super) struct State {
    pub(super) job: Arc<JobName>,
    pub(super) key: Arc<[u8]>,
    /// The group's first message, without its payload: the fields of the result.
    pub(super) head: Frame,
    /// The value that waits for another: two make a task at once.
    pub(super) waiting: Option<Frame>,
    /// How many tasks are at the workers.
    pub(super) in_flight: usize,
    /// How many values have come.
    pub(super) values: u64,
    pub(super) expects: Option<u64>,
    pub(super) closed: bool,
    /// Its client has had its failure: it has no result, and is remembered until it is closed.
    pub(super) failed: bool,
    /// When anything last happened to it.
    pub(super) touched: Instant,
}

impl State {
    /// What a group costs beside its values, for the bound in bytes: its job too, of which the
    /// name and the mark have the same fields.
    pub(super) fn overhead(&self) -> usize {
        3 * self.head.len() + self.key.len() + 2 * size_of::<Self>()
    }

    pub(super) fn is_counted_out(&self) -> bool {
        self.expects.is_some_and(|expects| self.values >= expects)
    }

    /// Why its result, now that it is closed, would be that of another group, if it would.
    pub(super) fn flaw(&self, job_is_spoilt: bool) -> Option<String> {
        match self.expects {
            Some(expects) if expects != self.values => Some(format!(
                "a group of {expects} values was closed with {}",
                self.values
            )),
            Some(_) => None,
            None if job_is_spoilt => {
                let cause = "a message of the job has failed, and may have been a value of a group";
                Some(format!("{cause} whose number of values nobody told"))
            }
            None => None,
        }
    }
}
