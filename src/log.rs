//! The log: lines on standard error, text on a terminal and JSON otherwise.

use std::io::IsTerminal;

use tracing_subscriber::{filter::Targets, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use crate::config::Log;

/// Starts to log, and logs panics by their place. Their text may hold anything, so it is left out.
pub fn start(log: &Log) {
    // `hyper` and `sqlx` see raw requests and rows: at their most talkative they would print them.
    let quiet = Targets::new().with_default(tracing::level_filters::LevelFilter::TRACE);
    let quiet = ["hyper", "hyper_util", "h2", "sqlx", "poem", "poem_openapi"]
        .into_iter()
        .fold(quiet, |filter, target| filter.with_target(target, tracing::Level::WARN));
    let registry = tracing_subscriber::registry().with(log.filter.clone()).with(quiet);
    let started = if log.is_json() {
        let layer = fmt::layer().json().flatten_event(true).with_current_span(true).with_span_list(false);
        registry.with(layer.with_writer(std::io::stderr)).try_init()
    } else {
        registry
            .with(
                fmt::layer().with_target(false).with_ansi(std::io::stderr().is_terminal()).with_writer(std::io::stderr),
            )
            .try_init()
    };
    // A second start in one process (tests) keeps the first.
    drop(started);
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        tracing::error!(event = "panic", place);
    }));
}
