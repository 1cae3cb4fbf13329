//! What an outsider signs who holds `SECRET_KEY`.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::{
    in_repository,
    program::{PASSWORD, SECRET_KEY, Server},
    python,
};

#[tokio::test]
#[ignore = "needs Python with PyJWT; make interop installs and runs it"]
async fn a_token_that_pyjwt_signs_is_judged_like_ours() {
    let server = Server::start(&[]);
    let user = server.register("jane").await;
    let (_, tokens) = server.login("jane", PASSWORD).await;
    let part = |n: usize| -> Value {
        let part = tokens["access_token"].as_str().unwrap().split('.').nth(n).unwrap();
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    };
    let (header, claims) = (part(0), part(1));
    let now = claims["iat"].as_i64().unwrap();
    for (change, code) in [
        (json!({}), Value::Null),
        (json!({"exp": now - 1}), json!("token_expired")),
        (json!({"aud": "other"}), json!("invalid_token")),
        (json!({"sub": "nobody"}), json!("user_not_found")),
        (json!({"iat": now + 3_600}), json!("invalid_token")),
    ] {
        let mut claims = claims.clone();
        claims.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let (status, body) = server.get("/me", &mint(&header, &claims)).await;
        assert_eq!(body["code"], code, "{change} {status}");
        assert!(status == 401 || body["id"] == user["id"]);
    }
}

fn mint(header: &Value, claims: &Value) -> String {
    let mut child = Command::new(python())
        .arg(in_repository("tests/interop/mint.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let wanted = json!({"key": SECRET_KEY, "header": header, "claims": claims}).to_string();
    child.stdin.take().unwrap().write_all(wanted.as_bytes()).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
}
