//! The sockets of the pylm wire beside a link, which the link's thread owns, too: so what comes
//! over the one wire and goes over the other, or the same, changes no thread.

use std::time::{Duration, Instant};

use smallvec::SmallVec;

use crate::core::link::{Post, ToWorker};
use crate::core::outbox::Topic;
use crate::error::Result;
use crate::message::Frame;
use crate::part::publish::Publisher;
use crate::part::push::Stall;
use crate::part::receive::{Came, Intake};
use crate::part::{Context, PubService, PullService, WorkerPullService, WorkerPushService};
use crate::socket::{Socket, Want};

/// The names of the parts whose work is done here.
pub(super) const PULL: &str = "Pull";
pub(super) const WORKER_PUSH: &str = "WorkerPush";
pub(super) const WORKER_PULL: &str = "WorkerPull";

/// What a link's thread wants of its sockets.
pub(super) type Wants<'a> = SmallVec<[(&'a Socket, Want); 5]>;

/// Clients, workers and subscribers that speak the pylm wire.
pub(super) struct Wired {
    clients: Option<Source>,
    workers: Option<Workers>,
    publisher: Publisher,
}

/// Where messages come in.
struct Source {
    context: Context,
    socket: Socket,
    intake: Intake,
}

struct Workers {
    context: Context,
    push: Socket,
    /// What none of them has room for.
    unsent: Option<(ToWorker, Stall)>,
    /// Where messages are written.
    buffer: Vec<u8>,
    /// Whether there is no news of who is there, and nobody has been seen yet.
    unseen: bool,
    results: Source,
}

impl Wired {
    /// Opens the sockets. `link` is where the link is bound.
    pub(super) fn open(
        context: &Context,
        link: &str,
        clients: Option<&PullService>,
        workers: Option<(&WorkerPushService, &WorkerPullService)>,
        (name, publisher): (&str, &PubService),
    ) -> Result<Self> {
        let at = context.of(name);
        let (mut publisher, bound) = publisher.open(context.of(name), Some(link))?;
        publisher.attend();
        at.has_bound(bound);
        let source = |name, open: &dyn Fn(&Context) -> Result<(Socket, Intake)>| {
            let context = context.of(name);
            let (mut socket, intake) = open(&context)?;
            socket.attend();
            Ok(Source {
                context,
                socket,
                intake,
            })
        };
        let clients = clients.map(|pull| source(PULL, &|context| pull.open(context)));
        let workers = workers.map(|(push, pull)| {
            let context = context.of(WORKER_PUSH);
            let mut push = push.open(&context)?;
            push.attend();
            Ok(Workers {
                unseen: push.is_local(),
                context,
                push,
                unsent: None,
                buffer: Vec::new(),
                results: source(WORKER_PULL, &|context| pull.open(context))?,
            })
        });
        Ok(Self {
            clients: clients.transpose()?,
            workers: workers.transpose()?,
            publisher,
        })
    }

    /// The next thing that a client has pushed; if `gathers`, see [`Intake::gather`].
    pub(super) fn next_pushed(&mut self, gathers: bool) -> Result<Came> {
        match &mut self.clients {
            Some(clients) if gathers => clients.gather(),
            Some(clients) => clients.next(),
            None => Ok(Came::Nothing),
        }
    }

    /// What was gathered of that, if nobody waits for more.
    pub(super) fn gathered(&mut self) -> Option<Frame> {
        self.clients.as_mut()?.intake.gathered()
    }

    /// Takes the next thing that a worker has made. If what is made `passes` to its client by no
    /// other way, it is published as it stands where that can be. Whether there was anything.
    pub(super) fn take_result(
        &mut self,
        post: &mut Post,
        passes: bool,
        now: Instant,
    ) -> Result<bool> {
        let Some(workers) = &mut self.workers else {
            return Ok(false);
        };
        let Source {
            context,
            socket,
            intake,
        } = &mut workers.results;
        let publisher = &mut self.publisher;
        let came = match passes {
            false => intake.receive(socket, context)?,
            true => intake.receive_or(socket, context, |client, giving, result| {
                let is_passed = post.may_pass(client, giving) && publisher.pass(client, result)?;
                if let Some(tasks) = post.tasks().filter(|_| is_passed) {
                    tasks.passed(giving, now);
                }
                Ok(is_passed)
            })?,
        };
        match (came, post.tasks()) {
            (Came::Nothing, _) => return Ok(false),
            (Came::Message(frame), Some(tasks)) => tasks.wired(frame, now),
            (Came::Message(_) | Came::Other, _) => {}
        }
        Ok(true)
    }

    /// How many workers there are, and whether one has gone, if that is news.
    pub(super) fn crowd(&mut self) -> Result<Option<(usize, bool)>> {
        match &mut self.workers {
            Some(workers) => workers.crowd(),
            None => Ok(None),
        }
    }

    /// Gives workers what `next` gives, while one of them has room. Whether any was given.
    pub(super) fn give(
        &mut self,
        next: impl FnMut(&mut Vec<u8>) -> Option<ToWorker>,
    ) -> Result<bool> {
        match &mut self.workers {
            Some(workers) => workers.give(next),
            None => Ok(false),
        }
    }

    /// Publishes what `next` gives, while more may be held. Whether there was any.
    pub(super) fn publish(
        &mut self,
        now: Instant,
        mut next: impl FnMut() -> Option<(String, Frame)>,
    ) -> Result<bool> {
        let mut moved = false;
        while !self.publisher.is_full()
            && let Some((topic, frame)) = next()
        {
            let topic = Topic::of(topic, &frame);
            self.publisher.offer(topic, frame, now)?;
            moved = true;
        }
        Ok(moved)
    }

    /// Takes in who subscribes, which `report` is told, and publishes what there is room for now.
    pub(super) fn keep_up(&mut self, now: Instant, report: impl FnMut(&str, usize)) -> Result<()> {
        self.publisher.keep_up(now, report)
    }

    /// Whether everything has gone out.
    pub(super) fn is_empty(&self) -> bool {
        self.unsent() == 0 && self.publisher.is_empty()
    }

    /// How many messages were taken, and not given.
    pub(super) fn unsent(&self) -> usize {
        let unsent = self.workers.iter().filter_map(|all| all.unsent.as_ref());
        unsent.count()
    }

    /// What to wait for; what clients push only if there is room for it.
    pub(super) fn wants<'a>(&'a self, takes: bool, wants: &mut Wants<'a>) {
        if let Some(clients) = self.clients.as_ref().filter(|_| takes) {
            wants.push((&clients.socket, Want::Read));
        }
        if let Some(workers) = &self.workers {
            // Somebody to write to is news, until there is one.
            let want = match workers.unsent.is_some() || workers.unseen {
                true => Want::Write,
                false => Want::Nothing,
            };
            wants.push((&workers.push, want));
            wants.push((&workers.results.socket, Want::Read));
        }
        wants.push(self.publisher.wants());
    }

    /// For how long to wait at the longest.
    pub(super) fn deadline(&self, now: Instant) -> Option<Duration> {
        self.publisher.deadline(now)
    }

    /// At the end: what was refused, and what did not get out.
    pub(super) fn say_end(&self) {
        let sources = self
            .clients
            .iter()
            .chain(self.workers.iter().map(|workers| &workers.results));
        sources.for_each(|source| source.intake.say_refused(&source.context));
        self.publisher.say_end(0);
    }
}

impl Source {
    fn next(&mut self) -> Result<Came> {
        self.intake.receive(&mut self.socket, &self.context)
    }

    fn gather(&mut self) -> Result<Came> {
        self.intake.gather(&mut self.socket, &self.context)
    }
}

impl Workers {
    fn crowd(&mut self) -> Result<Option<(usize, bool)>> {
        if self.unseen && self.push.is_writable()? {
            self.unseen = false;
            return Ok(Some((1, false)));
        }
        Ok(self.push.peers())
    }

    fn give(&mut self, mut next: impl FnMut(&mut Vec<u8>) -> Option<ToWorker>) -> Result<bool> {
        let mut moved = false;
        let (mut unsent, mut stall) = self.unsent.take().unzip();
        while let Some(mut given) = unsent.take().or_else(|| next(&mut self.buffer)) {
            let is_sent = match &mut given {
                ToWorker::Frame(frame) => self.push.try_send_frame(frame)?,
                ToWorker::Written => self.push.try_send(&self.buffer)?,
            };
            if !is_sent {
                let mut stall = stall.unwrap_or_else(Stall::begin);
                stall.tell(&self.context);
                self.unsent = Some((given, stall));
                break;
            }
            stall = None;
            moved = true;
        }
        Ok(moved)
    }
}
