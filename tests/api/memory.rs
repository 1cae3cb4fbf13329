//! What a process remembers goes when it can help nobody any more.

use hallpass::auth::{account, upkeep};
use poem::http::Method;
use serde_json::json;

use super::app::{PASSWORD, Pair, TestApp};

/// How many sessions, salts and tokens are in memory.
fn remembered(app: &TestApp) -> [u32; 3] {
    let page = app.app.metrics.text().unwrap();
    ["sessions", "salts", "tokens"].map(|what| {
        let name = format!("hallpass_memory_{what} ");
        page.lines().find_map(|line| line.strip_prefix(name.as_str())).unwrap().parse().unwrap()
    })
}

async fn app() -> TestApp {
    TestApp::with(&[("METRICS_ADDR", "127.0.0.1:1"), ("ACCESS_TOKEN_EXPIRE_MINUTES", "5")]).await
}

/// Comes back with a session until it is in memory, which is not asked while all stands still for long, and forgets
/// what is written: here, that the new token is used.
async fn come_back(app: &TestApp, mut pair: Pair) -> Pair {
    let before = remembered(app);
    while remembered(app)[..2] != [before[0] + 1, before[1] + 1] {
        pair = app.refresh(&pair.refresh).await;
        for _ in 0..2 {
            assert_eq!(app.verdict(&pair.access).await, "ok");
        }
    }
    pair
}

#[tokio::test]
async fn what_has_ended_is_not_remembered() {
    let app = app().await;
    let password = json!({"password": PASSWORD});
    let change = json!({"current_password": PASSWORD, "new_password": "eleven blue teapots"});
    for way in ["logout", "one", "all", "reuse", "change", "delete", "removal"] {
        let name = &format!("leaves-by-{way}");
        let mut pair = app.as_session(name).await;
        let (used, one) = (pair.refresh.clone(), format!("/sessions/{}", pair.sid()));
        // Whoever changes the password stays, and the others end.
        if way == "change" {
            pair = app.open(name).await;
        }
        let pair = come_back(&app, pair).await;
        app.sleep(60);
        let status = match way {
            "logout" => app.call(Method::POST, "/logout", &pair.access, None).await.status,
            "one" => app.delete(&one, &pair.access).await.status,
            "all" => app.delete("/sessions", &pair.access).await.status,
            "reuse" => app.try_refresh(&used).await.status,
            "change" => {
                let other = app.open(name).await;
                let answer = app.call(Method::POST, "/password/change", &other.access, Some(&change)).await;
                app.call(Method::POST, "/logout", &other.access, None).await;
                answer.status
            }
            "delete" => app.call(Method::POST, "/me/delete", &pair.access, Some(&password)).await.status,
            _ => {
                let owner = account::find(&app.app, name).await.unwrap();
                app.remove(app.app.clock.now(), &owner).await;
                app.get("/me", Some(&pair.access)).await.status
            }
        };
        assert!(status == 204 || status == 401 && ["reuse", "removal"].contains(&way), "{way}: {status}");
        let [sessions, salts, _] = remembered(&app);
        assert_eq!([sessions, salts], [0, 0], "{way}");
    }
}

#[tokio::test]
async fn a_token_that_has_expired_is_not_remembered() {
    let app = app().await;
    let pair = app.as_session("anna").await;
    while remembered(&app)[2] < 2 {
        assert_eq!(app.verdict(&pair.access).await, "ok");
    }
    let before = remembered(&app);
    upkeep::round(&app.app, app.app.clock.now()).await;
    assert_eq!(remembered(&app)[2], before[2], "none has expired");
    app.sleep(5 * 60);
    upkeep::round(&app.app, app.app.clock.now()).await;
    assert_eq!(remembered(&app)[2], 0);
    // It is told the same.
    assert_eq!(app.verdict(&pair.access).await, "token_expired");
}
