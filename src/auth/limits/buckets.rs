use std::sync::{Mutex, PoisonError};

use super::mark::Mark;

/// So many ticks are a second.
pub(super) const SECOND: u32 = 16;

/// How often something may happen: `burst` times at once, then once in `every` ticks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rate {
    pub(super) burst: u32,
    pub(super) every: u32,
}

/// A bucket for each mark, in a table of fixed size (GCRA, ITU-T I.371, in a count-min sketch with conservative
/// update).
///
/// A cell holds the tick at which its bucket will be full again. A mark has one in each of two rows, and is judged by
/// the better one. No bucket looks fuller than it is: a cell only rises, to at least what each of its marks has. It
/// looks emptier if others share both of its cells. Where a million come within the time in which a bucket fills, and
/// take one each, one of 2^19 cells has 1.9 of them, and who comes then finds `burst` or more in both of his with a
/// probability of 1e-9 (a burst of 10) or 0.002 (5); with 2^20 cells and a burst of 3, of 0.005 (Poisson, each row by
/// itself).
pub(super) struct Buckets {
    rate: Rate,
    size: u32,
    rows: Mutex<[Vec<u32>; 2]>,
}

impl Buckets {
    /// With rows of `1 << size` cells.
    pub(super) fn new(rate: Rate, size: u32) -> Self {
        // Zeroed by the system: a page is resident once it has been written.
        Self { rate, size, rows: Mutex::new([vec![0; 1 << size], vec![0; 1 << size]]) }
    }

    /// Takes one out of a mark's bucket at the tick `now`. Who comes at once comes one after another.
    ///
    /// # Errors
    /// It is empty: so many ticks until it is not.
    pub(super) fn take(&self, now: u32, mark: Mark) -> Result<(), u32> {
        self.take_of(1, now, mark)
    }

    /// Takes one out of a mark's bucket that is so many times as large, and fills so many times as fast. It is full
    /// after the same time, which is what a cell holds: so it may share cells with the others.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub(super) fn take_of(&self, times: u32, now: u32, mark: Mark) -> Result<(), u32> {
        let Rate { burst, every } = self.rate;
        let (burst, every) = (burst * times, every / times);
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let [first, second] = &mut *rows;
        let [one, other] = mark.cells(self.size);
        let (Some(one), Some(other)) = (first.get_mut(one), second.get_mut(other)) else { return Ok(()) };
        let owed = (*one).min(*other).saturating_sub(now).saturating_add(every);
        if let Some(wait) = owed.checked_sub(burst * every).filter(|wait| *wait > 0) {
            return Err(wait);
        }
        let full = now.saturating_add(owed);
        (*one, *other) = ((*one).max(full), (*other).max(full));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Buckets, Mark, Rate, SECOND};

    const TEN_A_MINUTE: Rate = Rate { burst: 10, every: 6 * SECOND };

    #[test]
    fn a_burst_is_let_in_and_then_one_at_a_time() {
        let buckets = Buckets::new(TEN_A_MINUTE, 4);
        let mark = Mark::from_bits(7);
        for n in 0..10 {
            assert_eq!(buckets.take(100, mark), Ok(()), "{n}");
        }
        assert_eq!(buckets.take(100, mark), Err(6 * SECOND));
        assert_eq!(buckets.take(100 + 6 * SECOND - 1, mark), Err(1));
        assert_eq!(buckets.take(100 + 6 * SECOND, mark), Ok(()));
        assert_eq!(buckets.take(100 + 6 * SECOND, mark), Err(6 * SECOND), "one, not ten");
        assert_eq!(buckets.take(100, Mark::from_bits(7 << 32)), Ok(()), "somebody else");
        let later = 100 + 200 * SECOND;
        assert_eq!((0..20).filter(|_| buckets.take(later, mark).is_ok()).count(), 10, "no more than a burst");
    }

    #[test]
    fn after_years_nothing_overflows() {
        let buckets = Buckets::new(TEN_A_MINUTE, 4);
        for _ in 0..30 {
            let _ = buckets.take(u32::MAX, Mark::from_bits(7));
        }
    }

    proptest! {
        /// Few cells, so that they are shared: nobody gets more than a bucket of his own would give.
        #[test]
        fn who_shares_a_cell_gets_no_more(steps in prop::collection::vec((0_u64..3, 0_u64..3, 0_u32..20), 1..400)) {
            let buckets = Buckets::new(TEN_A_MINUTE, 4);
            let mut own = std::collections::HashMap::new();
            let mut now = 0;
            for (one, other, passed) in steps {
                now += passed;
                let mark = Mark::from_bits(other << 32 | one);
                if buckets.take(now, mark).is_ok() {
                    let alone = own.entry(mark).or_insert_with(|| Buckets::new(TEN_A_MINUTE, 4));
                    prop_assert!(alone.take(now, mark).is_ok());
                }
            }
        }
    }
}
