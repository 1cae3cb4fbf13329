//! The process, under the names that Prometheus's own libraries have for it. Where the system has no `/proc`, what it
//! would tell is left at 0.

use std::fs;

use prometheus::{Counter, Gauge, core::Collector};
use rustix::process::{Resource, getrlimit};

use crate::{error::Error, model::Time};

/// In bytes (proc(5): `statm` counts pages).
fn page() -> u64 {
    rustix::param::page_size() as u64
}

#[derive(Debug)]
pub(super) struct Process {
    memory: Gauge,
    files: Gauge,
    most_files: Gauge,
    threads: Gauge,
    started: Gauge,
    cpu: Counter,
}

impl Process {
    pub(super) fn new(now: Time) -> Result<Self, Error> {
        let gauge = |name, help| Gauge::new(name, help).map_err(Error::internal);
        let process = Self {
            memory: gauge("process_resident_memory_bytes", "Resident memory size in bytes.")?,
            files: gauge("process_open_fds", "Number of open file descriptors.")?,
            most_files: gauge("process_max_fds", "Maximum number of open file descriptors.")?,
            threads: gauge("process_threads", "Number of OS threads in the process.")?,
            started: gauge("process_start_time_seconds", "Start time of the process since unix epoch in seconds.")?,
            cpu: Counter::new("process_cpu_seconds_total", "Total user and system CPU time spent in seconds.")
                .map_err(Error::internal)?,
        };
        process.started.set(as_f64(u64::try_from(now.unix()).unwrap_or(0)));
        Ok(process)
    }

    pub(super) fn collectors(&self) -> Vec<Box<dyn Collector>> {
        let gauges = [&self.memory, &self.files, &self.most_files, &self.threads, &self.started];
        let mut all: Vec<Box<dyn Collector>> = gauges.map(|gauge| Box::new(gauge.clone()) as _).into();
        all.push(Box::new(self.cpu.clone()));
        all
    }

    /// Reads how it is now.
    pub(super) fn read(&self) {
        let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
        let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0);
        self.memory.set(as_f64(pages * page()));
        let files = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
        self.files.set(as_f64(files as u64));
        self.most_files.set(getrlimit(Resource::Nofile).current.map_or(f64::INFINITY, as_f64));
        // After the name, which may hold anything: the state is the first, then as in proc(5) from the third on.
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let fields: Vec<u64> =
            stat.rsplit(')').next().unwrap_or("").split(' ').map(|f| f.parse().unwrap_or(0)).collect();
        let field = |number: usize| fields.get(number - 2).copied().unwrap_or(0);
        let (user, system, threads) = (field(14), field(15), field(20));
        self.threads.set(as_f64(threads));
        let spent = as_f64(user + system) / as_f64(rustix::param::clock_ticks_per_second());
        // It never goes back.
        self.cpu.inc_by((spent - self.cpu.get()).max(0.0));
    }
}

#[expect(clippy::cast_precision_loss, reason = "2^53 of anything is more than there is")]
fn as_f64(number: u64) -> f64 {
    number as f64
}
