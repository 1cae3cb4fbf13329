use poem_openapi::{
    Enum, Object, OpenApi,
    param::{Path, Query},
    types::Example,
};
use serde::{Deserialize, Serialize};

use super::{
    Done, Tag,
    body::{Body, OptionalBody},
    context::{Context, QueryNames, UserAgent},
    guard::{Caller, Presented},
    json::Json,
    problem::{Refusal, statuses},
};
use crate::{
    auth::{
        refresh,
        session::{self, Opened},
    },
    model::{self, SessionId},
};

statuses! {
    Login: 400, 401, 408, 413, 415, 422, 429, 500, 503;
    Refresh: 400, 401, 408, 413, 415, 422, 429, 500, 503;
    Logout: 400, 401, 408, 413, 415, 422, 500, 503;
    Protected: 400, 401, 500, 503;
    Sessions: 400, 401, 500, 503;
    EndSession: 400, 401, 422, 500, 503;
    EndSessions: 400, 401, 422, 500, 503;
}

/// Logging in, staying so, and ending it.
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

/// Whose access token is about to expire.
#[derive(Deserialize, Object)]
#[serde(deny_unknown_fields)]
#[oai(deny_unknown_fields)]
struct RefreshRequest {
    /// The newest refresh token of the session.
    refresh_token: String,
}

/// Who wants to log out, if not by access token.
#[derive(Deserialize, Object)]
#[serde(deny_unknown_fields)]
#[oai(deny_unknown_fields, example)]
struct LogoutRequest {
    /// A refresh token of the session.
    refresh_token: Option<String>,
}

impl Example for LogoutRequest {
    /// What stands in Swagger UI: there, the access token is at hand.
    fn example() -> Self {
        Self { refresh_token: None }
    }
}

/// Tokens of a session.
#[derive(Object, Serialize)]
struct TokenPair {
    /// A JWT for `Authorization: Bearer`.
    access_token: String,
    /// Always `bearer`.
    token_type: String,
    /// Seconds until the access token expires.
    expires_in: i64,
    /// When it expires (RFC 3339).
    expires_at: String,
    /// Opaque. Good for one `POST /refresh`, which answers the next one.
    refresh_token: String,
    /// When the session ends if it is not refreshed (RFC 3339).
    refresh_expires_at: String,
}

/// A session: what one login opened.
#[derive(Object, Serialize)]
pub struct Session {
    /// The `sid` of its access tokens.
    id: String,
    /// The login (RFC 3339).
    created_at: String,
    /// To the minute (RFC 3339).
    last_used_at: String,
    /// When it ends in any case (RFC 3339).
    expires_at: String,
    /// Where the login came from.
    ip: String,
    /// What the client of the login called itself.
    user_agent: Option<String>,
    /// Whether it is the one of this request.
    current: bool,
}

impl Session {
    /// As it is shown to who makes the request in the session `current`.
    pub(super) fn new(session: model::Session, current: &SessionId) -> Self {
        Self {
            current: session.id == *current,
            id: session.id.to_string(),
            created_at: session.created_at.to_string(),
            last_used_at: session.last_used_at.to_string(),
            expires_at: session.expires_at.to_string(),
            ip: session.ip,
            user_agent: session.user_agent,
        }
    }
}

/// What is left alone.
#[derive(Enum)]
#[oai(rename_all = "snake_case")]
enum Except {
    /// The session of this request.
    Current,
}

/// A greeting for who is authorized.
#[derive(Object, Serialize)]
struct Greeting {
    message: String,
}

impl From<Opened> for TokenPair {
    fn from(opened: Opened) -> Self {
        let Opened { access, refresh_token, refresh_expires_at } = opened;
        Self {
            access_token: access.text,
            token_type: "bearer".to_owned(),
            expires_in: access.expires_in,
            expires_at: access.expires_at.to_string(),
            refresh_token,
            refresh_expires_at: refresh_expires_at.to_string(),
        }
    }
}

#[OpenApi(tag = "Tag::Session")]
impl SessionApi {
    /// Log in with a user name and a password.
    #[oai(path = "/login", method = "post", operation_id = "login")]
    async fn login(
        &self,
        context: Context,
        user_agent: UserAgent,
        body: Body<LoginRequest>,
    ) -> Result<Json<TokenPair>, Refusal<Login>> {
        let Context { app, now, client } = context;
        let LoginRequest { username, password } = body.0;
        let login = session::Login { name: username, password, user_agent: user_agent.0 };
        Ok(Json::new(&session::login(&app, now, client, login).await?.into()))
    }

    /// Exchange the refresh token for the next one and a new access token.
    ///
    /// Each refresh token is for one use. If the answer is lost, or two tabs refresh at once, the same token is
    /// answered with the same successor; one that was used longer ago ends the session.
    #[oai(path = "/refresh", method = "post", operation_id = "refresh")]
    async fn refresh(&self, context: Context, body: Body<RefreshRequest>) -> Result<Json<TokenPair>, Refusal<Refresh>> {
        let Context { app, now, client } = context;
        Ok(Json::new(&refresh::refresh(&app, now, client, &body.0.refresh_token).await?.into()))
    }

    /// End the session of the access token, which may have expired, or of a refresh token.
    #[oai(path = "/logout", method = "post", operation_id = "logout")]
    async fn logout(
        &self,
        context: Context,
        bearer: Presented,
        body: OptionalBody<LogoutRequest>,
    ) -> Result<Done, Refusal<Logout>> {
        let Context { app, now, client } = context;
        let refresh = body.0.and_then(|body| body.refresh_token);
        session::logout(&app, now, client, bearer.0.as_deref(), refresh.as_deref()).await?;
        Ok(Done::NoContent)
    }

    /// List your sessions, the newest first.
    #[oai(path = "/sessions", method = "get", operation_id = "list_sessions")]
    async fn list_sessions(&self, caller: Caller, context: Context) -> Result<Json<Vec<Session>>, Refusal<Sessions>> {
        let sessions = session::list(&context.app, context.now, &caller.0).await?;
        let current = caller.0.session_id();
        Ok(Json::new(&sessions.into_iter().map(|session| Session::new(session, current)).collect()))
    }

    /// End one of your sessions. An id that is none of them is no failure.
    #[oai(path = "/sessions/:id", method = "delete", operation_id = "end_session")]
    async fn end_session(
        &self,
        caller: Caller,
        context: Context,
        id: Path<String>,
    ) -> Result<Done, Refusal<EndSession>> {
        session::end(&context.app, context.now, context.client, &caller.0, SessionId::from_text(id.0)).await?;
        Ok(Done::NoContent)
    }

    /// End all of your sessions, or with `except=current` all but this one.
    #[oai(path = "/sessions", method = "delete", operation_id = "end_sessions")]
    async fn end_sessions(
        &self,
        caller: Caller,
        context: Context,
        query: QueryNames,
        except: Query<Option<Except>>,
    ) -> Result<Done, Refusal<EndSessions>> {
        // A misspelt `except` must not end what it was to leave.
        query.only(&["except"])?;
        let except = except.0.map(|Except::Current| caller.0.session_id().clone());
        let Context { app, now, client } = context;
        session::end_all_of(&app, now, &caller.0.by(client), &caller.0.user().id, except).await?;
        Ok(Done::NoContent)
    }

    /// See whether a token is accepted.
    #[oai(path = "/protected", method = "get", operation_id = "get_protected")]
    async fn get_protected(&self, caller: Caller) -> Result<Json<Greeting>, Refusal<Protected>> {
        let message = format!("Hello {}, you are authorized!", caller.0.user().username);
        Ok(Json::new(&Greeting { message }))
    }
}
