use std::sync::{Mutex, PoisonError};

use super::{buckets::SECOND, mark::Mark};

/// Each row has `1 << SIZE` cells: more than what is tried in the time in which a failure is forgotten, where a
/// thousand passwords a second are hashed.
const SIZE: u32 = 20;

/// In ticks.
const MINUTE: u32 = 60 * SECOND;

/// In this time one failure is forgotten.
const FORGOTTEN: u32 = 15 * MINUTE;

/// So many are free.
const FREE: u32 = 10;

/// How long the next attempt waits, by how many failures there are beyond the free ones. Never longer: else anybody
/// could lock anybody out.
const DELAYS: [u32; 6] = [SECOND * 30, MINUTE, 2 * MINUTE, 4 * MINUTE, 8 * MINUTE, 15 * MINUTE];

/// Two ticks: the one at which all failures are forgotten, and the one before which nothing more may be tried. Of all
/// the marks that share the cell, the one added up, the other the latest. In an array, of which the system gives zeroed
/// ones.
type Cell = [u32; 2];

/// A count of failures for each mark, in a table of fixed size (a count-min sketch).
///
/// An attempt counts as a failure from its beginning, so that many at once are no more than one after another. A mark
/// has a cell in each of two rows, and is judged by what is less in them. What a cell says is never less than what
/// each of its marks has: what one gives back is taken off as it was put on, and a success takes off what it finds in
/// both of its cells, which is its own but where both are shared.
pub(super) struct Failures(Mutex<[Vec<Cell>; 2]>);

/// An attempt that was counted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counted {
    pub(super) mark: Mark,
    /// Whether there were so many failures before that one had to wait.
    pub(super) is_late: bool,
    /// Since when the next may be tried because of this one, and what each row had before. None: it was free.
    delayed: Option<(u32, [u32; 2])>,
}

impl Failures {
    pub(super) fn new() -> Self {
        // Zeroed by the system: a page is resident once it has been written.
        Self(Mutex::new([vec![[0; 2]; 1 << SIZE], vec![[0; 2]; 1 << SIZE]]))
    }

    /// None would be a mark without its cells.
    fn with<T>(&self, mark: Mark, work: impl FnOnce([&mut Cell; 2]) -> T) -> Option<T> {
        let mut rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let [first, second] = &mut *rows;
        let [one, other] = mark.cells(SIZE);
        Some(work([first.get_mut(one)?, second.get_mut(other)?]))
    }

    /// Counts an attempt at the tick `now`.
    ///
    /// # Errors
    /// There were too many: so many ticks until the next.
    pub(super) fn count(&self, now: u32, mark: Mark) -> Result<Counted, u32> {
        let judge = |cells: [&mut Cell; 2]| {
            if let Some(wait) = cells[0][1].min(cells[1][1]).checked_sub(now).filter(|wait| *wait > 0) {
                return Err(wait);
            }
            let before = [cells[0][1], cells[1][1]];
            let [one, other] = cells.map(|cell| {
                cell[0] = cell[0].max(now).saturating_add(FORGOTTEN);
                cell
            });
            let failures = one[0].min(other[0]).saturating_sub(now).div_ceil(FORGOTTEN);
            let delayed = delay(failures).map(|delay| {
                let opens = now.saturating_add(delay);
                (one[1], other[1]) = (one[1].max(opens), other[1].max(opens));
                (opens, before)
            });
            Ok(Counted { mark, is_late: failures > FREE, delayed })
        };
        self.with(mark, judge).unwrap_or(Err(SECOND))
    }

    /// Whether one more would be counted. Nothing is.
    pub(super) fn is_open(&self, now: u32, mark: Mark) -> bool {
        self.with(mark, |cells| cells[0][1].min(cells[1][1]) <= now).unwrap_or_default()
    }

    /// Takes back one that was counted.
    pub(super) fn give_back(&self, counted: Counted) {
        self.with(counted.mark, |cells| {
            for (row, cell) in cells.into_iter().enumerate() {
                cell[0] = cell[0].saturating_sub(FORGOTTEN);
                // Unless somebody came after it.
                if let Some((_, before)) = counted.delayed.filter(|(opens, _)| cell[1] == *opens) {
                    cell[1] = before.get(row).copied().unwrap_or_default();
                }
            }
        });
    }

    /// Forgets all of a mark.
    pub(super) fn clear(&self, now: u32, mark: Mark) {
        self.with(mark, |cells| {
            let own = cells[0][0].min(cells[1][0]).saturating_sub(now);
            let opens = cells[0][1].min(cells[1][1]);
            for cell in cells {
                cell[0] = cell[0].saturating_sub(own);
                // What is later is somebody else's.
                if cell[1] == opens {
                    cell[1] = opens.min(now);
                }
            }
        });
    }
}

/// How long the next attempt waits after so many failures.
fn delay(failures: u32) -> Option<u32> {
    let beyond = usize::try_from(failures.checked_sub(FREE)?).ok()?;
    let [.., longest] = DELAYS;
    Some(DELAYS.get(beyond).copied().unwrap_or(longest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{FORGOTTEN, FREE, Failures, MINUTE, Mark, SECOND};

    const JOHN: Mark = Mark::from_bits(5 << 32 | 7);
    /// Each shares one cell with John.
    const JANE: Mark = Mark::from_bits(6 << 32 | 7);
    const JACK: Mark = Mark::from_bits(5 << 32 | 8);

    /// Fails as often as it is let, and answers how often that was.
    fn exhaust(failures: &Failures, now: u32, mark: Mark) -> u32 {
        let mut n = 0;
        while failures.count(now, mark).is_ok() {
            n += 1;
        }
        n
    }

    #[test]
    fn ten_are_free_and_then_each_waits_longer_up_to_a_quarter_of_an_hour() {
        let failures = Failures::new();
        let mut now = 100;
        assert!(failures.is_open(now, JOHN));
        assert_eq!(exhaust(&failures, now, JOHN), FREE);
        // Meanwhile one is forgotten, too.
        for seconds in [30, 60, 120, 240, 480, 480, 900, 900, 900] {
            let wait = failures.count(now, JOHN).unwrap_err();
            assert_eq!(wait, seconds * SECOND);
            assert_eq!(failures.count(now + wait - 1, JOHN).unwrap_err(), 1);
            assert!(!failures.is_open(now + wait - 1, JOHN) && failures.is_open(now + wait, JOHN));
            now += wait;
            assert!(failures.count(now, JOHN).is_ok(), "never for ever");
        }
    }

    #[test]
    fn one_is_forgotten_in_a_quarter_of_an_hour() {
        let failures = Failures::new();
        assert_eq!(exhaust(&failures, 100, JOHN), FREE);
        assert_eq!(exhaust(&failures, 100 + 3 * FORGOTTEN, JOHN), 3);
        assert_eq!(exhaust(&failures, 100 + 40 * FORGOTTEN, JOHN), FREE);
    }

    #[test]
    fn what_came_to_nothing_is_as_if_it_had_not_been() {
        let failures = Failures::new();
        for _ in 0..30 {
            failures.give_back(failures.count(100, JOHN).unwrap());
        }
        assert_eq!(exhaust(&failures, 100, JOHN), FREE);
        let now = 100 + 30 * SECOND;
        failures.give_back(failures.count(now, JOHN).unwrap());
        assert!(failures.count(now, JOHN).is_ok(), "does not wait anew");
        assert_eq!(failures.count(now, JOHN).unwrap_err(), MINUTE);
    }

    #[test]
    fn a_success_forgets_its_own_and_nobody_elses() {
        let failures = Failures::new();
        assert_eq!(exhaust(&failures, 100, JOHN), FREE);
        for mark in [JANE, JACK] {
            for _ in 0..9 {
                assert!(failures.count(100, mark).is_ok());
            }
            failures.clear(100, mark);
            assert!(failures.count(100, JOHN).is_err(), "John's");
            // As often as John, and as late: a wait is cut short, and the next is longer.
            assert_eq!(exhaust(&failures, 100, mark), FREE, "its own");
            failures.clear(100, mark);
            assert!(exhaust(&failures, 100, JOHN) <= 1, "John's count");
        }
        failures.clear(100, JOHN);
        assert_eq!(exhaust(&failures, 100, JOHN), FREE);
    }

    #[test]
    fn who_shares_a_cell_shortens_no_wait() {
        let failures = Failures::new();
        let mut now = 100;
        let mut wait = 0;
        while wait < 8 * MINUTE {
            now += wait;
            exhaust(&failures, now, JOHN);
            wait = failures.count(now, JOHN).unwrap_err();
        }
        for mark in [JANE, JACK] {
            assert_eq!(exhaust(&failures, now, mark), FREE);
            assert_eq!(failures.count(now, JOHN).unwrap_err(), wait);
        }
    }

    #[test]
    fn after_years_nothing_overflows() {
        let failures = Failures::new();
        for n in 0..50 {
            let _ = failures.count(u32::MAX - n % 2, JOHN);
            failures.clear(u32::MAX, JOHN);
        }
    }

    proptest! {
        /// Few cells, so that they are shared: nobody gets more tries than with a count of his own.
        #[test]
        fn who_shares_a_cell_gets_no_more(
            steps in prop::collection::vec((0_u64..2, 0_u64..2, 1..MINUTE, 0..4), 1..200)
        ) {
            let failures = Failures::new();
            let mut own = std::collections::HashMap::new();
            let mut now = 100;
            for (one, other, passed, outcome) in steps {
                now += passed;
                let mark = Mark::from_bits(other << 32 | one);
                let Ok(counted) = failures.count(now, mark) else { continue };
                let alone = own.entry(mark).or_insert_with(Failures::new);
                let counted_alone = alone.count(now, mark);
                prop_assert!(counted_alone.is_ok());
                if outcome == 0 {
                    failures.give_back(counted);
                    alone.give_back(counted_alone.unwrap());
                }
            }
        }
    }
}
