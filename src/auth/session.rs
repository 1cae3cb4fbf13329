//! Logging in, being recognised afterwards, and ending it.

mod login;

pub use login::{Login, login};

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use super::{
    refresh::RefreshToken,
    rotation,
    token::{AccessToken, Grant, Verified},
};
use crate::{
    app::App,
    error::Error,
    model::{By, Client, Principal, Salt, Session, SessionId, Standing, Time, UserId},
    store::Current,
};

/// How old `last_used_at` may grow before it is written again, in seconds.
const USE_PRECISION: i64 = 60;

/// How many uses are written down in one piece.
const USES: usize = 500;

/// The tokens of a session.
pub struct Opened {
    /// The access token.
    pub access: AccessToken,
    /// The refresh token.
    pub refresh_token: String,
    /// When the session ends if it is not refreshed.
    pub refresh_expires_at: Time,
}

/// The tokens of a session as it is stored. Its refresh token comes out the same each time.
pub(super) fn opened(
    app: &App,
    now: Time,
    session_id: &SessionId,
    current: &Current,
    salt: &Salt,
) -> Result<Opened, Error> {
    let Current { user_id, username, roles, generation, secret_id, refresh_expires_at } = current;
    let (generation, session_expires_at) = (*generation, *refresh_expires_at);
    let grant = Grant { user_id, username, roles, session_id, generation, session_expires_at };
    Ok(Opened {
        access: app.tokens.issue(now, grant)?,
        refresh_token: RefreshToken::issue(&app.secrets, secret_id, session_id, generation, salt)?,
        refresh_expires_at: session_expires_at,
    })
}

/// Recognises the bearer of an access token.
///
/// # Errors
/// [`Error::InvalidToken`], [`Error::InvalidTokenPayload`], [`Error::TokenExpired`], [`Error::UserNotFound`],
/// [`Error::SessionEnded`], and [`Error::StorageUnavailable`] when it cannot be known.
pub async fn authenticate(app: &App, now: Time, client: Client, token: &str) -> Result<Principal, Error> {
    let recognised = recognise(app, now, token).await;
    if let Err(why) = &recognised {
        tracing::warn!(event = "token_refused", reason = %why, address = %client.address);
    }
    recognised
}

async fn recognise(app: &App, now: Time, token: &str) -> Result<Principal, Error> {
    let mut heard = app.store.heard();
    if !app.tokens.is_ring_of(heard) {
        // Another process wrote, and may have revoked a key.
        Box::pin(rotation::reload(app)).await?;
        heard = app.store.heard();
    }
    let verified = app.tokens.verify(now, token)?;
    let (account, session) = app.store.recognise(&verified.named, heard).await?;
    let account = account.ok_or(Error::UserNotFound)?;
    let session = session.filter(|session| session.is_alive(now)).ok_or(Error::SessionEnded)?;
    if account.user.disabled_at.is_some() {
        return Err(Error::SessionEnded);
    }
    note_use(app, now, &verified, &session).await?;
    Ok(Principal { account, named: verified.named.clone() })
}

/// Notes that the session is in use, and writes down that the tokens of its last rotation have arrived: from now on
/// the refresh token before it is a stolen one. What cannot be written is not served.
async fn note_use(app: &App, now: Time, verified: &Verified, session: &Standing) -> Result<(), Error> {
    let is_successor = session.generation > 0 && verified.generation == Some(session.generation);
    if is_successor && !session.is_successor_used {
        // Once a rotation: by itself, as it is large.
        Box::pin(app.store.record_successor(verified.named.session_id.clone(), session.generation, now)).await?;
    }
    if session.note_use(now, USE_PRECISION) {
        app.uses.note(verified.named.session_id.clone(), now);
    }
    Ok(())
}

/// When sessions were last used, until somebody writes it down.
#[derive(Debug, Default)]
pub struct Uses(Mutex<HashMap<SessionId, Time>>);

impl Uses {
    fn note(&self, id: SessionId, now: Time) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id, now);
    }

    fn take(&self) -> Vec<(SessionId, Time)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).drain().collect()
    }
}

/// Writes down when sessions were last used, many at once. What cannot be written is lost.
///
/// # Errors
/// [`Error::StorageUnavailable`]
pub async fn record_uses(app: &App) -> Result<(), Error> {
    // In pieces: who wants to log in meanwhile does not wait for all of them.
    for uses in app.uses.take().chunks(USES) {
        app.store.record_uses(uses.to_vec()).await?;
    }
    Ok(())
}

/// The sessions of the caller that are alive, the newest first.
///
/// # Errors
/// [`Error::StorageUnavailable`]
pub async fn list(app: &App, now: Time, caller: &Principal) -> Result<Vec<Session>, Error> {
    if let Err(error) = record_uses(app).await {
        tracing::warn!(event = "uses_not_recorded", %error);
    }
    Ok(app.store.sessions_of(&caller.user().id, now).await?)
}

/// The sessions of an account that are alive, the newest first.
///
/// # Errors
/// [`Error::NotFound`], [`Error::StorageUnavailable`]
pub async fn list_of(app: &App, now: Time, user_id: &UserId) -> Result<Vec<Session>, Error> {
    app.store.credentials_by_id(user_id).await?.ok_or(Error::NotFound)?;
    Ok(app.store.sessions_of(user_id, now).await?)
}

/// Ends all sessions of an account for an admin.
///
/// # Errors
/// [`Error::NotFound`], [`Error::StorageUnavailable`]
pub async fn end_for(app: &App, now: Time, by: &By, user_id: &UserId) -> Result<(), Error> {
    app.store.credentials_by_id(user_id).await?.ok_or(Error::NotFound)?;
    end_all_of(app, now, by, user_id, None).await
}

impl Principal {
    /// Sees to it that the caller has a role, now.
    ///
    /// # Errors
    /// [`Error::InsufficientRole`]
    pub fn require(&self, role: &str) -> Result<(), Error> {
        if self.user().roles.has(role) { Ok(()) } else { Err(Error::InsufficientRole) }
    }
}

/// Ends a session of the caller, whichever that is. Somebody else's, or none, stays as it is.
///
/// # Errors
/// [`Error::StorageUnavailable`]
pub async fn end(app: &App, now: Time, client: Client, caller: &Principal, id: SessionId) -> Result<(), Error> {
    let entry = caller.by(client).does("session_ended", now);
    if app.store.end_session(Some(caller.user().id.clone()), id.clone(), entry).await? {
        tracing::info!(event = "session_ended", user_id = %caller.user().id, session_id = %id);
    }
    Ok(())
}

/// Ends all sessions of an account, but for one.
///
/// # Errors
/// [`Error::StorageUnavailable`]
pub async fn end_all_of(
    app: &App,
    now: Time,
    by: &By,
    user_id: &UserId,
    except: Option<SessionId>,
) -> Result<(), Error> {
    let count = app.store.end_sessions_of(user_id.clone(), except, by.does("sessions_ended", now)).await?;
    tracing::info!(event = "sessions_ended", %user_id, count, by = by.name());
    Ok(())
}

/// Ends whosever session this is, for the operator. False: there is none, or it had ended.
///
/// # Errors
/// [`Error::StorageUnavailable`]
pub async fn end_any(app: &App, now: Time, id: SessionId) -> Result<bool, Error> {
    let entry = By::operator().does("session_ended", now);
    let has_ended = app.store.end_session(None, id.clone(), entry).await?;
    if has_ended {
        tracing::info!(event = "session_ended", session_id = %id);
    }
    Ok(has_ended)
}

/// Ends every session there is, for the operator.
///
/// # Errors
/// [`Error::StorageUnavailable`]
pub async fn end_every(app: &App, now: Time) -> Result<(), Error> {
    let count = app.store.end_every_session(By::operator().does("every_session_ended", now)).await?;
    tracing::warn!(event = "every_session_ended", count);
    Ok(())
}

/// Ends the session of an access token, which may have expired, or of a refresh token, whichever generation it is;
/// of both, if there are both. A session that has ended is no failure.
///
/// # Errors
/// [`Error::NotAuthenticated`] without either, [`Error::InvalidToken`], [`Error::InvalidTokenPayload`],
/// [`Error::StorageUnavailable`]
pub async fn logout(
    app: &App,
    now: Time,
    client: Client,
    access: Option<&str>,
    refresh: Option<&str>,
) -> Result<(), Error> {
    if access.is_none() && refresh.is_none() {
        return Err(Error::NotAuthenticated);
    }
    let mut ending = Vec::new();
    if let Some(token) = access {
        let named = &app.tokens.verify_past(now, token)?.named;
        ending.push((named.user_id.clone(), named.session_id.clone()));
    }
    if let Some(token) = refresh {
        let token = RefreshToken::parse(token).ok_or(Error::InvalidToken)?;
        let check = app.store.refresh_check(&token.session_id).await?.ok_or(Error::InvalidToken)?;
        if !token.is_genuine(&app.secrets, &check) {
            return Err(Error::InvalidToken);
        }
        ending.push((check.user_id, token.session_id));
    }
    for (user_id, id) in ending {
        let entry = By::user(user_id.clone(), client).does("logout", now);
        if app.store.end_session(Some(user_id), id.clone(), entry).await? {
            tracing::info!(event = "logout", session_id = %id, address = %client.address);
        }
    }
    Ok(())
}
