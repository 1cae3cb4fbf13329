//! Addresses: claiming one, proving it, and changing to another.

use super::{account, code::Proof, outbox};
use crate::{
    app::App,
    error::{Error, FieldError},
    model::{By, Client, Email, MailKind, Principal, Purpose, Time, UserId},
    store::Try,
};

/// Makes the address that an account claims its own, for who shows that he reads its mail.
///
/// # Errors
/// [`Error::TooManyAttempts`], [`Error::InvalidCode`], [`Error::Validation`], [`Error::StorageUnavailable`]
pub async fn verify(app: &App, now: Time, client: Client, proof: Proof) -> Result<(), Error> {
    app.limits.code(app.clock.tick(), client)?;
    let shown = proof.present(&app.secrets, Purpose::Verify)?;
    let tried = app.store.verify_email(shown, outbox::notice(app, now)?, By::client(client), now).await?;
    let proved = right(app, now, client, tried, Purpose::Verify)?;
    let event = if proved.is_change { "email_changed" } else { "email_verified" };
    tracing::info!(event, user_id = %proved.user_id, address = %client.address);
    lost(&proved.others, client);
    Ok(())
}

/// Mails another link and code to an address that an account claims, if there is one. Whether there is, nobody is told.
///
/// # Errors
/// [`Error::Validation`], [`Error::StorageUnavailable`]
pub async fn resend(app: &App, now: Time, client: Client, email: &str) -> Result<(), Error> {
    outbox::ask(app, now, client, MailKind::Verify, parse(email)?).await
}

/// Notes that the caller wants another address, and mails a link and a code to that. The password is needed. What was
/// mailed to the caller before is void.
///
/// # Errors
/// [`Error::TooManyAttempts`], [`Error::Validation`], [`Error::WrongPassword`], [`Error::SessionEnded`] if it ended meanwhile,
/// [`Error::Overloaded`], [`Error::StorageUnavailable`]
pub async fn change(
    app: &App,
    now: Time,
    client: Client,
    caller: &Principal,
    password: String,
    email: &str,
) -> Result<(), Error> {
    let email = parse(email)?;
    let (user, session_id) = (caller.user(), caller.session_id());
    let verified = account::verify_own(app, now, client, caller, password).await?;
    let mail = outbox::new(app, now, client, MailKind::Verify, Some(user.id.clone()), email.clone())?;
    let entry = caller.by(client).does("email_claimed", now);
    if !app.store.claim_email(user.id.clone(), verified, session_id.clone(), email, mail, entry).await? {
        return Err(Error::SessionEnded);
    }
    tracing::info!(event = "email_claimed", user_id = %user.id, address = %client.address);
    Ok(())
}

/// Logs whose claims another one's proof ended.
pub(super) fn lost(others: &[UserId], client: Client) {
    for user_id in others {
        tracing::info!(event = "claim_lost", %user_id, address = %client.address);
    }
}

/// # Errors
/// [`Error::Validation`]
pub(super) fn parse(email: &str) -> Result<Email, Error> {
    Email::parse(email).map_err(|why| Error::Validation(vec![FieldError::new("/email", why)]))
}

/// What somebody was right to show.
///
/// # Errors
/// [`Error::InvalidCode`]
pub(super) fn right<T>(app: &App, now: Time, client: Client, tried: Try<T>, purpose: Purpose) -> Result<T, Error> {
    let kind = purpose.name();
    match tried {
        Try::Right(found) => return Ok(found),
        Try::Wrong => {
            tracing::warn!(event = "code_refused", kind, address = %client.address);
            app.refusals.note(By::client(client).does("code_refused", now).refused(kind));
        }
        Try::Voided(user_id) => tracing::warn!(event = "code_voided", kind, %user_id, address = %client.address),
    }
    Err(Error::InvalidCode)
}
