//! A clock that jumps: by an hour, by ten years, to where times begin, and over where 32 bits end.

use hallpass::{
    auth::{account, upkeep},
    store::{Changes, NewRoles},
};
use poem::http::Method;
use serde_json::{Value, json};

use super::app::{PASSWORD, Pair, START, TestApp};

const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;
const TEN_YEARS: i64 = 3_652 * DAY;
const END_OF_32_BITS: i64 = 1 << 31;

/// From where it is to where it jumps. The first stands still.
const JUMPS: [fn(i64) -> i64; 9] = [
    |now| now,
    |now| now + HOUR,
    |now| now - HOUR,
    |now| now + TEN_YEARS,
    |now| now - TEN_YEARS,
    |_| 0,
    |_| END_OF_32_BITS - 1,
    |_| END_OF_32_BITS,
    |_| 2 * END_OF_32_BITS,
];

/// A request that the operation accepts, but for codes that nobody was mailed.
fn body(method: &str, path: &str, pair: &Pair, name: &str) -> Option<Value> {
    let email = format!("{name}@example.org");
    Some(match (method, path) {
        ("post", "/login") => json!({"username": name, "password": PASSWORD}),
        ("post", "/refresh") => json!({"refresh_token": pair.refresh}),
        ("post", "/register") => {
            json!({"username": format!("{name}-too"), "password": PASSWORD, "email": format!("too-{email}")})
        }
        ("post", "/password/change") => json!({"current_password": PASSWORD, "new_password": "eleven blue teapots"}),
        ("post", "/password/reset") => json!({"token": "x", "new_password": "eleven blue teapots"}),
        ("post", "/password/forgot" | "/email/resend") => json!({"email": email}),
        ("post", "/email/verify") => json!({"email": email, "code": "12345678"}),
        ("post", "/email/change") => json!({"password": PASSWORD, "email": format!("new-{email}")}),
        ("post", "/me/delete") => json!({"password": PASSWORD}),
        ("post", "/admin/users") => json!({"username": format!("{name}-by-admin"), "password": PASSWORD}),
        ("patch", "/admin/users/{id}") => json!({"disabled": true, "roles": ["editor"]}),
        ("get" | "delete", _) | ("post", "/logout") => return None,
        other => panic!("no request for {other:?}"),
    })
}

/// The status of every operation of the document, each asked by somebody who has just logged in.
async fn statuses(app: &TestApp) -> Vec<(String, u16)> {
    let document: Value = serde_json::from_str(include_str!("../../openapi.json")).unwrap();
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        // Beside the methods stand descriptions.
        let known = |key: &&String| ["get", "post", "patch", "delete"].contains(&key.as_str());
        let methods = item.as_object().unwrap().keys().filter(known);
        for method in methods {
            let name = format!("user{}", found.len());
            let id = app.claim(&name, &format!("{name}@example.org")).await["id"].as_str().unwrap().to_owned();
            let pair = app.open(&name).await;
            let token = if path.starts_with("/admin") { app.open("admin-of-all").await } else { pair.clone() };
            let body = body(method, path, &pair, &name);
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            let answer = app.call(method.clone(), &path.replace("{id}", &id), &token.access, body.as_ref()).await;
            found.push((format!("{method} {path}"), answer.status));
        }
    }
    found
}

/// Refused, each in its way: whatever the clock says.
struct Past {
    access: Vec<String>,
    refresh: Vec<String>,
    codes: Vec<Value>,
}

/// What ended, was used, or expired.
async fn past(app: &TestApp) -> Past {
    let mut past = Past { access: Vec::new(), refresh: Vec::new(), codes: Vec::new() };
    app.claim("john", "john@example.org").await;
    past.codes.extend(app.mails().await.iter().flat_map(|mail| [mail.link(), mail.code()]));
    let expired = app.open("john").await;
    app.sleep(15 * DAY);
    // What was told so once stays so.
    app.try_refresh(&expired.refresh).await.refuses(401, "invalid_refresh_token", "");
    assert_eq!(app.verdict(&expired.access).await, "token_expired");
    upkeep::round(&app.app, app.app.clock.now()).await;

    let ended = app.open("john").await;
    assert_eq!(app.call(Method::POST, "/logout", &ended.access, None).await.status, 204);
    let replayed = app.open("john").await;
    let second = app.refresh(&replayed.refresh).await;
    let third = app.refresh(&second.refresh).await;
    assert_eq!(app.verdict(&third.access).await, "ok");
    app.sleep(60);
    app.try_refresh(&replayed.refresh).await.refuses(401, "invalid_refresh_token", "");
    let disabled = app.as_session("jane").await;
    let jane = account::find(&app.app, "jane").await.unwrap();
    app.change(app.app.clock.now(), &jane, Changes::disabled(true)).await;
    for pair in [expired, ended, replayed, second, third, disabled] {
        past.access.push(pair.access);
        past.refresh.push(pair.refresh);
    }
    past
}

impl Past {
    async fn is_refused(&self, app: &TestApp, when: i64) {
        for token in &self.access {
            let answer = app.get("/me", Some(token)).await;
            assert_eq!(answer.status, 401, "at {when}: {}", answer.text());
        }
        for token in &self.refresh {
            app.try_refresh(token).await.refuses(401, "invalid_refresh_token", "");
        }
        for code in &self.codes {
            app.post("/email/verify", code).await.refuses(400, "invalid_code", "");
        }
        app.try_login("jane", PASSWORD).await.refuses(401, "invalid_credentials", "");
    }
}

#[tokio::test]
async fn a_clock_that_jumps_breaks_no_operation_and_brings_nothing_back() {
    let mut usual = Vec::new();
    for jump in JUMPS {
        let app = TestApp::new().await;
        app.register("admin-of-all").await;
        let admin = account::find(&app.app, "admin-of-all").await.unwrap();
        let role = hallpass::model::Roles::one("admin").unwrap();
        app.change(app.app.clock.now(), &admin, Changes::roles(NewRoles::Add(role))).await;
        let past = past(&app).await;
        past.is_refused(&app, START).await;
        let (kept, renewed) = (app.open("john").await, app.open("john").await);
        let before = app.app.clock.now().unix();
        let when = jump(before);
        app.sleep(when - before);

        past.is_refused(&app, when).await;
        let found = statuses(&app).await;
        if usual.is_empty() {
            assert!(found.iter().filter(|(_, status)| *status < 400).count() > 25, "{found:?}");
            usual.clone_from(&found);
        }
        assert_eq!(found, usual, "at {when}");
        // Nobody is signed out by a clock that was set back, or by an hour.
        if when <= before + HOUR {
            assert_eq!(app.verdict(&app.refresh(&renewed.refresh).await.access).await, "ok", "at {when}");
        }
        // What begins now holds now.
        let fresh = app.open("john").await;
        assert_eq!(app.verdict(&fresh.access).await, "ok", "at {when}");
        let fresh = app.refresh(&fresh.refresh).await;
        assert_eq!(app.verdict(&fresh.access).await, "ok", "at {when}");
        assert_eq!(app.call(Method::POST, "/logout", &fresh.access, None).await.status, 204);
        drop(app.mails().await);

        // The clock is set right.
        app.sleep(before - when);
        past.is_refused(&app, before).await;
        assert_ne!(app.verdict(&fresh.access).await, "ok", "from {when}");
        app.try_refresh(&fresh.refresh).await.refuses(401, "invalid_refresh_token", "");
        assert_eq!(app.verdict(&kept.access).await, "ok", "a session that nobody used meanwhile is none the worse");
        app.refresh(&kept.refresh).await;
    }
}

#[tokio::test]
async fn a_link_or_code_that_was_refused_as_expired_stays_so() {
    const MINUTE: i64 = 60;
    for (what, after) in [("code", 11 * MINUTE), ("token", 25 * HOUR)] {
        for purpose in ["verify", "reset"] {
            let app = TestApp::new().await;
            app.own("john", "john@example.org").await;
            let mail = if purpose == "verify" {
                app.claim("jane", "jane@example.org").await;
                app.mail().await
            } else {
                let forgot = app.post("/password/forgot", &json!({"email": "john@example.org"})).await;
                assert_eq!(forgot.status, 202);
                app.mail().await
            };
            let path = if purpose == "verify" { "/email/verify" } else { "/password/reset" };
            let show = async |what: &str| {
                let mut form = if what == "code" { mail.code() } else { mail.link() };
                if purpose == "reset" {
                    form["new_password"] = json!("eleven blue teapots");
                }
                app.post(path, &form).await
            };
            app.sleep(after);
            show(what).await.refuses(400, "invalid_code", "");
            app.sleep(-after);
            show(what).await.refuses(400, "invalid_code", "");
            // The link beside a code that came too late counts as long as it would.
            if what == "code" {
                let answer = show("token").await;
                assert_eq!(answer.status / 100, 2, "{}", answer.text());
            }
        }
    }
}
