//! Getting back in by what is mailed.

use std::sync::Arc;

use futures_util::future::join_all;
use hallpass::model::MailKind;
use poem::{Request, http::Method};
use serde_json::{Value, json};

use super::app::{PASSWORD, Pair, TestApp};

const NEW: &str = "nine violet umbrellas";
const INVALID: (u16, &str, &str) = (400, "invalid_code", "Invalid or expired code");

async fn refused(app: &TestApp, proof: &Value) {
    app.reset(proof, NEW).await.refuses(INVALID.0, INVALID.1, INVALID.2);
}

async fn reset(app: &TestApp, proof: &Value) {
    let answer = app.reset(proof, NEW).await;
    assert_eq!((answer.status, answer.text()), (204, String::new()));
}

#[tokio::test]
async fn a_link_or_a_code_sets_another_password_and_ends_every_session() {
    for by_code in [false, true] {
        let app = TestApp::new().await;
        app.own("jane", "Jane@example.org").await;
        let (one, two) = (app.open("jane").await, app.open("jane").await);
        let mail = app.forgot("jane@EXAMPLE.org").await;
        assert_eq!((mail.kind, mail.to.as_str()), (MailKind::Reset, "Jane@example.org"));
        assert!(
            mail.text.contains("jane") && mail.text.contains("http://127.0.0.1:8000/reset?token="),
            "{}",
            mail.text
        );
        let (proof, other) = if by_code { (mail.code(), mail.link()) } else { (mail.link(), mail.code()) };
        reset(&app, &proof).await;
        for pair in [one, two] {
            assert_eq!(app.verdict(&pair.access).await, "session_ended");
            app.try_refresh(&pair.refresh).await.refuses(401, "invalid_refresh_token", "");
        }
        assert_eq!(app.try_login("jane", PASSWORD).await.status, 401);
        assert_eq!(app.try_login("jane", NEW).await.status, 200);
        refused(&app, &proof).await;
        refused(&app, &other).await;
        let told = app.mail().await;
        assert_eq!((told.kind, told.to.as_str()), (MailKind::PasswordChanged, "Jane@example.org"));
        assert_eq!((told.token.as_str(), told.code.as_str()), ("", ""));
    }
}

#[tokio::test]
async fn a_link_leads_to_this_server_whatever_the_request_says() {
    let app = TestApp::with(&[("PUBLIC_URL", "https://login.example.com")]).await;
    app.own("jane", "jane@example.org").await;
    let mut request = Request::builder().method(Method::POST).uri_str("/password/forgot");
    for name in ["host", "x-forwarded-host", "x-host", "x-forwarded-server", "origin", "referer"] {
        request = request.header(name, "https://evil.example");
    }
    request = request.header("x-forwarded-proto", "http").header("forwarded", "host=evil.example;proto=http");
    let request = request.content_type("application/json").body(json!({"email": "jane@example.org"}).to_string());
    assert_eq!(app.send(request).await.status, 202);
    let mail = app.mail().await;
    assert!(mail.text.contains(&format!("https://login.example.com/reset?token={}", mail.token)), "{}", mail.text);
    assert!(!mail.raw.contains("evil"), "{}", mail.raw);
}

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
async fn the_newest_mail_counts_and_its_use_voids_all() {
    let app = TestApp::new().await;
    app.own("jane", "jane@example.org").await;
    let first = app.forgot("jane@example.org").await;
    let second = app.forgot("jane@example.org").await;
    refused(&app, &first.link()).await;
    refused(&app, &first.code()).await;
    // One that was asked for and is not sent yet.
    assert_eq!(app.post("/password/forgot", &json!({"email": "jane@example.org"})).await.status, 202);
    reset(&app, &second.link()).await;
    for proof in [first.link(), second.link(), second.code()] {
        refused(&app, &proof).await;
    }
    assert_eq!(app.mail().await.kind, MailKind::PasswordChanged, "and no other link");
}

#[tokio::test]
async fn a_link_counts_for_half_an_hour_and_a_code_for_ten_minutes() {
    let app = TestApp::new().await;
    app.own("jane", "jane@example.org").await;
    let mail = app.forgot("jane@example.org").await;
    app.sleep(10 * 60);
    refused(&app, &mail.code()).await;
    app.sleep(20 * 60);
    refused(&app, &mail.link()).await;
    let mail = app.forgot("jane@example.org").await;
    app.sleep(30 * 60 - 1);
    reset(&app, &mail.link()).await;
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

#[tokio::test]
async fn without_what_was_mailed_no_password_is_set() {
    let app = TestApp::new().await;
    app.own("jane", "jane@example.org").await;
    app.own("john", "john@example.org").await;
    let (janes, johns) = (app.forgot("jane@example.org").await, app.forgot("john@example.org").await);
    app.claim("joan", "joan@example.org").await;
    let verify = app.mail().await;
    let (jane, access) = (json!("jane@example.org"), app.login("john").await);
    for (body, status) in [
        (json!({"new_password": NEW}), 422),
        (json!({"token": null, "new_password": NEW}), 422),
        (json!({"token": [], "new_password": NEW}), 422),
        (json!({"token": true, "new_password": NEW}), 422),
        (json!({"token": "", "new_password": NEW}), 400),
        (json!({"token": "null", "new_password": NEW}), 400),
        (json!({"token": access, "new_password": NEW}), 400),
        (json!({"token": verify.token, "new_password": NEW}), 400),
        (json!({"email": jane, "new_password": NEW}), 422),
        (json!({"email": jane, "code": null, "new_password": NEW}), 422),
        (json!({"email": jane, "code": "", "new_password": NEW}), 400),
        (json!({"email": jane, "code": johns.code, "new_password": NEW}), 400),
        (json!({"email": [jane, "john@example.org"], "code": johns.code, "new_password": NEW}), 422),
        (json!({"token": johns.token, "email": jane, "new_password": NEW}), 422),
        (json!({"token": johns.token, "email": jane, "code": johns.code, "new_password": NEW}), 422),
        (json!({"token": johns.token, "username": "jane", "new_password": NEW}), 422),
        (json!({"token": johns.token, "user_id": "x", "new_password": NEW}), 422),
        (json!({"token": janes.token}), 422),
        (json!({"token": janes.token, "new_password": null}), 422),
    ] {
        assert_eq!(app.post("/password/reset", &body).await.status, status, "{body}");
    }
    // Nor does what is mailed to reset prove an address, or the other way round.
    for proof in [janes.link(), janes.code()] {
        app.post("/email/verify", &proof).await.refuses(INVALID.0, INVALID.1, INVALID.2);
    }
    refused(&app, &json!({"email": "joan@example.org", "code": verify.code})).await;
    for name in ["jane", "john", "joan"] {
        assert_eq!(app.try_login(name, PASSWORD).await.status, 200, "{name}");
    }
    reset(&app, &johns.link()).await;
    assert_eq!(app.try_login("jane", PASSWORD).await.status, 200);
}

#[tokio::test]
async fn each_kind_of_token_opens_what_it_is_for_and_nothing_else() {
    let app = TestApp::new().await;
    app.own("jane", "jane@example.org").await;
    let pair = app.open("jane").await;
    assert_eq!(app.change_email(&pair.access, PASSWORD, "new@example.org").await.status, 202);
    let verify = app.mail().await;
    let mail = app.forgot("jane@example.org").await;
    let (access, refresh) = (&pair.access, &pair.refresh);
    for token in [refresh, &verify.token, &verify.code, &mail.token, &mail.code] {
        app.get("/me", Some(token)).await.refuses(401, "invalid_token", "Invalid token");
    }
    for token in [access, &verify.token, &mail.token] {
        app.try_refresh(token).await.refuses(401, "invalid_refresh_token", "");
        let logout = app.post("/logout", &json!({"refresh_token": token})).await;
        logout.refuses(401, "invalid_token", "Invalid token");
    }
    for token in [access, refresh, &mail.token] {
        app.post("/email/verify", &json!({"token": token})).await.refuses(INVALID.0, INVALID.1, INVALID.2);
    }
    for token in [access, refresh, &verify.token] {
        refused(&app, &json!({"token": token})).await;
    }
    // Each at its own.
    assert_eq!(app.verdict(access).await, "ok");
    app.refresh(refresh).await;
    reset(&app, &mail.link()).await;
}

#[tokio::test]
async fn the_rules_for_passwords_hold_and_cost_no_try() {
    let app = TestApp::with(&[("PUBLIC_URL", "https://login.example.com")]).await;
    app.own("jane.from.the.shop", "jane.of.the.lake@example.org").await;
    let mail = app.forgot("jane.of.the.lake@example.org").await;
    for proof in [mail.link(), mail.code()] {
        for (password, detail) in [
            ("fourteen chars", "must have at least 15 characters"),
            ("password12345678", "is among the most common passwords"),
            ("Jane.from.the.shop", "must not be the user name, the e-mail address or the name of this service"),
            (
                "jane.of.the.lake example.org",
                "must not be the user name, the e-mail address or the name of this service",
            ),
            ("login.example.com!!", "must not be the user name, the e-mail address or the name of this service"),
            ("jane.of.the.lake", "must not be the user name, the e-mail address or the name of this service"),
        ] {
            let answer = app.reset(&proof, password).await;
            answer.refuses(422, "validation_failed", "");
            assert_eq!(answer.invalid(), [format!("/new_password: {detail}")], "{password}");
        }
    }
    reset(&app, &mail.code()).await;
}

#[tokio::test]
async fn five_wrong_tries_void_the_code_and_leave_the_link() {
    let app = TestApp::with(&[("RATE_LIMITS", "off")]).await;
    app.own("jane", "jane@example.org").await;
    let mail = app.forgot("jane@example.org").await;
    for _ in 0..5 {
        refused(&app, &json!({"email": "jane@example.org", "code": "00000000"})).await;
    }
    refused(&app, &mail.code()).await;
    reset(&app, &mail.link()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_fifty_who_use_one_proof_at_once_one_succeeds() {
    for by_code in [false, true] {
        let app = Arc::new(TestApp::with(&[("HASH_QUEUE", "100")]).await);
        app.own("jane", "jane@example.org").await;
        let mail = app.forgot("jane@example.org").await;
        let proof = if by_code { mail.code() } else { mail.link() };
        let uses = (0..50).map(|n| {
            let (app, proof) = (app.clone(), proof.clone());
            tokio::spawn(async move { app.reset(&proof, &format!("{NEW} {n}")).await.status })
        });
        let statuses: Vec<u16> = join_all(uses).await.into_iter().map(Result::unwrap).collect();
        let winner = statuses.iter().position(|status| *status == 204).unwrap();
        assert_eq!(statuses.iter().filter(|status| **status == 400).count(), 49, "by code: {by_code}: {statuses:?}");
        assert_eq!(app.try_login("jane", &format!("{NEW} {winner}")).await.status, 200);
    }
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
async fn a_code_of_the_secret_before_counts() {
    let app = TestApp::new().await;
    app.own("jane", "jane@example.org").await;
    let mail = app.forgot("jane@example.org").await;
    let other = "m2v8QmZ4yPz1TgXh7NwRcB5sJd9LfAe3UuYoWi6Mx0E";
    let app = app.restart(&[("SECRET_KEY", other), ("SECRET_KEY_PREVIOUS", super::app::SECRET_KEY)]).await;
    reset(&app, &mail.code()).await;
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
