//! Accounts that admins make, change and delete, and the last admin, who stays.

use std::sync::Arc;

use hallpass::{
    auth::{account, admin},
    error::Error,
    model::By,
    store::{Changes, LastAdmin, Search},
};
use poem::http::Method;
use serde_json::json;

use super::{
    super::app::{PASSWORD, TestApp},
    add, as_admin, events, patch,
};

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
    assert_eq!(add(&app, &pair.access, json!({"username": "many", "roles": many[..32]})).await.status, 201);
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
