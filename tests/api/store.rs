//! The database file: how it is opened, and what happens when it cannot be used.

use std::{os::unix::fs::PermissionsExt, path::Path};

use hallpass::store::{OpenError, Store};
use serde_json::Value;
use sqlx::{Connection, Executor, Row, SqliteConnection};

use super::app::{PASSWORD, TestApp};

#[tokio::test]
async fn the_file_and_its_companions_belong_to_their_owner_alone() {
    let app = TestApp::new().await;
    app.register("john").await;
    for name in ["test.db", "test.db-wal", "test.db-shm"] {
        let mode = std::fs::metadata(app.folder.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[tokio::test]
async fn what_was_answered_is_on_the_disk_and_in_order() {
    let app = TestApp::new().await;
    app.register("john").await;
    assert_eq!(app.text("PRAGMA journal_mode").await, "wal");
    // A copy of the files as they lie there is what a crash would leave.
    let crashed = tempfile::tempdir().unwrap();
    for name in ["test.db", "test.db-wal"] {
        std::fs::copy(app.folder.path().join(name), crashed.path().join(name)).unwrap();
    }
    let store = Store::open(&crashed.path().join("test.db")).await.unwrap();
    assert_eq!(store.users_named("", None, 1_000).await.unwrap().len(), 1);
    assert_eq!(app.text("PRAGMA integrity_check").await, "ok");
    store.close().await;
    assert!(!crashed.path().join("test.db-wal").exists(), "closing writes the log back");
}

#[tokio::test]
async fn the_writer_syncs_every_commit_and_trusts_no_schema() {
    let app = TestApp::new().await;
    let found = app
        .app
        .store
        .write(|tx| {
            Box::pin(async move {
                let mut found = Vec::new();
                for pragma in
                    ["PRAGMA synchronous", "PRAGMA foreign_keys", "PRAGMA trusted_schema", "PRAGMA busy_timeout"]
                {
                    let row = (&mut *tx).fetch_one(sqlx::raw_sql(pragma)).await?;
                    found.push(row.try_get::<i64, _>(0)?);
                }
                Ok(found)
            })
        })
        .await
        .unwrap();
    assert_eq!(found, [2, 1, 0, 3_000]);
}

#[tokio::test]
async fn a_write_that_fails_leaves_nothing() {
    let app = TestApp::new().await;
    app.register("john").await;
    let result: Result<(), _> = app
        .app
        .store
        .write(|tx| {
            Box::pin(async move {
                (&mut *tx).execute("DELETE FROM users").await?;
                (&mut *tx).execute("DELETE FROM nothing").await?;
                Ok(())
            })
        })
        .await;
    assert!(result.is_err());
    assert_eq!(app.app.store.users_named("", None, 1_000).await.unwrap().len(), 1);
    app.register("jane").await;
}

#[tokio::test]
async fn a_file_that_was_moved_away_is_neither_written_nor_believed_and_recovers() {
    let app = TestApp::new().await;
    let pair = app.as_session("john").await;
    // It looks some times a second.
    let becomes = async |status: u16| {
        let look = async || {
            while app.get("/me", Some(&pair.access)).await.status != status {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_mins(1), look()).await.unwrap();
    };
    let (here, there) = (app.folder.path().join("test.db"), app.folder.path().join("away.db"));
    std::fs::rename(&here, &there).unwrap();
    app.try_login("john", PASSWORD).await.refuses(503, "storage_unavailable", "");
    assert!(!app.is_ready().await);
    std::fs::copy(&there, &here).unwrap();
    app.try_login("john", PASSWORD).await.refuses(503, "storage_unavailable", "");
    // What a command ends now, it ends in a file that is not read here.
    becomes(503).await;
    app.try_refresh(&pair.refresh).await.refuses(503, "storage_unavailable", "");
    std::fs::rename(&there, &here).unwrap();
    becomes(200).await;
    assert_eq!(app.try_login("john", PASSWORD).await.status, 200);
    // Who opens the database next makes another index of the log, with other locks.
    let (index, away) = (app.folder.path().join("test.db-shm"), app.folder.path().join("away"));
    std::fs::rename(&index, &away).unwrap();
    app.db().await.execute("UPDATE probe SET writes = writes").await.unwrap();
    app.try_login("john", PASSWORD).await.refuses(503, "storage_unavailable", "");
    becomes(503).await;
    std::fs::rename(&away, &index).unwrap();
    becomes(200).await;
    // What was acknowledged since the last checkpoint is in the log alone.
    std::fs::remove_file(app.folder.path().join("test.db-wal")).unwrap();
    app.try_login("john", PASSWORD).await.refuses(503, "storage_unavailable", "");
}

/// Those that go through a whole table, each for a reason.
const SCANS: [(&str, &str); 7] = [
    ("UPDATE sessions SET ended_at = $1", "every session is ended"),
    ("FROM users AS other", "the index of the admins"),
    ("signing_keys", "a handful of rows"),
    ("secrets", "a handful of rows"),
    ("UPDATE probe", "one row"),
    ("SELECT 1 FROM outbox LIMIT $8", "whether the outbox is full: 10,000 entries of an index at most"),
    ("MIN(created_at) AS \"oldest?: Time\" FROM outbox", "how many are waiting: for metrics"),
];

#[tokio::test]
async fn every_statement_goes_by_an_index() {
    let app = TestApp::new().await;
    let mut db = app.db().await;
    let mut count = 0;
    for file in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.sqlx")).unwrap() {
        let prepared: Value = serde_json::from_slice(&std::fs::read(file.unwrap().path()).unwrap()).unwrap();
        let query = prepared["query"].as_str().unwrap();
        let plan = format!("EXPLAIN QUERY PLAN {query}");
        let rows = sqlx::query(sqlx::AssertSqlSafe(plan)).fetch_all(&mut db).await.unwrap();
        let steps: Vec<String> = rows.iter().map(|row| row.get("detail")).collect();
        let scans = steps.iter().any(|step| step.starts_with("SCAN") && !step.starts_with("SCAN CONSTANT ROW"));
        let may_scan = SCANS.iter().any(|(part, _)| query.contains(part));
        assert!(!scans || may_scan, "{query}\n{steps:?}");
        count += 1;
    }
    assert!(count > 40);
}

/// PostgreSQL does not guess of which type a parameter is that is only asked whether it is NULL, and wants a name for a
/// subquery that stands for a table.
#[tokio::test]
async fn every_statement_is_one_that_postgresql_understands() {
    let mut count = 0;
    for file in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.sqlx")).unwrap() {
        let prepared: Value = serde_json::from_slice(&std::fs::read(file.unwrap().path()).unwrap()).unwrap();
        let query = prepared["query"].as_str().unwrap();
        for (before, _) in query.match_indices(" IS ").map(|(at, _)| query.split_at(at)) {
            let operand = before.rsplit([' ', '(']).next().unwrap();
            assert!(!operand.starts_with('$'), "{operand} has no type: {query}");
        }
        for (at, from) in query.match_indices("FROM (") {
            let mut depth = 0;
            let end = query[at + from.len() - 1..].find(|c| {
                depth += i32::from(c == '(') - i32::from(c == ')');
                depth == 0
            });
            assert!(query[at + from.len() + end.unwrap()..].starts_with(" AS "), "a table without a name: {query}");
        }
        count += 1;
    }
    assert!(count > 40);
}

async fn database(folder: &Path) -> (std::path::PathBuf, SqliteConnection) {
    let path = folder.join("test.db");
    let store = Store::open(&path).await.unwrap();
    store.close().await;
    let db = SqliteConnection::connect(&format!("sqlite://{}", path.display())).await.unwrap();
    (path, db)
}

/// The error of opening, after which the file must be as it was.
async fn refused(path: &Path) -> OpenError {
    let before = std::fs::read(path).unwrap();
    let error = Store::open(path).await.unwrap_err();
    assert!(std::fs::read(path).unwrap() == before, "the file was changed");
    error
}

#[tokio::test]
async fn a_file_that_is_no_database_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    for (n, bytes) in [b"not a database, but a text".to_vec(), vec![0; 4_096], vec![0xff; 50]].into_iter().enumerate() {
        let path = folder.path().join(format!("{n}.db"));
        std::fs::write(&path, bytes).unwrap();
        assert!(matches!(refused(&path).await, OpenError::Unreadable { .. }), "{n}");
    }
    let error = Store::open(&folder.path().join("none/test.db")).await.unwrap_err();
    assert!(matches!(error, OpenError::File { .. }));
    let error = Store::open(folder.path()).await.unwrap_err();
    assert!(matches!(error, OpenError::File { .. } | OpenError::Unreadable { .. }));
}

#[tokio::test]
async fn a_damaged_database_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let (path, db) = database(folder.path()).await;
    db.close().await.unwrap();
    let whole = std::fs::read(&path).unwrap();
    let page = 4_096;
    // The magic, the page size, the first page's tree (the schema), and then each other page.
    let mut damages = vec![(0, 16), (16, 2), (100, 200)];
    damages.extend((1..whole.len() / page).map(|n| (n * page, 100)));
    let mut refusals = 0;
    for (at, length) in damages {
        let mut bytes = whole.clone();
        bytes[at..at + length].fill(0xa5);
        std::fs::write(&path, &bytes).unwrap();
        // A page that starting does not need (an index) is found when it is read.
        let Err(_) = Store::open(&path).await else { continue };
        assert!(std::fs::read(&path).unwrap() == bytes, "damage at {at} was written over");
        refusals += 1;
    }
    assert!(refusals >= 5, "the header, the schema, the tables: {refusals}");
    let half = &whole[..whole.len() / 2];
    std::fs::write(&path, half).unwrap();
    refused(&path).await;
}

#[tokio::test]
async fn a_database_of_somebody_else_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("test.db");
    std::fs::write(&path, "").unwrap();
    let mut db = SqliteConnection::connect(&format!("sqlite://{}", path.display())).await.unwrap();
    db.execute("CREATE TABLE users (name TEXT)").await.unwrap();
    db.close().await.unwrap();
    assert!(matches!(refused(&path).await, OpenError::Foreign { .. }));
}

#[tokio::test]
async fn a_schema_that_is_not_known_is_left_as_it_is() {
    for (statement, why) in [
        (
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (9999, 'later', 1, x'00', 0)",
            "migration 9999 is not known here",
        ),
        ("UPDATE _sqlx_migrations SET success = 0", "migration 1 was broken off"),
        ("UPDATE _sqlx_migrations SET checksum = x'00'", "migration 1 differs from the one known here"),
        ("ALTER TABLE _sqlx_migrations DROP COLUMN checksum", "cannot read"),
        ("ALTER TABLE users DROP COLUMN password_hash", "cannot read"),
        ("DROP TABLE _sqlx_migrations", "none of Hallpass"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let (path, mut db) = database(folder.path()).await;
        db.execute(statement).await.unwrap();
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").await.unwrap();
        db.close().await.unwrap();
        let error = refused(&path).await.to_string();
        assert!(error.contains(why), "{statement}: {error}");
    }
}

#[tokio::test]
async fn a_database_is_opened_again_and_by_two_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("test.db");
    let opened = futures_util::future::join_all((0..2).map(|_| Store::open(&path))).await;
    for store in opened {
        let store = store.unwrap();
        store.check().await.unwrap();
        store.close().await;
    }
    Store::open(&path).await.unwrap().close().await;
}
