//! Hands in the table of keys.

use std::path::Path;

use aws_lc_rs::signature::Ed25519KeyPair;
use serde_json::json;

use super::{
    database::{dump, execute},
    keys::{kids_in, rotate},
    program::{Server, eventually, run, text},
    token::{jwk, kid, parts, sign_ed25519, sign_hs256, thumbprint},
    verbs::Pair,
};

const EDDSA: &[(&str, &str)] = &[("ALGORITHM", "EdDSA")];

#[tokio::test]
async fn a_private_key_that_is_damaged_or_moved_stops_the_start() {
    let mut server = Server::start(EDDSA);
    let (active, pending) = (kids_in(&server, "active").remove(0), rotate(&server, &[]));
    server.stop();
    let port = server.port.to_string();
    let begin = |folder: &Path| run(folder, &["serve"], &[("ALGORITHM", "EdDSA"), ("PORT", &port)], "");
    let flip = |kid: &str, byte: usize| {
        format!(
            "UPDATE signing_keys SET sealed = unhex(substr(hex(sealed), 1, 2 * {byte})
                 || CASE substr(hex(sealed), 2 * {byte} + 1, 2) WHEN '00' THEN 'FF' ELSE '00' END
                 || substr(hex(sealed), 2 * {byte} + 3)) WHERE kid = '{kid}'"
        )
    };
    let renamed = "x".repeat(43);
    for (statement, rows, named) in [
        (flip(&active, 0), 1, &active),
        (flip(&active, 20), 1, &active),
        (flip(&pending, 60), 1, &pending),
        (format!("UPDATE signing_keys SET sealed = substr(sealed, 1, 12) WHERE kid = '{active}'"), 1, &active),
        (format!("UPDATE signing_keys SET sealed = NULL WHERE kid = '{active}'"), 1, &active),
        (
            "UPDATE signing_keys SET sealed = (SELECT sealed FROM signing_keys AS o WHERE o.kid <> signing_keys.kid)"
                .to_owned(),
            2,
            &active,
        ),
        (format!("UPDATE signing_keys SET kid = '{renamed}' WHERE kid = '{active}'"), 1, &renamed),
        (format!("UPDATE signing_keys SET algorithm = 'ES256' WHERE kid = '{active}'"), 1, &active),
        (format!("UPDATE signing_keys SET algorithm = 'none' WHERE kid = '{active}'"), 1, &active),
    ] {
        let copy = tempfile::tempdir().unwrap();
        std::fs::copy(server.folder.path().join("hallpass.db"), copy.path().join("hallpass.db")).unwrap();
        execute(copy.path(), &statement, rows).await;
        let before = dump(copy.path()).await;
        let output = begin(copy.path());
        assert_eq!(output.status.code(), Some(1), "{statement}");
        let said = text(&output.stderr);
        let why = format!("hallpass: cannot start: the signing key {named} cannot be read: its row is damaged");
        assert!(said.contains(&why), "{statement}: {said}");
        assert_eq!(dump(copy.path()).await, before, "{statement}");
    }
    server.begin(EDDSA);
    assert_eq!(kids_in(&server, "active"), [active], "the original starts");
}

#[tokio::test]
async fn a_ring_that_is_empty_is_filled_and_told() {
    let mut server = Server::start(EDDSA);
    server.register("john").await;
    let pair = server.tokens("john").await;
    server.stop();
    execute(server.folder.path(), "DELETE FROM signing_keys", 1).await;
    let told = r#""event":"signing_keys_missing""#;
    assert!(!server.log().contains(told));
    server.begin(EDDSA);
    assert!(server.log().contains(told), "{}", server.log());
    assert_eq!(server.me(&pair.access).await, (401, "invalid_token".to_owned()));
    let next = server.renew(&pair.refresh).await;
    assert_eq!(server.me(&next.access).await.0, 200);
}

/// A row under the id of somebody else's key, `lead` seconds after the newest.
async fn plant(server: &Server, kid: &str, algorithm: &str, sealed: &str, lead: i64) {
    let statement = format!(
        "INSERT INTO signing_keys (kid, algorithm, sealed, created_at, activates_at, position, longest_ttl)
         SELECT '{kid}', '{algorithm}', {sealed}, created_at, activates_at + {lead}, 99, 86400 FROM signing_keys"
    );
    execute(server.folder.path(), &statement, 1).await;
    let read = r#""event":"signing_keys_read""#;
    eventually("the server has read it", async || server.log().contains(read)).await;
}

/// With a row planted, the server signs and verifies as before.
async fn assert_counts_for_nothing(algorithm: &str, sealed: &str, lead: i64) {
    let attacker = Ed25519KeyPair::generate().unwrap();
    let planted = thumbprint(&jwk(&attacker));
    let row = format!("{algorithm} {sealed} {lead}");
    let server = Server::start(EDDSA);
    server.register("john").await;
    let pair = server.tokens("john").await;
    let kids = server.kids().await;
    plant(&server, &planted, algorithm, sealed, lead).await;
    // Seconds later, so that what the row might retire is retired.
    let issued_at = |pair: &Pair| parts(&pair.access).1["iat"].as_i64().unwrap();
    let mut fresh = pair.clone();
    eventually("two seconds have passed", async || {
        fresh = server.renew(&fresh.refresh).await;
        issued_at(&fresh) > issued_at(&pair) + 1
    })
    .await;
    for access in [&pair.access, &fresh.access] {
        assert_eq!((server.me(access).await, kid(access)), ((200, String::new()), kids[0].clone()), "{row}");
    }
    assert_eq!(server.kids().await, kids, "{row}");

    let (_, claims) = parts(&pair.access);
    let header = |alg: &str| json!({"typ": "at+jwt", "alg": alg, "kid": planted});
    for forged in [
        sign_ed25519(&attacker, &header("EdDSA"), &claims),
        sign_hs256("", &header("HS256"), &claims),
        sign_hs256("", &header("none"), &claims),
    ] {
        assert_eq!(server.me(&forged).await, (401, "invalid_token".to_owned()), "{row}");
    }
    // The ring goes on without it, and it can be put out.
    rotate(&server, &["--in", "2"]);
    eventually("the next key signs", async || {
        fresh = server.renew(&fresh.refresh).await;
        assert_eq!(server.me(&fresh.access).await, (200, String::new()), "{row}");
        kid(&fresh.access) != kids[0]
    })
    .await;
    server.prints(&["keys", "revoke", "--", &planted]);
    assert_eq!(kids_in(&server, "revoked"), [planted]);
}

#[tokio::test]
async fn a_key_that_somebody_plants_neither_signs_nor_verifies() {
    for (algorithm, sealed, lead) in [
        ("EdDSA", "randomblob(95)", 0),
        ("EdDSA", "randomblob(95)", 600),
        ("EdDSA", "NULL", 0),
        ("EdDSA", "sealed", 0),
        ("ES256", "sealed", 0),
        ("none", "NULL", 0),
    ] {
        assert_counts_for_nothing(algorithm, sealed, lead).await;
    }
}

#[tokio::test]
async fn a_planted_key_does_not_take_over_from_one_that_is_revoked() {
    let server = Server::start(EDDSA);
    server.register("john").await;
    let pair = server.tokens("john").await;
    plant(&server, &"x".repeat(43), "EdDSA", "randomblob(95)", 600).await;
    server.prints(&["keys", "revoke", "--", &kid(&pair.access)]);
    eventually("its tokens are refused", async || server.me(&pair.access).await.0 == 401).await;
    let renewed = server.renew(&pair.refresh).await;
    assert_eq!(server.me(&renewed.access).await, (200, String::new()));
}
