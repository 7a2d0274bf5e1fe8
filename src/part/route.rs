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
    pub(super) ways: Vec<NamedWay>,
    does: Does,
}

pub(super) struct NamedWay {
    pub(super) part: String,
    pub(super) waits: bool,
}

/// A hook that makes none, one or many messages of one.
pub(crate) type Spread = Box<dyn FnMut(PalmMessage) -> Vec<PalmMessage> + Send>;

enum Does {
    Forward(Forward),
    Hook(Hook),
}

#[derive(Default)]
struct Forward {
    spread: Option<(&'static str, Spread)>,
    /// Whether what has failed goes another way: the second.
    parts_failures: bool,
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
            does: Does::Forward(Forward::default()),
        }
    }

    /// By a hook, to any of these parts: [`Ways::send`] takes their numbers, from 0. The route
    /// takes no more while one of them has no room. The hook runs in the router's thread, so it
    /// should be quick; it may keep state. A panic in it ends the component.
    pub fn through<P: Into<String>>(
        parts: impl IntoIterator<Item = P>,
        hook: impl FnMut(Frame, &mut Ways<'_>) + Send + 'static,
    ) -> Self {
        Self {
            ways: parts.into_iter().map(NamedWay::waiting).collect(),
            does: Does::Hook(Box::new(hook)),
        }
    }

    /// One more way for the hook of [`through`](Self::through), which does not hold the route up
    /// when it has no room: for ways that lead round in a circle. Its hook must see to it that
    /// what it sends there is bounded: it waits in memory.
    pub fn and_unbounded(mut self, part: impl Into<String>) -> Self {
        self.ways.push(NamedWay {
            part: part.into(),
            waits: false,
        });
        self
    }

    /// A hook that makes none, one or many messages of each. A panic in it is the error of that
    /// message. In place of an earlier hook.
    pub fn scatter<F, M>(self, hook: F) -> Self
    where
        F: FnMut(PalmMessage) -> M + Send + 'static,
        M: IntoIterator<Item = PalmMessage>,
    {
        self.spread("scatter", spread(hook))
    }

    /// The same, by the name that the hook has for the user.
    pub(crate) fn spread(mut self, name: &'static str, spread: Spread) -> Self {
        let mut forward = self.forward();
        forward.spread = Some((name, spread));
        self.does = Does::Forward(forward);
        self
    }

    /// What cannot be run goes to this part instead, past the hook: what has failed in an
    /// earlier step, and what has a function path that cannot be read. (A pylm worker dies of
    /// such a path.) So does the mark at the end of a job, which goes past every hook.
    pub fn failures_to(mut self, part: impl Into<String>) -> Self {
        let mut forward = self.forward();
        if !forward.parts_failures {
            forward.parts_failures = true;
            self.ways.truncate(1);
            self.ways.push(NamedWay::waiting(part));
        }
        self.does = Does::Forward(forward);
        self
    }

    fn forward(&mut self) -> Forward {
        let empty = Does::Forward(Forward::default());
        match std::mem::replace(&mut self.does, empty) {
            Does::Forward(forward) => forward,
            Does::Hook(_) => Forward::default(),
        }
    }

    /// The hook for the router of this component.
    pub(super) fn into_hook(self, component: &str) -> Hook {
        match self.does {
            Does::Hook(hook) => hook,
            Does::Forward(forward) => forward.into_hook(component.to_owned()),
        }
    }
}

impl Forward {
    fn into_hook(mut self, component: String) -> Hook {
        let mut complaints = Complaints::default();
        let failures = usize::from(self.parts_failures);
        Box::new(move |frame, ways| {
            if frame.end().is_some() {
                // The mark at the end of a job is no work for anybody.
                return ways.send(failures, frame);
            }
            if self.parts_failures {
                if frame.is_failure() {
                    return ways.send(failures, frame);
                }
                if let Err(failure) = runnable(&frame) {
                    complain(&mut complaints, &component, &frame, &failure.cause);
                    return ways.send(failures, frame.with_failure(&failure));
                }
            }
            let Some((name, spread)) = &mut self.spread else {
                return ways.send(0, frame);
            };
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
    let step = frame
        .path()
        .and_then(|path| path.step(frame.stage()).map(drop));
    step.map_err(|error| Failure::new(FailureKind::BadPath, error.to_string()))
}

impl std::fmt::Debug for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parts = self.ways.iter().map(|way| &way.part);
        f.debug_list().entries(parts).finish()
    }
}
