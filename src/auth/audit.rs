//! Refusals, for the audit log. They change nothing, so there is no transaction to write them in: they wait in memory and
//! are written together, and an attack cannot fill the disk with them.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use crate::{
    app::App,
    error::Error,
    model::{By, Entry, Time},
};

/// How many rows may be written at once, if none was for long.
const BURST: usize = 100;

/// How many seconds make room for one more: 3.9 million rows in 90 days of nothing but attacks.
const REFILL: i64 = 2;

/// How often those that found no room are written, as one row for each event, in seconds.
const SUMMARY: i64 = 60;

/// The outcome of a row that stands for refusals which found no room.
const FLOOD: &str = "flood";

/// What waits to be written.
#[derive(Debug)]
pub struct Refusals(Mutex<Waiting>);

#[derive(Debug)]
struct Waiting {
    entries: Vec<Entry>,
    /// For how many more there is room.
    room: usize,
    refilled_at: Time,
    /// How many found none, by event.
    others: BTreeMap<&'static str, usize>,
    summed_at: Time,
}

impl Default for Refusals {
    fn default() -> Self {
        let past = Time::from_unix(0);
        let (entries, others) = (Vec::new(), BTreeMap::new());
        Self(Mutex::new(Waiting { entries, room: BURST, refilled_at: past, others, summed_at: past }))
    }
}

impl Refusals {
    /// Has a refusal written soon. The same work whether there is an account or not.
    pub fn note(&self, entry: Entry) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.refill(entry.at);
        if waiting.room == 0 {
            let count = waiting.others.entry(entry.event).or_default();
            *count = count.saturating_add(1);
            return;
        }
        waiting.room -= 1;
        waiting.entries.push(entry);
    }

    /// What is to be written now.
    fn take(&self, now: Time) -> Vec<Entry> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut entries = std::mem::take(&mut waiting.entries);
        if waiting.others.is_empty() || is_within(waiting.summed_at, now, SUMMARY) {
            return entries;
        }
        waiting.summed_at = now;
        let others = std::mem::take(&mut waiting.others);
        let sum = |(event, count)| By::operator().does(event, now).refused(FLOOD).times(count);
        entries.extend(others.into_iter().map(sum));
        entries
    }
}

impl Waiting {
    fn refill(&mut self, now: Time) {
        let since = now.unix().saturating_sub(self.refilled_at.unix());
        let more = usize::try_from(since / REFILL).unwrap_or(0);
        // A clock that was set back fills it later.
        if more > 0 || since < 0 {
            self.room = self.room.saturating_add(more).min(BURST);
            self.refilled_at = now;
        }
    }
}

/// Whether it is less than some seconds since then; not, if the clock was set back.
fn is_within(then: Time, now: Time, seconds: i64) -> bool {
    (0..seconds).contains(&now.unix().saturating_sub(then.unix()))
}

/// Writes down what was refused. What cannot be written is lost.
///
/// # Errors
/// [`Error::StorageUnavailable`]
pub async fn record(app: &App, now: Time) -> Result<(), Error> {
    let entries = app.refusals.take(now);
    if entries.is_empty() {
        return Ok(());
    }
    Ok(app.store.record(entries).await?)
}

#[cfg(test)]
mod tests {
    use super::{BURST, FLOOD, REFILL, Refusals, SUMMARY};
    use crate::model::{By, Time};

    #[test]
    fn a_flood_is_a_few_rows_and_none_of_it_is_forgotten() {
        let (refusals, start) = (Refusals::default(), 1_000_000);
        let (mut rows, mut told) = (0, 0);
        for second in 0..1_000 {
            let now = Time::from_unix(start + second);
            for _ in 0..1_000 {
                refusals.note(By::operator().does("login_failed", now).refused("unknown"));
            }
            for entry in refusals.take(now) {
                rows += 1;
                told += entry.count;
            }
        }
        let most = i64::try_from(BURST).unwrap() + 1_000 / REFILL + 1_000 / SUMMARY + 1;
        assert!(rows <= most, "{rows} rows, not {most}");
        assert!(
            rows >= i64::try_from(BURST).unwrap() + 999 / REFILL,
            "{rows} rows: single ones are noted all the time"
        );
        for entry in refusals.take(Time::from_unix(start + 2_000)) {
            assert_eq!(entry.outcome, FLOOD);
            told += entry.count;
        }
        assert_eq!(told, 1_000_000);
    }

    #[test]
    fn a_clock_that_jumps_neither_stops_it_nor_opens_it() {
        let refusals = Refusals::default();
        let note = |at: i64, times: usize| {
            for _ in 0..times {
                refusals.note(By::operator().does("wrong_password", Time::from_unix(at)));
            }
            refusals.take(Time::from_unix(at)).iter().filter(|entry| entry.outcome != FLOOD).count()
        };
        assert_eq!(note(1_000_000, 2 * BURST), BURST);
        assert_eq!(note(500, 10), 0);
        assert_eq!(note(500 + 10 * REFILL, 100), 10);
        assert_eq!(note(i64::MAX, 2 * BURST), BURST);
    }
}
