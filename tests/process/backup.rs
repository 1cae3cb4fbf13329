//! Copies of the database: by command, and before a migration.

use std::{
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::Value;
use sqlx::{ConnectOptions, Connection, migrate::Migrator, sqlite::SqliteConnectOptions};

use super::{
    database::{column, execute, integrity},
    program::{PASSWORD, SECRET_KEY, Server, command, eventually, run, text},
};

/// What is in a folder, but for the log and the output of a server.
fn files(folder: &Path) -> Vec<String> {
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name != "log" && name != "out").collect();
    names.sort();
    names
}

/// Puts a backup into a folder of its own, where a server would have its database.
fn restored(backup: &Path) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(backup, folder.path().join("hallpass.db")).unwrap();
    folder
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_under_load_has_every_write_that_was_acknowledged_before_it() {
    let server = Arc::new(Server::start(&[("LOG", "error")]));
    server.register("john").await;
    let pair = server.tokens("john").await;
    // In the server: a rotation after the other. In another process: statements.
    let is_over = Arc::new(AtomicBool::new(false));
    let rotations = {
        let (server, is_over) = (server.clone(), is_over.clone());
        tokio::spawn(async move {
            let (mut refresh, mut count) = (pair.refresh, 0);
            while !is_over.load(Ordering::Relaxed) {
                refresh = server.renew(&refresh).await.refresh;
                count += 1;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            count
        })
    };
    let writes = {
        let (folder, is_over) = (server.folder.path().to_owned(), is_over.clone());
        tokio::spawn(async move {
            let options = SqliteConnectOptions::new().filename(folder.join("hallpass.db"));
            let mut conn = options.busy_timeout(Duration::from_secs(10)).connect().await.unwrap();
            let mut count = 0;
            while !is_over.load(Ordering::Relaxed) {
                sqlx::query("UPDATE probe SET writes = writes + 1").execute(&mut conn).await.unwrap();
                count += 1;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            conn.close().await.unwrap();
            count
        })
    };
    tokio::time::sleep(Duration::from_millis(300)).await;
    for round in 0..5 {
        let probe = "SELECT CAST((SELECT writes FROM probe) AS TEXT)";
        let name = format!("user{round}");
        server.register(&name).await;
        let written = column(server.folder.path(), probe).await[0].parse::<u64>().unwrap();
        let file = format!("backup{round}.db");
        let printed: Value = serde_json::from_str(&server.prints(&["backup", &file, "--json"])).unwrap();
        assert_eq!(printed["rows"]["users"], round + 2);
        let file = server.folder.path().join(file);
        let metadata = std::fs::metadata(&file).unwrap();
        assert_eq!((metadata.permissions().mode() & 0o777, &printed["bytes"]), (0o600, &metadata.len().into()));
        let folder = restored(&file);
        assert_eq!(integrity(folder.path()).await, "ok");
        assert!(column(folder.path(), probe).await[0].parse::<u64>().unwrap() >= written);
        let restored = Server::start_in(folder, &["serve"], &[("LOG", "error")]);
        assert_eq!(restored.login(&name, PASSWORD).await.0, 200);
    }
    is_over.store(true, Ordering::Relaxed);
    let (rotations, writes) = (rotations.await.unwrap(), writes.await.unwrap());
    assert!(rotations > 20 && writes > 20, "{rotations} rotations, {writes} writes: no load");
}

/// What the page of OPERATIONS says to do.
#[tokio::test]
async fn what_was_ended_since_the_backup_stays_so_if_all_sessions_are_ended_after_it_was_put_back() {
    let mut server = Server::start(&[]);
    server.register("john").await;
    let (ended, refreshed) = (server.tokens("john").await, server.tokens("john").await);
    server.prints(&["backup", "copy.db"]);
    assert_eq!(server.logout(&ended.access).await, 204);
    let newer = server.renew(&refreshed.refresh).await;
    server.stop();
    let folder = server.folder.path();
    for name in ["hallpass.db", "hallpass.db-wal", "hallpass.db-shm"] {
        let _ = std::fs::remove_file(folder.join(name));
    }
    std::fs::rename(folder.join("copy.db"), folder.join("hallpass.db")).unwrap();
    server.prints(&["session", "end", "--all"]);
    server.begin(&[]);
    for pair in [&ended, &refreshed, &newer] {
        assert_eq!(server.me(&pair.access).await, (401, "session_ended".to_owned()));
        assert_eq!(server.refresh_refused(&pair.refresh).await.0, 401);
    }
    server.tokens("john").await;
}

#[tokio::test]
async fn every_table_is_counted() {
    let server = Server::start(&[]);
    let printed: Value = serde_json::from_str(&server.prints(&["backup", "copy.db", "--json"])).unwrap();
    let query = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'
                   AND name NOT IN ('_sqlx_migrations', 'probe') ORDER BY name";
    let mut counted: Vec<&str> = printed["rows"].as_object().unwrap().keys().map(String::as_str).collect();
    counted.sort_unstable();
    assert_eq!(counted, column(server.folder.path(), query).await);
    let line = run(server.folder.path(), &["backup", "again.db"], &[("LOG", "error")], "");
    let line = text(&line.stdout);
    assert!(line.starts_with("again.db  ") && line.contains("verified") && line.contains("users 0"), "{line}");
}

#[tokio::test]
async fn a_backup_is_made_whole_or_not_at_all_and_writes_over_nothing() {
    let mut server = Server::start(&[]);
    fill(server.folder.path(), 5_000).await;
    server.stop();
    let folder = server.folder.path();
    std::fs::write(folder.join("mine"), "what I need").unwrap();
    std::os::unix::fs::symlink("nowhere", folder.join("link")).unwrap();
    std::fs::create_dir(folder.join("folder")).unwrap();
    let before = files(folder);
    let environment = [("LOG", "error")];
    for (to, why) in [
        ("mine", "is there already"),
        ("hallpass.db", "is there already"),
        ("link", "is there already"),
        ("folder", "is there already"),
        ("none/copy.db", "No such file"),
        ("/proc/copy.db", "cannot write"),
    ] {
        let output = run(folder, &["backup", to], &environment, "");
        assert_eq!(output.status.code(), Some(1), "{to}");
        assert!(text(&output.stderr).contains(why), "{to}: {}", text(&output.stderr));
    }
    assert_eq!(std::fs::read(folder.join("mine")).unwrap(), b"what I need");
    let elsewhere = run(folder, &["backup", "copy.db"], &[("DATABASE_URL", "sqlite://mistyped.db")], "");
    assert!(text(&elsewhere.stderr).contains("there is no database mistyped.db"));

    // Sessions of nobody: whatever SQLite does not see to is found in the copy.
    let stray = "INSERT INTO sessions (id, user_id, salt, generation, rotated_at, secret_id, created_at, last_used_at,
                                       refresh_expires_at, expires_at, ip)
                 VALUES ('x', 'nobody', x'00', 0, 0, 'x', 0, 0, 0, 0, 'x')";
    let options = SqliteConnectOptions::new().filename(folder.join("hallpass.db")).foreign_keys(false);
    let mut conn = options.connect().await.unwrap();
    sqlx::query(stray).execute(&mut conn).await.unwrap();
    conn.close().await.unwrap();
    let output = run(folder, &["backup", "copy.db"], &environment, "");
    assert!(text(&output.stderr).contains("1 rows belong to rows that are not there"), "{}", text(&output.stderr));
    let leftovers = |folder: &Path| -> Vec<String> {
        files(folder).into_iter().filter(|name| !before.contains(name) && !name.starts_with("hallpass.db-")).collect()
    };
    assert_eq!(leftovers(folder), Vec::<String>::new());

    // And what cannot be read is not copied.
    let path = folder.join("hallpass.db");
    let mut bytes = std::fs::read(&path).unwrap();
    let end = bytes.len();
    bytes[end / 3..end * 2 / 3].fill(0xa5);
    std::fs::write(&path, bytes).unwrap();
    let output = run(folder, &["backup", "copy.db"], &environment, "");
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stdout));
    assert_eq!(leftovers(folder), Vec::<String>::new());
}

#[tokio::test]
async fn a_backup_that_is_broken_off_leaves_nothing_and_one_that_is_killed_is_cleared_away() {
    let mut server = Server::start(&[]);
    fill(server.folder.path(), 200_000).await;
    server.stop();
    let folder = server.folder.path();
    let begin = || {
        let mut backup = command(folder, &["backup", "copy.db"]);
        backup.env("SECRET_KEY", SECRET_KEY).env("LOG", "error").stdout(Stdio::null()).stderr(Stdio::null());
        backup.spawn().unwrap()
    };
    let is_under_way = || files(folder).iter().any(|name| name.starts_with("copy.db.draft-"));
    for (signal, is_cleared) in [("TERM", true), ("INT", true), ("KILL", false)] {
        let mut child = begin();
        eventually("it is under way", async || is_under_way()).await;
        let kill = format!("kill -s {signal} {}", child.id());
        assert!(std::process::Command::new("sh").args(["-c", &kill]).status().unwrap().success());
        assert!(!child.wait().unwrap().success(), "{signal}: it was done before");
        assert!(!folder.join("copy.db").exists(), "{signal}");
        assert_eq!(!is_under_way(), is_cleared, "{signal}: {:?}", files(folder));
    }
    assert!(begin().wait().unwrap().success());
    assert!(folder.join("copy.db").exists() && !is_under_way(), "{:?}", files(folder));
}

/// The schema as it was after this migration, with data.
async fn old(folder: &Path, version: i64, users: u32) {
    let path = folder.join("hallpass.db");
    let all: Migrator = sqlx::migrate!();
    let migrations = all.iter().filter(|known| known.version <= version).cloned().collect();
    let mut conn = SqliteConnectOptions::new().filename(&path).create_if_missing(true).connect().await.unwrap();
    Migrator::with_migrations(migrations).run(&mut conn).await.unwrap();
    conn.close().await.unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    fill(folder, users).await;
}

/// Makes accounts that nobody can log in to.
async fn fill(folder: &Path, users: u32) {
    let statement = format!(
        "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {users})
         INSERT INTO users (id, username, username_key, roles, created_at)
         SELECT printf('01a20a9e-9a00-7d78-9d2e-%012d', n), 'u' || n, 'u' || n, 'user', 1795424400 FROM n"
    );
    execute(folder, &statement, users.into()).await;
}

const USERS: &str = "SELECT CAST((SELECT COUNT(*) FROM users) AS TEXT)";
const NEWEST: &str = "SELECT CAST((SELECT MAX(version) FROM _sqlx_migrations) AS TEXT)";

#[tokio::test]
async fn a_copy_is_kept_before_a_migration_and_none_without_one() {
    let folder = tempfile::tempdir().unwrap();
    old(folder.path(), 3, 7).await;
    let mut server = Server::start_in(folder, &["serve"], &[]);
    server.register("john").await;
    let kept = server.folder.path().join("hallpass.db.before-4");
    assert!(server.log().contains(r#""event":"database_copied","file":"hallpass.db.before-4""#), "{}", server.log());
    assert_eq!(std::fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600);
    let before = std::fs::read(&kept).unwrap();
    server.restart(&[]);
    let copies = |folder: &Path| -> Vec<String> {
        files(folder).into_iter().filter(|name| name.contains("before") || name.contains("draft")).collect()
    };
    assert_eq!(copies(server.folder.path()), ["hallpass.db.before-4"]);
    assert_eq!(std::fs::read(&kept).unwrap(), before);
    // It is how it was, and starts again.
    let folder = restored(&kept);
    assert_eq!(
        (column(folder.path(), USERS).await, column(folder.path(), NEWEST).await),
        (vec!["7".into()], vec!["3".into()])
    );
    let again = Server::start_in(folder, &["serve"], &[]);
    again.register("john").await;
    // Who starts with nothing has nothing to keep.
    assert_eq!(copies(Server::start(&[]).folder.path()), Vec::<String>::new());
}

#[tokio::test]
async fn many_that_start_at_once_keep_one_copy_of_how_it_was() {
    for _ in 0..5 {
        let folder = tempfile::tempdir().unwrap();
        old(folder.path(), 3, 5_000).await;
        let list = || {
            let mut list = command(folder.path(), &["user", "show", "u1"]);
            list.env("SECRET_KEY", SECRET_KEY).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
        };
        let children: Vec<_> = (0..4).map(|_| list()).collect();
        for child in children {
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{}", text(&output.stderr));
        }
        let kept = restored(&folder.path().join("hallpass.db.before-4"));
        assert_eq!(column(kept.path(), NEWEST).await, ["3"], "it was copied after the migration");
        assert!(!files(folder.path()).iter().any(|name| name.contains("draft")), "{:?}", files(folder.path()));
    }
}

#[tokio::test]
async fn a_disk_that_is_full_refuses_the_start_and_the_database_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    old(folder.path(), 3, 20_000).await;
    let path = folder.path().join("hallpass.db");
    // A second one does not fit.
    let (before, names) = (std::fs::read(&path).unwrap(), files(folder.path()));
    let script = "trap '' XFSZ; ulimit -S -f 800; exec \"$0\" serve";
    let mut serve = std::process::Command::new("sh");
    serve.args(["-c", script, env!("CARGO_BIN_EXE_hallpass")]).current_dir(folder.path()).env_clear();
    let output = serve.env("SECRET_KEY", SECRET_KEY).output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("cannot change the schema of hallpass.db without a copy of it"), "{said}");
    assert!(said.contains("It was left as it is"), "{said}");
    assert!(std::fs::read(&path).unwrap() == before, "the database was changed");
    let left: Vec<String> = files(folder.path()).into_iter().filter(|name| !names.contains(name)).collect();
    assert!(left.iter().all(|name| name.starts_with("hallpass.db-")), "{left:?}");
    Server::start_in(folder, &["serve"], &[]).register("john").await;
}

fn rounds() -> u32 {
    std::env::var("HALLPASS_ROUNDS").map_or(20, |rounds| rounds.parse().unwrap())
}

#[tokio::test]
async fn a_kill_at_any_moment_of_a_migration_leaves_a_database_that_starts() {
    let start = |folder: &Path| {
        let mut show = command(folder, &["user", "show", "u1"]);
        show.env("SECRET_KEY", SECRET_KEY).env("LOG", "error").stdout(Stdio::null()).stderr(Stdio::piped());
        show.spawn().unwrap()
    };
    let original = tempfile::tempdir().unwrap();
    old(original.path(), 3, 30_000).await;
    let whole = restored(&original.path().join("hallpass.db"));
    let begun = Instant::now();
    assert!(start(whole.path()).wait().unwrap().success());
    let span = begun.elapsed() * 3 / 2;
    let (mut killed, mut migrated) = (0, 0);
    for round in 0..rounds() {
        let folder = restored(&original.path().join("hallpass.db"));
        // Twice: what the first leaves is in the way of the second.
        for part in [round * 37 % 100, round * 61 % 100] {
            let mut child = start(folder.path());
            // At any moment, or a little after it began to copy, or after it had copied.
            let is_sign = |name: &String| match part % 3 {
                0 => true,
                1 => name.contains("draft"),
                _ => name.ends_with("before-4"),
            };
            let has_begun = || files(folder.path()).iter().any(is_sign);
            while !has_begun() && child.try_wait().unwrap().is_none() {
                std::thread::sleep(Duration::from_millis(1));
            }
            std::thread::sleep(if part % 3 == 0 { span } else { span / 10 } * part / 100);
            let _ = child.kill();
            killed += u32::from(!child.wait().unwrap().success());
        }
        assert_eq!(integrity(folder.path()).await, "ok", "{round}");
        migrated += u32::from(column(folder.path(), NEWEST).await != ["3"]);
        let output = start(folder.path()).wait_with_output().unwrap();
        assert!(output.status.success(), "{round}: {}", text(&output.stderr));
        assert_eq!(column(folder.path(), USERS).await, ["30000"]);
        let kept = restored(&folder.path().join("hallpass.db.before-4"));
        let found = (column(kept.path(), USERS).await, column(kept.path(), NEWEST).await);
        assert_eq!(found, (vec!["30000".to_owned()], vec!["3".to_owned()]), "{round}");
        assert!(!files(folder.path()).iter().any(|name| name.contains("draft")), "{:?}", files(folder.path()));
    }
    eprintln!("starts that were killed: {killed}; databases that were migrated then: {migrated} of {}", rounds());
    assert!(killed > rounds() / 2, "they were over before");
}
