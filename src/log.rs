//! The log: lines on standard error, text on a terminal and JSON otherwise.
//!
//! A thread of its own writes them. If nobody takes them away (a pipe that is full), lines are lost, and counted,
//! rather than requests.

use std::{
    fmt::{self, Debug},
    io::{BufWriter, IsTerminal, Write},
    time::{SystemTime, UNIX_EPOCH},
};

use prometheus::{PullingGauge, core::Collector};
use serde::Serialize;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_log::NormalizeEvent;
use tracing_subscriber::{
    Layer,
    field::RecordFields,
    filter::Targets,
    fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields, MakeWriter, format::Writer},
    layer::SubscriberExt,
    registry::LookupSpan,
    util::SubscriberInitExt,
};

use crate::config::Log;

/// How many lines wait to be written: some two MiB.
const LINES: usize = 8_192;

/// Keeps the log going. Dropped, it writes what is left, for a second at most.
pub struct Running {
    lost: ErrorCounter,
    _writer: WorkerGuard,
}

impl Running {
    /// How many lines were lost so far.
    ///
    /// # Errors
    /// A name that Prometheus does not take.
    pub fn measure(&self) -> prometheus::Result<Box<dyn Collector>> {
        let lost = self.lost.clone();
        let help = "Lines of the log that nobody took away in time, since the start.";
        #[expect(clippy::cast_precision_loss, reason = "fewer than 2^53")]
        let value = move || lost.dropped_lines() as f64;
        Ok(Box::new(PullingGauge::new("hallpass_log_lines_lost", help, Box::new(value))?))
    }
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
    let builder = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(LINES).thread_name("log");
    let (writer, guard) = builder.finish(BufWriter::new(std::io::stderr()));
    let running = Running { lost: writer.error_counter(), _writer: guard };
    // `hyper` and `sqlx` see raw requests and rows: at their most talkative they would print them.
    let quiet = Targets::new().with_default(tracing::level_filters::LevelFilter::TRACE);
    let quiet = ["hyper", "hyper_util", "h2", "sqlx", "poem", "poem_openapi"]
        .into_iter()
        .fold(quiet, |filter, target| filter.with_target(target, tracing::Level::WARN));
    let registry = tracing_subscriber::registry().with(log.filter.clone()).with(quiet);
    let started = if log.is_json() {
        registry.with(json(writer)).try_init()
    } else {
        let terminal = std::io::stderr().is_terminal();
        registry
            .with(tracing_subscriber::fmt::layer().with_target(false).with_ansi(terminal).with_writer(writer))
            .try_init()
    };
    // A second start in one process (tests) keeps the first.
    drop(started);
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        tracing::error!(event = "panic", place);
    }));
    running
}

/// Writes each event as one line of JSON.
pub fn json<S, W>(writer: W) -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + 'static,
{
    tracing_subscriber::fmt::layer().event_format(Json).fmt_fields(Json).with_writer(writer)
}

/// The same lines as `tracing_subscriber`'s own format of this name, flattened and with the current span. That one looks
/// for UTF-8 in each piece of a line and reads the fields of a span back from JSON, and so takes as long as a small
/// request.
struct Json;

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let of_log = event.normalized_metadata();
        let metadata = of_log.as_ref().unwrap_or_else(|| event.metadata());
        let mut line = Members(Vec::with_capacity(512));
        line.text("{\"timestamp\":\"");
        line.now();
        line.text("\",");
        line.add("level", metadata.level().as_str());
        event.record(&mut line);
        line.add("target", metadata.target());
        if let Some(span) = context.parent_span() {
            line.text("\"span\":{");
            if let Some(fields) = span.extensions().get::<FormattedFields<N>>() {
                line.text(fields);
            }
            line.add("name", span.name());
            line.end("},");
        }
        line.end("}\n");
        writer.write_str(line.as_str()?)
    }
}

/// Each with a comma behind it: others follow.
impl<'a> FormatFields<'a> for Json {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'a>, fields: R) -> fmt::Result {
        let mut members = Members(Vec::with_capacity(64));
        fields.record(&mut members);
        writer.write_str(members.as_str()?)
    }
}

/// Members of an object, each with a comma behind it.
struct Members(Vec<u8>);

impl Members {
    fn text(&mut self, text: &str) {
        self.0.extend_from_slice(text.as_bytes());
    }

    /// Names stand in the sources, and need no escapes.
    fn add(&mut self, name: &str, value: impl Serialize) {
        self.text("\"");
        self.text(name);
        self.text("\":");
        // Memory takes what it is given.
        let _ = serde_json::to_writer(&mut self.0, &value);
        self.text(",");
    }

    /// In the place of the last comma.
    fn end(&mut self, text: &str) {
        self.0.pop();
        self.text(text);
    }

    /// RFC 3339, to the microsecond.
    #[expect(clippy::disallowed_methods, reason = "a line tells the time of the machine")]
    fn now(&mut self) {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let second = i64::try_from(since.as_secs()).ok().and_then(|at| OffsetDateTime::from_unix_timestamp(at).ok());
        let _ = second.unwrap_or(OffsetDateTime::UNIX_EPOCH).format_into(&mut self.0, &Rfc3339);
        // The `Z`.
        self.0.pop();
        let _ = write!(self.0, ".{:06}Z", since.subsec_micros());
    }

    fn as_str(&self) -> Result<&str, fmt::Error> {
        str::from_utf8(&self.0).map_err(|_| fmt::Error)
    }
}

impl Visit for Members {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field.name(), value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field.name(), value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field.name(), value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.add(field.name(), format_args!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use serde_json::{Map, Value};
    use time::{OffsetDateTime, format_description::well_known::Rfc3339};
    use tracing_subscriber::{fmt, layer::SubscriberExt};

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_is_that_of_the_library() {
        let (ours, theirs) = (Memory::default(), Memory::default());
        let writers = (ours.clone(), theirs.clone());
        let layer = fmt::layer().json().flatten_event(true).with_current_span(true).with_span_list(false);
        let registry = tracing_subscriber::registry()
            .with(super::json(move || writers.0.clone()))
            .with(layer.with_writer(move || writers.1.clone()));
        tracing::subscriber::with_default(registry, || {
            let nothing: Option<&str> = None;
            let error = io::Error::other("a \"line\"\nand another");
            tracing::info!(event = "outside", nothing, number = -1, part = 0.5, is_so = true);
            let span = tracing::info_span!("request", id = "7-\u{e9}\u{1b}", more = tracing::field::Empty);
            tracing::warn!(parent: &span, event = "of it", %error, debug = ?Some("\\"), nan = f64::NAN);
            span.record("more", u64::MAX);
            span.in_scope(|| tracing::info_span!("bare").in_scope(|| tracing::error!("inside {}", 1)));
            span.in_scope(|| tracing::debug!(target: "elsewhere", big = u128::MAX));
        });
        let lines = |memory: &Memory| -> Vec<Map<String, Value>> {
            let text = String::from_utf8(memory.0.lock().unwrap().clone()).unwrap();
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
        };
        let (ours, theirs) = (lines(&ours), lines(&theirs));
        assert_eq!((ours.len(), theirs.len()), (4, 4));
        for (mut ours, mut theirs) in ours.into_iter().zip(theirs) {
            let members = |line: &Map<_, _>| line.keys().cloned().collect::<Vec<String>>();
            assert_eq!(members(&ours), members(&theirs));
            let [our_time, their_time] = [&mut ours, &mut theirs].map(|line| line.remove("timestamp").unwrap());
            let [our_time, their_time] = [&our_time, &their_time].map(|time| time.as_str().unwrap());
            assert_eq!(our_time.len(), their_time.len(), "{our_time} {their_time}");
            let [ours_at, theirs_at] = [our_time, their_time].map(|at| OffsetDateTime::parse(at, &Rfc3339).unwrap());
            assert!((ours_at - theirs_at).abs() < time::Duration::MINUTE, "{our_time} {their_time}");
            assert_eq!(ours, theirs);
        }
    }
}
