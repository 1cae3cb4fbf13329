//! Header and claims, a line feed between, signed: what is accepted is what the contract allows.
#![no_main]

use std::sync::LazyLock;

use hallpass::auth::token::Tokens;
use hallpass_fuzz::{ISSUER, NOW, secrets, sign, tokens};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

static TOKENS: LazyLock<Tokens> = LazyLock::new(|| tokens(&secrets()));

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        assert!(TOKENS.verify(NOW, text).is_err(), "nobody signed it");
    }
    let Some(at) = data.iter().position(|byte| *byte == b'\n') else { return };
    // The key's id cannot be guessed: `?` stands for it.
    let header = String::from_utf8_lossy(&data[..at]).replace('?', &secrets().current.hs256.kid);
    let token = sign(header.as_bytes(), &data[at + 1..]);
    let Ok(verified) = TOKENS.verify(NOW, &token) else { return };
    let header: Value = serde_json::from_str(&header).unwrap();
    let claims: Value = serde_json::from_slice(&data[at + 1..]).unwrap();
    assert_eq!(header["alg"], "HS256");
    let typ = header["typ"].as_str().unwrap().to_ascii_lowercase();
    assert!(typ == "at+jwt" || typ == "application/at+jwt");
    assert!(header.get("crit").is_none() && header.get("b64").is_none());
    assert!(claims["iss"] == ISSUER && claims["aud"] == ISSUER && claims["client_id"] == "hallpass");
    assert_eq!(claims["sub"], verified.named.user_id.as_str());
    assert_eq!(claims["sid"], verified.named.session_id.as_str());
    assert!(claims["exp"].as_i64().unwrap() > NOW.unix());
    assert!(claims["iat"].as_i64().unwrap() <= NOW.unix() + 30);
    assert!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap() <= 86_400);
    assert!(!claims["jti"].as_str().unwrap().is_empty());
});
