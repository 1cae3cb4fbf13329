use quick_cache::{Weighter, sync::Cache};

use super::mark::Mark;
use crate::model::Time;

/// How long it is remembered from where an account logged in, in seconds: 30 days.
pub(super) const REMEMBERED: i64 = 30 * 24 * 60 * 60;

/// How much it may take, in bytes: of half a million, two or three for each address of an account.
const ROOM: u64 = 32 * 1024 * 1024;

/// What one takes, in bytes: the mark, the time, its place in the cache.
const EACH: u64 = 64;

/// From which addresses which names and accounts have logged in, and when. Only a success puts something in: no flood
/// of guesses makes it forget.
pub(super) struct Known(Cache<Mark, Time, Each>);

#[derive(Clone)]
struct Each;

impl Weighter<Mark, Time> for Each {
    fn weight(&self, _: &Mark, _: &Time) -> u64 {
        EACH
    }
}

impl Known {
    pub(super) fn new() -> Self {
        // The room is taken when it is needed.
        Self(Cache::with_weighter(1_000, ROOM, Each))
    }

    pub(super) fn has(&self, now: Time, mark: Mark) -> bool {
        self.0.get(&mark).is_some_and(|at| at.plus(REMEMBERED) > now)
    }

    /// Notes a login, unless a later one is known.
    pub(super) fn note(&self, at: Time, mark: Mark) {
        if self.0.get(&mark).is_none_or(|known| known < at) {
            self.0.insert(mark, at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{EACH, Known, Mark, ROOM};
    use crate::model::Time;

    #[test]
    fn half_a_million_logins_are_remembered_and_no_more() {
        let (known, at) = (Known::new(), Time::from_unix(1_000_000));
        let marks = |range: std::ops::Range<u64>| range.map(Mark::from_bits);
        marks(0..100_000).for_each(|mark| known.note(at, mark));
        assert!(marks(0..100_000).all(|mark| known.has(at, mark)));
        marks(100_000..700_000).for_each(|mark| known.note(at, mark));
        assert!(known.0.len() as u64 <= ROOM / EACH);
    }
}
