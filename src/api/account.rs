use poem_openapi::{ApiResponse, Object, OpenApi, types::Example};
use serde::{Deserialize, Serialize};

use super::{
    Done, Tag,
    body::Body,
    context::Context,
    guard::Caller,
    json::Json,
    problem::{Refusal, statuses},
};
use crate::{
    auth::account::{self, Registration},
    model,
};

statuses! {
    Register: 400, 408, 409, 413, 415, 422, 429, 500, 503;
    Me: 400, 401, 500, 503;
    ChangePassword: 400, 401, 403, 408, 413, 415, 422, 429, 500, 503;
    DeleteMe: 400, 401, 403, 408, 409, 413, 415, 422, 429, 500, 503;
}

/// Accounts.
pub struct AccountApi;

/// A new account.
#[derive(Deserialize, Object)]
#[serde(deny_unknown_fields)]
#[oai(deny_unknown_fields, example)]
struct RegisterRequest {
    /// 1 to 64 characters, no blanks, no `@`, one script (RFC 8265 `UsernameCaseMapped`).
    #[oai(validator(min_length = 1, max_length = 64))]
    username: String,
    /// 15 characters or more (`PASSWORD_MIN_LENGTH`), at most 256; anything but a common one.
    #[oai(validator(min_length = 8, max_length = 256))]
    password: String,
    /// One plain address.
    #[oai(validator(max_length = 254))]
    email: Option<String>,
}

impl Example for RegisterRequest {
    fn example() -> Self {
        Self {
            username: "jane".to_owned(),
            password: "seven green lanterns".to_owned(),
            email: Some("jane@example.org".to_owned()),
        }
    }
}

/// Another password.
#[derive(Deserialize, Object)]
#[serde(deny_unknown_fields)]
#[oai(deny_unknown_fields, example)]
struct ChangePasswordRequest {
    /// The password of now.
    current_password: String,
    /// 15 characters or more (`PASSWORD_MIN_LENGTH`), at most 256; anything but a common one.
    #[oai(validator(min_length = 8, max_length = 256))]
    new_password: String,
}

impl Example for ChangePasswordRequest {
    fn example() -> Self {
        Self { current_password: "demo-password-only".to_owned(), new_password: "seven green lanterns".to_owned() }
    }
}

/// The end of an account.
#[derive(Deserialize, Object)]
#[serde(deny_unknown_fields)]
#[oai(deny_unknown_fields)]
struct DeleteMeRequest {
    /// The password.
    password: String,
}

/// An account.
#[derive(Object, Serialize)]
pub struct User {
    /// Never reassigned; the `sub` of its tokens.
    id: String,
    /// As the person writes it.
    username: String,
    /// As the person writes it.
    email: Option<String>,
    /// Whether the owner proved the address.
    email_verified: bool,
    /// `user`, which everyone has, and more.
    roles: Vec<String>,
    /// RFC 3339.
    created_at: String,
}

impl From<&model::User> for User {
    fn from(user: &model::User) -> Self {
        Self {
            id: user.id.to_string(),
            username: user.username.clone(),
            email: user.email.clone(),
            email_verified: user.email_verified_at.is_some(),
            roles: user.roles.iter().map(str::to_owned).collect(),
            created_at: user.created_at.to_string(),
        }
    }
}

#[derive(ApiResponse)]
enum Registered {
    /// The account was made.
    #[oai(status = 201)]
    Created(Json<User>),
}

#[OpenApi(tag = "Tag::Account")]
impl AccountApi {
    /// Make an account.
    #[oai(path = "/register", method = "post", operation_id = "register")]
    async fn register(&self, context: Context, body: Body<RegisterRequest>) -> Result<Registered, Refusal<Register>> {
        let Context { app, now, client } = context;
        let RegisterRequest { username, password, email } = body.0;
        let user = account::register(&app, now, client, Registration { username, password, email }).await?;
        Ok(Registered::Created(Json::new(&User::from(&user))))
    }

    /// See the account of the token.
    #[oai(path = "/me", method = "get", operation_id = "get_me")]
    async fn get_me(&self, caller: Caller) -> Result<Json<User>, Refusal<Me>> {
        let account = caller.0.account;
        // Written once for each change of it.
        if let Some(text) = account.shown.get() {
            return Ok(Json::written(text.clone()));
        }
        let shown = Json::new(&User::from(&account.user));
        if let Some(text) = shown.text() {
            // Somebody else may have been quicker.
            let _ = account.shown.set(text.to_vec());
        }
        Ok(shown)
    }

    /// Change your password. Every other session ends, this one stays.
    #[oai(path = "/password/change", method = "post", operation_id = "change_password")]
    async fn change_password(
        &self,
        caller: Caller,
        context: Context,
        body: Body<ChangePasswordRequest>,
    ) -> Result<Done, Refusal<ChangePassword>> {
        let ChangePasswordRequest { current_password, new_password } = body.0;
        let Context { app, now, client } = context;
        account::change_password(&app, now, client, &caller.0, current_password, new_password).await?;
        Ok(Done::NoContent)
    }

    /// Delete your account for good.
    #[oai(path = "/me/delete", method = "post", operation_id = "delete_me")]
    async fn delete_me(
        &self,
        caller: Caller,
        context: Context,
        body: Body<DeleteMeRequest>,
    ) -> Result<Done, Refusal<DeleteMe>> {
        let Context { app, now, client } = context;
        account::delete_own(&app, now, client, &caller.0, body.0.password).await?;
        Ok(Done::NoContent)
    }
}
