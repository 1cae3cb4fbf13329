//! The ring of signing keys, where several processes change it, lives change, and the clock is wrong.

use std::sync::Arc;

use hallpass::{
    app::App,
    auth::{
        keys,
        ring::{
            Ring,
            State::{self, Active, Broken, Expired, Pending, Retired, Revoked as Ended},
        },
        rotation, upkeep,
    },
    model::{Algorithm, By, Time},
    store::{Follower, Revoked},
};

use serde_json::json;

use super::{
    app::{SECRET_KEY, START, TestApp},
    forge::{change, claims, parts, sign},
    keys::{EDDSA, HOUR, header, kids, revoke, rotate},
    secrets::OTHER_KEY,
};

#[tokio::test]
async fn a_key_that_retired_does_not_come_back_with_hs256() {
    let app = TestApp::with(EDDSA).await;
    let first = app.as_session("john").await;
    app.sleep(60);
    let app = app.restart(&[]).await;
    app.sleep(10 * HOUR);
    let app = app.restart(EDDSA).await;
    app.sleep(60);
    let app = app.restart(&[]).await;
    assert!(!kids(&app).await.contains(&header(&first.access, "kid")), "its tokens have expired");
    assert_eq!(kids(&app).await.len(), 1);
}

#[tokio::test]
async fn a_key_of_another_algorithm_than_the_server_signs_with_is_not_made() {
    let app = TestApp::with(EDDSA).await;
    let pair = app.as_session("john").await;
    let mut config = app.app.config.clone();
    config.algorithm = Algorithm::Es256;
    let command = App::build_for_command(config, app.app.clock.clone()).await.unwrap();
    let Err(why) = rotation::rotate(&command, app.app.clock.now(), 600).await.map(drop) else { panic!("made") };
    assert!(why.to_string().contains("start it with this setting"), "{why}");
    rotation::reload(&app.app).await.unwrap();
    assert_eq!(header(&app.refresh(&pair.refresh).await.access, "alg"), "EdDSA");
}

#[tokio::test]
async fn a_life_that_shrinks_and_grows_again_cuts_no_token_short() {
    let minutes = |minutes| [("ALGORITHM", "EdDSA"), ("ACCESS_TOKEN_EXPIRE_MINUTES", minutes)];
    let app = TestApp::with(&minutes("600")).await;
    let retired = app.as_session("john").await;
    let app = app.restart(&minutes("5")).await;
    rotate(&app).await;
    app.sleep(rotation::LEAD);
    let app = app.restart(&minutes("600")).await;
    let long = app.open("john").await;
    rotate(&app).await;
    app.sleep(rotation::LEAD + HOUR);
    assert_eq!(app.verdict(&long.access).await, "ok");
    assert!(kids(&app).await.contains(&header(&long.access, "kid")));
    app.sleep(10 * HOUR);
    // What had retired before lives no longer for it.
    let app = app.restart(&minutes("1440")).await;
    assert!(!kids(&app).await.contains(&header(&retired.access, "kid")));
}

#[tokio::test]
async fn a_key_that_a_command_made_is_told_how_long_the_servers_tokens_live() {
    let app = TestApp::with(&[("ALGORITHM", "EdDSA"), ("ACCESS_TOKEN_EXPIRE_MINUTES", "600")]).await;
    let mut config = app.app.config.clone();
    config.access_token_ttl = std::time::Duration::from_mins(1);
    let command = App::build_for_command(config, app.app.clock.clone()).await.unwrap();
    rotation::rotate(&command, app.app.clock.now(), 2).await.unwrap();
    rotation::keep(&app.app).await.unwrap();
    assert_eq!(app.text("SELECT CAST(MIN(longest_ttl) AS TEXT) FROM signing_keys").await, "36000");
}

#[tokio::test]
async fn a_start_under_a_clock_that_is_behind_takes_no_key_away() {
    let app = TestApp::new().await;
    app.sleep(HOUR);
    let app = app.restart(EDDSA).await;
    let pair = app.as_session("john").await;
    app.sleep(-HOUR / 2);
    let app = app.restart(EDDSA).await;
    app.sleep(HOUR / 2);
    assert_eq!(app.verdict(&pair.access).await, "ok");
    assert!(kids(&app).await.contains(&header(&pair.access, "kid")));
}

#[tokio::test]
async fn a_key_that_another_process_revokes_is_refused_before_the_ring_is_read_by_the_clock() {
    let app = TestApp::with(EDDSA).await;
    let pair = app.as_session("john").await;
    rotate(&app).await;
    assert_eq!(app.verdict(&pair.access).await, "ok");
    // Nothing here reads the ring by itself.
    app.sql("UPDATE signing_keys SET revoked_at = 1, sealed = NULL WHERE position = (SELECT MIN(position) FROM signing_keys)")
        .await;
    assert_eq!(app.verdict(&pair.access).await, "invalid_token");
}

#[tokio::test]
async fn a_start_that_is_refused_leaves_the_ring_as_it_was() {
    let app = TestApp::new().await;
    let hs256 = header(&app.as_session("john").await.access, "kid");
    let app = app.restart(EDDSA).await;
    revoke(&app, &hs256).await.unwrap();
    rotate(&app).await;
    let rows = "SELECT CAST(COUNT(*) AS TEXT) FROM signing_keys";
    let before = app.text(rows).await;
    let mut config = app.app.config.clone();
    config.algorithm = Algorithm::Hs256;
    assert!(App::build(config, app.app.clock.clone()).await.is_err());
    assert_eq!(app.text(rows).await, before);
}

#[tokio::test]
async fn keys_that_are_all_revoked_at_once_leave_one_that_signs() {
    for _ in 0..20 {
        let app = TestApp::with(EDDSA).await;
        let pair = app.as_session("john").await;
        let (active, pending) = (header(&pair.access, "kid"), rotate(&app).await);
        // Two commands, each with the ring of before.
        let now = app.app.clock.now();
        let pending_now = app.app.tokens.ring().pending(now);
        let make = || Follower {
            pending: pending_now.clone(),
            spare: keys::make(&app.app.secrets.current, Algorithm::EdDsa, now, now, 60).unwrap(),
        };
        let (store, entry) = (&app.app.store, By::operator().does("signing_key_revoked", now));
        let (one, two) = tokio::join!(
            store.revoke_key(active, Some(make()), entry.clone()),
            store.revoke_key(pending, Some(make()), entry)
        );
        assert_eq!((one.unwrap(), two.unwrap()), (Revoked::Done, Revoked::Done));
        rotation::reload(&app.app).await.unwrap();
        let next = app.refresh(&pair.refresh).await;
        assert_eq!(app.verdict(&next.access).await, "ok");
    }
}

#[tokio::test]
async fn what_can_verify_nothing_any_more_is_deleted_and_nothing_revoked_comes_back() {
    const DAY: i64 = 24 * HOUR;
    let positions =
        async |app: &TestApp| app.text("SELECT GROUP_CONCAT(position, ',' ORDER BY position) FROM signing_keys").await;
    let tidy = async |app: &TestApp| upkeep::round(&app.app, app.app.clock.now()).await;
    // Turn 1 is of a secret that will be gone, turn 2 of the next one, which is revoked; 3 and 4 are keys of their own.
    let app = TestApp::new().await;
    app.as_session("john").await;
    app.sleep(HOUR);
    let app = app.restart(&[("SECRET_KEY", OTHER_KEY), ("SECRET_KEY_PREVIOUS", SECRET_KEY)]).await;
    let hs256 = header(&app.open("john").await.access, "kid");
    let other = [("SECRET_KEY", OTHER_KEY), ("ALGORITHM", "EdDSA"), ("KEY_ROTATION_DAYS", "0")];
    let app = app.restart(&other).await;
    revoke(&app, &hs256).await.unwrap();
    let pair = app.open("john").await;
    revoke(&app, &header(&pair.access, "kid")).await.unwrap();
    assert_eq!(positions(&app).await, "1,2,3,4");
    let begun = app.app.clock.now();
    // The longest life of a token, 30 minutes, and a day.
    app.sleep(HOUR / 2 + DAY);
    tidy(&app).await;
    assert_eq!(positions(&app).await, "1,2,3,4", "not a second too early");
    assert_eq!(app.verdict(&pair.access).await, "invalid_token");
    app.sleep(1);
    tidy(&app).await;
    assert_eq!(positions(&app).await, "2,4");
    assert!(begun < app.app.clock.now());
    assert_eq!(app.verdict(&pair.access).await, "invalid_token");
    app.sleep(400 * DAY);
    tidy(&app).await;
    assert_eq!(positions(&app).await, "2,4", "the revoked key of a secret stays revoked");
    let Err(why) = app.try_restart(&[("SECRET_KEY", OTHER_KEY)]).await.map(drop) else { panic!("started") };
    assert!(why.to_string().contains("was revoked"), "{why}");
}

fn states(ring: &Ring, seconds: i64) -> Vec<State> {
    ring.states(Time::from_unix(START + seconds)).into_iter().map(|(_, state)| state).collect()
}

#[tokio::test]
async fn of_each_key_it_is_told_where_it_is_in_its_life() {
    let app = TestApp::new().await;
    // In the second in which the first key took over.
    let app = app.restart(EDDSA).await;
    let pending = rotate(&app).await;
    for (seconds, expected) in [
        (0, [Retired, Active, Pending]),
        (599, [Retired, Active, Pending]),
        (600, [Retired, Retired, Active]),
        (1_799, [Retired, Retired, Active]),
        (1_800, [Expired, Retired, Active]),
        (2_399, [Expired, Retired, Active]),
        (2_400, [Expired, Expired, Active]),
    ] {
        assert_eq!(states(&app.app.tokens.ring(), seconds), expected, "{seconds}");
    }
    let ring = app.app.tokens.ring();
    for (seconds, count) in [(0, 1), (599, 1), (600, 0)] {
        assert_eq!(ring.pending(Time::from_unix(START + seconds)).len(), count, "{seconds}");
    }
    let newest = [Algorithm::Hs256, Algorithm::EdDsa, Algorithm::Es256].map(|algorithm| ring.newest(algorithm));
    assert_eq!(newest.map(|at| at.map(Time::unix)), [Some(START), Some(START + 600), None]);
    revoke(&app, &pending).await.unwrap();
    assert_eq!(states(&app.app.tokens.ring(), 600), [Retired, Active, Ended]);
    app.sql("UPDATE signing_keys SET sealed = X'00' WHERE sealed IS NOT NULL").await;
    let command = App::build_for_command(app.app.config.clone(), app.app.clock.clone()).await.unwrap();
    assert_eq!(states(&command.tokens.ring(), 600), [Active, Broken, Ended]);
}

#[tokio::test]
async fn a_ring_that_nobody_has_changed_is_kept() {
    let app = TestApp::with(EDDSA).await;
    rotation::reload(&app.app).await.unwrap();
    let ring = app.app.tokens.ring();
    rotation::reload(&app.app).await.unwrap();
    assert!(Arc::ptr_eq(&ring, &app.app.tokens.ring()));
    rotate(&app).await;
    assert!(!Arc::ptr_eq(&ring, &app.app.tokens.ring()));
}

#[tokio::test]
async fn a_key_that_was_revoked_had_taken_over_all_the_same() {
    let app = TestApp::new().await;
    let hs256 = app.as_session("john").await;
    app.sleep(60);
    let app = app.restart(EDDSA).await;
    app.sleep(100);
    revoke(&app, &kids(&app).await[0]).await.unwrap();
    for (iat, verdict) in [(START + 60, "ok"), (START + 61, "invalid_token"), (START + 160, "invalid_token")] {
        let token = sign(&parts(&hs256.access).0, &change(&claims(&hs256.access), "iat", Some(json!(iat))));
        assert_eq!(app.verdict(&token).await, verdict, "{iat}");
    }
}

#[tokio::test]
async fn a_life_that_grows_is_told_to_the_key_that_signs_and_to_the_next_one() {
    let minutes = |minutes| [("ALGORITHM", "EdDSA"), ("ACCESS_TOKEN_EXPIRE_MINUTES", minutes)];
    let app = TestApp::with(&minutes("5")).await;
    rotate(&app).await;
    let app = app.restart(&minutes("600")).await;
    assert_eq!(app.text("SELECT CAST(MIN(longest_ttl) AS TEXT) FROM signing_keys").await, "36000");
    // Not to one that signs no more.
    app.sleep(rotation::LEAD);
    let app = app.restart(&minutes("700")).await;
    assert_eq!(app.text("SELECT group_concat(longest_ttl) FROM signing_keys").await, "36000,42000");
}
