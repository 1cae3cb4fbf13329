use poem_openapi::{Object, OpenApi, types::Example};
use serde::Deserialize;

use super::{
    Done, Heard, Tag,
    body::Body,
    context::Context,
    guard::Caller,
    problem::{Refusal, statuses},
};
use crate::{
    auth::{code::Proof, email},
    error::{Error, FieldError},
};

statuses! {
    VerifyEmail: 400, 408, 413, 415, 422, 429, 500, 503;
    ResendEmail: 400, 408, 413, 415, 422, 500, 503;
    ChangeEmail: 400, 401, 403, 408, 413, 415, 422, 429, 500, 503;
}

/// The addresses of accounts.
pub struct EmailApi;

/// What proves an address: the token of the mailed link, or the address and the code that was mailed to it.
#[derive(Deserialize, Object)]
#[serde(deny_unknown_fields)]
#[oai(deny_unknown_fields, example)]
struct VerifyEmailRequest {
    /// What stands behind `token=` in the link.
    token: Option<String>,
    /// The address.
    email: Option<String>,
    /// The code of 8 digits.
    code: Option<String>,
}

impl Example for VerifyEmailRequest {
    fn example() -> Self {
        Self { token: None, email: Some("jane@example.org".to_owned()), code: Some("01234567".to_owned()) }
    }
}

/// Where another link and code go.
#[derive(Deserialize, Object)]
#[serde(deny_unknown_fields)]
#[oai(deny_unknown_fields, example)]
struct ResendEmailRequest {
    /// The address.
    #[oai(validator(max_length = 254))]
    email: String,
}

impl Example for ResendEmailRequest {
    fn example() -> Self {
        Self { email: "jane@example.org".to_owned() }
    }
}

/// Another address.
#[derive(Deserialize, Object)]
#[serde(deny_unknown_fields)]
#[oai(deny_unknown_fields, example)]
struct ChangeEmailRequest {
    /// The password.
    password: String,
    /// One plain address.
    #[oai(validator(max_length = 254))]
    email: String,
}

impl Example for ChangeEmailRequest {
    fn example() -> Self {
        Self { password: "demo-password-only".to_owned(), email: "jane@example.org".to_owned() }
    }
}

/// Exactly one of the two.
pub(super) fn proof(token: Option<String>, email: Option<String>, code: Option<String>) -> Result<Proof, Error> {
    let invalid = |pointer, detail| Err(Error::Validation(vec![FieldError::new(pointer, detail)]));
    match (token, email, code) {
        (Some(token), None, None) => Ok(Proof::Link(token)),
        (None, Some(email), Some(code)) => Ok(Proof::Code { email, code }),
        (None, None, None) => invalid("", "must have a token, or an email and a code"),
        (None, Some(_), None) => invalid("/code", "is required"),
        (None, None, Some(_)) => invalid("/email", "is required"),
        (Some(_), ..) => invalid("", "must have either a token, or an email and a code"),
    }
}

#[OpenApi(tag = "Tag::Account")]
impl EmailApi {
    /// Prove the address of an account, with what was mailed to it.
    #[oai(path = "/email/verify", method = "post", operation_id = "verify_email")]
    async fn verify_email(
        &self,
        context: Context,
        body: Body<VerifyEmailRequest>,
    ) -> Result<Done, Refusal<VerifyEmail>> {
        let Context { app, now, client } = context;
        let VerifyEmailRequest { token, email, code } = body.0;
        email::verify(&app, now, client, proof(token, email, code)?).await?;
        Ok(Done::NoContent)
    }

    /// Have the mail that proves an address sent again. The answer is the same whether anybody waits for it.
    #[oai(path = "/email/resend", method = "post", operation_id = "resend_email")]
    async fn resend_email(
        &self,
        context: Context,
        body: Body<ResendEmailRequest>,
    ) -> Result<Heard, Refusal<ResendEmail>> {
        let Context { app, now, client } = context;
        email::resend(&app, now, client, &body.0.email).await?;
        Ok(Heard::Accepted)
    }

    /// Change your address: it changes when the new one is proved, with what is mailed to it.
    #[oai(path = "/email/change", method = "post", operation_id = "change_email")]
    async fn change_email(
        &self,
        caller: Caller,
        context: Context,
        body: Body<ChangeEmailRequest>,
    ) -> Result<Heard, Refusal<ChangeEmail>> {
        let Context { app, now, client } = context;
        let ChangeEmailRequest { password, email } = body.0;
        email::change(&app, now, client, &caller.0, password, &email).await?;
        Ok(Heard::Accepted)
    }
}
