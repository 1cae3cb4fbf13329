//! Getting back in by what is mailed.

mod account;
mod proof;

use serde_json::Value;

use super::app::TestApp;

const NEW: &str = "nine violet umbrellas";

const INVALID: (u16, &str, &str) = (400, "invalid_code", "Invalid or expired code");

async fn refused(app: &TestApp, proof: &Value) {
    app.reset(proof, NEW).await.refuses(INVALID.0, INVALID.1, INVALID.2);
}

async fn reset(app: &TestApp, proof: &Value) {
    let answer = app.reset(proof, NEW).await;
    assert_eq!((answer.status, answer.text()), (204, String::new()));
}
