//! Settings, starting, and ending.

use std::{
    io::Write,
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    time::Duration,
};

use serde_json::json;

use super::program::{PASSWORD, SECRET_KEY, Server, command, eventually, limited, read_all, run, text, without_rights};

#[tokio::test]
async fn without_a_secret_it_says_how_to_make_one() {
    let folder = tempfile::tempdir().unwrap();
    let output = command(folder.path(), &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let complaint = text(&output.stderr);
    assert!(complaint.contains("SECRET_KEY: is required; run `hallpass secret` to make one"), "{complaint}");
    assert!(!folder.path().join("hallpass.db").exists());
}

#[test]
fn every_mistake_is_named_at_once_and_no_secret_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let weak = "canary-canary-canary-canary-canary-canary-";
    let settings =
        [("SECRET_KEY", weak), ("PORT", "http"), ("HOST", "0.0.0.0"), ("ARGON2_MEMORY_KIB", "1024"), ("LOG", "loud")];
    let output = run(folder.path(), &["serve"], &settings, "");
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(1), String::new()));
    let complaint = text(&output.stderr);
    for name in ["SECRET_KEY", "PORT", "PUBLIC_URL", "ARGON2_MEMORY_KIB", "LOG"] {
        assert!(complaint.contains(&format!("\n  {name}: ")), "{complaint}");
    }
    assert!(!complaint.contains("canary"), "{complaint}");
}

#[test]
fn the_file_of_settings_is_read_and_the_environment_goes_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let dotenv = folder.path().join(".env");
    let config = |environment: &[(&str, &str)]| {
        let output = command(folder.path(), &["config"]).envs(environment.iter().copied()).output().unwrap();
        (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    };
    std::fs::write(
        &dotenv,
        format!("# a comment\nSECRET_KEY='{SECRET_KEY}'\nPORT=8123\nSMTP_FROM='Hallpass <a@b.c>'\n"),
    )
    .unwrap();
    let (code, out, _) = config(&[("HOST", "::1"), ("PASSWORD_MIN_LENGTH", "")]);
    assert_eq!(code, 0);
    for line in
        ["SECRET_KEY=********", "PORT=8123", "HOST=::1", "PUBLIC_URL=http://[::1]:8123", "PASSWORD_MIN_LENGTH=15"]
    {
        assert!(out.lines().any(|found| found == line), "{out}");
    }
    assert!(config(&[("PORT", "8124")]).1.contains("PORT=8124"));
    assert!(config(&[("SECRET_KEY", "")]).1.contains("PORT=8123"), "an empty variable hides nothing");
    let unreadable = std::ffi::OsStr::from_bytes(b"\xff");
    let output = command(folder.path(), &["config"]).env("DATABASE_URL", unreadable).output().unwrap();
    assert!(text(&output.stderr).contains("DATABASE_URL: is not UTF-8"));

    std::fs::write(&dotenv, format!("SECRET_KEYS='{SECRET_KEY}'\n")).unwrap();
    let (code, _, complaint) = config(&[("SECRET_KEY", SECRET_KEY)]);
    assert_eq!(code, 1);
    assert!(complaint.contains("SECRET_KEYS: is no setting; did you mean SECRET_KEY?"), "{complaint}");

    std::fs::write(&dotenv, format!("SECRET_KEY={SECRET_KEY} canary line\n")).unwrap();
    let (code, _, complaint) = config(&[]);
    assert_eq!(code, 1);
    assert!(complaint.contains("1 setting cannot be used:\n  .env: has a line"), "{complaint}");
    assert!(!complaint.contains("canary"), "{complaint}");
}

#[test]
fn the_sample_of_settings_lists_them_and_starts_once_the_secret_is_filled_in() {
    let sample = include_str!("../../.env.example");
    for name in hallpass::config::NAMES {
        assert!(sample.contains(name), "{name}");
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(".env"), sample).unwrap();
    let output = command(folder.path(), &["config"]).output().unwrap();
    assert_eq!(text(&output.stderr).matches("\n  ").count(), 1, "{}", text(&output.stderr));
    std::fs::write(folder.path().join(".env"), sample.replace("SECRET_KEY=''", &format!("SECRET_KEY='{SECRET_KEY}'")))
        .unwrap();
    let output = command(folder.path(), &["config"]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
}

#[test]
fn a_broken_template_stops_the_start_with_its_line_and_keeps_nobody_from_a_command() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("own/pages")).unwrap();
    std::fs::write(folder.path().join("own/pages/reset.html"), "<form>\n{{ tokn }}</form>").unwrap();
    let settings = [("MAIL_TEMPLATES", "own")];
    let output = run(folder.path(), &["serve"], &settings, "");
    let complaint = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{complaint}");
    assert!(
        complaint.contains("cannot start: MAIL_TEMPLATES: pages/reset.html, line 2: undefined value"),
        "{complaint}"
    );
    assert!(!folder.path().join("hallpass.db").exists());

    let output = run(folder.path(), &["user", "add", "jane"], &settings, PASSWORD);
    let complaint = text(&output.stderr);
    assert!(output.status.success() && complaint.contains("templates_not_used"), "{complaint}");
}

#[tokio::test]
async fn it_serves_without_a_command_and_ends_at_a_signal() {
    for signal in ["TERM", "INT"] {
        let mut server = Server::start_in(tempfile::tempdir().unwrap(), &[], &[]);
        server.register("john").await;
        let file = server.folder.path().join("hallpass.db");
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        server.signal(signal);
        assert!(server.wait().success(), "{}", server.log());
        assert!(server.log().contains(r#""event":"stop""#));
        assert!(!server.folder.path().join("hallpass.db-wal").exists(), "the log was written back");
    }
}

#[tokio::test]
async fn without_a_mail_server_it_says_so_and_no_request_fails() {
    let server = Server::start(&[("LOG_FORMAT", "json")]);
    assert!(server.whole_log().contains(r#""event":"no_mail""#), "{}", server.log());
    for (path, body) in [
        ("/register", json!({"username": "jane", "password": PASSWORD, "email": "jane@example.org"})),
        ("/password/forgot", json!({"email": "jane@example.org"})),
        ("/email/resend", json!({"email": "jane@example.org"})),
    ] {
        let answer = reqwest::Client::new().post(server.url(path)).json(&body).send().await.unwrap();
        assert!(answer.status().is_success(), "{path}");
    }
}

#[tokio::test]
async fn what_was_acknowledged_outlives_a_kill() {
    let server = Server::start(&[]);
    server.register("john").await;
    let (ended, alive) = (server.tokens("john").await, server.tokens("john").await);
    assert_eq!(server.logout(&ended.access).await, 204);
    let path = server.folder.path().join("hallpass.db");
    server.signal("KILL");
    let again = tempfile::tempdir().unwrap();
    std::fs::copy(&path, again.path().join("hallpass.db")).unwrap();
    std::fs::copy(path.with_extension("db-wal"), again.path().join("hallpass.db-wal")).unwrap();
    let server = Server::start_in(again, &[], &[]);
    assert_eq!(server.login("john", PASSWORD).await.0, 200);
    server.renew(&alive.refresh).await;
    assert_eq!(server.refresh_refused(&ended.refresh).await, (401, "invalid_refresh_token".to_owned()));
}

/// What it holds in memory, keys and passwords, is written nowhere when it dies.
#[tokio::test]
#[cfg(target_os = "linux")]
async fn it_leaves_no_core() {
    let mut shell = std::process::Command::new("sh");
    let folder = tempfile::tempdir().unwrap();
    let port = super::program::free_port();
    shell.args(["-c", "ulimit -S -c unlimited; exec \"$0\" serve", env!("CARGO_BIN_EXE_hallpass")]);
    shell.current_dir(folder.path()).env_clear().env("SECRET_KEY", SECRET_KEY).env("PORT", port.to_string());
    let mut server = Server::spawn(shell, folder, port);
    let limits = server.of_proc("limits");
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().collect::<Vec<_>>()[4..6], ["0", "0"], "{core}");
    server.signal("ABRT");
    assert!(!std::os::unix::process::ExitStatusExt::core_dumped(&server.wait()));
}

#[tokio::test]
#[ignore = "needs setpriv; make interop runs it"]
async fn it_needs_no_rights_and_writes_nothing_but_its_database() {
    let (folder, port) = (tempfile::tempdir().unwrap(), super::program::free_port());
    std::fs::copy(env!("CARGO_BIN_EXE_hallpass"), folder.path().join("hallpass")).unwrap();
    let mut command = without_rights(folder.path());
    command.arg("serve").env("SECRET_KEY", SECRET_KEY).env("PORT", port.to_string());
    let mut server = Server::spawn(command, folder, port);
    let status = server.of_proc("status");
    let field = |name: &str| status.lines().find(|line| line.starts_with(name)).unwrap().split_whitespace().nth(1);
    assert_ne!(field("Uid:"), Some("0"));
    assert_eq!((field("NoNewPrivs:"), field("CapEff:")), (Some("1"), Some("0000000000000000")));
    // What may not be dumped is root's in /proc: others of the same user can neither read its memory nor trace it
    // (PR_SET_DUMPABLE(2const)).
    let environment = std::fs::metadata(format!("/proc/{}/environ", server.id())).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&environment), 0);
    server.register("john").await;
    server.stop();
    let names = std::fs::read_dir(server.folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    // Its output goes into two files of the test.
    assert_eq!(names, ["hallpass", "hallpass.db", "log", "out"]);
}

#[tokio::test]
async fn a_request_under_way_is_answered_before_the_end() {
    // A hash that takes longer than the wait below, and less than the grace, also where much else runs.
    let mut server =
        Server::start(&[("ARGON2_MEMORY_KIB", "131072"), ("ARGON2_ITERATIONS", "4"), ("HASH_THREADS", "1")]);
    let body = json!({"username": "nobody", "password": "x"}).to_string();
    let mut stream = server.connect();
    write!(
        stream,
        "POST /login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    server.signal("TERM");
    let answer = read_all(&mut stream);
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    assert!(server.wait().success());
    assert!(std::net::TcpStream::connect(("127.0.0.1", server.port)).is_err());
}

#[tokio::test]
async fn a_second_signal_does_not_wait() {
    let mut server = Server::start(&[]);
    let mut held = server.connect();
    held.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n").unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    server.signal("TERM");
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(server.is_running());
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(1));
}

#[tokio::test]
async fn a_port_in_use_and_a_database_that_cannot_be_used_are_said_in_a_line() {
    let server = Server::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let output = run(folder.path(), &["serve"], &[("PORT", &server.port.to_string())], "");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("is in use"), "{}", text(&output.stderr));
    assert!(!folder.path().join("hallpass.db").exists());

    std::fs::write(folder.path().join("hallpass.db"), "no database").unwrap();
    let output = run(folder.path(), &["serve"], &[], "");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("cannot read the database hallpass.db"), "{}", text(&output.stderr));
    assert_eq!(std::fs::read(folder.path().join("hallpass.db")).unwrap(), b"no database");
}

#[tokio::test]
#[ignore = "needs prlimit; make interop runs it"]
async fn a_disk_that_is_full_refuses_writes_loses_nothing_and_recovers() {
    // A file may not grow over 1,000 KiB here, twice what an empty database's log has.
    let server = limited("ulimit -S -f 2000", &[("LOG", "error")]);
    let register = async |n: usize| {
        let form = json!({"username": format!("user{n}"), "password": PASSWORD});
        let (status, body) = server.post("/register", &form).await;
        assert!(status == 201 || (status, &body["code"]) == (503, &json!("storage_unavailable")), "{status} {body}");
        status == 201
    };
    let mut made = 0;
    while register(made).await {
        made += 1;
        assert!(made < 1_000);
    }
    // The commit that failed broke nothing else.
    for n in 0..3 {
        assert!(!register(made + n).await);
    }
    // What is left of the room takes a few of its one-page writes.
    eventually("it is not ready", async || server.get("/readyz", "").await.0 == 503).await;
    assert_eq!(server.login("nobody", "x").await.0, 401, "reading goes on");
    server.lift_limit("fsize");
    assert!(register(made).await);
    assert_eq!(server.login("user0", PASSWORD).await.0, 200);
    let output = run(server.folder.path(), &["user", "list"], &[], "");
    assert_eq!(text(&output.stdout).lines().count(), made + 1, "all that was acknowledged, and no more");
}

#[test]
fn a_first_start_that_cannot_write_says_so_and_the_next_one_finishes_it() {
    let mut failed = 0;
    // In blocks of 512 bytes: from the first page to nearly all that an empty database and its log have.
    for blocks in [40, 80, 200, 300, 400, 600, 800, 900, 1_000] {
        let folder = tempfile::tempdir().unwrap();
        let script = format!("trap '' XFSZ; ulimit -S -f {blocks}; echo 'seven green lanterns' | \"$0\" user add john");
        let mut add = std::process::Command::new("sh");
        add.args(["-c", &script, env!("CARGO_BIN_EXE_hallpass")]).current_dir(folder.path()).env_clear();
        let output = add.env("SECRET_KEY", SECRET_KEY).env("LOG", "error").output().unwrap();
        let said = text(&output.stderr);
        if !output.status.success() {
            failed += 1;
            assert!(said.contains("disk"), "{blocks}: {said}");
            assert!(!said.contains("internal error") && !said.contains("transaction"), "{blocks}: {said}");
        }
        let output = run(folder.path(), &["user", "add", "jane"], &[("LOG", "error")], PASSWORD);
        assert!(output.status.success(), "{blocks}: {}", text(&output.stderr));
    }
    assert!(failed > 4, "{failed}");
}

#[test]
#[ignore = "needs unshare, for a disk of its own; make interop runs it"]
fn a_first_start_on_a_full_disk_says_so_and_the_next_one_finishes_it() {
    let mut said_full = 0;
    for kib in [16, 32, 64, 100, 128, 180, 200, 260, 330, 400, 460, 500] {
        let folder = tempfile::tempdir().unwrap();
        let script = format!(
            "mount -t tmpfs -o size={kib}k none . && cd \"$PWD\" && echo 'seven green lanterns' | \"$0\" user add john
             echo \"ended with $?\" >&2
             mount -o remount,size=8m . && echo 'seven green lanterns' | \"$0\" user add jane"
        );
        let mut unshare = std::process::Command::new("unshare");
        unshare.args(["-rm", "sh", "-c", &script, env!("CARGO_BIN_EXE_hallpass")]).current_dir(folder.path());
        let output = unshare.env("SECRET_KEY", SECRET_KEY).env("LOG", "error").output().unwrap();
        let said = text(&output.stderr);
        assert!(output.status.success() && text(&output.stdout).contains("jane"), "{kib}: {said}");
        let first = said.split("ended with").next().unwrap();
        assert!(said.contains("ended with 0") || first.contains("full"), "{kib}: {said}");
        assert!(!said.contains("internal error") && !said.contains("transaction"), "{kib}: {said}");
        said_full += u32::from(first.contains("the disk is full: the database hallpass.db cannot be made"));
    }
    assert!(said_full > 6, "{said_full}");
}
