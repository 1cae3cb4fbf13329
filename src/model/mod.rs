//! The nouns: ids, times, names, accounts. Every room may use them; they know no HTTP, no rule and no SQL.
//!
//! What the database holds derives `sqlx::Type` as a transparent newtype, so that one declaration serves
//! every engine.

mod algorithm;
mod audit;
mod cost;
mod email;
mod ids;
mod key;
mod mail;
mod roles;
mod session;
mod time;
mod username;

use std::{fmt, net::IpAddr, sync::OnceLock};

pub use algorithm::Algorithm;
pub use audit::{Audited, By, DONE, Entry};
pub use cost::Cost;
pub use email::{Email, InvalidEmail};
pub use ids::{MailId, SessionId, UserId};
pub use key::StoredKey;
pub use mail::{CodeHash, LinkHash, MailKind, Presented, Purpose};
pub use roles::{ADMIN, InvalidRole, Roles};
pub use session::{Named, Principal, Salt, SecretId, Session, Standing};
pub use time::{Tick, Time};
pub use username::{InvalidName, Username, WORD_JOINER};

/// An account, without its secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Never reassigned, not even to a new account of the same name.
    pub id: UserId,
    /// As the person writes it.
    pub username: String,
    /// As the person writes it: the address that the owner proved, or else the one that the account claims.
    pub email: Option<String>,
    /// When the owner proved it. None: it is a claim, which proves and reserves nothing.
    pub email_verified_at: Option<Time>,
    /// What the account may do.
    pub roles: Roles,
    /// When the account was made.
    pub created_at: Time,
    /// Since when the account may not log in.
    pub disabled_at: Option<Time>,
    /// The last login with a password.
    pub last_login_at: Option<Time>,
}

/// An account in memory.
#[derive(Debug)]
pub struct Account {
    /// The account.
    pub user: User,
    /// What its owner is shown of it, once that has been written. It goes with the account when that changes.
    pub shown: OnceLock<Vec<u8>>,
}

impl From<User> for Account {
    fn from(user: User) -> Self {
        Self { user, shown: OnceLock::new() }
    }
}

/// The stored form of a password: a PHC string of ours, or what another program made. Never printed.
#[derive(Clone, PartialEq, Eq, sqlx::Type)]
#[sqlx(transparent)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// Takes the text as it is; whoever verifies against it parses and bounds it.
    pub fn from_text(text: String) -> Self {
        Self(text)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

/// An account and the hash that its password must match.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// The account.
    pub user: User,
    /// None: the account has no password, so none matches.
    pub password_hash: Option<PasswordHash>,
}

/// Where a request comes from, for events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    /// The socket's address, or what a trusted proxy says.
    pub address: IpAddr,
    /// The request.
    pub request: RequestId,
}

/// The name of a request: what its answer carries as `X-Request-Id`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestId {
    /// The process that answers, by a random number.
    pub process: u64,
    /// Which one it is there.
    pub number: u64,
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{:x}", self.process, self.number)
    }
}
