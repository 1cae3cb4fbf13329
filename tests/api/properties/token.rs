//! Access tokens.

use std::{cell::RefCell, collections::BTreeMap};

use hallpass::{
    auth::token::Grant,
    error::Error,
    model::{Roles, SessionId, Time, UserId},
};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    START, TestApp, any_json, check,
    forge::{self, sign},
};

#[tokio::test]
async fn an_access_token_says_what_was_put_into_it() {
    let app = TestApp::new().await;
    let (tokens, now) = (&app.app.tokens, Time::from_unix(START));
    let role = prop::collection::vec("[a-z][a-z0-9_-]{0,31}", 0..4);
    check(256, &("\\PC{1,40}", "\\PC{0,40}", "\\PC{1,40}", role, any::<i64>(), 1..200_000_i64), |given| {
        let (sub, name, sid, roles, generation, left) = given;
        let (user_id, session_id) = (UserId::from_text(sub), SessionId::from_text(sid));
        let roles = Roles::with(roles.iter().map(String::as_str)).unwrap();
        let session_expires_at = now.plus(left);
        let grant = Grant {
            user_id: &user_id,
            username: &name,
            roles: &roles,
            session_id: &session_id,
            generation,
            session_expires_at,
        };
        let issued = tokens.issue(now, grant).unwrap();
        prop_assert_eq!(issued.expires_in, left.min(1_800));
        let verified = tokens.verify(now, &issued.text).unwrap();
        prop_assert_eq!(&verified.named.user_id, &user_id);
        prop_assert_eq!(&verified.named.session_id, &session_id);
        prop_assert_eq!(verified.generation, Some(generation));
        let last = tokens.verify(issued.expires_at.plus(-1), &issued.text);
        prop_assert!(
            last.is_ok() && matches!(tokens.verify(issued.expires_at, &issued.text), Err(Error::TokenExpired))
        );
        let (_, claims) = forge::parts(&issued.text);
        prop_assert_eq!(&claims["preferred_username"], &json!(name));
        prop_assert_eq!(&claims["roles"], &json!(roles.iter().collect::<Vec<_>>()));
        Ok(())
    });
}

/// What the contract says of a claim, in other words than the program's.
fn contract(claims: &Value) -> &'static str {
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    let time = |name: &str| claims.get(name).and_then(Value::as_i64);
    let issuer = Some("http://127.0.0.1:8000");
    let (Some(exp), Some(iat)) = (time("exp"), time("iat")) else { return "invalid" };
    let is_ours = text("iss") == issuer && text("aud") == issuer && text("client_id") == Some("hallpass");
    let is_whole = ["jti", "sid"].iter().all(|name| text(name).is_some_and(|text| !text.is_empty()));
    let nbf = claims.get("nbf").map_or(Some(0), Value::as_i64);
    if !is_ours || !is_whole || iat > START + 30 || nbf.is_none_or(|nbf| nbf > START + 30) {
        return "invalid";
    }
    // As long as any token may live.
    if i128::from(exp) - i128::from(iat) > 86_400 {
        return "invalid";
    }
    match text("sub") {
        None | Some("") => "payload",
        Some(_) if exp <= START => "expired",
        Some(_) => "ok",
    }
}

#[tokio::test]
async fn claims_are_taken_as_the_contract_says() {
    let app = TestApp::new().await;
    let (_, token) = app.as_user("john").await;
    let (header, right) = (forge::parts(&token).0, forge::claims(&token));
    let times = prop_oneof![
        START - 90_000..START + 90_000,
        START - 2..START + 34,
        any::<i64>(),
        Just(i64::MIN),
        Just(i64::MAX),
    ];
    let value = prop_oneof![
        3 => times.prop_map(Some).prop_map(|time| time.map(Value::from)),
        2 => any_json().prop_map(Some),
        1 => Just(None),
        2 => prop::sample::select(vec!["http://127.0.0.1:8000", "hallpass", "", "x"]).prop_map(|t| Some(json!(t))),
    ];
    let names = ["iss", "aud", "sub", "client_id", "exp", "iat", "nbf", "jti", "sid", "roles", "x"];
    let change = (prop::sample::select(names.to_vec()), value);
    let mut seen = BTreeMap::new();
    let seen = RefCell::new(&mut seen);
    check(2_048, &prop::collection::vec(change, 0..3), |changes| {
        let claims =
            changes.iter().fold(right.clone(), |claims, (name, value)| forge::change(&claims, name, value.clone()));
        let verdict = match app.app.tokens.verify(Time::from_unix(START), &sign(&header, &claims)) {
            Ok(verified) => {
                prop_assert_eq!(&claims["sub"], verified.named.user_id.as_str());
                prop_assert_eq!(&claims["sid"], verified.named.session_id.as_str());
                "ok"
            }
            Err(Error::InvalidToken) => "invalid",
            Err(Error::InvalidTokenPayload) => "payload",
            Err(Error::TokenExpired) => "expired",
            Err(other) => panic!("{other}"),
        };
        prop_assert_eq!(verdict, contract(&claims), "{}", claims);
        *seen.borrow_mut().entry(verdict).or_insert(0) += 1;
        Ok(())
    });
    assert_eq!(seen.into_inner().len(), 4, "each verdict was given");
}
