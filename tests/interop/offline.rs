//! Services that verify by themselves.

use std::time::{Duration, Instant};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use super::{
    program::{PASSWORD, PATIENCE, SECRET_KEY, Server, free_port, run},
    service::{
        Example::{self, Axum, Express, FastApi},
        Service,
    },
};

const EDDSA: &[(&str, &str)] = &[("ALGORITHM", "EdDSA")];

/// As old as the list may become for a test that waits for it: more than the two seconds between two requests for it.
const STALE_SECONDS: (&str, &str) = ("STALE_SECONDS", "6");

async fn login(server: &Server, username: &str) -> Value {
    let (status, tokens) = server.login(username, PASSWORD).await;
    assert_eq!(status, 200, "{tokens}");
    tokens
}

fn access(tokens: &Value) -> &str {
    tokens["access_token"].as_str().unwrap()
}

fn part(token: &str, n: usize) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(n).unwrap()).unwrap()).unwrap()
}

/// Runs the command line beside the server.
fn command(server: &Server, arguments: &[&str]) {
    let output = run(server.folder.path(), arguments, EDDSA, "");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The same token, signed by others or by nobody.
async fn forgeries(server: &Server, token: &str) -> Vec<String> {
    let (content, signature) = token.rsplit_once('.').unwrap();
    let (kid, claims) = (part(token, 0)["kid"].clone(), part(token, 1));
    let unsigned = json!({"typ": "at+jwt", "alg": "none", "kid": kid}).to_string();
    let unsigned = URL_SAFE_NO_PAD.encode(unsigned);
    let mut forgeries = vec![
        format!("{content}.{}", signature.chars().rev().collect::<String>()),
        format!("{unsigned}.{}.", content.split('.').nth(1).unwrap()),
        "not.a.token".to_owned(),
    ];
    // The public key, taken for a shared one.
    let (_, set) = server.get("/.well-known/jwks.json", "").await;
    for jwk in set["keys"].as_array().unwrap() {
        let x = jwk["x"].as_str().unwrap();
        let header = Header { typ: Some("at+jwt".into()), kid: kid.as_str().map(Into::into), ..Header::default() };
        for key in [x.as_bytes().to_vec(), URL_SAFE_NO_PAD.decode(x).unwrap()] {
            forgeries.push(encode(&header, &claims, &EncodingKey::from_secret(&key)).unwrap());
        }
    }
    forgeries
}

/// The service takes our token, and no other.
async fn accepts_ours(example: Example, algorithm: &str) {
    let server = Server::start(&[("ALGORITHM", algorithm)]);
    let secret = [("SECRET_KEY", SECRET_KEY)];
    let service = Service::start(example, &server.url(""), if algorithm == "HS256" { &secret } else { &[] });
    let user = server.register("Jane").await;
    let tokens = login(&server, "jane").await;
    assert_eq!(part(access(&tokens), 0)["alg"], algorithm);
    let expected = json!({"message": "Hello Jane", "sub": user["id"], "roles": ["user"]});
    assert_eq!(service.hello_after(503, access(&tokens)).await, (200, expected));
    for forged in forgeries(&server, access(&tokens)).await {
        assert_eq!(service.hello(&forged).await.0, 401, "{forged}");
    }
    let other = Server::start(&[("ALGORITHM", algorithm)]);
    other.register("Jane").await;
    let (_, tokens) = other.login("jane", PASSWORD).await;
    assert_eq!(service.hello(access(&tokens)).await.0, 401, "another issuer");
}

/// What is well signed is still to be an access token, for this service, of now.
async fn reads_the_claims(example: Example) {
    let server = Server::start(&[]);
    let service = Service::start(example, &server.url(""), &[("SECRET_KEY", SECRET_KEY)]);
    server.register("jane").await;
    let tokens = login(&server, "jane").await;
    let claims = part(access(&tokens), 1);
    let now = claims["iat"].as_i64().unwrap();
    let key = EncodingKey::from_secret(SECRET_KEY.as_bytes());
    for (typ, change, status) in [
        ("at+jwt", json!({}), 200),
        ("JWT", json!({}), 401),
        ("at+jwt", json!({"exp": now - 60}), 401),
        ("at+jwt", json!({"exp": null}), 401),
        ("at+jwt", json!({"iat": null}), 401),
        ("at+jwt", json!({"sub": null}), 401),
        ("at+jwt", json!({"sid": null}), 401),
        ("at+jwt", json!({"iss": null}), 401),
        ("at+jwt", json!({"aud": null}), 401),
        ("at+jwt", json!({"iss": "http://127.0.0.1:1"}), 401),
        ("at+jwt", json!({"aud": "other"}), 401),
    ] {
        let mut claims = claims.clone();
        claims.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        let header = Header { typ: Some(typ.to_owned()), ..Header::new(Algorithm::HS256) };
        let token = encode(&header, &claims, &key).unwrap();
        assert_eq!(service.hello_after(503, &token).await.0, status, "{typ} {change}");
    }
}

/// What Hallpass ends, the service hears of; what it does not end goes on.
async fn hears_what_ended(example: Example) {
    let server = Server::start(EDDSA);
    let service = Service::start(example, &server.url(""), &[]);
    for name in ["jane", "john"] {
        server.register(name).await;
    }
    let (one, mut two) = (login(&server, "jane").await, login(&server, "jane").await);
    let other = login(&server, "john").await;
    for tokens in [&one, &two, &other] {
        assert_eq!(service.hello_after(503, access(tokens)).await.0, 200);
    }

    let logout = reqwest::Client::new().post(server.url("/logout")).bearer_auth(access(&one)).send().await.unwrap();
    assert_eq!(logout.status().as_u16(), 204);
    assert_eq!(service.hello_after(200, access(&one)).await.0, 401, "a session that was ended");
    assert_eq!(service.hello(access(&two)).await.0, 200, "another session of the account");

    command(&server, &["user", "grant", "jane", "editor"]);
    assert_eq!(service.hello_after(200, access(&two)).await.0, 401, "a token with the roles of before");
    let begun = Instant::now();
    // What is refreshed within the second of the change counts as issued before it.
    let (status, hello) = loop {
        let (status, tokens) = server.post("/refresh", &json!({"refresh_token": two["refresh_token"]})).await;
        assert_eq!(status, 200, "{tokens}");
        two = tokens;
        let hello = service.hello(access(&two)).await;
        if hello.0 == 200 || begun.elapsed() > PATIENCE {
            break hello;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    assert_eq!((status, &hello["roles"]), (200, &json!(["user", "editor"])), "{hello}");

    let three = login(&server, "jane").await;
    assert_eq!(service.hello(access(&three)).await.0, 200);
    command(&server, &["user", "disable", "jane"]);
    for tokens in [&two, &three] {
        assert_eq!(service.hello_after(200, access(tokens)).await.0, 401, "a disabled account");
    }
    assert_eq!(service.hello(access(&one)).await.0, 401, "still");
    assert_eq!(service.hello(access(&other)).await.0, 200, "another account");
}

/// Without a fresh list nobody knows what ended.
async fn refuses_to_guess(example: Example) {
    let server = Server::start(EDDSA);
    server.register("jane").await;
    let tokens = login(&server, "jane").await;
    let nowhere = format!("http://127.0.0.1:{}", free_port());
    let lost = Service::start(example, &nowhere, &[]);
    assert_eq!(lost.hello(access(&tokens)).await.0, 503, "never heard of anything");

    let service = Service::start(example, &server.url(""), &[STALE_SECONDS]);
    assert_eq!(service.hello_after(503, access(&tokens)).await.0, 200);
    server.signal("STOP");
    assert_eq!(service.hello_after(200, access(&tokens)).await.0, 503, "it hangs");
    server.signal("CONT");
    assert_eq!(service.hello_after(503, access(&tokens)).await.0, 200, "it is back");
    drop(server);
    assert_eq!(service.hello_after(200, access(&tokens)).await.0, 503, "it is gone");
    assert_eq!(lost.hello(access(&tokens)).await.0, 503, "still");
}

#[tokio::test]
#[ignore = "needs Python with FastAPI and PyJWT; make interop installs and runs it"]
async fn a_fastapi_service_accepts_our_tokens() {
    for algorithm in ["HS256", "EdDSA", "ES256"] {
        accepts_ours(FastApi, algorithm).await;
    }
}

#[tokio::test]
#[ignore = "needs Python with FastAPI and PyJWT; make interop installs and runs it"]
async fn a_fastapi_service_reads_the_claims() {
    reads_the_claims(FastApi).await;
}

#[tokio::test]
#[ignore = "needs Python with FastAPI and PyJWT; make interop installs and runs it"]
async fn a_fastapi_service_refuses_what_ended() {
    hears_what_ended(FastApi).await;
}

#[tokio::test]
#[ignore = "needs Python with FastAPI and PyJWT; make interop installs and runs it"]
async fn a_fastapi_service_without_a_fresh_list_answers_503() {
    refuses_to_guess(FastApi).await;
}

#[tokio::test]
#[ignore = "needs Node.js with express and jose; make interop installs and runs it"]
async fn an_express_service_accepts_our_tokens() {
    for algorithm in ["HS256", "EdDSA", "ES256"] {
        accepts_ours(Express, algorithm).await;
    }
}

#[tokio::test]
#[ignore = "needs Node.js with express and jose; make interop installs and runs it"]
async fn an_express_service_reads_the_claims() {
    reads_the_claims(Express).await;
}

#[tokio::test]
#[ignore = "needs Node.js with express and jose; make interop installs and runs it"]
async fn an_express_service_refuses_what_ended() {
    hears_what_ended(Express).await;
}

#[tokio::test]
#[ignore = "needs Node.js with express and jose; make interop installs and runs it"]
async fn an_express_service_without_a_fresh_list_answers_503() {
    refuses_to_guess(Express).await;
}

#[tokio::test]
async fn an_axum_service_accepts_our_tokens() {
    for algorithm in ["HS256", "EdDSA", "ES256"] {
        accepts_ours(Axum, algorithm).await;
    }
}

#[tokio::test]
async fn an_axum_service_reads_the_claims() {
    reads_the_claims(Axum).await;
}

#[tokio::test]
async fn an_axum_service_refuses_what_ended() {
    hears_what_ended(Axum).await;
}

#[tokio::test]
async fn an_axum_service_without_a_fresh_list_answers_503() {
    refuses_to_guess(Axum).await;
}
