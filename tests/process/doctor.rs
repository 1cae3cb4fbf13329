//! What `hallpass doctor` finds, and that it changes nothing.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::Path,
};

use serde_json::Value;

use super::{
    database::execute,
    program::{SECRET_KEY, Server, finish, free_port, run, text, without_rights},
    secrets::OTHER,
};

/// The exit status, and each finding as `state check: found -> remedy`.
fn examine(folder: &Path, settings: &[(&str, &str)]) -> (i32, Vec<String>) {
    // Whoever else runs on this machine may have the usual port.
    let port = free_port().to_string();
    let settings = [&[("PORT", port.as_str())], settings].concat();
    let output = run(folder, &["doctor", "--json"], &settings, "");
    let findings: Vec<Value> =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr)));
    let line = |finding: &Value| {
        let [state, check, found] = ["state", "check", "found"].map(|name| finding[name].as_str().unwrap());
        // Whoever is told that something is wrong is told what to do.
        assert_eq!(finding["remedy"].is_null(), state == "ok", "{finding}");
        format!("{state} {check}: {found} -> {}", finding["remedy"].as_str().unwrap_or_default())
    };
    (output.status.code().unwrap(), findings.iter().map(line).collect())
}

/// Asserts that one line has all of these words, and how it ends.
#[track_caller]
fn finds(folder: &Path, settings: &[(&str, &str)], code: i32, state: &str, words: &[&str]) {
    let (found_code, lines) = examine(folder, settings);
    let has = |line: &String| line.starts_with(state) && words.iter().all(|word| line.contains(word));
    assert!(lines.iter().any(has), "{state} {words:?}: {lines:#?}");
    assert_eq!(found_code, code, "{lines:#?}");
}

/// Every file, what is in it and when it was changed.
fn contents(folder: &Path) -> Vec<(String, Vec<u8>, std::time::SystemTime)> {
    let mut all: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let bytes = std::fs::read(entry.path()).unwrap();
            (entry.file_name().into_string().unwrap(), bytes, entry.metadata().unwrap().modified().unwrap())
        })
        .collect();
    all.sort();
    all
}

#[tokio::test]
async fn it_finds_nothing_to_mend_beside_a_server_and_without_one_and_changes_nothing() {
    let mut server = Server::start(&[("ALGORITHM", "EdDSA")]);
    server.register("john").await;
    let (code, lines) = examine(server.folder.path(), &[("ALGORITHM", "EdDSA")]);
    assert_eq!(code, 0, "{lines:#?}");
    for line in ["ok database: whole, 1 accounts", "ok schema", "ok keys", "ok clock", "ok addresses", "ok permissions"]
    {
        assert!(lines.iter().any(|found| found.starts_with(line)), "{line}: {lines:#?}");
    }
    server.login("john", "wrong").await;
    server.stop();
    let before = contents(server.folder.path());
    assert_eq!(examine(server.folder.path(), &[("ALGORITHM", "EdDSA")]).0, 0);
    assert!(contents(server.folder.path()) == before, "something was changed");

    let port = server.port.to_string();
    let settings = [("PUBLIC_URL", "http://login.example.com"), ("PORT", &port)];
    let output = run(server.folder.path(), &["doctor"], &settings, "");
    let said = text(&output.stdout);
    assert!(output.status.success(), "a warning is no failure");
    assert!(said.lines().all(|line| ["ok    ", "warn  "].iter().any(|state| line.starts_with(state))), "{said}");
    let line = said.lines().find(|line| line.contains("addresses")).unwrap();
    assert!(line.contains("can be read on the way -> terminate TLS"), "{said}");
}

#[tokio::test]
async fn settings_that_cannot_be_used_or_are_not_meant_are_named() {
    let folder = tempfile::tempdir().unwrap();
    finds(folder.path(), &[("PORT", "http")], 1, "fail settings", &["PORT: takes a whole number"]);
    let open = format!("0.0.0.0:{}", free_port());
    for (settings, code, state, words) in [
        (vec![("RATE_LIMITS", "off")], 0, "warn settings", &["RATE_LIMITS"][..]),
        (vec![("PUBLIC_URL", "https://login.example.com")], 0, "warn addresses", &["TRUSTED_PROXIES is empty"]),
        (vec![("TRUSTED_PROXIES", "0.0.0.0/0")], 1, "fail addresses", &["0.0.0.0/0", "claim any address"]),
        (vec![("TRUSTED_PROXIES", "::/0")], 1, "fail addresses", &["::/0", "claim any address"]),
        (vec![("TRUSTED_PROXIES", "fd00::/8,10.0.0.0/8")], 0, "ok addresses", &[]),
        (
            vec![("HOST", "0.0.0.0"), ("PUBLIC_URL", "http://localhost:8000")],
            0,
            "warn addresses",
            &["links and tokens"],
        ),
        (
            vec![("HOST", "0.0.0.0"), ("PUBLIC_URL", "https://a.example"), ("TRUSTED_PROXIES", "10.0.0.1")],
            0,
            "warn addresses",
            &["go past the proxy"],
        ),
        (
            vec![("PORT", "8000"), ("METRICS_ADDR", "127.0.0.1:8000")],
            1,
            "fail addresses",
            &["where the server listens"],
        ),
        (vec![("METRICS_ADDR", &open)], 0, "warn addresses", &["reads the metrics"]),
        (vec![("HASH_THREADS", "1024"), ("ARGON2_MEMORY_KIB", "4194304")], 1, "fail memory", &["4194304 MiB"]),
    ] {
        finds(folder.path(), &settings, code, state, words);
    }
    assert!(!folder.path().join("hallpass.db").exists());
    std::fs::write(folder.path().join(".env"), "PORT=8000\n").unwrap();
    std::fs::set_permissions(folder.path().join(".env"), PermissionsExt::from_mode(0o644)).unwrap();
    finds(folder.path(), &[], 0, "warn settings", &[".env can be read by others", "chmod 600 .env"]);
}

#[tokio::test]
async fn a_database_that_is_missing_damaged_or_not_ours_is_told_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hallpass.db");
    finds(folder.path(), &[], 0, "warn database", &["there is none at hallpass.db", "`hallpass serve` makes it"]);
    assert!(!path.exists());
    std::fs::write(&path, "no database").unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    finds(folder.path(), &[], 1, "fail database", &["cannot read the database", "restore a backup"]);
    assert_eq!(std::fs::read(&path).unwrap(), b"no database");
    std::fs::remove_file(&path).unwrap();

    let mut server = Server::start_in(folder, &["serve"], &[]);
    server.register("john").await;
    server.stop();
    let (path, folder) = (server.folder.path().join("hallpass.db"), server.folder.path());
    let whole = std::fs::read(&path).unwrap();
    // An index: a start does not need it.
    let mut bytes = whole.clone();
    let end = bytes.len();
    bytes[end - 4_096..].fill(0xa5);
    std::fs::write(&path, &bytes).unwrap();
    finds(folder, &[], 1, "fail database", &["restore a backup"]);
    std::fs::write(&path, &whole).unwrap();

    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
    finds(folder, &[], 1, "fail permissions", &["has mode 644", "chmod 600 hallpass.db"]);
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    std::fs::set_permissions(folder, PermissionsExt::from_mode(0o777)).unwrap();
    finds(folder, &[], 1, "fail permissions", &["others can replace", "chmod go-w"]);
    std::fs::set_permissions(folder, PermissionsExt::from_mode(0o700)).unwrap();

    execute(folder, "DELETE FROM _sqlx_migrations WHERE version = (SELECT MAX(version) FROM _sqlx_migrations)", 1)
        .await;
    finds(folder, &[], 0, "warn schema", &["1 migrations are to be applied", "keeps a copy"]);
    let later = "INSERT INTO _sqlx_migrations VALUES (9999, 'later', '2026-11-24', 1, x'00', 0)";
    execute(folder, later, 1).await;
    finds(folder, &[], 1, "fail database", &["9999", "run the version that wrote it"]);
}

#[tokio::test]
async fn a_secret_or_keys_that_do_not_fit_are_told() {
    let ed = ("ALGORITHM", "EdDSA");
    let mut server = Server::start(&[ed]);
    server.register("john").await;
    server.tokens("john").await;
    server.stop();
    let folder = server.folder.path();
    finds(folder, &[ed], 0, "ok keys", &["signs with EdDSA"]);
    finds(
        folder,
        &[ed, ("SECRET_KEY", OTHER)],
        1,
        "fail keys",
        &["SECRET_KEY is not the one", "put the right one back"],
    );
    let replacing = [ed, ("SECRET_KEY", OTHER), ("SECRET_KEY_PREVIOUS", SECRET_KEY)];
    finds(folder, &replacing, 0, "warn keys", &["SECRET_KEY is a new one", "start the server"]);
    finds(folder, &[ed, ("SECRET_KEY_PREVIOUS", OTHER)], 0, "warn keys", &["no session needs it any more"]);
    finds(folder, &[("ALGORITHM", "ES256")], 0, "warn keys", &["EdDSA signs, and ALGORITHM is ES256"]);
    let by_a_day = |sign| {
        format!(
            "UPDATE signing_keys SET created_at = created_at {sign} 86400, activates_at = activates_at {sign} 86400"
        )
    };
    execute(folder, &by_a_day("+"), 1).await;
    finds(folder, &[ed], 0, "warn keys", &["later than now", "set the clock right"]);
    execute(folder, &by_a_day("-"), 1).await;
    execute(folder, "UPDATE signing_keys SET activates_at = activates_at - 100 * 86400", 1).await;
    finds(folder, &[ed], 0, "warn keys", &["came of age", "hallpass keys rotate"]);
    execute(folder, "UPDATE users SET created_at = created_at + 86400", 1).await;
    finds(folder, &[ed], 1, "fail clock", &["was noted at", "set it"]);
    execute(folder, "UPDATE users SET created_at = created_at - 86400", 1).await;
    execute(folder, "UPDATE signing_keys SET sealed = x'00'", 1).await;
    finds(folder, &[ed], 1, "fail keys", &["cannot be read", "restore a backup"]);
}

/// A mail server that says `greeting`, then 250 to everything but these, each answered so. What it was told.
fn mail_server(
    greeting: &'static str,
    answers: &'static [(&str, &str)],
) -> (u16, std::thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        write!(stream, "{greeting}\r\n").unwrap();
        let mut told = Vec::new();
        for line in BufReader::new(stream.try_clone().unwrap()).lines() {
            let Ok(line) = line else { break };
            let answer = answers.iter().find(|(verb, _)| line.starts_with(verb)).map_or("250 ok", |(_, answer)| answer);
            told.push(line);
            if write!(stream, "{answer}\r\n").is_err() {
                break;
            }
        }
        told
    });
    (port, thread)
}

#[tokio::test]
async fn who_listens_where_the_server_is_to_listen_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let port = |port: u16| vec![("PORT", port.to_string())];
    let finds = |settings: &[(&str, String)], code, state, words: &[&str]| {
        let settings: Vec<_> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
        finds(folder.path(), &settings, code, state, words);
    };
    let free = free_port();
    finds(&port(free), 0, "ok port", &[&format!("127.0.0.1:{free} is free")]);

    let metrics = format!("127.0.0.1:{}", free_port());
    let server = Server::start(&[("METRICS_ADDR", &metrics), ("LOG", "error")]);
    finds(&port(server.port), 0, "ok port", &["Hallpass listens on", &server.port.to_string()]);
    finds(&[("METRICS_ADDR", metrics.clone())], 0, "ok port", &["Hallpass listens on", &metrics]);
    // The other way round it is no metrics that answer there.
    let swapped = [("METRICS_ADDR", format!("127.0.0.1:{}", server.port))];
    finds(&swapped, 1, "fail port", &["hallpass (", "process", "change METRICS_ADDR"]);

    // Somebody who says nothing, and somebody who says something else.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let me = format!("(process {})", std::process::id());
    let silent_port = silent.local_addr().unwrap().port();
    finds(&port(silent_port), 1, "fail port", &[&me, "change HOST and PORT"]);
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let other_port = other.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in other.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 1_024]);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    finds(&port(other_port), 1, "fail port", &[&me, "listens on"]);
    // An address of the documentation (RFC 5737), which no machine has.
    let elsewhere = [("HOST", "192.0.2.1".to_owned()), ("PUBLIC_URL", "http://login.example.com".to_owned())];
    finds(&elsewhere, 1, "fail port", &["192.0.2.1", "is no address of this machine", "0.0.0.0 for all"]);
    assert!(!folder.path().join("hallpass.db").exists());
}

#[tokio::test]
#[ignore = "needs setpriv; make interop runs it"]
async fn the_server_of_the_same_user_is_found_though_it_hides_its_files() {
    let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
    std::fs::copy(env!("CARGO_BIN_EXE_hallpass"), folder.path().join("hallpass")).unwrap();
    let command = || {
        let mut command = without_rights(folder.path());
        command.env("SECRET_KEY", SECRET_KEY).env("PORT", port.to_string());
        command
    };
    let mut serve = command();
    serve.arg("serve");
    let place = tempfile::tempdir().unwrap();
    let examine = || {
        let output = finish(command().args(["doctor", "--json"]), "");
        text(&output.stdout)
    };
    let said = examine();
    assert!(said.contains("is free") && said.contains("MiB that this command may have"), "{said}");
    let server = Server::spawn(serve, place, port);
    let hidden = server.of_proc("status").lines().any(|line| line.starts_with("Uid:") && !line.contains("\t0\t"));
    assert!(hidden, "the test needs another user than root");
    let said = examine();
    assert!(said.contains("Hallpass listens on") && said.contains("MiB that the server may have"), "{said}");
    // It does not answer in time.
    server.signal("STOP");
    let said = examine();
    server.signal("CONT");
    assert!(said.contains("hallpass (") && said.contains(&server.id().to_string()), "{said}");
    assert!(said.contains("MiB that the server may have"), "{said}");
}

#[tokio::test]
async fn the_disk_the_room_and_the_number_of_files_are_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let (_, lines) = examine(folder.path(), &[]);
    for check in [" disk: ", " room: ", " files: ", " memory: "] {
        assert!(lines.iter().any(|line| line.contains(check)), "{check}: {lines:#?}");
    }
    // What systems with shared memory have.
    if let Ok(memory) = tempfile::tempdir_in("/dev/shm") {
        finds(memory.path(), &[], 0, "warn disk", &["is in memory", "move the database to a disk"]);
    }
    let limited = |limit: &str| {
        let mut command = std::process::Command::new("sh");
        let script = format!("{limit}; exec \"$0\" doctor --json");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_hallpass")]).current_dir(folder.path()).env_clear();
        let output = command.env("SECRET_KEY", SECRET_KEY).env("PORT", free_port().to_string()).output().unwrap();
        assert!(output.status.success(), "a warning is no failure: {}", text(&output.stderr));
        text(&output.stdout)
    };
    let said = limited("ulimit -n 200");
    assert!(said.contains("may have 200 files open") && said.contains("LimitNOFILE=4160"), "{said}");
    // The server raises the one that is not hard.
    let said = limited("ulimit -Sn 200");
    assert!(said.contains("a process may have") && !said.contains("may have 200 "), "{said}");
}

#[tokio::test]
async fn files_beside_the_database_are_for_its_owner_alone_too() {
    let server = Server::start(&[("LOG", "error")]);
    server.register("john").await;
    for file in ["hallpass.db-wal", "hallpass.db-shm"] {
        let path = server.folder.path().join(file);
        let mode = |mode| std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        mode(0o640);
        finds(server.folder.path(), &[], 1, "fail permissions", &[file, "has mode 640", "chmod 600"]);
        mode(0o600);
    }
    finds(server.folder.path(), &[], 0, "ok permissions", &[]);
}

#[tokio::test]
async fn the_mail_server_is_tried_and_nothing_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let from = ("MAIL_FROM", "Hallpass <login@example.com>");
    finds(folder.path(), &[], 0, "warn mail", &["no mail is sent", "set SMTP_URL"]);
    for (greeting, answers, code, state, words) in [
        (
            "220 hello",
            &[("EHLO", "250-hello\r\n250 AUTH PLAIN LOGIN"), ("AUTH", "235 welcome")][..],
            0,
            "ok mail",
            &["lets us in"][..],
        ),
        (
            "220 hello",
            &[("EHLO", "250-hello\r\n250 AUTH PLAIN LOGIN"), ("AUTH", "535 \u{1b}[31mcanary")],
            1,
            "fail mail",
            &["cannot be used", "535", "the password in SMTP_URL"],
        ),
        ("554 go away", &[], 1, "fail mail", &["cannot be used"]),
    ] {
        let (port, thread) = mail_server(greeting, answers);
        let url = format!("smtp://me:hidden-canary@127.0.0.1:{port}");
        finds(folder.path(), &[("SMTP_URL", &url), from], code, state, words);
        let told = thread.join().unwrap();
        assert!(!told.iter().any(|line| line.starts_with("MAIL") || line.starts_with("DATA")), "{told:?}");
    }
    std::fs::create_dir_all(folder.path().join("own/mail")).unwrap();
    std::fs::write(folder.path().join("own/mail/verify.txt"), "{{ link").unwrap();
    finds(folder.path(), &[("MAIL_TEMPLATES", "own")], 1, "fail templates", &["mail/verify.txt, line 1", "mend it"]);
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("smtp://me:hidden-canary@127.0.0.1:{closed}");
    finds(folder.path(), &[("SMTP_URL", &url), from], 1, "fail mail", &["cannot be used", "can be reached"]);
    let output = run(folder.path(), &["doctor"], &[("SMTP_URL", &url), from], "");
    let all = text(&output.stdout) + &text(&output.stderr);
    assert!(!all.contains("hidden-canary") && !all.contains(SECRET_KEY) && !all.contains('\u{1b}'), "{all}");
}

#[test]
#[ignore = "needs libfaketime; make interop runs it"]
fn a_clock_of_before_the_program_was_made_is_told_and_refuses_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let library = ["x86_64", "aarch64"].map(|arch| format!("/usr/lib/{arch}-linux-gnu/faketime/libfaketimeMT.so.1"));
    let library = library.iter().find(|path| Path::new(path).exists()).unwrap();
    let fake = [("LD_PRELOAD", library.as_str()), ("FAKETIME", "@2001-01-01 00:00:00")];
    finds(folder.path(), &fake, 1, "fail clock", &["2001-01-01", "before this program was made", "set it"]);
    let output = run(folder.path(), &["serve"], &fake, "");
    let said = text(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("before this program was made"), "{said}");
    assert!(!folder.path().join("hallpass.db").exists());
}
