//! Addresses: claimed, proved, and changed.

use std::{path::Path, sync::Arc};

use futures_util::future::join_all;
use hallpass::{
    model::{MailKind, Time},
    store::{Found, Store},
};
use poem::http::Method;
use serde_json::{Value, json};
use sqlx::{Connection, Executor, SqliteConnection, migrate::Migrator};

use super::app::{PASSWORD, TestApp};

const INVALID: (u16, &str, &str) = (400, "invalid_code", "Invalid or expired code");

/// The address of an account as it sees it, and whether it is proved.
async fn address(app: &TestApp, token: &str) -> (Value, bool) {
    let me = app.get("/me", Some(token)).await.json();
    (me["email"].clone(), me["email_verified"].as_bool().unwrap())
}

async fn refused(app: &TestApp, proof: &Value) {
    app.post("/email/verify", proof).await.refuses(INVALID.0, INVALID.1, INVALID.2);
}

async fn verified(app: &TestApp, proof: &Value) {
    let answer = app.post("/email/verify", proof).await;
    assert_eq!((answer.status, answer.text()), (204, String::new()));
}

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

#[tokio::test]
async fn a_name_that_reads_like_a_web_address_is_no_link_in_a_letter() {
    let app = TestApp::new().await;
    app.claim("www.evil.example/x:1", "jane@example.org").await;
    let text = app.mail().await.text;
    assert!(!text.contains("evil.example") && !text.contains("example/x"), "{text}");
    assert!(text.replace('\u{2060}', "").contains("\"www.evil.example/x:1\""), "{text}");
}
