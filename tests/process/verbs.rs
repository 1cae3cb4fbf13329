//! What a client asks of a server.

use serde_json::{Value, json};

use super::program::{PASSWORD, Server};

/// The tokens of a login or of a refresh.
#[derive(Debug, Clone)]
pub struct Pair {
    pub access: String,
    pub refresh: String,
}

impl Pair {
    fn of((status, body): (u16, Value)) -> Self {
        assert_eq!(status, 200, "{body}");
        let member = |name: &str| body[name].as_str().unwrap().to_owned();
        Self { access: member("access_token"), refresh: member("refresh_token") }
    }
}

impl Server {
    /// A login that has to succeed.
    pub async fn tokens(&self, username: &str) -> Pair {
        Pair::of(self.login(username, PASSWORD).await)
    }

    /// A refresh that has to succeed.
    pub async fn renew(&self, refresh_token: &str) -> Pair {
        Pair::of(self.refresh(refresh_token).await)
    }

    pub async fn refresh(&self, refresh_token: &str) -> (u16, Value) {
        self.post("/refresh", &json!({"refresh_token": refresh_token})).await
    }

    /// Status and code of a refresh that has to be refused.
    pub async fn refresh_refused(&self, refresh_token: &str) -> (u16, String) {
        code(self.refresh(refresh_token).await)
    }

    pub async fn logout(&self, access_token: &str) -> u16 {
        let post = reqwest::Client::new().post(self.url("/logout")).bearer_auth(access_token);
        post.send().await.unwrap().status().as_u16()
    }

    /// Status and code of `GET /me`: of an access token that counts, 200 and nothing.
    pub async fn me(&self, access_token: &str) -> (u16, String) {
        code(self.get("/me", access_token).await)
    }

    /// The published keys.
    pub async fn jwks(&self) -> Vec<Value> {
        let set: Value = reqwest::get(self.url("/.well-known/jwks.json")).await.unwrap().json().await.unwrap();
        set["keys"].as_array().unwrap().clone()
    }

    /// The ids of the published keys.
    pub async fn kids(&self) -> Vec<String> {
        self.jwks().await.iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
    }
}

fn code((status, body): (u16, Value)) -> (u16, String) {
    (status, body["code"].as_str().unwrap_or_default().to_owned())
}
