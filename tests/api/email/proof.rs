//! Links and codes: what they prove, how often and how long.

use std::sync::Arc;

use futures_util::future::join_all;
use hallpass::model::MailKind;
use serde_json::json;

use super::{
    super::app::{PASSWORD, TestApp},
    INVALID, address, refused, verified,
};

#[tokio::test]
async fn a_link_or_a_code_proves_the_address_and_is_used_once() {
    for by_code in [false, true] {
        let app = TestApp::new().await;
        let user = app.claim("jane", "Jane@Example.org").await;
        assert_eq!((&user["email"], &user["email_verified"]), (&json!("Jane@example.org"), &json!(false)));
        let token = app.login("jane").await;
        assert_eq!(address(&app, &token).await, (json!("Jane@example.org"), false));
        let mail = app.mail().await;
        assert_eq!((mail.kind, mail.to.as_str()), (MailKind::Verify, "Jane@example.org"));
        assert!(
            mail.text.contains("jane") && mail.text.contains("http://127.0.0.1:8000/verify?token="),
            "{}",
            mail.text
        );
        let (proof, other) = if by_code { (mail.code(), mail.link()) } else { (mail.link(), mail.code()) };
        verified(&app, &proof).await;
        assert_eq!(address(&app, &token).await, (json!("Jane@example.org"), true));
        assert_eq!(app.try_login("jane@example.org", PASSWORD).await.status, 200);
        refused(&app, &proof).await;
        refused(&app, &other).await;
        assert!(app.mails().await.is_empty());
    }
}

#[tokio::test]
async fn what_is_no_proof_is_refused() {
    let app = TestApp::new().await;
    app.claim("jane", "jane@example.org").await;
    let mail = app.mail().await;
    let (token, code) = (&mail.token, &mail.code);
    for (body, invalid) in [
        (json!({}), ": must have a token, or an email and a code"),
        (json!({"token": null}), ": must have a token, or an email and a code"),
        (json!({"email": "jane@example.org"}), "/code: is required"),
        (json!({"code": code}), "/email: is required"),
        (json!({"token": token, "code": code}), ": must have either a token, or an email and a code"),
        (json!({"token": [token]}), "/token: must be a string"),
        (json!({"token": {"$ne": null}}), "/token: must be a string"),
        (json!({"email": "jane", "code": code}), "/email: must be one plain e-mail address"),
        (json!({"email": "jane@example.org", "code": 12_345_678}), "/code: must be a string"),
        (json!({"token": token, "username": "jane"}), ": has a member that the operation does not know"),
    ] {
        let answer = app.post("/email/verify", &body).await;
        answer.refuses(422, "validation_failed", "");
        assert_eq!(answer.invalid(), [invalid], "{body}");
    }
    let twice = format!(r#"{{"token": "{token}", "token": "{token}"}}"#);
    app.post_text("/email/verify", "application/json", twice).await.refuses(400, "malformed_json", "");
    for proof in [
        json!({"token": ""}),
        json!({"token": format!("{token}A")}),
        json!({"token": token.to_lowercase()}),
        json!({"token": "A".repeat(43)}),
        json!({"token": mail.code}),
        json!({"email": "jane@example.org", "code": ""}),
        json!({"email": "jane@example.org", "code": "%%%%%%%%"}),
        json!({"email": "joan@example.org", "code": code}),
    ] {
        refused(&app, &proof).await;
    }
    verified(&app, &mail.link()).await;
}

#[tokio::test]
async fn a_newer_mail_voids_the_one_before() {
    let app = TestApp::new().await;
    app.claim("jane", "jane@example.org").await;
    let first = app.mail().await;
    for _ in 0..2 {
        assert_eq!(app.post("/email/resend", &json!({"email": "JANE@example.org"})).await.status, 202);
    }
    // Both are sent, in order, so that the last that arrives is the one that counts.
    let [second, third] = app.mails().await.try_into().unwrap();
    for void in [&first, &second] {
        refused(&app, &void.link()).await;
    }
    refused(&app, &first.code()).await;
    verified(&app, &third.link()).await;
    refused(&app, &third.code()).await;
    // There is nothing to prove any more.
    assert_eq!(app.post("/email/resend", &json!({"email": "jane@example.org"})).await.status, 202);
    assert!(app.mails().await.is_empty());
}

#[tokio::test]
async fn a_code_counts_for_ten_minutes_and_a_link_for_a_day() {
    let app = TestApp::new().await;
    app.claim("jane", "jane@example.org").await;
    let mail = app.mail().await;
    app.sleep(10 * 60);
    refused(&app, &mail.code()).await;
    app.sleep(24 * 60 * 60 - 10 * 60);
    refused(&app, &mail.link()).await;

    assert_eq!(app.post("/email/resend", &json!({"email": "jane@example.org"})).await.status, 202);
    let mail = app.mail().await;
    app.sleep(24 * 60 * 60 - 1);
    verified(&app, &mail.link()).await;
    app.claim("joan", "joan@example.org").await;
    let mail = app.mail().await;
    app.sleep(10 * 60 - 1);
    verified(&app, &mail.code()).await;
}

#[tokio::test]
async fn five_wrong_tries_void_the_code_and_leave_the_link() {
    for settings in [&[][..], &[("RATE_LIMITS", "off")]] {
        let app = TestApp::with(settings).await;
        app.claim("jane", "jane@example.org").await;
        let mail = app.mail().await;
        let wrong = if mail.code == "00000000" { "00000001" } else { "00000000" };
        let wrong = json!({"email": "jane@example.org", "code": wrong});
        for _ in 0..4 {
            refused(&app, &wrong).await;
        }
        // What cannot be a code is no try.
        refused(&app, &json!({"email": "jane@example.org", "code": "x"})).await;
        refused(&app, &wrong).await;
        refused(&app, &mail.code()).await;
        verified(&app, &mail.link()).await;

        // After four, the right one still counts.
        app.claim("joan", "joan@example.org").await;
        let mail = app.mail().await;
        for _ in 0..4 {
            refused(&app, &json!({"email": "joan@example.org", "code": "00000000"})).await;
        }
        verified(&app, &mail.code()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_at_once_are_counted_one_by_one() {
    let app = Arc::new(TestApp::with(&[("RATE_LIMITS", "off")]).await);
    app.claim("jane", "jane@example.org").await;
    let mail = app.mail().await;
    let guesses = (0..50).map(|n| {
        let (app, code) = (app.clone(), format!("{n:08}"));
        tokio::spawn(async move {
            app.post("/email/verify", &json!({"email": "jane@example.org", "code": code})).await.status
        })
    });
    let statuses: Vec<u16> = join_all(guesses).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(statuses, [400; 50]);
    assert_eq!(app.text("SELECT CAST(attempts AS TEXT) FROM codes").await, "5", "no more is looked at");
    refused(&app, &mail.code()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_fifty_who_use_one_proof_at_once_one_succeeds() {
    for by_code in [false, true] {
        let app = Arc::new(TestApp::new().await);
        app.claim("jane", "jane@example.org").await;
        let mail = app.mail().await;
        let proof = if by_code { mail.code() } else { mail.link() };
        let uses = (0..50).map(|_| {
            let (app, proof) = (app.clone(), proof.clone());
            tokio::spawn(async move { app.post("/email/verify", &proof).await.status })
        });
        let mut statuses: Vec<u16> = join_all(uses).await.into_iter().map(Result::unwrap).collect();
        statuses.sort_unstable();
        assert_eq!((statuses[0], &statuses[1..]), (204, &[400; 49][..]), "by code: {by_code}");
    }
}

#[tokio::test]
async fn what_is_asked_for_an_address_is_answered_alike_for_all() {
    let app = TestApp::new().await;
    app.own("olive", "olive@example.org").await;
    app.claim("claims", "claims@example.org").await;
    app.claim("barred", "barred@example.org").await;
    app.sql("UPDATE users SET disabled_at = 1 WHERE username = 'barred'").await;
    app.mails().await;
    for path in ["/email/resend", "/password/forgot"] {
        let mut answers = Vec::new();
        for name in ["olive", "claims", "barred", "nobody"] {
            let answer = app.post(path, &json!({"email": format!("{name}@example.org")})).await;
            let names: Vec<String> = answer.headers.keys().map(ToString::to_string).collect();
            answers.push((answer.status, answer.bytes, names));
        }
        assert!(answers.iter().all(|answer| *answer == answers[0] && answer.0 == 202), "{path} {answers:?}");
        for email in ["", "x", "a@b.example,c@d.example", "a@b.example\r\nBcc: c@d.example"] {
            let answer = app.post(path, &json!({"email": email})).await;
            assert_eq!(answer.invalid(), ["/email: must be one plain e-mail address"]);
        }
    }
    let mails: Vec<(MailKind, String)> = app.mails().await.into_iter().map(|mail| (mail.kind, mail.to)).collect();
    let expected = [
        (MailKind::Verify, "claims@example.org"),
        (MailKind::Reset, "olive@example.org"),
        (MailKind::Reset, "claims@example.org"),
    ];
    assert_eq!(mails, expected.map(|(kind, to)| (kind, to.to_owned())));
}

/// A commit that changes nothing is quick.
#[tokio::test]
async fn a_wrong_code_writes_whether_there_is_a_right_one_or_not() {
    let app = TestApp::new().await;
    app.claim("jane", "jane@example.org").await;
    app.mail().await;
    let state = async || app.text("SELECT (SELECT writes FROM probe) || ' ' || attempts FROM codes").await;
    let mut before = state().await;
    for email in ["jane@example.org", "nobody@example.org"] {
        for path in ["/email/verify", "/password/reset"] {
            let mut body = json!({"email": email, "code": "00000000"});
            if path == "/password/reset" {
                body["new_password"] = json!(PASSWORD);
            }
            app.post(path, &body).await.refuses(INVALID.0, INVALID.1, INVALID.2);
            let after = state().await;
            assert_ne!(before, after, "{path} {email}");
            before = after;
        }
    }
}

#[tokio::test]
async fn a_name_that_reads_like_a_web_address_is_no_link_in_a_letter() {
    let app = TestApp::new().await;
    app.claim("www.evil.example/x:1", "jane@example.org").await;
    let text = app.mail().await.text;
    assert!(!text.contains("evil.example") && !text.contains("example/x"), "{text}");
    assert!(text.replace('\u{2060}', "").contains("\"www.evil.example/x:1\""), "{text}");
}
