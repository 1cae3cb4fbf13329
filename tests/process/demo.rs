//! `hallpass demo`

use std::{
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    process::Command,
};

use super::program::{Server, command, free_port};

fn demo(folder: tempfile::TempDir, arguments: &[&str]) -> Server {
    let port = free_port();
    let mut command = command(folder.path(), &["demo", "--port", &port.to_string()]);
    // None of these is for the demo.
    command.args(arguments).env("HOST", "0.0.0.0").env("DATABASE_URL", "sqlite://other.db").env("SECRET_KEY", "x");
    command.env("ALGORITHM", std::ffi::OsStr::from_bytes(b"\xff"));
    std::fs::write(folder.path().join(".env"), "PORT=1\nnonsense\n").unwrap();
    Server::spawn(command, folder, port)
}

#[tokio::test]
async fn the_demo_needs_no_settings_and_its_users_are_those_that_it_prints() {
    let server = demo(tempfile::tempdir().unwrap(), &[]);
    let page = server.out();
    assert!(page.contains(&server.url("/docs")), "{page}");
    assert!(page.contains(&server.url("/dev/mailbox")), "{page}");
    for (name, status, roles) in
        [("johndoe", 200, "role user"), ("alice", 200, "roles user, admin"), ("mallory", 401, "disabled")]
    {
        assert!(page.contains(name) && page.contains(roles), "{page}");
        assert_eq!(server.login(name, "demo-password-only").await.0, status, "{name}");
    }
    for name in ["hallpass-demo/hallpass.db", "hallpass-demo/secret"] {
        let mode = std::fs::metadata(server.folder.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    assert!(!server.folder.path().join("other.db").exists());
    let address = format!(r#""address":"127.0.0.1:{}""#, server.port);
    assert!(server.whole_log().lines().any(|line| line.contains(r#""event":"start""#) && line.contains(&address)));
}

#[tokio::test]
async fn a_second_demo_on_the_port_leaves_the_first_alone() {
    let server = demo(tempfile::tempdir().unwrap(), &[]);
    let port = server.port.to_string();
    let second = command(server.folder.path(), &["demo", "--reset", "--port", &port]).output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert_eq!(server.login("johndoe", "demo-password-only").await.0, 200);
}

#[tokio::test]
#[ignore = "needs curl and sed; make interop runs it"]
async fn the_lines_that_it_prints_work_as_pasted() {
    let server = demo(tempfile::tempdir().unwrap(), &[]);
    let page = server.out();
    let (_, lines) = page.split_once("Try it\n").unwrap();
    let output = Command::new("sh").args(["-c", lines]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), r#"{"message":"Hello johndoe, you are authorized!"}"#);
}

#[tokio::test]
async fn the_demo_is_seeded_once_and_reset_when_asked() {
    let mut server = demo(tempfile::tempdir().unwrap(), &["--dir", "here"]);
    let (_, tokens) = server.login("johndoe", "demo-password-only").await;
    let token = tokens["access_token"].as_str().unwrap().to_owned();
    server.register("jane").await;
    server.signal("TERM");
    assert!(server.wait().success());

    let take = |server: &mut Server| std::mem::replace(&mut server.folder, with_empty_log());
    let mut again = demo(take(&mut server), &["--dir", "here"]);
    assert_eq!(again.login("jane", super::program::PASSWORD).await.0, 200, "kept");
    again.signal("TERM");
    assert!(again.wait().success());

    let reset = demo(take(&mut again), &["--dir", "here", "--reset"]);
    assert_eq!(reset.login("jane", super::program::PASSWORD).await.0, 401, "gone");
    assert_eq!(reset.login("johndoe", "demo-password-only").await.0, 200);
    assert_eq!(reset.get("/me", &token).await.1["code"], "invalid_token", "another secret");
}

#[tokio::test]
async fn the_demo_alone_has_a_mailbox_whoever_asks_and_however() {
    let ask = async |server: &Server, header: (&str, &str)| {
        let request = reqwest::Client::new().get(server.url("/dev/mailbox")).header(header.0, header.1);
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let headers = [
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-for", "192.0.2.1, 127.0.0.1"),
        ("forwarded", "for=127.0.0.1"),
        ("x-real-ip", "::1"),
        ("host", "localhost"),
        ("accept", "text/html"),
    ];
    // Behind a proxy on the same host, everybody comes from here.
    for settings in [
        &[][..],
        &[("TRUSTED_PROXIES", "127.0.0.0/8")],
        &[("SMTP_URL", "smtp://127.0.0.1:1"), ("MAIL_FROM", "login@example.com"), ("RATE_LIMITS", "off")],
        &[("DOCS", "off"), ("LOG", "debug"), ("DEMO", "on"), ("DEV_MAILBOX", "on")],
    ] {
        let server = Server::start(settings);
        for header in headers {
            let (status, body) = ask(&server, header).await;
            assert_eq!(status, 404, "{settings:?} {header:?}");
            assert!(body.contains("There is nothing at this path"), "{body}");
        }
    }
    let server = demo(tempfile::tempdir().unwrap(), &[]);
    let (status, body) = ask(&server, headers[0]).await;
    assert_eq!(status, 200);
    assert!(body.contains("<h1>Mailbox</h1>"), "{body}");
}

/// What is left for a server whose folder goes on to the next.
fn with_empty_log() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("log"), "").unwrap();
    folder
}
