//! Which tokens reach a protected route.

use hallpass::error::Error;
use poem::{Request, http::Method};
use serde_json::{Value, json};

use super::{
    app::{PASSWORD, SECRET_KEY, START, TestApp},
    forge::{base64url, change, claims, parts, sign, sign_with},
};

async fn refuses(app: &TestApp, token: &str, code: &str, what: &str) {
    let answer = app.get("/protected", Some(token)).await;
    let (status, detail) = match code {
        "not_authenticated" => (401, "Not authenticated"),
        "token_expired" => (401, "Token expired"),
        "invalid_token" => (401, "Invalid token"),
        "invalid_token_payload" => (401, "Invalid token payload"),
        "user_not_found" => (401, "User not found"),
        "session_ended" => (401, "Session ended"),
        other => panic!("{other}"),
    };
    assert_eq!(answer.json()["code"], code, "{what}");
    answer.refuses(status, code, detail);
    let challenge = format!(r#"Bearer error="invalid_token", error_description="{detail}""#);
    assert_eq!(answer.header("www-authenticate"), challenge, "{what}");
}

#[tokio::test]
async fn a_token_has_the_claims_of_rfc_9068_and_no_more() {
    let app = TestApp::new().await;
    let (user, token) = app.as_user("JohnDoe").await;
    let (header, mut claims) = parts(&token);
    assert_eq!((header["alg"].as_str(), header["typ"].as_str()), (Some("HS256"), Some("at+jwt")));
    assert_eq!(header.as_object().unwrap().len(), 3);
    assert_eq!(claims["sub"], user["id"]);
    let (jti, sid) = (claims.remove("jti").unwrap(), claims.remove("sid").unwrap());
    let expected = json!({
        "iss": "http://127.0.0.1:8000", "aud": "http://127.0.0.1:8000", "sub": user["id"], "client_id": "hallpass",
        "iat": START, "exp": START + 1_800, "preferred_username": "JohnDoe", "roles": ["user"],
    });
    assert_eq!(Value::Object(claims), expected);
    let (_, other) = parts(&app.login("JohnDoe").await);
    assert!(jti.as_str().unwrap().len() >= 22 && other["jti"] != jti && other["sid"] != sid);
}

#[tokio::test]
async fn a_token_that_is_forged_by_its_holder_alone_is_as_good_as_ours() {
    let app = TestApp::new().await;
    let (_, token) = app.as_user("john").await;
    let (header, claims_) = (parts(&token).0, claims(&token));
    // The base of the tables below: each of their tokens differs from this one in one thing.
    assert_eq!(app.get("/protected", Some(&sign(&header, &claims_))).await.status, 200);
    let typ = change(&header, "typ", Some(json!("application/AT+jwt")));
    assert_eq!(app.get("/protected", Some(&sign(&typ, &claims_))).await.status, 200);
    let no_names = change(&change(&claims_, "roles", None), "preferred_username", None);
    assert_eq!(app.get("/protected", Some(&sign(&header, &no_names))).await.status, 200);
}

#[tokio::test]
async fn every_claim_is_required_and_has_its_type_and_value() {
    let app = TestApp::new().await;
    let (_, token) = app.as_user("john").await;
    let (header, good) = (parts(&token).0, claims(&token));
    let huge: Value = serde_json::from_str("18446744073709551616").unwrap();
    let mut rows: Vec<(&str, Option<Value>, &str)> = vec![
        ("iss", Some(json!("http://127.0.0.1:8000/")), "invalid_token"),
        ("iss", Some(json!("http://127.0.0.1:800")), "invalid_token"),
        ("iss", Some(json!(["http://127.0.0.1:8000", "evil"])), "invalid_token"),
        ("aud", Some(json!([])), "invalid_token"),
        ("aud", Some(json!("HTTP://127.0.0.1:8000")), "invalid_token"),
        ("aud", Some(json!("other")), "invalid_token"),
        ("client_id", Some(json!("other")), "invalid_token"),
        ("jti", Some(json!("")), "invalid_token"),
        ("sid", Some(json!("")), "invalid_token"),
        ("exp", Some(json!(1_795_425_000.5)), "invalid_token"),
        ("exp", Some(huge), "invalid_token"),
        ("exp", Some(json!(i64::MAX)), "invalid_token"),
        ("exp", Some(json!(1_u64 << 53)), "invalid_token"),
        ("exp", Some(json!(START)), "token_expired"),
        ("exp", Some(json!(START - 1)), "token_expired"),
        ("exp", Some(json!(-1)), "token_expired"),
        ("exp", Some(json!(i64::MIN)), "token_expired"),
        ("iat", Some(json!(START + 31)), "invalid_token"),
        ("iat", Some(json!(i64::MIN)), "invalid_token"),
        ("nbf", Some(json!(START + 31)), "invalid_token"),
        ("nbf", Some(json!("soon")), "invalid_token"),
        ("nbf", Some(Value::Null), "invalid_token"),
        ("sub", None, "invalid_token_payload"),
        ("sub", Some(Value::Null), "invalid_token_payload"),
        ("sub", Some(json!("")), "invalid_token_payload"),
        ("sub", Some(json!(1)), "invalid_token_payload"),
        ("sub", Some(json!(["x"])), "invalid_token_payload"),
        ("sub", Some(json!("john")), "user_not_found"),
        ("sub", Some(json!("01a20a7f-d318-738a-8a3e-e3b12a82ac53")), "user_not_found"),
    ];
    for name in ["iss", "aud", "client_id", "exp", "iat", "jti", "sid"] {
        for value in [None, Some(Value::Null), Some(json!({})), Some(json!(true))] {
            rows.push((name, value, "invalid_token"));
        }
    }
    for name in ["exp", "iat"] {
        rows.push((name, Some(json!((START + 600).to_string())), "invalid_token"));
    }
    for (name, value, code) in rows {
        let what = format!("{name} = {value:?}");
        refuses(&app, &sign(&header, &change(&good, name, value)), code, &what).await;
    }
    for (name, value) in [("iat", START + 30), ("nbf", START + 30), ("exp", START + 1)] {
        let token = sign(&header, &change(&good, name, Some(json!(value))));
        assert_eq!(app.get("/protected", Some(&token)).await.status, 200, "{name}");
    }
}

#[tokio::test]
async fn the_header_is_ours_and_nothing_in_it_is_critical() {
    let app = TestApp::new().await;
    let (_, token) = app.as_user("john").await;
    let (good, claims) = (parts(&token).0, claims(&token));
    let jwk = json!({"kty": "oct", "k": "AAAA"});
    for (name, value) in [
        ("alg", Some(json!("none"))),
        ("alg", Some(json!("None"))),
        ("alg", Some(json!("hs256"))),
        ("alg", Some(json!("HS512"))),
        ("alg", Some(json!("EdDSA"))),
        ("alg", None),
        ("typ", Some(json!("JWT"))),
        ("typ", Some(json!("refresh+jwt"))),
        ("typ", None),
        ("kid", Some(json!("other"))),
        ("kid", Some(json!("../../etc/passwd"))),
        ("kid", Some(json!(1))),
        ("kid", None),
        ("crit", Some(json!(["exp"]))),
        ("crit", Some(json!(["b64"]))),
        ("crit", Some(json!([]))),
        ("crit", Some(json!("b64"))),
        ("crit", Some(Value::Null)),
        ("b64", Some(json!(false))),
    ] {
        let what = format!("{name} = {value:?}");
        refuses(&app, &sign(&change(&good, name, value), &claims), "invalid_token", &what).await;
    }
    // A key that the token brings along verifies nothing, and nobody is asked for one.
    let elsewhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let url = json!(format!("http://{}/keys", elsewhere.local_addr().unwrap()));
    for (name, value) in [
        ("jwk", jwk),
        ("jku", url.clone()),
        ("x5u", url.clone()),
        ("x5c", json!(["AAAA"])),
        ("x5t", json!("AAAA")),
        ("x5t#S256", json!("AAAA")),
        ("kid", url),
    ] {
        let own = change(&good, name, Some(value));
        let token = sign_with("\0\0\0", own.to_string(), claims.to_string());
        refuses(&app, &token, "invalid_token", name).await;
    }
    assert_eq!(elsewhere.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

#[tokio::test]
async fn another_spelling_of_a_token_is_no_token() {
    let app = TestApp::new().await;
    let (_, token) = app.as_user("john").await;
    let (header, claims) = (parts(&token).0.to_string(), claims(&token).to_string());
    let twice = |text: &str, member: &str| format!("{}{}}}", text.trim_end_matches('}'), member);
    let (head, tail) = token.rsplit_once('.').unwrap();
    let last = tail.chars().last().unwrap();
    // The last of 43 characters holds two bits that belong to no byte.
    let next = char::from_u32(u32::from(last) + 1).unwrap();
    let (body, payload) = (token.split('.').next().unwrap(), token.split('.').nth(1).unwrap());
    let deep = format!(r#"{{"x":{}{}}}"#, "[".repeat(10_000), "]".repeat(10_000));
    for (what, forged) in [
        ("empty", String::new()),
        ("no dots", "token".to_owned()),
        ("two parts", head.to_owned()),
        ("four parts", format!("{token}.x")),
        ("five parts, as a JWE has", format!("{token}.x.y")),
        ("padding", format!("{token}=")),
        ("a tail", format!("{token}!!!!")),
        ("unused bits", format!("{head}.{}{next}", &tail[..tail.len() - 1])),
        ("the standard alphabet", format!("{head}.{}", "+/".repeat(21))),
        ("no signature", format!("{head}.")),
        ("another signature", format!("{head}.{}", base64url([0; 32]))),
        ("another payload", format!("{body}.{}.{tail}", base64url(claims.replace("user", "admin")))),
        ("alg none", format!("{}.{payload}.", base64url(r#"{"alg":"none","typ":"at+jwt"}"#))),
        ("JSON serialization", format!(r#"{{"payload":"{payload}","protected":"{body}","signature":"{tail}"}}"#)),
        ("another key", sign_with(&SECRET_KEY.to_lowercase(), &header, &claims)),
        ("alg twice", sign_with(SECRET_KEY, twice(&header, r#","alg":"HS256""#), &claims)),
        ("sub twice", sign_with(SECRET_KEY, &header, twice(&claims, r#","sub":"x""#))),
        ("a mark of byte order", sign_with(SECRET_KEY, &header, format!("\u{feff}{claims}"))),
        (
            "UTF-16",
            sign_with(SECRET_KEY, &header, claims.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>()),
        ),
        ("no object", sign_with(SECRET_KEY, &header, "[]")),
        ("claims in an array", sign_with(SECRET_KEY, &header, in_an_array(&token))),
        ("roles twice", sign_with(SECRET_KEY, &header, twice(&claims, r#","roles":["admin"]"#))),
        ("an unknown claim twice", sign_with(SECRET_KEY, &header, twice(&claims, r#","x":1,"x":2"#))),
        ("an unknown member of the header twice", sign_with(SECRET_KEY, twice(&header, r#","x":1,"x":2"#), &claims)),
        ("deep", sign_with(SECRET_KEY, &header, deep)),
        ("over 8 KiB", sign_with(SECRET_KEY, &header, twice(&claims, &format!(r#","x":"{}""#, "x".repeat(8_192))))),
    ] {
        refuses(&app, &forged, "invalid_token", what).await;
    }
}

/// The claims in the order in which the verifier declares them.
fn in_an_array(token: &str) -> String {
    let all = claims(token);
    let names = ["iss", "aud", "sub", "client_id", "exp", "iat", "nbf", "jti", "sid"];
    let values = names.map(|name| if name == "nbf" { json!(START) } else { all[name].clone() });
    json!(values).to_string()
}

#[tokio::test]
async fn numbers_at_their_edges_are_refused_without_a_panic() {
    let app = TestApp::new().await;
    let (_, token) = app.as_user("john").await;
    let (header, claims) = (parts(&token).0.to_string(), claims(&token).to_string());
    for number in ["1e400", "-1e400", "1e3", "9223372036854775808", "-9223372036854775809", "-0", "NaN", "1.0"] {
        for name in ["exp", "iat", "nbf"] {
            let claims = claims.replace(&format!(r#""{name}":"#), r#""old":"#);
            let claims = format!(r#"{{"{name}":{number},{}"#, &claims[1..]);
            let token = sign_with(SECRET_KEY, &header, &claims);
            refuses(&app, &token, "invalid_token", &format!("{name} = {number}")).await;
        }
    }
}

#[tokio::test]
async fn a_token_is_judged_by_claims_then_expiry_then_account() {
    let app = TestApp::new().await;
    let (_, token) = app.as_user("john").await;
    let (header, good) = (parts(&token).0, claims(&token));
    let expired = change(&good, "exp", Some(json!(START - 1)));
    refuses(&app, &sign(&header, &change(&expired, "sub", None)), "invalid_token_payload", "claims first").await;
    app.sql("DELETE FROM users").await;
    refuses(&app, &sign(&header, &expired), "token_expired", "expiry before the account").await;
    refuses(&app, &token, "user_not_found", "the account").await;
}

#[tokio::test]
async fn a_token_ends_with_its_time_and_with_its_account() {
    let app = TestApp::new().await;
    let (_, token) = app.as_user("john").await;
    app.sleep(1_799);
    assert_eq!(app.get("/protected", Some(&token)).await.status, 200);
    app.sleep(1);
    refuses(&app, &token, "token_expired", "at exp, to the second").await;

    let token = app.login("john").await;
    app.sql("UPDATE users SET disabled_at = 1").await;
    refuses(&app, &token, "session_ended", "disabled").await;
    app.sql("DELETE FROM users").await;
    app.register("john").await;
    refuses(&app, &token, "user_not_found", "deleted, and made anew under the same name").await;
}

#[tokio::test]
async fn a_token_comes_in_one_authorization_header_and_nowhere_else() {
    let app = TestApp::new().await;
    let (_, token) = app.as_user("john").await;
    let request = |headers: &[(&str, String)]| {
        let builder = Request::builder().method(Method::GET).uri_str("/protected");
        headers.iter().fold(builder, |b, (name, value)| b.header(*name, value)).finish()
    };
    let good = ("authorization", format!("Bearer {token}"));
    let bad = ("authorization", "Bearer x".to_owned());
    for scheme in ["bearer", "BEARER", "bEaReR"] {
        let answer = app.send(request(&[("authorization", format!("{scheme} {token}"))])).await;
        assert_eq!(answer.status, 200, "{scheme}");
    }
    for pair in [[good.clone(), bad.clone()], [bad, good.clone()], [good.clone(), good]] {
        app.send(request(&pair)).await.refuses(400, "invalid_request", "");
    }
    let none = [
        vec![],
        vec![("authorization", "Basic am9objpqb2hu".to_owned())],
        vec![("authorization", format!("Bearer{token}"))],
        vec![("cookie", format!("access_token={token}"))],
        vec![("x-access-token", token.clone())],
    ];
    for headers in none {
        let answer = app.send(request(&headers)).await;
        answer.refuses(401, "not_authenticated", "Not authenticated");
        assert_eq!(answer.header("www-authenticate"), "Bearer");
    }
    app.get(&format!("/protected?access_token={token}"), None).await.refuses(401, "not_authenticated", "");
    for query in [format!("access_token={token}"), "access_token".to_owned(), "a=b&%61ccess_token=x".to_owned()] {
        app.get(&format!("/protected?{query}"), Some(&token)).await.refuses(400, "invalid_request", "");
    }
    assert_eq!(app.get("/protected?access_tokens=x&token=access_token", Some(&token)).await.status, 200);
    refuses(&app, &format!("{token} x"), "invalid_token", "junk after the token").await;
}

#[tokio::test]
async fn a_key_that_is_not_ours_is_refused_without_a_look_anywhere() {
    let app = TestApp::new().await;
    let (_, token) = app.as_user("john").await;
    let (header, claims) = (parts(&token).0, claims(&token));
    app.app.store.close().await;
    for kid in ["x", "../../etc/passwd", "' OR 1=1 --", "https://evil.example/keys"] {
        let forged = sign(&change(&header, "kid", Some(json!(kid))), &claims);
        // Not by the server, which wants to know first whether a key was revoked elsewhere.
        let verified = app.app.tokens.verify(app.app.clock.now(), &forged).map(drop);
        assert!(matches!(verified, Err(Error::InvalidToken)), "{kid}: {verified:?}");
    }
    assert!(app.app.tokens.verify(app.app.clock.now(), &token).is_ok());
    app.get("/protected", Some(&token)).await.refuses(503, "storage_unavailable", "");
}

#[tokio::test]
async fn who_cannot_be_looked_up_is_not_let_in() {
    let app = TestApp::new().await;
    let (_, token) = app.as_user("john").await;
    app.app.store.close().await;
    for answer in [
        app.get("/protected", Some(&token)).await,
        app.get("/me", Some(&token)).await,
        app.try_login("john", PASSWORD).await,
    ] {
        answer.refuses(503, "storage_unavailable", "");
        assert_eq!(answer.header("retry-after"), "1");
    }
}

#[tokio::test]
async fn a_token_is_read_up_to_8_kib() {
    let app = TestApp::new().await;
    let (_, token) = app.as_user("john").await;
    let (header, claims) = (parts(&token).0, claims(&token));
    let longer = |(in_header, in_claims): (usize, usize)| {
        let header = change(&header, "x", Some(json!("x".repeat(in_header))));
        sign(&header, &change(&claims, "x", Some(json!("x".repeat(in_claims)))))
    };
    for (length, verdict) in [(8_192, "ok"), (8_193, "invalid_token")] {
        let about = (length - longer((0, 0)).len()) * 3 / 4;
        let mut sizes = (0..4).flat_map(|header| (about - 8..about + 8).map(move |claims| (header, claims)));
        let token = sizes.find_map(|sizes| Some(longer(sizes)).filter(|token| token.len() == length)).unwrap();
        assert_eq!(app.verdict(&token).await, verdict, "{length}");
    }
}
