//! What a process remembers: it is true, whoever writes, and it goes when it can help nobody any more.

use std::time::Duration;

use hallpass::auth::{account, upkeep};
use poem::http::Method;
use serde_json::json;
use sqlx::Executor;
use tokio::time::{sleep, timeout};

use super::app::{PASSWORD, Pair, TestApp};

/// What a test that hangs is given: it fails then.
const HANGS: Duration = Duration::from_mins(1);

/// How long another process may have written unnoticed.
const TRUST: Duration = Duration::from_millis(300);

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
    let come = async {
        while remembered(app)[..2] != [before[0] + 1, before[1] + 1] {
            pair = app.refresh(&pair.refresh).await;
            for _ in 0..2 {
                assert_eq!(app.verdict(&pair.access).await, "ok");
            }
        }
    };
    timeout(HANGS, come).await.unwrap();
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
    let seen = async {
        while remembered(&app)[2] < 2 {
            assert_eq!(app.verdict(&pair.access).await, "ok");
        }
    };
    timeout(HANGS, seen).await.unwrap();
    let before = remembered(&app);
    upkeep::round(&app.app, app.app.clock.now()).await;
    assert_eq!(remembered(&app)[2], before[2], "none has expired");
    app.sleep(5 * 60);
    upkeep::round(&app.app, app.app.clock.now()).await;
    assert_eq!(remembered(&app)[2], 0);
    // It is told the same.
    assert_eq!(app.verdict(&pair.access).await, "token_expired");
}

#[tokio::test]
async fn what_another_process_writes_holds_soon() {
    let app = TestApp::new().await;
    let (_, token) = app.as_user("john").await;
    assert_eq!(app.verdict(&token).await, "ok");
    let ended = "UPDATE sessions SET ended_at = 1";
    sqlx::query(ended).execute(&mut app.db().await).await.unwrap();
    sleep(TRUST).await;
    assert_eq!(app.verdict(&token).await, "session_ended");
}

/// A session that is in memory alone: its row is deleted by a trigger, behind a piece of work that touches nothing that
/// is remembered. When it is accepted, it was memory that answered.
async fn in_memory_alone(app: &TestApp, username: &str) -> Pair {
    let trigger = "CREATE TRIGGER IF NOT EXISTS empty AFTER UPDATE ON probe BEGIN DELETE FROM sessions; END";
    app.db().await.execute(trigger).await.unwrap();
    loop {
        let pair = app.open(username).await;
        assert_eq!(app.verdict(&pair.access).await, "ok");
        app.app.store.check().await.unwrap();
        // Not, if all stood still so long that memory was not trusted.
        if app.verdict(&pair.access).await == "ok" {
            return pair;
        }
    }
}

#[tokio::test]
async fn memory_answers_while_nobody_writes_and_forgets_what_another_process_wrote() {
    let app = TestApp::new().await;
    app.register("john").await;
    app.register("jane").await;
    let mut other = app.db().await;
    let rounds = async {
        let mut ended: Vec<Pair> = Vec::new();
        for _ in 0..3 {
            let jane = in_memory_alone(&app, "jane").await;
            let john = app.open("john").await;
            // What the last write made sure of is not sure any more.
            sleep(TRUST).await;
            while app.verdict(&jane.access).await != "ok" {
                tokio::task::yield_now().await;
            }
            assert_eq!(app.verdict(&john.access).await, "ok");
            for pair in &ended {
                assert_eq!(app.verdict(&pair.access).await, "session_ended", "what was forgotten does not return");
            }
            other.execute("UPDATE sessions SET ended_at = 1").await.unwrap();
            sleep(TRUST).await;
            ended.extend([jane, john]);
            for pair in &ended {
                assert_eq!(app.verdict(&pair.access).await, "session_ended");
            }
        }
    };
    timeout(HANGS, rounds).await.unwrap();
}
