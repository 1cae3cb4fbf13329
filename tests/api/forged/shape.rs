//! What is no JWS in compact form at all (RFC 7515, section 7.1).

use serde_json::{Value, json};

use super::{Mint, Table};
use crate::{
    app::PASSWORD,
    forge::{base64url, change},
};

/// Three parts, two dots.
pub fn parts(mint: &Mint, table: &mut Table) {
    let (h, p, s) = mint.parts();
    for (what, token) in [
        ("empty", String::new()),
        ("a dot", ".".to_owned()),
        ("two dots", "..".to_owned()),
        ("three dots", "...".to_owned()),
        ("four dots", "....".to_owned()),
        ("a thousand dots", ".".repeat(1_000)),
        ("a header alone", h.clone()),
        ("a payload alone", p.clone()),
        ("a signature alone", s.clone()),
        ("a header and a payload", format!("{h}.{p}")),
        ("a header and a signature", format!("{h}.{s}")),
        ("a header, nothing, a signature", format!("{h}..{s}")),
        ("nothing, a payload, a signature", format!(".{p}.{s}")),
        ("a payload and a signature", format!("{p}.{s}")),
        ("nothing but a signature", format!("..{s}")),
        ("nothing but a payload", format!(".{p}.")),
        ("nothing but a header", format!("{h}..")),
        ("a dot before", format!(".{h}.{p}.{s}")),
        ("a dot behind", format!("{h}.{p}.{s}.")),
        ("a dot twice", format!("{h}..{p}.{s}")),
        ("another dot twice", format!("{h}.{p}..{s}")),
        ("a fourth part", format!("{h}.{p}.{s}.{s}")),
        ("a fifth part", format!("{h}.{p}.{s}.{s}.{s}")),
        ("a sixth part", format!("{h}.{p}.{s}.{s}.{s}.{s}")),
        ("payload first", format!("{p}.{h}.{s}")),
        ("signature first", format!("{s}.{h}.{p}")),
        ("backwards", format!("{s}.{p}.{h}")),
        ("signature in the middle", format!("{h}.{s}.{p}")),
        ("the header thrice", format!("{h}.{h}.{h}")),
        ("the header for the payload", format!("{h}.{h}.{s}")),
        ("a comma for a dot", format!("{h},{p}.{s}")),
        ("commas for dots", format!("{h},{p},{s}")),
        ("an escaped dot", format!("{h}%2E{p}.{s}")),
        ("a wide dot", format!("{h}\u{ff0e}{p}.{s}")),
        ("a middle dot", format!("{h}\u{b7}{p}\u{b7}{s}")),
        ("a blank behind a dot", format!("{h}. {p}.{s}")),
        ("a tab before a dot", format!("{h}\t.{p}.{s}")),
        ("letters turned round", mint.john.access.chars().rev().collect()),
        ("in capitals", mint.john.access.to_uppercase()),
        ("in small letters", mint.john.access.to_lowercase()),
        ("twice", format!("{0}{0}", mint.john.access)),
        ("a list of two", format!("{0},{0}", mint.john.access)),
        ("two with a blank between", format!("{0} {0}", mint.john.access)),
        ("with a parameter", format!("{};v=1", mint.john.access)),
        ("with another scheme's name", format!("Bearer {}", mint.john.access)),
        ("quoted", format!("\"{}\"", mint.john.access)),
        ("in brackets", format!("<{}>", mint.john.access)),
        ("escaped", mint.john.access.bytes().fold(String::new(), |text, byte| text + &format!("%{byte:02X}"))),
        ("in base64", base64url(&mint.john.access)),
        ("with an exclamation mark behind", format!("{}!", mint.john.access)),
        ("with a letter behind", format!("{}B", mint.john.access)),
        ("with a letter before", format!("A{}", mint.john.access)),
        ("without its first letter", mint.john.access[1..].to_owned()),
        ("with bob's signature", format!("{h}.{p}.{}", mint.bob.access.rsplit_once('.').unwrap().1)),
        ("with bob's payload", format!("{h}.{}.{s}", mint.bob.access.split('.').nth(1).unwrap())),
    ] {
        table.invalid(format!("{what}: parts"), token);
    }
    let claims = |bytes: usize| {
        let filler = |n: usize| change(&mint.claims, "x", Some(json!("x".repeat(n)))).to_string();
        let token = mint.sign(mint.header.to_string(), filler(bytes));
        (token.len(), token)
    };
    let (length, token) = claims(6_000);
    assert!(length > 8 * 1024);
    table.invalid("just over 8 KiB", token);
    table.invalid("15 KiB", claims(10_000).1);
    let header = change(&mint.header, "x", Some(json!("x".repeat(6_000)))).to_string();
    table.invalid("over 8 KiB by its header", mint.sign(header, mint.claims.to_string()));
    table.invalid("8 KiB of A", "A".repeat(8 * 1024));
    table.invalid("8 KiB of A in three parts", format!("{0}.{0}.{0}", "A".repeat(2_700)));
    table.invalid("a signature of 7 KiB", mint.signature(vec![7; 5_200]));
}

/// What other things look like, or are.
pub fn others(mint: &Mint, table: &mut Table) {
    let (h, p, s) = mint.parts();
    let json = |value: Value| value.to_string();
    let jwe = base64url(r#"{"alg":"dir","enc":"A256GCM"}"#);
    for (what, token) in [
        ("JSON serialisation, flattened", json(json!({"payload": p, "protected": h, "signature": s}))),
        ("JSON serialisation", json(json!({"payload": p, "signatures": [{"protected": h, "signature": s}]}))),
        ("JSON serialisation, a header outside", json(json!({"payload": p, "header": mint.header, "signature": s}))),
        ("JSON serialisation in base64", base64url(json(json!({"payload": p, "protected": h, "signature": s})))),
        ("JWE", format!("{jwe}..AAAAAAAAAAAAAAAA.{p}.AAAAAAAAAAAAAAAAAAAAAA")),
        ("JWE around the token", format!("{jwe}.{h}.{p}.{s}.AAAA")),
        ("a JWE header over our parts", format!("{jwe}.{p}.{s}")),
        ("the refresh token", mint.john.refresh.clone()),
        ("the refresh token in three parts", format!("{0}.{0}.{0}", mint.john.refresh)),
        ("the refresh token for a signature", format!("{h}.{p}.{}", mint.john.refresh)),
        ("the key's id", mint.kid.clone()),
        ("the account's id", mint.claims["sub"].as_str().unwrap().to_owned()),
        ("the session's id", mint.claims["sid"].as_str().unwrap().to_owned()),
        ("a password", PASSWORD.to_owned()),
        ("a name and a password", base64url(format!("john:{PASSWORD}"))),
        ("`null`", "null".to_owned()),
        ("`undefined`", "undefined".to_owned()),
        ("`[object Object]`", "[object Object]".to_owned()),
        ("`true`", "true".to_owned()),
        ("`0`", "0".to_owned()),
        ("`{}`", "{}".to_owned()),
        ("`%s`", "%s%s%s%n".to_owned()),
        ("SQL", "' OR '1'='1".to_owned()),
        ("a path", "../../../etc/passwd".to_owned()),
        ("a script", "<script>alert(1)</script>".to_owned()),
        ("PASETO", "v4.public.AAAA".to_owned()),
        ("PASETO, local", "v2.local.AAAA".to_owned()),
        ("a macaroon", "MDAxY2xvY2F0aW9uIGh0dHA6Ly9teWJhbmsvCg".to_owned()),
        ("SD-JWT", format!("{}~", mint.john.access)),
        ("SD-JWT with a disclosure", format!("{}~WyJzYWx0IiwicCIsMV0~", mint.john.access)),
        ("a cookie", format!("access_token={}", mint.john.access)),
        ("DPoP", format!("DPoP {}", mint.john.access)),
        ("emoji", "\u{1f511}.\u{1f511}.\u{1f511}".to_owned()),
        ("a fork bomb", ":(){ :|:& };:".to_owned()),
    ] {
        table.invalid(format!("{what}: no access token"), token);
    }
}
