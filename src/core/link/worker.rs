//! The tasks that a worker has of its master, at the worker.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::tasks::limit_of;
use super::{Party, Progress};
use crate::message::Frame;
use crate::message::link::{Head, Hello, Kind, Outgoing, Position, TaskId, TaskIds, Welcome};

/// How long what has come of the messages of a bundle may wait while another of them runs.
const LOOK: Duration = Duration::from_millis(5);

/// While the master has not taken so many bytes of results, nothing more is run, unless they are those of
/// one task: much would come of it, and its client may not read what has come.
const MOST_UNTAKEN: usize = 4 << 20;

/// Takes tasks from a master, has them run one after another, and gives the results back.
///
/// ```text
/// tasks ─► waiting ─► running ─► finished ─► done: forgotten
///             └─► recalled, or it drains: returned
/// ```
///
/// The end of what was said on a connection is lost when it breaks. So each result is kept until
/// the master says that it is done, and is said again on the next connection. The hello tells
/// which tasks it holds: those that wait, the one that runs, and those whose results are kept.
/// Whatever else the master has given to it, it has returned, or never got.
///
/// A bundle is run message by message, and finished part by part, from its first message on: so
/// what is not begun of it can still be handed back.
///
/// A master that was restarted knows nothing of its tasks: they are forgotten. The one that runs
/// cannot be stopped, but nothing becomes of it.
#[derive(Debug)]
pub(crate) struct WorkerSession {
    /// Its id: a uuid, of this run of the worker.
    session: String,
    name: String,
    /// The functions that it has; none stands for any.
    functions: Vec<String>,
    /// The run of the master that its tasks are of.
    epoch: String,
    /// The largest payload that it takes.
    limit: usize,
    waiting: VecDeque<(TaskId, Frame)>,
    running: Option<Running>,
    /// Results that the master has not said it has, in the order in which they were finished.
    finished: VecDeque<Finished>,
    /// How many bytes they have.
    untaken: usize,
    /// How many of them, from the first on, were said on this connection.
    said: usize,
    /// What is handed back, and not said yet.
    returned: Vec<TaskId>,
    /// Whether the master waits for what is handed back, be it nothing.
    answers: bool,
    drains: bool,
    /// Whether that was said on this connection.
    said_drain: bool,
    /// When it was looked last what has come of the bundle that runs.
    looked: Option<Instant>,
}

/// The task that runs.
#[derive(Clone, Debug)]
struct Running {
    /// What is not finished of it.
    left: TaskId,
    /// The number that it was given under.
    first: u64,
    /// How far it is, if it is a bundle.
    progress: Option<Arc<Progress>>,
}

#[derive(Debug)]
struct Finished {
    /// With how many of a bundle's messages it is.
    id: TaskId,
    ran: Duration,
    results: Vec<Frame>,
    bytes: usize,
}

impl WorkerSession {
    /// A worker of this name and with these functions; if there are none, it takes tasks for
    /// any. The id is to be another one at each start.
    pub(crate) fn new(
        session: impl Into<String>,
        name: impl Into<String>,
        functions: Vec<String>,
    ) -> Self {
        Self {
            session: session.into(),
            name: name.into(),
            functions,
            epoch: String::new(),
            limit: usize::MAX,
            waiting: VecDeque::new(),
            running: None,
            finished: VecDeque::new(),
            untaken: 0,
            said: 0,
            returned: Vec::new(),
            answers: false,
            drains: false,
            said_drain: false,
            looked: None,
        }
    }

    /// The next task to run, when there is one and more may be run, with how many messages it is. It is
    /// running from now on.
    pub(crate) fn next(&mut self) -> Option<(TaskId, Frame)> {
        if self.is_choked() {
            return None;
        }
        let (id, frame) = self.waiting.pop_front()?;
        self.running = Some(Running {
            left: id,
            first: id.id,
            progress: None,
        });
        Some((id, frame))
    }

    /// The task that is running is this bundle. What has come of its messages is to be noted there,
    /// and [gathered](Self::gather) when it is due. How long they run is told by a `clock`, which shows
    /// this now.
    pub(crate) fn begin_bundle(
        &mut self,
        frame: Frame,
        now: Instant,
        clock: Instant,
    ) -> Arc<Progress> {
        let progress = Arc::new(Progress::new(frame, clock));
        if let Some(running) = &mut self.running {
            running.progress = Some(progress.clone());
            self.looked = Some(now);
        }
        progress
    }

    /// The task that was running has ended, with these results; or, of a bundle, so many messages
    /// as the number says, from the first that was not finished on: if they are several, with a
    /// bundle of as many results. In place of one that is too large for the master goes its
    /// failure.
    pub(crate) fn finished(&mut self, id: TaskId, ran: Duration, results: Vec<Frame>) {
        let is_of = |running: &Running| {
            (running.left.id, running.left.attempt) == (id.id, id.attempt)
                && running.left.messages() >= id.messages()
        };
        // If not, its master is gone.
        let Some(running) = self.running.take_if(|running| is_of(running)) else {
            return;
        };
        let results =
            results
                .into_iter()
                .map(|result| match result.payload().len() <= self.limit {
                    true => result,
                    false => result.as_too_large(self.limit, &self.name),
                });
        let results: Vec<_> = results.collect();
        let bytes = results.iter().map(Frame::len).sum();
        self.untaken += bytes;
        self.finished.push_back(Finished {
            id,
            ran,
            results,
            bytes,
        });
        if let Some(left) = id.rest_of(running.left) {
            self.running = Some(Running { left, ..running });
        }
    }

    /// Takes over what has come of the messages of the bundle that runs. Whether it has ended.
    pub(crate) fn gather(&mut self) -> bool {
        let running = self.running.as_ref();
        if let Some(progress) = running.and_then(|running| running.progress.clone()) {
            for part in progress.take() {
                let left = self.running.as_ref().map(|running| running.left);
                if let Some(left) = left {
                    self.finished(left.of_messages(part.count), part.ran, part.results);
                }
            }
        }
        self.running.is_none()
    }

    /// Whether the master is to take some results before more is run.
    pub(crate) fn is_choked(&self) -> bool {
        self.untaken >= MOST_UNTAKEN && self.finished.len() > 1
    }

    /// Hands back what has not begun of the bundle that runs.
    fn cut_running(&mut self) {
        self.gather();
        if let Some(running) = &mut self.running
            && let Some(progress) = &running.progress
        {
            let told = running.left.id.wrapping_sub(running.first) as usize;
            // The message that runs has begun, and was not told of.
            let begun = running
                .left
                .of_messages(progress.cut().saturating_sub(told));
            self.returned.extend(begun.rest_of(running.left));
            running.left = begun;
        }
    }

    /// Takes no more tasks, and hands back those that wait. When the one that runs is finished
    /// and the master has all results, it is over.
    pub(crate) fn drain(&mut self) {
        self.drains = true;
        self.cut_running();
        let waiting = self.waiting.drain(..).map(|(id, _)| id);
        self.returned.extend(waiting);
    }

    /// Whether a task waits that may be run.
    pub(crate) fn has_next(&self) -> bool {
        !self.waiting.is_empty() && !self.is_choked()
    }

    /// How many tasks it has, with those whose results are kept.
    pub(crate) fn held(&self) -> usize {
        self.waiting.len() + usize::from(self.running.is_some()) + self.finished.len()
    }

    fn holds(&self) -> impl Iterator<Item = TaskId> + '_ {
        let finished = self.finished.iter().map(|finished| finished.id);
        let waiting = self.waiting.iter().map(|(id, _)| *id);
        let running = self.running.as_ref().map(|running| running.left);
        finished.chain(running).chain(waiting)
    }

    /// The master has taken the result of a task. Of several attempts at it, it is the first
    /// whose result was said.
    fn done(&mut self, task: u64) {
        let mut said = self.finished.iter().take(self.said);
        if let Some(index) = said.position(|finished| finished.id.id == task) {
            let taken = self.finished.remove(index);
            self.untaken -= taken.map_or(0, |taken| taken.bytes);
            self.said -= 1;
        }
    }

    /// Hands back those of these tasks that have not begun. Attempt 0 stands for any.
    fn recall(&mut self, ids: &[TaskId]) {
        let ids: HashSet<_> = ids.iter().map(|of| (of.id, of.attempt)).collect();
        let is_meant = |id: u64, attempt| ids.contains(&(id, attempt)) || ids.contains(&(id, 0));
        if planted!(RunningHandedBack) {
            let running = self.running.as_ref().map(|running| running.left);
            self.returned.extend(running);
        }
        let returned = &mut self.returned;
        self.waiting.retain(|(id, _)| {
            let recalled = is_meant(id.id, id.attempt);
            if recalled {
                returned.push(*id);
            }
            !recalled
        });
        // Its master may know it by any number that it had.
        let runs = self.running.as_ref().is_some_and(|running| {
            (running.first..=running.left.id).any(|id| is_meant(id, running.left.attempt))
        });
        if runs {
            self.cut_running();
        }
        self.answers = true;
    }
}

impl Party for WorkerSession {
    fn hello(&mut self) -> Hello {
        self.gather();
        Hello {
            kind: Kind::Worker.into(),
            session: self.session.clone(),
            name: self.name.clone(),
            functions: self.functions.clone(),
            // Which run of the master the tasks are of.
            position: (!self.epoch.is_empty()).then(|| Position {
                epoch: self.epoch.clone(),
                ..Position::default()
            }),
            holds: self.holds().collect(),
            ..Hello::default()
        }
    }

    fn welcomed(&mut self, welcome: Welcome, _: &mut Outgoing, _: Instant) {
        if welcome.epoch != self.epoch {
            self.epoch = welcome.epoch;
            self.waiting.clear();
            // The one that runs cannot be stopped, but those after it can.
            self.cut_running();
            self.running = None;
            self.finished.clear();
            self.untaken = 0;
            self.limit = limit_of(welcome.max_message);
        }
        self.said = 0;
        self.said_drain = false;
        // The hello has told the same: these were not among what it holds.
        self.returned.clear();
        self.answers = false;
    }

    fn heard(&mut self, head: Box<Head>, frames: Vec<Frame>, _: &mut Outgoing, _: Instant) {
        let frames = frames.into_iter().skip(head.sizes.len());
        for ((id, _), frame) in head.tasks().zip(frames) {
            let id = id.of_messages(frame.count());
            match self.drains {
                true => self.returned.push(id),
                false => self.waiting.push_back((id, frame)),
            }
        }
        for task in head.done {
            self.done(task);
        }
        if let Some(recall) = head.recall {
            self.recall(&recall.ids);
        }
    }

    fn lost(&mut self, _: Instant) {}

    fn speak(&mut self, out: &mut Outgoing, now: Instant) {
        self.gather();
        self.looked = Some(now);
        for finished in self.finished.iter().skip(self.said) {
            let ran = u64::try_from(finished.ran.as_micros()).unwrap_or(u64::MAX);
            out.result(finished.id, ran, &finished.results);
        }
        self.said = self.finished.len();
        if self.drains && !self.said_drain {
            out.note(|head| head.drain = true);
            self.said_drain = true;
        }
        if self.answers || !self.returned.is_empty() {
            let mut returned = std::mem::take(&mut self.returned);
            if planted!(HandedBackInSilence) {
                returned.clear();
            }
            out.note(|head| {
                let all = head.returned.get_or_insert_with(TaskIds::default);
                all.ids.extend(returned);
            });
            self.answers = false;
        }
    }

    fn is_over(&self) -> bool {
        self.drains && self.held() == 0
    }

    /// While a bundle runs, it is looked at now and then: one of its messages may take its time.
    fn deadline(&self) -> Option<Instant> {
        let running = self.running.as_ref();
        let bundle = running.filter(|running| running.progress.is_some());
        bundle.and(self.looked).map(|looked| looked + LOOK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(id: u64) -> TaskId {
        TaskId::single(id, 1)
    }

    fn ids(of: impl IntoIterator<Item = u64>) -> Vec<TaskId> {
        of.into_iter().map(id).collect()
    }

    fn frame(payload: &str) -> Frame {
        Frame::new("", "c", "s.f", "", payload.as_bytes())
    }

    /// A worker, as its master sees it.
    struct Peer {
        worker: WorkerSession,
        out: Outgoing,
        now: Instant,
    }

    impl Peer {
        fn new() -> Self {
            let mut peer = Self {
                worker: WorkerSession::new("id", "w", vec!["f".to_owned()]),
                out: Outgoing::default(),
                now: Instant::now(),
            };
            peer.welcome("first");
            peer
        }

        /// A new connection, to this run of the master. What was said before is lost.
        fn welcome(&mut self, epoch: &str) -> Hello {
            self.worker.lost(self.now);
            self.out.clear();
            let hello = self.worker.hello();
            let welcome = Welcome {
                epoch: epoch.to_owned(),
                ..Welcome::default()
            };
            self.worker.welcomed(welcome, &mut self.out, self.now);
            hello
        }

        fn hear(&mut self, head: impl Into<Box<Head>>) {
            let head = head.into();
            let frames = vec![frame("x"); head.tasks().count()];
            self.worker.heard(head, frames, &mut self.out, self.now);
        }

        fn give(&mut self, tasks: impl IntoIterator<Item = u64>) {
            let mut out = Outgoing::default();
            let given = tasks.into_iter().map(id);
            given.for_each(|id| out.task(id, frame("x")));
            self.hear(out.take().remove(0).head);
        }

        fn done(&mut self, task: u64) {
            self.hear(Head {
                done: vec![task],
                ..Head::default()
            });
        }

        fn recall(&mut self, tasks: impl IntoIterator<Item = u64>) {
            self.hear(Head {
                recall: Some(TaskIds { ids: ids(tasks) }),
                ..Head::default()
            });
        }

        /// What it says, as one head.
        fn said(&mut self) -> Head {
            self.worker.speak(&mut self.out, self.now);
            let mut said = self.out.take();
            assert!(said.len() < 2);
            said.pop()
                .map(|envelope| *envelope.head)
                .unwrap_or_default()
        }

        fn results(&mut self) -> Vec<TaskId> {
            self.said().results().map(|result| result.id).collect()
        }

        /// The worker runs its next task.
        fn run(&mut self) -> u64 {
            let (task, _) = self.worker.next().expect("a task");
            self.finish(task);
            task.id
        }

        fn finish(&mut self, task: TaskId) {
            let ran = Duration::from_micros(7);
            self.worker
                .finished(task, ran, vec![frame("y"), frame("z")]);
        }
    }

    #[test]
    fn tasks_are_run_in_their_order_and_their_results_are_said() {
        let mut peer = Peer::new();
        assert!(peer.worker.next().is_none());
        peer.give([3, 1, 2]);
        assert_eq!([peer.run(), peer.run()], [3, 1]);
        let said: Vec<_> = peer.said().results().collect();
        assert_eq!(said.len(), 2);
        assert_eq!(said[0].id, id(3));
        assert_eq!((said[0].ran, said[0].count), (7, 2));
        assert_eq!(peer.run(), 2);
        assert_eq!(peer.results(), ids([2]));
        assert_eq!(peer.results(), []);
    }

    #[test]
    fn a_result_that_the_master_would_not_take_is_a_failure() {
        let mut peer = Peer::new();
        let welcome = Welcome {
            epoch: "other".to_owned(),
            max_message: 100,
            ..Welcome::default()
        };
        peer.worker.welcomed(welcome, &mut peer.out, peer.now);
        peer.give([1]);
        let (task, _) = peer.worker.next().unwrap();
        let results = vec![frame(&"x".repeat(101)), frame(&"x".repeat(100))];
        peer.worker.finished(task, Duration::ZERO, results);
        peer.worker.speak(&mut peer.out, peer.now);
        let said = peer.out.take().remove(0).frames;
        let failure = said[0].failure().unwrap();
        assert!(failure.cause.contains("101 bytes"), "{}", failure.cause);
        assert_eq!(said[1].payload().len(), 100);
    }

    #[test]
    fn a_result_is_kept_until_the_master_says_that_it_is_done() {
        let mut peer = Peer::new();
        peer.give([1, 2, 3, 4]);
        assert_eq!([peer.run(), peer.run()], [1, 2]);
        assert_eq!(peer.results(), ids([1, 2]));
        peer.done(1);
        peer.run();
        assert_eq!(peer.results(), ids([3]));
        peer.run();
        let hello = peer.welcome("first");
        assert_eq!(hello.holds, ids([2, 3, 4]));
        assert_eq!(peer.results(), ids([2, 3, 4]));
        for task in [3, 2, 9, 4] {
            peer.done(task);
        }
        assert_eq!(peer.worker.held(), 0);
    }

    #[test]
    fn while_the_master_has_not_taken_much_nothing_more_is_run() {
        let mut peer = Peer::new();
        peer.give(1..=5);
        let large = "x".repeat(MOST_UNTAKEN);
        let run = |peer: &mut Peer| {
            let (task, _) = peer.worker.next().expect("a task");
            let results = vec![frame(&large)];
            peer.worker.finished(task, Duration::ZERO, results);
            task.id
        };
        // Those of one task may be as large as they like.
        assert_eq!([run(&mut peer), run(&mut peer)], [1, 2]);
        assert!(!peer.worker.has_next() && peer.worker.next().is_none());
        peer.worker.speak(&mut peer.out, peer.now);
        assert!(!peer.out.take().is_empty());
        // What waits can still be handed back.
        peer.recall([4]);
        assert_eq!(peer.said().returned.unwrap().ids, ids([4]));
        peer.done(1);
        assert!(peer.worker.has_next());
        assert_eq!(run(&mut peer), 3);
        assert!(!peer.worker.has_next());
        // Another master wants nothing of that.
        peer.welcome("other");
        peer.give([7, 8]);
        assert_eq!([run(&mut peer), run(&mut peer)], [7, 8]);
    }

    #[test]
    fn of_two_attempts_at_a_task_the_first_is_done_first() {
        let mut peer = Peer::new();
        peer.give([1]);
        peer.run();
        let second = TaskId::single(1, 2);
        peer.said();
        peer.worker.waiting.push_back((second, frame("x")));
        peer.run();
        peer.done(1);
        assert_eq!(peer.worker.hello().holds, [second]);
        // The master cannot have taken what was not said.
        peer.done(1);
        assert_eq!(peer.results(), [second]);
    }

    #[test]
    fn only_what_has_not_begun_is_handed_back() {
        let mut peer = Peer::new();
        peer.give(1..=5);
        peer.run();
        let (running, _) = peer.worker.next().unwrap();
        peer.recall([1, 2, 4, 5, 9]);
        assert_eq!(peer.said().returned.unwrap().ids, ids([4, 5]));
        peer.finish(running);
        assert_eq!(peer.results(), ids([2]));
        assert_eq!(peer.run(), 3);
        // Another attempt is another task.
        let other = TaskId::single(3, 2);
        peer.give([3]);
        peer.hear(Head {
            recall: Some(TaskIds { ids: vec![other] }),
            ..Head::default()
        });
        assert_eq!(peer.said().returned, Some(TaskIds::default()));
        let any = TaskId::single(3, 0);
        peer.hear(Head {
            recall: Some(TaskIds { ids: vec![any] }),
            ..Head::default()
        });
        assert_eq!(peer.said().returned.unwrap().ids, ids([3]));
    }

    #[test]
    fn a_recall_is_answered_even_if_there_is_nothing_to_hand_back() {
        let mut peer = Peer::new();
        assert_eq!(peer.said().returned, None);
        peer.recall([1]);
        assert_eq!(peer.said().returned, Some(TaskIds::default()));
        assert_eq!(peer.said().returned, None);
    }

    #[test]
    fn a_worker_that_drains_hands_back_the_rest_finishes_what_runs_and_is_over() {
        let mut peer = Peer::new();
        peer.give([1, 2, 3]);
        let (running, _) = peer.worker.next().unwrap();
        peer.worker.drain();
        let said = peer.said();
        assert!(said.drain);
        assert_eq!(said.returned.unwrap().ids, ids([2, 3]));
        // What was on its way goes back, too.
        peer.give([4]);
        let said = peer.said();
        assert!(!said.drain && peer.worker.next().is_none());
        assert_eq!(said.returned.unwrap().ids, ids([4]));
        peer.finish(running);
        assert_eq!(peer.results(), ids([1]));
        assert!(!peer.worker.is_over());
        peer.done(1);
        assert!(peer.worker.is_over());
    }

    #[test]
    fn a_worker_that_drains_says_so_on_each_connection() {
        let mut peer = Peer::new();
        peer.give([1, 2]);
        peer.worker.next();
        peer.worker.drain();
        peer.said();
        let hello = peer.welcome("first");
        assert_eq!(hello.holds, ids([1]));
        let said = peer.said();
        assert!(said.drain);
        assert_eq!(said.returned, None);
    }

    #[test]
    fn tasks_outlive_a_connection_but_not_their_master() {
        let mut peer = Peer::new();
        peer.give([1, 2, 3]);
        peer.run();
        let (running, _) = peer.worker.next().unwrap();
        assert_eq!(peer.welcome("first").holds, ids([1, 2, 3]));
        assert_eq!(peer.results(), ids([1]));
        let hello = peer.welcome("second");
        assert_eq!(hello.position.unwrap().epoch, "first");
        assert_eq!(peer.worker.held(), 0);
        peer.give([2]);
        // That is the old one; the new one has not begun.
        peer.finish(running);
        assert_eq!(peer.results(), []);
        assert_eq!(peer.welcome("second").holds, ids([2]));
        assert_eq!(peer.run(), 2);
        assert_eq!(peer.results(), ids([2]));
    }
}
