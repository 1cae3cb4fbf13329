//! Tokens that were accepted before: what is asked of them again.

use serde_json::json;

use super::{
    app::{SECRET_KEY, START, TestApp},
    forge::{base64url, change, claims, parts, sign, sign_with},
};

#[tokio::test]
async fn a_token_that_was_accepted_vouches_for_no_other() {
    let app = TestApp::new().await;
    let (_, token) = app.as_user("john").await;
    let (_, victim) = app.as_user("jane").await;
    assert_eq!(app.verdict(&token).await, "ok");
    let (header, payload) = parts(&token);
    let mut pieces = token.split('.');
    let (head, body, signature) = (pieces.next().unwrap(), pieces.next().unwrap(), pieces.next().unwrap());
    let (_, of) = parts(&victim);
    let mut altered = payload.clone();
    // The same `jti`, the same signature.
    altered.insert("roles".to_owned(), json!(["user", "admin"]));
    let roles = format!("{head}.{}.{signature}", base64url(json!(altered).to_string()));
    altered.insert("sub".to_owned(), of["sub"].clone());
    altered.insert("sid".to_owned(), of["sid"].clone());
    let somebody_else = format!("{head}.{}.{signature}", base64url(json!(altered).to_string()));
    let signed_by_another = sign_with(&format!("{SECRET_KEY}x"), header.to_string(), json!(payload).to_string());
    let unsigned = format!("{head}.{body}.");
    let spelt_otherwise = format!("{head}.{body}.{signature}=");
    for token in [roles, somebody_else, signed_by_another, unsigned, spelt_otherwise] {
        assert_eq!(app.verdict(&token).await, "invalid_token", "{token}");
    }
    assert_eq!(app.verdict(&token).await, "ok");
}

#[tokio::test]
async fn the_time_of_a_token_is_asked_each_time() {
    let app = TestApp::new().await;
    let (_, token) = app.as_user("john").await;
    let all = change(&change(&claims(&token), "nbf", Some(json!(START))), "exp", Some(json!(START + 600)));
    let token = sign(&parts(&token).0, &all);
    // The last ones: a clock that is set back to where the token is not issued yet.
    for (seconds, verdict) in
        [(0, "ok"), (599, "ok"), (1, "token_expired"), (-600, "ok"), (-31, "invalid_token"), (31, "ok")]
    {
        app.sleep(seconds);
        assert_eq!(app.verdict(&token).await, verdict, "{seconds}");
    }
}
