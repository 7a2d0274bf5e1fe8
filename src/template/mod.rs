//! The templates: wiring of parts, and nothing else.

#[macro_use]
mod common;
mod master;
mod server;

pub use master::Master;
pub use server::Server;

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::handler::panic_text;
use crate::message::{Failure, FailureKind, Frame, PalmMessage};
use crate::part::Deliveries;

/// A hook that makes none, one or many messages of one.
pub(crate) type Spread = Box<dyn FnMut(PalmMessage) -> Vec<PalmMessage> + Send>;

/// A hook that chooses the topic under which a message is published, and may change it.
pub(crate) type Choose = Box<dyn FnMut(&mut PalmMessage) -> String + Send>;

/// Boxes a hook that gives its messages as any kind of sequence.
pub(crate) fn spread<F, M>(mut hook: F) -> Spread
where
    F: FnMut(PalmMessage) -> M + Send + 'static,
    M: IntoIterator<Item = PalmMessage>,
{
    Box::new(move |message| hook(message).into_iter().collect())
}

/// Calls a hook of the user's. A panic in it is an error of the message that it was called for.
fn guarded<T>(component: &str, hook: &str, call: impl FnOnce() -> T) -> Result<T, Failure> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|panic| {
        let cause = format!("{hook} of '{component}' panicked: {}", panic_text(&*panic));
        log::error!(target: component, "{cause}");
        Failure::new(FailureKind::Function, cause)
    })
}

/// Gives each message that a hook makes of a frame to `take`; what fails goes to `fail`.
pub(crate) fn spread_each(
    component: &str,
    name: &str,
    hook: &mut Option<Spread>,
    frame: Frame,
    deliveries: &mut Deliveries<'_>,
    mut take: impl FnMut(Frame, &mut Deliveries<'_>),
    fail: impl FnOnce(Frame, &mut Deliveries<'_>),
) {
    let Some(hook) = hook else {
        return take(frame, deliveries);
    };
    match guarded(component, name, || hook(frame.to_message())) {
        Ok(messages) => {
            for message in messages {
                take(Frame::from(&message), deliveries);
            }
        }
        Err(failure) => fail(frame.with_failure(&failure), deliveries),
    }
}
