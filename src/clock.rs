//! The only reader of the system clock, but for the time of a line in the log. Everything else takes `now` as a value.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use crate::model::Time;

/// Tells the time.
#[derive(Debug, Clone, Default)]
pub enum Clock {
    /// The machine's clock.
    #[default]
    System,
    /// A clock that stands still until somebody sets it, in unix seconds.
    Fixed(Arc<AtomicI64>),
}

impl Clock {
    /// The moment that it is.
    pub fn now(&self) -> Time {
        Time::from_unix(match self {
            Self::System => system(),
            Self::Fixed(at) => at.load(Ordering::Relaxed),
        })
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the one place")]
fn system() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}
