//! Errors on the wire: `application/problem+json` (RFC 9457).
//!
//! A problem travels inside an error, unwritten; `edge` writes it, with the request's id. What a client
//! reads is text of this file, never of a library.

use std::{borrow::Cow, marker::PhantomData};

use poem::http::StatusCode;
use poem_openapi::{
    ApiResponse, Enum, Object,
    registry::{MetaHeader, MetaMediaType, MetaResponse, MetaResponses, Registry},
    types::Type,
};
use serde::Serialize;

use crate::error::Error;

/// What went wrong, for programs. Codes are only ever added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum, Serialize)]
#[oai(rename = "ProblemCode", rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
#[expect(clippy::enum_variant_names, reason = "they are named as on the wire")]
pub enum Code {
    InvalidCredentials,
    NotAuthenticated,
    TokenExpired,
    InvalidToken,
    InvalidTokenPayload,
    UserNotFound,
    SessionEnded,
    InvalidRequest,
    MalformedJson,
    ValidationFailed,
    UsernameTaken,
    NotFound,
    MethodNotAllowed,
    UnsupportedMediaType,
    PayloadTooLarge,
    RequestTimeout,
    Overloaded,
    StorageUnavailable,
    InternalError,
    InvalidRefreshToken,
    WrongPassword,
    LastAdmin,
    InsufficientRole,
    InvalidCode,
    EmailTaken,
    TooManyAttempts,
}

impl Code {
    /// As it is written.
    pub(super) fn name(self) -> String {
        // An enum without data is written as a string.
        serde_json::to_value(self).ok().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
    }
}

/// A problem before it is written.
#[derive(Debug, Clone)]
pub struct Problem {
    pub(super) status: StatusCode,
    pub(super) code: Code,
    pub(super) detail: Cow<'static, str>,
    pub(super) errors: Vec<Invalid>,
    /// Seconds after which another try makes sense.
    pub(super) retry_after: Option<u32>,
    /// The methods that the path has.
    pub(super) allow: Option<Cow<'static, str>>,
}

/// A problem as it is written.
#[derive(Debug, Object, Serialize)]
#[oai(rename = "Problem")]
pub struct Written {
    /// Always `about:blank`: `code` tells problems apart.
    #[oai(rename = "type")]
    #[serde(rename = "type")]
    kind: String,
    /// The status in words.
    title: String,
    /// The status.
    status: u16,
    /// What went wrong, for people.
    detail: String,
    /// What went wrong, for programs.
    code: Code,
    /// Stands in the server's log beside what the server knows.
    request_id: String,
    /// What is wrong with the values, if that is the problem.
    #[oai(skip_serializing_if_is_none)]
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<Vec<Invalid>>,
}

/// One value that the operation does not take.
#[derive(Debug, Clone, Object, Serialize)]
#[oai(rename = "InvalidValue")]
pub struct Invalid {
    /// Where in the body: a JSON pointer (RFC 6901).
    pub pointer: String,
    /// What it has to be.
    pub detail: String,
}

impl Problem {
    /// A problem without more to say than its detail.
    pub fn new(status: StatusCode, code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { status, code, detail: detail.into(), errors: Vec::new(), retry_after: None, allow: None }
    }

    /// A bug.
    pub fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, Code::InternalError, "Something went wrong on the server")
    }

    /// The body.
    pub(super) fn write(&self, request_id: &str) -> Vec<u8> {
        let written = Written {
            kind: "about:blank".to_owned(),
            title: self.status.canonical_reason().unwrap_or("Error").to_owned(),
            status: self.status.as_u16(),
            detail: self.detail.clone().into_owned(),
            code: self.code,
            request_id: request_id.to_owned(),
            errors: (!self.errors.is_empty()).then(|| self.errors.clone()),
        };
        serde_json::to_vec(&written).unwrap_or_default()
    }

    /// `WWW-Authenticate` (RFC 6750, section 3): bare without a bearer token, with what is wrong otherwise.
    pub(super) fn challenge(&self) -> Option<String> {
        match self.code {
            // RFC 9110, section 15.5.2 asks for a challenge on every 401.
            Code::NotAuthenticated | Code::InvalidCredentials | Code::InvalidRefreshToken => Some("Bearer".to_owned()),
            Code::WrongPassword | Code::InsufficientRole => Some(r#"Bearer error="insufficient_scope""#.to_owned()),
            Code::TokenExpired
            | Code::InvalidToken
            | Code::InvalidTokenPayload
            | Code::UserNotFound
            | Code::SessionEnded => {
                Some(format!(r#"Bearer error="invalid_token", error_description="{}""#, self.detail))
            }
            _ => None,
        }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let unauthorized = |code, detail: &'static str| Self::new(StatusCode::UNAUTHORIZED, code, detail);
        let unavailable = |code, detail: &'static str| Self {
            retry_after: Some(1),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail)
        };
        match error {
            Error::InvalidCredentials => unauthorized(Code::InvalidCredentials, "Invalid username or password"),
            Error::NotAuthenticated => unauthorized(Code::NotAuthenticated, "Not authenticated"),
            Error::TokenExpired => unauthorized(Code::TokenExpired, "Token expired"),
            Error::InvalidToken => unauthorized(Code::InvalidToken, "Invalid token"),
            Error::InvalidTokenPayload => unauthorized(Code::InvalidTokenPayload, "Invalid token payload"),
            Error::UserNotFound => unauthorized(Code::UserNotFound, "User not found"),
            Error::SessionEnded => unauthorized(Code::SessionEnded, "Session ended"),
            Error::InvalidRefreshToken => unauthorized(Code::InvalidRefreshToken, "Invalid refresh token"),
            Error::WrongPassword => Self::new(StatusCode::FORBIDDEN, Code::WrongPassword, "Wrong password"),
            Error::InsufficientRole => {
                Self::new(StatusCode::FORBIDDEN, Code::InsufficientRole, "Not enough permissions")
            }
            Error::NotFound => Self::new(StatusCode::NOT_FOUND, Code::NotFound, "There is no such object"),
            Error::LastAdmin => {
                Self::new(StatusCode::CONFLICT, Code::LastAdmin, "There would be no admin left that can log in")
            }
            Error::Validation(errors) => Self {
                errors: errors.into_iter().map(|e| Invalid { pointer: e.pointer, detail: e.detail }).collect(),
                ..Self::new(
                    StatusCode::UNPROCESSABLE_ENTITY,
                    Code::ValidationFailed,
                    "The request has values that the operation does not take",
                )
            },
            Error::UsernameTaken => Self::new(StatusCode::CONFLICT, Code::UsernameTaken, "Somebody has this user name"),
            Error::InvalidCode => Self::new(StatusCode::BAD_REQUEST, Code::InvalidCode, "Invalid or expired code"),
            Error::EmailTaken => Self::new(StatusCode::CONFLICT, Code::EmailTaken, "Somebody has proved this address"),
            Error::TooManyAttempts { retry_after } => Self {
                retry_after: Some(retry_after),
                ..Self::new(StatusCode::TOO_MANY_REQUESTS, Code::TooManyAttempts, "Too many attempts; try again later")
            },
            Error::Overloaded => unavailable(Code::Overloaded, "Too many passwords are being checked; try again"),
            Error::StorageUnavailable(source) => {
                tracing::error!(event = "storage_unavailable", error = %source);
                unavailable(Code::StorageUnavailable, "The database is not available; try again")
            }
            Error::Internal(source) => {
                tracing::error!(event = "internal_error", error = %source);
                Self::internal()
            }
        }
    }
}

impl From<Problem> for poem::Error {
    fn from(problem: Problem) -> Self {
        let mut error = Self::from_status(problem.status);
        error.set_data(problem);
        error
    }
}

/// The statuses with which an operation refuses, for the document.
pub trait Statuses: Send + Sync + 'static {
    /// In rising order.
    const STATUSES: &'static [u16];
}

/// Names sets of statuses: `statuses! { Login: 400, 401; Me: 401 }`.
macro_rules! statuses {
    ($($name:ident: $($status:literal),+;)+) => { $(
        pub(super) enum $name {}
        impl $crate::api::problem::Statuses for $name {
            const STATUSES: &'static [u16] = &[$($status),+];
        }
    )+ };
}
pub(super) use statuses;

/// What an operation answers when it does not do what was asked: a problem of one of `S`'s statuses.
#[derive(Debug)]
pub struct Refusal<S>(Problem, PhantomData<S>);

impl<S> From<Error> for Refusal<S> {
    fn from(error: Error) -> Self {
        Self(error.into(), PhantomData)
    }
}

impl<S> From<Refusal<S>> for poem::Error {
    fn from(refusal: Refusal<S>) -> Self {
        refusal.0.into()
    }
}

impl<S: Statuses> ApiResponse for Refusal<S> {
    fn meta() -> MetaResponses {
        MetaResponses { responses: S::STATUSES.iter().map(|status| describe(*status)).collect() }
    }

    fn register(registry: &mut Registry) {
        Written::register(registry);
    }
}

fn describe(status: u16) -> MetaResponse {
    let description = match status {
        400 => {
            "Not JSON, a member given twice, two Authorization headers, or a mailed token or code that does not count"
        }
        401 => "Not recognised",
        403 => "Not enough permissions, or not the caller's password",
        404 => "There is no such object",
        408 => "The body did not arrive in time",
        409 => "Taken, or the last of its kind",
        413 => "The body is too large",
        415 => "The body is not `application/json`",
        422 => "Values that the operation does not take",
        429 => "Too many attempts",
        503 => "Not now: overloaded, or the database is not available",
        _ => "A bug",
    };
    let header = |name: &str, description: &str| MetaHeader {
        name: name.to_owned(),
        description: Some(description.to_owned()),
        required: true,
        deprecated: false,
        schema: String::schema_ref(),
    };
    let headers = match status {
        401 | 403 => vec![header("WWW-Authenticate", "RFC 6750, section 3")],
        429 | 503 => vec![header("Retry-After", "Seconds")],
        _ => Vec::new(),
    };
    MetaResponse {
        description,
        status: Some(status),
        status_range: None,
        content: vec![MetaMediaType { content_type: "application/problem+json", schema: Written::schema_ref() }],
        headers,
    }
}
