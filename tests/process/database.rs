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
    let found = sqlx::query_scalar(AssertSqlSafe(query)).fetch_all(&mut conn).await.unwrap();
    conn.close().await.unwrap();
    found
}

/// Every row of every table.
pub async fn dump(folder: &Path) -> Vec<String> {
    let mut rows = Vec::new();
    for table in column(folder, "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name").await {
        let columns =
            column(folder, &format!("SELECT 'quote(' || name || ')' FROM pragma_table_info('{table}')")).await;
        let query = format!("SELECT {} FROM {table} ORDER BY 1", columns.join(" || ', ' || "));
        rows.extend(column(folder, &query).await.into_iter().map(|row| format!("{table}: {row}")));
    }
    rows
}

/// What SQLite says of the file: `ok`.
pub async fn integrity(folder: &Path) -> String {
    column(folder, "PRAGMA integrity_check").await.join("\n")
}
