//! What a process remembers goes when it can help nobody any more.

use hallpass::auth::upkeep;

use super::app::TestApp;

/// How many sessions, salts and tokens are in memory.
fn remembered(app: &TestApp) -> [u32; 3] {
    let page = app.app.metrics.text().unwrap();
    ["sessions", "salts", "tokens"].map(|what| {
        let name = format!("hallpass_memory_{what} ");
        page.lines().find_map(|line| line.strip_prefix(name.as_str())).unwrap().parse().unwrap()
    })
}

#[tokio::test]
async fn what_has_ended_is_not_remembered() {
    let app = TestApp::with(&[("METRICS_ADDR", "127.0.0.1:1"), ("ACCESS_TOKEN_EXPIRE_MINUTES", "5")]).await;
    let [mut stays, mut leaves] = [app.as_session("anna").await, app.as_session("john").await];
    for pair in [&mut stays, &mut leaves] {
        *pair = app.refresh(&pair.refresh).await;
        // The first use is written down, and what is written is forgotten.
        for _ in 0..2 {
            assert_eq!(app.verdict(&pair.access).await, "ok");
        }
    }
    let before = remembered(&app);
    assert_eq!(before[..2], [2, 2]);
    assert!(before[2] >= 2, "{before:?}");

    assert_eq!(app.call(poem::http::Method::POST, "/logout", &leaves.access, None).await.status, 204);
    assert_eq!(remembered(&app)[..2], [1, 1], "his session and its salt");

    upkeep::round(&app.app, app.app.clock.now()).await;
    assert_eq!(remembered(&app)[2], before[2], "no token has expired");
    app.sleep(5 * 60);
    upkeep::round(&app.app, app.app.clock.now()).await;
    assert_eq!(remembered(&app), [1, 1, 0]);
    // Whose token is not remembered is told the same.
    assert_eq!(app.verdict(&stays.access).await, "token_expired");
}
