use poem_openapi::{Object, OpenApi, param::Path};
use serde::Serialize;

use super::{
    Done, Tag,
    context::Context,
    guard::Caller,
    json::Json,
    problem::{Refusal, statuses},
    session::Session,
};
use crate::{
    auth::session,
    model::{ADMIN, UserId},
};

statuses! {
    UserSessions: 400, 401, 403, 404, 422, 500, 503;
    EndUserSessions: 400, 401, 403, 404, 422, 500, 503;
}

/// What admins may do with the accounts of others.
pub struct AdminApi;

/// A page of sessions.
#[derive(Object, Serialize)]
struct SessionPage {
    /// The newest first.
    items: Vec<Session>,
    /// What to ask the next page with. Always null: an account has at most 50 sessions.
    next_cursor: Option<String>,
}

#[OpenApi(tag = "Tag::Admin")]
impl AdminApi {
    /// List the sessions of an account, the newest first.
    #[oai(path = "/admin/users/:id/sessions", method = "get", operation_id = "list_user_sessions")]
    async fn list_user_sessions(
        &self,
        caller: Caller,
        context: Context,
        id: Path<String>,
    ) -> Result<Json<SessionPage>, Refusal<UserSessions>> {
        caller.0.require(ADMIN)?;
        let sessions = session::list_of(&context.app, context.now, &UserId::from_text(id.0)).await?;
        let current = caller.0.session_id();
        let items = sessions.into_iter().map(|session| Session::new(session, current)).collect();
        Ok(Json::new(&SessionPage { items, next_cursor: None }))
    }

    /// End all sessions of an account.
    #[oai(path = "/admin/users/:id/sessions", method = "delete", operation_id = "end_user_sessions")]
    async fn end_user_sessions(
        &self,
        caller: Caller,
        context: Context,
        id: Path<String>,
    ) -> Result<Done, Refusal<EndUserSessions>> {
        caller.0.require(ADMIN)?;
        let Context { app, now, client } = context;
        session::end_for(&app, now, &caller.0.by(client), &UserId::from_text(id.0)).await?;
        Ok(Done::NoContent)
    }
}
