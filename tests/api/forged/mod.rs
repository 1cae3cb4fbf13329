//! Access tokens that nobody issued: each is refused, by every operation that takes one, under every algorithm.
//!
//! Most are signed as only the holder of the key could sign them, and wrong in one thing alone.

mod algorithm;
mod claim;
mod encoding;
mod mint;
mod names;
mod shape;
mod signature;

use std::collections::HashSet;

use poem::http::Method;
use serde_json::{Value, json};

use super::app::TestApp;
use mint::{Key, Mint};

/// A token, what is wrong with it, and the code of its refusal.
struct Row {
    name: String,
    token: String,
    code: &'static str,
}

#[derive(Default)]
struct Table(Vec<Row>);

impl Table {
    fn invalid(&mut self, name: impl Into<String>, token: String) {
        self.row(name, token, "invalid_token");
    }

    fn row(&mut self, name: impl Into<String>, token: String, code: &'static str) {
        self.0.push(Row { name: name.into(), token, code });
    }
}

fn table(mint: &Mint) -> Vec<Row> {
    let mut table = Table::default();
    for add in [
        algorithm::none,
        algorithm::other,
        algorithm::confused,
        names::kids,
        names::embedded,
        names::critical,
        names::types,
        claim::texts,
        claim::numbers,
        claim::subjects,
        claim::sessions,
        claim::twice,
        encoding::base64,
        encoding::json,
        shape::parts,
        shape::others,
        signature::lengths,
        signature::edges,
        signature::others,
    ] {
        add(mint, &mut table);
    }
    table.0
}

/// An operation that takes an access token.
struct Operation {
    method: Method,
    path: String,
    /// Whether it does so, too, when the token is past its time or its session has ended.
    takes_ended: bool,
}

/// Those of the document.
fn operations(id: &str) -> Vec<Operation> {
    let document: Value = serde_json::from_str(&hallpass::api::spec()).unwrap();
    let mut all = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let schemes = operation["security"].as_array().cloned().unwrap_or_default();
            if schemes.contains(&json!({"BearerAuth": []})) {
                all.push(Operation {
                    method: method.to_uppercase().parse().unwrap(),
                    path: path.replace("{id}", id),
                    takes_ended: path == "/logout",
                });
            }
        }
    }
    all
}

async fn none_is_accepted(algorithm: &str, at_least: usize) {
    let app = TestApp::with(&[("ALGORITHM", algorithm)]).await;
    let mint = Mint::new(&app).await;
    let rows = table(&mint);
    let (names, tokens): (HashSet<&str>, HashSet<&str>) =
        rows.iter().map(|row| (row.name.as_str(), row.token.as_str())).unzip();
    let twice = |row: &&Row| rows.iter().filter(|other| other.name == row.name || other.token == row.token).count() > 1;
    let double: Vec<&str> = rows.iter().filter(twice).map(|row| row.name.as_str()).collect();
    assert!(names.len() == rows.len() && tokens.len() == rows.len(), "{double:?}");
    assert!(rows.len() >= at_least, "{} under {algorithm}", rows.len());

    let operations = operations(&mint.bob_id);
    assert!(operations.len() >= 17, "{}", operations.len());
    // What each row changes is right to begin with, and would be served.
    let right = mint.sign(mint.header.to_string(), mint.claims.to_string());
    for Operation { method, path, .. } in operations.iter().filter(|operation| operation.method == Method::GET) {
        let answer = app.call(method.clone(), path, &right, None).await;
        assert_eq!(answer.status, 200, "{algorithm} {method} {path} {}", answer.text());
    }
    let sessions = "SELECT CAST(COUNT(*) AS TEXT) FROM sessions WHERE ended_at IS NULL";
    let before = app.text(sessions).await;
    for Row { name, token, code } in &rows {
        let is_forged = ["invalid_token", "invalid_token_payload"].contains(code);
        for Operation { method, path, .. } in operations.iter().filter(|operation| is_forged || !operation.takes_ended)
        {
            let answer = app.call(method.clone(), path, token, None).await;
            let what = format!("{algorithm} {method} {path}: {name}: {token:.2000}");
            assert_eq!(answer.status, 401, "{what}");
            assert_eq!(answer.json()["code"], *code, "{what}");
            assert!(answer.header("www-authenticate").starts_with(r#"Bearer error="invalid_token""#), "{what}");
        }
    }
    assert_eq!(app.text(sessions).await, before);
    assert_eq!(app.verdict(&right).await, "ok");
    assert_eq!(app.verdict(&mint.john.access).await, "ok");
}

#[tokio::test]
async fn no_forged_token_is_accepted_under_hs256() {
    none_is_accepted("HS256", 1_200).await;
}

#[tokio::test]
async fn no_forged_token_is_accepted_under_eddsa() {
    none_is_accepted("EdDSA", 1_200).await;
}

#[tokio::test]
async fn no_forged_token_is_accepted_under_es256() {
    none_is_accepted("ES256", 1_200).await;
}

/// Whoever has seen a signature (r, s) of ECDSA knows another one, (r, -s), which is as good (SEC 1, section 4.1.4).
/// It says nothing that its owner did not say, and what ends the one ends the other.
#[tokio::test]
async fn the_second_signature_of_an_es256_token_ends_with_the_first() {
    let app = TestApp::with(&[("ALGORITHM", "ES256")]).await;
    let mint = Mint::new(&app).await;
    let second = mint.signature(signature::negated(&mint.right()));
    assert_eq!(app.verdict(&second).await, "ok");
    assert_eq!(app.call(Method::POST, "/logout", &mint.john.access, None).await.status, 204);
    assert_eq!(app.verdict(&second).await, "session_ended");
}
