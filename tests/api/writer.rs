//! The one writer: what it answers is what is in the file, whatever happens.

use futures_util::future::join_all;
use serde_json::json;
use sqlx::Executor;
use tokio::sync::Mutex;

use super::app::{Answer, PASSWORD, TestApp};

/// What each piece of work of a test counts up.
async fn writes(app: &TestApp) -> usize {
    app.text("SELECT CAST(writes AS TEXT) FROM probe").await.parse().unwrap()
}

#[tokio::test]
async fn many_writers_at_once_all_write_before_they_are_answered() {
    let app = TestApp::with(&[("HASH_QUEUE", "200")]).await;
    // It has been opened: to open it takes longer than a commit.
    let other = Mutex::new(app.db().await);
    let register = async |n: usize| {
        let answer = app.post("/register", &json!({"username": format!("user{n}"), "password": PASSWORD})).await;
        assert_eq!(answer.status, 201);
        // Another connection sees what is committed.
        let find = sqlx::query("SELECT id FROM users WHERE username = $1").bind(format!("user{n}"));
        assert!(find.fetch_optional(&mut *other.lock().await).await.unwrap().is_some());
    };
    join_all((0..100).map(register)).await;
    assert_eq!(app.app.store.users().await.unwrap().len(), 100);
}

/// Pieces of work that are handed over at once share a transaction.
#[tokio::test]
async fn a_piece_that_fails_takes_nothing_with_it() {
    let app = TestApp::new().await;
    let write = async |n: usize| {
        let done: Result<(), _> = app
            .app
            .store
            .write(move |tx| {
                Box::pin(async move {
                    (&mut *tx).execute("UPDATE probe SET writes = writes + 1").await?;
                    if n.is_multiple_of(3) {
                        (&mut *tx).execute("DELETE FROM nothing").await?;
                    }
                    Ok(())
                })
            })
            .await;
        assert_eq!(done.is_err(), n.is_multiple_of(3), "{n}");
    };
    join_all((0..99).map(write)).await;
    assert_eq!(writes(&app).await, 66);
}

#[tokio::test]
async fn a_piece_that_panics_ends_neither_the_writer_nor_the_rule() {
    let app = TestApp::new().await;
    let write = async |n: usize| {
        let work = app.app.store.write(move |tx| {
            Box::pin(async move {
                (&mut *tx).execute("UPDATE probe SET writes = writes + 1").await?;
                assert!(n != 5, "the test wants it");
                Ok(())
            })
        });
        usize::from(work.await.is_ok())
    };
    let written: usize = join_all((0..20).map(write)).await.iter().sum();
    assert!(written < 20);
    assert_eq!(writes(&app).await, written, "what was said to be written is, and no more");
    app.register("jane").await;
}

#[tokio::test]
async fn what_another_process_writes_holds_soon() {
    let app = TestApp::new().await;
    let (_, token) = app.as_user("john").await;
    assert_eq!(app.verdict(&token).await, "ok");
    let ended = "UPDATE sessions SET ended_at = 1";
    sqlx::query(ended).execute(&mut app.db().await).await.unwrap();
    // If it does not hear of it, memory is not asked so long.
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert_eq!(app.verdict(&token).await, "session_ended");
}

#[tokio::test]
async fn a_locked_database_is_unavailable_for_writing_and_recovers() {
    let app = TestApp::new().await;
    let (_, token) = app.as_user("john").await;
    let mut other = app.db().await;
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    let answer = app.try_login("john", PASSWORD).await;
    answer.refuses(503, "storage_unavailable", "");
    assert_eq!(answer.header("retry-after"), "1");
    assert!(!app.is_ready().await);
    assert_eq!(app.get("/livez", None).await.status, 200);
    assert_eq!(app.get("/me", Some(&token)).await.status, 200, "reading goes on");
    other.execute("ROLLBACK").await.unwrap();
    assert_eq!(app.try_login("john", PASSWORD).await.status, 200);
    assert!(app.is_ready().await);
}

#[tokio::test]
async fn a_full_or_read_only_database_is_unavailable_for_writing() {
    let app = TestApp::new().await;
    let (_, token) = app.as_user("john").await;
    let long = format!("{}@example.org", "a".repeat(60));
    let register =
        async |name: &str| app.post("/register", &json!({"username": name, "password": PASSWORD, "email": long})).await;
    let pragma = async |text: &'static str| {
        let done = app.app.store.write(move |tx| Box::pin(async move { Ok(tx.execute(text).await.map(drop)?) }));
        done.await.unwrap();
    };
    let refused = async |answer: Answer| {
        answer.refuses(503, "storage_unavailable", "");
        assert_eq!(answer.header("retry-after"), "1");
        assert_eq!(app.get("/me", Some(&token)).await.status, 200, "reading goes on");
    };
    pragma("PRAGMA max_page_count = 1").await;
    // There is room left in the last pages.
    let mut n = 0;
    let full = loop {
        n += 1;
        let answer = register(&format!("user{n}")).await;
        if answer.status != 201 {
            break answer;
        }
        assert!(n < 1_000);
    };
    refused(full).await;
    pragma("PRAGMA max_page_count = 1000000").await;
    assert_eq!(register("later").await.status, 201);
    assert_eq!(app.text("PRAGMA integrity_check").await, "ok");

    // The writer's connection cannot write any more (SQLITE_READONLY): it is replaced.
    pragma("PRAGMA query_only = ON").await;
    refused(register("last").await).await;
    assert_eq!(register("last").await.status, 201);
}
