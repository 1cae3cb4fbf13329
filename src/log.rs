//! The log: lines on standard error, text on a terminal and JSON otherwise.
//!
//! A thread of its own writes them. If nobody takes them away (a pipe that is full), lines are lost, and counted,
//! rather than requests.

use std::io::IsTerminal;

use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{filter::Targets, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use crate::config::Log;

/// Keeps the log going. Dropped, it writes what is left, for a second at most.
pub struct Running {
    lost: ErrorCounter,
    _writer: WorkerGuard,
}

impl Drop for Running {
    fn drop(&mut self) {
        let lost = self.lost.dropped_lines();
        if lost > 0 {
            tracing::warn!(event = "log_lines_lost", lost);
        }
    }
}

/// Starts to log, and logs panics by their place. Their text may hold anything, so it is left out.
#[must_use]
pub fn start(log: &Log) -> Running {
    let (writer, guard) = NonBlockingBuilder::default().lossy(true).thread_name("log").finish(std::io::stderr());
    let running = Running { lost: writer.error_counter(), _writer: guard };
    // `hyper` and `sqlx` see raw requests and rows: at their most talkative they would print them.
    let quiet = Targets::new().with_default(tracing::level_filters::LevelFilter::TRACE);
    let quiet = ["hyper", "hyper_util", "h2", "sqlx", "poem", "poem_openapi"]
        .into_iter()
        .fold(quiet, |filter, target| filter.with_target(target, tracing::Level::WARN));
    let registry = tracing_subscriber::registry().with(log.filter.clone()).with(quiet);
    let started = if log.is_json() {
        let layer = fmt::layer().json().flatten_event(true).with_current_span(true).with_span_list(false);
        registry.with(layer.with_writer(writer)).try_init()
    } else {
        let terminal = std::io::stderr().is_terminal();
        registry.with(fmt::layer().with_target(false).with_ansi(terminal).with_writer(writer)).try_init()
    };
    // A second start in one process (tests) keeps the first.
    drop(started);
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        tracing::error!(event = "panic", place);
    }));
    running
}
