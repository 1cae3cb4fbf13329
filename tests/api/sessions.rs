//! Sessions: what they are, and how they end.

use hallpass::auth::{session, upkeep};
use poem::http::Method;
use serde_json::{Value, json};

use super::app::{PASSWORD, Pair, TestApp};

async fn list(app: &TestApp, pair: &Pair) -> Vec<Value> {
    let answer = app.get("/sessions", Some(&pair.access)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json().as_array().unwrap().clone()
}

async fn is_alive(app: &TestApp, pair: &Pair) -> bool {
    let verdict = app.verdict(&pair.access).await;
    assert!(verdict == "ok" || verdict == "session_ended", "{verdict}");
    verdict == "ok"
}

#[tokio::test]
async fn sessions_are_listed_and_none_of_their_secrets() {
    let app = TestApp::new().await;
    let first = app.as_session("john").await;
    app.as_session("jane").await;
    app.sleep(5);
    let login = poem::Request::builder()
        .method(Method::POST)
        .uri_str("/login")
        .content_type("application/json")
        .header("user-agent", format!("Phone {}", "x".repeat(400)))
        .body(json!({"username": "john", "password": PASSWORD}).to_string());
    app.send(login).await;
    let sessions = list(&app, &first).await;
    assert_eq!(sessions.len(), 2);
    let agent = format!("Phone {}", "x".repeat(250));
    assert_eq!(sessions[0]["user_agent"], agent, "the newest first, cut to 256 characters");
    let expected = json!({
        "id": first.sid(), "created_at": "2026-11-23T09:00:00Z", "last_used_at": "2026-11-23T09:00:00Z",
        "expires_at": "2026-12-23T09:00:00Z", "ip": "127.0.0.1", "user_agent": null, "current": true,
    });
    assert_eq!(sessions[1], expected);
    assert_eq!(sessions[0]["current"], false);
}

#[tokio::test]
async fn last_use_is_written_once_a_minute() {
    let app = TestApp::new().await;
    let pair = app.as_session("john").await;
    let stored = "SELECT CAST(last_used_at AS TEXT) FROM sessions";
    let start = app.text(stored).await;
    app.sleep(59);
    assert_eq!(list(&app, &pair).await[0]["last_used_at"], "2026-11-23T09:00:00Z");
    assert_eq!(app.text(stored).await, start);
    app.sleep(1);
    assert_eq!(list(&app, &pair).await[0]["last_used_at"], "2026-11-23T09:01:00Z");
    assert_ne!(app.text(stored).await, start);
    app.sleep(600);
    let next = app.refresh(&pair.refresh).await;
    assert_eq!(list(&app, &next).await[0]["last_used_at"], "2026-11-23T09:11:00Z", "a refresh is a use");
}

#[tokio::test]
async fn each_way_of_ending_ends_what_it_says_and_can_be_repeated() {
    // The path, and which of the own sessions it leaves: this one, the other one.
    let rows: [(&str, bool, bool); 5] = [
        ("/sessions/{this}", false, true),
        ("/sessions/{other}", true, false),
        ("/sessions?except=current", true, false),
        ("/sessions", false, false),
        ("/sessions/01a20a7f-d318-738a-8a3e-e3b12a82ac53", true, true),
    ];
    for (path, this_lives, other_lives) in rows {
        let app = TestApp::new().await;
        let (this, jane) = (app.as_session("john").await, app.as_session("jane").await);
        let other = app.open("john").await;
        let path = path.replace("{this}", &this.sid()).replace("{other}", &other.sid());
        assert_eq!(app.delete(&path, &this.access).await.status, 204, "{path}");
        if this_lives {
            assert_eq!(app.delete(&path, &this.access).await.status, 204, "{path}: again");
        }
        assert_eq!(is_alive(&app, &this).await, this_lives, "{path}");
        assert_eq!(is_alive(&app, &other).await, other_lives, "{path}");
        assert_eq!(app.try_refresh(&this.refresh).await.status == 200, this_lives, "{path}");
        assert_eq!(app.try_refresh(&other.refresh).await.status == 200, other_lives, "{path}");
        assert!(is_alive(&app, &jane).await, "{path}: somebody else's");
    }
}

#[tokio::test]
async fn what_ended_stays_ended_when_the_clock_steps_back() {
    let app = TestApp::new().await;
    let first = app.as_session("john").await;
    let second = app.refresh(&first.refresh).await;
    app.sleep(20);
    assert_eq!(app.delete("/sessions", &second.access).await.status, 204);
    app.sleep(-15);
    for pair in [&first, &second] {
        assert!(!is_alive(&app, pair).await);
        assert_eq!(app.try_refresh(&pair.refresh).await.status, 401);
    }
}

#[tokio::test]
async fn what_seems_to_have_expired_is_ended_too() {
    let paths = ["/sessions", "/sessions?except=current", "every"].into_iter();
    for (path, is_purged) in paths.flat_map(|path| [(path, false), (path, true)]) {
        let app = TestApp::new().await;
        let pair = app.as_session("john").await;
        assert!(is_alive(&app, &pair).await);
        // The clock is wrong, and is set right later.
        app.sleep(40 * 24 * 60 * 60);
        if is_purged {
            upkeep::round(&app.app, app.app.clock.now()).await;
        }
        let access = app.open("john").await.access;
        match path {
            "every" => session::end_every(&app.app, app.app.clock.now()).await.unwrap(),
            path => assert_eq!(app.delete(path, &access).await.status, 204),
        }
        app.sleep(-40 * 24 * 60 * 60);
        assert!(!is_alive(&app, &pair).await, "{path}");
        assert_eq!(app.try_refresh(&pair.refresh).await.status, 401, "{path}");
    }
}

#[tokio::test]
async fn nobody_ends_or_sees_the_session_of_somebody_else() {
    let app = TestApp::new().await;
    let (john, jane) = (app.as_session("john").await, app.as_session("jane").await);
    for id in [john.sid(), "x".to_owned(), "é".to_owned(), "x".repeat(3_000)] {
        assert_eq!(app.delete(&format!("/sessions/{id}"), &jane.access).await.status, 204, "{id:.20}");
    }
    assert!(is_alive(&app, &john).await);
    assert!(list(&app, &jane).await.iter().all(|session| session["id"] == jane.sid()));
    app.delete("/sessions/%00", &john.access).await.refuses(404, "not_found", "");
    app.delete("/sessions?except=all", &john.access).await.refuses(422, "validation_failed", "");
    for query in
        ["except=", "excpet=current", "EXCEPT=current", "except[]=current", "except=current&except=current", "x"]
    {
        app.delete(&format!("/sessions?{query}"), &john.access).await.refuses(422, "validation_failed", "");
    }
    assert!(is_alive(&app, &john).await);
    let answer = app.call(Method::PUT, &format!("/sessions/{}", john.sid()), &john.access, None).await;
    answer.refuses(405, "method_not_allowed", "");
    assert_eq!(answer.header("allow"), "DELETE");
}

#[tokio::test]
async fn a_logout_takes_either_token_and_can_be_repeated() {
    let app = TestApp::new().await;
    app.register("john").await;
    let post = async |token: Option<&str>, body: Option<Value>| match token {
        Some(token) => app.call(Method::POST, "/logout", token, body.as_ref()).await,
        None => match body {
            Some(body) => app.post("/logout", &body).await,
            None => app.send(poem::Request::builder().method(Method::POST).uri_str("/logout").finish()).await,
        },
    };
    let by_refresh = |pair: &Pair| Some(json!({"refresh_token": pair.refresh}));

    let pair = app.open("john").await;
    for _ in 0..2 {
        assert_eq!(post(Some(&pair.access), None).await.status, 204);
        assert!(!is_alive(&app, &pair).await);
    }
    let pair = app.open("john").await;
    for _ in 0..2 {
        assert_eq!(post(None, by_refresh(&pair)).await.status, 204);
        assert!(!is_alive(&app, &pair).await);
    }
    let (pair, second) = (app.open("john").await, app.open("john").await);
    assert_eq!(post(Some(&pair.access), by_refresh(&second)).await.status, 204);
    assert!(!is_alive(&app, &pair).await && !is_alive(&app, &second).await, "both were presented");

    let pair = app.open("john").await;
    app.sleep(3_600);
    assert_eq!(app.verdict(&pair.access).await, "token_expired");
    assert_eq!(post(Some(&pair.access), None).await.status, 204, "past its time");
    assert_eq!(app.try_refresh(&pair.refresh).await.status, 401);

    let pair = app.open("john").await;
    let later = app.refresh(&pair.refresh).await;
    assert_eq!(post(None, by_refresh(&pair)).await.status, 204, "of the generation before");
    assert!(!is_alive(&app, &later).await);

    for body in [None, Some(json!({})), Some(json!({"refresh_token": null}))] {
        post(None, body).await.refuses(401, "not_authenticated", "Not authenticated");
    }
    let (pair, forged) = (app.open("john").await, json!({"refresh_token": "x"}));
    let tail = pair.refresh.chars().rev().collect::<String>();
    post(Some("x.y.z"), None).await.refuses(401, "invalid_token", "Invalid token");
    post(None, Some(forged.clone())).await.refuses(401, "invalid_token", "Invalid token");
    post(None, Some(json!({"refresh_token": tail}))).await.refuses(401, "invalid_token", "Invalid token");
    post(Some(&pair.access), Some(forged)).await.refuses(401, "invalid_token", "Invalid token");
    post(Some(&pair.access), Some(json!({"all": true}))).await.refuses(422, "validation_failed", "");
    assert!(is_alive(&app, &pair).await, "a refused logout ends nothing");
    app.post_text("/logout", "text/plain", "x").await.refuses(415, "unsupported_media_type", "");
    app.post_text("/logout", "application/json", "{").await.refuses(400, "malformed_json", "");
}

#[tokio::test]
async fn the_fifty_first_session_ends_the_oldest() {
    let app = TestApp::new().await;
    let oldest = app.as_session("john").await;
    app.sleep(1);
    let mut last = oldest.clone();
    for _ in 0..49 {
        last = app.open("john").await;
    }
    assert_eq!(list(&app, &last).await.len(), 50);
    assert!(is_alive(&app, &oldest).await);
    // Under a clock that was set back, the newest is still not the oldest.
    app.sleep(-600);
    let newest = app.open("john").await;
    app.sleep(601);
    assert!(is_alive(&app, &newest).await && !is_alive(&app, &oldest).await);
    assert_eq!(list(&app, &newest).await.len(), 50);
    let row = "SELECT group_concat(detail || (target = actor)) FROM audit WHERE event = 'session_displaced'";
    assert_eq!(app.text(row).await, format!("{}1", oldest.sid()));
}

#[tokio::test]
async fn a_new_password_ends_the_other_sessions_and_leaves_this_one() {
    let app = TestApp::new().await;
    let (this, jane) = (app.as_session("john").await, app.as_session("jane").await);
    let other = app.open("john").await;
    let change = async |current: &str, new: &str| {
        let body = json!({"current_password": current, "new_password": new});
        app.call(Method::POST, "/password/change", &this.access, Some(&body)).await
    };
    let answer = change("not the password", "nine yellow bicycles").await;
    answer.refuses(403, "wrong_password", "Wrong password");
    assert_eq!(answer.header("www-authenticate"), r#"Bearer error="insufficient_scope""#);
    change("", "nine yellow bicycles").await.refuses(403, "wrong_password", "");
    for (new, detail) in [
        ("short", "/new_password: must have at least 15 characters"),
        ("johnjohnjohnjohn", "/new_password: is the name of the user or of the product"),
        ("passwordpassword", "/new_password: is among the most common passwords"),
    ] {
        let answer = change(PASSWORD, new).await;
        answer.refuses(422, "validation_failed", "");
        assert_eq!(answer.invalid().len(), 1, "{detail}");
        assert!(answer.invalid()[0].starts_with("/new_password: "), "{:?}", answer.invalid());
    }
    assert!(is_alive(&app, &other).await, "nothing was changed so far");
    assert_eq!(change(PASSWORD, "nine yellow bicycles").await.status, 204);
    assert!(is_alive(&app, &this).await && !is_alive(&app, &other).await && is_alive(&app, &jane).await);
    assert_eq!(app.try_refresh(&other.refresh).await.status, 401);
    app.refresh(&this.refresh).await;
    assert_eq!(app.try_login("john", PASSWORD).await.status, 401);
    assert_eq!(app.try_login("john", "nine yellow bicycles").await.status, 200);
}

#[tokio::test]
async fn who_has_no_password_can_neither_change_it_nor_delete_the_account() {
    let app = TestApp::new().await;
    let pair = app.as_session("john").await;
    app.sql("UPDATE users SET password_hash = NULL").await;
    let change = json!({"current_password": PASSWORD, "new_password": "nine yellow bicycles"});
    for (path, body) in [("/password/change", change), ("/me/delete", json!({"password": PASSWORD}))] {
        app.call(Method::POST, path, &pair.access, Some(&body)).await.refuses(403, "wrong_password", "");
    }
}

#[tokio::test]
async fn a_deleted_account_is_gone_with_its_sessions_whoever_takes_its_name() {
    let app = TestApp::new().await;
    let (first, second) = (app.as_session("john").await, app.open("john").await);
    let delete = async |pair: &Pair, password: &str| {
        app.call(Method::POST, "/me/delete", &pair.access, Some(&json!({"password": password}))).await
    };
    delete(&first, "not the password").await.refuses(403, "wrong_password", "Wrong password");
    assert_eq!(delete(&first, PASSWORD).await.status, 204);
    let new = app.as_session("john").await;
    for pair in [&first, &second] {
        assert_eq!(app.verdict(&pair.access).await, "user_not_found");
        assert_eq!(app.try_refresh(&pair.refresh).await.status, 401);
    }
    assert_eq!(list(&app, &new).await.len(), 1);
}

#[tokio::test]
async fn the_last_admin_who_can_log_in_stays() {
    let app = TestApp::new().await;
    let (john, jane) = (app.as_session("john").await, app.as_session("jane").await);
    app.sql("UPDATE users SET roles = 'user admin' WHERE username = 'john'").await;
    app.sql("UPDATE users SET roles = 'user admins' WHERE username = 'jane'").await;
    let delete = async |pair: &Pair| {
        app.call(Method::POST, "/me/delete", &pair.access, Some(&json!({"password": PASSWORD}))).await
    };
    delete(&john).await.refuses(409, "last_admin", "");
    app.register("jack").await;
    app.sql("UPDATE users SET roles = 'user admin', disabled_at = 1 WHERE username = 'jack'").await;
    delete(&john).await.refuses(409, "last_admin", "");
    app.sql("UPDATE users SET disabled_at = NULL WHERE username = 'jack'").await;
    assert_eq!(delete(&john).await.status, 204);
    assert_eq!(delete(&jane).await.status, 204, "no admin");
}

#[tokio::test]
async fn a_token_opens_its_own_session_alone() {
    use super::forge::{change, claims, parts, sign};
    let app = TestApp::new().await;
    let (john, jane) = (app.as_session("john").await, app.as_session("jane").await);
    let (header, good) = (parts(&john.access).0, claims(&john.access));
    // As somebody who holds the key, but mixes accounts and sessions up.
    for sid in [json!(jane.sid()), json!("y"), json!(john.sid().to_uppercase())] {
        let token = sign(&header, &change(&good, "sid", Some(sid.clone())));
        assert_eq!(app.verdict(&token).await, "session_ended", "{sid}");
    }
    assert_eq!(app.verdict(&sign(&header, &good)).await, "ok");
}

#[tokio::test]
async fn a_login_signs_the_roles_of_its_own_transaction() {
    use hallpass::{
        auth::account,
        model::Roles,
        store::{Changes, LastAdmin, NewRoles},
    };
    let slow = hallpass::model::Cost { memory_kib: 19_456, iterations: 8, parallelism: 1 };
    let app = TestApp::at(tempfile::tempdir().unwrap(), &[], slow).await;
    app.register("john").await;
    app.sql("UPDATE users SET roles = 'user admin'").await;
    let user = account::find(&app.app, "john").await.unwrap();
    let demote = async {
        // While the password is being hashed; if it were done sooner or later, there would be nothing to see.
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        let changes = Changes::roles(NewRoles::Remove(Roles::one("admin").unwrap())).with(LastAdmin::MayGo);
        app.change(app.app.clock.now(), &user, changes).await;
    };
    let (pair, ()) = tokio::join!(app.open("john"), demote);
    assert_eq!(super::forge::parts(&pair.access).1["roles"], json!(["user"]));
}

#[tokio::test]
async fn many_old_sessions_are_deleted_in_batches() {
    use hallpass::auth::upkeep;
    let app = TestApp::new().await;
    let pair = app.as_session("john").await;
    app.sql(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1201)
         INSERT INTO sessions SELECT 'old' || i, user_id, salt, 0, 1, NULL, secret_id, 1, 1, 1, 1, 1, ip, NULL
         FROM sessions, n",
    )
    .await;
    upkeep::round(&app.app, app.app.clock.now()).await;
    assert_eq!(app.text("SELECT CAST(COUNT(*) AS TEXT) FROM sessions").await, "1");
    assert!(is_alive(&app, &pair).await);
}

#[tokio::test]
async fn what_ended_long_ago_is_deleted_and_what_lives_is_not() {
    use hallpass::auth::upkeep;
    let app = TestApp::new().await;
    let (ended, idle) = (app.as_session("john").await, app.open("john").await);
    let alive = app.open("john").await;
    assert_eq!(app.delete(&format!("/sessions/{}", ended.sid()), &alive.access).await.status, 204);
    let count = "SELECT CAST(COUNT(*) AS TEXT) FROM sessions";
    upkeep::round(&app.app, app.app.clock.now()).await;
    assert_eq!(app.text(count).await, "3", "a token may still name it");
    app.sleep(25 * 3_600 + 1);
    upkeep::round(&app.app, app.app.clock.now()).await;
    assert_eq!(app.text(count).await, "2");
    app.sleep(12 * 24 * 3_600);
    let alive = app.refresh(&alive.refresh).await;
    app.sleep(2 * 24 * 3_600 + 1);
    upkeep::round(&app.app, app.app.clock.now()).await;
    assert_eq!(app.text(count).await, "1");
    assert_eq!(app.try_refresh(&idle.refresh).await.status, 401);
    app.refresh(&alive.refresh).await;
}
