//! What palm peers say to each other on the link, as it lies in frames.
//!
//! ```text
//! | length, head (protobuf, proto/link.proto), small messages one after another | large | ...
//! ```
//!
//! The first frame begins with the head and its length, as a varint. The head tells the length of
//! each message. Those of up to [`SMALL`] bytes lie one after another behind it; each larger one is
//! a frame by itself, so that nobody has to copy it. The order is that of the head: the stream's,
//! then the tasks', then the results'. A heartbeat is an empty frame.

use std::time::{Duration, Instant};

use super::proto::link as proto;
use super::spare::Buffer;
use super::wire::{Reader, malformed};
use super::{Frame, FrameReader};
use crate::error::Result;

pub(crate) use proto::hello::Kind;
pub(crate) use proto::{Credit, Failed, Head, Hello, Outcome, Position, TaskId, TaskIds, Welcome};
use proto::{Results, Tasks};

/// The version of the protocol. (It has not changed with what was never released.)
pub(crate) const VERSION: u32 = 1;

/// A message of up to so many bytes shares a frame with others.
pub(crate) const SMALL: usize = 8 << 10;

/// A head with its messages is closed when it has so many messages, or so many bytes of small
/// ones, or of all.
const MOST_MESSAGES: usize = 512;
const MOST_SMALL: usize = 48 << 10;
const MOST_BYTES: usize = 1 << 20;

/// How long a head is usually at the most, in bytes.
const USUAL_HEAD: usize = 128;

/// The longest head that is read, in bytes.
const MOST_HEAD: u64 = 4 << 20;

/// The most things that are done, and the like, in one head.
const MOST_NOTES: usize = 4_096;

/// For how long something is kept back that nobody waits for, so that it goes with something
/// else, and how much of it is.
const SOON: Duration = Duration::from_millis(5);
const MOST_UNHURRIED: usize = 256;

/// How many frames a message on the link has at the most.
pub(crate) const MAX_PARTS: usize = 1 + MOST_BYTES / SMALL;

/// What came of a worker's task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TaskResult {
    /// With the count of its messages.
    pub(crate) id: TaskId,
    /// How long it ran, in microseconds.
    pub(crate) ran: u64,
    /// How many results there are.
    pub(crate) count: usize,
    /// Whether there are more, in the next head.
    pub(crate) more: bool,
}

impl Head {
    /// The tasks in it, each with the length of its message.
    pub(crate) fn tasks(&self) -> impl Iterator<Item = (TaskId, u32)> + '_ {
        self.tasks.iter().flat_map(|tasks| {
            let ids = tasks.ids.iter().zip(or_ones(&tasks.attempts));
            let ids = ids.map(|(&id, attempt)| TaskId::single(id, attempt));
            ids.zip(tasks.sizes.iter().copied())
        })
    }

    /// What it says of tasks that were run.
    pub(crate) fn results(&self) -> impl Iterator<Item = TaskResult> + '_ {
        self.results.iter().flat_map(|results| {
            let last = results.ids.len().wrapping_sub(1);
            let ids = results.ids.iter().zip(or_ones(&results.attempts));
            let ids = ids.zip(or_ones(&results.spans));
            let counts = or_ones(&results.counts);
            let all = ids.zip(&results.ran).zip(counts).enumerate();
            all.map(
                move |(place, ((((&id, attempt), span), &ran), count))| TaskResult {
                    id: TaskId::single(id, attempt).of_messages(span as usize),
                    ran,
                    count: count as usize,
                    more: results.more && place == last,
                },
            )
        })
    }

    /// The messages that it says are done: the first number of some that follow each other, and
    /// how many they are.
    pub(crate) fn done(&self) -> impl Iterator<Item = (u64, usize)> + '_ {
        counted(&self.done, &self.done_counts)
    }

    /// The same of those that it says will be done.
    pub(crate) fn complete(&self) -> impl Iterator<Item = (u64, usize)> + '_ {
        counted(&self.complete, &self.complete_counts)
    }

    /// So many messages are done, from this number on.
    pub(crate) fn add_done(&mut self, number: u64, count: usize) {
        add_counted(&mut self.done, &mut self.done_counts, number, count);
    }

    /// The same of those that will be.
    pub(crate) fn add_complete(&mut self, number: u64, count: usize) {
        add_counted(&mut self.complete, &mut self.complete_counts, number, count);
    }

    /// Whether its lists fit together.
    fn is_sound(&self) -> bool {
        let fits = |list: &[u32], count: usize| list.is_empty() || list.len() == count;
        let tasks = self.tasks.as_ref().is_none_or(|tasks| {
            let count = tasks.ids.len();
            tasks.sizes.len() == count && fits(&tasks.attempts, count)
        });
        let results = self.results.as_ref().is_none_or(|results| {
            let count = results.ids.len();
            let counts = or_ones(&results.counts).take(count).map(u64::from);
            results.ran.len() == count
                && fits(&results.attempts, count)
                && fits(&results.counts, count)
                && fits(&results.spans, count)
                && counts.sum::<u64>() == results.sizes.len() as u64
        });
        tasks
            && results
            && fits(&self.done_counts, self.done.len())
            && fits(&self.complete_counts, self.complete.len())
    }
}

/// Numbers, each with how many it stands for.
fn counted<'a>(numbers: &'a [u64], counts: &'a [u32]) -> impl Iterator<Item = (u64, usize)> + 'a {
    let counts = or_ones(counts).map(|count| count as usize);
    numbers.iter().copied().zip(counts)
}

/// Adds some that follow each other, to those before if they follow them.
fn add_counted(numbers: &mut Vec<u64>, counts: &mut Vec<u32>, number: u64, count: usize) {
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    if let Some(last) = numbers.last() {
        let of_last = counts.last().copied().unwrap_or(1);
        let (sum, over) = of_last.overflowing_add(count);
        if last.wrapping_add(u64::from(of_last)) == number && !over {
            counts.resize(numbers.len(), 1);
            if let Some(last) = counts.last_mut() {
                *last = sum;
            }
            return;
        }
    }
    add_unless_ones(counts, numbers.len(), count);
    numbers.push(number);
}

impl TaskId {
    /// A giving of a task that is one message.
    pub(crate) fn single(id: u64, attempt: u32) -> Self {
        Self {
            id,
            attempt,
            count: 0,
        }
    }

    /// The same of so many messages.
    pub(crate) fn of_messages(self, count: usize) -> Self {
        let count = match count {
            0 | 1 => 0,
            _ => u32::try_from(count).unwrap_or(u32::MAX),
        };
        Self { count, ..self }
    }

    /// How many messages it is.
    pub(crate) fn messages(&self) -> usize {
        self.count.max(1) as usize
    }

    /// What is left of a bundle without this, which is its first messages; `None` if it is all.
    pub(crate) fn rest_of(&self, bundle: Self) -> Option<Self> {
        let left = bundle.messages().checked_sub(self.messages())?;
        let id = bundle.id.wrapping_add(self.messages() as u64);
        (left > 0).then(|| Self { id, ..bundle }.of_messages(left))
    }
}

/// A list that is not there when all in it are 1.
fn or_ones(list: &[u32]) -> impl Iterator<Item = u32> + '_ {
    let ones = std::iter::repeat_n(1, if list.is_empty() { usize::MAX } else { 0 });
    list.iter().copied().chain(ones)
}

/// Adds a number to those of `before` others; the list is not there as long as all are 1.
fn add_unless_ones(list: &mut Vec<u32>, before: usize, number: u32) {
    if number != 1 || !list.is_empty() {
        list.resize(before, 1);
        list.push(number);
    }
}

/// What is said at once, as the frames of a ZeroMQ message.
pub(crate) struct Encoded {
    /// The head, and the small messages.
    pub(crate) first: Vec<u8>,
    pub(crate) large: Vec<Frame>,
}

#[cfg(test)]
impl Encoded {
    /// All of them, as they come in.
    pub(crate) fn received(self) -> Vec<Buffer> {
        let large = self.large.iter().map(|frame| frame.as_bytes().to_vec());
        let all = std::iter::once(self.first).chain(large);
        all.map(Buffer::from).collect()
    }
}

/// What is said at once: a head and its messages. The one without anything is a heartbeat.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Envelope {
    pub(crate) head: Box<Head>,
    /// In the order of the head.
    pub(crate) frames: Vec<Frame>,
}

impl Envelope {
    /// What only a head says.
    pub(crate) fn of(head: Head) -> Self {
        Self {
            head: Box::new(head),
            frames: Vec::new(),
        }
    }

    /// The frames of the ZeroMQ message.
    pub(crate) fn encode(&self) -> Encoded {
        let small: usize = self.frames.iter().map(small).sum();
        let mut first = Vec::with_capacity(small + USUAL_HEAD);
        prost::Message::encode_length_delimited(&*self.head, &mut first)
            .expect("a vector has room for it");
        if first == [0] && self.frames.is_empty() {
            first.clear();
        }
        let mut large = Vec::new();
        for frame in &self.frames {
            match frame.len() <= SMALL {
                true => first.extend_from_slice(frame.as_bytes()),
                false => large.push(frame.clone()),
            }
        }
        Encoded { first, large }
    }

    /// Reads the head of what has come, and finds the messages.
    ///
    /// # Errors
    /// [`Error::Malformed`](crate::Error::Malformed) when the head or the lengths are none.
    pub(crate) fn decode(parts: &mut [Buffer]) -> Result<(Box<Head>, Messages<'_>)> {
        let Some((first, large)) = parts.split_first_mut() else {
            return malformed("it has no head");
        };
        let (head, small) = head_of(first)?;
        if !head.is_sound() {
            return malformed("its lists do not fit together");
        }
        let sizes = sizes(&head);
        if sizes.len() > 2 * MOST_MESSAGES {
            return malformed("its head says more than one may");
        }
        let of_small: usize = sizes.iter().filter(|size| **size <= SMALL).sum();
        if small.len() != of_small {
            return malformed("its small messages have not the length that they should have");
        }
        let of_large = sizes.iter().filter(|size| **size > SMALL);
        if !large.iter().map(|large| large.len()).eq(of_large.copied()) {
            return malformed("its large messages have not the lengths that they should have");
        }
        let messages = Messages {
            sizes,
            small,
            large,
        };
        Ok((head, messages))
    }
}

/// The head that stands in a first frame, and what is behind it.
fn head_of(first: &[u8]) -> Result<(Box<Head>, &[u8])> {
    let mut head = Box::<Head>::default();
    if first.is_empty() {
        return Ok((head, first));
    }
    let mut reader = Reader {
        bytes: first,
        at: 0,
    };
    let length = reader.varint()?;
    if length > MOST_HEAD {
        return malformed("its head is too long");
    }
    let span = reader.take(length)?;
    match prost::Message::merge(&mut *head, &first[span.range()]) {
        Ok(()) => Ok((head, &first[span.end..])),
        Err(_) => malformed("its head cannot be read"),
    }
}

/// The messages that have come with a head, none of which has been looked into.
pub(crate) struct Messages<'a> {
    /// In the order of the head.
    pub(crate) sizes: Vec<usize>,
    /// One after another, those of up to [`SMALL`] bytes.
    small: &'a [u8],
    large: &'a mut [Buffer],
}

impl Messages<'_> {
    /// Takes them in: see [`FrameReader::take_in`].
    ///
    /// # Errors
    /// [`Error::Malformed`](crate::Error::Malformed) when one of them is none.
    pub(crate) fn take_in(
        self,
        reader: &mut FrameReader,
        limit: usize,
        component: &str,
    ) -> Result<Vec<Frame>> {
        let mut frames = Vec::with_capacity(self.sizes.len());
        let mut small = self.small;
        let mut large = self.large.iter_mut();
        for sizes in self
            .sizes
            .chunk_by(|one, next| (*one <= SMALL) == (*next <= SMALL))
        {
            if sizes[0] <= SMALL {
                let (now, later) = small.split_at(sizes.iter().sum());
                reader.take_in_all(now, sizes, limit, component, &mut frames)?;
                small = later;
            } else {
                for message in large.by_ref().take(sizes.len()) {
                    let bytes = std::mem::take(message);
                    let (frame, _) = reader.take_in(bytes, limit, component)?;
                    frames.push(frame);
                }
            }
        }
        Ok(frames)
    }
}

/// The lengths of all messages of a head.
fn sizes(head: &Head) -> Vec<usize> {
    let tasks = head.tasks.iter().map(|tasks| &tasks.sizes);
    let results = head.results.iter().map(|results| &results.sizes);
    let mut all = Vec::new();
    for sizes in [&head.sizes].into_iter().chain(tasks).chain(results) {
        all.extend(sizes.iter().map(|size| *size as usize));
    }
    all
}

/// What is to be said to a peer, gathered into as few ZeroMQ messages as is good.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    ready: Vec<Envelope>,
    head: Box<Head>,
    stream: Vec<Frame>,
    /// How many messages of our stream that is.
    messages: usize,
    tasks: Vec<Frame>,
    results: Vec<Frame>,
    small: usize,
    bytes: usize,
    notes: usize,
    /// How many of the notes need not be said at once, how many things they tell, and since when
    /// there are any.
    unhurried: usize,
    things: usize,
    since: Option<Instant>,
}

impl Outgoing {
    /// What is to be said by the head alone.
    pub(crate) fn note(&mut self, say: impl FnOnce(&mut Head)) {
        say(&mut self.head);
        self.notes += 1;
        if self.notes >= MOST_NOTES {
            self.close();
        }
    }

    /// The same of so many things that nobody waits for: they are said with the next thing that
    /// is, or soon.
    pub(crate) fn note_unhurried(&mut self, things: usize, say: impl FnOnce(&mut Head)) {
        self.note(say);
        // Not if that has closed the head.
        if self.notes > 0 {
            self.unhurried += 1;
            self.things += things;
        }
    }

    /// How many things wait that are not said at once.
    pub(crate) fn unhurried_things(&self) -> usize {
        self.things
    }

    /// How a message of the other side's stream has ended.
    pub(crate) fn outcome(&mut self, outcome: Outcome) {
        self.head.outcomes.push(outcome);
        // It may have long texts.
        self.notes += MOST_NOTES / 8;
        if self.notes >= MOST_NOTES {
            self.close();
        }
    }

    /// The next message of our stream.
    pub(crate) fn item(&mut self, number: u64, frame: Frame) {
        self.count(&frame);
        if self.head.sizes.is_empty() {
            self.head.first = number;
        }
        debug_assert_eq!(number, self.head.first + self.messages as u64);
        self.messages += frame.count();
        self.head.sizes.push(frame.len() as u32);
        self.stream.push(frame);
    }

    /// A task for a worker.
    pub(crate) fn task(&mut self, id: TaskId, frame: Frame) {
        self.count(&frame);
        let tasks = self.head.tasks.get_or_insert_with(Tasks::default);
        add_unless_ones(&mut tasks.attempts, tasks.ids.len(), id.attempt);
        tasks.ids.push(id.id);
        tasks.sizes.push(frame.len() as u32);
        self.tasks.push(frame);
    }

    /// What came of a task.
    pub(crate) fn result(&mut self, id: TaskId, ran: u64, frames: &[Frame]) {
        let mut left = frames;
        loop {
            let mut count = 0;
            while let Some(frame) = left.get(count).filter(|frame| self.has_room(frame)) {
                self.count(frame);
                self.results_so_far().sizes.push(frame.len() as u32);
                self.results.push(frame.clone());
                count += 1;
            }
            left = &left[count..];
            let results = self.results_so_far();
            let before = results.ids.len();
            add_unless_ones(&mut results.attempts, before, id.attempt);
            add_unless_ones(&mut results.spans, before, id.count.max(1));
            add_unless_ones(&mut results.counts, before, count as u32);
            results.ids.push(id.id);
            results.ran.push(ran);
            if left.is_empty() {
                return;
            }
            results.more = true;
            self.close();
        }
    }

    fn results_so_far(&mut self) -> &mut Results {
        self.head.results.get_or_insert_with(Results::default)
    }

    /// Counts a message that comes next; one that there is no room for begins a new head.
    fn count(&mut self, frame: &Frame) {
        if !self.has_room(frame) {
            self.close();
        }
        self.small += small(frame);
        self.bytes += frame.len();
    }

    fn has_room(&self, frame: &Frame) -> bool {
        let messages = self.stream.len() + self.tasks.len() + self.results.len();
        messages == 0
            || messages < MOST_MESSAGES
                && self.small + small(frame) <= MOST_SMALL
                && self.bytes + frame.len() <= MOST_BYTES
    }

    fn close(&mut self) {
        let mut frames = std::mem::take(&mut self.stream);
        frames.append(&mut self.tasks);
        frames.append(&mut self.results);
        let head = std::mem::take(&mut self.head);
        self.ready.push(Envelope { head, frames });
        (self.messages, self.small, self.bytes, self.notes) = (0, 0, 0, 0);
        (self.unhurried, self.things, self.since) = (0, 0, None);
    }

    /// Whether there are messages to be said, and not only notes.
    pub(crate) fn has_messages(&self) -> bool {
        !self.ready.is_empty() || self.has_open_messages()
    }

    /// Whether the head that is not closed yet has any.
    fn has_open_messages(&self) -> bool {
        let Head {
            sizes,
            tasks,
            results,
            ..
        } = &*self.head;
        !sizes.is_empty() || tasks.is_some() || results.is_some()
    }

    /// Whether nothing is to be said but what nobody waits for, and not too much of that.
    fn is_unhurried(&self) -> bool {
        !self.has_messages()
            && self.notes == self.unhurried
            && (1..MOST_UNHURRIED).contains(&self.things)
    }

    /// All that is to be said now, in order.
    pub(crate) fn take_due(&mut self, now: Instant) -> impl Iterator<Item = Envelope> {
        let waits = self.is_unhurried() && now < *self.since.get_or_insert(now) + SOON;
        if !waits {
            self.close_if_any();
        }
        // Of what waits, the head is open.
        self.ready.drain(..)
    }

    /// When more is due than now, though nothing is added.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.since.map(|since| since + SOON)
    }

    /// Whether there is nothing to say.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.ready.is_empty() && *self.head == Head::default()
    }

    /// All that is to be said, in order.
    #[cfg(test)]
    pub(crate) fn take(&mut self) -> Vec<Envelope> {
        self.close_if_any();
        std::mem::take(&mut self.ready)
    }

    fn close_if_any(&mut self) {
        if self.notes > 0 || self.has_open_messages() {
            self.close();
        }
    }

    /// Forgets what is to be said: its connection is gone.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// What a message takes in the frame that the small ones share.
fn small(frame: &Frame) -> usize {
    match frame.len() {
        size @ ..=SMALL => size,
        _ => 0,
    }
}

/// Numbers in ascending order, each as the difference to the one before.
pub(crate) fn differences(numbers: impl IntoIterator<Item = u64>) -> Vec<u64> {
    let mut last = 0;
    let difference = |number| number - std::mem::replace(&mut last, number);
    numbers.into_iter().map(difference).collect()
}

/// The numbers again.
pub(crate) fn sums(differences: &[u64]) -> impl Iterator<Item = u64> {
    differences.iter().scan(0_u64, |last, difference| {
        *last = last.checked_add(*difference)?;
        Some(*last)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(outgoing: &mut Outgoing, now: Instant) -> Vec<Envelope> {
        outgoing.take_due(now).collect()
    }

    fn frame(size: usize) -> Frame {
        Frame::new("", "c", "s.f", "", &vec![7; size])
    }

    fn decode(mut parts: Vec<Buffer>) -> Result<(Box<Head>, Vec<Frame>)> {
        let (head, messages) = Envelope::decode(&mut parts)?;
        let frames = messages.take_in(&mut FrameReader::of_link(), usize::MAX, "the peer")?;
        Ok((head, frames))
    }

    fn through(envelope: &Envelope) -> (Box<Head>, Vec<Frame>) {
        let parts = envelope.encode().received();
        assert!(parts.len() <= MAX_PARTS);
        decode(parts).unwrap()
    }

    #[test]
    fn what_is_said_comes_out_as_it_went_in() {
        let mut outgoing = Outgoing::default();
        let sizes = [1, 20_000, 0, 9_000, 300, 2 << 20, 5];
        for (number, size) in (7..).zip(sizes) {
            outgoing.item(number, frame(size));
        }
        outgoing.task(TaskId::single(1, 1), frame(10_000));
        let results = vec![frame(3), frame(30_000)];
        outgoing.result(TaskId::single(2, 1), 5, &results);
        outgoing.note(|head| head.done.push(3));
        let mut seen = Vec::new();
        let mut numbers = Vec::new();
        for envelope in outgoing.take() {
            let (head, frames) = through(&envelope);
            assert_eq!(head, envelope.head);
            numbers.extend(head.first..head.first + head.sizes.len() as u64);
            seen.extend(frames.into_iter().map(|frame| frame.len()));
        }
        assert_eq!(numbers, (7..14).collect::<Vec<_>>());
        let given = sizes.map(|size| frame(size).len());
        assert_eq!(seen[..7], given);
        assert_eq!(seen.len(), 10);
        assert!(outgoing.is_empty());
    }

    #[test]
    fn what_nobody_waits_for_is_said_with_the_next_thing_or_soon() {
        let now = Instant::now();
        let mut outgoing = Outgoing::default();
        let done = |outgoing: &mut Outgoing, number| {
            outgoing.note_unhurried(1, |head| head.done.push(number));
        };
        done(&mut outgoing, 1);
        assert_eq!(outgoing.deadline(), None);
        assert!(due(&mut outgoing, now).is_empty());
        assert_eq!(outgoing.deadline(), Some(now + SOON));
        done(&mut outgoing, 2);
        assert!(due(&mut outgoing, now + SOON / 2).is_empty());
        let said = due(&mut outgoing, now + SOON);
        assert_eq!(said[0].head.done, [1, 2]);
        assert_eq!(outgoing.deadline(), None);

        done(&mut outgoing, 3);
        assert!(due(&mut outgoing, now).is_empty());
        outgoing.item(1, frame(20));
        assert!(outgoing.has_messages());
        let said = due(&mut outgoing, now);
        assert_eq!((said.len(), &said[0].head.done[..]), (1, &[3][..]));

        done(&mut outgoing, 4);
        outgoing.note(|head| head.drain = true);
        assert_eq!(due(&mut outgoing, now)[0].head.done, [4]);

        (0..MOST_UNHURRIED as u64).for_each(|number| done(&mut outgoing, number));
        assert_eq!(due(&mut outgoing, now)[0].head.done.len(), MOST_UNHURRIED);

        done(&mut outgoing, 5);
        outgoing.result(TaskId::single(2, 1), 5, &[]);
        assert_eq!(due(&mut outgoing, now)[0].head.done, [5]);
    }

    #[test]
    fn many_small_messages_share_few_frames() {
        let mut outgoing = Outgoing::default();
        (1..=1_000).for_each(|number| outgoing.item(number, frame(20)));
        let envelopes = outgoing.take();
        assert_eq!(envelopes.len(), 2);
        assert_eq!(envelopes[0].encode().received().len(), 1);
    }

    #[test]
    fn results_that_are_too_much_for_one_head_say_that_more_come() {
        let mut outgoing = Outgoing::default();
        let id = TaskId::single(2, 1);
        outgoing.result(id, 5, &vec![frame(600_000); 3]);
        outgoing.result(id, 5, &[]);
        let heads: Vec<_> = outgoing.take().iter().map(|said| through(said).0).collect();
        let parts = heads.iter().flat_map(|head| head.results());
        let parts: Vec<_> = parts.map(|part| (part.count, part.more)).collect();
        assert_eq!(parts, [(1, true), (1, true), (1, false), (0, false)]);
        assert!(
            heads
                .iter()
                .flat_map(|head| head.results())
                .all(|part| part.id == id)
        );
    }

    #[test]
    fn wrong_lengths_are_refused() {
        let mut outgoing = Outgoing::default();
        outgoing.item(1, frame(20));
        outgoing.item(2, frame(20_000));
        let envelope = outgoing.take().remove(0);
        let Encoded { first, large } = envelope.encode();
        let parts = vec![first, large[0].as_bytes().to_vec()];
        let decodes = |change: fn(&mut Vec<Vec<u8>>)| {
            let mut parts = parts.clone();
            change(&mut parts);
            decode(parts.into_iter().map(Buffer::from).collect()).is_ok()
        };
        assert!(decodes(|_| {}));
        assert!(!decodes(|parts| parts.clear()));
        assert!(!decodes(|parts| parts[0].push(0xff)));
        assert!(!decodes(|parts| parts[0].truncate(5)));
        assert!(!decodes(|parts| parts[0].clear()));
        assert!(!decodes(|parts| parts[0][0] -= 1));
        assert!(!decodes(|parts| parts[0]
            .splice(0..1, [0xff; 12])
            .for_each(drop)));
        assert!(!decodes(|parts| parts[1].push(0)));
        assert!(!decodes(|parts| drop(parts.pop())));
        assert!(!decodes(|parts| parts.push(vec![])));
    }

    #[test]
    fn a_heartbeat_is_an_empty_frame() {
        let parts = Envelope::default().encode().received();
        assert_eq!((parts.len(), parts[0].len()), (1, 0));
        assert_eq!(decode(parts).unwrap(), (Box::default(), vec![]));
    }

    #[test]
    fn numbers_come_out_of_their_differences() {
        let numbers = [3, 4, 9, 1_000];
        assert_eq!(differences(numbers), [3, 1, 5, 991]);
        assert_eq!(sums(&differences(numbers)).collect::<Vec<_>>(), numbers);
        assert_eq!(sums(&[u64::MAX, 1, 1]).count(), 1);
    }
}
