//! Another `ALGORITHM`, from one start to the next.

use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    database,
    keys::{kids_in, rotate},
    program::{SECRET_KEY, Server, eventually, run, text},
    secrets::OTHER,
    token::{kid, parts, sign_hs256},
    verbs::Pair,
};

const EDDSA: &[(&str, &str)] = &[("ALGORITHM", "EdDSA")];

/// A token of somebody who holds `SECRET_KEY`, for the session of a real one.
fn forge(real: &str, iat: i64) -> String {
    let (header, mut claims) = parts(real);
    claims["iat"] = json!(iat);
    claims["exp"] = json!(iat + 1_200);
    sign_hs256(SECRET_KEY, &header, &claims)
}

/// When the key that signs took over.
fn switched_at(server: &Server) -> i64 {
    let keys = server.prints_json(&["keys", "list"]);
    let active = keys.iter().find(|key| key["state"] == "active").unwrap();
    OffsetDateTime::parse(active["activates_at"].as_str().unwrap(), &Rfc3339).unwrap().unix_timestamp()
}

#[tokio::test]
async fn another_algorithm_signs_nobody_out() {
    let mut server = Server::start(&[("ALGORITHM", "HS256")]);
    server.register("john").await;
    let mut pairs = vec![server.tokens("john").await];
    let mut issued: Vec<String> = pairs.iter().map(|pair| pair.access.clone()).collect();
    for algorithm in ["EdDSA", "HS256", "ES256", "EdDSA"] {
        server.restart(&[("ALGORITHM", algorithm)]);
        for token in &issued {
            assert_eq!(server.me(token).await, (200, String::new()), "{algorithm}: {}", parts(token).0);
        }
        for pair in &mut pairs {
            *pair = server.renew(&pair.refresh).await;
        }
        pairs.push(server.tokens("john").await);
        for Pair { access, .. } in &pairs {
            assert_eq!(parts(access).0["alg"], algorithm);
            issued.push(access.clone());
        }
    }
    for token in &issued {
        assert_eq!(server.me(token).await, (200, String::new()), "{}", parts(token).0);
    }
}

#[tokio::test]
async fn once_another_key_signs_the_secret_signs_nothing_new() {
    let mut server = Server::start(&[]);
    server.register("john").await;
    let pair = server.tokens("john").await;
    let issued_at = parts(&pair.access).1["iat"].as_i64().unwrap();
    assert_eq!(server.me(&forge(&pair.access, issued_at + 20)).await, (200, String::new()), "it could before");

    server.restart(EDDSA);
    let switched_at = switched_at(&server);
    for (iat, is_accepted) in [(switched_at - 60, true), (switched_at, true), (switched_at + 1, false)] {
        let expected = if is_accepted { (200, String::new()) } else { (401, "invalid_token".to_owned()) };
        assert_eq!(server.me(&forge(&pair.access, iat)).await, expected, "{}", iat - switched_at);
    }
    let renewed = server.renew(&pair.refresh).await;
    let (mut header, claims) = parts(&renewed.access);
    header["alg"] = json!("HS256");
    let confused = sign_hs256(SECRET_KEY, &header, &claims);
    assert_eq!(server.me(&confused).await, (401, "invalid_token".to_owned()), "under the id of another key");

    server.prints(&["keys", "revoke", "--", &kid(&pair.access)]);
    eventually("what the secret signed is refused", async || server.me(&pair.access).await.0 == 401).await;
    assert_eq!(server.me(&forge(&pair.access, switched_at - 60)).await, (401, "invalid_token".to_owned()));
    assert_eq!(server.me(&renewed.access).await, (200, String::new()));
}

#[tokio::test]
async fn a_secret_whose_key_was_revoked_signs_no_more_and_the_refusal_changes_nothing() {
    let mut server = Server::start(&[]);
    server.register("john").await;
    let pair = server.tokens("john").await;
    server.restart(EDDSA);
    server.prints(&["keys", "revoke", "--", &kid(&pair.access)]);
    server.stop();
    let before = database::dump(server.folder.path()).await;
    assert_hs256_is_refused(&server);
    assert_eq!(database::dump(server.folder.path()).await, before);
    server.begin(EDDSA);
    server.renew(&pair.refresh).await;
}

#[tokio::test]
async fn a_refused_start_takes_no_key_back() {
    let mut server = Server::start(&[]);
    server.register("john").await;
    let pair = server.tokens("john").await;
    server.restart(EDDSA);
    server.prints(&["keys", "revoke", "--", &kid(&pair.access)]);
    let pending = rotate(&server, &[]);
    server.stop();
    assert_hs256_is_refused(&server);
    server.begin(EDDSA);
    assert_eq!(kids_in(&server, "pending"), [pending]);
}

#[tokio::test]
async fn a_refused_start_puts_no_secret_back() {
    let mut server = Server::start(&[]);
    server.register("john").await;
    let old = kid(&server.tokens("john").await.access);
    server.restart(&[("SECRET_KEY", OTHER), ("SECRET_KEY_PREVIOUS", SECRET_KEY)]);
    server.prints(&["keys", "revoke", "--", &old]);
    server.stop();
    let before = database::dump(server.folder.path()).await;
    let port = server.port.to_string();
    let output = run(server.folder.path(), &["serve"], &[("SECRET_KEY_PREVIOUS", OTHER), ("PORT", &port)], "");
    assert!(text(&output.stderr).contains("the HS256 key of this SECRET_KEY was revoked"), "{}", text(&output.stderr));
    assert_eq!(database::dump(server.folder.path()).await, before);
    server.begin(&[("SECRET_KEY", OTHER)]);
}

fn assert_hs256_is_refused(server: &Server) {
    let output = run(server.folder.path(), &["serve"], &[("PORT", &server.port.to_string())], "");
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(
        said.contains("the HS256 key of this SECRET_KEY was revoked: replace SECRET_KEY, or set ALGORITHM"),
        "{said}"
    );
}

#[tokio::test]
async fn a_key_is_remembered_for_as_long_as_its_tokens_live() {
    let minutes = |minutes| [("ALGORITHM", "EdDSA"), ("ACCESS_TOKEN_EXPIRE_MINUTES", minutes)];
    let mut server = Server::start(&minutes("60"));
    server.register("john").await;
    server.restart(&minutes("30"));
    let new = rotate(&server, &["--in", "2"]);
    eventually("the new key signs", async || kids_in(&server, "active") == [new.clone()]).await;
    server.restart(&minutes("60"));
    let token = server.tokens("john").await.access;
    let (header, claims) = parts(&token);
    assert_eq!((&header["kid"], life(&claims)), (&json!(new), 3_600));
    let query = format!("SELECT CAST(longest_ttl AS TEXT) FROM signing_keys WHERE kid = '{new}'");
    assert_eq!(database::column(server.folder.path(), &query).await, ["3600"]);
}

fn life(claims: &Value) -> i64 {
    claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap()
}
