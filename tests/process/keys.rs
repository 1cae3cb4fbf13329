//! The keys that sign, from the command line of a running server.

use std::time::Duration;

use serde_json::json;

use super::{
    database,
    program::{Server, eventually},
    token::{kid, parts, thumbprint, verifies},
};

/// The ids of the keys in this state.
pub fn kids_in(server: &Server, state: &str) -> Vec<String> {
    let keys = server.prints_json(&["keys", "list"]);
    let found = keys.iter().filter(|key| key["state"] == state);
    found.map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

/// Makes the next key. Answers its id.
pub fn rotate(server: &Server, words: &[&str]) -> String {
    let said = server.prints(&[&["keys", "rotate"], words].concat());
    let (kid, rest) = said.split_once(' ').unwrap();
    assert!(rest.starts_with("signs from 20"), "{said}");
    kid.to_owned()
}

#[tokio::test]
async fn tokens_are_signed_by_a_published_key_that_is_named_by_its_thumbprint() {
    for (algorithm, members) in [
        ("EdDSA", &["alg", "crv", "kid", "kty", "use", "x"][..]),
        ("ES256", &["alg", "crv", "kid", "kty", "use", "x", "y"]),
    ] {
        let server = Server::start(&[("ALGORITHM", algorithm)]);
        server.register("john").await;
        let token = server.tokens("john").await.access;
        let keys = server.jwks().await;
        assert_eq!(keys.len(), 1);
        let mut names: Vec<&String> = keys[0].as_object().unwrap().keys().collect();
        names.sort();
        assert_eq!(names, members, "the public half, and nothing else");
        assert_eq!((&keys[0]["alg"], &keys[0]["use"]), (&json!(algorithm), &json!("sig")));
        assert_eq!(keys[0]["kid"], thumbprint(&keys[0]));
        let (header, _) = parts(&token);
        assert_eq!(header, json!({"typ": "at+jwt", "alg": algorithm, "kid": keys[0]["kid"]}));
        assert!(verifies(&keys[0], &token), "by anybody");
        assert_eq!(server.me(&token).await, (200, String::new()));
    }
}

#[tokio::test]
async fn the_published_keys_may_be_kept_and_those_of_a_secret_are_not_published() {
    for (algorithm, count) in [("HS256", 0), ("EdDSA", 1)] {
        let server = Server::start(&[("ALGORITHM", algorithm)]);
        let answer = reqwest::get(server.url("/.well-known/jwks.json")).await.unwrap();
        let caching = answer.headers()["cache-control"].to_str().unwrap().to_owned();
        let seconds: u32 = caching.split_once("max-age=").unwrap().1.parse().unwrap();
        assert!((1..=600).contains(&seconds), "{caching}");
        let set: serde_json::Value = answer.json().await.unwrap();
        assert_eq!(set.as_object().unwrap().keys().collect::<Vec<_>>(), ["keys"]);
        assert_eq!(set["keys"].as_array().unwrap().len(), count, "{set}");
    }
}

#[tokio::test]
async fn a_new_key_is_published_at_once_and_the_old_one_goes_on_signing() {
    let server = Server::start(&[("ALGORITHM", "EdDSA")]);
    server.register("john").await;
    let old = kids_in(&server, "active").remove(0);
    let new = rotate(&server, &[]);
    assert_eq!(kids_in(&server, "pending"), [new.as_str()]);
    eventually("both are published", async || server.kids().await == [old.clone(), new.clone()]).await;
    assert_eq!(kid(&server.tokens("john").await.access), old);
    assert_eq!(kids_in(&server, "active"), [old]);
    let made: serde_json::Value = serde_json::from_str(&server.prints(&["keys", "rotate", "--json"])).unwrap();
    let listed = server.prints_json(&["keys", "list"]);
    assert!(made["state"] == "pending" && made["algorithm"] == "EdDSA" && listed.contains(&made), "{made}: {listed:?}");
}

#[tokio::test]
async fn a_new_key_takes_over_at_its_time_and_what_the_old_one_signed_counts_on() {
    for algorithm in ["EdDSA", "ES256"] {
        let server = Server::start(&[("ALGORITHM", algorithm)]);
        server.register("john").await;
        let old = server.tokens("john").await;
        server.prints(&["keys", "rotate", "--in", "2"]);
        let mut last = old.clone();
        eventually("the new key signs", async || {
            last = server.renew(&last.refresh).await;
            // Whichever key it is in this second, the token counts at once, here and elsewhere.
            assert_eq!(server.me(&last.access).await.0, 200);
            let keys = server.jwks().await;
            let key = keys.iter().find(|key| key["kid"] == kid(&last.access));
            assert!(verifies(key.unwrap(), &last.access));
            kid(&last.access) != kid(&old.access)
        })
        .await;
        assert_eq!(server.me(&old.access).await, (200, String::new()));
        assert_eq!(server.kids().await, [kid(&old.access), kid(&last.access)]);
        assert_eq!(kids_in(&server, "retired"), [kid(&old.access)]);
        assert_eq!(kids_in(&server, "active"), [kid(&last.access)]);
    }
}

#[tokio::test]
async fn a_key_that_is_revoked_takes_its_tokens_along_and_signs_nobody_out() {
    // With a key that waits for its turn, and without one.
    for has_next in [false, true] {
        let server = Server::start(&[("ALGORITHM", "ES256")]);
        server.register("john").await;
        let pair = server.tokens("john").await;
        let revoked = kid(&pair.access);
        let next = has_next.then(|| rotate(&server, &[]));
        server.prints(&["keys", "revoke", "--", &revoked]);
        let refused = (401, "invalid_token".to_owned());
        eventually("its tokens are refused", async || server.me(&pair.access).await == refused).await;
        let renewed = server.renew(&pair.refresh).await;
        let active = kid(&renewed.access);
        assert_eq!(server.me(&renewed.access).await, (200, String::new()));
        assert!(active != revoked && next.is_none_or(|next| next == active));
        assert_eq!(server.kids().await, [active.as_str()]);
        assert_eq!(kids_in(&server, "revoked"), [revoked.as_str()]);
        assert_eq!(kids_in(&server, "active"), [active]);
        server.refuses(&["keys", "revoke", "--", &revoked], 1, "hallpass: it was revoked before\n");
    }
}

#[tokio::test]
async fn a_key_that_does_not_sign_is_revoked_alone() {
    let server = Server::start(&[("ALGORITHM", "EdDSA")]);
    server.register("john").await;
    let old = server.tokens("john").await;
    let signing = rotate(&server, &["--in", "2"]);
    eventually("the new key signs", async || kids_in(&server, "active") == [signing.clone()]).await;
    let pending = rotate(&server, &[]);
    let token = server.tokens("john").await.access;
    for revoked in [kid(&old.access), pending] {
        server.prints(&["keys", "revoke", "--", &revoked]);
        eventually("it is published no more", async || !server.kids().await.contains(&revoked)).await;
        assert_eq!(server.me(&token).await, (200, String::new()));
        assert_eq!(kid(&server.tokens("john").await.access), signing);
    }
    assert_eq!(server.me(&old.access).await, (401, "invalid_token".to_owned()));
    assert_eq!(server.kids().await, [signing]);
}

/// Lets so many days go by for the keys.
async fn age(server: &Server, days: u32) {
    let statement = format!("UPDATE signing_keys SET activates_at = activates_at - {days} * 86400");
    let count = server.prints_json(&["keys", "list"]).len();
    database::execute(server.folder.path(), &statement, u64::try_from(count).unwrap()).await;
}

#[tokio::test]
async fn a_key_that_has_come_of_age_gets_a_successor_that_waits_for_its_turn() {
    for (setting, days, is_due) in [("90", 91, true), ("90", 88, false), ("7", 8, true), ("0", 999, false)] {
        let settings = [("ALGORITHM", "EdDSA"), ("KEY_ROTATION_DAYS", setting)];
        let mut server = Server::start(&settings);
        server.register("john").await;
        let pair = server.tokens("john").await;
        let old = kid(&pair.access);
        age(&server, days).await;
        server.restart(&settings);
        if is_due {
            eventually("there is another", async || kids_in(&server, "pending").len() == 1).await;
        } else {
            // It would be made at the start.
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
        assert_eq!(server.kids().await.len(), 1 + usize::from(is_due), "{setting} {days}");
        assert_eq!(kids_in(&server, "active"), [old.as_str()]);
        assert_eq!(kid(&server.tokens("john").await.access), old);
        assert_eq!(server.me(&pair.access).await, (200, String::new()));
    }
}

#[tokio::test]
async fn a_key_is_forgotten_a_day_after_its_last_token() {
    let mut server = Server::start(&[("ALGORITHM", "EdDSA")]);
    let new = rotate(&server, &["--in", "2"]);
    eventually("the new key signs", async || kids_in(&server, "active") == [new.clone()]).await;
    age(&server, 1).await;
    eventually("the old one is published no more", async || server.kids().await == [new.clone()]).await;
    assert_eq!(kids_in(&server, "expired").len(), 1, "and still known");
    age(&server, 1).await;
    server.restart(&[("ALGORITHM", "EdDSA")]);
    eventually("the old one is gone", async || server.prints_json(&["keys", "list"]).len() == 1).await;
    assert_eq!(kids_in(&server, "active"), [new]);
}

#[test]
fn a_command_on_keys_that_comes_to_nothing_says_why() {
    let server = Server::start(&[("ALGORITHM", "EdDSA")]);
    let unknown = "x".repeat(43);
    server.refuses(&["keys", "revoke", &unknown], 1, "hallpass: there is no such key\n");
    server.refuses(&["keys", "revoke", ""], 1, "hallpass: there is no such key\n");
    for words in [
        &["keys"][..],
        &["keys", "revoke"],
        &["keys", "revoke", "one", "two"],
        &["keys", "rotate", "now"],
        &["keys", "rotate", "--in"],
        &["keys", "rotate", "--in", "soon"],
        &["keys", "rotate", "--in", "1"],
        &["keys", "rotate", "--in", "86401"],
        &["keys", "list", "all"],
    ] {
        server.refuses(words, 2, "--help");
    }
    assert_eq!(server.prints_json(&["keys", "list"]).len(), 1, "nothing was changed");
}

#[test]
fn the_id_of_a_key_may_begin_with_a_hyphen() {
    // As one in 64 does.
    let server = Server::start(&[("ALGORITHM", "EdDSA")]);
    server.refuses(&["keys", "revoke", &format!("-{}", "x".repeat(42))], 1, "there is no such key");
}

#[tokio::test]
async fn under_hs256_there_is_nothing_to_rotate_and_it_says_what_to_do() {
    let server = Server::start(&[]);
    server.register("john").await;
    let token = server.tokens("john").await.access;
    for what in ["SECRET_KEY_PREVIOUS", "set ALGORITHM to EdDSA or ES256"] {
        server.refuses(&["keys", "rotate"], 1, what);
    }
    server.refuses(&["keys", "revoke", "--", &kid(&token)], 1, "set ALGORITHM to EdDSA or ES256");
    assert_eq!(server.me(&token).await, (200, String::new()));
    assert_eq!(kids_in(&server, "active"), [kid(&token)]);
}
