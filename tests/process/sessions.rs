//! Sessions and accounts, from the command line of a running server.

use serde_json::{Value, json};

use super::{
    database,
    program::{PASSWORD, Server, text},
    token::parts,
    verbs::Pair,
};

fn sid(pair: &Pair) -> String {
    parts(&pair.access).1["sid"].as_str().unwrap().to_owned()
}

fn ids(sessions: &[Value]) -> Vec<String> {
    let mut ids: Vec<String> = sessions.iter().map(|session| session["id"].as_str().unwrap().to_owned()).collect();
    ids.sort();
    ids
}

async fn assert_lives(server: &Server, pair: &Pair) -> Pair {
    assert_eq!(server.me(&pair.access).await, (200, String::new()));
    server.renew(&pair.refresh).await
}

async fn assert_ended(server: &Server, pair: &Pair) {
    assert_eq!(server.me(&pair.access).await, (401, "session_ended".to_owned()));
    assert_eq!(server.refresh_refused(&pair.refresh).await, (401, "invalid_refresh_token".to_owned()));
}

#[tokio::test]
async fn sessions_are_listed_while_they_live() {
    let server = Server::start(&[]);
    for name in ["john", "jane"] {
        server.register(name).await;
    }
    let (one, two, hers) = (server.tokens("john").await, server.tokens("john").await, server.tokens("jane").await);
    let sorted = |mut ids: Vec<String>| {
        ids.sort();
        ids
    };
    let all = server.prints_json(&["session", "list"]);
    assert_eq!(ids(&all), sorted(vec![sid(&one), sid(&two), sid(&hers)]));
    let row = all.iter().find(|row| row["id"] == sid(&hers)).unwrap();
    assert_eq!((&row["username"], &row["ip"]), (&json!("jane"), &json!("127.0.0.1")));
    assert_eq!((&row["user_agent"], &row["on_previous_secret"]), (&Value::Null, &json!(false)));
    for time in ["created_at", "last_used_at", "refresh_expires_at", "expires_at"] {
        assert!(row[time].as_str().unwrap().ends_with('Z'), "{row}");
    }
    assert_eq!(ids(&server.prints_json(&["session", "list", "--user", "JOHN"])), sorted(vec![sid(&one), sid(&two)]));
    assert_eq!(server.logout(&one.access).await, 204);
    assert_eq!(ids(&server.prints_json(&["session", "list", "--user", "john"])), [sid(&two)]);
    let table = server.prints(&["session", "list"]);
    assert_eq!(table.lines().count(), 2);
    assert!(table.contains(&sid(&two)) && table.contains("jane") && !table.contains(&sid(&one)), "{table}");
    server.refuses(&["session", "list", "--user", "nobody"], 1, "there is no user \"nobody\"");
}

#[tokio::test]
async fn a_session_that_is_ended_is_over_at_once_and_the_others_go_on() {
    let server = Server::start(&[]);
    for name in ["john", "jane"] {
        server.register(name).await;
    }
    let (one, two, hers) = (server.tokens("john").await, server.tokens("john").await, server.tokens("jane").await);
    assert_eq!(server.prints(&["session", "end", &sid(&one)]), "");
    assert_ended(&server, &one).await;
    let (two, hers) = (assert_lives(&server, &two).await, assert_lives(&server, &hers).await);
    let three = server.tokens("john").await;
    server.prints(&["session", "end", "--user", "john"]);
    assert_ended(&server, &two).await;
    assert_ended(&server, &three).await;
    let hers = assert_lives(&server, &hers).await;
    let four = server.tokens("john").await;
    server.prints(&["session", "end", "--all"]);
    assert_ended(&server, &hers).await;
    assert_ended(&server, &four).await;
    assert_eq!(server.prints_json(&["session", "list"]), Vec::<Value>::new());
    assert_lives(&server, &server.tokens("john").await).await;
}

#[tokio::test]
async fn a_command_on_sessions_that_comes_to_nothing_says_why_and_ends_none() {
    let server = Server::start(&[]);
    server.register("john").await;
    let (pair, over) = (server.tokens("john").await, server.tokens("john").await);
    server.prints(&["session", "end", &sid(&over)]);
    let (living, over) = (sid(&pair), sid(&over));
    for (words, code, why) in [
        (&["session"][..], 2, "--help"),
        (&["session", "end"], 2, "--help"),
        (&["session", "end", &living, "--all"], 2, "--help"),
        (&["session", "end", &living, "--user", "john"], 2, "--help"),
        (&["session", "end", "--user", "john", "--all"], 2, "--help"),
        (&["session", "end", &living, &over], 2, "--help"),
        (&["session", "end", "--user"], 2, "--help"),
        (&["session", "list", "john"], 2, "--help"),
        (&["session", "end", "019a0000-0000-7000-8000-000000000000"], 1, "there is no such session, or it has ended"),
        (&["session", "end", "nonsense"], 1, "there is no such session, or it has ended"),
        (&["session", "end", ""], 1, "there is no such session, or it has ended"),
        (&["session", "end", &over], 1, "there is no such session, or it has ended"),
        (&["session", "end", "--user", "nobody"], 1, "there is no user \"nobody\""),
        (&["session", "end", "--user", ""], 1, "there is no user \"\""),
    ] {
        server.refuses(words, code, why);
    }
    assert_lives(&server, &pair).await;
}

#[tokio::test]
async fn what_is_done_to_an_account_ends_its_sessions_for_good() {
    let server = Server::start(&[]);
    for name in ["john", "jane"] {
        server.register(name).await;
    }
    let (john, jane) = (server.tokens("john").await, server.tokens("jane").await);
    server.prints(&["user", "disable", "john"]);
    assert_ended(&server, &john).await;
    assert_eq!(server.login("john", PASSWORD).await.0, 401);
    server.prints(&["user", "enable", "john"]);
    assert_ended(&server, &john).await;

    let (one, two) = (server.tokens("john").await, server.tokens("john").await);
    let other = "eight red lanterns";
    let output = server.run(&["user", "set-password", "john"], other);
    assert!(output.status.success(), "{}", text(&output.stderr));
    for pair in [&john, &one, &two] {
        assert_ended(&server, pair).await;
    }
    assert_eq!(server.login("john", PASSWORD).await.0, 401);
    assert_eq!(server.login("john", other).await.0, 200);
    assert_lives(&server, &jane).await;
}

#[tokio::test]
async fn a_role_holds_for_the_token_that_is_out_and_stands_in_the_next() {
    let server = Server::start(&[]);
    for name in ["john", "jane"] {
        server.register(name).await;
    }
    // Another admin, so that john need not stay one.
    server.prints(&["user", "grant", "jane", "admin"]);
    let mut pair = server.tokens("john").await;
    for (verb, role, roles) in [
        ("grant", "editor", json!(["user", "editor"])),
        ("grant", "admin", json!(["user", "admin", "editor"])),
        ("grant", "admin", json!(["user", "admin", "editor"])),
        ("revoke", "editor", json!(["user", "admin"])),
        ("revoke", "editor", json!(["user", "admin"])),
        ("revoke", "user", json!(["user", "admin"])),
        ("revoke", "admin", json!(["user"])),
    ] {
        server.prints(&["user", verb, "john", role]);
        let (status, me) = server.get("/me", &pair.access).await;
        assert_eq!((status, &me["roles"]), (200, &roles), "{verb} {role}");
        pair = server.renew(&pair.refresh).await;
        assert_eq!(parts(&pair.access).1["roles"], roles, "{verb} {role}");
    }
    for verb in ["grant", "revoke"] {
        for role in ["Admin", "", "1st", "a b", "é", &"a".repeat(33)] {
            server.refuses(&["user", verb, "john", role], 1, "is not a role: a lower-case letter, then");
        }
        server.refuses(&["user", verb, "nobody", "admin"], 1, "there is no user \"nobody\"");
        server.refuses(&["user", verb, "john"], 2, "--help");
    }
    assert_eq!(server.get("/me", &pair.access).await.1["roles"], json!(["user"]));
}

#[tokio::test]
async fn what_a_client_calls_itself_gives_the_terminal_no_orders() {
    let server = Server::start(&[]);
    server.register("john").await;
    let body = json!({"username": "john", "password": PASSWORD}).to_string();
    let login = |agent: &[u8]| {
        let length = body.len();
        let head = format!(
            "POST /login HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nUser-Agent: "
        );
        server.exchange(&[head.as_bytes(), agent, b"\r\n\r\n", body.as_bytes()].concat())
    };
    let refused = login(b"curl\x1b[2J");
    assert!(refused.starts_with("HTTP/1.1 400 "), "no such byte comes in a head: {refused}");
    // The same order as one character of two bytes; text that runs backwards; a second row.
    let agent = "curl\u{9b}2J\u{202e}\u{85}\u{2028}caf\u{e9}";
    assert!(login(agent.as_bytes()).starts_with("HTTP/1.1 200 "));
    let stored = server.prints_json(&["session", "list"]).remove(0)["user_agent"].clone();
    assert_eq!(stored, agent);
    let printed = r"curl\u{9b}2J\u{202e}\u{85}\u{2028}café";
    assert!(server.prints(&["session", "list"]).ends_with(&format!("  {printed}\n")));
    // By whatever way it came in.
    database::execute(server.folder.path(), "UPDATE sessions SET user_agent = 'x' || char(27) || '[2J' || char(10)", 1)
        .await;
    assert!(server.prints(&["session", "list"]).ends_with("  x\\u{1b}[2J\\n\n"));
    let as_json = server.prints(&["session", "list", "--json"]);
    assert!(as_json.contains(r"x\u001b[2J\n"), "{as_json}");
}
