//! Links and codes: what they open, how often and how long.

use std::sync::Arc;

use futures_util::future::join_all;
use hallpass::model::MailKind;
use poem::{Request, http::Method};
use serde_json::json;

use super::{
    super::app::{PASSWORD, TestApp},
    INVALID, NEW, refused, reset,
};

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
    assert!(mail.text.contains("30 minutes") && mail.text.contains("10 minutes"), "{}", mail.text);
    app.sleep(10 * 60);
    refused(&app, &mail.code()).await;
    app.sleep(20 * 60);
    refused(&app, &mail.link()).await;
    let mail = app.forgot("jane@example.org").await;
    app.sleep(30 * 60 - 1);
    reset(&app, &mail.link()).await;
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

#[tokio::test]
async fn a_code_of_the_secret_before_counts() {
    let app = TestApp::new().await;
    app.own("jane", "jane@example.org").await;
    let mail = app.forgot("jane@example.org").await;
    let other = "m2v8QmZ4yPz1TgXh7NwRcB5sJd9LfAe3UuYoWi6Mx0E";
    let app = app.restart(&[("SECRET_KEY", other), ("SECRET_KEY_PREVIOUS", crate::app::SECRET_KEY)]).await;
    reset(&app, &mail.code()).await;
}
