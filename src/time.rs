//! Times that a user may have set to anything.

use std::time::{Duration, Instant};

/// Longer than any process lives, and short enough to be added to any time.
const FOREVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// The time that is `by` after `now`; for more than a century, a century.
pub(crate) fn after(now: Instant, by: Duration) -> Instant {
    now + by.min(FOREVER)
}
