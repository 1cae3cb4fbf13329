//! What the parts measure of themselves, once it is gathered.

use std::time::Duration;

use hallpass::auth::outbox;

use super::app::TestApp;

const ON: &[(&str, &str)] = &[("METRICS_ADDR", "127.0.0.1:1")];

/// Waits until this line is there.
async fn line(app: &TestApp, line: &str) {
    for _ in 0..2_000 {
        if app.app.metrics.text().unwrap().lines().any(|found| found == line) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("no {line} in {}", app.app.metrics.text().unwrap());
}

#[tokio::test]
async fn hashes_and_tokens_are_counted() {
    let app = TestApp::with(ON).await;
    let (one, other) = (app.as_session("john").await, app.open("john").await);
    for token in [&one.access, &other.access, &one.access] {
        assert_eq!(app.verdict(token).await, "ok");
    }
    for expected in [
        // To register, and two logins.
        "hallpass_hash_seconds_count 3",
        "hallpass_hash_wait_seconds_count 3",
        "hallpass_hash_threads_busy 0",
        "hallpass_hash_queue_depth 0",
        // One more, which a start tries itself out with.
        "hallpass_memory_tokens 3",
    ] {
        line(&app, expected).await;
    }
}

#[tokio::test]
async fn mails_that_wait_are_counted_and_so_is_how_long() {
    let app = TestApp::with(ON).await;
    for (seconds, name) in [(5, "john"), (2, "jane")] {
        app.claim(name, &format!("{name}@example.org")).await;
        app.sleep(seconds);
    }
    outbox::measure(&app.app, app.app.clock.now()).await.unwrap();
    line(&app, "hallpass_mails_waiting 2").await;
    line(&app, "hallpass_mails_oldest_seconds 7").await;
    app.mails().await;
    outbox::measure(&app.app, app.app.clock.now()).await.unwrap();
    line(&app, "hallpass_mails_waiting 0").await;
    line(&app, "hallpass_mails_oldest_seconds 0").await;
}
