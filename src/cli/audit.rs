use clap::Args;

use super::{Failure, print, user};
use crate::{app::App, model::Time, store::Search};

/// How many rows are read at once.
const BATCH: i64 = 500;

/// How far the times of neighbouring rows may be out of order, in seconds: a request may have waited.
const DISORDER: i64 = 60;

#[derive(Debug, Args)]
pub(super) struct Command {
    /// What was done to the account of this name.
    #[arg(long, value_name = "NAME", conflicts_with = "target")]
    user: Option<String>,
    /// What was done to the account or key of this id, which may be gone.
    #[arg(long, value_name = "ID")]
    target: Option<String>,
    /// This event alone.
    #[arg(long)]
    event: Option<String>,
    /// Not what is older: a time as `2026-11-23T09:00:00Z`, or how long ago it was, as `90m`, `24h` or `7d`.
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<Since>,
    /// How many rows at most.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy)]
enum Since {
    At(Time),
    Ago(i64),
}

fn since(text: &str) -> Result<Since, String> {
    if let Some(at) = Time::parse(text) {
        return Ok(Since::At(at));
    }
    let seconds = [("m", 60), ("h", 60 * 60), ("d", 24 * 60 * 60)].into_iter().find_map(|(unit, seconds)| {
        let count: u32 = text.strip_suffix(unit)?.parse().ok()?;
        Some(i64::from(count) * seconds)
    });
    seconds.map(Since::Ago).ok_or_else(|| "must be a time as 2026-11-23T09:00:00Z, or as 90m, 24h or 7d".to_owned())
}

/// Prints the newest rows first, batch by batch.
pub(super) async fn run(app: &App, command: Command) -> Result<(), Failure> {
    let Command { user, target, event, since, limit, json } = command;
    let target = match user {
        Some(name) => Some(user::find(app, &name).await?.id.to_string()),
        None => target,
    };
    let since = since.map(|since| match since {
        Since::At(at) => at,
        Since::Ago(seconds) => app.clock.now().plus(-seconds),
    });
    let mut rows = print::Rows::begin(json);
    let (mut before, mut left) = (None, limit);
    loop {
        let search = Search { target: target.clone(), event: event.clone(), before };
        let batch = app.store.audit(search, BATCH).await?;
        for row in &batch {
            if left == 0 || since.is_some_and(|since| row.at < since.plus(-DISORDER)) {
                return Ok(rows.end()?);
            }
            if since.is_none_or(|since| row.at >= since) {
                print::audited(&mut rows, row)?;
                left -= 1;
            }
        }
        match batch.last() {
            Some(last) => before = Some(last.id),
            None => return Ok(rows.end()?),
        }
    }
}
