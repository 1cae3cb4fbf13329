//! Copies of the database: for a backup, and before a migration.
//!
//! `VACUUM INTO` reads one moment of the database in one transaction, whoever writes meanwhile; SQLite's backup API
//! begins anew each time that another process writes. A copy is made beside its place under another name, verified,
//! synced, and then given its name: there is a whole one, or none.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use sqlx::{ConnectOptions, Connection, SqliteConnection, sqlite::SqliteConnectOptions};

use super::{
    super::draft::{Draft, Place},
    MIGRATOR, OpenError, PATIENCE, inspect, judge, suffixed,
};

/// What a copy that was made holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// Its size.
    pub bytes: u64,
    /// The newest migration that it has had.
    pub migration: i64,
    /// How many rows each table has.
    pub rows: Vec<(&'static str, i64)>,
}

/// Why there is no copy. Nothing is left behind.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// There is something of this name.
    #[error("{} is there already, and is not written over", path.display())]
    Exists {
        /// The name.
        path: PathBuf,
    },
    /// The database is not one to be copied.
    #[error(transparent)]
    Source(#[from] OpenError),
    /// The copy's file could not be made.
    #[error("cannot write {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Reading the database, or writing the copy, failed.
    #[error("cannot copy the database to {}: {source}", path.display())]
    Copy {
        /// The copy.
        path: PathBuf,
        /// What SQLite says.
        source: sqlx::Error,
    },
    /// What was copied is damaged.
    #[error("the copy {} is not whole, and was thrown away: {why}", path.display())]
    Unsound {
        /// The copy.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Another process has changed the schema meanwhile.
    #[error("another process has migrated the database meanwhile")]
    Overtaken,
}

/// How the rows of each table are counted.
const ROWS: &[(&str, &str)] = &[
    ("users", "SELECT COUNT(*) FROM users"),
    ("sessions", "SELECT COUNT(*) FROM sessions"),
    ("codes", "SELECT COUNT(*) FROM codes"),
    ("outbox", "SELECT COUNT(*) FROM outbox"),
    ("subject_cutoffs", "SELECT COUNT(*) FROM subject_cutoffs"),
    ("secrets", "SELECT COUNT(*) FROM secrets"),
    ("signing_keys", "SELECT COUNT(*) FROM signing_keys"),
    ("audit", "SELECT COUNT(*) FROM audit"),
];

/// Copies a database, beside whoever uses it, into a file that is not there yet. All that was committed before is in
/// it.
///
/// # Errors
/// [`CopyError`]
pub async fn backup(from: &Path, to: &Path) -> Result<Copied, CopyError> {
    // Before the work; it is seen to again at its end.
    if fs::symlink_metadata(to).is_ok() {
        return Err(CopyError::Exists { path: to.to_owned() });
    }
    let applied = inspect(from).await?;
    if applied.is_empty() {
        return Err(OpenError::Foreign { path: from.to_owned() }.into());
    }
    copy(from, to, Place::Free, None).await
}

/// Copies a database that is to be migrated to `FILE.before-VERSION`, the first of the migrations that it lacks. An
/// upgrade that is tried again replaces it.
pub(super) async fn before_migrations(path: &Path, applied: &[i64]) -> Result<(), OpenError> {
    let Some(next) = MIGRATOR.iter().map(|known| known.version).find(|version| !applied.contains(version)) else {
        return Ok(());
    };
    if applied.is_empty() {
        return Ok(());
    }
    let to = suffixed(path, &format!(".before-{next}"));
    match copy(path, &to, Place::Any, Some(applied)).await {
        Ok(Copied { bytes, .. }) => {
            tracing::info!(event = "database_copied", file = %to.display(), bytes, "the schema is to be changed");
            Ok(())
        }
        // It has made one, then.
        Err(CopyError::Overtaken) => Ok(()),
        Err(source) => Err(OpenError::Copy { path: path.to_owned(), source: Box::new(source) }),
    }
}

async fn copy(from: &Path, to: &Path, place: Place, applied: Option<&[i64]>) -> Result<Copied, CopyError> {
    let file = |source| CopyError::File { path: to.to_owned(), source };
    let failed = |source| CopyError::Copy { path: to.to_owned(), source };
    let draft = Draft::beside(to).map_err(file)?;
    vacuum(from, draft.path()).await.map_err(failed)?;
    let copied = verify(draft.path(), to, applied).await?;
    draft.publish(to, place).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => CopyError::Exists { path: to.to_owned() },
        _ => file(source),
    })?;
    Ok(copied)
}

async fn vacuum(from: &Path, into: &Path) -> Result<(), sqlx::Error> {
    let into = into.to_str().ok_or_else(|| io::Error::other("the name is not UTF-8"))?;
    let mut conn = read(from).connect().await?;
    let done = sqlx::query("VACUUM INTO $1").bind(into).execute(&mut conn).await;
    let closed = conn.close().await;
    done?;
    closed
}

fn read(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new().filename(path).read_only(true).busy_timeout(PATIENCE).disable_statement_logging()
}

/// Sees to it that the copy is a whole database of ours.
async fn verify(draft: &Path, to: &Path, applied: Option<&[i64]>) -> Result<Copied, CopyError> {
    let failed = |source| CopyError::Copy { path: to.to_owned(), source };
    let mut conn = read(draft).connect().await.map_err(failed)?;
    let verdict = check(&mut conn, draft, to, applied).await;
    let closed = conn.close().await.map_err(failed);
    let mut copied = verdict?;
    closed?;
    copied.bytes = fs::metadata(draft).map_err(|source| CopyError::File { path: to.to_owned(), source })?.len();
    Ok(copied)
}

async fn check(
    conn: &mut SqliteConnection,
    draft: &Path,
    to: &Path,
    applied: Option<&[i64]>,
) -> Result<Copied, CopyError> {
    let failed = |source| CopyError::Copy { path: to.to_owned(), source };
    let unsound = |why: String| CopyError::Unsound { path: to.to_owned(), why };
    let said: Vec<String> = sqlx::query_scalar("PRAGMA integrity_check").fetch_all(&mut *conn).await.map_err(failed)?;
    if said != ["ok"] {
        return Err(unsound(said.join("; ")));
    }
    let strays = sqlx::query("PRAGMA foreign_key_check").fetch_all(&mut *conn).await.map_err(failed)?;
    if !strays.is_empty() {
        return Err(unsound(format!("{} rows belong to rows that are not there", strays.len())));
    }
    let found = judge(draft, &mut *conn).await?;
    if applied.is_some_and(|applied| applied != found) {
        return Err(CopyError::Overtaken);
    }
    let migration = found.last().copied().ok_or_else(|| unsound("it has no tables".to_owned()))?;
    let tables: Vec<String> = sqlx::query_scalar("SELECT name FROM sqlite_schema WHERE type = 'table'")
        .fetch_all(&mut *conn)
        .await
        .map_err(failed)?;
    let mut rows = Vec::new();
    for &(table, count) in ROWS.iter().filter(|(table, _)| tables.iter().any(|name| name == table)) {
        rows.push((table, sqlx::query_scalar(count).fetch_one(&mut *conn).await.map_err(failed)?));
    }
    Ok(Copied { bytes: 0, migration, rows })
}

#[cfg(test)]
mod tests {
    use std::fs;

    #[tokio::test]
    async fn what_another_process_has_migrated_meanwhile_is_not_kept_as_how_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("test.db");
        super::super::open(&path).await.unwrap().close().await;
        let kept = folder.path().join("test.db.before-4");
        fs::write(&kept, "what the other one has kept").unwrap();
        // As it was when this one looked.
        super::before_migrations(&path, &[1, 2, 3]).await.unwrap();
        assert!(fs::read(&kept).unwrap() == b"what the other one has kept", "it was replaced");
        let mut names = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
        assert!(!names.any(|name| name.to_str().unwrap().contains("draft")), "the draft is gone");
    }
}
