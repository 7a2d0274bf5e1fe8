//! Whether what came of a message is what was to come of it.

use std::collections::BTreeMap;

use super::client::Came;
use super::net::Given;
use super::plan::End;
use crate::message::FailureKind;

/// Which errors may take the place of results, after what has happened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Excuses<'a> {
    /// What may be given up: what so many workers may have died of.
    pub(super) given: &'a Given,
    pub(super) max_attempts: usize,
    /// Somebody was away for longer than he was waited for.
    pub(super) undelivered: bool,
    /// All workers that have the function were away, while others were there.
    pub(super) no_function: bool,
    /// Whether an error may take the place of nothing at all.
    pub(super) none: bool,
}

impl Excuses<'_> {
    /// Whether something that came of this message was given so often that it may be given up.
    fn given_up(&self, message: &str) -> bool {
        let from = (message.to_owned(), 0);
        let of_it = self
            .given
            .range(from..)
            .take_while(|((task, _), _)| task.starts_with(message));
        let mut of_it = of_it.filter(|((task, _), _)| {
            let next = task.as_bytes().get(message.len());
            next.is_none_or(|next| !next.is_ascii_digit())
        });
        of_it.any(|(_, over)| over.len() >= self.max_attempts)
    }
}

/// What is wrong with what came of a message. Unless it is `whole`, some may be missing.
pub(super) fn compare(
    message: &str,
    wanted: &BTreeMap<End, usize>,
    came: &[Came],
    whole: bool,
    excuses: &Excuses<'_>,
) -> Option<String> {
    let mut missing = wanted.clone();
    let mut errors = 0;
    let mut lost = 0;
    for came in came {
        let end = match came {
            Came::Text(text) => End::Text(text.clone()),
            Came::Failure(failure) => match failure.kind() {
                FailureKind::Function => End::Failed(failure.cause.clone()),
                FailureKind::UnknownFunction if excuses.no_function => {
                    errors += 1;
                    continue;
                }
                _ if failure.cause.starts_with("nobody takes") && excuses.undelivered => {
                    lost += 1;
                    continue;
                }
                FailureKind::GivenUp => End::GivenUp,
                _ => return Some(format!("it failed: {failure:?}")),
            },
        };
        match missing.get_mut(&end) {
            Some(count) if *count > 0 => *count -= 1,
            _ if end == End::GivenUp && excuses.given_up(message) => errors += 1,
            Some(_) => return Some(format!("it has {end:?} too often")),
            None => return Some(format!("it should not have {end:?}, but {wanted:?}")),
        }
    }
    let missing: usize = missing.values().sum();
    if whole && missing > 0 && errors + lost == 0 {
        return Some(format!(
            "{missing} of {wanted:?} are missing, and it has {came:?}"
        ));
    }
    // Of what could be given to nobody, all may have come before he left.
    (whole && errors > 0 && missing == 0 && !excuses.none)
        .then(|| format!("it has an error and all it should: {came:?}"))
}
