use super::{SessionId, Time, User, UserId};

/// A session: what one login opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The `sid` of its access tokens.
    pub id: SessionId,
    /// Whose it is.
    pub user_id: UserId,
    /// Counts its refresh tokens: which one is current.
    pub generation: i64,
    /// When the current one was made.
    pub rotated_at: Time,
    /// Since when it is known that somebody holds the tokens of this generation.
    pub successor_used_at: Option<Time>,
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
    /// When it was ended.
    pub ended_at: Option<Time>,
    /// Where the login came from.
    pub ip: String,
    /// What the client of the login called itself.
    pub user_agent: Option<String>,
}

impl Session {
    /// Whether it has neither been ended nor expired.
    pub fn is_alive(&self, now: Time) -> bool {
        self.ended_at.is_none() && self.refresh_expires_at > now && self.expires_at > now
    }
}

/// Who makes an authenticated request.
#[derive(Debug, Clone)]
pub struct Principal {
    /// The account as it is now, not as it was when the token was signed.
    pub user: User,
    /// The session that the token belongs to.
    pub session: Session,
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
