//! What many at once must not bring about. `HALLPASS_ROUNDS` makes the runs longer.

use std::sync::Arc;

use futures_util::future::join_all;
use hallpass::{auth::account, model::User, store::Changes};
use poem::http::Method;
use serde_json::json;
use tokio::task::JoinSet;

use super::app::{PASSWORD, Pair, TestApp};

fn rounds() -> usize {
    std::env::var("HALLPASS_ROUNDS").map_or(15, |text| text.parse().unwrap())
}

async fn at_once<T: Send + 'static, F: Future<Output = T> + Send + 'static>(tasks: impl Iterator<Item = F>) -> Vec<T> {
    let tasks: JoinSet<T> = tasks.collect();
    tasks.join_all().await
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_uses_of_one_token_at_once_leave_one_lineage() {
    let app = Arc::new(TestApp::new().await);
    let mut pair = app.as_session("john").await;
    for round in 1..=rounds() {
        let uses = (0..50).map(|_| {
            let (app, token) = (app.clone(), pair.refresh.clone());
            async move { app.refresh(&token).await }
        });
        let pairs = at_once(uses).await;
        assert!(pairs.iter().all(|other| other.refresh == pairs[0].refresh), "round {round}");
        assert_eq!(app.text("SELECT CAST(MAX(generation) AS TEXT) FROM sessions").await, round.to_string());
        pair = pairs.into_iter().next().unwrap();
    }
    assert_eq!(app.verdict(&pair.access).await, "ok");
    assert_eq!(app.text("SELECT CAST(COUNT(*) AS TEXT) FROM sessions").await, "1");
}

/// What ends sessions.
#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    Logout,
    LogoutByRefresh,
    Everywhere,
    Disable,
    Delete,
    PasswordChange,
}

impl End {
    const ALL: [Self; 6] =
        [Self::Logout, Self::LogoutByRefresh, Self::Everywhere, Self::Disable, Self::Delete, Self::PasswordChange];

    /// Ends the session of `victim` and answers once that is acknowledged. `other` is a session of the same account.
    async fn run(self, app: &TestApp, user: &User, victim: &Pair, other: &Pair) {
        let now = app.app.clock.now();
        match self {
            Self::Logout => {
                let answer = app.call(Method::POST, "/logout", &victim.access, None).await;
                assert_eq!(answer.status, 204);
            }
            Self::LogoutByRefresh => {
                let answer = app.post("/logout", &json!({"refresh_token": victim.refresh})).await;
                assert_eq!(answer.status, 204);
            }
            Self::Everywhere => assert_eq!(app.delete("/sessions?except=current", &other.access).await.status, 204),
            Self::Disable => app.change(now, user, Changes::disabled(true)).await,
            Self::Delete => app.remove(now, user).await,
            Self::PasswordChange => {
                let body = json!({"current_password": PASSWORD, "new_password": PASSWORD});
                let answer = app.call(Method::POST, "/password/change", &other.access, Some(&body)).await;
                assert_eq!(answer.status, 204);
            }
        }
    }
}

/// Refreshes on and on, until it is refused; answers all that it got.
async fn refresh_on(app: &TestApp, pair: Pair) -> Vec<Pair> {
    let mut got = vec![pair];
    // Few enough that a race that is lost ends the test, not the patience.
    while got.len() < 200 {
        let answer = app.try_refresh(&got.last().unwrap().refresh).await;
        if answer.status != 200 {
            answer.refuses(401, "invalid_refresh_token", "");
            break;
        }
        got.push(Pair::of(&answer));
    }
    got
}

#[tokio::test(flavor = "multi_thread")]
async fn no_refresh_in_flight_outlives_an_end_that_was_acknowledged() {
    let app = Arc::new(TestApp::with(&[("HASH_QUEUE", "1000")]).await);
    let (mut ends, mut answered) = (0, 0);
    for round in 0..rounds() {
        for end in End::ALL {
            let name = format!("john{round}{end:?}");
            let victim = app.as_session(&name).await;
            let other = app.open(&name).await;
            let user = account::find(&app.app, &name).await.unwrap();
            let refreshing = at_once((0..3).map(|_| {
                let (app, pair) = (app.clone(), victim.clone());
                async move { refresh_on(&app, pair).await }
            }));
            let ending = async {
                // Into the midst of them, at another moment each time.
                for _ in 0..round % 7 {
                    app.get("/livez", None).await;
                }
                end.run(&app, &user, &victim, &other).await;
            };
            let (got, ()) = tokio::join!(refreshing, ending);
            if end == End::Disable {
                app.change(app.app.clock.now(), &user, Changes::disabled(false)).await;
            }
            let got = got.concat();
            (ends, answered) = (ends + 1, answered + got.len() - 3);
            for pair in got {
                let verdict = app.verdict(&pair.access).await;
                let expected = if end == End::Delete { "user_not_found" } else { "session_ended" };
                assert_eq!(verdict, expected, "round {round}, {end:?}");
                assert_eq!(app.try_refresh(&pair.refresh).await.status, 401, "round {round}, {end:?}");
            }
            if end == End::PasswordChange {
                app.refresh(&other.refresh).await;
            }
        }
    }
    println!("{ends} ends, {answered} refreshes answered before them, no survivor");
    assert!(answered >= rounds(), "they met: {answered} refreshes were answered before {ends} ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn logins_at_once_keep_to_the_bound() {
    let app = Arc::new(TestApp::with(&[("HASH_QUEUE", "1000")]).await);
    app.register("john").await;
    let pairs = join_all((0..80).map(|_| app.open("john"))).await;
    let alive = "SELECT CAST(COUNT(*) AS TEXT) FROM sessions WHERE ended_at IS NULL";
    assert_eq!(app.text(alive).await, "50");
    let verdicts = join_all(pairs.iter().map(|pair| app.verdict(&pair.access))).await;
    assert_eq!(verdicts.iter().filter(|verdict| *verdict == "ok").count(), 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_last_admins_who_delete_themselves_at_once_one_stays() {
    for _ in 0..rounds().min(100) {
        let app = TestApp::new().await;
        let pairs = [app.as_session("john").await, app.as_session("jane").await];
        app.sql("UPDATE users SET roles = 'user admin'").await;
        let body = json!({"password": PASSWORD});
        let delete = pairs.iter().map(|pair| app.call(Method::POST, "/me/delete", &pair.access, Some(&body)));
        let mut statuses: Vec<u16> = join_all(delete).await.iter().map(|answer| answer.status).collect();
        statuses.sort_unstable();
        assert_eq!(statuses, [204, 409]);
    }
}
