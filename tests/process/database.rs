//! The database file, past the program.

use std::path::Path;

use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode},
};

async fn open(folder: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(folder.join("hallpass.db"));
    options.journal_mode(SqliteJournalMode::Wal).connect().await.unwrap()
}

/// Runs a statement, which has to touch as many rows.
pub async fn execute(folder: &Path, statement: &str, rows: u64) {
    let mut conn = open(folder).await;
    let done = sqlx::query(AssertSqlSafe(statement)).execute(&mut conn).await.unwrap();
    conn.close().await.unwrap();
    assert_eq!(done.rows_affected(), rows, "{statement}");
}

/// The first column of what a query finds.
pub async fn column(folder: &Path, query: &str) -> Vec<String> {
    let mut conn = open(folder).await;
    let found = texts(&mut conn, query).await;
    conn.close().await.unwrap();
    found
}

async fn texts(conn: &mut SqliteConnection, query: &str) -> Vec<String> {
    sqlx::query_scalar(AssertSqlSafe(query)).fetch_all(conn).await.unwrap()
}

/// Every row of every table.
pub async fn dump(folder: &Path) -> Vec<String> {
    let (mut conn, mut rows) = (open(folder).await, Vec::new());
    let tables = "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name";
    for table in texts(&mut conn, tables).await {
        let columns = format!("SELECT 'quote(' || name || ')' FROM pragma_table_info('{table}')");
        let columns = texts(&mut conn, &columns).await.join(" || ', ' || ");
        let found = texts(&mut conn, &format!("SELECT {columns} FROM {table} ORDER BY 1")).await;
        rows.extend(found.into_iter().map(|row| format!("{table}: {row}")));
    }
    conn.close().await.unwrap();
    rows
}

/// What SQLite says of the file: `ok`.
pub async fn integrity(folder: &Path) -> String {
    column(folder, "PRAGMA integrity_check").await.join("\n")
}
