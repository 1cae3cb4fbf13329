//! SQL, and nothing else: no rule, no hash, no signature. Of the crate it knows `model` alone.
//!
//! Reads go to a pool of read-only connections. Every write goes through one door, [`Store::write`], onto the
//! one writer connection, in a transaction that holds the write lock from its first statement: a read that
//! becomes a write can never find that somebody else wrote in between.

mod account;
mod keys;
mod refresh;
mod revocation;
mod session;
mod sqlite;

use std::{path::Path, time::Duration};

use futures_util::future::BoxFuture;
use sqlx::{Connection, Pool, pool::PoolConnection};

pub use account::{Deletion, NewUser};
pub use keys::{Follower, NewKey, Resealed, Revoked};
pub use refresh::{Check, Outcome, Return};
pub use revocation::Revocations;
pub use session::NewSession;
pub use sqlite::OpenError;

/// The engine.
pub type Db = sqlx::Sqlite;
type Conn = <Db as sqlx::Database>::Connection;

/// How long a caller waits for a connection, or for the lock of another process, before the answer is
/// [`Error::Unavailable`].
const PATIENCE: Duration = Duration::from_secs(3);

/// The database.
#[derive(Debug, Clone)]
pub struct Store {
    readers: Pool<Db>,
    writer: Pool<Db>,
    place: sqlite::Place,
}

/// Why a statement did not run. Not finding a row is no error.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Locked, read-only, full, unreadable: later it may work, without a restart.
    #[error("the database is not available: {0}")]
    Unavailable(#[source] sqlx::Error),
    /// A bug.
    #[error("the database refused a statement: {0}")]
    Internal(#[source] sqlx::Error),
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        use sqlx::Error::{BeginFailed, Io, PoolClosed, PoolTimedOut, WorkerCrashed};
        match error {
            BeginFailed | Io(_) | PoolClosed | PoolTimedOut | WorkerCrashed => Self::Unavailable(error),
            sqlx::Error::Database(ref source) if sqlite::is_unavailable(source.as_ref()) => Self::Unavailable(error),
            other => Self::Internal(other),
        }
    }
}

/// A connection that is closed when dropped, unless it was settled.
struct Unsettled(Option<PoolConnection<Db>>);

impl Unsettled {
    fn get(&mut self) -> Result<&mut PoolConnection<Db>, Error> {
        self.0.as_mut().ok_or(Error::Unavailable(sqlx::Error::WorkerCrashed))
    }

    /// Back to the pool.
    fn settle(&mut self) {
        self.0.take();
    }
}

impl Drop for Unsettled {
    fn drop(&mut self) {
        if let Some(conn) = &mut self.0 {
            conn.close_on_drop();
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

    /// Runs one transaction on the writer connection: all of `work`, or nothing.
    ///
    /// `work` owns what it needs, so that it can be carried to the writer.
    ///
    /// # Errors
    /// Those of `work`, and [`Error::Unavailable`] if the write lock was not to be had.
    pub async fn write<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut Conn) -> BoxFuture<'c, Result<T, Error>> + Send + 'static,
    {
        // Until its transaction has ended well, the connection is one to throw away: SQLite ends a transaction
        // by itself when the disk is full, sqlx does not notice, and every later one would fail.
        let mut conn = Unsettled(Some(self.writer.acquire().await?));
        let mut tx = conn.get()?.begin_with(sqlite::BEGIN_WRITE).await?;
        match work(&mut tx).await.and_then(|done| self.place.check().map(|()| done).map_err(Error::from)) {
            Ok(done) => {
                tx.commit().await?;
                conn.settle();
                Ok(done)
            }
            Err(error) => {
                if tx.rollback().await.is_ok() {
                    conn.settle();
                }
                Err(error)
            }
        }
    }

    /// Whether it can be read and written: it is.
    ///
    /// # Errors
    /// [`Error::Unavailable`]
    pub async fn check(&self) -> Result<(), Error> {
        sqlx::query_scalar!(r#"SELECT COUNT(*) AS "n!" FROM users WHERE id = ''"#).fetch_one(&self.readers).await?;
        self.write(|tx| {
            Box::pin(async move {
                sqlx::query!("UPDATE probe SET writes = writes + 1").execute(tx).await?;
                Ok(())
            })
        })
        .await
    }

    /// Finishes what is under way and closes the file.
    pub async fn close(&self) {
        self.readers.close().await;
        // The last to close writes the log back into the database file.
        self.writer.close().await;
    }
}
