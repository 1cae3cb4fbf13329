//! Getting back in without the password, by what is mailed.

use super::{
    account,
    code::Proof,
    email::{lost, parse, right},
    outbox,
};
use crate::{
    app::App,
    error::Error,
    model::{By, Client, MailKind, Purpose, Time, User},
    store::Try,
};

/// Mails a link and a code to an address, for the account that has proved it, or else for the one that claimed it last, if
/// there is one. Whether there is, nobody is told. It changes nothing about the account.
///
/// # Errors
/// [`Error::Validation`], [`Error::StorageUnavailable`]
pub async fn forgot(app: &App, now: Time, client: Client, email: &str) -> Result<(), Error> {
    outbox::ask(app, now, client, MailKind::Reset, parse(email)?).await
}

/// Gives an account another password, for who shows that he reads its mail. Every session ends, and nothing that was set
/// or mailed before counts any more. It does not log in.
///
/// # Errors
/// [`Error::TooManyAttempts`], [`Error::InvalidCode`], [`Error::Validation`], [`Error::Overloaded`],
/// [`Error::StorageUnavailable`]
pub async fn reset(app: &App, now: Time, client: Client, proof: Proof, new_password: String) -> Result<(), Error> {
    app.limits.code(app.clock.tick(), client)?;
    let shown = proof.present(&app.secrets, Purpose::Reset)?;
    // What is no password for anybody costs no try.
    let password = account::choose_for_somebody(app, new_password, "/new_password")?;
    let by = By::client(client);
    let tried = app.store.try_code(Purpose::Reset, shown.clone(), by.clone(), now).await?;
    let found = right(app, now, client, tried, Purpose::Reset)?;
    account::check_for(app, &found.user, &password, "/new_password")?;
    let hash = app.hasher.hash(password).await?;
    let notices = outbox::notice(app, now)?.zip(outbox::notice(app, now)?).map(<[_; 2]>::from);
    let Some(done) = app.store.reset_password(shown, hash, notices, by, now).await? else {
        // Somebody was quicker.
        return right(app, now, client, Try::Wrong, Purpose::Reset);
    };
    // The address of now, not the one that it had proved before.
    let user = User { email: Some(done.email), email_verified_at: Some(now), ..found.user };
    app.limits.recovered(now, client, &user);
    tracing::info!(event = "password_reset", user_id = %done.user_id, address = %client.address);
    if done.has_proved {
        tracing::info!(event = "email_verified", user_id = %done.user_id, address = %client.address);
    }
    lost(&done.others, client);
    Ok(())
}
