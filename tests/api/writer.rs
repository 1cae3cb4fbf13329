//! The one writer: what it answers is what is in the file, whatever happens.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, join, join_all},
};
use hallpass::{
    model::{By, SessionId},
    store::{Error, Store},
};
use serde_json::json;
use sqlx::{Connection, Executor, SqliteConnection};
use tokio::{
    sync::{Mutex, oneshot},
    task::{JoinHandle, JoinSet},
    time::timeout,
};

use super::app::{Answer, PASSWORD, TestApp};

/// What a test that hangs is given: it fails then.
const HANGS: Duration = Duration::from_mins(1);

/// What each piece of work of a test counts up.
const COUNT: &str = "UPDATE probe SET writes = writes + 1";

async fn writes(app: &TestApp) -> usize {
    app.text("SELECT CAST(writes AS TEXT) FROM probe").await.parse().unwrap()
}

/// Has these statements written, as one piece of several.
async fn write(store: &Store, statements: &'static str) -> Result<(), Error> {
    store.write(move |tx| Box::pin(async move { Ok(tx.execute(sqlx::raw_sql(statements)).await.map(drop)?) })).await
}

/// A piece of work that has begun and goes on when it is told to. What is handed over meanwhile shares its transaction.
struct Held {
    go: oneshot::Sender<()>,
    work: JoinHandle<Result<(), Error>>,
}

impl Held {
    async fn new(store: &Store, statements: &'static str) -> Self {
        let (store, (begun, begins), (go, goes)) = (store.clone(), oneshot::channel(), oneshot::channel());
        let work = tokio::spawn(async move {
            let work = store.write(move |tx| {
                Box::pin(async move {
                    tx.execute(sqlx::raw_sql(statements)).await?;
                    begun.send(()).unwrap();
                    goes.await.unwrap();
                    Ok(())
                })
            });
            work.await
        });
        begins.await.unwrap();
        Self { go, work }
    }

    async fn let_go(self) -> Result<(), Error> {
        self.go.send(()).unwrap();
        self.work.await.unwrap()
    }

    /// Hands all of these over, then lets go. Answers what came of itself, and of each.
    async fn with<T>(self, pieces: Vec<BoxFuture<'_, Result<T, Error>>>) -> (Result<(), Error>, Vec<Result<T, Error>>) {
        // One after the other: each is handed over when it is first asked whether it is done.
        let (pieces, held) = join(join_all(pieces), self.let_go()).await;
        (held, pieces)
    }
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
    assert_eq!(app.app.store.users_named("", None, 1_000).await.unwrap().len(), 100);
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
async fn a_full_database_is_unavailable_and_a_read_only_connection_replaced() {
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

    // The writer's connection cannot write any more (SQLITE_READONLY): it is replaced, and nobody has to know.
    pragma("PRAGMA query_only = ON").await;
    assert_eq!(register("last").await.status, 201);
}

#[tokio::test]
async fn a_piece_without_a_savepoint_that_fails_takes_its_transaction_with_it() {
    let app = TestApp::new().await;
    let (john, jane) = (app.as_session("john").await, app.as_session("jane").await);
    let [john_id, jane_id] = [&john, &jane].map(|pair| SessionId::from_text(pair.sid()));
    app.sql("CREATE TRIGGER no BEFORE UPDATE OF successor_used_at ON sessions BEGIN SELECT RAISE(ABORT, 'no'); END")
        .await;
    let before = writes(&app).await;
    let (store, now) = (&app.app.store, app.app.clock.now());
    let entry = By::operator().does("session_ended", now);
    let end = |id: &SessionId| {
        store.end_session(None, id.clone(), entry.clone()).map(|ended| ended.map(|ended| assert!(ended)))
    };
    let held = Held::new(store, COUNT).await;
    let pieces: Vec<BoxFuture<Result<(), Error>>> = vec![
        write(store, COUNT).boxed(),
        end(&jane_id).boxed(),
        write(store, COUNT).boxed(),
        store.record_successor(john_id.clone(), 0, now).boxed(),
        write(store, COUNT).boxed(),
        end(&john_id).boxed(),
    ];
    let (held, pieces) = held.with(pieces).await;
    for refused in [&held].into_iter().chain(&pieces[..4]) {
        assert!(matches!(refused, Err(Error::Internal(_))), "{refused:?}");
    }
    assert!(pieces[4..].iter().all(Result::is_ok), "what came behind it: {pieces:?}");
    assert_eq!(writes(&app).await, before + 1);
    assert_eq!(app.verdict(&jane.access).await, "ok");
    assert_eq!(app.verdict(&john.access).await, "session_ended");
}

#[tokio::test]
async fn a_commit_that_fails_is_told_to_all_who_share_it() {
    let app = TestApp::new().await;
    let store = &app.app.store;
    let held = Held::new(store, COUNT).await;
    // A session of nobody, which is looked at when it is committed.
    let orphan = "PRAGMA defer_foreign_keys = ON;
        INSERT INTO sessions (id, user_id, salt, generation, rotated_at, secret_id, created_at, last_used_at,
                              refresh_expires_at, expires_at, ip)
        VALUES ('s', 'nobody', x'00', 0, 0, '', 0, 0, 0, 0, '')";
    let pieces = vec![write(store, COUNT).boxed(), write(store, orphan).boxed(), write(store, COUNT).boxed()];
    let (held, pieces) = held.with(pieces).await;
    assert!(held.is_err() && pieces.iter().all(Result::is_err), "{held:?} {pieces:?}");
    assert_eq!(writes(&app).await, 0);
    write(store, COUNT).await.unwrap();
    assert_eq!(writes(&app).await, 1);
}

#[tokio::test]
async fn a_full_disk_takes_nothing_that_was_acknowledged() {
    let app = TestApp::new().await;
    let store = &app.app.store;
    write(store, "CREATE TABLE notes (n INTEGER PRIMARY KEY NOT NULL, bytes BLOB NOT NULL) STRICT").await.unwrap();
    // Each on a disk that has no page to spare: what is small finds room in the last one.
    let note = |n: i64, size: i64| {
        store.write(move |tx| {
            Box::pin(async move {
                (&mut *tx).execute("PRAGMA max_page_count = 1").await?;
                let insert = sqlx::query("INSERT INTO notes VALUES ($1, zeroblob($2))").bind(n).bind(size);
                insert.execute(tx).await?;
                Ok(n)
            })
        })
    };
    let held = Held::new(store, COUNT).await;
    let pieces = (0..12).map(|n| note(n, if n % 4 == 1 { 100_000 } else { 10 }).boxed()).collect();
    let (held, pieces) = held.with(pieces).await;
    let refused = |piece: &Result<(), Error>| matches!(piece, Err(Error::Unavailable(_)));
    assert!(refused(&held), "{held:?}");
    assert!(pieces.iter().all(|piece| piece.is_ok() || refused(&piece.clone().map(drop))), "{pieces:?}");
    let acknowledged: Vec<i64> = pieces.into_iter().filter_map(Result::ok).collect();
    assert!(!acknowledged.is_empty());
    let mut other = app.db().await;
    let stored: Vec<i64> = sqlx::query_scalar("SELECT n FROM notes ORDER BY n").fetch_all(&mut other).await.unwrap();
    assert_eq!(stored, acknowledged);
    assert_eq!(writes(&app).await, 0);
    write(store, "PRAGMA max_page_count = 1000000").await.unwrap();
    write(store, "INSERT INTO notes VALUES (100, zeroblob(100000))").await.unwrap();
    assert_eq!(app.text("PRAGMA integrity_check").await, "ok");
}

#[tokio::test]
async fn the_log_is_written_back_while_it_is_written() {
    let app = TestApp::new().await;
    let store = &app.app.store;
    write(store, "CREATE TABLE notes (bytes BLOB NOT NULL) STRICT").await.unwrap();
    // 200 MiB in all, by 100 commits.
    for _ in 0..100 {
        write(store, "DELETE FROM notes; INSERT INTO notes VALUES (randomblob(2097152))").await.unwrap();
    }
    let log = std::fs::metadata(app.folder.path().join("test.db-wal")).unwrap().len();
    assert!(log < 64 * 1024 * 1024, "{log}");
}

#[tokio::test]
async fn who_gave_up_before_his_turn_writes_nothing() {
    let app = TestApp::new().await;
    let store = &app.app.store;
    let begun = Arc::new(AtomicUsize::new(0));
    let piece = || {
        let begun = begun.clone();
        store.write(move |tx| {
            begun.fetch_add(1, Ordering::Relaxed);
            Box::pin(async move { Ok(tx.execute(COUNT).await.map(drop)?) })
        })
    };
    // The writer has nothing else to do.
    assert!(piece().now_or_never().is_none(), "handed over");
    // The writer is at another one, which could share its transaction.
    let held = Held::new(store, COUNT).await;
    for _ in 0..3 {
        assert!(piece().now_or_never().is_none());
    }
    held.let_go().await.unwrap();
    // The writer waits for the lock of another process.
    let mut other = app.db().await;
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    let left = join_all((0..3).map(|_| timeout(Duration::from_millis(100), piece()))).await;
    assert!(left.iter().all(Result::is_err));
    other.execute("ROLLBACK").await.unwrap();
    // It has its turn after all of them.
    write(store, COUNT).await.unwrap();
    assert_eq!(begun.load(Ordering::Relaxed), 0);
    assert_eq!(writes(&app).await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_closed_has_written_what_it_acknowledged() {
    for many in [1, 5, 20, 20, 20] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("test.db");
        let store = Store::open(&path).await.unwrap();
        let held = Held::new(&store, COUNT).await;
        // Each hands over one after the other until it is refused.
        let writers: JoinSet<usize> = (0..many)
            .map(|_| {
                let store = store.clone();
                async move {
                    let mut written = 0;
                    loop {
                        match write(&store, COUNT).await {
                            Ok(()) => written += 1,
                            Err(error) => {
                                assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
                                return written;
                            }
                        }
                    }
                }
            })
            .collect();
        let ((), held) = timeout(HANGS, join(store.close(), held.let_go())).await.unwrap();
        held.unwrap();
        let written: usize = timeout(HANGS, writers.join_all()).await.unwrap().into_iter().sum();
        let mut db = SqliteConnection::connect(&format!("sqlite://{}", path.display())).await.unwrap();
        let stored: i64 = sqlx::query_scalar("SELECT writes FROM probe").fetch_one(&mut db).await.unwrap();
        assert_eq!(usize::try_from(stored).unwrap(), 1 + written);
    }
}
