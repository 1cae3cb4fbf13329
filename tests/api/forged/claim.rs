//! What is wrong with claims that are well signed (RFC 7519, section 4; RFC 9068, section 4).

use serde_json::{Value, json};

use super::{Mint, Table};
use crate::{
    app::START,
    forge::{base64url, change, parts},
};

/// Claims that are text: each is required, and has one value or is at least not empty.
pub fn texts(mint: &Mint, table: &mut Table) {
    for name in ["iss", "aud", "client_id", "jti", "sid"] {
        let right = &mint.claims[name];
        table.invalid(format!("no {name}"), mint.claim(name, None));
        for value in [
            json!(""),
            Value::Null,
            json!(true),
            json!(false),
            json!(0),
            json!(1.5),
            json!([]),
            json!({}),
            json!([right]),
            json!({"value": right}),
        ] {
            table.invalid(format!("{name} {value}"), mint.claim(name, Some(value)));
        }
    }
    for name in ["iss", "aud"] {
        for value in [
            "http://127.0.0.1:8000/",
            "HTTP://127.0.0.1:8000",
            "https://127.0.0.1:8000",
            "http://127.0.0.1:8001",
            "http://127.0.0.1:800",
            "http://127.0.0.1",
            "http://localhost:8000",
            "http://127.0.0.1:8000\0",
            "http://127.0.0.1:8000 ",
            " http://127.0.0.1:8000",
            "http://127.0.0.1:8000#",
            "http://127.0.0.1:8000@evil.example",
            "http://127.0.0.1:8000.evil.example",
            "//127.0.0.1:8000",
            "127.0.0.1:8000",
            "https://evil.example",
            "*",
        ] {
            table.invalid(format!("{name} {value:?}"), mint.claim(name, Some(json!(value))));
        }
        let (right, other) = (&mint.claims[name], "https://evil.example");
        table.invalid(format!("{name} of two"), mint.claim(name, Some(json!([right, other]))));
        table.invalid(format!("{name} of another, and ours"), mint.claim(name, Some(json!([other, right]))));
    }
    for value in ["other", "HALLPASS", "hallpass ", "hallpass\0", "hallpas", "hallpass,other", "*"] {
        table.invalid(format!("client_id {value:?}"), mint.claim("client_id", Some(json!(value))));
    }
}

/// Times, which are whole numbers.
pub fn numbers(mint: &Mint, table: &mut Table) {
    let (header, claims) = (mint.header.to_string(), mint.claims.to_string());
    for name in ["exp", "iat", "nbf"] {
        let mut values = vec![
            Value::Null,
            json!(true),
            json!(false),
            json!(""),
            json!((START + 60).to_string()),
            json!("2026-11-23T09:01:00Z"),
            json!([]),
            json!([START + 60]),
            json!({}),
            json!({"$numberLong": START}),
        ];
        // Without a fraction a float is another text, and no other number.
        values.extend([json!(1_795_424_460.5), json!(1_795_424_460.0)]);
        for value in values {
            table.invalid(format!("{name} {value}"), mint.claim(name, Some(value)));
        }
        let others = change(&mint.claims, name, None).to_string();
        for number in [
            "1e400",
            "-1e400",
            "1e999999999",
            "1e3",
            "1.7954244e9",
            "9223372036854775808",
            "-9223372036854775809",
            "18446744073709551616",
            "340282366920938463463374607431768211456",
            "-0",
            "NaN",
            "nan",
            "Infinity",
            "-Infinity",
            "0x6b02b6f0",
            "01795424400",
            "+1795424400",
            "1_795_424_400",
            "1795424400.",
            ".5",
            "1e",
            "- 1",
            "1795424400n",
        ] {
            let claims = format!(r#"{{"{name}":{number},{}"#, &others[1..]);
            table.invalid(format!("{name}: {number}"), mint.sign(&header, claims));
        }
        let digits = format!(r#"{{"{name}":{},{}"#, "9".repeat(3_000), &others[1..]);
        table.invalid(format!("{name} of 3,000 digits"), mint.sign(&header, digits));
    }
    assert!(claims.contains("exp"));
    table.invalid("no exp", mint.claim("exp", None));
    table.invalid("no iat", mint.claim("iat", None));
    for (what, seconds) in [("a second", START + 86_401), ("a year", START + 31_536_000), ("ever", 1 << 53)] {
        table.invalid(format!("exp: {what} beyond what any token lives"), mint.claim("exp", Some(json!(seconds))));
    }
    table.invalid("exp at the end of time", mint.claim("exp", Some(json!(i64::MAX))));
    for (what, seconds) in [("31 s ahead", START + 31), ("a day ahead", START + 86_400), ("the end of time", i64::MAX)]
    {
        table.invalid(format!("iat {what}"), mint.claim("iat", Some(json!(seconds))));
        table.invalid(format!("nbf {what}"), mint.claim("nbf", Some(json!(seconds))));
    }
    for (what, seconds) in [("1970", 0), ("before all times", i64::MIN), ("a day ago", START - 86_400)] {
        table.invalid(format!("iat {what}: it would have lived too long"), mint.claim("iat", Some(json!(seconds))));
    }
    for (what, seconds) in
        [("now", START), ("a second ago", START - 1), ("1970", 0), ("before", -1), ("before all times", i64::MIN)]
    {
        table.row(format!("exp {what}"), mint.claim("exp", Some(json!(seconds))), "token_expired");
    }
}

/// Whose it is.
pub fn subjects(mint: &Mint, table: &mut Table) {
    table.row("no sub", mint.claim("sub", None), "invalid_token_payload");
    for sub in [json!(""), Value::Null, json!(true), json!(false), json!(0), json!(1), json!(1.5), json!([]), json!({})]
    {
        table.row(format!("sub {sub}"), mint.claim("sub", Some(sub)), "invalid_token_payload");
    }
    let id = mint.claims["sub"].as_str().unwrap();
    table.row("sub in an array", mint.claim("sub", Some(json!([id]))), "invalid_token_payload");
    table.row("sub in an object", mint.claim("sub", Some(json!({"id": id}))), "invalid_token_payload");
    let others = [
        ("a name", "john".to_owned()),
        ("a role", "admin".to_owned()),
        ("SQL", "' OR 1=1 --".to_owned()),
        ("a pattern", "%".to_owned()),
        ("an asterisk", "*".to_owned()),
        ("a NUL", "\0".to_owned()),
        ("a blank", " ".to_owned()),
        ("nobody's id", "01a20a7f-d318-738a-8a3e-e3b12a82ac53".to_owned()),
        ("the id of zeros", "00000000-0000-0000-0000-000000000000".to_owned()),
        ("capitals", id.to_uppercase()),
        ("no hyphens", id.replace('-', "")),
        ("braces", format!("{{{id}}}")),
        ("a URN", format!("urn:uuid:{id}")),
        ("a blank behind", format!("{id} ")),
        ("a blank before", format!(" {id}")),
        ("a NUL behind", format!("{id}\0")),
        ("a line feed behind", format!("{id}\n")),
        ("one letter less", id[..id.len() - 1].to_owned()),
        ("two ids", format!("{id},{}", mint.bob_id)),
        ("a long text", "A".repeat(4_000)),
        ("a look-alike", id.replace('-', "\u{2010}")),
    ];
    for (what, sub) in others {
        table.row(format!("sub: {what}"), mint.claim("sub", Some(json!(sub))), "user_not_found");
    }
}

/// Which session it is of.
pub fn sessions(mint: &Mint, table: &mut Table) {
    let ended = "session_ended";
    let sid = mint.claims["sid"].as_str().unwrap();
    let bob = parts(&mint.bob.access).1["sid"].clone();
    for (what, value) in [
        ("somebody else's", bob.as_str().unwrap().to_owned()),
        ("one that was ended", mint.ended.sid()),
        ("nobody's", "01a20a7f-d318-738a-8a3e-e3b12a82ac53".to_owned()),
        ("no id", "x".to_owned()),
        ("a blank", " ".to_owned()),
        ("SQL", "' OR 1=1 --".to_owned()),
        ("a pattern", "%".to_owned()),
        ("capitals", sid.to_uppercase()),
        ("no hyphens", sid.replace('-', "")),
        ("braces", format!("{{{sid}}}")),
        ("a blank behind", format!("{sid} ")),
        ("a NUL behind", format!("{sid}\0")),
        ("the account's id", mint.claims["sub"].as_str().unwrap().to_owned()),
    ] {
        table.row(format!("sid: {what}"), mint.claim("sid", Some(json!(value))), ended);
    }
    table.row("sub: somebody else's session", mint.claim("sub", Some(json!(mint.bob_id))), ended);
    table.row("the token of a session that was ended", mint.ended.access.clone(), ended);
    // What is in a payload counts for nothing when another signature is under it.
    let (header, payload, signature) = mint.parts();
    for (what, change_) in [
        ("roles", json!({"roles": ["user", "admin", "owner"]})),
        ("sub", json!({"sub": mint.bob_id})),
        ("exp", json!({"exp": START + 86_400})),
        ("sid", json!({"sid": bob})),
        ("nothing but a claim more", json!({"x": 1})),
        ("the order", json!({})),
    ] {
        let mut claims = parts(&mint.john.access).1;
        claims.extend(change_.as_object().unwrap().clone());
        if what == "the order" {
            claims = claims.into_iter().rev().collect();
        }
        let other = base64url(json!(claims).to_string());
        assert_ne!(other, payload);
        table.invalid(format!("{what} changed, the signature kept"), format!("{header}.{other}.{signature}"));
    }
}

/// A name that stands twice: who reads the first and who reads the last differ (RFC 8725, section 2.6).
pub fn twice(mint: &Mint, table: &mut Table) {
    let (header, claims) = (mint.header.to_string(), change(&mint.claims, "nbf", Some(json!(START))).to_string());
    let first = |text: &str, member: &str| format!("{{{member},{}", &text[1..]);
    let last = |text: &str, member: &str| format!("{},{member}}}", &text[..text.len() - 1]);
    let escaped = |name: &str| format!("\\u{:04x}{}", name.as_bytes()[0], &name[1..]);
    for (of, text) in [("header", &header), ("claims", &claims)] {
        let object: Value = serde_json::from_str(text).unwrap();
        for (name, value) in object.as_object().unwrap() {
            for (what, changed) in [
                ("the same", last(text, &format!(r#""{name}":{value}"#))),
                ("null before", first(text, &format!(r#""{name}":null"#))),
                ("null behind", last(text, &format!(r#""{name}":null"#))),
                ("escaped", last(text, &format!(r#""{}":{value}"#, escaped(name)))),
            ] {
                let token = if of == "header" { mint.sign(changed, &claims) } else { mint.sign(&header, changed) };
                table.invalid(format!("{name} twice in the {of}: {what}"), token);
            }
        }
        for (what, member) in [
            ("an unknown member", r#""x":1,"x":1"#),
            ("a member within", r#""x":{"y":1,"y":1}"#),
            ("a member deep within", r#""x":[[{"y":{"z":1,"\u007a":1}}]]"#),
            ("an empty name", r#""":1,"":2"#),
        ] {
            let changed = last(text, member);
            let token = if of == "header" { mint.sign(changed, &claims) } else { mint.sign(&header, changed) };
            table.invalid(format!("{what} twice in the {of}"), token);
        }
    }
}
