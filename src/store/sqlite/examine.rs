//! What the operator is told of a database, without a change to it.

use std::{fs, path::Path, time::SystemTime};

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
    until_still(path, async |is_alone| examine_as(path, is_alone, now).await).await
}

/// Looks, and looks again if somebody used the file meanwhile. Nothing is locked where nobody is thought to write, so
/// what was written then may have been read in halves.
async fn until_still<T>(path: &Path, look: impl AsyncFn(bool) -> T) -> T {
    let mut tries = TRIES;
    loop {
        let before = State::of(path);
        let found = look(before.is_alone).await;
        tries -= 1;
        if !before.is_alone || tries == 0 || State::of(path) == before {
            return found;
        }
    }
}

/// How often it is looked again, if somebody opens the file and closes it each time.
const TRIES: usize = 20;

#[derive(PartialEq, Eq)]
struct State {
    /// Without a log nobody has it open. To open one that is not in use would make the log and leave it there.
    is_alone: bool,
    file: Option<(u64, SystemTime)>,
}

impl State {
    fn of(path: &Path) -> Self {
        let file = fs::metadata(path).and_then(|found| Ok((found.len(), found.modified()?)));
        Self { is_alone: !log_of(path).exists(), file: file.ok() }
    }
}

async fn examine_as(path: &Path, is_alone: bool, now: Time) -> Result<Examined, OpenError> {
    let unreadable = |source| OpenError::from_sqlite(path, source);
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

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, fs};

    use super::{TRIES, log_of, until_still};

    #[tokio::test]
    async fn a_file_that_somebody_uses_meanwhile_is_looked_at_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("test.db");
        fs::write(&path, "x").unwrap();
        let looks = RefCell::new(Vec::new());
        // What happens during the first look, and how each look was.
        let look = async |meanwhile: &dyn Fn(usize)| {
            looks.borrow_mut().clear();
            until_still(&path, async |is_alone| {
                looks.borrow_mut().push(is_alone);
                meanwhile(looks.borrow().len());
            })
            .await;
            looks.borrow().clone()
        };
        assert_eq!(look(&|_| ()).await, [true]);
        let written_and_closed = |n| {
            if n == 1 {
                fs::write(&path, "xy").unwrap();
            }
        };
        assert_eq!(look(&written_and_closed).await, [true, true]);
        let again_and_again = |n| fs::write(&path, "x".repeat(n + 2)).unwrap();
        assert_eq!(look(&again_and_again).await.len(), TRIES);
        assert_eq!(look(&|_| fs::write(log_of(&path), "").unwrap()).await, [true, false]);
        assert_eq!(look(&again_and_again).await, [false], "under SQLite's locks");
    }
}
