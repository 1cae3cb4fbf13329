//! Swagger UI, and the pages behind the links of mails, in a real browser, used as a person uses them: with clicks and
//! keys.
//!
//! Needs Chromium and its driver where Debian puts them, so nothing here runs unasked. With `HALLPASS_PICTURE`
//! set to a path, the picture of the README is written there.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may")]

#[path = "../process/program.rs"]
#[allow(dead_code, reason = "each test program uses its own part")]
mod program;

mod mail;
mod page;

use page::{LOGIN, LOGOUT, PROTECTED, Page, REFRESH};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs chromium and chromedriver; make browser runs it"]
async fn the_page_comes_whole_from_the_binary() {
    let page = Page::open_at("127.0.0.1").await;
    assert_eq!(page.address().await, page.at("/docs"));
    for (operation, shown) in [(LOGIN, "POST\n/login\n"), (PROTECTED, "GET\n/protected\n")] {
        let summary = page.summary(operation).await;
        assert!(summary.starts_with(shown), "{summary}");
    }
    assert_eq!(page.requests().await, [""; 0]);
    assert_eq!(page.console().await, [""; 0]);
    page.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs chromium and chromedriver; make browser runs it"]
async fn who_logs_in_on_the_page_is_authorized() {
    let page = Page::open_at("127.0.0.1").await;
    page.log_in_as_johndoe().await;
    page.take_picture().await;

    page.log_out().await;
    page.authorize(&page.token_of("alice").await).await;
    assert_eq!(page.execute(PROTECTED).await, greeting("alice"));

    assert_eq!(page.requests().await, [page.at("/login"), page.at("/protected"), page.at("/protected")]);
    assert_eq!(page.console().await, [""; 0]);
    page.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs chromium and chromedriver; make browser runs it"]
async fn a_refresh_authorizes_and_a_logout_ends_it() {
    let page = Page::open_at("127.0.0.1").await;
    page.open(LOGIN).await;
    let (_, tokens) = page.execute(LOGIN).await;
    page.log_out().await;
    page.open(REFRESH).await;
    let refresh = json!({"refresh_token": tokens["refresh_token"]}).to_string();
    page.replace(&format!("{REFRESH} textarea"), &refresh).await;
    let (status, next) = page.execute(REFRESH).await;
    assert_eq!(status, "200");
    assert!(next["refresh_token"] != tokens["refresh_token"] && page.is_authorized().await);
    page.open(PROTECTED).await;
    assert_eq!(page.execute(PROTECTED).await, greeting("johndoe"));
    // As it stands there.
    page.open(LOGOUT).await;
    assert_eq!(page.execute_without_answer(LOGOUT).await, "204");
    let (status, problem) = page.execute(PROTECTED).await;
    assert_eq!((status.as_str(), &problem["code"]), ("401", &json!("session_ended")), "{problem}");
    page.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs chromium and chromedriver; make browser runs it"]
async fn the_page_works_under_any_name_of_the_host() {
    let page = Page::open_at("localhost").await;
    page.log_in_as_johndoe().await;
    assert_eq!(page.requests().await, [page.at("/login"), page.at("/protected")]);
    assert_eq!(page.console().await, [""; 0]);
    page.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs chromium and chromedriver; make browser runs it"]
async fn refusals_are_shown_as_problems() {
    let page = Page::open_at("127.0.0.1").await;
    page.authorize("not.a.token").await;
    page.open(PROTECTED).await;
    let (status, problem) = page.execute(PROTECTED).await;
    assert_eq!((status.as_str(), &problem["code"]), ("401", &json!("invalid_token")), "{problem}");
    assert_eq!(problem["detail"], "Invalid token");
    page.log_out().await;

    page.open(LOGIN).await;
    let wrong = json!({"username": "johndoe", "password": "not the password"}).to_string();
    page.replace(&format!("{LOGIN} textarea"), &wrong).await;
    let (status, problem) = page.execute(LOGIN).await;
    assert_eq!((status.as_str(), &problem["code"]), ("401", &json!("invalid_credentials")), "{problem}");
    assert!(!page.is_authorized().await);

    // Chromium itself notes each refusal; nothing else is amiss.
    let noted = |path| {
        let what = "Failed to load resource: the server responded with a status of 401 (Unauthorized)";
        format!("SEVERE {} - {what}", page.at(path))
    };
    assert_eq!(page.console().await, [noted("/protected"), noted("/login")]);
    page.close().await;
}

fn greeting(name: &str) -> (String, Value) {
    ("200".to_owned(), json!({"message": format!("Hello {name}, you are authorized!")}))
}
