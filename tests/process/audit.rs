//! The audit log, from the command line.

use serde_json::{Value, json};

use super::{
    database,
    program::{PASSWORD, SECRET_KEY, Server, command, text},
};

#[tokio::test]
async fn the_audit_log_is_printed_and_searched() {
    let server = Server::start(&[]);
    let user = server.register("john").await;
    server.tokens("john").await;
    let (status, _) = server.login("john", "wrong wrong wrong").await;
    assert_eq!(status, 401);
    server.run(&["user", "disable", "john"], "");
    super::program::eventually("the refusal is written", async || {
        server.prints_json(&["audit"]).iter().any(|row| row["event"] == "login_failed")
    })
    .await;
    let rows = server.prints_json(&["audit", "--user", "john"]);
    let mut events: Vec<&str> = rows.iter().map(|row| row["event"].as_str().unwrap()).collect();
    events.sort_unstable();
    assert_eq!(events, ["login", "login_failed", "register", "user_disabled"]);
    assert_eq!(server.prints_json(&["audit", "--target", user["id"].as_str().unwrap()]), rows);
    let disabled = &server.prints_json(&["audit", "--event", "user_disabled"])[0];
    assert_eq!((&disabled["target"], &disabled["actor"]), (&user["id"], &json!(null)));
    assert_eq!((&disabled["outcome"], &disabled["address"]), (&json!("done"), &json!(null)));
    assert_eq!(server.prints_json(&["audit", "--limit", "2"]).len(), 2);
    assert_eq!(server.prints_json(&["audit", "--since", "1h"]).len(), server.prints_json(&["audit"]).len());
    assert_eq!(server.prints_json(&["audit", "--since", "2100-01-01T00:00:00Z"]).len(), 0);
    assert_eq!(server.prints(&["audit", "--since", "0m", "--event", "no"]), "");
    let lines = server.prints(&["audit", "--limit", "100"]);
    assert!(lines.lines().count() == 5 && lines.contains("user_disabled") && lines.contains("127.0.0.1"), "{lines}");
    server.refuses(&["audit", "--since", "yesterday"], 2, "must be a time");
    server.refuses(&["audit", "--user", "nobody"], 1, "there is no user \"nobody\"");
    server.refuses(&["audit", "--limit", "0"], 2, "limit");
}

#[tokio::test]
async fn refusals_that_wait_are_written_at_a_stop() {
    let mut server = Server::start(&[]);
    server.login("nobody", "wrong wrong wrong").await;
    server.stop();
    let count = "SELECT CAST(COUNT(*) AS TEXT) FROM audit WHERE event = 'login_failed'";
    assert_eq!(database::column(server.folder.path(), count).await, ["1"]);
}

#[tokio::test]
async fn accounts_are_listed_in_batches() {
    let server = Server::start(&[]);
    server.register("john").await;
    let many = "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 2500)
                INSERT INTO users (id, username, username_key, roles, created_at)
                SELECT 'id' || n, 'user' || n, 'user' || n, 'user', 1 FROM n RETURNING id";
    assert_eq!(database::column(server.folder.path(), many).await.len(), 2_500);
    // Read while it is written: it is more than a pipe holds.
    let list = |arguments: &[&str]| {
        let output = command(server.folder.path(), arguments).env("SECRET_KEY", SECRET_KEY).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    let listed: Vec<Value> = serde_json::from_str(&list(&["user", "list", "--json"])).unwrap();
    let names: Vec<&str> = listed.iter().map(|user| user["username"].as_str().unwrap()).collect();
    assert_eq!(names.len(), 2_501);
    assert!(names.is_sorted());
    assert_eq!(list(&["user", "list"]).lines().count(), 2_501);
}

#[tokio::test]
async fn the_last_admin_stays_unless_the_operator_insists() {
    let server = Server::start(&[]);
    let added = server.run(&["user", "add", "alice", "--role", "admin"], PASSWORD);
    assert!(added.status.success(), "{}", text(&added.stderr));
    let last = "the last admin that can log in: make another one first (hallpass user grant NAME admin), or insist with --force";
    for arguments in
        [&["user", "disable", "alice"][..], &["user", "delete", "alice"], &["user", "revoke", "alice", "admin"]]
    {
        server.refuses(arguments, 1, last);
    }
    server.tokens("alice").await;
    server.prints(&["user", "disable", "alice", "--force"]);
    assert_eq!(server.login("alice", PASSWORD).await.0, 401);
    // Who cannot log in is not the last that can.
    server.prints(&["user", "revoke", "alice", "admin"]);
    server.prints(&["user", "delete", "alice"]);
}
