//! Addresses: claimed, proved, and changed.

mod change;
mod claim;
mod proof;

use serde_json::Value;

use super::app::TestApp;

const INVALID: (u16, &str, &str) = (400, "invalid_code", "Invalid or expired code");

/// The address of an account as it sees it, and whether it is proved.
async fn address(app: &TestApp, token: &str) -> (Value, bool) {
    let me = app.get("/me", Some(token)).await.json();
    (me["email"].clone(), me["email_verified"].as_bool().unwrap())
}

async fn refused(app: &TestApp, proof: &Value) {
    app.post("/email/verify", proof).await.refuses(INVALID.0, INVALID.1, INVALID.2);
}

async fn verified(app: &TestApp, proof: &Value) {
    let answer = app.post("/email/verify", proof).await;
    assert_eq!((answer.status, answer.text()), (204, String::new()));
}
