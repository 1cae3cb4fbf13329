//! `SECRET_KEY`, from which everything is derived: a wrong one, the next one, and one that has leaked.

use hallpass::{
    app::App,
    auth::{code::Proof, refresh::RefreshToken, session},
    model::{By, SecretId, SessionId},
    store::Resealed,
};
use serde_json::json;

use super::{
    app::{SECRET_KEY, START, TestApp},
    forge::{change, claims, parts, sign},
    keys::{EDDSA, header, revoke},
};

pub const OTHER_KEY: &str = "Zr5tYq9LmW2xVb7NcJ4hKd8PfGs3AeTuR6iOo1Xy0Qw";
const HOUR: i64 = 3_600;

#[tokio::test]
async fn what_holds_secrets_is_printed_without_them() {
    let app = TestApp::with(EDDSA).await;
    let proof = Proof::Code { email: "jane@example.org".to_owned(), code: "01234567".to_owned() };
    for (printed, expected) in [
        (format!("{proof:?}"), "Proof(…)"),
        (format!("{:?}", app.app.limits), "Limits(off)"),
        (format!("{:?}", app.app.secrets.current), "Derived { id: "),
        (format!("{:?}", app.app.tokens.ring()), "key: Key { kid: "),
    ] {
        assert!(printed.contains(expected) && !printed.contains("[1") && !printed.contains(SECRET_KEY), "{printed}");
    }
}

#[tokio::test]
async fn another_secret_is_refused_and_changes_nothing() {
    for algorithm in ["HS256", "EdDSA"] {
        let app = TestApp::with(&[("ALGORITHM", algorithm)]).await;
        let pair = app.as_session("john").await;
        let folder = app.close().await;
        let clock = std::sync::Arc::new(std::sync::atomic::AtomicI64::new(START));
        let wrong = [("ALGORITHM", algorithm), ("SECRET_KEY", OTHER_KEY)];
        let file = || std::fs::read(folder.path().join("test.db")).unwrap();
        let before = file();
        let refused = TestApp::build(&folder, &wrong, super::app::CHEAP, clock).await.map(drop).unwrap_err();
        assert!(refused.to_string().contains("SECRET_KEY is not the one"), "{refused}");
        assert_eq!(file(), before);
        let app = TestApp::at(folder, &[("ALGORITHM", algorithm)], super::app::CHEAP).await;
        assert_eq!(app.verdict(&pair.access).await, "ok");
    }
}

#[tokio::test]
async fn a_secret_is_replaced_with_nobody_signed_out() {
    for algorithm in ["HS256", "EdDSA"] {
        let app = TestApp::with(&[("ALGORITHM", algorithm)]).await;
        let (first, stays) = (app.as_session("john").await, app.open("john").await);
        app.sleep(60);
        let both = [("ALGORITHM", algorithm), ("SECRET_KEY", OTHER_KEY), ("SECRET_KEY_PREVIOUS", SECRET_KEY)];
        let app = app.restart(&both).await;
        for pair in [&first, &stays] {
            assert_eq!(app.verdict(&pair.access).await, "ok", "{algorithm}");
        }
        let moved = app.refresh(&first.refresh).await;
        assert_eq!(app.verdict(&moved.access).await, "ok");
        assert_eq!(app.refresh(&first.refresh).await.refresh, moved.refresh, "the answer was lost");
        let same_key = header(&moved.access, "kid") == header(&first.access, "kid");
        assert_eq!(same_key, algorithm == "EdDSA", "the ring was encrypted anew");
        if algorithm == "HS256" {
            // As whoever holds the old secret could go on signing.
            let (old, good) = (parts(&stays.access).0, claims(&stays.access));
            let late = change(&good, "iat", Some(json!(START + 61)));
            assert_eq!(app.verdict(&sign(&old, &late)).await, "invalid_token");
            let long = change(&good, "exp", Some(json!(START + 20 * HOUR)));
            app.sleep(1_800);
            assert_eq!(app.verdict(&sign(&old, &long)).await, "token_expired");
            app.sleep(-1_800);
        }
        // A second start with both finds it done.
        let app = app.restart(&both).await;
        let moved = app.refresh(&moved.refresh).await;
        let app = app.restart(&both[..2]).await;
        let moved = app.refresh(&moved.refresh).await;
        assert_eq!(app.verdict(&moved.access).await, "ok");
        app.try_refresh(&stays.refresh).await.refuses(401, "invalid_refresh_token", "");
        let expected = if algorithm == "HS256" { "invalid_token" } else { "ok" };
        assert_eq!(app.verdict(&stays.access).await, expected, "without the old secret");
        // And back.
        let back = [("ALGORITHM", algorithm), ("SECRET_KEY_PREVIOUS", OTHER_KEY)];
        let app = app.restart(&back).await;
        assert_eq!(app.verdict(&moved.access).await, "ok");
        app.refresh(&moved.refresh).await;
    }
}

/// What the README says to do about it, step by step.
#[tokio::test]
async fn a_secret_that_leaked_opens_nothing_any_more() {
    let app = TestApp::new().await;
    let pair = app.as_session("john").await;
    let kid = header(&pair.access, "kid");
    session::end_every(&app.app, app.app.clock.now()).await.unwrap();
    let new = [("SECRET_KEY", OTHER_KEY), ("SECRET_KEY_PREVIOUS", SECRET_KEY)];
    let app = app.restart(&new).await;
    assert_eq!(app.verdict(&pair.access).await, "session_ended");
    // Even of a session that the thief could name.
    let next = app.open("john").await;
    let forged = sign(&parts(&pair.access).0, &claims(&next.access));
    assert_eq!(app.verdict(&forged).await, "ok", "that is why its key is revoked");
    revoke(&app, &kid).await.unwrap();
    assert_eq!(app.verdict(&forged).await, "invalid_token");
    let app = app.restart(&new[..1]).await;
    assert_eq!(app.verdict(&forged).await, "invalid_token");
    assert_eq!(app.verdict(&next.access).await, "ok");
    app.try_refresh(&pair.refresh).await.refuses(401, "invalid_refresh_token", "");
}

#[tokio::test]
async fn a_command_takes_no_secret_for_the_databases_own() {
    let app = TestApp::new().await;
    app.sql("DELETE FROM secrets").await;
    let command = App::build_for_command(app.app.config.clone(), app.app.clock.clone()).await.unwrap();
    assert!(command.store.secret().await.unwrap().is_none());
}

#[tokio::test]
async fn a_secret_is_not_replaced_over_a_ring_that_has_changed() {
    let app = TestApp::with(EDDSA).await;
    let kid = header(&app.as_session("john").await.access, "kid");
    let row = app.app.store.signing_keys().await.unwrap().remove(0);
    let sealed = vec![Resealed { position: row.position, old: row.sealed.unwrap(), new: b"new".to_vec() }];
    // As many keys as before, but another one.
    revoke(&app, &kid).await.unwrap();
    let (old, new) = (app.app.secrets.current.id.clone(), SecretId::from_text("new".to_owned()));
    assert!(
        !app.app
            .store
            .replace_secret(old.clone(), new, sealed, By::operator().does("secret_replaced", app.app.clock.now()))
            .await
            .unwrap()
    );
    assert_eq!(app.app.store.secret().await.unwrap(), Some(old));
}

#[tokio::test]
async fn the_secret_before_makes_no_token_of_a_session_that_has_moved_over() {
    let app = TestApp::new().await;
    let pair = app.as_session("john").await;
    let both = [("SECRET_KEY", OTHER_KEY), ("SECRET_KEY_PREVIOUS", SECRET_KEY)];
    let app = app.restart(&both).await;
    let moved = app.refresh(&pair.refresh).await;
    // As whoever has the old secret and a copy of the database could.
    let check = app.app.store.refresh_check(&SessionId::from_text(pair.sid())).await.unwrap().unwrap();
    let previous = &app.app.secrets.previous.as_ref().unwrap().id;
    let forged = RefreshToken::issue(&app.app.secrets, previous, &SessionId::from_text(pair.sid()), 1, &check.salt);
    app.try_refresh(&forged.unwrap()).await.refuses(401, "invalid_refresh_token", "");
    app.refresh(&moved.refresh).await;
}

#[tokio::test]
async fn a_retry_whose_answer_needs_a_secret_that_is_gone_is_refused() {
    let app = TestApp::new().await;
    let pair = app.as_session("john").await;
    let app = app.restart(&[("SECRET_KEY", OTHER_KEY), ("SECRET_KEY_PREVIOUS", SECRET_KEY)]).await;
    app.refresh(&pair.refresh).await;
    let app = app.restart(&[("SECRET_KEY_PREVIOUS", OTHER_KEY)]).await;
    let app = app.restart(&[]).await;
    app.try_refresh(&pair.refresh).await.refuses(401, "invalid_refresh_token", "");
}
