//! What a server does by itself, beside answering.

use std::time::Duration;

use hallpass::auth::upkeep;

use super::{app::TestApp, keys::HOUR};

#[tokio::test]
async fn a_session_is_kept_for_25_hours_after_its_end() {
    let app = TestApp::new().await;
    app.as_session("john").await;
    // It is not refreshed.
    app.sleep(14 * 24 * HOUR);
    for (seconds, kept) in [(25 * HOUR, "1"), (1, "0")] {
        app.sleep(seconds);
        upkeep::round(&app.app, app.app.clock.now()).await;
        assert_eq!(app.text("SELECT CAST(COUNT(*) AS TEXT) FROM sessions").await, kept, "{seconds}");
    }
}

#[tokio::test]
async fn what_was_refused_is_written_down_by_itself_again_and_again() {
    let app = TestApp::new().await;
    let upkeep = tokio::spawn(upkeep::run(app.app.clone()));
    for written in ["1", "2"] {
        app.try_login("nobody", "wrong").await.refuses(401, "invalid_credentials", "");
        while app.text("SELECT CAST(COUNT(*) AS TEXT) FROM audit WHERE event = 'login_failed'").await != written {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    upkeep.abort();
}
