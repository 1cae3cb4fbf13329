//! Parts that are spelt otherwise, and well signed as they are spelt.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::json;

use super::{Mint, Table};
use crate::forge::base64url;

/// Base64url has one spelling of each text: no padding, no blanks, no other alphabet, no bits that stand for nothing
/// (RFC 7515, section 2).
pub fn base64(mint: &Mint, table: &mut Table) {
    // Of a length that leaves bits over, and with what has `-` and `_` in base64url.
    let fit = |text: String| {
        let text = format!("{},\"x\":\"\u{7f}\u{7f}???>>>\"}}", &text[..text.len() - 1]);
        let blanks = (0..3).find(|blanks| (text.len() + blanks) % 3 == 1).unwrap();
        format!("{text}{}", " ".repeat(blanks))
    };
    let (header, claims) = (base64url(fit(mint.header.to_string())), base64url(fit(mint.claims.to_string())));
    assert!(header.contains('-') || header.contains('_'));
    let signed = mint.sign_text(&header, &claims);
    let signature = signed.rsplit_once('.').unwrap().1;
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let stray = |text: &str| {
        let last = alphabet.find(text.chars().last().unwrap()).unwrap();
        format!("{}{}", &text[..text.len() - 1], &alphabet[last + 1..last + 2])
    };
    let spellings = |text: &str| -> Vec<(&'static str, String)> {
        let half = text.len() / 2;
        let with = |piece: &str| format!("{}{piece}{}", &text[..half], &text[half..]);
        vec![
            ("padded", format!("{text}==")),
            ("padded too little", format!("{text}=")),
            ("padded too much", format!("{text}===")),
            ("padded in the middle", with("==")),
            ("with stray bits", stray(text)),
            ("with a blank", with(" ")),
            ("with a tab", with("\t")),
            ("with %3D", format!("{text}%3D%3D")),
            ("with an escaped letter", format!("%{:02X}{}", text.as_bytes()[0], &text[1..])),
            ("with a plus", with("+")),
            ("with a slash", with("/")),
            ("with an exclamation mark", with("!")),
            ("with an asterisk", with("*")),
            ("with a comma", with(",")),
            ("with a quote", with("\"")),
            ("with a letter of no byte", format!("{text}A")),
            ("with a letter from elsewhere", with("\u{e9}")),
            ("with one that nobody sees", with("\u{200b}")),
            ("with a wide letter", with("\u{ff21}")),
            ("without its last letter", text[..text.len() - 1].to_owned()),
            ("twice", format!("{text}{text}")),
            ("with a mark of byte order", format!("\u{feff}{text}")),
            ("quoted", format!("\"{text}\"")),
        ]
    };
    let standard = |text: &str| text.replace('-', "+").replace('_', "/");
    for (what, spelt) in spellings(&header).into_iter().chain([("in the alphabet of MIME", standard(&header))]) {
        table.invalid(format!("a header {what}"), mint.sign_text(&spelt, &claims));
    }
    let claims_of_mime = standard(&claims);
    for (what, spelt) in spellings(&claims).into_iter().chain([("in the alphabet of MIME", claims_of_mime)]) {
        table.invalid(format!("claims {what}"), mint.sign_text(&header, &spelt));
    }
    // A signature of 32 or 64 bytes has bits over.
    for (what, spelt) in spellings(signature) {
        table.invalid(format!("a signature {what}"), format!("{header}.{claims}.{spelt}"));
    }
    let (head, payload, _) = mint.parts();
    table.invalid(
        "a signature in the alphabet of MIME",
        format!("{head}.{payload}.{}", "+/".repeat(signature.len() / 2)),
    );
    table.invalid(
        "a signature in hexadecimal",
        mint.signature(mint.right())
            .rsplit_once('.')
            .map(|(message, _)| {
                let hex = mint.right().iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
                format!("{message}.{hex}")
            })
            .unwrap(),
    );
    table.invalid("a signature in base64 of base64", mint.signature(signature));
    table.invalid("a header in clear", mint.sign_text(&mint.header.to_string(), &payload));
    table.invalid("claims in base64 of base64", mint.sign(mint.header.to_string(), base64url(mint.claims.to_string())));
    table.invalid(
        "claims in MIME's base64",
        mint.sign(mint.header.to_string(), STANDARD.encode(mint.claims.to_string())),
    );
}

/// A part is a JSON object in UTF-8, and that alone (RFC 8259).
pub fn json(mint: &Mint, table: &mut Table) {
    let texts = |text: &str| -> Vec<(&'static str, Vec<u8>)> {
        let inner = &text[1..text.len() - 1];
        let utf16 = |bytes: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(bytes).collect::<Vec<u8>>();
        let latin = [b"{\"x\":\"\xe9\",".as_slice(), &text.as_bytes()[1..]].concat();
        let overlong = [b"{\"x\":\"\xc0\xaf\",".as_slice(), &text.as_bytes()[1..]].concat();
        let surrogate = [b"{\"x\":\"\xed\xa0\x80\",".as_slice(), &text.as_bytes()[1..]].concat();
        vec![
            ("empty", Vec::new()),
            ("a blank", b" ".to_vec()),
            ("`{}`", b"{}".to_vec()),
            ("`[]`", b"[]".to_vec()),
            ("null", b"null".to_vec()),
            ("true", b"true".to_vec()),
            ("a number", b"1".to_vec()),
            ("a text", b"\"x\"".to_vec()),
            ("in an array", format!("[{text}]").into_bytes()),
            ("in a text", json!(text).to_string().into_bytes()),
            ("in an object", format!(r#"{{"x":{text}}}"#).into_bytes()),
            ("behind a mark of byte order", format!("\u{feff}{text}").into_bytes()),
            ("in UTF-16", utf16(u16::to_le_bytes)),
            ("in UTF-16, big end first", utf16(u16::to_be_bytes)),
            ("in UTF-32", text.chars().flat_map(|c| u32::from(c).to_le_bytes()).collect()),
            ("in Latin-1", latin),
            ("with an overlong letter", overlong),
            ("with half a pair as bytes", surrogate),
            ("with half a pair, escaped", format!(r#"{{"x":"\ud800",{inner}}}"#).into_bytes()),
            ("with an unknown escape", format!(r#"{{"x":"\x41",{inner}}}"#).into_bytes()),
            ("with a bare control", format!("{{\"x\":\"\u{1}\",{inner}}}").into_bytes()),
            ("with a comma too many", format!("{{{inner},}}").into_bytes()),
            ("with a comma before", format!("{{,{inner}}}").into_bytes()),
            ("with a comment", format!("{{/* x */{inner}}}").into_bytes()),
            ("with a comment behind", format!("{text}// x").into_bytes()),
            ("with single quotes", text.replace('"', "'").into_bytes()),
            ("without quotes", format!("{{x:1,{inner}}}").into_bytes()),
            ("with another behind it", format!("{text}{text}").into_bytes()),
            ("with a letter behind it", format!("{text}x").into_bytes()),
            ("with a NUL behind it", format!("{text}\0").into_bytes()),
            ("with a NUL before it", format!("\0{text}").into_bytes()),
            ("without its end", text.as_bytes()[..text.len() - 1].to_vec()),
            ("without its beginning", text.as_bytes()[1..].to_vec()),
            ("with a vertical tab", format!("\u{b}{text}").into_bytes()),
            ("with a blank of another script", format!("\u{a0}{text}").into_bytes()),
            ("nested too deep", format!(r#"{{"x":{}{},{inner}}}"#, "[".repeat(200), "]".repeat(200)).into_bytes()),
            (
                "nested too deep in objects",
                format!(r#"{{"x":{}1{},{inner}}}"#, "{\"x\":".repeat(200), "}".repeat(200)).into_bytes(),
            ),
            ("open without end", format!("{{\"x\":{}", "[".repeat(2_000)).into_bytes()),
            ("as CBOR", vec![0xa1, 0x61, 0x78, 0x01]),
            ("as XML", b"<x/>".to_vec()),
        ]
    };
    for (what, header) in texts(&mint.header.to_string()) {
        table.invalid(format!("a header, {what}"), mint.sign(header, mint.claims.to_string()));
    }
    for (what, claims) in texts(&mint.claims.to_string()) {
        if what == "in an object" {
            // Its claims are missing.
            table.invalid("claims within a claim", mint.sign(mint.header.to_string(), claims));
        } else {
            table.invalid(format!("claims, {what}"), mint.sign(mint.header.to_string(), claims));
        }
    }
    // In the order in which the verifier declares them: serde reads an array as a struct.
    let names = ["iss", "aud", "sub", "client_id", "exp", "iat", "nbf", "jti", "sid"];
    let values = names.map(|name| if name == "nbf" { json!(1) } else { mint.claims[name].clone() });
    table.invalid("claims without their names", mint.sign(mint.header.to_string(), json!(values).to_string()));
    let header = [&mint.header["alg"], &mint.header["kid"], &mint.header["typ"]];
    table.invalid("a header without its names", mint.sign(json!(header).to_string(), mint.claims.to_string()));
    // Nobody's names but ours.
    for (name, other) in [("iss", "ISS"), ("sid", "Sid"), ("exp", "expires"), ("jti", "jti "), ("aud", "audience")] {
        let text = mint.claims.to_string().replacen(&format!("\"{name}\""), &format!("\"{other}\""), 1);
        table.invalid(format!("{other} for {name}"), mint.sign(mint.header.to_string(), text));
    }
    for (name, other) in [("alg", "ALG"), ("kid", "Kid"), ("typ", "type"), ("alg", "alg\\u0000")] {
        let text = mint.header.to_string().replacen(&format!("\"{name}\""), &format!("\"{other}\""), 1);
        table.invalid(format!("{other} for {name} in the header"), mint.sign(text, mint.claims.to_string()));
    }
}
