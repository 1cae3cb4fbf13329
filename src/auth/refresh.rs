//! Refresh tokens: opaque to their holder, checked without being stored.
//!
//! `version ‖ session id ‖ generation ‖ HMAC-SHA-256(key, version ‖ session id ‖ generation ‖ salt)`, in fixed
//! widths, as base64url. The key is derived from `SECRET_KEY`, the salt is the session's own. So a stolen database
//! holds no usable token, the current token can be issued again though it is not kept, and a forged one is refused
//! before it can end anybody's session.

use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{
    secrets::{Derived, Secrets},
    session::{self, Opened},
};
use crate::{
    app::App,
    error::Error,
    model::{By, Client, Salt, SecretId, SessionId, Time},
    store::{Check, Outcome, Return},
};

const VERSION: u8 = 1;

/// In bytes: version, session id, generation.
const NAMED: usize = 1 + 16 + 8;

/// In bytes: with the MAC.
const LENGTH: usize = NAMED + 32;

/// How long an answer that was lost can be asked for again, in seconds: a night and a day.
const LOST: i64 = 24 * 60 * 60;

/// How far a clock may step back before a token that was used is one that comes from the future, in seconds.
const STEP: i64 = 30;

/// A refresh token that is well formed. Whether it was ever issued is told by [`is_genuine`](Self::is_genuine).
pub struct RefreshToken {
    bytes: [u8; LENGTH],
    /// The session that it names.
    pub session_id: SessionId,
    /// Which of the session's refresh tokens it is.
    pub generation: i64,
}

impl RefreshToken {
    /// Takes it apart.
    pub fn parse(text: &str) -> Option<Self> {
        // Padding, other alphabets and stray bits are refused: a token has one spelling.
        let mut bytes = [0; LENGTH];
        if URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()? != LENGTH {
            return None;
        }
        let (&[version], rest) = bytes.split_first_chunk()?;
        let (session_id, rest) = rest.split_first_chunk()?;
        let (generation, _) = rest.split_first_chunk()?;
        let generation = i64::try_from(u64::from_be_bytes(*generation)).ok()?;
        (version == VERSION).then_some(Self { session_id: SessionId::from_bytes(*session_id), generation, bytes })
    }

    /// Whether this secret made it, for the session with this salt. Compares in constant time.
    fn is_made_by(&self, secret: &Derived, salt: &Salt) -> bool {
        let (named, mac) = self.bytes.split_at(NAMED);
        hmac::verify(&secret.refresh, &[named, salt.as_bytes()].concat(), mac).is_ok()
    }

    /// Whether we made it, for the session that is checked so.
    ///
    /// The secret before the current one made no token of a generation later than when the session moved over.
    pub fn is_genuine(&self, secrets: &Secrets, check: &Check) -> bool {
        let may_have_made = |secret: &&Derived| {
            secret.id == secrets.current.id || secret.id == check.secret_id || self.generation < check.generation
        };
        secrets.all().filter(may_have_made).any(|secret| self.is_made_by(secret, &check.salt))
    }

    /// Makes one, under the secret with this check value.
    ///
    /// # Errors
    /// [`Error::InvalidRefreshToken`] if that secret is gone, [`Error::Internal`] if the id is no UUID.
    pub fn issue(
        secrets: &Secrets,
        secret_id: &SecretId,
        session_id: &SessionId,
        generation: i64,
        salt: &Salt,
    ) -> Result<String, Error> {
        let secret = secrets.by_id(secret_id).ok_or(Error::InvalidRefreshToken)?;
        let id = session_id.to_bytes().ok_or_else(|| Error::internal("a session's id is no UUID"))?;
        let generation = u64::try_from(generation).map_err(Error::internal)?;
        let named = [&[VERSION], id.as_slice(), &generation.to_be_bytes()].concat();
        let mac = hmac::sign(&secret.refresh, &[&named, salt.as_bytes()].concat());
        Ok(URL_SAFE_NO_PAD.encode([&named, mac.as_ref()].concat()))
    }
}

/// Gives the holder of a session's current refresh token the next one, with a new access token.
///
/// The one before the current one is answered with the current one: for some seconds in any case (a second browser
/// tab), and for a day while nobody has used it (an answer that was lost). An older one ends its session.
///
/// # Errors
/// [`Error::InvalidRefreshToken`], [`Error::TooManyAttempts`], [`Error::StorageUnavailable`]
pub async fn refresh(app: &App, now: Time, client: Client, text: &str) -> Result<Opened, Error> {
    app.limits.refresh(app.clock.tick(), client).inspect_err(|_| app.metrics.refresh("throttled"))?;
    let refused = |reason: &'static str, session_id: Option<&SessionId>| {
        let session_id = session_id.map(SessionId::as_str);
        app.metrics.refresh(reason);
        tracing::warn!(event = "refresh_refused", reason, session_id, address = %client.address);
        Error::InvalidRefreshToken
    };
    let token = RefreshToken::parse(text).ok_or_else(|| refused("malformed", None))?;
    let salt = app.store.salt(&token.session_id).await?.ok_or_else(|| refused("unknown", None))?;
    // What another secret may have made is for the database to tell.
    if !token.is_made_by(&app.secrets.current, &salt) {
        let check = app.store.refresh_check(&token.session_id).await?.ok_or_else(|| refused("unknown", None))?;
        if !token.is_genuine(&app.secrets, &check) {
            return Err(refused("forged", None));
        }
    }
    let id = token.session_id.clone();
    // Of whom, the thief or the owner, it cannot be told.
    let entry = By::client(client).does("refresh_reused", now);
    let (outcome, event, current) = match app.store.rotate_session(returned(app, now, token)?, entry).await? {
        Outcome::Rotated(current) => ("rotated", "refresh", current),
        Outcome::Retried(current) => ("retried", "refresh_retried", current),
        Outcome::Reused(user_id) => {
            app.metrics.refresh("reused");
            tracing::warn!(event = "refresh_reused", %user_id, session_id = %id, address = %client.address);
            return Err(Error::InvalidRefreshToken);
        }
        Outcome::Refused => return Err(refused("ended", Some(&id))),
    };
    app.metrics.refresh(outcome);
    tracing::info!(event, user_id = %current.user_id, session_id = %id, address = %client.address);
    session::opened(app, now, &id, &current, &salt)
}

/// What the store has to know to judge it.
fn returned(app: &App, now: Time, token: RefreshToken) -> Result<Return, Error> {
    let seconds = |time: std::time::Duration| i64::try_from(time.as_secs()).map_err(Error::internal);
    let reuse = seconds(app.config.refresh_reuse)?;
    // Zero: whatever was used once is served no more.
    let never = Time::from_unix(i64::MAX);
    Ok(Return {
        id: token.session_id,
        generation: token.generation,
        now,
        refresh_expires_at: now.plus(seconds(app.config.refresh_token_ttl)?),
        secret_id: app.secrets.current.id.clone(),
        retry_since: if reuse == 0 { never } else { now.plus(-reuse) },
        retry_until: now.plus(STEP),
        lost_since: if reuse == 0 { never } else { now.plus(-LOST) },
    })
}
