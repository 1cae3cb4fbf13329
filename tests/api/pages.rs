//! The pages behind the links of mails.

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, engine::general_purpose::STANDARD};
use hallpass::auth::outbox;
use poem::{Request, http::Method};
use serde_json::json;

use super::app::{Answer, PASSWORD, TestApp};

const FORM: &str = "application/x-www-form-urlencoded";
const NEW_PASSWORD: &str = "eleven blue teapots";

/// The path and the query of the link of the mail that came last.
async fn link(app: &TestApp, page: &str) -> String {
    let token = app.mails().await.pop().unwrap().token;
    assert!(!token.is_empty());
    format!("/{page}?token={token}")
}

fn token(link: &str) -> &str {
    link.split_once("token=").unwrap().1
}

/// An account that has said what its address is.
async fn with_address(app: &TestApp) {
    app.claim("jane", "jane@example.org").await;
}

async fn forget(app: &TestApp) -> String {
    assert_eq!(app.post("/password/forgot", &json!({"email": "jane@example.org"})).await.status, 202);
    link(app, "reset").await
}

async fn is_verified(app: &TestApp) -> bool {
    let token = app.login("jane").await;
    app.get("/me", Some(&token)).await.json()["email_verified"] == true
}

async fn send(app: &TestApp, path: &str, form: &str) -> Answer {
    app.post_text(path, FORM, form.to_owned()).await
}

/// Asserts what a page says first.
#[track_caller]
fn says(answer: &Answer, status: u16, heading: &str) {
    let html = answer.text();
    assert_eq!(answer.status, status, "{html}");
    assert!(html.contains(&format!("<h1>{heading}</h1>")), "{html}");
}

#[tokio::test]
async fn a_link_that_is_opened_is_not_burnt_and_its_button_works_once() {
    let app = TestApp::new().await;
    with_address(&app).await;
    let link = link(&app, "verify").await;
    for method in [Method::GET, Method::HEAD, Method::GET, Method::HEAD] {
        let answer = app.send(Request::builder().method(method.clone()).uri_str(&link).finish()).await;
        assert_eq!((answer.status, answer.bytes.is_empty()), (200, method == Method::HEAD));
    }
    let page = app.get(&link, None).await;
    says(&page, 200, "Confirm your address");
    assert!(page.text().contains(&format!(r#"<input type="hidden" name="token" value="{}">"#, token(&link))));
    assert!(!is_verified(&app).await);

    says(&send(&app, "/verify", &format!("token={}", token(&link))).await, 200, "Your address is confirmed");
    assert!(is_verified(&app).await);
    says(&send(&app, "/verify", &format!("token={}", token(&link))).await, 400, "This link does not count");
    says(&app.get(&link, None).await, 200, "Confirm your address");
}

#[tokio::test]
async fn the_token_may_stand_in_the_address_of_the_form() {
    let app = TestApp::new().await;
    with_address(&app).await;
    let link = link(&app, "verify").await;
    says(&send(&app, &link, "").await, 200, "Your address is confirmed");
}

#[tokio::test]
async fn a_password_that_is_refused_is_asked_for_again_with_the_rule_that_it_breaks() {
    let app = TestApp::new().await;
    with_address(&app).await;
    let session = app.open("jane").await;
    let link = forget(&app).await;
    says(&app.get(&link, None).await, 200, "Choose a new password");
    for (password, rule) in [
        ("", "must have at least 15 characters"),
        ("too+short", "must have at least 15 characters"),
        ("password12345678", "is among the most common passwords"),
        ("jane%40example.org", "must not be the user name, the e-mail address or the name of this service"),
        ("eleven+blue+teapots%00", "must not be empty, nor have control or invisible characters"),
    ] {
        let answer = send(&app, "/reset", &format!("token={}&password={password}", token(&link))).await;
        says(&answer, 422, "Choose a new password");
        let html = answer.text();
        assert!(html.contains(rule) || password.is_empty(), "{html}");
        assert!(html.contains(r#"role="alert""#) && html.contains(r#"aria-invalid="true""#), "{html}");
        assert!(html.contains(&format!(r#"value="{}""#, token(&link))), "{html}");
        assert!(password.is_empty() || !html.contains(password) && !html.contains("jane@"), "{html}");
    }
    let form = format!("token={}&password={}", token(&link), NEW_PASSWORD.replace(' ', "+"));
    assert_eq!(app.verdict(&session.access).await, "ok");
    says(&send(&app, "/reset", &form).await, 200, "Your password is set");
    assert_eq!(app.verdict(&session.access).await, "session_ended");
    assert_eq!(app.try_login("jane", PASSWORD).await.status, 401);
    assert_eq!(app.try_login("jane@example.org", NEW_PASSWORD).await.status, 200);
    says(&send(&app, "/reset", &form).await, 400, "This link does not count");
}

#[tokio::test]
async fn whoever_tries_too_many_links_is_told_when_to_try_again() {
    let app = TestApp::with(&[("RATE_LIMITS", "on")]).await;
    with_address(&app).await;
    let link = link(&app, "verify").await;
    for n in 0..10 {
        let page = if n % 2 == 0 { "/verify" } else { "/reset" };
        says(
            &send(&app, page, &format!("token={n}&password=eleven+blue+teapots")).await,
            400,
            "This link does not count",
        );
    }
    for page in ["/verify", "/reset"] {
        let answer = send(&app, page, &format!("token={}&password=eleven+blue+teapots", token(&link))).await;
        says(&answer, 429, "Not now");
        assert_eq!((answer.header("retry-after"), answer.header("content-type")), ("6", "text/html; charset=utf-8"));
        assert_eq!(answer.header("cache-control"), "no-store");
        let html = answer.text();
        assert!(html.contains("6 seconds") && html.contains(answer.header("x-request-id")), "{html}");
        assert!(!html.contains(token(&link)) && !html.contains("too_many"), "{html}");
    }
    says(&app.get(&link, None).await, 200, "Confirm your address");
    app.sleep(6);
    says(&send(&app, "/verify", &format!("token={}", token(&link))).await, 200, "Your address is confirmed");
}

#[tokio::test]
async fn a_link_of_one_page_does_not_count_at_the_other() {
    let app = TestApp::new().await;
    with_address(&app).await;
    let verify = link(&app, "verify").await;
    let form = format!("token={}&password={}", token(&verify), NEW_PASSWORD.replace(' ', "+"));
    says(&send(&app, "/reset", &form).await, 400, "This link does not count");
    let reset = forget(&app).await;
    says(&send(&app, "/verify", &format!("token={}", token(&reset))).await, 400, "This link does not count");
    assert_eq!(app.try_login("jane", PASSWORD).await.status, 200);
}

#[tokio::test]
async fn what_a_page_does_not_take_is_refused_by_a_page() {
    let app = TestApp::new().await;
    let large = format!("token={}", "x".repeat(17_000));
    for page in ["/verify", "/reset"] {
        for (method, query, media, body, status, heading) in [
            (Method::GET, "", "", "", 400, "This link does not count"),
            (Method::GET, "?token=", "", "", 400, "This link does not count"),
            (Method::GET, "?token=a&token=b", "", "", 400, "This link does not count"),
            (Method::GET, "?token=a&utm_source=mail", "", "", 200, ""),
            (Method::POST, "", FORM, "", 400, "This link does not count"),
            (Method::POST, "", FORM, "token=nonsense&password=eleven+blue+teapots", 400, "This link does not count"),
            (Method::POST, "?token=a", FORM, "token=a&token=b", 422, "That did not work"),
            (Method::POST, "?token=a", FORM, "admin=true", 422, "That did not work"),
            (Method::POST, "?token=a", FORM, &large, 413, "That did not work"),
            (Method::POST, "?token=a", "application/json", r#"{"token":"a"}"#, 415, "That did not work"),
            (Method::POST, "?token=a", "multipart/form-data; boundary=x", "", 415, "That did not work"),
            (Method::POST, "?token=a", "", "", 415, "That did not work"),
            (Method::PUT, "?token=a", FORM, "", 405, "That did not work"),
            (Method::DELETE, "", "", "", 405, "That did not work"),
            (Method::OPTIONS, "", "", "", 405, "That did not work"),
        ] {
            let request = Request::builder().method(method.clone()).uri_str(format!("{page}{query}"));
            let request = if media.is_empty() { request } else { request.content_type(media) };
            let answer = app.send(request.body(body.to_owned())).await;
            let html = answer.text();
            assert_eq!(answer.status, status, "{method} {page}{query} {body:.40}: {html}");
            assert!(heading.is_empty() || html.contains(&format!("<h1>{heading}</h1>")), "{html}");
            assert_eq!(answer.header("allow"), if status == 405 { "GET, HEAD, POST" } else { "" });
            assert!(status < 400 || html.contains(answer.header("x-request-id")), "{html}");
        }
    }
    let both = Request::builder().method(Method::GET).uri_str("/verify?token=a");
    let both = both.header("authorization", "Bearer a").header("authorization", "Bearer b").finish();
    says(&app.send(both).await, 400, "That did not work");
}

#[tokio::test]
async fn nothing_that_was_sent_is_markup_on_a_page() {
    let app = TestApp::new().await;
    let evil = r#""><script>alert(1)</script><img src=x onerror='a&b'>"#;
    let encoded: String = url::form_urlencoded::byte_serialize(evil.as_bytes()).collect();
    for page in ["/verify", "/reset"] {
        let answers = [
            app.get(&format!("{page}?token={encoded}"), None).await,
            send(&app, page, &format!("token={encoded}&password=short")).await,
            send(&app, page, &format!("token=a&{encoded}={encoded}")).await,
        ];
        for answer in answers {
            let html = answer.text();
            assert!(!html.contains("<script") && !html.contains("<img") && !html.contains("onerror='"), "{html}");
        }
    }
    let html = app.get(&format!("/verify?token={encoded}"), None).await.text();
    assert!(html.contains("value=\"&quot;&gt;&lt;script&gt;"), "{html}");
}

#[tokio::test]
async fn a_page_needs_nothing_but_itself() {
    let app = TestApp::with(&[("PUBLIC_URL", "https://login.example.com/auth")]).await;
    for (method, path, form) in [
        (Method::GET, "/verify?token=a", ""),
        (Method::GET, "/reset?token=a", ""),
        (Method::POST, "/reset", "token=a&password=short"),
        (Method::POST, "/verify", "token=a"),
        (Method::PUT, "/verify", ""),
    ] {
        let request = Request::builder().method(method).uri_str(path).content_type(FORM);
        let answer = app.send(request.body(form.to_owned())).await;
        let html = answer.text();
        let style = html.split_once("<style>").unwrap().1.split_once("</style>").unwrap().0;
        let digest = STANDARD.encode(digest(&SHA256, style.as_bytes()));
        let policy = format!(
            "default-src 'none'; style-src 'sha256-{digest}'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
        );
        assert_eq!(answer.header("content-security-policy"), policy);
        assert_eq!(answer.header("cache-control"), "no-store");
        for part in
            ["<!DOCTYPE html>\n<html lang=\"en\">", "<title>", "width=device-width", "login.example.com</footer>"]
        {
            assert!(html.contains(part), "{part}: {html}");
        }
        assert_eq!(html.matches("<h1>").count(), 1, "{html}");
        for foreign in ["<script", " style=", " src=", " href=", "://", " onclick=", "url(", "@import"] {
            assert!(!html.contains(foreign), "{foreign}: {html}");
        }
        // Relative, so that they hold behind a proxy that cuts `/auth` off.
        let action = path.trim_start_matches('/').split('?').next().unwrap();
        assert!(!html.contains("<form") || html.contains(&format!(r#"<form method="post" action="{action}">"#)));
        for input in html.split("<input ").skip(1).filter(|input| !input.starts_with("type=\"hidden\"")) {
            assert!(input.starts_with(r#"id="password" "#) && html.contains(r#"<label for="password">"#), "{input}");
            assert!(input.contains(r#"autocomplete="new-password""#), "{input}");
        }
    }
}

#[tokio::test]
async fn a_page_says_when_it_cannot_be_done_now() {
    let app = TestApp::new().await;
    with_address(&app).await;
    let link = link(&app, "verify").await;
    let database = app.folder.path().join("test.db");
    std::fs::rename(&database, app.folder.path().join("away")).unwrap();
    let answer = send(&app, &link, "").await;
    says(&answer, 503, "Not now");
    assert_eq!(answer.header("retry-after"), "1");
    assert!(answer.text().contains("wait for 1 second and press"), "{}", answer.text());
    std::fs::rename(app.folder.path().join("away"), &database).unwrap();
    says(&send(&app, &link, "").await, 200, "Your address is confirmed");
}

#[tokio::test]
async fn pages_are_not_in_the_document() {
    let app = TestApp::new().await;
    let document = app.get("/openapi.json", None).await.json();
    for path in ["/verify", "/reset", "/dev/mailbox"] {
        assert!(document["paths"].get(path).is_none(), "{path}");
    }
}

#[tokio::test]
async fn the_mailbox_shows_the_newest_mail_first_with_a_link_to_follow() {
    let app = TestApp::new().await;
    with_address(&app).await;
    app.claim("<img/src=x>", "o'neill@example.org").await;
    outbox::drain(&app.app).await.unwrap();
    let answer = app.get("/dev/mailbox", None).await;
    let html = answer.text();
    assert_eq!((answer.status, html.matches("<article>").count()), (200, 2), "{html}");
    let (second, first) = (html.find("o&#x27;neill@example.org").unwrap(), html.find("jane@example.org").unwrap());
    assert!(second < first, "{html}");
    let url = &app.app.config.public_url;
    assert!(html.contains(&format!(r#"<a href="{url}/verify?token="#)), "{html}");
    assert!(html.contains("&lt;img/\u{2060}src=x&gt;") && !html.contains("<img"), "{html}");
    assert!(answer.header("content-security-policy").starts_with("default-src 'none'; style-src 'sha256-"));
}

#[tokio::test]
async fn a_server_without_the_mailbox_has_nothing_at_its_path() {
    let app = TestApp::silent().await;
    for method in [Method::GET, Method::HEAD, Method::POST, Method::OPTIONS] {
        let request = Request::builder().method(method).uri_str("/dev/mailbox");
        let answer = app.send(request.header("x-forwarded-for", "127.0.0.1").finish()).await;
        answer.refuses(404, "not_found", "There is nothing at this path");
    }
}
