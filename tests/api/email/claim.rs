//! Who claims an address, and who loses the claim.

use std::path::Path;

use hallpass::{
    model::{MailKind, Time},
    store::{Found, Store},
};
use poem::http::Method;
use serde_json::json;
use sqlx::{Connection, Executor, SqliteConnection, migrate::Migrator};

use super::{
    super::app::{PASSWORD, TestApp},
    address, refused, verified,
};

#[tokio::test]
async fn the_first_who_proves_an_address_has_it_and_the_others_lose_their_claims() {
    let app = TestApp::new().await;
    app.claim("jane", "us@example.org").await;
    let jane = app.mail().await;
    app.claim("joan", "US@example.org").await;
    let joan = app.mail().await;
    let (jane_token, joan_token) = (app.login("jane").await, app.login("joan").await);
    // A code is for the newest claim, a link for who it names.
    refused(&app, &json!({"email": "us@example.org", "code": jane.code})).await;
    verified(&app, &jane.link()).await;
    assert_eq!(address(&app, &jane_token).await, (json!("us@example.org"), true));
    assert_eq!(address(&app, &joan_token).await, (json!(null), false));
    assert_eq!(app.codes().await, "0", "hers, too");
    refused(&app, &joan.link()).await;
    refused(&app, &joan.code()).await;
    assert_eq!(app.try_login("us@example.org", PASSWORD).await.json()["token_type"], "bearer");
    assert_eq!(app.text("SELECT username FROM users WHERE email_key = 'us@example.org'").await, "jane");
}

#[tokio::test]
async fn a_code_is_for_the_newest_claim() {
    let app = TestApp::new().await;
    let mut mails = Vec::new();
    for name in ["jane", "joan", "june"] {
        app.claim(name, "us@example.org").await;
        mails.push(app.mail().await);
    }
    verified(&app, &mails[2].code()).await;
    assert_eq!(app.text("SELECT username FROM users WHERE email_key = 'us@example.org'").await, "june");
}

#[tokio::test]
async fn who_registers_with_an_address_that_is_taken_is_told_nothing_and_its_owner_is() {
    let app = TestApp::new().await;
    app.own("jane", "jane@example.org").await;
    let register = async |name: &str, email: &str| {
        let answer = app.post("/register", &json!({"username": name, "password": PASSWORD, "email": email})).await;
        let mut user = answer.json();
        user["email"] = json!(null);
        (user["username"], user["id"]) = (json!(null), json!(null));
        let names: Vec<String> = answer.headers.keys().map(ToString::to_string).collect();
        (answer.status, user, names)
    };
    assert_eq!(register("joan", "jane@example.org").await, register("june", "june@example.org").await);
    let [taken, free] = app.mails().await.try_into().unwrap();
    assert_eq!(
        (taken.kind, taken.to.as_str(), free.kind),
        (MailKind::VerifyTaken, "jane@example.org", MailKind::Verify)
    );
    assert_eq!((taken.token.as_str(), taken.code.as_str()), ("", ""), "there is nothing to prove");
    assert!(taken.text.contains("joan"), "it names who asked: {}", taken.text);
    // What one sees of oneself tells nothing, either.
    for (name, email) in [("joan", "jane@example.org"), ("june", "june@example.org")] {
        assert_eq!(address(&app, &app.login(name).await).await, (json!(email), false));
    }
    // The owner's code is no code of hers.
    assert_eq!(app.post("/email/resend", &json!({"email": "jane@example.org"})).await.status, 202);
    assert!(app.mails().await.is_empty());
}

#[tokio::test]
async fn a_link_is_void_once_the_claim_is_another() {
    let app = TestApp::new().await;
    app.claim("jane", "typo@example.org").await;
    let typo = app.mail().await;
    let token = app.login("jane").await;
    assert_eq!(app.change_email(&token, PASSWORD, "jane@example.org").await.status, 202);
    assert_eq!(app.codes().await, "0");
    refused(&app, &typo.link()).await;
    refused(&app, &typo.code()).await;
    verified(&app, &app.mail().await.link()).await;
    assert_eq!(address(&app, &token).await, (json!("jane@example.org"), true));
}

#[tokio::test]
async fn the_addresses_of_before_stay_as_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("test.db");
    // As it was when an address that nobody had proved stood where a proved one stands.
    let all = Migrator::new(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations"))).await.unwrap();
    let before = all.iter().filter(|migration| migration.version < 7).cloned().collect::<Vec<_>>();
    let url = format!("sqlite://{}?mode=rwc", path.display());
    let mut db = SqliteConnection::connect(&url).await.unwrap();
    Migrator { migrations: before.into(), ..Migrator::DEFAULT }.run(&mut db).await.unwrap();
    for user in [
        "'1', 'none', 'none', NULL, NULL, NULL",
        "'2', 'claim', 'claim', 'Us@example.org', 'us@example.org', NULL",
        "'3', 'owner', 'owner', 'US@example.org', 'us@example.org', 5",
    ] {
        let columns = "id, username, username_key, email, email_key, email_verified_at, roles, created_at";
        let insert = format!("INSERT INTO users ({columns}) VALUES ({user}, 'user', 3)");
        db.execute(sqlx::AssertSqlSafe(insert)).await.unwrap();
    }
    db.close().await.unwrap();
    let store = Store::open(&path).await.unwrap();
    let users = store.users_named("", None, 10).await.unwrap();
    let shown: Vec<_> = users
        .iter()
        .map(|Found { user, .. }| {
            (user.username.as_str(), user.email.as_deref(), user.email_verified_at.map(Time::unix))
        })
        .collect();
    let expected =
        [("claim", Some("Us@example.org"), None), ("none", None, None), ("owner", Some("US@example.org"), Some(5))];
    assert_eq!(shown, expected);
    let owner = store.credentials(None, Some("us@example.org")).await.unwrap().unwrap();
    assert_eq!(owner.user.username, "owner");
    store.close().await;
}

/// Whoever knew the password may have put his own address in the place of the first one, too.
#[tokio::test]
async fn another_password_voids_a_claim_that_took_the_place_of_the_first() {
    let body = json!({"current_password": PASSWORD, "new_password": "nine violet umbrellas"});
    for (email, is_void) in [("thief@example.org", true), ("JANE@example.org", false)] {
        let app = TestApp::new().await;
        app.claim("jane", "jane@example.org").await;
        app.mail().await;
        let (token, thief) = (app.login("jane").await, app.login("jane").await);
        assert_eq!(app.change_email(&thief, PASSWORD, email).await.status, 202);
        let mail = app.mail().await;
        assert_eq!(app.call(Method::POST, "/password/change", &token, Some(&body)).await.status, 204);
        if is_void {
            assert_eq!(address(&app, &token).await, (json!(null), false));
            refused(&app, &mail.link()).await;
            refused(&app, &mail.code()).await;
            for path in ["/email/resend", "/password/forgot"] {
                assert_eq!(app.post(path, &json!({"email": email})).await.status, 202);
            }
            assert!(app.mails().await.is_empty(), "the claim is gone");
            // The owner names his own again, and that one is as good as a first.
            assert_eq!(app.change_email(&token, "nine violet umbrellas", "jane@example.org").await.status, 202);
            verified(&app, &app.mail().await.link()).await;
        } else {
            verified(&app, &mail.link()).await;
        }
        assert_eq!(address(&app, &token).await.0.as_str().unwrap().to_lowercase(), "jane@example.org");
    }
}

#[tokio::test]
async fn a_claim_that_was_changed_before_this_version_is_known_by_the_audit_log() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("test.db");
    let all = Migrator::new(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations"))).await.unwrap();
    let before = all.iter().filter(|migration| migration.version < 16).cloned().collect::<Vec<_>>();
    let mut db = SqliteConnection::connect(&format!("sqlite://{}?mode=rwc", path.display())).await.unwrap();
    Migrator { migrations: before.into(), ..Migrator::DEFAULT }.run(&mut db).await.unwrap();
    db.execute(
        "INSERT INTO users (id, username, username_key, claimed_email, claimed_email_key, claimed_at, roles, created_at)
         VALUES ('1', 'first', 'first', 'a@b.example', 'a@b.example', 7, 'user', 3),
                ('2', 'changed', 'changed', 'a@b.example', 'a@b.example', 8, 'user', 3),
                ('3', 'none', 'none', NULL, NULL, NULL, 'user', 3),
                ('4', 'set', 'set', 'c@b.example', 'c@b.example', 9, 'user', 3);
         INSERT INTO audit (at, event, target, outcome, count)
         VALUES (4, 'email_set', '2', 'done', 1), (5, 'email_claimed', '2', 'done', 1),
                (5, 'email_claimed', '3', 'done', 1),
                (5, 'email_claimed', '4', 'done', 1), (5, 'email_set', '4', 'done', 1)",
    )
    .await
    .unwrap();
    all.run(&mut db).await.unwrap();
    let changed = "SELECT group_concat(username || ' ' || claim_changed_at) FROM users";
    let changed: String = sqlx::query_scalar(changed).fetch_one(&mut db).await.unwrap();
    assert_eq!(changed, "changed 8");
}

#[tokio::test]
async fn who_loses_a_claim_stands_in_the_audit_log() {
    for by_reset in [false, true] {
        let app = TestApp::new().await;
        let mut ids = Vec::new();
        for name in ["jane", "joan", "june"] {
            ids.push(app.claim(name, "us@example.org").await["id"].as_str().unwrap().to_owned());
        }
        app.mails().await;
        ids.pop();
        if by_reset {
            let mail = app.forgot("us@example.org").await;
            assert_eq!(app.reset(&mail.link(), "nine violet umbrellas").await.status, 204);
        } else {
            assert_eq!(app.post("/email/resend", &json!({"email": "us@example.org"})).await.status, 202);
            verified(&app, &app.mail().await.link()).await;
        }
        ids.sort();
        let lost = "SELECT group_concat(target || ' ' || (address IS NOT NULL), ',')
                    FROM (SELECT * FROM audit WHERE event = 'claim_lost' ORDER BY target)";
        assert_eq!(app.text(lost).await, ids.iter().map(|id| format!("{id} 1")).collect::<Vec<_>>().join(","));
    }
}
