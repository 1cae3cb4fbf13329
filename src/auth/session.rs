//! Logging in, and being recognised afterwards.

use super::{hasher::Verdict, password::Password, random, token::AccessToken};
use crate::{
    app::App,
    error::Error,
    model::{Client, Credentials, Email, PasswordHash, Principal, SessionId, Time, Username},
};

/// Checks a name (or verified address) and a password, and opens a session.
///
/// Whatever refuses it, the work and the answer are the same.
///
/// # Errors
/// [`Error::InvalidCredentials`], [`Error::Overloaded`], [`Error::StorageUnavailable`]
pub async fn login(app: &App, now: Time, client: Client, name: &str, password: String) -> Result<AccessToken, Error> {
    let found = find(app, name).await?;
    let stored = found.as_ref().and_then(|found| found.password_hash.clone());
    let password = Password::parse(password).ok();
    // The account's state is judged with the hash, and told by nothing: sooner, time would tell.
    let barred = found.as_ref().is_some_and(|found| found.user.disabled_at.is_some());
    let verdict = app.hasher.verify(password.clone(), stored.clone(), barred).await?;

    let refused = |reason: &'static str| {
        // Not the name: people type their password into that field.
        let user_id = found.as_ref().map(|found| found.user.id.as_str());
        tracing::warn!(event = "login_failed", reason, user_id, address = %client.address);
        Error::InvalidCredentials
    };
    let outdated = match verdict {
        Verdict::Match { outdated } => outdated,
        Verdict::Barred => return Err(refused("disabled")),
        Verdict::Mismatch => return Err(refused(if found.is_some() { "password" } else { "unknown" })),
        Verdict::Unusable => {
            tracing::error!(event = "password_hash_unusable", user_id = found.as_ref().map(|f| f.user.id.as_str()));
            return Err(refused("hash"));
        }
    };
    let (Some(account), Some(password), Some(stored)) = (&found, password, stored) else {
        return Err(refused("unknown"));
    };
    let stronger = if outdated { rehash(app, password).await } else { None };
    let user = account.user.clone();
    if !app.store.record_login(user.id.clone(), stored, stronger, now).await? {
        return Err(refused("changed"));
    }
    let session_id: SessionId = random::id(now)?;
    let token = app.tokens.issue(now, &user, &session_id)?;
    tracing::info!(event = "login", user_id = %user.id, session_id = %session_id, address = %client.address);
    Ok(token)
}

/// A name with an `@` is an address, any other a user name: neither can be the other. What can be neither is
/// looked for all the same, and not found.
async fn find(app: &App, name: &str) -> Result<Option<Credentials>, Error> {
    let (username, email) = (Username::key(name).ok(), Email::parse(name).ok());
    Ok(app.store.credentials(username.as_deref(), email.as_ref().map(Email::as_key)).await?)
}

/// A login does not fail because its hash could not be renewed: the next one will try again.
async fn rehash(app: &App, password: Password) -> Option<PasswordHash> {
    app.hasher.hash(password).await.ok()
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
    let verified = app.tokens.verify(now, token)?;
    let user = app.store.user_by_id(&verified.user_id).await?.ok_or(Error::UserNotFound)?;
    if user.disabled_at.is_some() {
        return Err(Error::SessionEnded);
    }
    Ok(Principal { user, session_id: verified.session_id })
}
