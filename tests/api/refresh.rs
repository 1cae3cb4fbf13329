//! Refresh tokens: rotation, the answer that was lost, and the token that was stolen.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use futures_util::future::join_all;
use serde_json::json;

use super::{
    app::{Pair, TestApp},
    forge::parts,
};

const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;

async fn refused(app: &TestApp, token: &str, what: &str) {
    let answer = app.try_refresh(token).await;
    assert_eq!(answer.status, 401, "{what}: {}", answer.text());
    answer.refuses(401, "invalid_refresh_token", "Invalid refresh token");
    assert_eq!(answer.header("www-authenticate"), "Bearer");
}

/// The session is over: none of its tokens is accepted.
async fn is_over(app: &TestApp, pairs: &[&Pair], what: &str) {
    for pair in pairs {
        assert_eq!(app.verdict(&pair.access).await, "session_ended", "{what}");
        refused(app, &pair.refresh, what).await;
    }
}

#[tokio::test]
async fn a_refresh_answers_the_next_tokens_of_the_same_session() {
    let app = TestApp::new().await;
    let first = app.as_session("john").await;
    app.sleep(60);
    let answer = app.try_refresh(&first.refresh).await;
    assert_eq!((answer.status, answer.header("cache-control")), (200, "no-store"));
    let body = answer.json();
    assert_eq!((&body["token_type"], &body["expires_in"]), (&json!("bearer"), &json!(1_800)));
    assert_eq!(
        (&body["expires_at"], &body["refresh_expires_at"]),
        (&json!("2026-11-23T09:31:00Z"), &json!("2026-12-07T09:01:00Z"))
    );
    assert_eq!(body.as_object().unwrap().len(), 6);
    let (before, after) = (parts(&first.access).1, parts(body["access_token"].as_str().unwrap()).1);
    assert_eq!((&before["sid"], &before["sub"]), (&after["sid"], &after["sub"]));
    assert!(before["jti"] != after["jti"] && body["refresh_token"] != first.refresh);
    assert_eq!(app.verdict(body["access_token"].as_str().unwrap()).await, "ok");
    assert_eq!(app.text("SELECT CAST(COUNT(*) AS TEXT) FROM sessions").await, "1");
}

#[tokio::test]
async fn a_refresh_token_is_made_of_what_is_its_sessions_own() {
    let app = TestApp::new().await;
    app.as_session("john").await;
    for _ in 0..9 {
        app.open("john").await;
    }
    let salts = "SELECT COUNT(DISTINCT hex(salt)) || ' of ' || MIN(length(salt)) FROM sessions";
    assert_eq!(app.text(salts).await, "10 of 16");
}

#[tokio::test]
async fn the_lost_answer_and_the_second_tab_get_the_current_token() {
    for (after, what) in [
        (0, "twice in a row"),
        (1, "1 s"),
        (10, "10 s"),
        (11, "11 s"),
        (8 * HOUR, "8 h"),
        (DAY, "a day"),
        (-2, "the clock stepped back"),
    ] {
        let app = TestApp::new().await;
        let first = app.as_session("john").await;
        let second = app.refresh(&first.refresh).await;
        app.sleep(after);
        let again = app.refresh(&first.refresh).await;
        assert_eq!(again.refresh, second.refresh, "{what}: no second lineage");
        assert_ne!(again.access, second.access, "{what}");
        assert_eq!(app.verdict(&again.access).await, "ok", "{what}");
        let third = app.refresh(&second.refresh).await;
        assert_eq!(app.verdict(&third.access).await, "ok", "{what}");
    }
}

#[tokio::test]
async fn an_answer_that_was_lost_more_than_a_day_ago_ends_the_session() {
    let app = TestApp::new().await;
    let first = app.as_session("john").await;
    app.refresh(&first.refresh).await;
    app.sleep(DAY + 1);
    refused(&app, &first.refresh, "a day and a second").await;
    assert_eq!(app.text("SELECT CAST(ended_at IS NOT NULL AS TEXT) FROM sessions").await, "1");
}

#[tokio::test]
async fn a_replay_after_the_successor_was_used_ends_that_session_alone() {
    // How the successor was used.
    for by_access in [true, false] {
        let app = TestApp::new().await;
        let first = app.as_session("john").await;
        let other = app.open("john").await;
        let second = app.refresh(&first.refresh).await;
        let third = if by_access {
            assert_eq!(app.verdict(&second.access).await, "ok");
            // Within the window, a second tab is still served.
            app.sleep(10);
            assert_eq!(app.refresh(&first.refresh).await.refresh, second.refresh);
            app.sleep(1);
            second.clone()
        } else {
            app.refresh(&second.refresh).await
        };
        refused(&app, &first.refresh, "replayed").await;
        is_over(&app, &[&first, &second, &third], "replayed").await;
        assert_eq!(app.verdict(&other.access).await, "ok", "another session goes on");
        app.refresh(&other.refresh).await;
    }
}

#[tokio::test]
async fn the_old_access_token_does_not_count_as_use_of_the_successor() {
    let app = TestApp::new().await;
    // Login, refresh and use within one second: `iat` is the same in all of them.
    let first = app.as_session("john").await;
    let second = app.refresh(&first.refresh).await;
    assert_eq!(app.verdict(&first.access).await, "ok");
    app.sleep(-2);
    assert_eq!(app.verdict(&first.access).await, "ok");
    app.sleep(2 + HOUR / 4);
    assert_eq!(app.refresh(&first.refresh).await.refresh, second.refresh, "the answer was lost");
    let again = app.refresh(&first.refresh).await;
    assert_eq!(app.verdict(&again.access).await, "ok");
    app.sleep(11);
    refused(&app, &first.refresh, "now the successor has been used").await;
}

#[tokio::test]
async fn use_of_the_successor_is_on_the_disk_before_the_answer() {
    let app = TestApp::new().await;
    let first = app.as_session("john").await;
    let second = app.refresh(&first.refresh).await;
    let used = "SELECT COALESCE(CAST(successor_used_at AS TEXT), '-') FROM sessions";
    assert_eq!(app.text(used).await, "-");
    app.sleep(1);
    assert_eq!(app.verdict(&second.access).await, "ok");
    assert_eq!(app.text(used).await, (super::app::START + 1).to_string());
    app.refresh(&second.refresh).await;
    assert_eq!(app.text(used).await, "-", "emptied by the next rotation");
}

#[tokio::test]
async fn with_no_time_for_reuse_a_token_is_for_one_use() {
    let app = TestApp::with(&[("REFRESH_REUSE_SECONDS", "0")]).await;
    let first = app.as_session("john").await;
    let second = app.refresh(&first.refresh).await;
    refused(&app, &first.refresh, "at once").await;
    is_over(&app, &[&second], "at once").await;
}

#[tokio::test]
async fn twenty_at_once_leave_one_lineage() {
    let app = TestApp::new().await;
    let first = app.as_session("john").await;
    let pairs = join_all((0..20).map(|_| app.refresh(&first.refresh))).await;
    assert!(pairs.iter().all(|pair| pair.refresh == pairs[0].refresh));
    assert_eq!(app.text("SELECT CAST(generation AS TEXT) FROM sessions").await, "1");
    app.refresh(&pairs[0].refresh).await;
}

#[tokio::test]
async fn a_token_of_a_later_generation_than_the_databases_ends_the_session() {
    let app = TestApp::new().await;
    let first = app.as_session("john").await;
    let second = app.refresh(&first.refresh).await;
    // A backup of before the rotation.
    app.sql("UPDATE sessions SET generation = 0").await;
    refused(&app, &second.refresh, "from the future").await;
    is_over(&app, &[&first], "restored").await;
}

#[tokio::test]
async fn a_session_ends_idle_and_ends_for_good() {
    let app = TestApp::with(&[("REFRESH_TOKEN_EXPIRE_DAYS", "10"), ("SESSION_EXPIRE_DAYS", "25")]).await;
    let idle = app.as_session("john").await;
    let mut pair = app.open("john").await;
    for _ in 0..2 {
        app.sleep(10 * DAY - 1);
        pair = app.refresh(&pair.refresh).await;
    }
    refused(&app, &idle.refresh, "idle for more than ten days").await;
    let answer = app.try_refresh(&pair.refresh).await.json();
    assert_eq!(answer["refresh_expires_at"], "2026-12-18T09:00:00Z", "never after the session");
    pair = Pair { access: String::new(), refresh: answer["refresh_token"].as_str().unwrap().to_owned() };
    app.sleep(5 * DAY - 600 + 2);
    let answer = app.try_refresh(&pair.refresh).await.json();
    assert_eq!((&answer["expires_in"], &answer["expires_at"]), (&json!(600), &json!("2026-12-18T09:00:00Z")));
    let access = answer["access_token"].as_str().unwrap();
    assert_eq!(app.verdict(access).await, "ok");
    app.sleep(600);
    refused(&app, answer["refresh_token"].as_str().unwrap(), "25 days").await;
    assert_eq!(app.verdict(access).await, "token_expired");
}

#[tokio::test]
async fn what_is_no_refresh_token_of_ours_is_refused_and_ends_nothing() {
    let app = TestApp::new().await;
    let pair = app.as_session("john").await;
    let jane = app.as_session("jane").await;
    let bytes = URL_SAFE_NO_PAD.decode(&pair.refresh).unwrap();
    assert_eq!(bytes.len(), 57);
    let other = URL_SAFE_NO_PAD.decode(&jane.refresh).unwrap();
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let mut rows = vec![
        String::new(),
        "x".to_owned(),
        "\0".to_owned(),
        "é".repeat(76),
        pair.access.clone(),
        format!("{}=", pair.refresh),
        format!("{} ", pair.refresh),
        pair.refresh.replace(['-', '_'], "+").replacen(|c: char| c.is_ascii_lowercase(), "+", 1),
        encode(&bytes[..56]),
        encode(&[&bytes[..], b"x"].concat()),
        encode(&[&other[..25], &bytes[25..]].concat()),
        encode(&[&bytes[..25], &[0; 32]].concat()),
        encode(&[&bytes[..17], &u64::MAX.to_be_bytes(), &bytes[25..]].concat()),
        "A".repeat(15_000),
    ];
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        rows.push(encode(&damaged));
    }
    for token in rows {
        refused(&app, &token, &format!("{token:.90}")).await;
    }
    app.refresh(&pair.refresh).await;
    app.refresh(&jane.refresh).await;
    // One kind of token is never taken for the other.
    app.get("/me", Some(&jane.refresh)).await.refuses(401, "invalid_token", "Invalid token");
    for body in [
        json!({}),
        json!({"refresh_token": 1}),
        json!({"refresh_token": null}),
        json!({"refresh_token": "x", "sub": "y"}),
    ] {
        app.post("/refresh", &body).await.refuses(422, "validation_failed", "");
    }
}

#[tokio::test]
async fn the_database_holds_no_usable_token() {
    let app = TestApp::new().await;
    let pair = app.as_session("john").await;
    let next = app.refresh(&pair.refresh).await;
    let mut files = Vec::new();
    for name in ["test.db", "test.db-wal"] {
        files.extend(std::fs::read(app.folder.path().join(name)).unwrap());
    }
    for token in [&pair.refresh, &next.refresh] {
        let mac = &URL_SAFE_NO_PAD.decode(token).unwrap()[25..];
        assert!(!files.windows(mac.len()).any(|window| window == mac));
        assert!(!files.windows(token.len()).any(|window| window == token.as_bytes()));
    }
}

#[tokio::test]
async fn roles_and_the_state_of_the_account_are_read_again() {
    let app = TestApp::new().await;
    let pair = app.as_session("john").await;
    app.sql("UPDATE users SET roles = 'user editor'").await;
    let pair = app.refresh(&pair.refresh).await;
    assert_eq!(parts(&pair.access).1["roles"], json!(["user", "editor"]));
    app.sql("UPDATE users SET roles = 'user'").await;
    let pair = app.refresh(&pair.refresh).await;
    assert_eq!(parts(&pair.access).1["roles"], json!(["user"]));
    app.sql("UPDATE users SET disabled_at = 1").await;
    refused(&app, &pair.refresh, "disabled").await;
    app.sql("DELETE FROM users").await;
    refused(&app, &pair.refresh, "deleted").await;
}

#[tokio::test]
async fn a_refresh_that_cannot_be_written_changes_nothing() {
    use sqlx::Executor;
    let app = TestApp::new().await;
    let pair = app.as_session("john").await;
    let mut other = app.db().await;
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    let answer = app.try_refresh(&pair.refresh).await;
    answer.refuses(503, "storage_unavailable", "");
    assert_eq!(answer.header("retry-after"), "1");
    other.execute("ROLLBACK").await.unwrap();
    assert_eq!(app.text("SELECT CAST(generation AS TEXT) FROM sessions").await, "0");
    app.refresh(&pair.refresh).await;
}

#[tokio::test]
async fn a_clock_that_steps_back_far_makes_no_stolen_token_a_lost_answer() {
    let app = TestApp::new().await;
    let first = app.as_session("john").await;
    app.sleep(100);
    let second = app.refresh(&first.refresh).await;
    assert_eq!(app.verdict(&second.access).await, "ok");
    app.sleep(-60);
    refused(&app, &first.refresh, "used, and a minute in the future").await;
}

#[tokio::test]
async fn a_successor_whose_use_cannot_be_written_down_is_not_served() {
    use sqlx::Executor;
    let app = TestApp::new().await;
    let first = app.as_session("john").await;
    let second = app.refresh(&first.refresh).await;
    let mut other = app.db().await;
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    app.get("/me", Some(&second.access)).await.refuses(503, "storage_unavailable", "");
    assert_eq!(app.verdict(&first.access).await, "ok", "what needs no writing goes on");
    other.execute("ROLLBACK").await.unwrap();
    assert_eq!(app.verdict(&second.access).await, "ok");
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    assert_eq!(app.verdict(&second.access).await, "ok", "once is enough");
}

#[tokio::test]
async fn an_access_token_ends_with_the_idle_time_of_its_session() {
    let app = TestApp::with(&[("REFRESH_TOKEN_EXPIRE_DAYS", "1"), ("ACCESS_TOKEN_EXPIRE_MINUTES", "1440")]).await;
    let first = app.as_session("john").await;
    app.refresh(&first.refresh).await;
    app.sleep(DAY - 20);
    let answer = app.try_refresh(&first.refresh).await.json();
    assert_eq!((&answer["expires_in"], &answer["expires_at"]), (&json!(20), &answer["refresh_expires_at"]));
}
