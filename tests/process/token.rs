//! Access tokens from outside: read, checked and signed without the program.

use aws_lc_rs::{
    digest::{SHA256, digest},
    hmac,
    signature::{ECDSA_P256_SHA256_FIXED, ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

pub fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Header and claims.
pub fn parts(token: &str) -> (Value, Value) {
    let part = |n: usize| {
        let bytes = URL_SAFE_NO_PAD.decode(token.split('.').nth(n).unwrap()).unwrap();
        serde_json::from_slice(&bytes).unwrap()
    };
    (part(0), part(1))
}

/// The id of the key that signed it.
pub fn kid(token: &str) -> String {
    parts(token).0["kid"].as_str().unwrap().to_owned()
}

pub fn sign_hs256(secret: &str, header: &Value, claims: &Value) -> String {
    let message = format!("{}.{}", base64url(header.to_string()), base64url(claims.to_string()));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), message.as_bytes());
    format!("{message}.{}", base64url(tag))
}

pub fn sign_ed25519(pair: &Ed25519KeyPair, header: &Value, claims: &Value) -> String {
    let message = format!("{}.{}", base64url(header.to_string()), base64url(claims.to_string()));
    let signature = pair.sign(message.as_bytes());
    format!("{message}.{}", base64url(signature.as_ref()))
}

/// RFC 7638.
pub fn thumbprint(jwk: &Value) -> String {
    let member = |name: &str| jwk[name].as_str().unwrap();
    let (crv, kty, x) = (member("crv"), member("kty"), member("x"));
    let members = match kty {
        "EC" => format!(r#"{{"crv":"{crv}","kty":"{kty}","x":"{x}","y":"{}"}}"#, member("y")),
        _ => format!(r#"{{"crv":"{crv}","kty":"{kty}","x":"{x}"}}"#),
    };
    base64url(digest(&SHA256, members.as_bytes()))
}

pub fn jwk(pair: &Ed25519KeyPair) -> Value {
    json!({"kty": "OKP", "crv": "Ed25519", "x": base64url(pair.public_key())})
}

/// Whether a published key verifies a token.
pub fn verifies(jwk: &Value, token: &str) -> bool {
    let coordinate = |name: &str| URL_SAFE_NO_PAD.decode(jwk[name].as_str().unwrap()).unwrap();
    let (message, signature) = token.rsplit_once('.').unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let verified = match jwk["alg"].as_str().unwrap() {
        "EdDSA" => UnparsedPublicKey::new(&ED25519, coordinate("x")).verify(message.as_bytes(), &signature),
        "ES256" => {
            let point = [&[4][..], &coordinate("x"), &coordinate("y")].concat();
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message.as_bytes(), &signature)
        }
        other => panic!("{other}"),
    };
    verified.is_ok()
}
