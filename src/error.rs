//! The one error of the rules: each variant is for the caller to see, or a failure whose source is for the log.

use crate::store;

type Source = Box<dyn std::error::Error + Send + Sync>;

/// Why a request was not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A login was refused. Whatever the reason, this is all that is told.
    #[error("invalid user name or password")]
    InvalidCredentials,
    /// No bearer token.
    #[error("not authenticated")]
    NotAuthenticated,
    /// A token of ours, past its `exp`.
    #[error("token expired")]
    TokenExpired,
    /// Forged, malformed, of another type, issuer or audience.
    #[error("invalid token")]
    InvalidToken,
    /// Well signed, but without a `sub` that could name an account.
    #[error("invalid token payload")]
    InvalidTokenPayload,
    /// Well signed, but the account is gone.
    #[error("user not found")]
    UserNotFound,
    /// Well signed, but the session was ended or the account disabled.
    #[error("session ended")]
    SessionEnded,
    /// A refresh token that is unknown, expired, was used before, or whose session ended.
    #[error("invalid refresh token")]
    InvalidRefreshToken,
    /// A mailed token or code that is unknown, used, expired or voided.
    #[error("invalid or expired code")]
    InvalidCode,
    /// The caller's current password is another one.
    #[error("wrong password")]
    WrongPassword,
    /// The caller has not the role that this takes.
    #[error("not enough permissions")]
    InsufficientRole,
    /// What it was to be done to is not there.
    #[error("not found")]
    NotFound,
    /// There would be no admin left that can log in.
    #[error("the last admin")]
    LastAdmin,
    /// The operation does not take these values.
    #[error("validation failed")]
    Validation(Vec<FieldError>),
    /// Somebody has this user name.
    #[error("user name taken")]
    UsernameTaken,
    /// Another account has proved this address. For admins only: nobody else is told.
    #[error("e-mail address taken")]
    EmailTaken,
    /// Throttled. Tells nothing of what was tried.
    #[error("too many attempts")]
    TooManyAttempts {
        /// Seconds after which another try may be let in.
        retry_after: u32,
    },
    /// The hashing queue is full; the work was not begun.
    #[error("overloaded")]
    Overloaded,
    /// The database cannot be read or written now.
    #[error("storage unavailable")]
    StorageUnavailable(#[source] Source),
    /// A bug.
    #[error("internal error")]
    Internal(#[source] Source),
}

/// One thing that is wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// Where: a JSON pointer (RFC 6901) into the body.
    pub pointer: String,
    /// What it has to be. Never holds what was sent.
    pub detail: String,
}

impl FieldError {
    /// What is wrong at a pointer.
    pub fn new(pointer: impl Into<String>, detail: impl std::fmt::Display) -> Self {
        Self { pointer: pointer.into(), detail: detail.to_string() }
    }
}

impl Error {
    /// A bug, with what is known of it.
    pub fn internal(source: impl Into<Source>) -> Self {
        Self::Internal(source.into())
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::Unavailable(source) => Self::StorageUnavailable(Box::new(source)),
            store::Error::Internal(source) => Self::Internal(Box::new(source)),
            store::Error::Ended => Self::SessionEnded,
            store::Error::Demoted => Self::InsufficientRole,
        }
    }
}
