//! Signing keys: switched, rotated, revoked.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hallpass::{
    app::BuildError,
    auth::{rotation, upkeep},
};
use serde_json::{Value, json};

use super::{
    app::{START, TestApp},
    forge::{base64url, change, claims, parts, sign, sign_with},
};

pub const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;
pub const EDDSA: &[(&str, &str)] = &[("ALGORITHM", "EdDSA")];

pub fn header(token: &str, name: &str) -> String {
    parts(token).0[name].as_str().unwrap().to_owned()
}

async fn published(app: &TestApp) -> Vec<Value> {
    let answer = app.get("/.well-known/jwks.json", None).await;
    assert_eq!(answer.status, 200);
    answer.json()["keys"].as_array().unwrap().clone()
}

pub async fn kids(app: &TestApp) -> Vec<String> {
    published(app).await.iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

pub async fn rotate(app: &TestApp) -> String {
    rotation::rotate(&app.app, app.app.clock.now(), rotation::LEAD).await.unwrap().kid
}

pub async fn revoke(app: &TestApp, kid: &str) -> Result<(), String> {
    rotation::revoke(&app.app, app.app.clock.now(), kid).await.map_err(|why| why.to_string())
}

#[tokio::test]
async fn a_token_is_signed_with_a_key_that_is_published_and_nothing_more_of_it() {
    for (algorithm, kty, crv) in [("EdDSA", "OKP", "Ed25519"), ("ES256", "EC", "P-256")] {
        let app = TestApp::with(&[("ALGORITHM", algorithm)]).await;
        let pair = app.as_session("john").await;
        assert_eq!(header(&pair.access, "alg"), algorithm);
        let answer = app.get("/.well-known/jwks.json", None).await;
        assert!(answer.header("content-type").starts_with("application/json"));
        assert_eq!(answer.header("cache-control"), "public, max-age=300");
        let kept: i64 = answer.header("cache-control").rsplit('=').next().unwrap().parse().unwrap();
        assert!(kept <= rotation::LEAD, "who keeps the keys has the next one before it signs");
        assert_eq!(answer.header("access-control-allow-origin"), "*");
        let keys = published(&app).await;
        let mut names: Vec<&String> = keys[0].as_object().unwrap().keys().collect();
        names.sort_unstable();
        let ec = ["alg", "crv", "kid", "kty", "use", "x", "y"];
        assert_eq!(names, ec[..if kty == "EC" { 7 } else { 6 }]);
        for (name, value) in [("alg", algorithm), ("kty", kty), ("crv", crv), ("use", "sig")] {
            assert_eq!(keys[0][name], value);
        }
        assert_eq!(keys[0]["kid"], header(&pair.access, "kid"));
        assert_eq!(app.verdict(&pair.access).await, "ok");
        let again = app.refresh(&pair.refresh).await;
        assert_eq!(app.verdict(&again.access).await, "ok");
    }
    let app = TestApp::new().await;
    assert_eq!(app.get("/.well-known/jwks.json", None).await.text(), r#"{"keys":[]}"#);
}

#[tokio::test]
async fn the_key_of_a_kid_fixes_the_algorithm() {
    let app = TestApp::with(EDDSA).await;
    let pair = app.as_session("john").await;
    let (good, claims) = (parts(&pair.access).0, claims(&pair.access));
    let x = published(&app).await[0]["x"].as_str().unwrap().to_owned();
    let (head, signature) = pair.access.rsplit_once('.').unwrap();
    let payload = head.split_once('.').unwrap().1;
    for alg in ["HS256", "ES256", "none", "None", "eddsa", "Ed25519"] {
        let changed = change(&good, "alg", Some(json!(alg)));
        // With the public key as the secret of an HMAC, and with the signature that it had.
        assert_eq!(
            app.verdict(&sign_with(&x, changed.to_string(), claims.to_string())).await,
            "invalid_token",
            "{alg}"
        );
        let token = format!("{}.{payload}.{signature}", base64url(changed.to_string()));
        assert_eq!(app.verdict(&token).await, "invalid_token", "{alg}");
        assert_eq!(
            app.verdict(&format!("{}.{payload}.", base64url(changed.to_string()))).await,
            "invalid_token",
            "{alg}"
        );
    }
    for kid in [json!("x"), json!(""), json!(1), json!("../../etc/passwd"), json!("' OR 1=1 --")] {
        let token = sign(&change(&good, "kid", Some(kid.clone())), &claims);
        assert_eq!(app.verdict(&token).await, "invalid_token", "{kid}");
    }
}

/// The order of the group (RFC 8032, section 5.1), the lowest byte first.
const L: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// The order of the curve (SEC 2, section 2.4.2), the highest byte first.
const N: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad, 0xa7,
    0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

#[tokio::test]
async fn a_signature_has_one_length_and_numbers_within_the_order() {
    for algorithm in ["EdDSA", "ES256"] {
        let app = TestApp::with(&[("ALGORITHM", algorithm)]).await;
        let token = app.as_session("john").await.access;
        let (message, text) = token.rsplit_once('.').unwrap();
        let signature = URL_SAFE_NO_PAD.decode(text).unwrap();
        assert_eq!(signature.len(), 64);
        // The first half is of a number that ECDSA must never draw twice.
        let other = app.open("john").await.access;
        let other = URL_SAFE_NO_PAD.decode(other.rsplit_once('.').unwrap().1).unwrap();
        assert_ne!(signature[..32], other[..32]);
        let (first, second) = signature.split_at(32);
        let mut carry = 0;
        // The same number to whoever does not look whether it is below the order.
        let above: Vec<u8> = second
            .iter()
            .zip(L)
            .map(|(one, other)| {
                carry += u16::from(*one) + u16::from(other);
                let byte = (carry & 0xff) as u8;
                carry >>= 8;
                byte
            })
            .collect();
        let integer = |number: &[u8]| [&[2, 33, 0], number].concat();
        for (what, forged) in [
            ("empty", Vec::new()),
            ("a byte short", signature[..63].to_vec()),
            ("a byte more", [&signature[..], &[0]].concat()),
            ("a byte before", [&[0], &signature[..]].concat()),
            ("as DER", [&[0x30, 70][..], &integer(first), &integer(second)].concat()),
            ("halves in the other order", [second, first].concat()),
            ("zeros", vec![0; 64]),
            ("ones", vec![0xff; 64]),
            ("first is 0", [&[0; 32], second].concat()),
            ("second is 0", [first, &[0; 32]].concat()),
            ("first is the order", [&N, second].concat()),
            ("second is the order", [first, if algorithm == "EdDSA" { &L } else { &N }].concat()),
            ("second and the order", [first, &above].concat()),
            ("a bit of the first", [&[first[0] ^ 1], &signature[1..]].concat()),
            ("a bit of the second", [&signature[..63], &[signature[63] ^ 1]].concat()),
        ] {
            let token = format!("{message}.{}", base64url(forged));
            assert_eq!(app.verdict(&token).await, "invalid_token", "{algorithm}: {what}");
        }
        assert_eq!(app.verdict(&token).await, "ok");
    }
}

#[tokio::test]
async fn a_key_is_published_before_it_signs_and_verifies_until_its_last_token_has_expired() {
    let app = TestApp::with(EDDSA).await;
    let first = app.as_session("john").await;
    let old = header(&first.access, "kid");
    app.sleep(HOUR);
    let new = rotate(&app).await;
    assert_eq!(kids(&app).await, [old.clone(), new.clone()]);
    app.sleep(rotation::LEAD - 1);
    let last = app.open("john").await;
    assert_eq!(header(&last.access, "kid"), old, "not yet");
    app.sleep(1);
    let next = app.refresh(&last.refresh).await;
    assert_eq!(header(&next.access, "kid"), new);
    app.sleep(1_800 - 2);
    assert_eq!(app.verdict(&last.access).await, "ok");
    assert_eq!(kids(&app).await, [old.clone(), new.clone()]);
    app.sleep(2);
    assert_eq!(app.verdict(&last.access).await, "token_expired");
    assert_eq!(kids(&app).await, std::slice::from_ref(&new));
    app.sleep(DAY + 1);
    upkeep::round(&app.app, app.app.clock.now()).await;
    assert_eq!(app.verdict(&last.access).await, "invalid_token", "forgotten");
    let app = app.restart(EDDSA).await;
    assert_eq!(kids(&app).await, [new]);
}

#[tokio::test]
async fn keys_rotate_by_the_clock() {
    let app = TestApp::with(&[("ALGORITHM", "ES256"), ("KEY_ROTATION_DAYS", "10")]).await;
    let kid = header(&app.as_session("john").await.access, "kid");
    let round = async || upkeep::round(&app.app, app.app.clock.now()).await;
    round().await;
    app.sleep(10 * DAY - rotation::LEAD - 1);
    round().await;
    assert_eq!(kids(&app).await, std::slice::from_ref(&kid));
    app.sleep(1);
    round().await;
    round().await;
    let keys = kids(&app).await;
    assert_eq!((keys.len(), &keys[0]), (2, &kid), "once");
    app.sleep(rotation::LEAD - 1);
    assert_eq!(header(&app.open("john").await.access, "kid"), kid);
    app.sleep(1);
    assert_eq!(header(&app.open("john").await.access, "kid"), keys[1], "to the second of its tenth day");

    // After a time in which nothing ran.
    app.sleep(30 * DAY);
    round().await;
    app.sleep(rotation::LEAD);
    assert!(!keys.contains(&header(&app.open("john").await.access, "kid")));

    // A key of while the clock was ahead keeps no other from being made.
    let mut signed = vec![header(&app.open("john").await.access, "kid")];
    app.sleep(4_000 * DAY);
    round().await;
    app.sleep(-4_000 * DAY);
    for _ in 0..3 {
        round().await;
        app.sleep(rotation::LEAD);
        let signs = header(&app.open("john").await.access, "kid");
        assert!(!signed.contains(&signs), "{signs}");
        signed.push(signs);
        app.sleep(10 * DAY);
    }

    for settings in [&[("ALGORITHM", "EdDSA"), ("KEY_ROTATION_DAYS", "0")][..], &[]] {
        let app = TestApp::with(settings).await;
        app.sleep(4_000 * DAY);
        upkeep::round(&app.app, app.app.clock.now()).await;
        assert_eq!(app.text("SELECT CAST(COUNT(*) AS TEXT) FROM signing_keys").await, "1", "{settings:?}");
    }
}

#[tokio::test]
async fn a_revoked_key_is_dead_at_once_and_the_next_one_signs() {
    let app = TestApp::with(EDDSA).await;
    let first = app.as_session("john").await;
    let kid = header(&first.access, "kid");
    revoke(&app, &kid).await.unwrap();
    assert_eq!(app.verdict(&first.access).await, "invalid_token");
    let second = app.refresh(&first.refresh).await;
    let next = header(&second.access, "kid");
    assert_eq!(kids(&app).await, std::slice::from_ref(&next));
    assert_eq!(app.verdict(&second.access).await, "ok");

    // The one that was to follow takes over; one that has retired does not.
    let pending = rotate(&app).await;
    app.sleep(rotation::LEAD);
    let following = rotate(&app).await;
    revoke(&app, &pending).await.unwrap();
    let third = app.refresh(&second.refresh).await;
    assert_eq!(header(&third.access, "kid"), following);
    assert_eq!(app.verdict(&second.access).await, "ok", "another key's tokens");

    // One that has not signed yet just goes.
    let pending = rotate(&app).await;
    revoke(&app, &pending).await.unwrap();
    // At the time at which it would have taken over.
    app.sleep(rotation::LEAD + 1);
    let fourth = app.refresh(&third.refresh).await;
    assert_eq!(header(&fourth.access, "kid"), following);
    assert_eq!(app.verdict(&fourth.access).await, "ok");
    assert!(revoke(&app, &pending).await.unwrap_err().contains("before"));
    assert!(revoke(&app, "x").await.unwrap_err().contains("no such key"));
    let sealed = "SELECT CAST(COUNT(*) AS TEXT) FROM signing_keys WHERE revoked_at IS NOT NULL AND sealed IS NOT NULL";
    assert_eq!(app.text(sealed).await, "0", "its private half is gone");
    let app = app.restart(EDDSA).await;
    assert_eq!(app.verdict(&first.access).await, "invalid_token", "after a restart, too");
}

#[tokio::test]
async fn another_algorithm_signs_nobody_out_and_the_old_one_signs_no_more() {
    let app = TestApp::new().await;
    let hs256 = app.as_session("john").await;
    app.sleep(60);
    let app = app.restart(EDDSA).await;
    assert_eq!(app.verdict(&hs256.access).await, "ok");
    let eddsa = app.refresh(&hs256.refresh).await;
    assert_eq!(header(&eddsa.access, "alg"), "EdDSA");
    // As whoever holds SECRET_KEY could go on signing.
    let (old, good) = (parts(&hs256.access).0, claims(&hs256.access));
    for (iat, verdict) in
        [(START, "ok"), (START + 60, "ok"), (START + 61, "invalid_token"), (START + 90, "invalid_token")]
    {
        assert_eq!(app.verdict(&sign(&old, &change(&good, "iat", Some(json!(iat))))).await, verdict, "{iat}");
    }
    // One that would live on after the longest of the honest ones.
    let long = change(&good, "exp", Some(json!(START + 20 * HOUR)));
    app.sleep(1_799);
    assert_eq!(app.verdict(&sign(&old, &long)).await, "ok");
    app.sleep(1);
    assert_eq!(app.verdict(&sign(&old, &long)).await, "token_expired");

    let eddsa = app.refresh(&eddsa.refresh).await;
    let app = app.restart(&[]).await;
    assert_eq!(app.verdict(&eddsa.access).await, "ok", "the way back");
    let back = app.refresh(&eddsa.refresh).await;
    assert_eq!((header(&back.access, "alg"), app.verdict(&back.access).await), ("HS256".to_owned(), "ok".to_owned()));
    assert_eq!(kids(&app).await, [header(&eddsa.access, "kid")], "published until its tokens have expired");
    // And forth again, in the same second.
    let app = app.restart(&[("ALGORITHM", "ES256")]).await;
    assert_eq!(app.verdict(&back.access).await, "ok");
    let es256 = app.refresh(&back.refresh).await;
    assert_eq!((header(&es256.access, "alg"), app.verdict(&es256.access).await), ("ES256".to_owned(), "ok".to_owned()));
}

#[tokio::test]
async fn the_hs256_key_can_be_revoked_once_another_one_signs() {
    let app = TestApp::new().await;
    let pair = app.as_session("john").await;
    let kid = header(&pair.access, "kid");
    assert!(revoke(&app, &kid).await.unwrap_err().contains("HS256 has no other"));
    assert_eq!(app.verdict(&pair.access).await, "ok");
    let app = app.restart(EDDSA).await;
    revoke(&app, &kid).await.unwrap();
    assert_eq!(app.verdict(&pair.access).await, "invalid_token");
    app.refresh(&pair.refresh).await;
    let Err(BuildError::Keys(why)) = app.try_restart(&[]).await.map(drop) else { panic!("started") };
    assert!(why.to_string().contains("HS256 key of this SECRET_KEY was revoked"), "{why}");
}

#[tokio::test]
async fn a_damaged_private_key_refuses_the_start() {
    for statement in [
        "UPDATE signing_keys SET sealed = X'00'",
        "UPDATE signing_keys SET sealed = NULL",
        "UPDATE signing_keys SET kid = 'x'",
        "UPDATE signing_keys SET algorithm = 'ES256'",
        "UPDATE signing_keys SET algorithm = 'RS256'",
        // The last byte, whatever it was.
        "UPDATE signing_keys SET sealed =
             CAST(SUBSTR(sealed, 1, LENGTH(sealed) - 1) || IIF(SUBSTR(sealed, -1) = X'00', X'01', X'00') AS BLOB)",
    ] {
        let app = TestApp::with(EDDSA).await;
        app.sql(statement).await;
        let Err(refused) = app.try_restart(EDDSA).await.map(drop) else { panic!("started: {statement}") };
        assert!(refused.to_string().contains("cannot be read"), "{statement}: {refused}");
    }
}

#[tokio::test]
async fn a_key_that_somebody_planted_counts_for_nothing() {
    let app = TestApp::with(EDDSA).await;
    let pair = app.as_session("john").await;
    app.sql(
        "INSERT INTO signing_keys (kid, algorithm, sealed, created_at, activates_at, position, longest_ttl)
         SELECT 'planted', algorithm, sealed, created_at, created_at, 99, longest_ttl FROM signing_keys",
    )
    .await;
    rotation::reload(&app.app).await.unwrap();
    let next = app.refresh(&pair.refresh).await;
    assert_eq!(header(&next.access, "kid"), header(&pair.access, "kid"));
    assert_eq!(app.verdict(&next.access).await, "ok");
    assert_eq!(kids(&app).await, [header(&pair.access, "kid")]);
}

#[tokio::test]
async fn the_keys_are_told_while_the_database_is_not_there() {
    let app = TestApp::with(EDDSA).await;
    let pair = app.as_session("john").await;
    app.app.store.close().await;
    assert_eq!(kids(&app).await, [header(&pair.access, "kid")]);
    app.get("/me", Some(&pair.access)).await.refuses(503, "storage_unavailable", "");
}

#[tokio::test]
async fn a_longer_life_of_tokens_is_known_to_the_keys_that_sign_them() {
    let app = TestApp::with(&[("ALGORITHM", "EdDSA"), ("ACCESS_TOKEN_EXPIRE_MINUTES", "5")]).await;
    let app = app.restart(&[("ALGORITHM", "EdDSA"), ("ACCESS_TOKEN_EXPIRE_MINUTES", "600")]).await;
    let pair = app.as_session("john").await;
    rotate(&app).await;
    // Shorter again: what was signed before lives as long as it says.
    let app = app.restart(&[("ALGORITHM", "EdDSA"), ("ACCESS_TOKEN_EXPIRE_MINUTES", "5")]).await;
    app.sleep(10 * HOUR - 1);
    assert_eq!(app.verdict(&pair.access).await, "ok");
    assert!(kids(&app).await.contains(&header(&pair.access, "kid")));
}
