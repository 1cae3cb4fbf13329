//! The audit log: one row for each change, written with it.

use hallpass::{
    auth::{account, admin, audit, rotation, session},
    model::{By, Roles, SessionId, UserId},
    store::{Changes, LastAdmin, NewRoles, Search},
};
use poem::http::Method;
use serde_json::json;

use super::app::{PASSWORD, TestApp};

/// What was written since a row: event, actor, target, outcome, count.
type Row = (String, Option<String>, Option<String>, String, i64);

async fn rows(app: &TestApp) -> Vec<Row> {
    audit::record(&app.app, app.app.clock.now()).await.unwrap();
    let mut rows = app.app.store.audit(Search::default(), 1_000).await.unwrap();
    rows.reverse();
    rows.into_iter()
        .map(|row| (row.event, row.actor.map(|id| id.to_string()), row.target, row.outcome, row.count))
        .collect()
}

/// The rows that this adds.
async fn added(app: &TestApp, seen: &mut usize) -> Vec<Row> {
    let all = rows(app).await;
    let new = all[*seen..].to_vec();
    *seen = all.len();
    new
}

fn row(event: &str, actor: Option<&str>, target: Option<&str>) -> Row {
    (event.to_owned(), actor.map(str::to_owned), target.map(str::to_owned), "done".to_owned(), 1)
}

#[tokio::test]
async fn what_an_owner_does_is_written_with_address_and_request() {
    let app = TestApp::new().await;
    let mut seen = rows(&app).await.len();
    let id = app.register("john").await["id"].as_str().unwrap().to_owned();
    let me = Some(id.as_str());
    assert_eq!(added(&app, &mut seen).await, [row("register", me, me)]);
    app.post("/register", &json!({"username": "john", "password": PASSWORD})).await.refuses(409, "username_taken", "");
    assert_eq!(added(&app, &mut seen).await, []);

    let answer = app.try_login("john", PASSWORD).await;
    let token = answer.json()["access_token"].as_str().unwrap().to_owned();
    assert_eq!(added(&app, &mut seen).await, [row("login", me, me)]);
    let login = app.app.store.audit(Search::default(), 1).await.unwrap().remove(0);
    assert_eq!(login.request_id.as_deref(), Some(answer.header("x-request-id")));
    assert_eq!(login.address.as_deref(), Some("127.0.0.1"));
    assert_eq!(login.detail.as_deref(), super::forge::parts(&token).1["sid"].as_str());
    assert_eq!(login.at, app.app.clock.now());

    let others = [app.open("john").await, app.open("john").await, app.open("john").await];
    added(&app, &mut seen).await;
    let new = "eight blue lanterns";
    let form = json!({"current_password": PASSWORD, "new_password": new});
    assert_eq!(app.call(Method::POST, "/password/change", &others[0].access, Some(&form)).await.status, 204);
    assert_eq!(added(&app, &mut seen).await, [row("password_changed", me, me)]);

    let pair = super::app::Pair::of(&app.try_login("john", new).await);
    let path = format!("/sessions/{}", pair.sid());
    added(&app, &mut seen).await;
    for expected in [vec![row("session_ended", me, me)], vec![]] {
        assert_eq!(app.delete(&path, &others[0].access).await.status, 204);
        assert_eq!(added(&app, &mut seen).await, expected, "nothing, if nothing changed");
    }
    let pair = super::app::Pair::of(&app.try_login("john", new).await);
    added(&app, &mut seen).await;
    for expected in [vec![row("sessions_ended", me, me)], vec![]] {
        assert_eq!(app.delete("/sessions?except=current", &pair.access).await.status, 204);
        assert_eq!(added(&app, &mut seen).await, expected);
    }
    let refresh = json!({"refresh_token": pair.refresh});
    for expected in [vec![row("logout", me, me)], vec![]] {
        assert_eq!(app.post("/logout", &refresh).await.status, 204);
        assert_eq!(added(&app, &mut seen).await, expected);
    }
    let pair = super::app::Pair::of(&app.try_login("john", new).await);
    added(&app, &mut seen).await;
    assert_eq!(app.call(Method::POST, "/me/delete", &pair.access, Some(&json!({"password": new}))).await.status, 204);
    assert_eq!(added(&app, &mut seen).await, [row("user_deleted", me, me)], "and it stays");
}

#[tokio::test]
async fn a_rotation_is_not_written_and_a_reuse_is() {
    let app = TestApp::new().await;
    let first = app.as_session("john").await;
    let second = app.refresh(&first.refresh).await;
    app.verdict(&second.access).await;
    let third = app.refresh(&second.refresh).await;
    app.verdict(&third.access).await;
    let mut seen = 0;
    let id = app.text("SELECT id FROM users").await;
    let me = Some(id.as_str());
    let events: Vec<String> = added(&app, &mut seen).await.into_iter().map(|row| row.0).collect();
    assert_eq!(events, ["signing_key_switched", "register", "login"]);
    app.sleep(60);
    for expected in [vec![row("refresh_reused", None, me)], vec![]] {
        assert_eq!(app.try_refresh(&first.refresh).await.status, 401);
        assert_eq!(added(&app, &mut seen).await, expected);
    }
}

#[tokio::test]
async fn what_the_operator_does_is_written_once() {
    let app = TestApp::new().await;
    let (server, by) = (&app.app, By::operator());
    let mut seen = rows(&app).await.len();
    let (username, password) = ("john".to_owned(), Some(PASSWORD.to_owned()));
    let form = account::Addition { username, password, ..account::Addition::default() };
    let user = account::add(server, server.clock.now(), &by, form).await.unwrap();
    let (now, id, john) = (server.clock.now(), user.id.to_string(), &user);
    let target = Some(id.as_str());
    assert_eq!(added(&app, &mut seen).await, [row("user_added", None, target)]);

    let editor = Roles::one("editor").unwrap();
    for _ in 0..2 {
        app.change(now, john, Changes::roles(NewRoles::Add(editor.clone()))).await;
        app.change(now, john, Changes::disabled(true)).await;
    }
    for _ in 0..2 {
        app.change(now, john, Changes::disabled(false)).await;
    }
    account::set_password(server, now, &by, john, PASSWORD.to_owned()).await.unwrap();
    let expected = ["roles_set", "user_disabled", "user_enabled", "password_set"];
    assert_eq!(added(&app, &mut seen).await, expected.map(|event| row(event, None, target)));
    let roles =
        app.app.store.audit(Search { event: Some("roles_set".to_owned()), ..Search::default() }, 9).await.unwrap();
    assert_eq!(roles[0].detail.as_deref(), Some("user editor"));

    let (one, _) = (app.open("john").await, app.open("john").await);
    added(&app, &mut seen).await;
    assert!(session::end_any(server, now, SessionId::from_text(one.sid())).await.unwrap());
    assert!(!session::end_any(server, now, SessionId::from_text(one.sid())).await.unwrap());
    session::end_every(server, now).await.unwrap();
    session::end_every(server, now).await.unwrap();
    session::end_all_of(server, now, &by, &user.id, None).await.unwrap();
    let expected = [row("session_ended", None, target), row("every_session_ended", None, None)];
    assert_eq!(added(&app, &mut seen).await, expected);
    app.remove(now, john).await;
    assert!(admin::delete(server, now, &by, &john.id, LastAdmin::Stays).await.is_err());
    assert_eq!(added(&app, &mut seen).await, [row("user_deleted", None, target)]);
}

#[tokio::test]
async fn what_becomes_of_keys_is_written() {
    let app = TestApp::with(&[("ALGORITHM", "EdDSA")]).await;
    let now = app.app.clock.now();
    let first = app.text("SELECT kid FROM signing_keys").await;
    let next = rotation::rotate(&app.app, now, 600).await.unwrap().kid;
    rotation::revoke(&app.app, now, &first).await.unwrap();
    rotation::revoke(&app.app, now, &first).await.unwrap_err();
    let target = Some(first.as_str());
    let expected = [
        row("signing_key_switched", None, target),
        row("signing_key_added", None, Some(&next)),
        row("signing_key_revoked", None, target),
    ];
    assert_eq!(rows(&app).await, expected);
    let other = "p0VhK2rTz7YxQ4mW9cUeB6nJsLgDa1Xo8iFv3RtEy5M";
    let settings = [("ALGORITHM", "EdDSA"), ("SECRET_KEY", other), ("SECRET_KEY_PREVIOUS", super::app::SECRET_KEY)];
    let app = app.restart(&settings).await;
    assert_eq!(rows(&app).await[3..], [row("secret_replaced", None, None)]);
}

#[tokio::test]
async fn refusals_are_written_soon_and_what_was_typed_is_not() {
    let app = TestApp::new().await;
    let (user, token) = app.as_user("john").await;
    let id = user["id"].as_str().unwrap();
    let mut seen = rows(&app).await.len();
    for name in ["john", "my password by mistake", "nobody@example.org"] {
        assert_eq!(app.try_login(name, "wrong wrong wrong").await.status, 401);
    }
    let form = json!({"password": "wrong wrong wrong"});
    app.call(Method::POST, "/me/delete", &token, Some(&form)).await.refuses(403, "wrong_password", "");
    let refused = |(event, actor, target, _, count): Row, why: &str| (event, actor, target, why.to_owned(), count);
    let expected = [
        refused(row("login_failed", None, Some(id)), "password"),
        refused(row("login_failed", None, None), "unknown"),
        refused(row("login_failed", None, None), "unknown"),
        refused(row("wrong_password", Some(id), Some(id)), "password"),
    ];
    assert_eq!(added(&app, &mut seen).await, expected);
    let all = app.app.store.audit(Search::default(), 100).await.unwrap();
    assert!(all.iter().all(|row| !format!("{row:?}").contains("mistake")));
    assert!(all[0].request_id.is_some() && all[0].address.is_some());
    app.sql("UPDATE users SET disabled_at = 1").await;
    assert_eq!(app.try_login("john", PASSWORD).await.status, 401);
    assert_eq!(added(&app, &mut seen).await, [refused(row("login_failed", None, Some(id)), "disabled")]);
}

/// A row that cannot be written takes its change with it.
#[tokio::test]
async fn no_change_is_made_of_which_no_row_can_be_written() {
    let app = TestApp::new().await;
    let pair = app.as_session("john").await;
    let second = app.refresh(&pair.refresh).await;
    app.verdict(&second.access).await;
    app.sleep(60);
    let user = account::find(&app.app, "john").await.unwrap();
    let (server, now, by, id) = (&app.app, app.app.clock.now(), By::operator(), UserId::from_text(user.id.to_string()));
    app.sql("CREATE TRIGGER refuse BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'no'); END").await;
    let state = async || {
        let users =
            app.text("SELECT group_concat(id || roles || password_hash || ifnull(disabled_at, 0)) FROM users").await;
        let sessions = app.text("SELECT group_concat(id || generation || ifnull(ended_at, 0)) FROM sessions").await;
        (users, sessions, app.app.store.signing_keys().await.unwrap())
    };
    let before = state().await;
    assert_eq!(app.try_login("john", PASSWORD).await.status, 500);
    assert_eq!(app.post("/register", &json!({"username": "jane", "password": PASSWORD})).await.status, 500);
    assert_eq!(app.try_refresh(&pair.refresh).await.status, 500);
    assert_eq!(app.delete("/sessions", &second.access).await.status, 500);
    assert_eq!(app.delete(&format!("/sessions/{}", pair.sid()), &second.access).await.status, 500);
    assert_eq!(app.post("/logout", &json!({"refresh_token": second.refresh})).await.status, 500);
    let form = json!({"current_password": PASSWORD, "new_password": "eight blue lanterns"});
    assert_eq!(app.call(Method::POST, "/password/change", &second.access, Some(&form)).await.status, 500);
    assert_eq!(
        app.call(Method::POST, "/me/delete", &second.access, Some(&json!({"password": PASSWORD}))).await.status,
        500
    );
    let editor = Roles::one("editor").unwrap();
    assert!(admin::change(server, now, &by, &id, Changes::disabled(true)).await.is_err());
    assert!(admin::change(server, now, &by, &id, Changes::roles(NewRoles::Add(editor))).await.is_err());
    assert!(account::set_password(server, now, &by, &user, "eight blue lanterns".to_owned()).await.is_err());
    assert!(admin::delete(server, now, &by, &id, LastAdmin::Stays).await.is_err());
    assert!(session::end_all_of(server, now, &by, &id, None).await.is_err());
    assert!(session::end_every(server, now).await.is_err());
    assert!(rotation::revoke(server, now, &server.tokens.ring().signing(now).unwrap().kid).await.is_err());
    assert_eq!(state().await, before);
    app.sql("DROP TRIGGER refuse").await;
    assert_eq!(app.try_login("john", PASSWORD).await.status, 200);
}

#[tokio::test]
async fn rows_are_found_by_target_and_event_page_by_page_and_the_old_ones_go() {
    let app = TestApp::new().await;
    for name in ["john", "jane"] {
        app.as_session(name).await;
        app.login(name).await;
    }
    let john = app.text("SELECT id FROM users WHERE username = 'john'").await;
    let find = async |target: Option<&str>, event: Option<&str>, before: Option<i64>, most: i64| {
        let search = Search { target: target.map(str::to_owned), event: event.map(str::to_owned), before };
        app.app.store.audit(search, most).await.unwrap()
    };
    assert_eq!(find(Some(&john), None, None, 100).await.len(), 3);
    assert_eq!(find(Some(&john), Some("login"), None, 100).await.len(), 2);
    assert_eq!(find(None, Some("login"), None, 100).await.len(), 4);
    let (mut before, mut paged) = (None, Vec::new());
    loop {
        let page = find(None, None, before, 2).await;
        let Some(last) = page.last() else { break };
        before = Some(last.id);
        paged.extend(page);
    }
    assert_eq!(paged, find(None, None, None, 100).await);
    assert!(paged.is_sorted_by(|a, b| a.id > b.id) && paged.len() == 7);

    app.sleep(90 * 24 * 60 * 60 + 1);
    app.login("john").await;
    hallpass::auth::upkeep::round(&app.app, app.app.clock.now()).await;
    let left: Vec<String> = rows(&app).await.into_iter().map(|row| row.0).collect();
    assert_eq!(left, ["login"]);
}
