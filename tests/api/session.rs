//! Logging in.

use futures_util::future::join_all;
use hallpass::{
    auth::random,
    model::{By, Cost, PasswordHash, Salt, Time, UserId},
    store::NewSession,
};
use serde_json::json;

use super::app::{CHEAP, PASSWORD, Pair, START, TestApp};

const REFUSED: (u16, &str, &str) = (401, "invalid_credentials", "Invalid username or password");

#[tokio::test]
async fn a_login_answers_a_token_that_opens_the_protected_route() {
    let app = TestApp::new().await;
    app.register("johndoe").await;
    let answer = app.try_login("johndoe", PASSWORD).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("cache-control"), "no-store");
    let body = answer.json();
    assert_eq!((&body["token_type"], &body["expires_in"]), (&json!("bearer"), &json!(1_800)));
    assert_eq!(body["expires_at"], "2026-11-23T09:30:00Z");
    let answer = app.get("/protected", body["access_token"].as_str()).await;
    assert_eq!(answer.json(), json!({"message": "Hello johndoe, you are authorized!"}));
    assert_eq!(app.text("SELECT CAST(last_login_at AS TEXT) FROM users").await, START.to_string());
}

#[tokio::test]
async fn the_life_of_a_token_is_a_setting() {
    let app = TestApp::with(&[
        ("ACCESS_TOKEN_EXPIRE_MINUTES", "5"),
        ("PUBLIC_URL", "https://login.example.com/"),
        ("AUDIENCE", "shop"),
    ])
    .await;
    app.register("johndoe").await;
    let body = app.try_login("johndoe", PASSWORD).await.json();
    let (_, claims) = super::forge::parts(body["access_token"].as_str().unwrap());
    assert_eq!((&claims["iss"], &claims["aud"]), (&json!("https://login.example.com"), &json!("shop")));
    assert_eq!((&body["expires_in"], &claims["exp"]), (&json!(300), &json!(START + 300)));
}

#[tokio::test]
async fn each_login_is_a_session_of_its_own_whatever_the_client_brings() {
    let app = TestApp::new().await;
    let first = app.as_session("john").await;
    let form = json!({"username": "john", "password": PASSWORD});
    for member in ["sid", "session_id", "jti", "refresh_token"] {
        let mut form = form.clone();
        form[member] = json!(first.sid());
        app.post("/login", &form).await.refuses(422, "validation_failed", "");
    }
    let request = poem::Request::builder().method(poem::http::Method::POST).content_type("application/json");
    let request = request.uri_str(format!("/login?sid={}", first.sid())).header("x-session-id", first.sid());
    let request = request.header("authorization", format!("Bearer {}", first.access));
    let request = request.header("cookie", format!("sid={}; session={}", first.sid(), first.sid()));
    let second = Pair::of(&app.send(request.body(form.to_string())).await);
    let jti = |pair: &Pair| super::forge::parts(&pair.access).1["jti"].clone();
    assert!(first.sid() != second.sid() && jti(&first) != jti(&second) && first.refresh != second.refresh);
    app.delete(&format!("/sessions/{}", first.sid()), &second.access).await;
    assert_eq!(app.verdict(&first.access).await, "session_ended");
    assert_eq!(app.verdict(&second.access).await, "ok");
}

/// On the one thread of this test, a hash there would be all that is done.
#[tokio::test]
async fn others_are_answered_while_a_password_is_hashed() {
    let slow = Cost { memory_kib: 65_536, iterations: 16, parallelism: 1 };
    let app = TestApp::at(tempfile::tempdir().unwrap(), &[("HASH_THREADS", "1")], CHEAP).await;
    let (_, token) = app.as_user("john").await;
    let app = std::sync::Arc::new(TestApp::at(app.close().await, &[("HASH_THREADS", "1")], slow).await);
    let login = tokio::spawn({
        let app = app.clone();
        async move { app.try_login("nobody", PASSWORD).await.status }
    });
    for _ in 0..20 {
        for path in ["/livez", "/.well-known/jwks.json", "/protected"] {
            assert_eq!(app.get(path, Some(&token)).await.status, 200, "{path}");
        }
    }
    assert!(!login.is_finished(), "they were answered before it");
    assert_eq!(login.await.unwrap(), 401);
}

#[tokio::test]
async fn every_refused_login_is_answered_alike() {
    let app = TestApp::new().await;
    app.register("johndoe").await;
    app.register("mallory").await;
    app.register("keyless").await;
    app.sql("UPDATE users SET disabled_at = 1 WHERE username = 'mallory'").await;
    app.sql("UPDATE users SET password_hash = NULL WHERE username = 'keyless'").await;
    let long = "x".repeat(2_000);
    let first = app.try_login("johndoe", "wrong").await;
    first.refuses(REFUSED.0, REFUSED.1, REFUSED.2);
    for (name, password) in [
        ("nobody", PASSWORD),
        ("mallory", PASSWORD),
        ("mallory", "wrong"),
        ("keyless", PASSWORD),
        ("johndoe", ""),
        ("johndoe", long.as_str()),
        ("johndoe", "with\0nul"),
        ("", PASSWORD),
        ("not a name", PASSWORD),
        ("nobody@example.org", PASSWORD),
        ("@", PASSWORD),
        (long.as_str(), PASSWORD),
        ("' OR 1=1 --", PASSWORD),
        ("johndoe'--", PASSWORD),
        ("johndoe\u{200b}", PASSWORD),
    ] {
        let answer = app.try_login(name, password).await;
        assert_eq!(answer.body_without_id(), first.body_without_id(), "{name:.30}");
        let names = |answer: &super::app::Answer| {
            let mut all: Vec<_> = answer
                .headers
                .iter()
                .filter(|(n, _)| *n != "x-request-id")
                .map(|(n, v)| (n.to_string(), v.clone()))
                .collect();
            all.sort_by(|a, b| a.0.cmp(&b.0));
            all
        };
        assert_eq!(names(&answer), names(&first), "{name:.30}");
    }
}

#[tokio::test]
async fn a_name_is_found_in_every_spelling_of_it() {
    let app = TestApp::new().await;
    app.register("Zoë").await;
    let (composed, decomposed) = ("\u{e9}".repeat(40), "e\u{301}".repeat(40));
    app.register(&composed).await;
    assert_eq!(app.try_login(&decomposed, PASSWORD).await.status, 200, "measured after its mapping");
    for name in ["zoë", "ZOË", "Zoe\u{308}", "ｚoë"] {
        assert_eq!(app.try_login(name, PASSWORD).await.status, 200, "{name}");
    }
    app.try_login("zoe", PASSWORD).await.refuses(REFUSED.0, REFUSED.1, REFUSED.2);
    // As it stands in a letter.
    app.register("z.oe").await;
    assert_eq!(app.try_login("z.\u{2060}oe", PASSWORD).await.status, 200);
}

#[tokio::test]
async fn an_address_logs_in_once_it_is_proved() {
    let app = TestApp::new().await;
    let form = json!({"username": "jane", "password": PASSWORD, "email": "Jane@Example.org"});
    assert_eq!(app.post("/register", &form).await.status, 201);
    app.try_login("jane@example.org", PASSWORD).await.refuses(REFUSED.0, REFUSED.1, REFUSED.2);
    assert_eq!(app.post("/email/verify", &app.mail().await.link()).await.status, 204);
    assert_eq!(app.try_login("JANE@example.ORG", PASSWORD).await.status, 200);
}

#[tokio::test]
async fn a_password_is_compared_whole_and_after_opaque_string() {
    let app = TestApp::new().await;
    let (long, emoji) = (format!("{}X", "a".repeat(72)), "\u{1f600}\u{1f680}".repeat(32));
    let rows: [(&str, &str, &[&str], &[&str]); 5] = [
        ("long", &long, &[], &[&long[..72], &long[..64], &format!("{}Y", "a".repeat(72))]),
        ("emoji", &emoji, &[], &[&format!("{}\u{1f681}", emoji.strip_suffix('\u{1f680}').unwrap())]),
        ("blank", " Pass word long 1 ", &["\u{a0}Pass word long 1 "], &["Pass word long 1", " pass word long 1 "]),
        ("accent", "caf\u{e9} au lait, s'il", &["cafe\u{301} au lait, s'il"], &["cafe au lait, s'il"]),
        ("width", "AAAAAABBBBBBCCCCCCfi", &[], &["\u{ff21}AAAAABBBBBBCCCCCCfi", "AAAAAABBBBBBCCCCCC\u{fb01}"]),
    ];
    for (name, password, same, others) in rows {
        let answer = app.post("/register", &json!({"username": name, "password": password})).await;
        assert_eq!(answer.status, 201, "{name} {}", answer.text());
        for password in std::iter::once(&password).chain(same) {
            assert_eq!(app.try_login(name, password).await.status, 200, "{name}");
        }
        for password in others {
            assert_eq!(app.try_login(name, password).await.status, 401, "{name} {password}");
        }
    }
}

#[tokio::test]
async fn who_logs_in_while_his_hash_is_renewed_is_let_in() {
    let app = TestApp::new().await;
    app.register("john").await;
    let app = TestApp::at(app.close().await, &[("HASH_THREADS", "4")], Cost { iterations: 2, ..CHEAP }).await;
    let logins = (0..8).map(|_| app.try_login("john", PASSWORD));
    let statuses: Vec<_> = join_all(logins).await.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [200; 8]);
    assert!(app.text("SELECT password_hash FROM users").await.contains("t=2,"));
}

#[tokio::test]
async fn a_hash_is_renewed_at_a_login_and_only_then() {
    let cheap = Cost { memory_kib: 64, iterations: 1, parallelism: 1 };
    let app = TestApp::at(tempfile::tempdir().unwrap(), &[], cheap).await;
    let (_, token) = app.as_user("john").await;
    let hash = "SELECT password_hash FROM users";
    let before = app.text(hash).await;
    app.login("john").await;
    assert_eq!(app.text(hash).await, before, "the same cost");

    let dearer = Cost { iterations: 2, ..cheap };
    let app = TestApp::at(app.close().await, &[], dearer).await;
    assert_eq!(app.try_login("john", "wrong").await.status, 401);
    assert_eq!(app.text(hash).await, before, "a failure");
    app.login("john").await;
    let after = app.text(hash).await;
    assert!(after.starts_with("$argon2id$v=19$m=64,t=2,p=1$"), "{after}");
    assert_eq!(app.get("/me", Some(&token)).await.status, 200);
    app.login("john").await;
    assert_eq!(app.text(hash).await, after);
}

#[tokio::test]
async fn a_damaged_hash_refuses_the_login_and_nothing_else() {
    let app = TestApp::new().await;
    let (_, token) = app.as_user("john").await;
    for statement in [
        "UPDATE users SET password_hash = 'x'",
        "UPDATE users SET password_hash = ''",
        "UPDATE users SET password_hash = 'éééééééééééééééééééééééééééééééééééééééééééééééééééééééééééé'",
        "UPDATE users SET password_hash = '$argon2id$v=19$m=4294967295,t=1,p=1$c2FsdHNhbHRzYWx0c2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA'",
        "UPDATE users SET password_hash = '$2b$12$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234'",
    ] {
        app.sql(statement).await;
        app.try_login("john", PASSWORD).await.refuses(REFUSED.0, REFUSED.1, REFUSED.2);
    }
    assert_eq!(app.get("/me", Some(&token)).await.status, 200);
}

#[tokio::test]
async fn more_logins_than_the_queue_holds_are_told_to_come_again() {
    let folder = tempfile::tempdir().unwrap();
    let slow = Cost { memory_kib: 19_456, iterations: 2, parallelism: 1 };
    let app = TestApp::at(folder, &[("HASH_THREADS", "1"), ("HASH_QUEUE", "2")], slow).await;
    app.register("john").await;
    let answers = futures_util::future::join_all((0..20).map(|_| app.try_login("john", PASSWORD))).await;
    let (served, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 200);
    assert!(served.len() >= 2, "{} served", served.len());
    assert!(!refused.is_empty());
    for answer in refused {
        answer.refuses(503, "overloaded", "");
        assert_eq!(answer.header("retry-after"), "1");
    }
    assert_eq!(app.try_login("john", PASSWORD).await.status, 200);
}

#[tokio::test]
async fn an_account_that_changes_during_its_login_is_not_let_in() {
    let app = TestApp::new().await;
    let user = app.register("john").await;
    let id = UserId::from_text(user["id"].as_str().unwrap().to_owned());
    let now = Time::from_unix(START);
    let hash = PasswordHash::from_text(app.text("SELECT password_hash FROM users").await);
    let open = async |stronger: Option<PasswordHash>| {
        let new = NewSession {
            id: random::id(now).unwrap(),
            user_id: id.clone(),
            salt: Salt::from_bytes([0; 16]),
            secret_id: app.app.secrets.current.id.clone(),
            created_at: now,
            refresh_expires_at: now.plus(60),
            expires_at: now.plus(60),
            ip: String::new(),
            user_agent: None,
            others: 49,
        };
        app.app.store.open_session(new, hash.clone(), stronger, None, By::operator()).await.unwrap().is_some()
    };
    assert!(open(None).await);
    app.sql("UPDATE users SET disabled_at = 1").await;
    assert!(!open(None).await, "disabled since");
    app.sql("UPDATE users SET disabled_at = NULL, password_hash = 'other'").await;
    assert!(!open(Some(hash.clone())).await, "other password");
    assert_eq!(app.text("SELECT password_hash FROM users").await, "other");
    app.sql("DELETE FROM users").await;
    assert!(!open(None).await, "deleted since");
    assert_eq!(app.text("SELECT CAST(COUNT(*) AS TEXT) FROM sessions").await, "0");
}
