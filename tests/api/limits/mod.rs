//! How often something may be tried: the rows LG-04 to LG-13 of the requirements, and the numbers of OPERATIONS.

mod logins;
mod rates;
mod tables;
mod told;

use hallpass::model::{Client, RequestId};
use poem::{Request, http::Method};
use serde_json::{Value, json};

use super::app::{Answer, PASSWORD, TestApp};

const ON: &[(&str, &str)] = &[("RATE_LIMITS", "on"), ("TRUSTED_PROXIES", "127.0.0.1"), ("HASH_QUEUE", "200")];

const DAY: i64 = 24 * 60 * 60;

/// One of 65,536 addresses.
fn address(n: u16) -> String {
    format!("198.18.{}.{}", n >> 8, n & 255)
}

fn client(address: &str) -> Client {
    Client { address: address.parse().unwrap(), request: RequestId { process: 0, number: 0 } }
}

impl TestApp {
    async fn post_from(&self, address: &str, path: &str, token: Option<&str>, body: &Value) -> Answer {
        let mut request = Request::builder().method(Method::POST).uri_str(path).header("x-forwarded-for", address);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        self.send(request.content_type("application/json").body(body.to_string())).await
    }

    async fn login_from(&self, address: &str, username: &str, password: &str) -> Answer {
        self.post_from(address, "/login", None, &json!({"username": username, "password": password})).await
    }

    /// Guesses from ever other addresses until it is throttled; answers how often that was, and for how long it is.
    async fn attack(&self, username: &str, from: u16) -> (u16, i64) {
        for n in 0..100 {
            let answer = self.login_from(&address(from + n), username, "wrong").await;
            if answer.status != 401 {
                return (n, answer.throttled());
            }
        }
        panic!("never throttled");
    }
}

impl Answer {
    /// Asserts a 429, and answers after how many seconds to try again.
    #[track_caller]
    fn throttled(&self) -> i64 {
        self.refuses(429, "too_many_attempts", "Too many attempts; try again later");
        let seconds = self.header("retry-after").parse().unwrap();
        assert!(seconds >= 1);
        seconds
    }
}

/// An app with accounts that are found by a name and by an address, of which one is disabled and one has no password.
async fn peopled() -> TestApp {
    let app = TestApp::with(ON).await;
    for name in ["john", "mallory", "keyless"] {
        let form = json!({"username": name, "password": PASSWORD, "email": format!("{name}@example.org")});
        assert_eq!(app.post("/register", &form).await.status, 201);
    }
    app.sql(
        "UPDATE users SET email = claimed_email, email_key = claimed_email_key, email_verified_at = 1,
                          claimed_email = NULL, claimed_email_key = NULL, claimed_at = NULL",
    )
    .await;
    app.sql("UPDATE users SET disabled_at = 1 WHERE username = 'mallory'").await;
    app.sql("UPDATE users SET password_hash = NULL WHERE username = 'keyless'").await;
    app
}
