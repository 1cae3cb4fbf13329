//! Methods, targets and headers.

use poem::{
    Request,
    http::{HeaderName, HeaderValue, Method, Uri},
};

use super::{Random, is_sound, rounds, seed};
use crate::app::TestApp;

const METHODS: &[&str] =
    &["GET", "GET", "GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "PROPFIND", "get"];

const HEADERS: &[(&str, &str)] = &[
    ("x-forwarded-for", "203.0.113.9, 198.51.100.7, 10.2.3.4"),
    ("x-forwarded-for", "[2001:db8::5]:4711"),
    ("x-forwarded-for", "::ffff:198.51.100.7"),
    ("forwarded", "for=192.0.2.60;proto=http;by=203.0.113.43"),
    ("x-real-ip", "203.0.113.66"),
    ("x-forwarded-host", "evil.example"),
    ("x-forwarded-proto", "https"),
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64)"),
    ("content-type", "application/json; charset=utf-8"),
    ("content-type", "application/x-www-form-urlencoded"),
    ("content-type", "multipart/form-data; boundary=x"),
    ("content-length", "12"),
    ("content-encoding", "gzip"),
    ("transfer-encoding", "chunked"),
    ("host", "login.example.com:8443"),
    ("origin", "https://app.example.com"),
    ("referer", "https://app.example.com/x?y"),
    ("access-control-request-method", "POST"),
    ("access-control-request-headers", "authorization,content-type"),
    ("cookie", "session=abc; access_token=def"),
    ("accept", "application/json;q=0.9,*/*;q=0.1"),
    ("accept-encoding", "gzip;q=1.0, br;q=0.5, *;q=0"),
    ("accept-language", "de-CH,de;q=0.9"),
    ("if-none-match", "\"33a64df551425fcc55e4d42a148795d9f25f89d4\""),
    ("if-modified-since", "Wed, 21 Oct 2015 07:28:00 GMT"),
    ("range", "bytes=0-99,200-"),
    ("expect", "100-continue"),
    ("connection", "keep-alive, x-forwarded-for"),
    ("upgrade", "h2c"),
    ("te", "trailers, deflate;q=0.5"),
    ("x-http-method-override", "DELETE"),
    ("x-request-id", "0123456789abcdef"),
    ("date", "Tue, 15 Nov 1994 08:12:31 GMT"),
    ("authorization", "Basic am9objpzZXZlbiBncmVlbiBsYW50ZXJucw=="),
    ("authorization", "Digest username=\"john\", realm=\"x\""),
];

const TARGETS: &[&str] = &[
    "/",
    "/docs",
    "/openapi.json",
    "/livez",
    "/readyz",
    "/me",
    "/protected",
    "/sessions",
    "/sessions?except=current",
    "/sessions/01a20a7f-d318-738a-8a3e-e3b12a82ac53",
    "/login",
    "/register",
    "/refresh",
    "/logout",
    "/password/change",
    "/password/forgot",
    "/password/reset",
    "/email/verify",
    "/email/resend",
    "/email/change",
    "/me/delete",
    "/verify?token=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    "/reset?token=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    "/.well-known/jwks.json",
    "/.well-known/revocations",
    "/.well-known/revocations?since=2026-11-23T09:00:00Z",
    "/admin/users?limit=2&query=j%C3%B6",
    "/admin/audit?limit=100",
    "/admin/users/01a20a7f-d318-738a-8a3e-e3b12a82ac53",
    "/admin/users/01a20a7f-d318-738a-8a3e-e3b12a82ac53/sessions",
    "/metrics",
    "/nothing/here",
];

#[tokio::test]
async fn no_mutated_head_is_answered_with_a_5xx() {
    let app = TestApp::with(&[
        ("TRUSTED_PROXIES", "127.0.0.0/8,10.0.0.0/8,::1"),
        ("CORS_ORIGINS", "https://app.example.com"),
    ])
    .await;
    let john = app.as_session("john").await;
    for name in ["jane", "june", "joan"] {
        app.register(name).await;
    }
    app.sql("UPDATE users SET roles = 'user admin' WHERE username_key = 'john'").await;
    let mut targets: Vec<Vec<u8>> = TARGETS.iter().map(|target| target.as_bytes().to_vec()).collect();
    for list in ["/admin/users?limit=2", "/admin/audit?limit=1"] {
        let page = app.get(list, Some(&john.access)).await.json();
        targets.push(format!("{list}&cursor={}", page["next_cursor"].as_str().unwrap()).into_bytes());
    }
    let bearer = format!("Bearer {}", john.access);
    let headers: Vec<(&str, Vec<u8>)> =
        HEADERS.iter().map(|(name, value)| (*name, value.as_bytes().to_vec())).collect();
    let values: Vec<Vec<u8>> =
        headers.iter().map(|(_, value)| value.clone()).chain([bearer.clone().into_bytes()]).collect();
    let mut random = Random::new(seed() ^ 2);
    for round in 0..rounds() / 3 {
        let (what, request) = loop {
            let method: Method = random.of(METHODS).parse().unwrap();
            let mut target = random.of(&targets).clone();
            if random.below(2) == 0 {
                random.mutate(&mut target, &targets);
            }
            let Some(uri) = String::from_utf8(target).ok().and_then(|text| text.parse::<Uri>().ok()) else { continue };
            let what = format!("{method} {uri}");
            let mut request = Request::builder().method(method.clone()).uri(uri);
            // Who reads may do so as an admin; who writes may not, or there would soon be nobody left.
            let is_safe = [Method::GET, Method::HEAD].contains(&method);
            if is_safe && random.below(2) == 0 {
                request = request.header("authorization", &bearer);
            }
            for _ in 0..random.below(5) {
                let (name, value) = random.of(&headers);
                let (mut name, mut value) = (name.as_bytes().to_vec(), value.clone());
                random.mutate(&mut value, &values);
                if random.below(20) == 0 {
                    random.mutate(&mut name, &values);
                }
                if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(&name), HeaderValue::from_bytes(&value)) {
                    request = request.header(name, value);
                }
            }
            break (what, request.finish());
        };
        let shown = format!("{what} {:?}", request.headers());
        is_sound(&app.send(request).await, round, &shown);
    }
    assert_eq!(app.verdict(&john.access).await, "ok");
}
