//! Keys that were made while the clock was ahead, once it has been set right.

use hallpass::auth::{rotation, upkeep};
use serde_json::json;

use super::{
    app::{Pair, SECRET_KEY, TestApp},
    forge::{change, claims, parts, sign},
    keys::{EDDSA, HOUR, header, kids, revoke, rotate},
    secrets::OTHER_KEY,
};

const DAY: i64 = 24 * HOUR;
const REPLACED: [(&str, &str); 2] = [("SECRET_KEY", OTHER_KEY), ("SECRET_KEY_PREVIOUS", SECRET_KEY)];

/// Signed now with the secret, as whoever got hold of it could.
fn forged(app: &TestApp, real: &Pair) -> String {
    let now = app.app.clock.now().unix();
    let claims = change(&claims(&real.access), "iat", Some(json!(now)));
    sign(&parts(&real.access).0, &change(&claims, "exp", Some(json!(now + 600))))
}

/// The algorithm of a token of now, which counts, and goes on to after what a server does by itself.
async fn signs_with(app: &TestApp) -> String {
    let pair = app.open("john").await;
    assert_eq!(app.verdict(&pair.access).await, "ok");
    upkeep::round(&app.app, app.app.clock.now()).await;
    assert_eq!(app.verdict(&pair.access).await, "ok");
    header(&pair.access, "alg")
}

#[tokio::test]
async fn a_secret_that_was_replaced_signs_no_more() {
    for is_started_between in [false, true] {
        let app = TestApp::new().await;
        app.register("john").await;
        app.sleep(-DAY);
        let app = if is_started_between { app.restart(&[]).await } else { app };
        let old = app.open("john").await;
        let kid = header(&old.access, "kid");
        assert_eq!(app.verdict(&forged(&app, &old)).await, "ok");
        app.sleep(1);
        let app = app.restart(&REPLACED).await;
        app.sleep(1);
        assert_eq!(app.verdict(&old.access).await, "ok", "nobody is signed out");
        assert_eq!(app.verdict(&forged(&app, &old)).await, "invalid_token");
        let app = app.restart(&REPLACED[..1]).await;
        for _ in 0..3 {
            app.sleep(10 * HOUR);
            assert_eq!(signs_with(&app).await, "HS256");
            assert_ne!(header(&app.open("john").await.access, "kid"), kid);
        }
        app.restart(&REPLACED[..1]).await;
    }
}

#[tokio::test]
async fn the_key_that_signs_counts_whatever_was_revoked_ahead_of_it() {
    let app = TestApp::with(EDDSA).await;
    let first = header(&app.as_session("john").await.access, "kid");
    app.sleep(DAY);
    let ahead = rotate(&app).await;
    app.sleep(3 * DAY);
    revoke(&app, &ahead).await.unwrap();
    app.sleep(-4 * DAY);
    // Between the time at which the one took over and that at which it was revoked.
    app.sleep(3 * DAY);
    rotation::forget(&app.app, app.app.clock.now()).await.unwrap();
    let pair = app.open("john").await;
    assert_eq!((header(&pair.access, "kid"), app.verdict(&pair.access).await.as_str()), (first.clone(), "ok"));
    assert!(kids(&app).await.contains(&first));
    let app = app.restart(EDDSA).await;
    assert_eq!(signs_with(&app).await, "EdDSA");
    // Its follower, which was made ahead, too, is the next one.
    app.sleep(rotation::LEAD);
    assert_eq!(signs_with(&app).await, "EdDSA");
    let next = header(&app.open("john").await.access, "kid");
    assert!(next != first && next != ahead);
}

#[tokio::test]
async fn the_algorithm_is_that_of_the_settings() {
    let hs256: &[(&str, &str)] = &[];
    // Under the clock that is ahead, and then.
    for (made, first, ahead, then, expected) in [
        ("by the first start", hs256, None, EDDSA, "EdDSA"),
        ("by the first start", EDDSA, None, hs256, "HS256"),
        ("by a start", EDDSA, Some(hs256), EDDSA, "EdDSA"),
        ("by a start", hs256, Some(EDDSA), hs256, "HS256"),
        ("by a command", EDDSA, Some(EDDSA), hs256, "HS256"),
        ("by a command", EDDSA, Some(EDDSA), EDDSA, "EdDSA"),
    ] {
        let app = TestApp::with(first).await;
        app.register("john").await;
        let app = match ahead {
            None => app,
            Some(settings) => {
                app.sleep(DAY);
                let app = app.restart(settings).await;
                if made == "by a command" {
                    rotate(&app).await;
                }
                app
            }
        };
        app.sleep(-DAY);
        let app = app.restart(then).await;
        for _ in 0..30 {
            assert_eq!(signs_with(&app).await, expected, "made {made}");
            assert!(expected == "HS256" || !kids(&app).await.is_empty(), "nothing is published");
            app.sleep(HOUR);
        }
    }
}

#[tokio::test]
async fn a_server_that_runs_settles_what_was_made_ahead() {
    let app = TestApp::with(EDDSA).await;
    let first = header(&app.as_session("john").await.access, "kid");
    app.sleep(DAY);
    let ahead = rotate(&app).await;
    app.sleep(-DAY);
    upkeep::round(&app.app, app.app.clock.now()).await;
    app.sleep(rotation::LEAD - 1);
    assert_eq!(header(&app.open("john").await.access, "kid"), first);
    app.sleep(1);
    assert_eq!(header(&app.open("john").await.access, "kid"), ahead, "published for as long as any other");
}
