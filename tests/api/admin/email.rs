//! Addresses that admins set and take away.

use hallpass::{auth::account, model::MailKind, store::Search};
use poem::http::Method;
use serde_json::json;

use super::{
    super::app::{PASSWORD, TestApp},
    add, as_admin, events, patch,
};

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
    let form = json!({"username": "june", "email": "JOHN@example.org"});
    add(&app, &pair.access, form.clone()).await.refuses(409, "email_taken", "");
    app.post("/login", &json!({"username": "june", "password": PASSWORD})).await.refuses(
        401,
        "invalid_credentials",
        "",
    );
    // A stranger is not told.
    let form = json!({"username": "june", "email": "JOHN@example.org", "password": PASSWORD});
    assert_eq!(app.post("/register", &form).await.status, 201);
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
