//! The only reader of the system clock, but for the time of a line in the log. Everything else takes `now` as a value.

use std::{
    sync::{
        Arc, LazyLock,
        atomic::{AtomicI64, Ordering},
    },
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use crate::model::{Tick, Time};

/// What ticks are counted from.
static BEGUN: LazyLock<Instant> = LazyLock::new(Instant::now);

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

    /// The same moment by a clock that is not set: for what asks how long ago something was.
    pub fn tick(&self) -> Tick {
        Tick::from_millis(match self {
            Self::System => u64::try_from(BEGUN.elapsed().as_millis()).unwrap_or(u64::MAX),
            Self::Fixed(at) => u64::try_from(at.load(Ordering::Relaxed)).unwrap_or(0).saturating_mul(1_000),
        })
    }
}

/// No version of this program is older: 2026-11-01T00:00:00Z. To be moved on with a release.
const MADE: Time = Time::from_unix(1_793_491_200);

/// Whether a clock that says so is wrong: tokens would be signed that have expired, or sessions that never end.
pub fn is_absurd(now: Time) -> bool {
    now < MADE
}

#[expect(clippy::disallowed_methods, reason = "this is the one place")]
fn system() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}
