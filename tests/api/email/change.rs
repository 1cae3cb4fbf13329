//! One address for another.

use futures_util::future::join_all;
use hallpass::model::MailKind;
use poem::http::Method;
use serde_json::json;

use super::{
    super::app::{PASSWORD, TestApp},
    INVALID, address, refused, verified,
};

#[tokio::test]
async fn another_address_counts_when_it_is_proved_and_the_one_before_is_told() {
    let app = TestApp::new().await;
    app.own("jane", "old@example.org").await;
    let token = app.login("jane").await;
    app.change_email(&token, "another password", "new@example.org").await.refuses(
        403,
        "wrong_password",
        "Wrong password",
    );
    let answer = app.change_email(&token, PASSWORD, "no address").await;
    assert_eq!(answer.invalid(), ["/email: must be one plain e-mail address"]);
    assert!(app.mails().await.is_empty());

    let answer = app.change_email(&token, PASSWORD, "new@example.org").await;
    assert_eq!((answer.status, answer.text()), (202, String::new()));
    let mail = app.mail().await;
    assert_eq!((mail.kind, mail.to.as_str()), (MailKind::Verify, "new@example.org"));
    assert_eq!(address(&app, &token).await, (json!("old@example.org"), true));
    assert_eq!(app.try_login("old@example.org", PASSWORD).await.status, 200);
    assert_eq!(app.try_login("new@example.org", PASSWORD).await.status, 401);

    verified(&app, &mail.link()).await;
    assert_eq!(address(&app, &token).await, (json!("new@example.org"), true));
    assert_eq!(app.try_login("new@example.org", PASSWORD).await.status, 200);
    assert_eq!(app.try_login("old@example.org", PASSWORD).await.status, 401);
    let told = app.mail().await;
    assert_eq!((told.kind, told.to.as_str(), told.token.as_str()), (MailKind::EmailChanged, "old@example.org", ""));

    // To the one that it has already: there is nothing to do.
    assert_eq!(app.change_email(&token, PASSWORD, "NEW@example.org").await.status, 202);
    assert!(app.mails().await.is_empty());
}

/// Whoever knew the password may have asked for another address.
#[tokio::test]
async fn another_password_voids_a_change_that_is_under_way() {
    let app = TestApp::new().await;
    app.own("jane", "jane@example.org").await;
    let (token, thief) = (app.login("jane").await, app.login("jane").await);
    assert_eq!(app.change_email(&thief, PASSWORD, "thief@example.org").await.status, 202);
    let stolen = app.mail().await;
    let body = json!({"current_password": PASSWORD, "new_password": "nine violet umbrellas"});
    assert_eq!(app.call(Method::POST, "/password/change", &token, Some(&body)).await.status, 204);
    assert_eq!(app.codes().await, "0");
    refused(&app, &stolen.link()).await;
    refused(&app, &stolen.code()).await;
    let told = app.mail().await;
    assert_eq!((told.kind, told.to.as_str()), (MailKind::PasswordChanged, "jane@example.org"));
    app.change_email(&thief, PASSWORD, "thief@example.org").await.refuses(401, "session_ended", "");
    assert!(app.mails().await.is_empty());

    // The first proof of who registered stays.
    app.claim("joan", "joan@example.org").await;
    let (mail, token) = (app.mail().await, app.login("joan").await);
    assert_eq!(app.call(Method::POST, "/password/change", &token, Some(&body)).await.status, 204);
    assert!(app.mails().await.is_empty(), "nobody has proved that it is the address of the owner");
    verified(&app, &mail.link()).await;
    // But a reset does not.
    app.claim("june", "june@example.org").await;
    app.mail().await;
    let (mail, token) = (app.forgot("june@example.org").await, app.login("june").await);
    assert_eq!(app.call(Method::POST, "/password/change", &token, Some(&body)).await.status, 204);
    app.reset(&mail.link(), PASSWORD).await.refuses(INVALID.0, INVALID.1, INVALID.2);
}

#[tokio::test]
async fn of_two_who_change_to_one_address_the_first_that_proves_it_has_it() {
    let app = TestApp::new().await;
    let mut proofs = Vec::new();
    let mut tokens = Vec::new();
    for name in ["jane", "joan"] {
        app.own(name, &format!("{name}@example.org")).await;
        tokens.push(app.login(name).await);
        assert_eq!(app.change_email(&tokens[tokens.len() - 1], PASSWORD, "us@example.org").await.status, 202);
        proofs.push(app.mail().await.link());
    }
    let verify = proofs.iter().map(|proof| app.post("/email/verify", proof));
    let mut statuses: Vec<u16> = join_all(verify).await.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [204, 400]);
    let mut seen = Vec::new();
    for token in &tokens {
        seen.push(address(&app, token).await.0.as_str().unwrap().to_owned());
    }
    assert_eq!(seen.iter().filter(|email| *email == "us@example.org").count(), 1, "{seen:?}");
    // One more who asks is told nothing; the owner is.
    app.mails().await;
    let loser = usize::from(seen[0] == "us@example.org");
    assert_eq!(app.change_email(&tokens[loser], PASSWORD, "us@example.org").await.status, 202);
    assert_eq!(app.mail().await.kind, MailKind::VerifyTaken);
}

#[tokio::test]
async fn the_audit_log_says_what_became_of_an_address() {
    let app = TestApp::new().await;
    let jane = app.own("jane", "jane@example.org").await;
    let token = app.login("jane").await;
    assert_eq!(app.change_email(&token, PASSWORD, "new@example.org").await.status, 202);
    verified(&app, &app.mail().await.link()).await;
    app.mails().await;
    let mail = app.forgot("new@example.org").await;
    for _ in 0..5 {
        app.reset(&json!({"email": "new@example.org", "code": "00000000"}), PASSWORD)
            .await
            .refuses(INVALID.0, INVALID.1, "");
    }
    assert_eq!(app.reset(&mail.link(), PASSWORD).await.status, 204);
    let rows = "SELECT group_concat(event || ' ' || (actor IS NOT NULL) || ' ' || outcome, ', ') FROM
                (SELECT * FROM audit WHERE event <> 'login' AND event NOT LIKE 'signing%' ORDER BY id)";
    let expected = [
        "register 1 done",
        "email_verified 0 done",
        "email_claimed 1 done",
        "email_changed 0 done",
        "code_voided 0 reset",
        "password_reset 0 done",
    ];
    assert_eq!(app.text(rows).await, expected.join(", "));
    let targets = "SELECT group_concat(DISTINCT target) FROM audit WHERE event NOT LIKE 'signing%'";
    assert_eq!(app.text(targets).await, jane["id"].as_str().unwrap());
    assert!(!app.text("SELECT group_concat(COALESCE(detail, '')) FROM audit").await.contains('@'));
}
