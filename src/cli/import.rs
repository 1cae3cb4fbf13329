use std::{
    fmt::Write as _,
    fs::{self, File, Metadata},
    io::{self, BufRead, BufReader, BufWriter, IsTerminal, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use rustix::process::Signal;
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use super::{Failure, lines::Lines, print::complain, story};
use crate::{
    app::App,
    auth::import::{Export, Import, Line, Outcome, Status},
    store::{Draft, Place},
};

/// How many lines share a transaction.
const BATCH: usize = 256;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The file; `-` is standard input.
    file: PathBuf,
    /// Make no account, and say what would become of each line.
    #[arg(long)]
    pub(super) dry_run: bool,
    /// As JSON, an object a line.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(app: &App, arguments: &Arguments) -> Result<(), Failure> {
    let Arguments { file, dry_run, json } = arguments;
    let (reader, length) = open(file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    let mut import = if *dry_run { Import::rehearsal() } else { Import::new() };
    let mut told = Told::new(*json, bar(length)?);
    let mut lines = Lines::new(reader);
    while lines.advance(BATCH)? {
        let begun = Instant::now();
        let (numbers, batch): (Vec<u64>, Vec<Line<'_>>) = lines.get().unzip();
        let first = numbers.first().copied().unwrap_or_default();
        let outcomes = import.take(app, app.clock.now(), &batch).await.map_err(|error| {
            told.bar.finish_and_clear();
            format!("broken off at line {first}, and nothing from there on was written: {error}; run it again")
        })?;
        told.tell(&numbers, &outcomes, lines.bytes_read())?;
        if !dry_run {
            // A server that waits for the lock looks for it now and again, and has to find it free.
            tokio::time::sleep(begun.elapsed() / 2).await;
        }
    }
    told.bar.finish_and_clear();
    if !dry_run {
        let Counts { added, exist, invalid, .. } = told.counts;
        tracing::info!(event = "users_imported", added, exist, invalid);
    }
    complain(&told.counts.to_string());
    if told.counts.invalid > 0 { Err("not every line is an account".into()) } else { Ok(()) }
}

fn open(file: &Path) -> io::Result<(Box<dyn BufRead>, Option<u64>)> {
    if file == Path::new("-") {
        return Ok((Box::new(io::stdin().lock()), None));
    }
    let file = File::open(file)?;
    // A pipe has no length.
    let length = Some(file.metadata()?).filter(Metadata::is_file).map(|found| found.len());
    Ok((Box::new(BufReader::with_capacity(128 * 1_024, file)), length))
}

/// Drawn on standard error, if that is a terminal.
fn bar(length: Option<u64>) -> Result<ProgressBar, Failure> {
    if !io::stderr().is_terminal() {
        return Ok(ProgressBar::hidden());
    }
    let (bar, style) = match length {
        Some(length) => (ProgressBar::new(length), "{wide_bar} {percent:>3} %  {msg}  {eta} left"),
        None => (ProgressBar::no_length(), "{spinner} {msg}"),
    };
    Ok(bar.with_style(ProgressStyle::with_template(style)?))
}

/// How many lines became what.
#[derive(Default)]
struct Counts {
    added: u64,
    would_add: u64,
    exist: u64,
    invalid: u64,
}

impl Counts {
    fn note(&mut self, status: Status) {
        *match status {
            Status::Added => &mut self.added,
            Status::WouldAdd => &mut self.would_add,
            Status::Exists => &mut self.exist,
            Status::Invalid => &mut self.invalid,
        } += 1;
    }

    fn all(&self) -> u64 {
        self.added + self.would_add + self.exist + self.invalid
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { added, would_add, exist, invalid } = self;
        let made = if *would_add > 0 { format!("{would_add} would be added") } else { format!("{added} added") };
        write!(f, "{made}, {exist} existed, {invalid} invalid")
    }
}

/// Says what became of the lines.
struct Told {
    json: bool,
    bar: ProgressBar,
    begun: Instant,
    counts: Counts,
    /// False: nobody listens any more.
    has_listener: bool,
}

/// What became of a line.
#[derive(Serialize)]
struct Row<'a> {
    line: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<&'a str>,
    status: Status,
    errors: Vec<Wrong<'a>>,
}

#[derive(Serialize)]
struct Wrong<'a> {
    pointer: &'a str,
    detail: &'a str,
}

impl<'a> Row<'a> {
    fn new(line: u64, outcome: &'a Outcome) -> Self {
        let wrong = outcome.errors.iter().map(|error| Wrong { pointer: &error.pointer, detail: &error.detail });
        Self { line, username: outcome.username.as_deref(), status: outcome.status, errors: wrong.collect() }
    }

    fn text(&self) -> String {
        let mut text = format!("{}\t{}\t{}", self.line, self.status.as_str(), self.username.unwrap_or("-"));
        for (n, Wrong { pointer, detail }) in self.errors.iter().enumerate() {
            let name = pointer.trim_start_matches('/');
            let (between, blank) = (if n == 0 { "\t" } else { "; " }, if name.is_empty() { "" } else { " " });
            // Into a string it cannot fail.
            let _ = write!(text, "{between}{name}{blank}{detail}");
        }
        text
    }
}

impl Told {
    fn new(json: bool, bar: ProgressBar) -> Self {
        Self { json, bar, begun: Instant::now(), counts: Counts::default(), has_listener: true }
    }

    fn tell(&mut self, numbers: &[u64], outcomes: &[Outcome], bytes_read: u64) -> io::Result<()> {
        let mut text = String::new();
        for (number, outcome) in numbers.iter().zip(outcomes) {
            self.counts.note(outcome.status);
            let row = Row::new(*number, outcome);
            text += &if self.json { serde_json::to_string(&row)? } else { row.text() };
            text.push('\n');
        }
        if self.has_listener {
            self.has_listener = self.bar.suspend(|| say(&mut io::stdout().lock(), text.as_bytes()))?;
        }
        let (all, seconds) = (self.counts.all(), self.begun.elapsed().max(Duration::from_millis(1)).as_secs_f64());
        #[expect(clippy::cast_precision_loss, reason = "shown without its fraction")]
        self.bar.set_message(format!("{all} lines, {:.0}/s", all as f64 / seconds));
        self.bar.set_position(bytes_read);
        Ok(())
    }
}

/// Writes it. False: whoever read it has gone, which is no failure.
fn say(out: &mut impl Write, text: &[u8]) -> io::Result<bool> {
    match out.write_all(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        done => done.map(|()| true),
    }
}

/// Prints every account, or writes a file that is whole or not there.
pub(super) async fn export(app: &App, output: Option<&Path>) -> Result<(), Failure> {
    let Some(path) = output else { return write(app, &mut io::stdout()).await };
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::AlreadyExists => format!("{} is there already, and is not written over", path.display()),
        _ => format!("cannot make {}: {error}", path.display()),
    };
    if fs::symlink_metadata(path).is_ok() {
        return Err(failed(io::ErrorKind::AlreadyExists.into()).into());
    }
    // A file that may not grow any more (`ulimit -f`) is an error, not the end; and what was begun is removed.
    drop(signal(SignalKind::from_raw(Signal::XFSZ.as_raw()))?);
    let (mut term, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let draft = Draft::beside(path).map_err(failed)?;
    let mut file = BufWriter::new(draft.file());
    tokio::select! {
        written = write(app, &mut file) => {
            written.map_err(|error| format!("cannot make {}: {}", path.display(), story(error.as_ref())))?;
        }
        _ = term.recv() => return Err("broken off; nothing was left behind".into()),
        _ = interrupt.recv() => return Err("broken off; nothing was left behind".into()),
    }
    file.flush().map_err(failed)?;
    drop(file);
    Ok(draft.publish(path, Place::Free).map_err(failed)?)
}

async fn write(app: &App, out: &mut impl Write) -> Result<(), Failure> {
    let mut export = Export::begin(app, app.clock.now()).await?;
    loop {
        let page = export.next(app).await?;
        let mut text = Vec::new();
        for record in &page {
            serde_json::to_writer(&mut text, record)?;
            text.push(b'\n');
        }
        if page.is_empty() {
            return Ok(());
        }
        // Unlike a list, of which `head` may take what it wants, it is worth nothing in part.
        if !say(out, &text)? {
            return Err("the output was closed before the end: not every account is in it".into());
        }
    }
}
