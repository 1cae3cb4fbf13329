//! What is logged, and what is not.

use std::{
    fs::{File, Permissions},
    io::Write,
    os::unix::fs::PermissionsExt,
};

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{
    database,
    keys::kids_in,
    program::{PASSWORD, SECRET_KEY, Server, command, count, eventually, finish, free_port, read_all, text},
    secrets::OTHER,
    token::kid,
};

#[tokio::test]
async fn a_request_is_one_line_with_its_route_and_its_id() {
    let server = Server::start(&[]);
    let answer = reqwest::get(server.url("/nope?token=canary")).await.unwrap();
    let id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
    server.get("/me", "x").await;
    // What a client makes up is not repeated.
    server.exchange(b"CANARY /me HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let log = server.whole_log();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let is_ours = |line: &&Value| line["event"] == "request" && line["route"] != "/livez";
    let requests: Vec<&Value> = lines.iter().filter(is_ours).collect();
    assert_eq!(requests.len(), 3, "{log}");
    assert_eq!((&requests[2]["method"], &requests[2]["status"]), (&json!("other"), &json!(405)));
    assert_eq!((&requests[0]["status"], &requests[0]["route"]), (&json!(404), &json!("-")));
    assert_eq!((&requests[0]["code"], &requests[1]["code"]), (&json!("not_found"), &json!("invalid_token")));
    assert_eq!(requests[0]["span"]["id"], id);
    assert_eq!((&requests[1]["method"], &requests[1]["route"]), (&json!("GET"), &json!("/me")));
    assert!(requests[1]["duration_us"].is_u64() && requests[1]["timestamp"].as_str().unwrap().ends_with('Z'));
    assert!(!log.to_lowercase().contains("canary"));
}

#[tokio::test]
async fn what_is_throttled_is_an_event_and_so_is_a_server_without_limits() {
    let server = Server::start(&[("RATE_LIMITS", "on")]);
    for n in 0..12 {
        let (status, problem) = server.login("canary", "wrong").await;
        assert_eq!(status, if n < 10 { 401 } else { 429 }, "{problem}");
    }
    let log = server.whole_log();
    let events = |log: &str, name: &str| -> Vec<Value> {
        log.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .filter(|line: &Value| line["event"] == name)
            .collect()
    };
    let throttled = events(&log, "throttled");
    assert_eq!(throttled.len(), 2, "{log}");
    assert_eq!((&throttled[0]["limit"], &throttled[0]["address"]), (&json!("passwords"), &json!("127.0.0.1")));
    assert!(throttled[0]["span"]["id"].is_string() && events(&log, "no_limits").is_empty() && !log.contains("canary"));

    let server = Server::start(&[("RATE_LIMITS", "off")]);
    assert_eq!(events(&server.log(), "no_limits").len(), 1);
}

#[tokio::test]
async fn what_is_less_safe_is_told_at_the_start() {
    let begin = |settings: &[(&str, &str)], names: &[&str]| {
        let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
        for name in names {
            let mode = Permissions::from_mode(0o640);
            File::create(folder.path().join(name)).unwrap().set_permissions(mode).unwrap();
        }
        let mut command = command(folder.path(), &["serve"]);
        command.env("SECRET_KEY", SECRET_KEY).env("PORT", port.to_string()).envs(settings.iter().copied());
        Server::spawn(command, folder, port)
    };
    // This machine alone, though it does not look like it.
    let abroad = [("HOST", "::ffff:127.0.0.1"), ("PUBLIC_URL", "http://login.example.com")];
    let behind = [("HOST", "::ffff:127.0.0.1"), ("PUBLIC_URL", "https://login.example.com")];
    for (event, settings, names) in [
        ("", &[][..], &[][..]),
        ("", &behind, &[]),
        ("no_tls", &abroad, &[]),
        ("settings_readable_by_others", &[], &[".env"]),
        ("database_readable_by_others", &[], &["hallpass.db"]),
    ] {
        let log = begin(settings, names).whole_log();
        for told in ["no_tls", "settings_readable_by_others", "database_readable_by_others"] {
            assert_eq!(log.contains(&format!(r#""event":"{told}""#)), told == event, "{told}: {log}");
        }
    }
}

#[tokio::test]
async fn what_matters_for_security_is_an_event_with_a_code() {
    let server = Server::start(&[]);
    let user = server.register("john").await;
    server.login("john", PASSWORD).await;
    server.login("john", "wrong").await;
    server.login("nobody", "wrong").await;
    server.get("/me", "forged").await;
    database::execute(server.folder.path(), "UPDATE users SET password_hash = 'x'", 1).await;
    eventually("it is noticed", async || {
        server.login("john", PASSWORD).await;
        server.log().contains(r#""event":"password_hash_unusable""#)
    })
    .await;
    let log = server.whole_log();
    for (event, reason, id) in [
        ("register", Value::Null, &user["id"]),
        ("login", Value::Null, &user["id"]),
        ("login_failed", json!("password"), &user["id"]),
        ("login_failed", json!("unknown"), &Value::Null),
        ("token_refused", json!("invalid token"), &Value::Null),
    ] {
        let found = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).any(|line| {
            line["event"] == event
                && line["reason"] == reason
                && line["user_id"] == *id
                && line["address"] == "127.0.0.1"
        });
        assert!(found, "{event} {reason}: {log}");
    }
    assert!(log.contains(r#""event":"start""#) && log.contains(r#""synchronous":"full""#));
}

#[tokio::test]
async fn at_its_most_talkative_the_log_holds_no_secret() {
    for format in ["json", "text"] {
        let server = Server::start(&[("LOG", "trace"), ("LOG_FORMAT", format)]);
        server.register("john").await;
        let (_, tokens) = server.login("john", PASSWORD).await;
        let token = tokens["access_token"].as_str().unwrap();
        let (_, me) = server.get("/me", token).await;
        assert_eq!(me["username"], "john");
        server.login("john", "canary-wrong-password").await;
        // People type their password into the field above it.
        server.login("canary-as-a-name", "x").await;
        server.get("/me", "canary.bad.token").await;
        server.post("/login", &json!({"username": "john", "password": ["canary-of-a-wrong-type"]})).await;
        server.post("/register", &json!({"username": "x", "password": "canary"})).await;
        server.post("/register", &json!({"username": "canary\u{1b}[2J\n{\"fake\":1}", "password": PASSWORD})).await;
        let mut stream = server.connect();
        let request = "GET /me?access_token=canary HTTP/1.1\r\nHost: canary\r\nCookie: canary\r\nReferer: canary\r\n\
                       User-Agent: canary\r\nX-Request-Id: canary\r\nAuthorization: Basic canary\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).unwrap();
        read_all(&mut stream);
        let signature = token.rsplit('.').next().unwrap();
        let log = server.whole_log();
        assert!(log.contains("login_failed"));
        for secret in [PASSWORD, SECRET_KEY, token, signature, "$argon2id", "canary", "\u{1b}[2J"] {
            assert!(!log.contains(secret), "{format}: {secret} in {log}");
        }
    }
}

#[tokio::test]
async fn no_link_and_no_code_of_a_mail_is_logged() {
    for format in ["json", "text"] {
        let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
        let mut demo = command(folder.path(), &["demo", "--port", &port.to_string()]);
        demo.env("LOG", "trace").env("LOG_FORMAT", format);
        let server = Server::spawn(demo, folder, port);
        let form = json!({"username": "jane", "password": PASSWORD, "email": "canary@example.org"});
        assert_eq!(server.post("/register", &form).await.0, 201);
        let mut mailbox = String::new();
        eventually("the mail is there", async || {
            mailbox = reqwest::get(server.url("/dev/mailbox")).await.unwrap().text().await.unwrap();
            mailbox.contains("?token=")
        })
        .await;
        let token = mailbox.split("?token=").nth(1).unwrap().split(['"', '<', '&']).next().unwrap().trim().to_owned();
        let is_code = |word: &&str| word.len() == 8 && word.bytes().all(|b| b.is_ascii_digit());
        let code = mailbox.split(|c: char| !c.is_ascii_alphanumeric()).find(is_code).unwrap().to_owned();
        assert_eq!(token.len(), 43);
        reqwest::get(server.url(&format!("/verify?token={token}"))).await.unwrap();
        for body in [json!({"email": "canary@example.org", "code": "00000000"}), json!({"token": token})] {
            reqwest::Client::new().post(server.url("/email/verify")).json(&body).send().await.unwrap();
        }
        let log = server.whole_log();
        assert!(log.contains("mail_sent") && log.contains("email_verified") && log.contains("code_refused"), "{log}");
        for secret in [&token, &code, "canary"] {
            assert!(!log.contains(secret), "{format}: {secret} in {log}");
        }
    }
}

#[tokio::test]
async fn the_life_of_sessions_and_keys_is_logged_without_a_secret() {
    for format in ["json", "text"] {
        let settings =
            [("ALGORITHM", "EdDSA"), ("LOG", "trace"), ("LOG_FORMAT", format), ("REFRESH_REUSE_SECONDS", "0")];
        let mut server = Server::start(&settings);
        server.register("john").await;
        let (one, two) = (server.tokens("john").await, server.tokens("john").await);
        let three = server.renew(&one.refresh).await;
        let (status, code) = server.refresh_refused(&one.refresh).await;
        assert_eq!((status, code.as_str()), (401, "invalid_refresh_token"));
        assert_eq!(server.me(&three.access).await, (401, "session_ended".to_owned()), "a replay ends the session");
        // One that was changed, and one in the wrong place.
        let forged = format!("{}AAAA", &two.refresh[..two.refresh.len() - 4]);
        assert_eq!(server.refresh(&forged).await.0, 401);
        assert_eq!(server.me(&two.refresh).await.0, 401);
        let mut said = String::new();
        for words in [&["keys", "rotate", "--in", "2"][..], &["session", "list"], &["keys", "list"]] {
            let mut command = command(server.folder.path(), words);
            let output = finish(command.env("SECRET_KEY", SECRET_KEY).envs(settings), "");
            assert!(output.status.success());
            said += &(text(&output.stdout) + &text(&output.stderr));
        }
        assert!(said.contains("signing_key_added"), "{said}");
        let old = kid(&two.access);
        eventually("the new key signs", async || kids_in(&server, "active") != [old.clone()]).await;
        let four = server.renew(&two.refresh).await;
        server.prints(&["keys", "revoke", "--", &old]);
        assert_eq!(server.logout(&four.access).await, 204);
        let replacing = [("SECRET_KEY", OTHER), ("SECRET_KEY_PREVIOUS", SECRET_KEY)];
        server.restart(&[&settings[..], &replacing].concat());
        let five = server.tokens("john").await;
        let log = server.whole_log();
        for event in [
            "refresh_reused",
            "refresh_refused",
            "refresh",
            "logout",
            "login",
            "signing_keys_read",
            "secret_replaced",
            "start",
            "stop",
        ] {
            let is_there = match format {
                "json" => log.contains(&format!(r#""event":"{event}""#)),
                _ => log.contains(&format!(r#"event="{event}""#)),
            };
            assert!(is_there, "{format}: {event} in {log}");
        }
        let mut secrets = vec![PASSWORD, SECRET_KEY, OTHER, "$argon2id", &forged];
        for pair in [&one, &two, &three, &four, &five] {
            // Whole, and the part that cannot be guessed.
            let signature = pair.access.rsplit('.').next().unwrap();
            secrets.extend([&pair.access, signature, &pair.refresh, &pair.refresh[34..]]);
        }
        for secret in secrets {
            assert!(!log.contains(secret) && !said.contains(secret), "{format}: {secret} in {log} {said}");
        }
    }
}

#[tokio::test]
async fn the_address_of_a_client_is_believed_of_a_trusted_proxy_alone() {
    for (trusted, address) in [("127.0.0.1", "198.51.100.7"), ("", "127.0.0.1")] {
        let server = Server::start(&[("TRUSTED_PROXIES", trusted)]);
        let login =
            reqwest::Client::new().post(server.url("/login")).header("x-forwarded-for", "203.0.113.9, 198.51.100.7");
        login.json(&json!({"username": "nobody", "password": "x"})).send().await.unwrap();
        let log = server.whole_log();
        let failed = log.lines().find(|line| line.contains("login_failed")).unwrap();
        assert!(failed.contains(&format!(r#""address":"{address}""#)), "{failed}");
    }
}

#[tokio::test]
async fn a_log_that_nobody_takes_away_holds_nobody_up() {
    let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
    let mut command = command(folder.path(), &["serve"]);
    let metrics = format!("127.0.0.1:{}", free_port());
    command.env("SECRET_KEY", SECRET_KEY).env("PORT", port.to_string()).env("METRICS_ADDR", &metrics);
    let mut server = Server::spawn_silent(command, folder, port);
    let client = reqwest::Client::new();
    // More than wait for it.
    let ask = async || {
        for _ in 0..1_000 {
            assert_eq!(client.get(server.url("/nope")).send().await.unwrap().status(), 404);
        }
    };
    join_all((0..10).map(|_| ask())).await;
    assert!(count(&metrics, "hallpass_log_lines_lost").await > 0);
    server.signal("TERM");
    assert!(server.wait().success());
}
