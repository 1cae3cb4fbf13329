//! What the operator is told of a database, without a change to it.

use std::path::Path;

use sqlx::{ConnectOptions, Connection, SqliteConnection, sqlite::SqliteConnectOptions};

use super::{MIGRATOR, OpenError, PATIENCE, judge, log_of};
use crate::model::{SecretId, StoredKey, Time};

/// What was found in a database that is ours.
#[derive(Debug)]
pub struct Examined {
    /// The migrations that the next start will apply.
    pub pending: Vec<i64>,
    /// What SQLite says of the file, if it is not whole.
    pub damage: Option<String>,
    /// How many accounts there are.
    pub users: i64,
    /// The check value of the `SECRET_KEY` that it is used with.
    pub secret: Option<SecretId>,
    /// The sessions that are alive and hold a refresh token of another `SECRET_KEY`.
    pub on_other_secrets: i64,
    /// The ring.
    pub keys: Vec<StoredKey>,
    /// When something was last noted.
    pub newest: Option<Time>,
}

/// Looks at a database, beside whoever uses it. Of one whose schema is not of today, only that is told.
///
/// # Errors
/// Why a start would refuse it.
pub async fn examine(path: &Path, now: Time) -> Result<Examined, OpenError> {
    let unreadable = |source| OpenError::from_sqlite(path, source);
    // Without a log nobody has it open. To open one that is in use would make the log and leave it there.
    let is_alone = !log_of(path).exists();
    let looking = SqliteConnectOptions::new().filename(path).read_only(true).immutable(is_alone);
    let mut conn = looking.busy_timeout(PATIENCE).disable_statement_logging().connect().await.map_err(unreadable)?;
    let found = look(path, &mut conn, now).await;
    let closed = conn.close().await.map_err(unreadable);
    let found = found?;
    closed?;
    Ok(found)
}

async fn look(path: &Path, conn: &mut SqliteConnection, now: Time) -> Result<Examined, OpenError> {
    let unreadable = |source| OpenError::from_sqlite(path, source);
    let applied = judge(path, &mut *conn).await?;
    let known = MIGRATOR.iter().map(|known| known.version);
    let pending: Vec<i64> = known.filter(|version| !applied.contains(version)).collect();
    let said: Vec<String> =
        sqlx::query_scalar("PRAGMA quick_check(5)").fetch_all(&mut *conn).await.map_err(unreadable)?;
    let damage = (said != ["ok"]).then(|| said.join("; "));
    let mut found =
        Examined { pending, damage, users: 0, secret: None, on_other_secrets: 0, keys: Vec::new(), newest: None };
    if found.pending.is_empty() && found.damage.is_none() {
        read(&mut found, conn, now).await.map_err(unreadable)?;
    }
    Ok(found)
}

type KeyRow = (String, String, Option<Vec<u8>>, Time, Time, i64, i64, Option<Time>);

async fn read(found: &mut Examined, conn: &mut SqliteConnection, now: Time) -> Result<(), sqlx::Error> {
    found.users = sqlx::query_scalar("SELECT COUNT(*) FROM users").fetch_one(&mut *conn).await?;
    found.secret =
        sqlx::query_scalar("SELECT id FROM secrets WHERE replaced_at IS NULL").fetch_optional(&mut *conn).await?;
    let others = "SELECT COUNT(*) FROM sessions WHERE ended_at IS NULL AND refresh_expires_at > $1
                    AND secret_id NOT IN (SELECT id FROM secrets WHERE replaced_at IS NULL)";
    found.on_other_secrets = sqlx::query_scalar(others).bind(now).fetch_one(&mut *conn).await?;
    let keys = "SELECT kid, algorithm, sealed, created_at, activates_at, position, longest_ttl, revoked_at
                FROM signing_keys ORDER BY activates_at, position";
    let rows: Vec<KeyRow> = sqlx::query_as(keys).fetch_all(&mut *conn).await?;
    found.keys = rows
        .into_iter()
        .map(|(kid, algorithm, sealed, created_at, activates_at, position, longest_ttl, revoked_at)| StoredKey {
            kid,
            algorithm,
            sealed,
            created_at,
            activates_at,
            position,
            longest_ttl,
            revoked_at,
        })
        .collect();
    let newest = "SELECT MAX(at) FROM (
                      SELECT MAX(created_at) AS at FROM users
                      UNION ALL SELECT MAX(last_login_at) FROM users
                      UNION ALL SELECT MAX(last_used_at) FROM sessions
                      UNION ALL SELECT MAX(adopted_at) FROM secrets)";
    found.newest = sqlx::query_scalar(newest).fetch_one(&mut *conn).await?;
    Ok(())
}
