//! The document, and the page that shows it.

use std::io::Read;

use poem::{Request, http::Method};
use serde_json::{Value, json};

use super::app::TestApp;

fn document() -> Value {
    serde_json::from_str(&hallpass::api::spec()).unwrap()
}

/// Path, method, operation.
fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let paths = document["paths"].as_object().unwrap().iter();
    let all = paths.flat_map(|(path, methods)| {
        methods.as_object().unwrap().iter().map(|(method, operation)| (path.clone(), method.clone(), operation.clone()))
    });
    all.collect()
}

#[test]
fn the_document_changes_only_when_that_is_meant() {
    let kept = include_str!("../../openapi.json");
    let message = "the document changed; if that is meant: cargo run -- openapi > openapi.json";
    assert_eq!(hallpass::api::spec().trim(), kept.trim(), "{message}");
}

#[tokio::test]
async fn the_server_answers_the_document() {
    let app = TestApp::new().await;
    let answer = app.get("/openapi.json", None).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
    assert_eq!(answer.json(), document());
}

#[test]
fn the_document_names_the_operations_and_their_scheme() {
    let document = document();
    assert_eq!(
        document["components"]["securitySchemes"],
        json!({"BearerAuth": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT",
               "description": "Whoever presents a valid access token. To hold one is to have been checked.\n\n`POST /login` makes such a token."}})
    );
    let guarded: Vec<String> = operations(&document)
        .into_iter()
        .filter(|(.., operation)| operation["security"] == json!([{"BearerAuth": []}]))
        .map(|(path, method, _)| format!("{method} {path}"))
        .collect();
    let expected = [
        "get /sessions",
        "delete /sessions",
        "delete /sessions/{id}",
        "get /protected",
        "get /me",
        "post /password/change",
        "post /me/delete",
        "post /email/change",
        "get /admin/users",
        "post /admin/users",
        "get /admin/users/{id}",
        "patch /admin/users/{id}",
        "delete /admin/users/{id}",
        "get /admin/users/{id}/sessions",
        "delete /admin/users/{id}/sessions",
        "get /admin/audit",
    ];
    assert_eq!(guarded, expected);
    // With a token that has expired, too, or with a refresh token alone.
    assert_eq!(document["paths"]["/logout"]["post"]["security"], json!([{"BearerAuth": []}, {}]));
    assert_eq!(document["paths"]["/logout"]["post"]["requestBody"]["required"], false);
    for (path, method, operation) in operations(&document) {
        assert!(operation["operationId"].is_string(), "{method} {path}");
    }
}

#[tokio::test]
async fn everything_that_is_not_public_needs_a_token() {
    let public = [
        "/login",
        "/refresh",
        "/register",
        "/email/verify",
        "/email/resend",
        "/password/forgot",
        "/password/reset",
        "/.well-known/jwks.json",
        "/.well-known/revocations",
        "/livez",
        "/readyz",
    ];
    let app = TestApp::new().await;
    for (path, method, operation) in operations(&document()) {
        if public.contains(&path.as_str()) {
            assert!(operation.get("security").is_none(), "{path}");
            continue;
        }
        let method: Method = method.to_uppercase().parse().unwrap();
        // A body that would be refused, too: the guard comes before it. But for `/logout`, to which the body can be
        // the credential.
        let body = if path == "/logout" { "{}" } else { "{" };
        let request = Request::builder().method(method).uri_str(&path).content_type("application/json").body(body);
        app.send(request).await.refuses(401, "not_authenticated", "Not authenticated");
    }
}

#[tokio::test]
async fn the_page_stands_alone_and_runs_what_is_in_it_and_nothing_else() {
    let app = TestApp::new().await;
    let answer = app.get("/docs", None).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "text/html; charset=utf-8"));
    let page = answer.text();
    // The patch found its place in the template of this version of poem-openapi.
    assert_eq!(page.matches("window.ui = SwaggerUIBundle({").count(), 1);
    assert!(page.contains("preauthorizeApiKey('BearerAuth', token)"));
    let (head, _) = page.split_once("<style").unwrap();
    assert!(!head.contains("src=") && !page.contains("<script src"));
    assert_eq!(page.matches("<link").count(), page.matches(r#"<link rel="icon" href="data:,">"#).count());
    let policy = answer.header("content-security-policy");
    assert!(policy.contains("script-src 'sha256-") && policy.contains("connect-src 'self'"), "{policy}");
    assert!(!policy.contains("unsafe") && policy.contains("frame-ancestors 'none'"), "{policy}");
}

#[tokio::test]
async fn the_page_is_sent_compressed_and_only_once() {
    let app = TestApp::new().await;
    let ask = async |name: &str, value: &str| {
        app.send(Request::builder().method(Method::GET).uri_str("/docs").header(name, value).finish()).await
    };
    let plain = app.get("/docs", None).await;
    let gzip = ask("accept-encoding", "br, gzip").await;
    assert_eq!((gzip.header("content-encoding"), gzip.header("vary")), ("gzip", "Accept-Encoding"));
    assert!(gzip.bytes.len() * 3 < plain.bytes.len());
    let mut unpacked = Vec::new();
    flate2::read::GzDecoder::new(gzip.bytes.as_slice()).read_to_end(&mut unpacked).unwrap();
    assert!(unpacked == plain.bytes);
    let again = ask("if-none-match", plain.header("etag")).await;
    assert_eq!((again.status, again.bytes.len()), (304, 0));
    assert_eq!(ask("if-none-match", "\"other\"").await.status, 200);
}

#[tokio::test]
async fn the_root_leads_to_the_page_and_both_can_be_left_out() {
    let app = TestApp::new().await;
    let answer = app.get("/", None).await;
    assert_eq!((answer.status, answer.header("location")), (307, "/docs"));
    let app = TestApp::with(&[("DOCS", "off")]).await;
    for path in ["/", "/docs", "/openapi.json"] {
        app.get(path, None).await.refuses(404, "not_found", "");
        let post = Request::builder().method(Method::POST).uri_str(path).finish();
        app.send(post).await.refuses(404, "not_found", "");
    }
    assert_eq!(app.get("/livez", None).await.status, 200);
}
