use poem_openapi::{
    ApiResponse, Object, OpenApi,
    param::{Path, Query},
    types::{Example, MaybeUndefined},
};
use serde::{Deserialize, Serialize};

use super::{
    Done, Tag,
    account::User,
    body::Body,
    context::{Context, QueryNames},
    guard::Admin,
    json::Json,
    problem::{Refusal, statuses},
    session::Session,
};
use crate::{
    auth::{
        account,
        admin::{self, AuditQuery},
        cursor::Page,
        session,
    },
    model::{self, UserId},
    store::LastAdmin,
};

statuses! {
    Users: 400, 401, 403, 422, 500, 503;
    AddUser: 400, 401, 403, 408, 409, 413, 415, 422, 500, 503;
    OneUser: 400, 401, 403, 404, 422, 500, 503;
    ChangeUser: 400, 401, 403, 404, 408, 409, 413, 415, 422, 500, 503;
    DeleteUser: 400, 401, 403, 404, 409, 422, 500, 503;
    UserSessions: 400, 401, 403, 404, 422, 500, 503;
    EndUserSessions: 400, 401, 403, 404, 422, 500, 503;
    Audit: 400, 401, 403, 422, 500, 503;
}

/// How many items a page has, unless it is said.
const LIMIT: u32 = 50;

/// What admins may do with the accounts of others.
pub struct AdminApi;

/// An account, as admins see it.
#[derive(Object, Serialize)]
struct AdminUser {
    #[oai(flatten)]
    #[serde(flatten)]
    user: User,
    /// Since when it may not log in (RFC 3339).
    disabled_at: Option<String>,
    /// The last login with a password (RFC 3339).
    last_login_at: Option<String>,
}

impl From<model::User> for AdminUser {
    fn from(user: model::User) -> Self {
        Self {
            user: User::from(&user),
            disabled_at: user.disabled_at.map(|at| at.to_string()),
            last_login_at: user.last_login_at.map(|at| at.to_string()),
        }
    }
}

/// A page of accounts.
#[derive(Object, Serialize)]
struct UserPage {
    /// Those found by name come first, by name; then those found by address, by address.
    items: Vec<AdminUser>,
    /// What to ask the next page with. Null: this is the last one.
    next_cursor: Option<String>,
}

/// A new account, made by an admin.
#[derive(Deserialize, Object)]
#[serde(deny_unknown_fields)]
#[oai(deny_unknown_fields, example)]
struct AddUserRequest {
    /// 1 to 64 characters, no blanks, no `@`, one script (RFC 8265 `UsernameCaseMapped`). A reserved name may be given.
    #[oai(validator(min_length = 1, max_length = 64))]
    username: String,
    /// One plain address. It proves nothing.
    #[oai(validator(max_length = 254))]
    email: Option<String>,
    /// As at `POST /register`. Without one, the account cannot log in until a reset gives it one.
    #[oai(validator(min_length = 8, max_length = 256))]
    password: Option<String>,
    /// Beside `user`, which everyone has.
    #[oai(validator(max_items = 32))]
    roles: Option<Vec<String>>,
}

impl Example for AddUserRequest {
    fn example() -> Self {
        Self {
            username: "jane".to_owned(),
            email: Some("jane@example.org".to_owned()),
            password: Some("seven green lanterns".to_owned()),
            roles: Some(vec!["editor".to_owned()]),
        }
    }
}

/// What is to be changed of an account. What is left out stays.
#[derive(Deserialize, Object)]
#[serde(deny_unknown_fields)]
#[oai(deny_unknown_fields, example)]
struct ChangeUserRequest {
    /// Whether it may not log in. If so, its sessions end.
    disabled: Option<bool>,
    /// All of its roles. It has `user` in any case.
    #[oai(validator(max_items = 32))]
    roles: Option<Vec<String>>,
    /// Another address, which proves nothing, or null for none.
    #[oai(validator(max_length = 254))]
    #[serde(default)]
    email: MaybeUndefined<String>,
}

impl Example for ChangeUserRequest {
    fn example() -> Self {
        let roles = Some(vec!["user".to_owned(), "editor".to_owned()]);
        Self { disabled: Some(false), roles, email: MaybeUndefined::Undefined }
    }
}

/// A page of sessions.
#[derive(Object, Serialize)]
struct SessionPage {
    /// The newest first.
    items: Vec<Session>,
    /// What to ask the next page with. Always null: an account has at most 50 sessions.
    next_cursor: Option<String>,
}

/// A row of the audit log: something that was done, or refused.
#[derive(Object, Serialize)]
struct AuditEntry {
    /// Rises from row to row.
    id: i64,
    /// When (RFC 3339).
    at: String,
    /// As in the server's log.
    event: String,
    /// The id of the account that did it. Null: the command line, the server by itself, or who had not logged in.
    actor: Option<String>,
    /// The id of the account or key that it was done to.
    target: Option<String>,
    /// Where the request came from.
    address: Option<String>,
    /// The request's `X-Request-Id`.
    request_id: Option<String>,
    /// `done`, or why it was not.
    outcome: String,
    /// How many sessions ended, or refusals the row stands for.
    count: i64,
    /// The id of a session, or roles.
    detail: Option<String>,
}

impl From<model::Audited> for AuditEntry {
    fn from(row: model::Audited) -> Self {
        Self {
            id: row.id,
            at: row.at.to_string(),
            event: row.event,
            actor: row.actor.map(|id| id.to_string()),
            target: row.target,
            address: row.address,
            request_id: row.request_id,
            outcome: row.outcome,
            count: row.count,
            detail: row.detail,
        }
    }
}

/// A page of the audit log.
#[derive(Object, Serialize)]
struct AuditPage {
    /// The newest first.
    items: Vec<AuditEntry>,
    /// What to ask the next page with. Null: this is the last one.
    next_cursor: Option<String>,
}

#[derive(ApiResponse)]
enum Added {
    /// The account was made.
    #[oai(status = 201)]
    Created(Json<AdminUser>),
}

#[OpenApi(tag = "Tag::Admin")]
impl AdminApi {
    /// List the accounts whose name, or else whose address, begins with `query`; or all of them, by name.
    #[oai(path = "/admin/users", method = "get", operation_id = "list_users")]
    async fn list_users(
        &self,
        _admin: Admin,
        context: Context,
        names: QueryNames,
        /// What the name or the address begins with.
        #[oai(validator(max_length = 254))]
        query: Query<Option<String>>,
        /// How many accounts a page has: 50, unless it is said.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// The `next_cursor` of the page before.
        cursor: Query<Option<String>>,
    ) -> Result<Json<UserPage>, Refusal<Users>> {
        names.only(&["query", "limit", "cursor"])?;
        let query = admin::Query { text: query.0, limit: limit.0.unwrap_or(LIMIT), cursor: cursor.0 };
        let Page { items, next_cursor } = admin::users(&context.app, query).await?;
        Ok(Json::new(&UserPage { items: items.into_iter().map(AdminUser::from).collect(), next_cursor }))
    }

    /// Make an account.
    #[oai(path = "/admin/users", method = "post", operation_id = "add_user")]
    async fn add_user(
        &self,
        admin: Admin,
        context: Context,
        body: Body<AddUserRequest>,
    ) -> Result<Added, Refusal<AddUser>> {
        let Context { app, now, client } = context;
        let AddUserRequest { username, email, password, roles } = body.0;
        let form = account::Addition { username, email, password, roles: roles.unwrap_or_default() };
        let user = account::add(&app, now, &admin.0.as_admin(client), form).await?;
        Ok(Added::Created(Json::new(&user.into())))
    }

    /// See an account.
    #[oai(path = "/admin/users/:id", method = "get", operation_id = "get_user")]
    async fn get_user(
        &self,
        _admin: Admin,
        context: Context,
        id: Path<String>,
    ) -> Result<Json<AdminUser>, Refusal<OneUser>> {
        Ok(Json::new(&admin::user(&context.app, &UserId::from_text(id.0)).await?.into()))
    }

    /// Change an account: disable or enable it, give it roles, or another address. All of it, or nothing.
    #[oai(path = "/admin/users/:id", method = "patch", operation_id = "change_user")]
    async fn change_user(
        &self,
        admin: Admin,
        context: Context,
        id: Path<String>,
        body: Body<ChangeUserRequest>,
    ) -> Result<Json<AdminUser>, Refusal<ChangeUser>> {
        let Context { app, now, client } = context;
        let ChangeUserRequest { disabled, roles, email } = body.0;
        let email = match email {
            MaybeUndefined::Undefined => None,
            MaybeUndefined::Null => Some(None),
            MaybeUndefined::Value(email) => Some(Some(email)),
        };
        let changes = admin::Form { disabled, roles, email }.check()?;
        let user = admin::change(&app, now, &admin.0.as_admin(client), &UserId::from_text(id.0), changes).await?;
        Ok(Json::new(&user.into()))
    }

    /// Delete an account for good.
    #[oai(path = "/admin/users/:id", method = "delete", operation_id = "delete_user")]
    async fn delete_user(&self, admin: Admin, context: Context, id: Path<String>) -> Result<Done, Refusal<DeleteUser>> {
        let Context { app, now, client } = context;
        admin::delete(&app, now, &admin.0.as_admin(client), &UserId::from_text(id.0), LastAdmin::Stays).await?;
        Ok(Done::NoContent)
    }

    /// List the sessions of an account, the newest first.
    #[oai(path = "/admin/users/:id/sessions", method = "get", operation_id = "list_user_sessions")]
    async fn list_user_sessions(
        &self,
        admin: Admin,
        context: Context,
        id: Path<String>,
    ) -> Result<Json<SessionPage>, Refusal<UserSessions>> {
        let sessions = session::list_of(&context.app, context.now, &UserId::from_text(id.0)).await?;
        let current = admin.0.session_id();
        let items = sessions.into_iter().map(|session| Session::new(session, current)).collect();
        Ok(Json::new(&SessionPage { items, next_cursor: None }))
    }

    /// End all sessions of an account.
    #[oai(path = "/admin/users/:id/sessions", method = "delete", operation_id = "end_user_sessions")]
    async fn end_user_sessions(
        &self,
        admin: Admin,
        context: Context,
        id: Path<String>,
    ) -> Result<Done, Refusal<EndUserSessions>> {
        let Context { app, now, client } = context;
        session::end_for(&app, now, &admin.0.as_admin(client), &UserId::from_text(id.0)).await?;
        Ok(Done::NoContent)
    }

    /// See what was done and refused, the newest first.
    #[oai(path = "/admin/audit", method = "get", operation_id = "list_audit")]
    #[expect(clippy::too_many_arguments, reason = "one for each name in the query")]
    async fn list_audit(
        &self,
        _admin: Admin,
        context: Context,
        names: QueryNames,
        /// What it was done to: the id of an account or of a key.
        #[oai(validator(max_length = 64))]
        target: Query<Option<String>>,
        /// The event.
        #[oai(validator(max_length = 64))]
        event: Query<Option<String>>,
        /// How many rows a page has: 50, unless it is said.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// The `next_cursor` of the page before.
        cursor: Query<Option<String>>,
    ) -> Result<Json<AuditPage>, Refusal<Audit>> {
        names.only(&["target", "event", "limit", "cursor"])?;
        let (target, event, limit) = (target.0, event.0, limit.0.unwrap_or(LIMIT));
        let query = AuditQuery { target, event, limit, cursor: cursor.0 };
        let Page { items, next_cursor } = admin::audit(&context.app, context.now, query).await?;
        Ok(Json::new(&AuditPage { items: items.into_iter().map(AuditEntry::from).collect(), next_cursor }))
    }
}
