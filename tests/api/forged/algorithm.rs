//! What is wrong with `alg` (RFC 8725, sections 2.1 and 3.1).

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{Key, Mint, Table};
use crate::{
    app::SECRET_KEY,
    forge::{base64url, change},
};

/// No signature, by any name.
pub fn none(mint: &Mint, table: &mut Table) {
    let spellings = [
        json!("none"),
        json!("None"),
        json!("NONE"),
        json!("nOnE"),
        json!("NoNe"),
        json!("none "),
        json!(" none"),
        json!("none\0"),
        json!("n\u{43e}ne"),
        json!("\u{ff4e}one"),
        json!("no\u{200b}ne"),
        json!(""),
        json!(" "),
        json!("null"),
        json!("unsecured"),
        Value::Null,
        json!([]),
        json!(["none"]),
        json!([mint.key.alg(), "none"]),
        json!({}),
        json!({"alg": "none"}),
        json!(true),
        json!(false),
        json!(0),
        json!(1),
    ];
    let (_, payload, signature) = mint.parts();
    for alg in spellings {
        let header = base64url(change(&mint.header, "alg", Some(alg.clone())).to_string());
        table.invalid(format!("alg {alg}, no signature"), format!("{header}.{payload}."));
        table.invalid(format!("alg {alg}, another's signature"), format!("{header}.{payload}.{signature}"));
        table.invalid(format!("alg {alg}, signed"), mint.header("alg", Some(alg)));
    }
    table.invalid("no alg, signed", mint.header("alg", None));
    let header = base64url(change(&mint.header, "alg", None).to_string());
    table.invalid("no alg, no signature", format!("{header}.{payload}."));
    for header in [r#"{"alg":"none"}"#, r#"{"alg":"none","typ":"JWT"}"#, r#"{"alg":"\u006eone"}"#] {
        table.invalid(format!("{header} alone"), format!("{}.{payload}.", base64url(header)));
    }
}

/// A key signs under one name of one algorithm.
pub fn other(mint: &Mint, table: &mut Table) {
    for alg in [
        "HS256",
        "HS384",
        "HS512",
        "hs256",
        "Hs256",
        "HS256 ",
        "HS-256",
        "HMAC",
        "HMACSHA256",
        "HS1",
        "RS256",
        "RS384",
        "RS512",
        "PS256",
        "PS384",
        "PS512",
        "RS1",
        "ES256",
        "ES256K",
        "ES384",
        "ES512",
        "es256",
        "ES-256",
        "ESP256",
        "ECDSA",
        "SHA256withECDSA",
        "EdDSA",
        "eddsa",
        "EDDSA",
        "EdDSA ",
        "Ed25519",
        "ed25519",
        "Ed448",
        "Ed25519ph",
        "ML-DSA-44",
        "dir",
        "A128KW",
        "A256GCMKW",
        "RSA1_5",
        "RSA-OAEP",
        "ECDH-ES",
        "ECDH-ES+A128KW",
        "PBES2-HS256+A128KW",
        "A256GCM",
        "http://www.w3.org/2001/04/xmldsig-more#hmac-sha256",
    ] {
        if alg != mint.key.alg() {
            table.invalid(format!("alg {alg}, signed by the key"), mint.header("alg", Some(json!(alg))));
        }
    }
}

/// A public key is everybody's: it is no secret of an HMAC (CVE-2015-9235), and nobody else's key is ours.
pub fn confused(mint: &Mint, table: &mut Table) {
    let (public, der) = (mint.key.public(), mint.key.der());
    let kid = mint.kid.as_str();
    let lines: Vec<String> =
        STANDARD.encode(&der).as_bytes().chunks(64).map(|line| String::from_utf8(line.to_vec()).unwrap()).collect();
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----", lines.join("\n"));
    let jwk = mint.key.jwk();
    let mut served = change(&change(&jwk, "kid", Some(json!(kid))), "use", Some(json!("sig")));
    served["alg"] = json!(mint.key.alg());
    let mut secrets: Vec<(&str, Vec<u8>)> = vec![
        // HMAC fills a key up with zeros: any number of them is this one.
        ("nothing", Vec::new()),
        ("`secret`", b"secret".to_vec()),
        ("`null`", b"null".to_vec()),
        ("`undefined`", b"undefined".to_vec()),
        ("a sample", b"your-256-bit-secret".to_vec()),
        ("the kid", kid.as_bytes().to_vec()),
        ("the issuer", b"http://127.0.0.1:8000".to_vec()),
        ("the header", mint.parts().0.into_bytes()),
        ("the other key's kid", format!("{}.", mint.hs256_kid).into_bytes()),
        ("SECRET_KEY in small letters", SECRET_KEY.to_lowercase().into_bytes()),
        ("SECRET_KEY without its end", SECRET_KEY.as_bytes()[..SECRET_KEY.len() - 1].to_vec()),
        ("SECRET_KEY and a line feed", format!("{SECRET_KEY}\n").into_bytes()),
        ("SECRET_KEY, backwards", SECRET_KEY.chars().rev().collect::<String>().into_bytes()),
        ("SECRET_KEY in base64", STANDARD.encode(SECRET_KEY).into_bytes()),
        ("SECRET_KEY out of base64", base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(SECRET_KEY).unwrap()),
        (
            "the digest of SECRET_KEY",
            aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, SECRET_KEY.as_bytes()).as_ref().to_vec(),
        ),
    ];
    if !public.is_empty() {
        secrets.extend([
            ("the public key", public.clone()),
            ("the point", [&[4], public.as_slice()].concat()),
            ("its first half", public[..16].to_vec()),
            ("the public key in hex", public.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect()),
            ("the public key in base64url", base64url(&public).into_bytes()),
            ("the public key in base64", STANDARD.encode(&public).into_bytes()),
            ("x", jwk["x"].as_str().unwrap().as_bytes()[..42].to_vec()),
            ("DER", der.clone()),
            ("DER in base64", STANDARD.encode(&der).into_bytes()),
            ("PEM", pem.clone().into_bytes()),
            ("PEM and a line feed", format!("{pem}\n").into_bytes()),
            ("PEM with CRLF", format!("{}\r\n", pem.replace('\n', "\r\n")).into_bytes()),
            ("the JWK", jwk.to_string().into_bytes()),
            ("the JWK as served", served.to_string().into_bytes()),
            ("the JWK set", json!({"keys": [served]}).to_string().into_bytes()),
        ]);
        // Whoever holds SECRET_KEY signs nothing here: HS256 is not in use.
        secrets.push(("SECRET_KEY", SECRET_KEY.as_bytes().to_vec()));
    }
    let own = |alg: &str| change(&mint.header, "alg", Some(json!(alg)));
    for (what, secret) in secrets {
        let key = Key::secret(&secret);
        table.invalid(format!("HS256 with {what} as the secret"), mint.sign_by(&key, &own("HS256")));
        if mint.key.alg() != "HS256" {
            let alg = mint.key.alg();
            table.invalid(format!("{alg} with an HMAC of {what}"), mint.sign_by(&key, &own(alg)));
            let kid = change(&own("HS256"), "kid", Some(json!(mint.hs256_kid)));
            table.invalid(format!("HS256 with {what}, and the kid of SECRET_KEY"), mint.sign_by(&key, &kid));
        }
    }
    for (what, key) in [
        ("Ed25519", Key::ed(7)),
        ("P-256", Key::ec()),
        ("HMAC", Key::secret("forty-two bytes of a forger's own secret")),
    ] {
        for alg in ["HS256", "EdDSA", "ES256"] {
            table.invalid(format!("{alg}, signed by a forger's {what} key"), mint.sign_by(&key, &own(alg)));
        }
    }
}
