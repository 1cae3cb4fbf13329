//! Who may, for how long, and what is told him.

use hallpass::{
    auth::{account, admin, session},
    model::{By, Roles},
    store::{Changes, NewRoles},
};
use poem::{Body, Request, http::Method};
use serde_json::json;

use super::{
    super::app::{PASSWORD, TestApp},
    as_admin,
};

#[tokio::test]
async fn an_admin_sees_and_ends_the_sessions_of_others_until_the_role_is_gone() {
    let app = TestApp::new().await;
    let (alice, john) = (app.as_session("alice").await, app.as_session("john").await);
    let user = app.get("/me", Some(&john.access)).await.json()["id"].as_str().unwrap().to_owned();
    let path = format!("/admin/users/{user}/sessions");
    let refused = async |token: &str| {
        for answer in [app.get(&path, Some(token)).await, app.delete(&path, token).await] {
            answer.refuses(403, "insufficient_role", "Not enough permissions");
            assert_eq!(answer.header("www-authenticate"), r#"Bearer error="insufficient_scope""#);
        }
    };
    refused(&alice.access).await;
    refused(&john.access).await;

    app.sql("UPDATE users SET roles = 'user admin' WHERE username = 'alice'").await;
    let page = app.get(&path, Some(&alice.access)).await.json();
    assert_eq!((page["items"].as_array().unwrap().len(), &page["next_cursor"]), (1, &json!(null)));
    assert_eq!((&page["items"][0]["id"], &page["items"][0]["current"]), (&json!(john.sid()), &json!(false)));
    assert_eq!(app.delete(&path, &alice.access).await.status, 204);
    assert_eq!(app.verdict(&john.access).await, "session_ended");
    assert_eq!(app.verdict(&alice.access).await, "ok");
    assert_eq!(app.get(&path, Some(&alice.access)).await.json()["items"], json!([]));
    for id in ["x", "01a20a7f-d318-738a-8a3e-e3b12a82ac53"] {
        let path = format!("/admin/users/{id}/sessions");
        app.get(&path, Some(&alice.access)).await.refuses(404, "not_found", "");
        app.delete(&path, &alice.access).await.refuses(404, "not_found", "");
    }

    // The very next request, with the token of before.
    app.sql("UPDATE users SET roles = 'user admins' WHERE username = 'alice'").await;
    refused(&alice.access).await;
    app.get(&path, None).await.refuses(401, "not_authenticated", "");
}

#[tokio::test]
async fn nobody_else_may_and_an_admin_only_as_long_as_he_is_one() {
    let app = TestApp::new().await;
    let ((_, alice), (bob, _)) = (as_admin(&app, "alice").await, as_admin(&app, "bob").await);
    let john = app.as_session("john").await;
    let one = format!("/admin/users/{bob}");
    let operations = [
        (Method::GET, "/admin/users".to_owned()),
        (Method::POST, "/admin/users".to_owned()),
        (Method::GET, one.clone()),
        (Method::PATCH, one.clone()),
        (Method::DELETE, one.clone()),
        (Method::GET, format!("{one}/sessions")),
        (Method::DELETE, format!("{one}/sessions")),
        (Method::GET, "/admin/audit".to_owned()),
    ];
    let refused = async |token: &str| {
        for (method, path) in &operations {
            let body = json!({"username": "eve", "roles": ["admin"]});
            let body = (*method == Method::POST).then_some(&body);
            let patch = json!({"roles": ["admin"]});
            let body = if *method == Method::PATCH { Some(&patch) } else { body };
            let answer = app.call(method.clone(), path, token, body).await;
            answer.refuses(403, "insufficient_role", "Not enough permissions");
        }
    };
    let before = app.text("SELECT group_concat(id || roles || ifnull(disabled_at, '')) FROM users").await;
    refused(&john.access).await;
    let alice_id = account::find(&app.app, "alice").await.unwrap();
    let remove = Changes::roles(NewRoles::Remove(Roles::one("admin").unwrap()));
    assert_eq!(app.get("/admin/users", Some(&alice.access)).await.status, 200);
    app.change(app.app.clock.now(), &alice_id, remove).await;
    refused(&alice.access).await;
    app.change(app.app.clock.now(), &alice_id, Changes::roles(NewRoles::Add(Roles::one("admin").unwrap()))).await;
    assert_eq!(app.get("/admin/users", Some(&alice.access)).await.status, 200, "the same token");
    let after = app.text("SELECT group_concat(id || roles || ifnull(disabled_at, '')) FROM users").await;
    assert_eq!(before, after);
}

#[tokio::test]
async fn who_is_no_admin_is_told_so_before_anything_is_read() {
    let app = TestApp::new().await;
    let john = app.as_session("john").await;
    for (method, path, body) in [
        (Method::POST, "/admin/users", ""),
        (Method::POST, "/admin/users", "{"),
        (Method::POST, "/admin/users", "{}"),
        (Method::POST, "/admin/users", &"x".repeat(20_000)),
        (Method::PATCH, "/admin/users/x", ""),
        (Method::PATCH, "/admin/users/x", "[]"),
        (Method::GET, "/admin/users?limit=0", ""),
        (Method::GET, "/admin/users?limit=x&limit=x&size=1", ""),
        (Method::GET, "/admin/audit?cursor=x", ""),
    ] {
        for content_type in ["application/json", "text/plain"] {
            let request = Request::builder().method(method.clone()).uri_str(path).content_type(content_type);
            let request = request.header("authorization", format!("Bearer {}", john.access));
            app.send(request.body(body.to_owned())).await.refuses(403, "insufficient_role", "");
        }
    }
    // A body that never comes is not waited for.
    let never = Body::from_bytes_stream(futures_util::stream::pending::<std::io::Result<Vec<u8>>>());
    let request = Request::builder().method(Method::POST).uri_str("/admin/users").content_type("application/json");
    let request = request.header("authorization", format!("Bearer {}", john.access));
    app.send(request.body(never)).await.refuses(403, "insufficient_role", "");
}

#[tokio::test]
async fn no_spelling_of_a_path_leads_past_the_guard() {
    let app = TestApp::new().await;
    let john = app.as_session("john").await;
    for path in [
        "/admin/users/",
        "/admin//users",
        "//admin/users",
        "/admin/./users",
        "/admin/users/.",
        "/protected/../admin/users",
        "/admin/users/../users",
        "/admin%2Fusers",
        "/%61dmin/users",
        "/admin/%75sers",
        "/Admin/Users",
        "/admin/users.",
        "/admin/users;x",
        "/admin/users%00",
        "/admin/users%20",
        "/admin\\users",
        "/admin/users?x#y",
        "/livez/../admin/users",
        "/admin/audit/",
        "/admin/%61udit",
    ] {
        for (token, statuses) in [(None, [401, 404]), (Some(john.access.as_str()), [403, 404])] {
            let answer = app.get(path, token).await;
            assert!(statuses.contains(&answer.status), "{path}: {}", answer.status);
        }
    }
}

#[tokio::test]
async fn no_answer_to_an_admin_has_a_password_a_token_or_a_hash() {
    let app = TestApp::new().await;
    let (alice, pair) = as_admin(&app, "alice").await;
    let john = app.as_session("john").await;
    let next = app.refresh(&john.refresh).await;
    let id = account::find(&app.app, "john").await.unwrap().id;
    let one = format!("/admin/users/{id}");
    let new = json!({"username": "jane", "password": PASSWORD});
    let change = json!({"roles": ["editor"], "email": "j@example.org", "disabled": true});
    let token = pair.access.as_str();
    let answers = [
        app.get("/admin/users", Some(token)).await,
        app.get("/admin/users?query=john", Some(token)).await,
        app.get("/admin/users?limit=1", Some(token)).await,
        app.call(Method::POST, "/admin/users", token, Some(&new)).await,
        app.call(Method::POST, "/admin/users", token, Some(&new)).await,
        app.get(&one, Some(token)).await,
        app.get(&format!("{one}/sessions"), Some(token)).await,
        app.get(&format!("/admin/users/{alice}/sessions"), Some(token)).await,
        app.call(Method::PATCH, &one, token, Some(&change)).await,
        app.delete(&format!("{one}/sessions"), token).await,
        app.get("/admin/audit?limit=100", Some(token)).await,
        app.delete(&one, token).await,
    ];
    let mut secrets = vec![PASSWORD.to_owned(), "argon2".to_owned(), "$m=".to_owned()];
    for pair in [&pair, &john, &next] {
        secrets.extend([pair.access.clone(), pair.refresh.clone()]);
        // Nor a part of one.
        secrets.push(pair.access.rsplit('.').next().unwrap().to_owned());
    }
    let columns = "SELECT group_concat(hex(salt), ' ') || ' ' || group_concat(secret_id, ' ') FROM sessions";
    secrets.extend(app.text(columns).await.split(' ').map(str::to_owned));
    for answer in &answers {
        assert!(answer.status < 300 || answer.status == 409, "{}", answer.text());
        let (text, low) = (answer.text(), answer.text().to_lowercase());
        for secret in &secrets {
            assert!(!text.contains(secret) && !low.contains(&secret.to_lowercase()), "{secret} in {text}");
        }
        for name in ["password", "hash", "token", "salt", "secret"] {
            assert!(!low.contains(&format!("\"{name}")), "{name} in {text}");
        }
    }
}

#[tokio::test]
async fn who_holds_back_a_body_keeps_no_power_that_was_taken_from_him() {
    let app = TestApp::new().await;
    let (boss, _) = as_admin(&app, "boss").await;
    let no_admin = Changes::roles(NewRoles::Remove(Roles::one("admin").unwrap()));
    for (name, changes, status, code) in [
        ("alice", Some(no_admin), 403, "insufficient_role"),
        ("bob", Some(Changes::disabled(true)), 401, "session_ended"),
        // Only the sessions.
        ("carol", None, 401, "session_ended"),
    ] {
        let account = json!({"username": format!("{name}2"), "password": PASSWORD, "roles": ["admin"]});
        let operations = [
            (Method::POST, "/admin/users".to_owned(), account),
            (Method::PATCH, format!("/admin/users/{boss}"), json!({"disabled": true})),
        ];
        as_admin(&app, name).await;
        for (method, path, body) in operations {
            let user = account::find(&app.app, name).await.unwrap();
            app.change(app.app.clock.now(), &user, Changes::disabled(false)).await;
            app.change(app.app.clock.now(), &user, Changes::roles(NewRoles::Add(Roles::one("admin").unwrap()))).await;
            let pair = app.open(name).await;
            // The body comes when the head has been judged.
            let (server, changes) = (app.app.clone(), changes.clone());
            let held_back = async move {
                let now = server.clock.now();
                match changes {
                    Some(changes) => {
                        admin::change(&server, now, &By::operator(), &user.id, changes).await.unwrap();
                    }
                    None => session::end_all_of(&server, now, &By::operator(), &user.id, None).await.unwrap(),
                }
                Ok::<_, std::io::Error>(body.to_string().into_bytes())
            };
            let request = Request::builder().method(method.clone()).uri_str(&path).content_type("application/json");
            let request = request.header("authorization", format!("Bearer {}", pair.access));
            let body = Body::from_bytes_stream(futures_util::stream::once(Box::pin(held_back)));
            let answer = app.send(request.body(body)).await;
            assert_eq!((answer.status, &answer.json()["code"]), (status, &json!(code)), "{name} {method}");
        }
        assert!(account::find(&app.app, &format!("{name}2")).await.is_err());
    }
    assert!(account::find(&app.app, "boss").await.unwrap().disabled_at.is_none());
}
