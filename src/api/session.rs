use poem_openapi::{Object, OpenApi, payload::Json, types::Example};
use serde::Deserialize;

use super::{
    Tag,
    body::Body,
    context::Context,
    guard::Caller,
    problem::{Refusal, statuses},
};
use crate::auth::{session, token::AccessToken};

statuses! {
    Login: 400, 401, 408, 413, 415, 422, 500, 503;
    Protected: 400, 401, 500, 503;
}

/// Logging in, and what can be done then.
pub struct SessionApi;

/// Who wants to log in.
#[derive(Deserialize, Object)]
#[serde(deny_unknown_fields)]
#[oai(deny_unknown_fields, example)]
struct LoginRequest {
    /// The user name, or the verified e-mail address.
    username: String,
    /// The password.
    #[oai(validator(min_length = 1))]
    password: String,
}

impl Example for LoginRequest {
    fn example() -> Self {
        Self { username: "johndoe".to_owned(), password: "demo-password-only".to_owned() }
    }
}

/// Tokens of a session.
#[derive(Object)]
struct TokenPair {
    /// A JWT for `Authorization: Bearer`.
    access_token: String,
    /// Always `bearer`.
    token_type: String,
    /// Seconds until the access token expires.
    expires_in: i64,
    /// When it expires (RFC 3339).
    expires_at: String,
}

/// A greeting for who is authorized.
#[derive(Object)]
struct Greeting {
    message: String,
}

impl From<AccessToken> for TokenPair {
    fn from(token: AccessToken) -> Self {
        Self {
            access_token: token.text,
            token_type: "bearer".to_owned(),
            expires_in: token.expires_in,
            expires_at: token.expires_at.to_string(),
        }
    }
}

#[OpenApi(tag = "Tag::Session")]
impl SessionApi {
    /// Log in with a user name and a password.
    #[oai(path = "/login", method = "post", operation_id = "login")]
    async fn login(&self, context: Context, body: Body<LoginRequest>) -> Result<Json<TokenPair>, Refusal<Login>> {
        let Context { app, now, client } = context;
        let LoginRequest { username, password } = body.0;
        let token = session::login(&app, now, client, &username, password).await?;
        Ok(Json(token.into()))
    }

    /// See whether a token is accepted.
    #[oai(path = "/protected", method = "get", operation_id = "get_protected")]
    async fn get_protected(&self, caller: Caller) -> Result<Json<Greeting>, Refusal<Protected>> {
        let message = format!("Hello {}, you are authorized!", caller.0.user.username);
        Ok(Json(Greeting { message }))
    }
}
