//! What the hash threads measure of themselves, once somebody wants to know.

use std::{
    sync::{Arc, OnceLock},
    time::Instant,
};

use prometheus::{Histogram, HistogramOpts, IntGauge, PullingGauge, Result, core::Collector};

use super::{hasher::Hasher, token::Tokens};

/// In seconds. A hash of today's cost takes some 20 ms; a queue of 32 on two threads, a third of a second.
const TIMES: [f64; 12] = [0.001, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// What a thread notes: nothing, as long as nobody has asked for it.
#[derive(Debug, Clone, Default)]
pub(super) struct Notes(Arc<OnceLock<Instruments>>);

#[derive(Debug)]
struct Instruments {
    wait: Histogram,
    work: Histogram,
    busy: IntGauge,
}

/// A thread at work. It is over when this is dropped, by a panic too.
pub(super) struct Work<'a>(Option<(&'a Instruments, Instant)>);

impl Notes {
    /// A thread begins with what was queued then.
    pub(super) fn begin(&self, queued: Instant) -> Work<'_> {
        Work(self.0.get().map(|instruments| {
            let now = Instant::now();
            instruments.wait.observe((now - queued).as_secs_f64());
            instruments.busy.inc();
            (instruments, now)
        }))
    }
}

impl Drop for Work<'_> {
    fn drop(&mut self) {
        if let Some((instruments, begun)) = self.0 {
            instruments.work.observe(begun.elapsed().as_secs_f64());
            instruments.busy.dec();
        }
    }
}

fn times(name: &str, help: &str) -> Result<Histogram> {
    Histogram::with_opts(HistogramOpts::new(name, help).buckets(TIMES.to_vec()))
}

#[expect(clippy::cast_precision_loss, reason = "fewer than 2^53")]
fn pulled(name: &str, help: &str, value: impl Fn() -> usize + Send + Sync + 'static) -> Result<Box<dyn Collector>> {
    Ok(Box::new(PullingGauge::new(name, help, Box::new(move || value() as f64))?))
}

impl Hasher {
    /// Begins to measure, and answers what is measured. It keeps the threads going.
    ///
    /// # Errors
    /// A name that Prometheus does not take.
    pub fn measure(&self) -> Result<Vec<Box<dyn Collector>>> {
        let instruments = Instruments {
            wait: times("hallpass_hash_wait_seconds", "How long a password waited for a hash thread.")?,
            work: times("hallpass_hash_seconds", "How long a hash thread took for a password.")?,
            busy: IntGauge::new("hallpass_hash_threads_busy", "Hash threads at work.")?,
        };
        let (hasher, threads) = (self.clone(), self.threads);
        let collectors: Vec<Box<dyn Collector>> = vec![
            Box::new(instruments.wait.clone()),
            Box::new(instruments.work.clone()),
            Box::new(instruments.busy.clone()),
            // And the one for what is dear.
            pulled("hallpass_hash_threads", "Hash threads.", move || threads + 1)?,
            pulled("hallpass_hash_queue_depth", "Passwords that wait for a hash thread.", move || hasher.queued())?,
        ];
        // Asked for twice, it goes on in the first.
        let _ = self.notes().0.set(instruments);
        Ok(collectors)
    }
}

impl Tokens {
    /// What is measured of it.
    ///
    /// # Errors
    /// A name that Prometheus does not take.
    pub fn measure(&self) -> Result<Vec<Box<dyn Collector>>> {
        let seen = self.seen.clone();
        Ok(vec![pulled("hallpass_memory_tokens", "Verified tokens in memory.", move || seen.count())?])
    }
}
