//! What the result codes of SQLite say.

use sqlx::{error::DatabaseError, migrate::MigrateError};

const BUSY: i32 = 5;
const READONLY: i32 = 8;
const FULL: i32 = 13;

/// SQLite's primary result code, the low byte.
pub(in crate::store) fn primary_code(error: &dyn DatabaseError) -> Option<i32> {
    error.code().and_then(|code| code.parse::<i32>().ok()).map(|code| code & 0xff)
}

/// Another process holds the lock.
pub(in crate::store) fn is_busy(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(primary_code) == Some(BUSY)
}

/// The connection cannot write.
pub(in crate::store) fn is_read_only(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(primary_code) == Some(READONLY)
}

/// Whether it may be the other process's doing: not what the disk says.
pub(in crate::store) fn may_pass(error: &MigrateError) -> bool {
    let (MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)) = error else { return true };
    error.as_database_error().is_none_or(|database| is_busy(error) || !is_unavailable(database))
}

/// There is no room, also not for the memory that the processes share, which is a file, too.
pub(in crate::store) fn is_full(error: &MigrateError) -> bool {
    const NO_SHARED_MEMORY: &str = "4874";
    let (MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)) = error else { return false };
    let database = error.as_database_error();
    database.is_some_and(|error| primary_code(error) == Some(FULL) || error.code().as_deref() == Some(NO_SHARED_MEMORY))
}

/// The codes that say that the file itself is wrong.
pub(in crate::store) fn is_damage(error: &dyn DatabaseError) -> bool {
    const CORRUPT: i32 = 11;
    const NOTADB: i32 = 26;
    matches!(primary_code(error), Some(CORRUPT | NOTADB))
}

/// The codes that say «not now» rather than «never».
pub(in crate::store) fn is_unavailable(error: &dyn DatabaseError) -> bool {
    const PERM: i32 = 3;
    const LOCKED: i32 = 6;
    const NOMEM: i32 = 7;
    const IOERR: i32 = 10;
    const CANTOPEN: i32 = 14;
    const PROTOCOL: i32 = 15;
    // A file can be mended, or replaced by a backup, without a change to the program.
    is_damage(error)
        || matches!(
            primary_code(error),
            Some(PERM | BUSY | LOCKED | NOMEM | READONLY | IOERR | FULL | CANTOPEN | PROTOCOL)
        )
}
