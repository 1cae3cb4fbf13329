//! What is nearly right: tokens, headers, targets and bodies that work, with something changed at random. Whatever it
//! is, it is answered, and never with a 5xx; and no token but the one that was issued is one.
//!
//! `HALLPASS_ROUNDS=1000000 cargo test --test api mutations` is the long form; `HALLPASS_SEED` names another run.

mod body;
mod head;
mod random;

use std::collections::HashSet;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use poem::{
    Request,
    http::{HeaderValue, Method},
};

use super::app::{Answer, TestApp};
use random::{Random, rounds, seed};

/// Sees to it that it was answered as a request may be. A panic is a 500 here.
#[track_caller]
fn is_sound(answer: &Answer, round: u64, what: &str) {
    assert!(answer.status < 500, "seed {} round {round}: {what}: {} {}", seed(), answer.status, answer.text());
}

async fn no_other_token_is_accepted(algorithm: &str) {
    let app = TestApp::with(&[("ALGORITHM", algorithm)]).await;
    let (john, jane) = (app.as_session("john").await, app.as_session("jane").await);
    let second = app.open("john").await;
    let issued: HashSet<&str> = [&john, &jane, &second].iter().map(|pair| pair.access.as_str()).collect();
    let others: Vec<Vec<u8>> = [&john, &jane, &second]
        .iter()
        .flat_map(|pair| [pair.access.clone().into_bytes(), pair.refresh.clone().into_bytes()])
        .collect();
    let operations = [
        (Method::GET, "/protected"),
        (Method::GET, "/me"),
        (Method::GET, "/sessions"),
        (Method::POST, "/logout"),
        (Method::DELETE, "/sessions"),
        (Method::GET, "/admin/users"),
    ];
    let mut random = Random::new(seed());
    for round in 0..rounds() / 9 {
        if round % 64 == 0 {
            // It has been seen, and is remembered: that helps no other.
            assert_eq!(app.verdict(&john.access).await, "ok");
        }
        let text = loop {
            let mut token = random.of(&others[..1]).clone();
            if random.below(3) == 0 {
                mutate_part(&mut random, &mut token, &others);
            } else {
                random.mutate(&mut token, &others);
            }
            // What no header can carry is no request, and blanks before a token are no part of it.
            let text =
                String::from_utf8(token).ok().filter(|text| HeaderValue::from_str(text).is_ok() || !text.is_ascii());
            match text {
                Some(text) if !issued.contains(text.trim()) && carried(&text).is_some() => break text,
                _ => {}
            }
        };
        let (method, path) = random.of(&operations).clone();
        let request = Request::builder().method(method.clone()).uri_str(path);
        let answer = app.send(request.header("authorization", carried(&text).unwrap()).finish()).await;
        let what = format!("seed {} round {round} {algorithm} {method} {path}: {text}", seed());
        assert_eq!(answer.status, 401, "{what}");
        assert_eq!(answer.json()["code"], "invalid_token", "{what}");
    }
    for token in issued {
        assert_eq!(app.verdict(token).await, "ok");
    }
}

fn carried(token: &str) -> Option<HeaderValue> {
    HeaderValue::from_bytes(format!("Bearer {token}").as_bytes()).ok()
}

/// Changes what a part says, and spells it well.
fn mutate_part(random: &mut Random, token: &mut Vec<u8>, others: &[Vec<u8>]) {
    let text = String::from_utf8(std::mem::take(token)).unwrap();
    let which = random.below(3);
    let part = |(n, part): (usize, &str)| {
        if n != which {
            return part.to_owned();
        }
        let mut bytes = URL_SAFE_NO_PAD.decode(part).unwrap();
        random.mutate(&mut bytes, others);
        URL_SAFE_NO_PAD.encode(bytes)
    };
    let parts: Vec<String> = text.split('.').enumerate().map(part).collect();
    *token = parts.join(".").into_bytes();
}

#[tokio::test]
async fn no_mutated_token_is_accepted_under_hs256() {
    no_other_token_is_accepted("HS256").await;
}

#[tokio::test]
async fn no_mutated_token_is_accepted_under_eddsa() {
    no_other_token_is_accepted("EdDSA").await;
}

#[tokio::test]
async fn no_mutated_token_is_accepted_under_es256() {
    no_other_token_is_accepted("ES256").await;
}
