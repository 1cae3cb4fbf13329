//! SQL, and nothing else: no rule, no hash, no signature. Of the crate it knows `model` alone.
//!
//! Reads go to a pool of read-only connections. Every write goes through one door, the task in `writer`, onto the
//! one writer connection, in a transaction that holds the write lock from its first statement: a read that
//! becomes a write can never find that somebody else wrote in between.
//!
//! What each request asks of accounts and sessions is kept in memory, and forgotten when it is written.

mod account;
mod admin;
mod audit;
mod code;
mod credentials;
mod draft;
mod email;
mod import;
mod keys;
mod memory;
mod metrics;
mod notice;
mod outbox;
mod recovery;
mod refresh;
mod revocation;
mod session;
mod sqlite;
mod writer;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures_util::future::BoxFuture;
use memory::{Memory, Touched};
use metrics::Notes;
use sqlite::File;
use sqlx::Pool;
use writer::{Extent, Writer};

pub use account::{Deletion, Insertion, NewUser};
pub use admin::{Changed, Changes, Found, LastAdmin, NewRoles, Removal};
pub use audit::Search;
pub use code::Try;
pub use draft::{Draft, Place};
pub use email::Proved;
pub use import::{Arrival, Newcomer};
pub use keys::{Follower, NewKey, Resealed, Revoked};
pub use memory::Heard;
pub use notice::Notice;
pub use outbox::{Asked, Due, NewMail, Ready, Stamp, Take};
pub use recovery::Recovery;
pub use refresh::{Check, Current, Outcome, Return};
pub use revocation::Revocations;
pub use session::{Begun, Login, NewSession};
pub use sqlite::{Copied, CopyError, Examined, OpenError, backup, examine};

/// The engine.
pub type Db = sqlx::Sqlite;
type Conn = <Db as sqlx::Database>::Connection;

/// How long a caller waits for a connection, or for the lock of another process, before the answer is
/// [`Error::Unavailable`].
const PATIENCE: Duration = Duration::from_secs(3);

/// The database.
#[derive(Debug, Clone)]
pub struct Store {
    pool: Pool<Db>,
    file: Arc<File>,
    writer: Writer,
    memory: Arc<Memory>,
    notes: Notes,
    path: PathBuf,
}

/// Why a statement did not run. Not finding a row is no error.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// Locked, read-only, full, unreadable: later it may work, without a restart.
    #[error("the database is not available: {0}")]
    Unavailable(#[source] Arc<sqlx::Error>),
    /// A bug.
    #[error("the database refused a statement: {0}")]
    Internal(#[source] Arc<sqlx::Error>),
    /// The session of the admin who wanted it has ended meanwhile.
    #[error("the admin's session has ended")]
    Ended,
    /// He is no admin any more.
    #[error("the admin is none any more")]
    Demoted,
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        use sqlx::Error::{BeginFailed, Io, PoolClosed, PoolTimedOut, WorkerCrashed};
        match error {
            BeginFailed | Io(_) | PoolClosed | PoolTimedOut | WorkerCrashed => Self::Unavailable(Arc::new(error)),
            sqlx::Error::Database(ref source) if sqlite::is_unavailable(source.as_ref()) => {
                Self::Unavailable(Arc::new(error))
            }
            other => Self::Internal(Arc::new(other)),
        }
    }
}

impl Store {
    /// Opens the database file, makes it if there is none, and brings its schema up to date.
    ///
    /// # Errors
    /// What is wrong with the file, which is then as it was, to the byte.
    pub async fn open(path: &Path) -> Result<Self, OpenError> {
        sqlite::open(path).await
    }

    /// Has one piece of work written: all of it, or nothing. It is committed when this returns.
    ///
    /// `work` owns what it needs, so that it can be carried to the writer. Whose state it wrote is not known, so all
    /// that memory holds is read again.
    ///
    /// # Errors
    /// Those of `work`, and [`Error::Unavailable`] if the write lock was not to be had.
    pub async fn write<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut Conn) -> BoxFuture<'c, Result<T, Error>> + Send + 'static,
    {
        self.write_touching(with(work, Touched::anything)).await
    }

    /// The same for what memory does not hold: keys, secrets, ends that others are told of.
    async fn write_aside<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut Conn) -> BoxFuture<'c, Result<T, Error>> + Send + 'static,
    {
        self.write_touching(with(work, Touched::nothing)).await
    }

    /// The same for work that says whose state it wrote: that is forgotten before anybody is answered.
    async fn write_touching<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut Conn) -> BoxFuture<'c, Result<(T, Touched), Error>> + Send + 'static,
    {
        self.writer.write(Extent::Several, work).await
    }

    /// The same for work of which at most one statement writes.
    async fn write_one<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut Conn) -> BoxFuture<'c, Result<(T, Touched), Error>> + Send + 'static,
    {
        self.writer.write(Extent::One, work).await
    }

    /// Whether it can be read and written: it is.
    ///
    /// # Errors
    /// [`Error::Unavailable`]
    pub async fn check(&self) -> Result<(), Error> {
        sqlx::query_scalar!(r#"SELECT COUNT(*) AS "n!" FROM users WHERE id = ''"#).fetch_one(self.readers()?).await?;
        self.write_aside(|tx| {
            Box::pin(async move {
                sqlx::query!("UPDATE probe SET writes = writes + 1").execute(tx).await?;
                Ok(())
            })
        })
        .await
    }

    /// The connections that read.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the file was moved, deleted or replaced: they would read on in the old one, where what
    /// others end now lives on.
    fn readers(&self) -> Result<&Pool<Db>, Error> {
        self.file.check_place()?;
        Ok(&self.pool)
    }

    /// Finishes what is under way and closes the file.
    pub async fn close(&self) {
        self.pool.close().await;
        // The last to close writes the log back into the database file.
        self.writer.close().await;
    }
}

/// Work that touches this, whatever comes of it.
fn with<T, F>(
    work: F,
    touched: fn() -> Touched,
) -> impl for<'c> FnOnce(&'c mut Conn) -> BoxFuture<'c, Result<(T, Touched), Error>> + Send + 'static
where
    T: Send + 'static,
    F: for<'c> FnOnce(&'c mut Conn) -> BoxFuture<'c, Result<T, Error>> + Send + 'static,
{
    move |tx| {
        let work = work(tx);
        Box::pin(async move { Ok((work.await?, touched())) })
    }
}
