//! What the store measures of itself, once somebody wants to know.

use std::{
    fs,
    path::Path,
    sync::{Arc, OnceLock},
    time::Duration,
};

use prometheus::{Histogram, HistogramOpts, IntCounter, PullingGauge, Result, core::Collector};

use super::{Store, memory::Memory};

/// In seconds: from a disk with memory of its own to one that is overloaded.
const COMMITS: [f64; 12] = [0.0002, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];
const PIECES: [f64; 8] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0];

/// What the writer notes: nothing, as long as nobody has asked for it.
#[derive(Debug, Clone, Default)]
pub(super) struct Notes(Arc<OnceLock<Instruments>>);

#[derive(Debug)]
struct Instruments {
    pieces: Histogram,
    commit: Histogram,
    busy: IntCounter,
    failed: IntCounter,
}

impl Notes {
    /// So many pieces of work were committed together, which took so long.
    pub(super) fn committed(&self, pieces: usize, took: Duration) {
        if let Some(instruments) = self.0.get() {
            // At most 128.
            instruments.pieces.observe(f64::from(u32::try_from(pieces).unwrap_or(u32::MAX)));
            instruments.commit.observe(took.as_secs_f64());
        }
    }

    /// Another process held the lock for longer than is waited for it.
    pub(super) fn busy(&self) {
        if let Some(instruments) = self.0.get() {
            instruments.busy.inc();
        }
    }

    /// A transaction was given up.
    pub(super) fn failed(&self) {
        if let Some(instruments) = self.0.get() {
            instruments.failed.inc();
        }
    }
}

fn histogram(name: &str, help: &str, buckets: &[f64]) -> Result<Histogram> {
    Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec()))
}

fn pulled(name: &str, help: &str, value: impl Fn() -> u64 + Send + Sync + 'static) -> Result<Box<dyn Collector>> {
    #[expect(clippy::cast_precision_loss, reason = "2^53 bytes are more than there are")]
    let value = move || value() as f64;
    Ok(Box::new(PullingGauge::new(name, help, Box::new(value))?))
}

impl Store {
    /// Begins to measure, and answers what is measured.
    ///
    /// # Errors
    /// A name that Prometheus does not take.
    pub fn measure(&self) -> Result<Vec<Box<dyn Collector>>> {
        let instruments = Instruments {
            pieces: histogram("hallpass_database_pieces", "Pieces of work in a transaction.", &PIECES)?,
            commit: histogram("hallpass_database_commit_seconds", "What a commit took.", &COMMITS)?,
            busy: IntCounter::new("hallpass_database_busy_total", "Writes refused: another process held the lock.")?,
            failed: IntCounter::new("hallpass_database_failed_total", "Transactions that were given up.")?,
        };
        let (writer, path) = (self.writer.queue(), self.path.clone());
        let wal = super::sqlite::log_of(&path);
        let size = |path: &Path| fs::metadata(path).map_or(0, |file| file.len());
        let remembered = |name, help, count: fn(&Memory) -> usize| {
            let memory = self.memory.clone();
            pulled(name, help, move || count(&memory) as u64)
        };
        let collectors: Vec<Box<dyn Collector>> = vec![
            Box::new(instruments.pieces.clone()),
            Box::new(instruments.commit.clone()),
            Box::new(instruments.busy.clone()),
            Box::new(instruments.failed.clone()),
            pulled("hallpass_database_queue_depth", "Writes that wait for the writer.", move || writer() as u64)?,
            pulled("hallpass_database_bytes", "Size of the database file.", move || size(&path))?,
            pulled("hallpass_database_log_bytes", "Size of the write-ahead log.", move || size(&wal))?,
            remembered("hallpass_memory_sessions", "Sessions in memory.", Memory::sessions)?,
            remembered("hallpass_memory_accounts", "Accounts in memory.", Memory::accounts)?,
            remembered("hallpass_memory_salts", "Salts of sessions in memory.", Memory::salts)?,
        ];
        // Asked for twice, it goes on in the first.
        let _ = self.notes.0.set(instruments);
        Ok(collectors)
    }
}
