//! What a component makes of the messages of one of its parts, and where they go.

use super::Ways;
use super::router::Hook;
use crate::core::complaints::Complaints;
use crate::handler::{complain, guarded};
use crate::message::{Failure, FailureKind, Frame, PalmMessage};

/// Where the messages of a part go: to another part, as they are or as a hook makes them.
///
/// The name of a part stands for the plain route to it.
///
/// ```
/// use palm::part::Route;
///
/// let plain = Route::to("Pub");
/// let doubled = Route::to("WorkerPush")
///     .scatter(|message| [message.clone(), message])
///     .failures_to("Pub");
/// // Small ones are answered here, the others by workers.
/// let by_size = Route::through(["Functions", "WorkerPush"], |frame, ways| {
///     let way = usize::from(frame.payload().len() > 1_000);
///     ways.send(way, frame);
/// });
/// ```
pub struct Route {
    ways: Vec<NamedWay>,
    /// Where what cannot be run goes: after the other ways.
    failures: Option<NamedWay>,
    /// Whether what has failed in an earlier step ends here instead.
    ends_failed: bool,
    does: Does,
}

pub(super) struct NamedWay {
    pub(super) part: String,
    pub(super) waits: bool,
}

/// A hook that makes none, one or many messages of one.
pub(crate) type Spread = Box<dyn FnMut(PalmMessage) -> Vec<PalmMessage> + Send>;

enum Does {
    Forward,
    /// Sends what a hook of this name makes of a message.
    Spread(&'static str, Spread),
    Hook(Hook),
}

impl<S: Into<String>> From<S> for Route {
    fn from(part: S) -> Self {
        Self::to(part)
    }
}

impl Route {
    /// To a part. The route takes no more while that has no room.
    pub fn to(part: impl Into<String>) -> Self {
        Self {
            ways: vec![NamedWay::waiting(part)],
            failures: None,
            ends_failed: false,
            does: Does::Forward,
        }
    }

    /// By a hook, to any of these parts: [`Ways::send`] takes their numbers, from 0. The route
    /// takes no more while one of them has no room. The hook runs in the router's thread, so it
    /// should be quick; it may keep state. A panic in it ends the component. With no parts at
    /// all, the messages end in the hook.
    pub fn through<P: Into<String>>(
        parts: impl IntoIterator<Item = P>,
        hook: impl FnMut(Frame, &mut Ways<'_>) + Send + 'static,
    ) -> Self {
        Self {
            ways: parts.into_iter().map(NamedWay::waiting).collect(),
            failures: None,
            ends_failed: false,
            does: Does::Hook(Box::new(hook)),
        }
    }

    /// One more way for the hook of [`through`](Self::through), which does not hold the route up
    /// when it has no room: for ways that lead round in a circle, where parts would wait for each
    /// other. Its hook must see to it that what it sends there is bounded: it waits in memory.
    pub fn and_unbounded(mut self, part: impl Into<String>) -> Self {
        self.ways.push(NamedWay {
            part: part.into(),
            waits: false,
        });
        self
    }

    /// A hook that makes none, one or many messages of each. A panic in it is the error of that
    /// message. In place of an earlier hook; they all go to the first part, and there must be one.
    /// So does, past the hook, what has failed before and the mark at the end of a job, if there
    /// is no other part for those ([`failures_to`](Self::failures_to)): a hook would make good
    /// results of them.
    pub fn scatter<F, M>(self, hook: F) -> Self
    where
        F: FnMut(PalmMessage) -> M + Send + 'static,
        M: IntoIterator<Item = PalmMessage>,
    {
        self.spread("scatter", spread(hook))
    }

    /// The same, by the name that the hook has for the user.
    pub(crate) fn spread(mut self, name: &'static str, spread: Spread) -> Self {
        self.does = Does::Spread(name, spread);
        self
    }

    /// What cannot be run goes to this part instead, past the hook: what has failed in an
    /// earlier step, and what has a function path that cannot be read. (A pylm worker dies of
    /// such a path.) So does the mark at the end of a job. In place of an earlier such part.
    pub fn failures_to(mut self, part: impl Into<String>) -> Self {
        self.failures = Some(NamedWay::waiting(part));
        self
    }

    /// The same, but what has failed in an earlier step ends here, with nobody told: its result
    /// would have ended here as well.
    pub(crate) fn own_failures_to(mut self, part: impl Into<String>) -> Self {
        self.ends_failed = true;
        self.failures_to(part)
    }

    /// Whether it has something to send, and no way to send it on.
    pub(super) fn leads_nowhere(&self) -> bool {
        self.ways.is_empty() && !matches!(self.does, Does::Hook(_))
    }

    /// The ways that its hook has, in their order.
    pub(super) fn ways(&self) -> impl Iterator<Item = &NamedWay> {
        self.ways.iter().chain(&self.failures)
    }

    /// The part that all its messages go to as they are, if that is all it does.
    pub(super) fn plainly_to(&self) -> Option<&str> {
        match (&self.does, &self.failures, self.ways.as_slice()) {
            (Does::Forward, None, [way]) if way.waits => Some(&way.part),
            _ => None,
        }
    }

    /// Whether its hook may give other messages than it gets.
    pub(super) fn makes(&self) -> bool {
        !matches!(self.does, Does::Forward)
    }

    /// The hook for the router of this component.
    pub(super) fn into_hook(self, component: &str) -> Hook {
        let component = component.to_owned();
        let refused_to = self.failures.map(|_| self.ways.len());
        let mut sorting = Sorting::new(&component, self.ends_failed);
        let mut hook = match self.does {
            Does::Forward => Box::new(|frame, ways: &mut Ways<'_>| ways.send(0, frame)),
            Does::Spread(name, spread) => {
                spreading(component.clone(), name, spread, refused_to.unwrap_or(0))
            }
            Does::Hook(hook) => hook,
        };
        let Some(way) = refused_to else { return hook };
        Box::new(move |frame, ways| match sorting.sort(frame) {
            Sorted::Runs(frame) => hook(frame, ways),
            Sorted::Answered(frame) => ways.send(way, frame),
            Sorted::Ends => {}
        })
    }
}

/// Tells what can be run from what cannot.
pub(crate) struct Sorting {
    component: String,
    /// Whether what has failed in an earlier step ends here.
    ends_failed: bool,
    complaints: Complaints,
}

/// What becomes of a message.
pub(super) enum Sorted {
    /// It is run.
    Runs(Frame),
    /// It goes to where failures go, past the functions.
    Answered(Frame),
    /// It ends here, with nobody told.
    Ends,
}

impl Sorting {
    pub(crate) fn new(component: &str, ends_failed: bool) -> Self {
        Self {
            component: component.to_owned(),
            ends_failed,
            complaints: Complaints::default(),
        }
    }

    pub(super) fn sort(&mut self, frame: Frame) -> Sorted {
        if frame.is_failure() && self.ends_failed {
            return Sorted::Ends;
        }
        if frame.is_failure() || frame.end().is_some() {
            return Sorted::Answered(frame);
        }
        match runnable(&frame) {
            Ok(()) => Sorted::Runs(frame),
            Err(failure) => {
                complain(
                    &mut self.complaints,
                    &self.component,
                    &frame,
                    &failure.cause,
                );
                Sorted::Answered(frame.with_failure(&failure))
            }
        }
    }
}

/// Sends what a user's hook makes of each message; the error of a hook that panicked goes to
/// `failures`.
fn spreading(component: String, name: &'static str, mut spread: Spread, failures: usize) -> Hook {
    Box::new(move |frame, ways| {
        if frame.is_failure() || frame.end().is_some() {
            // Neither is work for anybody. With a hook they would become results.
            return ways.send(failures, frame);
        }
        match guarded(&component, name, || spread(frame.to_message())) {
            Ok(messages) => {
                for message in messages {
                    ways.send(0, Frame::from(&message));
                }
            }
            Err(failure) => ways.send(failures, frame.with_failure(&failure)),
        }
    })
}

impl NamedWay {
    fn waiting(part: impl Into<String>) -> Self {
        Self {
            part: part.into(),
            waits: true,
        }
    }
}

/// Boxes a hook that gives its messages as any kind of sequence.
pub(crate) fn spread<F, M>(mut hook: F) -> Spread
where
    F: FnMut(PalmMessage) -> M + Send + 'static,
    M: IntoIterator<Item = PalmMessage>,
{
    Box::new(move |message| hook(message).into_iter().collect())
}

/// Whether a worker can make sense of a message.
pub(crate) fn runnable(frame: &Frame) -> Result<(), Failure> {
    let step = frame.step().map(drop);
    step.map_err(|error| Failure::new(FailureKind::BadPath, error.to_string()))
}

impl std::fmt::Debug for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parts = self.ways().map(|way| &way.part);
        f.debug_list().entries(parts).finish()
    }
}
