use std::path::Path;

use serde::Serialize;
use serde_json::{Map, Value};
use tokio::signal::unix::{SignalKind, signal};

use super::{Failure, print};
use crate::{
    config::Config,
    store::{self, Copied},
};

/// A copy as the operator sees it.
#[derive(Serialize)]
struct Row {
    file: String,
    bytes: u64,
    migration: i64,
    rows: Map<String, Value>,
}

pub(super) async fn run(config: &Config, to: &Path, as_json: bool) -> Result<(), Failure> {
    let (mut term, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let copied = tokio::select! {
        copied = store::backup(&config.database, to) => copied?,
        // What was begun is dropped, and removes what it left.
        _ = term.recv() => return Err("broken off; nothing was left behind".into()),
        _ = interrupt.recv() => return Err("broken off; nothing was left behind".into()),
    };
    let Copied { bytes, migration, rows } = copied;
    let file = to.display().to_string();
    if as_json {
        let rows = rows.into_iter().map(|(table, count)| (table.to_owned(), count.into())).collect();
        return Ok(print::json(&Row { file, bytes, migration, rows })?);
    }
    let counts: Vec<String> = rows.iter().map(|(table, count)| format!("{table} {count}")).collect();
    Ok(print::out(&format!("{file}  {bytes} bytes, verified; migration {migration}; {}", counts.join(", ")))?)
}
