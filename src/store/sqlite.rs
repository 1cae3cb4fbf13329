//! What SQLite alone knows: the file, its pragmas, its error codes.

mod backup;
mod codes;
mod examine;
mod place;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use sqlx::{
    ConnectOptions, Connection, Row, SqliteConnection,
    migrate::{MigrateError, Migrator},
    pool::PoolOptions,
    raw_sql,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};

use super::{Conn, PATIENCE, Store, memory::Memory, metrics::Notes, writer::Writer};

pub(super) use codes::{is_busy, is_read_only, is_unavailable};
pub(super) use place::{File, log_of};

use codes::{is_damage, is_full, may_pass};
use place::{Place, make_private, suffixed};

pub use backup::{Copied, CopyError, backup};
pub use examine::{Examined, examine};

static MIGRATOR: Migrator = sqlx::migrate!();

const READERS: u32 = 4;

/// How much each of them keeps of the file: 512 KiB. It is forgotten at each write, so that SQLite's 2,000 KiB are of
/// little use, and come and go.
const READ_CACHE: &str = "-512";

/// How long the two processes of a simultaneous first start wait for each other's migrations.
const MIGRATION_TRIES: u32 = 20;

/// Why a database file was not opened. But for `Migration`, it was not changed either.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file could not be made or opened.
    #[error("cannot open the database {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Not a database, or a damaged one.
    #[error("cannot read the database {}: {source}. It was left as it is; restore a backup, or move the file away to start with an empty one", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        source: sqlx::Error,
    },
    /// A file that may be whole, but cannot be used now.
    #[error("cannot use the database {}: {source}", path.display())]
    Unavailable {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        source: sqlx::Error,
    },
    /// Somebody else's database.
    #[error("the database {} has tables, but none of Hallpass; DATABASE_URL must name a file of its own", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A newer Hallpass wrote it, or a migration was changed or broken off.
    #[error("the schema of {} is not one that this version knows ({why}); run the version that wrote it, or a newer one", path.display())]
    Schema {
        /// The file.
        path: PathBuf,
        /// Which migration, and what about it.
        why: String,
    },
    /// There are migrations to be applied, and no copy could be made of how it was before.
    #[error("cannot change the schema of {} without a copy of it: {source}. It was left as it is", path.display())]
    Copy {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: Box<CopyError>,
    },
    /// A migration failed and was rolled back.
    #[error("cannot bring the database {} up to date: {source}", path.display())]
    Migration {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: MigrateError,
    },
    /// There is no room for it.
    #[error("the disk is full: the database {} cannot be made or brought up to date ({source})", path.display())]
    Full {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        source: MigrateError,
    },
    /// Where the file is, SQLite keeps no write-ahead log: its processes share memory there, which networks have not.
    #[error(
        "the database {} cannot have a write-ahead log where it is (SQLite takes the journal mode «{mode}»); move it \
         to a local disk",
        path.display()
    )]
    NoLog {
        /// The file.
        path: PathBuf,
        /// What it has instead.
        mode: String,
    },
}

impl OpenError {
    fn from_sqlite(path: &Path, source: sqlx::Error) -> Self {
        let path = path.to_owned();
        match &source {
            sqlx::Error::Database(error) if !is_damage(error.as_ref()) && is_unavailable(error.as_ref()) => {
                Self::Unavailable { path, source }
            }
            _ => Self::Unreadable { path, source },
        }
    }
}

pub(super) async fn open(path: &Path) -> Result<Store, OpenError> {
    let file = |source| OpenError::File { path: path.to_owned(), source };
    let unreadable = |source| OpenError::from_sqlite(path, source);
    make_private(path).map_err(file)?;
    let place = Place::of(path).map_err(file)?;
    let applied = inspect(path).await?;
    backup::before_migrations(path, &applied).await?;

    let file = Arc::new(File { place, options: options(path) });
    let mut conn = file.connect().await.map_err(unreadable)?;
    has_log(path, &mut conn).await?;
    let conn = migrate(path, &file, conn).await?;
    let reading = options(path).read_only(true).pragma("cache_size", READ_CACHE);
    let pool = readers(file.clone()).connect_with(reading).await.map_err(unreadable)?;
    let (memory, notes) = (Arc::new(Memory::default()), Notes::default());
    let writer = Writer::start(file.clone(), conn, memory.clone(), notes.clone());
    Ok(Store { pool, writer, file, memory, notes, path: path.to_owned() })
}

/// Connections that stay: to open a file anew costs more than to keep it open.
fn readers(file: Arc<File>) -> PoolOptions<super::Db> {
    PoolOptions::new()
        .max_connections(READERS)
        .acquire_timeout(PATIENCE)
        .max_lifetime(None)
        .idle_timeout(None)
        // The next statement finds out anyway.
        .test_before_acquire(false)
        // Opened while another file had the name, it would read that one for good.
        .after_connect(move |_, _| {
            let checked = file.check_place();
            Box::pin(async move { checked })
        })
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        // An acknowledged change survives a power cut: the log is synced at every commit.
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(PATIENCE)
        // Functions and virtual tables that a doctored schema may name are not run.
        .pragma("trusted_schema", "OFF")
        // After a checkpoint the log is cut back to 64 MiB.
        .pragma("journal_size_limit", "67108864")
        .disable_statement_logging()
}

/// Between two pieces of work in a transaction. [`Watch::begin`] made a savepoint for the first.
pub(super) const NEXT: &str = "RELEASE piece; SAVEPOINT piece";
/// Undoes a piece of work.
pub(super) const UNDO: &str = "ROLLBACK TO piece";

/// Whether others wrote: what the connection was told when it was last asked. A new one has everything to hear.
#[derive(Debug, Default)]
pub(super) struct Watch(Option<i64>);

impl Watch {
    /// Whether another connection has committed since the last call (`PRAGMA data_version`). On the connection that
    /// writes: elsewhere, its own commits look like those of others.
    pub(super) async fn has_changed(&mut self, conn: &mut Conn) -> Result<bool, sqlx::Error> {
        self.ask(conn, "PRAGMA data_version").await
    }

    /// The same at the beginning of a transaction, and of the savepoint of its first piece of work.
    ///
    /// Takes the write lock at once: a deferred transaction that turns from reading to writing fails with
    /// `SQLITE_BUSY_SNAPSHOT`, whatever the busy timeout. All in one message to the thread of the connection: to wake
    /// it costs more than what it does.
    pub(super) async fn begin(&mut self, conn: &mut Conn) -> Result<bool, sqlx::Error> {
        self.ask(conn, "BEGIN IMMEDIATE; SAVEPOINT piece; PRAGMA data_version").await
    }

    async fn ask(&mut self, conn: &mut Conn, statements: &'static str) -> Result<bool, sqlx::Error> {
        let version = raw_sql(statements).fetch_one(conn).await?.try_get(0)?;
        Ok(self.0.replace(version) != Some(version))
    }
}

/// Looks, through a connection that cannot write, whether the file is ours and whole enough to be opened. Answers
/// which migrations it has had.
async fn inspect(path: &Path) -> Result<Vec<i64>, OpenError> {
    let unreadable = |source| OpenError::from_sqlite(path, source);
    let looking = SqliteConnectOptions::new().filename(path).read_only(true).busy_timeout(PATIENCE);
    let mut conn = looking.disable_statement_logging().connect().await.map_err(unreadable)?;
    let verdict = judge(path, &mut conn).await;
    // The first failure is the one to report.
    let closed = conn.close().await.map_err(unreadable);
    verdict.and_then(|applied| closed.map(|()| applied))
}

async fn judge(path: &Path, conn: &mut SqliteConnection) -> Result<Vec<i64>, OpenError> {
    let unreadable = |source| OpenError::from_sqlite(path, source);
    let tables: Vec<String> = sqlx::query_scalar("SELECT name FROM sqlite_schema WHERE type = 'table'")
        .fetch_all(&mut *conn)
        .await
        .map_err(unreadable)?;
    if tables.is_empty() {
        return Ok(Vec::new());
    }
    if !tables.iter().any(|name| name == "_sqlx_migrations") {
        return Err(OpenError::Foreign { path: path.to_owned() });
    }
    let applied: Vec<(i64, bool, Vec<u8>)> =
        sqlx::query_as("SELECT version, success, checksum FROM _sqlx_migrations ORDER BY version")
            .fetch_all(&mut *conn)
            .await
            .map_err(unreadable)?;
    for (version, success, checksum) in &applied {
        let why = match MIGRATOR.iter().find(|known| known.version == *version) {
            None => "is not known here",
            Some(_) if !success => "was broken off",
            Some(known) if known.checksum.as_ref() != checksum.as_slice() => "differs from the one known here",
            Some(_) => continue,
        };
        return Err(OpenError::Schema { path: path.to_owned(), why: format!("migration {version} {why}") });
    }
    if !applied.is_empty() {
        // A page of the table that every request reads; the rest is read when it is needed.
        let all = "SELECT id, username, username_key, email, email_key, email_verified_at, password_hash, roles, \
                   created_at, disabled_at, last_login_at FROM users LIMIT 1";
        sqlx::query(all).fetch_optional(&mut *conn).await.map_err(unreadable)?;
    }
    Ok(applied.into_iter().map(|(version, ..)| version).collect())
}

/// Sees to it that there is a write-ahead log. Where there can be none, SQLite takes another journal and says nothing.
async fn has_log(path: &Path, conn: &mut Conn) -> Result<(), OpenError> {
    let mode: String = sqlx::query_scalar("PRAGMA journal_mode")
        .fetch_one(conn)
        .await
        .map_err(|source| OpenError::from_sqlite(path, source))?;
    if mode == "wal" { Ok(()) } else { Err(OpenError::NoLog { path: path.to_owned(), mode }) }
}

/// Two processes may start on one empty file: whoever comes second finds the work done when it looks again. On a new
/// connection: when a commit finds the disk full, SQLite has rolled back, and sqlx goes on in a transaction that is
/// none.
async fn migrate(path: &Path, file: &File, mut conn: Conn) -> Result<Conn, OpenError> {
    let mut tries = MIGRATION_TRIES;
    loop {
        tries -= 1;
        let source = match run_migrations(&mut conn).await {
            Ok(()) => return Ok(conn),
            Err(source) => source,
        };
        let path = path.to_owned();
        if is_full(&source) {
            return Err(OpenError::Full { path, source });
        }
        if tries == 0 || !may_pass(&source) {
            return Err(OpenError::Migration { path, source });
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        drop(conn);
        conn = file.connect().await.map_err(|source| OpenError::from_sqlite(&path, source))?;
    }
}

async fn run_migrations(conn: &mut Conn) -> Result<(), MigrateError> {
    // A prepared statement of before a migration must not meet the schema of after it.
    MIGRATOR.run(&mut *conn).await?;
    conn.clear_cached_statements().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use sqlx::ConnectOptions;

    use super::{OpenError, has_log, options};

    #[tokio::test]
    async fn a_place_without_a_write_ahead_log_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("test.db");
        // Locks by files, as on a network, and no memory to share.
        let options = options(&path).create_if_missing(true);
        let mut conn = options.clone().vfs("unix-dotfile").connect().await.unwrap();
        let refused = has_log(&path, &mut conn).await.unwrap_err();
        assert!(matches!(&refused, OpenError::NoLog { mode, .. } if mode == "delete"), "{refused}");
        assert!(refused.to_string().contains("move it to a local disk"), "{refused}");
        drop(conn);
        has_log(&path, &mut options.connect().await.unwrap()).await.unwrap();
    }
}
