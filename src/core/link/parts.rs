//! A bundle on which a function runs, message by message.

use std::time::{Duration, Instant};

use crate::core::custody::Shared;
use crate::message::{Bundler, Frame};

/// What has come of the messages of a bundle that have run, and was not told yet. Results of
/// messages that follow each other and have one each go on together.
pub(crate) struct Parts {
    frame: Frame,
    /// The place of the message that runs.
    at: usize,
    /// What has come of the last messages, which are no part yet, and since when they ran.
    results: Bundler,
    since: Instant,
    /// When the last message ended.
    last: Instant,
    /// How long what has run since it was told of last took.
    ran: Duration,
    /// Whether a message took its time.
    had_slow: bool,
    parts: Vec<Part>,
}

/// Some messages of a bundle that follow each other, and what has come of them.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) count: usize,
    /// How long they ran.
    pub(crate) ran: Duration,
    /// If they are several: one bundle of as many. If not, whatever there is.
    pub(crate) results: Vec<Frame>,
}

impl Parts {
    /// A message that runs for so long is a part by itself; and what has run is to be told of when
    /// it took so long in all.
    pub(crate) const SLOW: Duration = Duration::from_micros(100);

    /// The first message of this bundle begins.
    pub(crate) fn new(frame: Frame, now: Instant) -> Self {
        Self {
            at: 0,
            results: Bundler::of_results(&frame, 0),
            since: now,
            last: now,
            ran: Duration::ZERO,
            had_slow: false,
            parts: Vec::new(),
            frame,
        }
    }

    /// The message that runs, by itself.
    pub(crate) fn running(&self) -> Frame {
        self.frame.single(self.at)
    }

    /// Whether all its messages have run.
    pub(crate) fn is_over(&self) -> bool {
        self.at == self.frame.count()
    }

    /// The message that ran has one result, with this payload.
    pub(crate) fn one(&mut self, payload: &[u8], now: Instant) {
        let took = self.ended(now);
        if took >= Self::SLOW || !self.results.has_room(payload.len()) {
            let result = self.running().with_payload(payload);
            self.alone(took, vec![result]);
        } else {
            self.results.push(payload);
        }
        self.at += 1;
    }

    /// The message that ran has anything else.
    pub(crate) fn other(&mut self, results: Vec<Frame>, now: Instant) {
        let took = self.ended(now);
        self.alone(took, results);
        self.at += 1;
    }

    /// How long the message took that has just run.
    fn ended(&mut self, now: Instant) -> Duration {
        let took = now.saturating_duration_since(std::mem::replace(&mut self.last, now));
        self.ran += took;
        self.had_slow |= took >= Self::SLOW;
        took
    }

    /// What has just run is a part by itself, after those before it.
    fn alone(&mut self, ran: Duration, results: Vec<Frame>) {
        let before = self.last.checked_sub(ran).unwrap_or(self.last);
        self.close_part(before);
        self.parts.push(Part {
            count: 1,
            ran,
            results,
        });
        self.results = Bundler::of_results(&self.frame, self.at + 1);
    }

    /// What has come of the last messages, until then, is a part.
    fn close_part(&mut self, end: Instant) {
        let count = self.results.count();
        if count > 0 {
            let results = vec![self.results.take()];
            let ran = end.saturating_duration_since(self.since);
            self.parts.push(Part {
                count,
                ran,
                results,
            });
        }
        self.since = self.last;
    }

    /// Whether it is time to tell.
    pub(crate) fn is_due(&self) -> bool {
        self.is_slow() || self.is_over()
    }

    /// Whether any of its messages took its time.
    pub(crate) fn had_slow(&self) -> bool {
        self.had_slow
    }

    /// Whether what was not told of took its time.
    pub(crate) fn is_slow(&self) -> bool {
        self.ran >= Self::SLOW
    }

    /// All that has run and was not told of, in order.
    pub(crate) fn take(&mut self) -> impl Iterator<Item = Part> + '_ {
        self.close_part(self.last);
        self.ran = Duration::ZERO;
        self.parts.drain(..)
    }
}

/// A bundle that a worker runs, as the thread that runs it and that of the connection share it: so
/// while one of its messages takes its time, what has come of those before it is told, and those
/// after it can be handed back.
pub(crate) struct Progress(Shared<State>);

struct State {
    parts: Parts,
    /// How many of its messages are to run here.
    limit: usize,
}

/// What is to be done after a message of a bundle has run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Next {
    /// The next message has begun: it is to be run.
    pub(crate) goes_on: bool,
    /// What has run is to be told.
    pub(crate) is_due: bool,
    /// It took its time.
    pub(crate) is_slow: bool,
}

impl Progress {
    /// The first message of this bundle begins.
    pub(crate) fn new(frame: Frame, now: Instant) -> Self {
        let limit = frame.count();
        let parts = Parts::new(frame, now);
        Self(Shared::new(State { parts, limit }))
    }

    /// The message that runs has ended. `note` notes what has come of it.
    pub(crate) fn ran(&self, note: impl FnOnce(&mut Parts)) -> Next {
        self.0.with(|State { parts, limit }| {
            note(parts);
            let goes_on = parts.at < *limit;
            let is_slow = parts.is_slow();
            Next {
                goes_on,
                is_due: is_slow || !goes_on,
                is_slow,
            }
        })
    }

    /// No more of its messages are to begin here. Gives how many have.
    pub(super) fn cut(&self) -> usize {
        self.0.with(|State { parts, limit }| {
            *limit = (*limit).min(parts.at + 1);
            *limit
        })
    }

    /// All that has run and was not told of.
    pub(super) fn take(&self) -> Vec<Part> {
        self.0.with(|state| state.parts.take().collect())
    }

    /// The message that runs, by itself.
    #[cfg(test)]
    pub(crate) fn running(&self) -> Frame {
        self.0.with(|state| state.parts.running())
    }
}

impl std::fmt::Debug for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Progress")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::core::link::{Party, WorkerSession};
    use crate::message::link::{Head, Outgoing, TaskId, TaskIds};

    const QUICK: Duration = Duration::from_micros(1);

    fn bundle(payloads: &[&str]) -> Frame {
        let form = Frame::new("", "c/1", "s.f", "", b"");
        let mut bundler = Bundler::of_job(&form, 7);
        payloads
            .iter()
            .for_each(|payload| bundler.push(payload.as_bytes()));
        bundler.take()
    }

    /// A worker that has this bundle, under the number 10, and runs it.
    struct Running {
        session: WorkerSession,
        progress: Arc<Progress>,
        now: Instant,
    }

    impl Running {
        fn new(payloads: &[&str]) -> Self {
            let mut session = WorkerSession::new("id", "w", Vec::new());
            let mut out = Outgoing::default();
            let now = Instant::now();
            out.task(TaskId::single(10, 1), bundle(payloads));
            let said = out.take().remove(0);
            session.heard(said.head, said.frames, &mut out, now);
            let (id, frame) = session.next().unwrap();
            assert_eq!(id.messages(), payloads.len());
            let progress = session.begin_bundle(frame, now, now);
            Self {
                session,
                progress,
                now,
            }
        }

        /// The message that runs takes so long, and gives its payload.
        fn run(&mut self, took: Duration) -> Next {
            self.now += took;
            let payload = self.progress.running().payload().to_vec();
            self.progress.ran(|parts| parts.one(&payload, self.now))
        }

        fn recall(&mut self, id: u64) {
            let ids = vec![TaskId::single(id, 0)];
            let head = Head {
                recall: Some(TaskIds { ids }),
                ..Head::default()
            };
            let mut out = Outgoing::default();
            self.session
                .heard(head.into(), Vec::new(), &mut out, self.now);
        }

        /// What is said: the first message of each part, how many they are, and their payloads; and
        /// what is handed back, if that is said.
        fn said(&mut self) -> (Vec<Said>, Option<Vec<(u64, usize)>>) {
            let mut out = Outgoing::default();
            self.session.speak(&mut out, self.now);
            let Some(said) = out.take().pop() else {
                return (Vec::new(), None);
            };
            let results = said.head.results().zip(&said.frames);
            let results = results.map(|(result, frame)| {
                assert_eq!((result.count, frame.count()), (1, result.id.messages()));
                let place = frame.place().unwrap();
                assert_eq!(place.number - 7, result.id.id - 10);
                let all = (0..frame.count()).flat_map(|at| frame.payload_at(at));
                let text = String::from_utf8(all.copied().collect()).unwrap();
                (result.id.id, result.id.messages(), text)
            });
            let results = results.collect();
            let returned = said.head.returned.map(|returned| {
                let ids = returned.ids.iter();
                ids.map(|of| (of.id, of.messages())).collect()
            });
            (results, returned)
        }
    }

    /// A part as it is said: its number, how many messages it is, their payloads.
    type Said = (u64, usize, String);

    fn part(id: u64, count: usize, text: &str) -> Said {
        (id, count, text.to_owned())
    }

    #[test]
    fn quick_results_go_back_together_and_a_slow_one_by_itself() {
        let mut running = Running::new(&["a", "b", "c", "d", "e"]);
        assert!(!running.run(QUICK).is_due);
        assert!(!running.run(QUICK).is_due);
        let next = running.run(Parts::SLOW);
        assert!(next.is_due && next.is_slow && next.goes_on);
        let all = vec![part(10, 2, "ab"), part(12, 1, "c")];
        assert_eq!(running.said(), (all, None));
        running.run(QUICK);
        let next = running.run(QUICK);
        assert!(next.is_due && !next.is_slow && !next.goes_on);
        assert_eq!(running.said(), (vec![part(13, 2, "de")], None));
        assert_eq!(running.session.held(), 3);
    }

    #[test]
    fn what_is_no_one_small_result_is_a_part_by_itself() {
        let mut running = Running::new(&["a", "b", "c"]);
        running.run(QUICK);
        let now = running.now;
        running.progress.ran(|parts| parts.other(Vec::new(), now));
        let large = [b'x'; 100_000];
        let next = running.progress.ran(|parts| parts.one(&large, now));
        assert!(!next.goes_on);
        let mut out = Outgoing::default();
        running.session.speak(&mut out, now);
        let said = out.take();
        let results = said.iter().flat_map(|said| said.head.results());
        let results: Vec<_> = results
            .map(|of| (of.id.id, of.id.messages(), of.count))
            .collect();
        assert_eq!(results, [(10, 1, 1), (11, 1, 0), (12, 1, 1)]);
    }

    #[test]
    fn while_a_message_runs_those_before_it_are_told_and_those_after_it_handed_back() {
        let mut running = Running::new(&["a", "b", "c", "d"]);
        running.run(QUICK);
        assert_eq!(running.said(), (vec![part(10, 1, "a")], None));
        // By the number that its master still has.
        running.recall(10);
        assert_eq!(running.said(), (vec![], Some(vec![(12, 2)])));
        running.recall(11);
        assert_eq!(running.said(), (vec![], Some(vec![])));
        assert!(!running.run(Parts::SLOW).goes_on);
        assert_eq!(running.said(), (vec![part(11, 1, "b")], None));
        assert!(running.session.next().is_none());
    }

    #[test]
    fn of_a_bundle_that_has_ended_nothing_is_handed_back() {
        let mut running = Running::new(&["a", "b"]);
        running.run(QUICK);
        running.run(QUICK);
        running.recall(10);
        assert_eq!(running.said(), (vec![part(10, 2, "ab")], Some(vec![])));
    }

    #[test]
    fn a_worker_that_drains_hands_back_the_rest_of_what_it_runs() {
        let mut running = Running::new(&["a", "b", "c"]);
        running.session.drain();
        assert_eq!(running.said(), (vec![], Some(vec![(11, 2)])));
        assert!(!running.run(QUICK).goes_on);
        assert_eq!(running.said(), (vec![part(10, 1, "a")], None));
    }

    #[test]
    fn of_a_bundle_whose_master_is_gone_nothing_more_is_run() {
        let mut running = Running::new(&["a", "b", "c"]);
        running.run(QUICK);
        let welcome = crate::message::link::Welcome {
            epoch: "another".to_owned(),
            ..Default::default()
        };
        let mut out = Outgoing::default();
        running.session.welcomed(welcome, &mut out, running.now);
        assert!(!running.run(QUICK).goes_on);
        assert_eq!(running.said(), (vec![], None));
    }
}
