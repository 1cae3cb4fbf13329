//! Another `SECRET_KEY`: by mistake, and on purpose.

use serde_json::Value;

use super::{
    database,
    keys::kids_in,
    program::{SECRET_KEY, Server, eventually, run, text},
    token::kid,
};

pub const OTHER: &str = "Wq7n3RtK9bVx2LmE5cHs8DyF4gJp6AzUuYoWi1Mx0Tv";
const THIRD: &str = "eP5rZ8mKq2WvN7xTc4LbG9hJs3DyF6AuUoYi0Mx1RtQ";

/// Whether each session of an account holds a refresh token of the secret before, the newest first.
fn on_previous(server: &Server) -> Vec<Value> {
    server.prints_json(&["session", "list"]).iter().map(|row| row["on_previous_secret"].clone()).collect()
}

#[tokio::test]
async fn another_secret_is_refused_and_nothing_is_changed() {
    for algorithm in ["HS256", "EdDSA"] {
        let mut server = Server::start(&[("ALGORITHM", algorithm)]);
        server.register("john").await;
        let pair = server.tokens("john").await;
        server.stop();
        let folder = server.folder.path();
        let before = database::dump(folder).await;
        for words in [&["serve"][..], &["user", "list"], &["session", "end", "--all"], &["keys", "rotate"]] {
            for previous in ["", THIRD] {
                let port = server.port.to_string();
                let settings = [
                    ("SECRET_KEY", OTHER),
                    ("SECRET_KEY_PREVIOUS", previous),
                    ("ALGORITHM", algorithm),
                    ("PORT", &port),
                    ("LOG", "trace"),
                ];
                let output = run(folder, words, &settings, "");
                assert_eq!((output.status.code(), text(&output.stdout)), (Some(1), String::new()), "{words:?}");
                let said = text(&output.stderr);
                let why = "hallpass: cannot start: SECRET_KEY is not the one that this database is used with.";
                assert!(said.contains(why) && said.contains("set SECRET_KEY_PREVIOUS"), "{said}");
                for secret in [SECRET_KEY, OTHER, THIRD] {
                    assert!(!said.contains(secret), "{said}");
                }
                assert_eq!(database::dump(folder).await, before, "{algorithm} {words:?}");
            }
        }
        server.begin(&[("ALGORITHM", algorithm)]);
        assert_eq!(server.me(&pair.access).await, (200, String::new()));
        server.renew(&pair.refresh).await;
    }
}

#[tokio::test]
async fn a_secret_is_replaced_without_signing_anybody_out() {
    for algorithm in ["HS256", "EdDSA", "ES256"] {
        let mut server = Server::start(&[("ALGORITHM", algorithm)]);
        server.register("john").await;
        let (left_alone, to_move) = (server.tokens("john").await, server.tokens("john").await);
        let (kids, old) = (server.kids().await, kid(&left_alone.access));

        server.restart(&[("ALGORITHM", algorithm), ("SECRET_KEY", OTHER), ("SECRET_KEY_PREVIOUS", SECRET_KEY)]);
        assert_eq!(server.kids().await, kids, "the keys are the same, encrypted anew");
        for pair in [&left_alone, &to_move] {
            assert_eq!(server.me(&pair.access).await, (200, String::new()), "{algorithm}");
        }
        assert_eq!(on_previous(&server), [true, true]);
        let moved = server.renew(&to_move.refresh).await;
        assert_eq!(kid(&moved.access) == old, algorithm != "HS256");
        assert_eq!(server.me(&moved.access).await, (200, String::new()));
        let mut marks: Vec<bool> = on_previous(&server).iter().map(|row| row.as_bool().unwrap()).collect();
        marks.sort_unstable();
        assert_eq!(marks, [false, true]);
        let listed = text(&server.run(&["session", "list"], "").stderr);
        assert!(listed.contains("1 of 2 still hold a refresh token of SECRET_KEY_PREVIOUS"), "{listed}");

        server.restart(&[("ALGORITHM", algorithm), ("SECRET_KEY", OTHER)]);
        assert_eq!(server.kids().await, kids);
        let again = server.renew(&moved.refresh).await;
        for pair in [&moved, &again] {
            assert_eq!(server.me(&pair.access).await, (200, String::new()), "{algorithm}");
        }
        assert_eq!(server.refresh_refused(&left_alone.refresh).await, (401, "invalid_refresh_token".to_owned()));
        // Without public keys there was but the secret to know it by.
        let of_old = if algorithm == "HS256" { (401, "invalid_token".to_owned()) } else { (200, String::new()) };
        assert_eq!(server.me(&left_alone.access).await, of_old, "{algorithm}");
    }
}

#[tokio::test]
async fn a_replaced_secret_is_refused_from_then_on() {
    let mut server = Server::start(&[("ALGORITHM", "EdDSA")]);
    server.restart(&[("ALGORITHM", "EdDSA"), ("SECRET_KEY", OTHER), ("SECRET_KEY_PREVIOUS", SECRET_KEY)]);
    server.stop();
    let output =
        run(server.folder.path(), &["serve"], &[("ALGORITHM", "EdDSA"), ("PORT", &server.port.to_string())], "");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("SECRET_KEY is not the one"), "{}", text(&output.stderr));
    // And back again, the same way.
    server.begin(&[("ALGORITHM", "EdDSA"), ("SECRET_KEY_PREVIOUS", OTHER)]);
    server.restart(&[("ALGORITHM", "EdDSA")]);
    assert_eq!(kids_in(&server, "active").len(), 1);
}

#[test]
fn the_secret_before_is_another_one() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(folder.path(), &["serve"], &[("SECRET_KEY_PREVIOUS", SECRET_KEY)], "");
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.contains("\n  SECRET_KEY_PREVIOUS: is SECRET_KEY;") && !said.contains(SECRET_KEY), "{said}");
    assert!(!folder.path().join("hallpass.db").exists());
}

#[tokio::test]
async fn a_command_does_not_replace_the_secret() {
    let replacing = [("ALGORITHM", "EdDSA"), ("SECRET_KEY", OTHER), ("SECRET_KEY_PREVIOUS", SECRET_KEY)];
    let server = Server::start(&[("ALGORITHM", "EdDSA")]);
    server.register("john").await;
    let mut pair = server.tokens("john").await;
    let before = database::dump(server.folder.path()).await;
    for words in [&["user", "list"][..], &["session", "list"], &["keys", "list"], &["user", "show", "john"]] {
        let output = run(server.folder.path(), words, &replacing, "");
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert_eq!(database::dump(server.folder.path()).await, before, "{words:?}");
    }
    // A key that it makes is one that the running server can read.
    let old = kid(&pair.access);
    assert!(run(server.folder.path(), &["keys", "rotate", "--in", "2"], &replacing, "").status.success());
    eventually("the new key signs", async || {
        pair = server.renew(&pair.refresh).await;
        kid(&pair.access) != old
    })
    .await;
    assert_eq!(server.me(&pair.access).await, (200, String::new()));
}

#[tokio::test]
async fn a_secret_that_others_have_is_out_of_use_once_its_key_is_revoked() {
    let mut server = Server::start(&[]);
    server.register("john").await;
    let pair = server.tokens("john").await;
    let old = kid(&pair.access);
    assert!(!server.run(&["keys", "revoke", "--", &old], "").status.success());
    server.restart(&[("SECRET_KEY", OTHER), ("SECRET_KEY_PREVIOUS", SECRET_KEY)]);
    server.prints(&["keys", "revoke", "--", &old]);
    eventually("what it signed is refused", async || server.me(&pair.access).await.0 == 401).await;
    assert_eq!(kid(&server.renew(&pair.refresh).await.access), kids_in(&server, "active")[0]);
}
