//! What is wrong with the rest of a header (RFC 7515, section 4).

use serde_json::{Value, json};

use super::{Key, Mint, Table};
use crate::forge::change;

/// A key is looked for in a closed set, and nowhere else.
pub fn kids(mint: &Mint, table: &mut Table) {
    let kid = mint.kid.as_str();
    let swapped: String = kid
        .chars()
        .map(|c| if c.is_ascii_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() })
        .collect();
    let deep: Value = (0..100).fold(json!(kid), |value, _| json!([value]));
    let forger = Key::ed(7);
    let mut values = vec![
        json!(""),
        json!(" "),
        json!("\0"),
        json!("0"),
        json!("x"),
        json!("default"),
        json!("../../etc/passwd"),
        json!("../../../../../../dev/null"),
        json!("/dev/null"),
        json!("/proc/self/environ"),
        json!("/proc/sys/kernel/randomize_va_space"),
        json!("C:\\Windows\\win.ini"),
        json!("\\\\evil.example\\share\\key"),
        json!("file:///etc/passwd"),
        json!("https://evil.example/jwks.json"),
        json!("http://127.0.0.1:8000/.well-known/jwks.json"),
        json!("http://169.254.169.254/latest/meta-data/"),
        json!("' OR '1'='1"),
        json!("' OR 1=1 --"),
        json!("x' UNION SELECT 'x"),
        json!("'; DROP TABLE signing_keys; --"),
        json!("1; ATTACH DATABASE '/tmp/x' AS x"),
        json!("${jndi:ldap://evil.example/a}"),
        json!("{{7*7}}"),
        json!("$(id)"),
        json!("`id`"),
        json!("| id"),
        json!("; id"),
        json!("%00"),
        json!("*"),
        json!("%"),
        json!("_"),
        json!("?"),
        json!(".*"),
        json!("__proto__"),
        json!("\r\nSet-Cookie: x=1"),
        json!("\u{202e}"),
        json!(format!("{kid}\0")),
        json!(format!("{kid} ")),
        json!(format!(" {kid}")),
        json!(format!("{kid}\n")),
        json!(format!("{kid}=")),
        json!(format!("{kid}.")),
        json!(format!("{kid}{kid}")),
        json!(format!("./{kid}")),
        json!(format!("{kid}/../{kid}")),
        json!(format!("{kid},x")),
        json!(kid[..kid.len() - 1]),
        json!(kid[1..]),
        json!(swapped),
        json!("A".repeat(4_000)),
        Value::Null,
        json!(0),
        json!(1),
        json!(-1),
        json!(1e300),
        json!(true),
        json!(false),
        json!([]),
        json!([kid]),
        json!([kid, kid]),
        json!({}),
        json!({"kid": kid}),
        json!({"$ne": null}),
        deep,
    ];
    if mint.hs256_kid != kid {
        values.push(json!(mint.hs256_kid));
    }
    for kid in values {
        let what: String = kid.to_string().chars().take(60).collect();
        table.invalid(format!("kid {what}, signed by the key"), mint.header("kid", Some(kid)));
    }
    table.invalid("no kid", mint.header("kid", None));
    // Where a kid is a file, a query or an address, the forger knows what is in it.
    for (kid, secret) in [
        ("/dev/null", ""),
        ("../../../../../../dev/null", ""),
        ("/proc/sys/kernel/randomize_va_space", "2\n"),
        ("x' UNION SELECT 'secret", "secret"),
        ("https://evil.example/secret", "secret"),
        ("", ""),
    ] {
        let header = change(&change(&mint.header, "alg", Some(json!("HS256"))), "kid", Some(json!(kid)));
        table.invalid(format!("kid {kid:?}, and what is found there"), mint.sign_by(&Key::secret(secret), &header));
    }
    let header = change(&change(&mint.header, "alg", Some(json!("EdDSA"))), "kid", Some(json!(thumbprint(&forger))));
    table.invalid("kid: the thumbprint of a forger's key", mint.sign_by(&forger, &header));
}

/// RFC 7638.
fn thumbprint(key: &Key) -> String {
    let members = key.jwk();
    let text = format!(r#"{{"crv":{},"kty":{},"x":{}}}"#, members["crv"], members["kty"], members["x"]);
    crate::forge::base64url(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes()))
}

/// A key that a token brings along, or sends for, verifies nothing (CVE-2018-0114).
pub fn embedded(mint: &Mint, table: &mut Table) {
    let address = json!("https://evil.example/keys");
    for (what, key) in [("Ed25519", Key::ed(7)), ("P-256", Key::ec()), ("HMAC", Key::secret([0; 32]))] {
        let jwk = key.jwk();
        let mut named = jwk.clone();
        named["kid"] = json!(mint.kid);
        let certificate = json!(base64::Engine::encode(&base64::engine::general_purpose::STANDARD, key.der()));
        for (name, how, value) in [
            ("jwk", "", jwk.clone()),
            ("jwk", ", called ours", named.clone()),
            ("jwk", " as text", json!(jwk.to_string())),
            ("jwks", "", json!({"keys": [named]})),
            ("keys", "", json!([jwk])),
            ("jku", "", address.clone()),
            ("jku", ": our own address", json!("http://127.0.0.1:8000/.well-known/jwks.json")),
            ("x5u", "", address.clone()),
            ("x5c", "", json!([certificate])),
            ("x5c", " without an array", certificate.clone()),
            ("x5t", "", json!("AAAAAAAAAAAAAAAAAAAAAAAAAAA")),
            ("x5t#S256", "", json!("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")),
            ("key", "", certificate.clone()),
            ("epk", "", jwk.clone()),
        ] {
            let header = change(&change(&mint.header, "alg", Some(json!(key.alg()))), name, Some(value));
            table.invalid(format!("a forger's {what} key in {name}{how}"), mint.sign_by(&key, &header));
            let header = change(&header, "kid", None);
            table.invalid(format!("a forger's {what} key in {name}{how}, no kid"), mint.sign_by(&key, &header));
        }
    }
    // The neutral point of Ed25519 as the key: under it, a signature of zeros and that point is right for anything.
    let mut point = [0; 32];
    point[0] = 1;
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": crate::forge::base64url(point)});
    let header = change(&change(&mint.header, "alg", Some(json!("EdDSA"))), "jwk", Some(jwk));
    let (_, payload, _) = mint.parts();
    let signature = crate::forge::base64url([point, [0; 32]].concat());
    let header = crate::forge::base64url(header.to_string());
    table.invalid("a key of small order in jwk", format!("{header}.{payload}.{signature}"));
}

/// No extension is understood, so none may be critical, whatever it is (RFC 7515, section 4.1.11).
pub fn critical(mint: &Mint, table: &mut Table) {
    for crit in [
        json!([]),
        json!(["exp"]),
        json!(["b64"]),
        json!(["alg"]),
        json!(["kid"]),
        json!(["typ"]),
        json!(["crit"]),
        json!(["x"]),
        json!(["x", "x"]),
        json!([""]),
        json!([null]),
        json!([1]),
        json!([["b64"]]),
        json!(["http://example.invalid/UNDEFINED"]),
        json!("b64"),
        json!(""),
        json!({}),
        json!({"b64": false}),
        json!(0),
        json!(true),
        json!(false),
        Value::Null,
    ] {
        table.invalid(format!("crit {crit}"), mint.header("crit", Some(crit)));
    }
    for b64 in [json!(false), json!(true), json!("false"), json!(0), Value::Null] {
        table.invalid(format!("b64 {b64}"), mint.header("b64", Some(b64)));
    }
    let mut header = change(&mint.header, "crit", Some(json!(["b64"])));
    header["b64"] = json!(false);
    let text = crate::forge::base64url(header.to_string());
    // RFC 7797: a payload as it is.
    table.invalid("crit b64, a payload as it is", mint.sign_text(&text, &mint.claims.to_string()));
    table.invalid("crit b64, a payload in base64", mint.sign(header.to_string(), mint.claims.to_string()));
    header["b64"] = json!(true);
    table.invalid("crit b64, which is true", mint.sign(header.to_string(), mint.claims.to_string()));
    let mut header = change(&mint.header, "crit", Some(json!(["exp"])));
    header["exp"] = mint.claims["exp"].clone();
    table.invalid("crit exp, which is there", mint.sign(header.to_string(), mint.claims.to_string()));
    // RFC 7516, section 4.1.3, and RFC 7519, section 5.2.
    let deflated = {
        use std::io::Write;
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(mint.claims.to_string().as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    let zipped = change(&mint.header, "zip", Some(json!("DEF"))).to_string();
    table.invalid("zip DEF, a payload that is compressed", mint.sign(zipped, deflated));
    let nested = change(&mint.header, "cty", Some(json!("JWT"))).to_string();
    table.invalid("cty JWT, a payload that is a token", mint.sign(&nested, &mint.john.access));
    table.invalid("cty JWT, a payload that is a token as text", mint.sign(nested, json!(mint.john.access).to_string()));
    table.invalid("a payload that is a token", mint.sign(mint.header.to_string(), &mint.john.access));
}

/// A token for another use is no access token (RFC 8725, section 3.11; RFC 9068, section 4).
pub fn types(mint: &Mint, table: &mut Table) {
    for typ in [
        json!("JWT"),
        json!("jwt"),
        json!("at"),
        json!("jwt+at"),
        json!("at+jwt "),
        json!(" at+jwt"),
        json!("at+jwt\0"),
        json!("at+jwt;v=1"),
        json!("at jwt"),
        json!("at%2Bjwt"),
        json!("at+jwts"),
        json!("\u{430}t+jwt"),
        json!("refresh+jwt"),
        json!("rt+jwt"),
        json!("id+jwt"),
        json!("logout+jwt"),
        json!("secevent+jwt"),
        json!("dpop+jwt"),
        json!("oauth-authz-req+jwt"),
        json!("token-introspection+jwt"),
        json!("application/jwt"),
        json!("application/"),
        json!("application/application/at+jwt"),
        json!("application/ at+jwt"),
        json!("text/at+jwt"),
        json!("application:at+jwt"),
        json!("applicatio/at+jwt"),
        json!("JOSE"),
        json!("JOSE+JSON"),
        json!(""),
        json!(1),
        json!(true),
        json!([]),
        json!(["at+jwt"]),
        json!({}),
        Value::Null,
    ] {
        table.invalid(format!("typ {typ}"), mint.header("typ", Some(typ)));
    }
    table.invalid("no typ", mint.header("typ", None));
}
