//! Tokens as somebody who holds `SECRET_KEY` could sign them, byte by byte.

use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value, json};

use super::app::{SECRET_KEY, START};

pub fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The parts of a token, as JSON.
pub fn parts(token: &str) -> (Value, Map<String, Value>) {
    let part = |n: usize| -> Value {
        let bytes = URL_SAFE_NO_PAD.decode(token.split('.').nth(n).unwrap()).unwrap();
        serde_json::from_slice(&bytes).unwrap()
    };
    (part(0), part(1).as_object().unwrap().clone())
}

/// Signs these very texts.
pub fn sign_with(key: &str, header: impl AsRef<[u8]>, claims: impl AsRef<[u8]>) -> String {
    let message = format!("{}.{}", base64url(header), base64url(claims));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes()), message.as_bytes());
    format!("{message}.{}", base64url(tag))
}

pub fn sign(header: &Value, claims: &Value) -> String {
    sign_with(SECRET_KEY, header.to_string(), claims.to_string())
}

/// Claims that are all there, for the session of a token.
pub fn claims(token: &str) -> Value {
    let (_, of) = parts(token);
    json!({
        "iss": "http://127.0.0.1:8000", "aud": "http://127.0.0.1:8000", "sub": of["sub"], "client_id": "hallpass",
        "exp": START + 600, "iat": START, "jti": "x", "sid": of["sid"], "preferred_username": "p", "roles": ["user"],
    })
}

/// `object` with a member set, or without it if `value` is None.
pub fn change(object: &Value, name: &str, value: Option<Value>) -> Value {
    let mut object = object.clone();
    match value {
        Some(value) => object[name] = value,
        None => drop(object.as_object_mut().unwrap().remove(name)),
    }
    object
}
