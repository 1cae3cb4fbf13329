//! What admins may do, and for how long they are admins.

use std::sync::Arc;

use hallpass::{
    auth::{account, admin, session},
    error::Error,
    model::{By, MailKind, Roles},
    store::{Changes, LastAdmin, NewRoles, Search},
};
use poem::{Body, Request, http::Method};
use serde_json::{Value, json};

use super::app::{Answer, PASSWORD, Pair, TestApp};

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

/// An admin's account and session.
async fn as_admin(app: &TestApp, name: &str) -> (String, Pair) {
    let id = app.register(name).await["id"].as_str().unwrap().to_owned();
    let user = account::find(&app.app, name).await.unwrap();
    app.change(app.app.clock.now(), &user, Changes::roles(NewRoles::Add(Roles::one("admin").unwrap()))).await;
    (id, app.open(name).await)
}

async fn patch(app: &TestApp, token: &str, id: &str, body: Value) -> Answer {
    app.call(Method::PATCH, &format!("/admin/users/{id}"), token, Some(&body)).await
}

async fn add(app: &TestApp, token: &str, body: Value) -> Answer {
    app.call(Method::POST, "/admin/users", token, Some(&body)).await
}

/// The names on a page, and its cursor.
async fn page(app: &TestApp, token: &str, query: &str) -> (Vec<String>, Option<String>) {
    let answer = app.get(&format!("/admin/users?{query}"), Some(token)).await;
    assert_eq!(answer.status, 200, "{query}: {}", answer.text());
    let page = answer.json();
    let names = page["items"].as_array().unwrap().iter().map(|user| user["username"].as_str().unwrap().to_owned());
    (names.collect(), page["next_cursor"].as_str().map(str::to_owned))
}

/// The names on all pages.
async fn pages(app: &TestApp, token: &str, query: &str) -> Vec<String> {
    let (mut all, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let at = cursor.map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
        let (names, next) = page(app, token, &format!("{query}{at}")).await;
        all.extend(names);
        match next {
            Some(next) => cursor = Some(next),
            None => return all,
        }
    }
}

/// Since a row: the events and how often.
async fn events(app: &TestApp, target: &str) -> Vec<String> {
    let search = Search { target: Some(target.to_owned()), ..Search::default() };
    app.app.store.audit(search, 100).await.unwrap().into_iter().rev().map(|row| row.event).collect()
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
async fn an_admin_makes_accounts() {
    let app = TestApp::new().await;
    let (alice, pair) = as_admin(&app, "alice").await;
    let form = json!({"username": "Root", "email": "Root@Example.org", "password": PASSWORD, "roles": ["editor"]});
    let answer = add(&app, &pair.access, form.clone()).await;
    let mut user = answer.json();
    assert_eq!(answer.status, 201, "{user}");
    let id = user.as_object_mut().unwrap().remove("id").unwrap().as_str().unwrap().to_owned();
    assert_eq!(
        user,
        json!({
            "username": "Root", "email": "Root@example.org", "email_verified": false, "roles": ["user", "editor"],
            "created_at": "2026-11-23T09:00:00Z", "disabled_at": null, "last_login_at": null,
        })
    );
    assert_eq!(app.try_login("root", PASSWORD).await.status, 200);
    let seen = app.get(&format!("/admin/users/{id}"), Some(&pair.access)).await.json();
    assert_eq!((&seen["username"], &seen["last_login_at"]), (&json!("Root"), &json!("2026-11-23T09:00:00Z")));
    add(&app, &pair.access, form).await.refuses(409, "username_taken", "");
    let row =
        app.app.store.audit(Search { event: Some("user_added".to_owned()), ..Search::default() }, 9).await.unwrap();
    assert_eq!((row[0].actor.as_ref().unwrap().as_str(), row[0].target.as_ref().unwrap()), (alice.as_str(), &id));
    assert!(row[0].address.is_some() && row[0].request_id.as_deref() == Some(answer.header("x-request-id")));

    // Without a password nothing logs in, until it has one.
    assert_eq!(add(&app, &pair.access, json!({"username": "june"})).await.status, 201);
    for password in ["", PASSWORD] {
        app.try_login("june", password).await.refuses(401, "invalid_credentials", "");
    }
    let june = account::find(&app.app, "june").await.unwrap();
    account::set_password(&app.app, app.app.clock.now(), &By::operator(), &june, PASSWORD.to_owned()).await.unwrap();
    assert_eq!(app.try_login("june", PASSWORD).await.status, 200);

    let form = json!({"username": "a b", "email": "x", "password": "short", "roles": ["editor", "Boss"]});
    let answer = add(&app, &pair.access, form).await;
    answer.refuses(422, "validation_failed", "");
    let pointers: Vec<String> = answer.invalid().iter().map(|e| e.split(':').next().unwrap().to_owned()).collect();
    assert_eq!(pointers, ["/username", "/password", "/email", "/roles/1"]);
    let many: Vec<String> = (0..33).map(|n| format!("r{n}")).collect();
    let answer = add(&app, &pair.access, json!({"username": "many", "roles": many})).await;
    assert_eq!(answer.invalid(), ["/roles: must have at most 32 roles"]);
    for member in ["id", "email_verified", "disabled_at", "created_at", "password_hash"] {
        let mut form = json!({"username": "jane"});
        form[member] = json!("x");
        add(&app, &pair.access, form).await.refuses(422, "validation_failed", "");
    }
}

#[tokio::test]
async fn a_change_holds_at_once_and_is_written_once_for_each_kind() {
    let app = TestApp::new().await;
    let (_, pair) = as_admin(&app, "alice").await;
    let (user, _) = app.as_user("john").await;
    let john = app.open("john").await;
    let id = user["id"].as_str().unwrap();
    let seen = events(&app, id).await.len();
    let all = json!({"disabled": true, "roles": ["editor"], "email": "j@example.org"});
    let answer = patch(&app, &pair.access, id, all.clone()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let shown = answer.json();
    assert_eq!(shown["disabled_at"], "2026-11-23T09:00:00Z");
    assert_eq!((&shown["roles"], &shown["email"]), (&json!(["user", "editor"]), &json!("j@example.org")));
    assert_eq!(events(&app, id).await[seen..], ["user_disabled", "roles_set", "email_set"]);
    assert_eq!(app.verdict(&john.access).await, "session_ended");
    assert_eq!(app.try_login("john", PASSWORD).await.status, 401);
    app.sleep(10);
    assert_eq!(patch(&app, &pair.access, id, all).await.json(), shown, "nothing is new, and the first moment stays");
    assert_eq!(patch(&app, &pair.access, id, json!({})).await.json(), shown);
    assert_eq!(events(&app, id).await.len(), seen + 3);

    let answer = patch(&app, &pair.access, id, json!({"disabled": false, "roles": []})).await.json();
    assert_eq!((&answer["disabled_at"], &answer["roles"]), (&json!(null), &json!(["user"])));
    assert_eq!(events(&app, id).await[seen + 3..], ["user_enabled", "roles_set"]);
    assert_eq!(app.verdict(&john.access).await, "session_ended", "what ended stays ended");
    let token = app.login("john").await;
    patch(&app, &pair.access, id, json!({"roles": ["admin"]})).await;
    assert_eq!(app.get("/admin/users", Some(&token)).await.status, 200, "the token of before");

    for (body, pointer) in [
        (json!({"disabled": "yes"}), "/disabled"),
        (json!({"roles": "admin"}), "/roles"),
        (json!({"roles": ["Admin"]}), "/roles/0"),
        (json!({"email": "x"}), "/email"),
        (json!({"username": "x"}), ""),
        (json!({"id": "x"}), ""),
        (json!({"password": PASSWORD}), ""),
        (json!({"email_verified": true}), ""),
        (json!([]), ""),
    ] {
        let answer = patch(&app, &pair.access, id, body.clone()).await;
        answer.refuses(422, "validation_failed", "");
        assert!(answer.invalid()[0].starts_with(&format!("{pointer}: ")), "{body}: {:?}", answer.invalid());
    }
    for id in ["x", "01a20a7f-d318-738a-8a3e-e3b12a82ac53"] {
        patch(&app, &pair.access, id, json!({"disabled": true})).await.refuses(404, "not_found", "");
        let path = format!("/admin/users/{id}");
        app.get(&path, Some(&pair.access)).await.refuses(404, "not_found", "");
        app.delete(&path, &pair.access).await.refuses(404, "not_found", "");
    }
}

#[tokio::test]
async fn an_address_that_an_admin_sets_proves_nothing_and_takes_nothing_from_its_owner() {
    let app = TestApp::new().await;
    let (_, pair) = as_admin(&app, "alice").await;
    for name in ["john", "jane"] {
        let form = json!({"username": name, "password": PASSWORD, "email": format!("{name}@example.org")});
        assert_eq!(app.post("/register", &form).await.status, 201);
    }
    let (john, jane) =
        (account::find(&app.app, "john").await.unwrap().id, account::find(&app.app, "jane").await.unwrap().id);
    let (john, jane) = (john.as_str(), jane.as_str());
    let email = async |id: &str| {
        let user = app.get(&format!("/admin/users/{id}"), Some(&pair.access)).await.json();
        (user["email"].clone(), user["email_verified"].clone())
    };
    // An address that nobody proved is nobody's.
    assert_eq!(patch(&app, &pair.access, jane, json!({"email": "john@example.org"})).await.status, 200);
    assert_eq!(email(jane).await, (json!("john@example.org"), json!(false)));
    patch(&app, &pair.access, jane, json!({"email": "jane@example.org"})).await;
    app.sql(
        "UPDATE users SET email = claimed_email, email_key = claimed_email_key, email_verified_at = 1,
                          claimed_email = NULL, claimed_email_key = NULL, claimed_at = NULL WHERE username = 'john'",
    )
    .await;

    let form = json!({"email": "JOHN@example.org", "disabled": true, "roles": ["editor"]});
    patch(&app, &pair.access, jane, form).await.refuses(409, "email_taken", "");
    let user = app.get(&format!("/admin/users/{jane}"), Some(&pair.access)).await.json();
    assert_eq!((&user["disabled_at"], &user["roles"]), (&json!(null), &json!(["user"])), "all or nothing");
    assert_eq!(email(jane).await, (json!("jane@example.org"), json!(false)));
    assert_eq!(email(john).await, (json!("john@example.org"), json!(true)));

    // What the owner has proved stays so, until it is another one.
    let seen = events(&app, john).await.len();
    patch(&app, &pair.access, john, json!({"email": "John@example.org"})).await;
    assert_eq!((email(john).await.1, events(&app, john).await.len()), (json!(true), seen));
    patch(&app, &pair.access, john, json!({"email": "other@example.org"})).await;
    assert_eq!(email(john).await, (json!("other@example.org"), json!(false)));
    app.try_login("john@example.org", PASSWORD).await.refuses(401, "invalid_credentials", "");
    patch(&app, &pair.access, john, json!({"email": null})).await;
    assert_eq!(email(john).await, (json!(null), json!(false)));
}

/// No operation sets the password of another; mail to an address that an admin chose does, and is not hidden.
#[tokio::test]
async fn an_admin_who_has_a_reset_mailed_to_himself_stands_in_the_audit_log() {
    let app = TestApp::new().await;
    let (alice, pair) = as_admin(&app, "alice").await;
    let id = app.own("john", "john@example.org").await["id"].as_str().unwrap().to_owned();
    let john = app.open("john").await;
    for (method, path) in [
        (Method::POST, format!("/admin/users/{id}/password")),
        (Method::PUT, format!("/admin/users/{id}")),
        (Method::POST, format!("/admin/users/{id}")),
    ] {
        let body = json!({"password": "nine violet umbrellas"});
        let status = app.call(method.clone(), &path, &pair.access, Some(&body)).await.status;
        assert!([404, 405].contains(&status), "{method} {path}: {status}");
    }
    let seen = events(&app, &id).await.len();
    assert_eq!(patch(&app, &pair.access, &id, json!({"email": "alice@example.org"})).await.status, 200);
    app.mails().await;
    let mail = app.forgot("alice@example.org").await;
    assert_eq!(app.reset(&mail.link(), "nine violet umbrellas").await.status, 204);
    assert_eq!(app.verdict(&john.access).await, "session_ended");
    assert_eq!(events(&app, &id).await[seen..], ["email_set", "password_reset", "email_verified"]);
    let search = Search { event: Some("email_set".to_owned()), ..Search::default() };
    let row = app.app.store.audit(search, 1).await.unwrap().remove(0);
    assert_eq!(row.actor.unwrap().as_str(), alice);
}

#[tokio::test]
async fn an_admin_deletes_an_account_and_its_rows_in_the_audit_log_stay() {
    let app = TestApp::new().await;
    let (alice, pair) = as_admin(&app, "alice").await;
    let (user, token) = app.as_user("john").await;
    let path = format!("/admin/users/{}", user["id"].as_str().unwrap());
    assert_eq!(app.delete(&path, &pair.access).await.status, 204);
    app.delete(&path, &pair.access).await.refuses(404, "not_found", "");
    assert_eq!(app.verdict(&token).await, "user_not_found");
    let id = user["id"].as_str().unwrap();
    assert_eq!(events(&app, id).await, ["register", "login", "user_deleted"]);
    let row = app.app.store.audit(Search { target: Some(id.to_owned()), ..Search::default() }, 1).await.unwrap();
    assert_eq!(row[0].actor.as_ref().unwrap().as_str(), alice);
}

#[tokio::test]
async fn the_last_admin_that_can_log_in_stays() {
    let app = TestApp::new().await;
    let (alice, pair) = as_admin(&app, "alice").await;
    let user = account::find(&app.app, "alice").await.unwrap();
    let refused = async || {
        for body in [
            json!({"disabled": true}),
            json!({"roles": []}),
            json!({"roles": ["editor"], "disabled": false}),
            json!({"roles": ["admin"], "disabled": true, "email": "a@example.org"}),
        ] {
            let answer = patch(&app, &pair.access, &alice, body).await;
            answer.refuses(409, "last_admin", "There would be no admin left that can log in");
        }
        app.delete(&format!("/admin/users/{alice}"), &pair.access).await.refuses(409, "last_admin", "");
        let own = json!({"password": PASSWORD});
        app.call(Method::POST, "/me/delete", &pair.access, Some(&own)).await.refuses(409, "last_admin", "");
        // The operator at the command line, too, unless he insists.
        let (server, now, by) = (&app.app, app.app.clock.now(), By::operator());
        let changed = admin::change(server, now, &by, &user.id, Changes::disabled(true)).await;
        assert!(matches!(changed, Err(Error::LastAdmin)));
        let deleted = admin::delete(server, now, &by, &user.id, LastAdmin::Stays).await;
        assert!(matches!(deleted, Err(Error::LastAdmin)));
        let same = app.get(&format!("/admin/users/{alice}"), Some(&pair.access)).await.json();
        assert_eq!((&same["roles"], &same["disabled_at"]), (&json!(["user", "admin"]), &json!(null)));
        assert_eq!(same["email"], json!(null));
    };
    refused().await;
    // These do not help: one cannot log in, the other has no password, the third another role.
    let (bob, _) = as_admin(&app, "bob").await;
    assert_eq!(patch(&app, &pair.access, &bob, json!({"disabled": true})).await.status, 200);
    assert_eq!(add(&app, &pair.access, json!({"username": "carol", "roles": ["admin"]})).await.status, 201);
    let form = json!({"username": "dave", "password": PASSWORD, "roles": ["administrator", "no-admin"]});
    assert_eq!(add(&app, &pair.access, form).await.status, 201);
    refused().await;
    // One of those who cannot log in is not the last that can.
    let carol = account::find(&app.app, "carol").await.unwrap().id;
    for (id, body) in [(bob.as_str(), json!({"roles": []})), (carol.as_str(), json!({"disabled": true}))] {
        assert_eq!(patch(&app, &pair.access, id, body).await.status, 200);
    }
    assert_eq!(app.delete(&format!("/admin/users/{bob}"), &pair.access).await.status, 204);

    let (eve, other) = as_admin(&app, "eve").await;
    assert_eq!(patch(&app, &pair.access, &alice, json!({"roles": []})).await.status, 200);
    app.get("/admin/users", Some(&pair.access)).await.refuses(403, "insufficient_role", "");
    patch(&app, &other.access, &eve, json!({"disabled": true})).await.refuses(409, "last_admin", "");
    let eve = account::find(&app.app, "eve").await.unwrap();
    app.change(app.app.clock.now(), &eve, Changes::disabled(true).with(LastAdmin::MayGo)).await;
    assert_eq!(app.verdict(&other.access).await, "session_ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_admins_who_remove_each_other_at_once_one_is_left() {
    let app = Arc::new(TestApp::with(&[("HASH_QUEUE", "100")]).await);
    let ways = [Some(json!({"disabled": true})), Some(json!({"roles": []})), None];
    for round in 0..18 {
        let mut admins = Vec::new();
        for n in 0..3 {
            admins.push(as_admin(&app, &format!("admin{round}-{n}")).await);
        }
        // Those of the round before, whoever was left.
        app.sql("UPDATE users SET roles = 'user' WHERE username NOT IN (SELECT username FROM users ORDER BY created_at DESC, id DESC LIMIT 3)").await;
        let attack = |n: usize| {
            let (app, token) = (app.clone(), admins[n].1.access.clone());
            let (victim, way) = (admins[(n + 1) % 3].0.clone(), ways[(round + n) % 3].clone());
            async move {
                match way {
                    Some(body) => patch(&app, &token, &victim, body).await.status,
                    None => app.delete(&format!("/admin/users/{victim}"), &token).await.status,
                }
            }
        };
        let statuses =
            futures_util::future::join_all([tokio::spawn(attack(0)), tokio::spawn(attack(1)), tokio::spawn(attack(2))])
                .await;
        let statuses: Vec<u16> = statuses.into_iter().map(|status| status.unwrap()).collect();
        let left = app
            .text("SELECT CAST(COUNT(*) AS TEXT) FROM users WHERE ' ' || roles || ' ' LIKE '% admin %' AND disabled_at IS NULL")
            .await;
        assert_ne!(left, "0", "{statuses:?}");
        assert!(statuses.iter().all(|status| [200, 204, 401, 403, 409].contains(status)), "{statuses:?}");
    }
}

#[tokio::test]
async fn accounts_are_found_by_the_beginning_of_their_name_or_address() {
    let app = TestApp::with(&[("HASH_QUEUE", "100")]).await;
    let (_, pair) = as_admin(&app, "alice").await;
    for (name, email) in [
        ("Jane", Some("x.jane@example.org")),
        ("janet", Some("Jan@example.org")),
        ("john", Some("janus@example.org")),
        ("zoe", Some("jan@example.org")),
        ("zo%", None),
        ("zo_", None),
        ("\u{e9}mile", None),
    ] {
        let mut form = json!({"username": name});
        if let Some(email) = email {
            form["email"] = json!(email);
        }
        // Of two at one address the older one comes first.
        app.sleep(1);
        assert_eq!(add(&app, &pair.access, form).await.status, 201, "{name}");
    }
    for (query, names) in [
        ("", &["alice", "Jane", "janet", "john", "zo%", "zo_", "zoe", "\u{e9}mile"][..]),
        ("query=", &["alice", "Jane", "janet", "john", "zo%", "zo_", "zoe", "\u{e9}mile"]),
        // By name first, then those by address that were not found by name, by address.
        ("query=JAN", &["Jane", "janet", "zoe", "john"]),
        ("query=janet", &["janet"]),
        ("query=jan@", &["janet", "zoe"]),
        ("query=Jan@EXAMPLE.org", &["janet", "zoe"]),
        ("query=x.", &["Jane"]),
        ("query=ane", &[]),
        ("query=zo%25", &["zo%"]),
        ("query=zo_", &["zo_"]),
        ("query=%25", &[]),
        ("query=%C3%89MI", &["\u{e9}mile"]),
        ("query=e%CC%81m", &["\u{e9}mile"]),
        ("query=%00", &[]),
        ("query=a%20b", &[]),
        ("query=%F4%8F%BF%BF", &[]),
    ] {
        assert_eq!(page(&app, &pair.access, query).await.0, names, "{query}");
        assert_eq!(
            pages(&app, &pair.access, format!("{query}&limit=1").trim_start_matches('&')).await,
            names,
            "{query}"
        );
        assert_eq!(
            pages(&app, &pair.access, format!("{query}&limit=2").trim_start_matches('&')).await,
            names,
            "{query}"
        );
    }
}

#[tokio::test]
async fn pages_stay_right_while_accounts_come_and_go() {
    let app = TestApp::with(&[("HASH_QUEUE", "100")]).await;
    let (_, pair) = as_admin(&app, "alice").await;
    for n in 0..20 {
        add(&app, &pair.access, json!({"username": format!("n{n:02}"), "email": format!("n{n:02}@example.org")})).await;
    }
    for query in ["query=n", "query=n0&limit=3", "limit=3"] {
        let all = pages(&app, &pair.access, query).await;
        let mut distinct = all.clone();
        distinct.dedup();
        assert_eq!(all, distinct);
    }
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    for round in 0.. {
        let (names, next) = page(&app, &pair.access, &format!("query=n&limit=3{cursor}")).await;
        // The last of this page goes, and one comes before it and one after all.
        let last = account::find(&app.app, names.last().unwrap()).await.unwrap();
        app.remove(app.app.clock.now(), &last).await;
        for name in [format!("n0{round}a"), format!("nz{round}")] {
            if round < 3 {
                assert_eq!(add(&app, &pair.access, json!({"username": name})).await.status, 201);
            }
        }
        seen.extend(names);
        match next {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let there: Vec<&String> =
        seen.iter().filter(|name| name.len() == 3 && name.starts_with("n0") || name.starts_with("n1")).collect();
    let old: Vec<String> = (0..20).map(|n| format!("n{n:02}")).collect();
    assert!(old.iter().all(|name| there.contains(&name)), "each that was there from the beginning: {seen:?}");
    assert!(seen.is_sorted(), "{seen:?}");
    let mut distinct = seen.clone();
    distinct.dedup();
    assert_eq!(seen, distinct, "and none twice");
    assert!((0..3).all(|n| seen.contains(&format!("nz{n}"))), "and those that came after: {seen:?}");
}

#[tokio::test]
async fn a_page_has_a_size_and_a_cursor_is_of_its_list() {
    let app = TestApp::with(&[("HASH_QUEUE", "100")]).await;
    let (_, pair) = as_admin(&app, "alice").await;
    for n in 0..4 {
        add(&app, &pair.access, json!({"username": format!("n{n}")})).await;
    }
    let cursor = page(&app, &pair.access, "limit=1&query=n").await.1.unwrap();
    let all = page(&app, &pair.access, "limit=1").await.1.unwrap();
    let audit = app.get("/admin/audit?limit=1", Some(&pair.access)).await.json()["next_cursor"].clone();
    let audit = audit.as_str().unwrap();
    assert_eq!(page(&app, &pair.access, &format!("limit=9&query=n&cursor={cursor}")).await.0, ["n1", "n2", "n3"]);
    let mut refused =
        vec![format!("cursor={cursor}"), format!("query=N&cursor={cursor}"), format!("query=n&cursor={all}")];
    refused.extend(
        ["0", "-1", "101", "1000000000", "99999999999999999999", "x", "1.5", "%20", "1e1"]
            .map(|n| format!("limit={n}")),
    );
    refused.extend(
        ["", "x", "AAAA", "%00", "bjE", &"A".repeat(2_000), audit].map(|text| format!("query=n&cursor={text}")),
    );
    for at in 0..cursor.len() {
        let mut forged = cursor.clone().into_bytes();
        forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
        refused.push(format!("query=n&cursor={}", String::from_utf8(forged).unwrap()));
        refused.push(format!("query=n&cursor={}", &cursor[..at]));
    }
    refused.extend(["limit=1&limit=2", "size=1", "query=a&query=b", "Limit=1"].map(str::to_owned));
    refused.push(format!("query={}", "a".repeat(300)));
    for query in &refused {
        app.get(&format!("/admin/users?{query}"), Some(&pair.access)).await.refuses(422, "validation_failed", "");
    }
    for query in
        ["limit=0", "limit=-1", "limit=101", "limit=1000000000", "cursor=x", "cursor=", "query=x", "event=a&event=b"]
    {
        app.get(&format!("/admin/audit?{query}"), Some(&pair.access)).await.refuses(422, "validation_failed", "");
    }
    for other in [&cursor, &all] {
        let path = format!("/admin/audit?cursor={other}");
        app.get(&path, Some(&pair.access)).await.refuses(422, "validation_failed", "");
    }
}

#[tokio::test]
async fn the_audit_log_is_read_page_by_page_and_by_target_and_event() {
    let app = TestApp::new().await;
    let (alice, pair) = as_admin(&app, "alice").await;
    let (user, _) = app.as_user("john").await;
    let john = user["id"].as_str().unwrap();
    app.try_login("john", "wrong wrong wrong").await;
    let wrong = app.try_login("nobody at all", "wrong wrong wrong").await;
    patch(&app, &pair.access, john, json!({"disabled": true})).await;
    let read = async |query: &str| {
        let answer = app.get(&format!("/admin/audit?{query}"), Some(&pair.access)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    };
    let all = read("limit=100").await["items"].as_array().unwrap().clone();
    let events: Vec<&str> = all.iter().map(|row| row["event"].as_str().unwrap()).collect();
    // Refusals wait for their turn.
    let expected = [
        "login_failed",
        "login_failed",
        "user_disabled",
        "login",
        "register",
        "login",
        "roles_set",
        "register",
        "signing_key_switched",
    ];
    assert_eq!(events, expected);
    let row = &all[2];
    assert_eq!((&row["actor"], &row["target"], &row["outcome"]), (&json!(alice), &json!(john), &json!("done")));
    assert_eq!((&row["address"], &row["count"]), (&json!("127.0.0.1"), &json!(1)));
    let failed = &all[0];
    assert_eq!((&failed["actor"], &failed["target"]), (&json!(null), &json!(null)));
    assert_eq!((&failed["outcome"], &failed["request_id"]), (&json!("unknown"), &json!(wrong.header("x-request-id"))));
    assert_eq!(read(&format!("target={john}")).await["items"].as_array().unwrap().len(), 4);
    assert_eq!(read(&format!("target={john}&event=login")).await["items"].as_array().unwrap().len(), 1);
    assert_eq!(read("event=login").await["items"].as_array().unwrap().len(), 2);
    assert_eq!(read("event=x").await, json!({"items": [], "next_cursor": null}));
    for filter in ["", "&event=login", &format!("&target={john}")] {
        let whole = read(&format!("limit=100{filter}")).await["items"].as_array().unwrap().clone();
        let (mut paged, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = read(&format!("limit=2{filter}{cursor}")).await;
            paged.extend(page["items"].as_array().unwrap().clone());
            // What is written meanwhile is on no later page.
            app.login("alice").await;
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(paged, whole, "{filter}");
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
async fn an_address_that_an_admin_takes_away_is_told() {
    for email in [json!("new@example.org"), json!(null)] {
        let app = TestApp::new().await;
        let (_, pair) = as_admin(&app, "alice").await;
        let id = app.own("jane", "jane@example.org").await["id"].as_str().unwrap().to_owned();
        for body in [json!({"email": "JANE@example.org"}), json!({"roles": ["editor"]})] {
            assert_eq!(patch(&app, &pair.access, &id, body).await.status, 200);
            assert!(app.mails().await.is_empty());
        }
        assert_eq!(patch(&app, &pair.access, &id, json!({"email": email})).await.status, 200);
        let told = app.mail().await;
        assert_eq!((told.kind, told.to.as_str()), (MailKind::EmailChanged, "jane@example.org"));
        // Whom nobody has proved to be reached there is told nothing.
        assert_eq!(patch(&app, &pair.access, &id, json!({"email": "other@example.org"})).await.status, 200);
        assert!(app.mails().await.is_empty());
    }
}

#[tokio::test]
async fn an_admin_who_sets_the_proved_address_again_ends_a_change_that_is_under_way() {
    let app = TestApp::new().await;
    let (_, pair) = as_admin(&app, "alice").await;
    let id = app.own("jane", "jane@example.org").await["id"].as_str().unwrap().to_owned();
    let token = app.login("jane").await;
    assert_eq!(app.change_email(&token, PASSWORD, "thief@example.org").await.status, 202);
    let change = app.mail().await;
    let seen = events(&app, &id).await.len();
    for events_now in [seen + 1, seen + 1] {
        assert_eq!(patch(&app, &pair.access, &id, json!({"email": "Jane@example.org"})).await.status, 200);
        assert_eq!(events(&app, &id).await.len(), events_now);
    }
    for proof in [change.link(), change.code()] {
        app.post("/email/verify", &proof).await.refuses(400, "invalid_code", "");
    }
    assert!(app.mails().await.is_empty());
    assert_eq!(app.try_login("jane@example.org", PASSWORD).await.status, 200);
}

#[tokio::test]
async fn a_claim_that_an_admin_sets_again_is_the_newest_and_the_operators() {
    let app = TestApp::new().await;
    let (_, pair) = as_admin(&app, "alice").await;
    let id = app.register("jane").await["id"].as_str().unwrap().to_owned();
    let token = app.login("jane").await;
    assert_eq!(app.change_email(&token, PASSWORD, "us@example.org").await.status, 202);
    let mail = app.mail().await;
    app.claim("joan", "us@example.org").await;
    app.mail().await;
    assert_eq!(patch(&app, &pair.access, &id, json!({"email": "us@example.org"})).await.status, 200);
    assert!(app.forgot("us@example.org").await.text.contains("\"jane\""));
    app.claim("june", "us@example.org").await;
    app.mails().await;
    for _ in 0..2 {
        assert_eq!(patch(&app, &pair.access, &id, json!({"email": "us@example.org"})).await.status, 200);
    }
    assert_eq!(events(&app, &id).await.iter().filter(|event| *event == "email_set").count(), 2, "one for each change");
    assert!(app.forgot("us@example.org").await.text.contains("\"jane\""));
    // Another password leaves it, and what was mailed for it counts.
    let body = json!({"current_password": PASSWORD, "new_password": PASSWORD});
    assert_eq!(app.call(Method::POST, "/password/change", &token, Some(&body)).await.status, 204);
    assert_eq!(app.post("/email/verify", &mail.link()).await.status, 204);
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
