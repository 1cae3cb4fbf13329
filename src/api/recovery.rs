use poem_openapi::{Object, OpenApi, types::Example};
use serde::Deserialize;

use super::{
    Done, Heard, Tag,
    body::Body,
    context::Context,
    email::proof,
    problem::{Refusal, statuses},
};
use crate::auth::recovery;

statuses! {
    ForgotPassword: 400, 408, 413, 415, 422, 500, 503;
    ResetPassword: 400, 408, 413, 415, 422, 429, 500, 503;
}

/// Getting back in.
pub struct RecoveryApi;

/// Who cannot log in.
#[derive(Deserialize, Object)]
#[serde(deny_unknown_fields)]
#[oai(deny_unknown_fields, example)]
struct ForgotPasswordRequest {
    /// The address of the account.
    #[oai(validator(max_length = 254))]
    email: String,
}

impl Example for ForgotPasswordRequest {
    fn example() -> Self {
        Self { email: "jane@example.org".to_owned() }
    }
}

/// Another password, and what proves that it may be set: the token of the mailed link, or the address and the code that
/// was mailed to it.
#[derive(Deserialize, Object)]
#[serde(deny_unknown_fields)]
#[oai(deny_unknown_fields, example)]
struct ResetPasswordRequest {
    /// What stands behind `token=` in the link.
    token: Option<String>,
    /// The address.
    email: Option<String>,
    /// The code of 8 digits.
    code: Option<String>,
    /// 15 characters or more (`PASSWORD_MIN_LENGTH`), at most 256; anything but a common one.
    #[oai(validator(min_length = 8, max_length = 256))]
    new_password: String,
}

impl Example for ResetPasswordRequest {
    fn example() -> Self {
        Self {
            token: None,
            email: Some("jane@example.org".to_owned()),
            code: Some("01234567".to_owned()),
            new_password: "seven green lanterns".to_owned(),
        }
    }
}

#[OpenApi(tag = "Tag::Account")]
impl RecoveryApi {
    /// Ask for a mail with which you can choose another password. The answer is the same whether there is an account.
    #[oai(path = "/password/forgot", method = "post", operation_id = "forgot_password")]
    async fn forgot_password(
        &self,
        context: Context,
        body: Body<ForgotPasswordRequest>,
    ) -> Result<Heard, Refusal<ForgotPassword>> {
        let Context { app, now, client } = context;
        recovery::forgot(&app, now, client, &body.0.email).await?;
        Ok(Heard::Accepted)
    }

    /// Choose another password, with what was mailed. Every session ends.
    #[oai(path = "/password/reset", method = "post", operation_id = "reset_password")]
    async fn reset_password(
        &self,
        context: Context,
        body: Body<ResetPasswordRequest>,
    ) -> Result<Done, Refusal<ResetPassword>> {
        let Context { app, now, client } = context;
        let ResetPasswordRequest { token, email, code, new_password } = body.0;
        recovery::reset(&app, now, client, proof(token, email, code)?, new_password).await?;
        Ok(Done::NoContent)
    }
}
