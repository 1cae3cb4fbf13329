use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use super::{Account, SessionId, Time, User, UserId};

/// A session that is alive: what one login opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The `sid` of its access tokens.
    pub id: SessionId,
    /// Whose it is.
    pub user_id: UserId,
    /// Which `SECRET_KEY` made the current refresh token.
    pub secret_id: SecretId,
    /// The login.
    pub created_at: Time,
    /// To the minute.
    pub last_used_at: Time,
    /// When it ends if it is not refreshed.
    pub refresh_expires_at: Time,
    /// When it ends in any case.
    pub expires_at: Time,
    /// Where the login came from.
    pub ip: String,
    /// What the client of the login called itself.
    pub user_agent: Option<String>,
}

/// What each request asks of a session. There are as many in memory as there are sessions in use.
#[derive(Debug)]
pub struct Standing {
    /// Whose it is: the bytes of the account's id.
    pub owner: [u8; 16],
    /// Counts its refresh tokens: which one is current.
    pub generation: i64,
    /// Whether it is known that somebody holds the tokens of this generation.
    pub is_successor_used: bool,
    /// When it ends if nothing happens; none: it was ended, whatever the clock says.
    pub ends_at: Option<Time>,
    /// In unix seconds; moves on without being read again.
    pub last_used_at: AtomicI64,
}

impl Standing {
    /// Whether it has neither been ended nor expired.
    pub fn is_alive(&self, now: Time) -> bool {
        self.ends_at.is_some_and(|at| at > now)
    }

    /// Notes that it is in use. True if that is to be written down: the last time was `precision` seconds ago or more.
    pub fn note_use(&self, now: Time, precision: i64) -> bool {
        let last = self.last_used_at.load(Ordering::Relaxed);
        // One of those who come at once writes it down.
        last.saturating_add(precision) <= now.unix()
            && self.last_used_at.compare_exchange(last, now.unix(), Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

/// Whom a token names: an account, and a session of it. Neither need be there.
#[derive(Debug)]
pub struct Named {
    /// The account.
    pub user_id: UserId,
    /// The session.
    pub session_id: SessionId,
    account_key: Option<[u8; 16]>,
    session_key: Option<[u8; 16]>,
}

impl Named {
    /// These two.
    pub fn new(user_id: UserId, session_id: SessionId) -> Self {
        let (account_key, session_key) = (user_id.to_bytes(), session_id.to_bytes());
        Self { user_id, session_id, account_key, session_key }
    }

    /// The 16 bytes of the account's id, which each one has.
    pub fn account_key(&self) -> Option<[u8; 16]> {
        self.account_key
    }

    /// The 16 bytes of the session's id, which each one has.
    pub fn session_key(&self) -> Option<[u8; 16]> {
        self.session_key
    }
}

/// Who makes an authenticated request.
#[derive(Debug, Clone)]
pub struct Principal {
    /// The account as it is now, not as it was when the token was signed.
    pub account: Arc<Account>,
    /// The account and the session that the token names.
    pub named: Arc<Named>,
}

impl Principal {
    /// The account.
    pub fn user(&self) -> &User {
        &self.account.user
    }

    /// The session that the token belongs to.
    pub fn session_id(&self) -> &SessionId {
        &self.named.session_id
    }
}

/// The check value of a `SECRET_KEY`: tells one from another, and nothing of either.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::Type)]
#[sqlx(transparent)]
pub struct SecretId(String);

impl SecretId {
    /// Wraps text that was derived from a secret.
    pub fn from_text(text: String) -> Self {
        Self(text)
    }
}

/// The random bytes of a session that its refresh tokens' MACs cover. Never printed.
#[derive(Clone, PartialEq, Eq, sqlx::Type)]
#[sqlx(transparent)]
pub struct Salt(Vec<u8>);

impl Salt {
    /// Wraps random bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes.to_vec())
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Salt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Salt(…)")
    }
}
