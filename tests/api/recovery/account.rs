//! Whose account it is: what a reset needs of it, leaves of it and is voided by.

use hallpass::model::MailKind;
use poem::http::Method;
use serde_json::json;

use super::{
    super::app::{PASSWORD, Pair, TestApp},
    INVALID, NEW, refused, reset,
};

#[tokio::test]
async fn to_forget_changes_nothing() {
    let app = TestApp::new().await;
    app.own("jane", "jane@example.org").await;
    let pair = app.open("jane").await;
    let before = app.text("SELECT password_hash || ' ' || email_key || ' ' || email_verified_at FROM users").await;
    app.forgot("jane@example.org").await;
    let after = app.text("SELECT password_hash || ' ' || email_key || ' ' || email_verified_at FROM users").await;
    assert_eq!(before, after);
    assert_eq!(app.verdict(&pair.access).await, "ok");
    app.refresh(&pair.refresh).await;
    assert_eq!(app.try_login("jane", PASSWORD).await.status, 200);
}

#[tokio::test]
async fn another_password_or_address_voids_what_was_mailed() {
    let app = TestApp::new().await;
    app.own("jane", "jane@example.org").await;
    let token = app.login("jane").await;
    let mail = app.forgot("jane@example.org").await;
    // This one is not sent yet.
    assert_eq!(app.post("/password/forgot", &json!({"email": "jane@example.org"})).await.status, 202);
    let body = json!({"current_password": PASSWORD, "new_password": PASSWORD});
    assert_eq!(app.call(Method::POST, "/password/change", &token, Some(&body)).await.status, 204);
    refused(&app, &mail.link()).await;
    refused(&app, &mail.code()).await;
    assert_eq!(app.mail().await.kind, MailKind::PasswordChanged);

    assert_eq!(app.change_email(&token, PASSWORD, "new@example.org").await.status, 202);
    let change = app.mail().await;
    let mail = app.forgot("jane@example.org").await;
    assert_eq!(app.post("/email/verify", &change.link()).await.status, 204);
    refused(&app, &mail.link()).await;
    refused(&app, &json!({"email": "new@example.org", "code": mail.code})).await;
    app.mails().await;
    // Nobody has the address of before.
    assert_eq!(app.post("/password/forgot", &json!({"email": "jane@example.org"})).await.status, 202);
    assert!(app.mails().await.is_empty());
}

/// Somebody registers with the address of another, who comes later and finds the account there.
#[tokio::test]
async fn an_account_that_was_registered_first_opens_to_nobody_but_who_reads_the_mail() {
    let app = TestApp::new().await;
    app.claim("squatter", "victim@example.org").await;
    let verify = app.mail().await;
    let thief: Pair = app.open("squatter").await;
    let mail = app.forgot("victim@example.org").await;
    assert!(mail.text.contains("squatter"), "it names the account: {}", mail.text);
    reset(&app, &mail.link()).await;
    let me = app.try_login("victim@example.org", NEW).await;
    let me = app.get("/me", Some(&Pair::of(&me).access)).await.json();
    assert_eq!((&me["username"], &me["email_verified"]), (&json!("squatter"), &json!(true)));
    for name in ["squatter", "victim@example.org"] {
        assert_eq!(app.try_login(name, PASSWORD).await.status, 401);
    }
    assert_eq!(app.verdict(&thief.access).await, "session_ended");
    app.try_refresh(&thief.refresh).await.refuses(401, "invalid_refresh_token", "");
    for proof in [verify.link(), verify.code()] {
        app.post("/email/verify", &proof).await.refuses(INVALID.0, INVALID.1, INVALID.2);
    }
    app.change_email(&thief.access, PASSWORD, "thief@example.org").await.refuses(401, "session_ended", "");
}

/// The same with an address of the thief's own that was proved before, and with another change under way.
#[tokio::test]
async fn a_reset_leaves_nothing_that_was_set_before() {
    let app = TestApp::new().await;
    app.own("squatter", "thief@example.org").await;
    let thief = app.open("squatter").await;
    assert_eq!(app.change_email(&thief.access, PASSWORD, "victim@example.org").await.status, 202);
    let change = app.mail().await;
    let thiefs = app.forgot("thief@example.org").await;
    assert_eq!(app.post("/password/forgot", &json!({"email": "victim@example.org"})).await.status, 202);
    let mail = app.mail().await;
    reset(&app, &mail.code()).await;
    refused(&app, &thiefs.link()).await;
    app.post("/email/verify", &change.link()).await.refuses(INVALID.0, INVALID.1, INVALID.2);
    let told: Vec<(MailKind, String)> = app.mails().await.into_iter().map(|mail| (mail.kind, mail.to)).collect();
    let expected = [(MailKind::PasswordChanged, "victim@example.org"), (MailKind::EmailChanged, "thief@example.org")];
    assert_eq!(told, expected.map(|(kind, to)| (kind, to.to_owned())));
    assert_eq!(app.post("/password/forgot", &json!({"email": "thief@example.org"})).await.status, 202);
    assert!(app.mails().await.is_empty());

    // A change to the thief's address that the owner did not ask for.
    let thief = Pair::of(&app.try_login("squatter", NEW).await);
    assert_eq!(app.change_email(&thief.access, NEW, "thief@example.org").await.status, 202);
    let change = app.mail().await;
    let mail = app.forgot("victim@example.org").await;
    assert_eq!(app.reset(&mail.link(), PASSWORD).await.status, 204);
    for proof in [change.link(), change.code()] {
        app.post("/email/verify", &proof).await.refuses(INVALID.0, INVALID.1, INVALID.2);
    }
    assert_eq!(app.verdict(&thief.access).await, "session_ended");
    assert_eq!(app.codes().await, "0");
    app.mails().await;
    assert_eq!(app.post("/password/forgot", &json!({"email": "thief@example.org"})).await.status, 202);
    assert!(app.mails().await.is_empty(), "the claim is gone");
}

#[tokio::test]
async fn who_proved_an_address_is_mailed_and_else_who_claimed_it_last() {
    let app = TestApp::new().await;
    app.claim("jane", "us@example.org").await;
    let jane = app.mail().await;
    app.claim("joan", "us@example.org").await;
    app.mail().await;
    let mail = app.forgot("us@example.org").await;
    assert!(mail.text.contains("joan") && !mail.text.contains("jane"), "{}", mail.text);
    // Now jane proves it, and what was mailed for joan is void.
    assert_eq!(app.post("/email/verify", &jane.link()).await.status, 204);
    refused(&app, &mail.link()).await;
    app.claim("june", "us@example.org").await;
    assert_eq!(app.mail().await.kind, MailKind::VerifyTaken);
    let mail = app.forgot("us@example.org").await;
    assert!(mail.text.contains("jane") && !mail.text.contains("june"), "{}", mail.text);
    reset(&app, &mail.code()).await;
    assert_eq!(app.try_login("jane", NEW).await.status, 200);
    assert_eq!(app.text("SELECT CAST(COUNT(claimed_email) AS TEXT) FROM users").await, "0");
}

#[tokio::test]
async fn a_proof_of_the_address_voids_what_was_mailed_before() {
    let app = TestApp::new().await;
    app.claim("jane", "jane@example.org").await;
    let (verify, mail) = (app.mail().await, app.forgot("jane@example.org").await);
    assert_eq!(app.post("/email/verify", &verify.link()).await.status, 204);
    refused(&app, &mail.link()).await;
    refused(&app, &mail.code()).await;
}

#[tokio::test]
async fn a_disabled_account_stays_closed() {
    let app = TestApp::new().await;
    app.own("jane", "jane@example.org").await;
    let mail = app.forgot("jane@example.org").await;
    app.sql("UPDATE users SET disabled_at = 1").await;
    refused(&app, &mail.link()).await;
    assert_eq!(app.try_login("jane", PASSWORD).await.status, 401);
    assert_eq!(app.post("/password/forgot", &json!({"email": "jane@example.org"})).await.status, 202);
    assert!(app.mails().await.is_empty());
    app.sql("UPDATE users SET disabled_at = NULL").await;
    assert_eq!(app.try_login("jane", PASSWORD).await.status, 200);
}

#[tokio::test]
async fn an_account_without_a_password_gets_one() {
    let app = TestApp::new().await;
    app.own("jane", "jane@example.org").await;
    app.sql("UPDATE users SET password_hash = NULL").await;
    reset(&app, &app.forgot("jane@example.org").await.link()).await;
    assert_eq!(app.try_login("jane", NEW).await.status, 200);
}

#[tokio::test]
async fn a_reset_of_a_claim_that_is_not_sent_yet_does_not_outlive_the_password() {
    let app = TestApp::new().await;
    app.claim("jane", "jane@example.org").await;
    app.mail().await;
    let token = app.login("jane").await;
    for email in ["jane@example.org", "joan@example.org"] {
        assert_eq!(app.post("/password/forgot", &json!({"email": email})).await.status, 202);
    }
    let body = json!({"current_password": PASSWORD, "new_password": NEW});
    assert_eq!(app.call(Method::POST, "/password/change", &token, Some(&body)).await.status, 204);
    assert_eq!(app.text("SELECT group_concat(email) FROM outbox").await, "joan@example.org");
    assert!(app.mails().await.is_empty());
    // One that is asked for afterwards counts.
    reset(&app, &app.forgot("jane@example.org").await.link()).await;
}

/// Nor does somebody who claimed the address, too, stop the mail of who is to get it.
#[tokio::test]
async fn another_password_drops_no_reset_of_somebody_else() {
    let app = TestApp::new().await;
    app.claim("squatter", "jane@example.org").await;
    let token = app.login("squatter").await;
    app.claim("jane", "jane@example.org").await;
    app.mails().await;
    let body = json!({"current_password": PASSWORD, "new_password": PASSWORD});
    for is_proved in [false, true] {
        assert_eq!(app.post("/password/forgot", &json!({"email": "jane@example.org"})).await.status, 202);
        assert_eq!(app.call(Method::POST, "/password/change", &token, Some(&body)).await.status, 204);
        let mail = app.mail().await;
        assert!(mail.kind == MailKind::Reset && mail.text.contains("\"jane\""), "{is_proved}: {}", mail.text);
        if is_proved {
            return;
        }
        reset(&app, &mail.link()).await;
        app.mails().await;
        app.sql(
            "UPDATE users SET claimed_email = 'jane@example.org', claimed_email_key = 'jane@example.org',
                              claimed_at = 2000000000 WHERE username = 'squatter'",
        )
        .await;
    }
}
