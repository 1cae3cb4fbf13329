//! A mail as it is written and sent, and what comes of it.

use std::{pin::pin, time::Duration};

use tokio::time;

use super::ttl;
use crate::{
    app::App,
    auth::code::{self, Made},
    error::Error,
    mail::{Failure, Mail},
    model::{MailId, MailKind, Purpose, Time, UserId},
    store::{Due, Ready, Stamp, Take},
    templates::{Letter, Values},
};

/// How long one is nobody else's, in seconds, and how often that is said again as long as it is being sent. So what a
/// server was sending that was killed is soon sent by another one, and what a living one is sending is not.
const LEASE: i64 = 30;
const RENEWAL: Duration = Duration::from_secs(10);

/// How long after a try that failed it is tried again, in seconds: twice as long each time, up to the longest.
const SHORTEST: i64 = 30;
pub(super) const LONGEST: i64 = 30 * 60;

/// Sends one, if it is still to be sent, and notes what came of it.
pub(super) async fn deliver(app: &App, due: Due) -> Result<(), Error> {
    let (now, id) = (app.clock.now(), due.id.clone());
    let made = Made::of(&app.secrets.current, &id);
    let stamp = due.kind.purpose().and_then(|purpose| stamp(app, now, purpose, &due, &made));
    let ready = match app.store.take_mail(id.clone(), now, now.plus(LEASE), stamp).await? {
        Take::Gone | Take::Dropped => return Ok(()),
        Take::Expired(kind, user_id) => {
            let user_id = user_id.as_ref().map(UserId::as_str);
            tracing::warn!(event = "mail_given_up", kind = kind.name(), user_id, mail_id = %id, reason = "expired");
            app.metrics.mail_given_up();
            return Ok(());
        }
        Take::Ready(ready) => ready,
    };
    let sent = match write(app, now, id.clone(), &ready, made) {
        Ok(mail) => send(app, &id, mail).await,
        Err(error) => {
            tracing::error!(event = "internal_error", %error);
            Err(Failure::later("template"))
        }
    };
    let (kind, attempts) = (ready.kind.name(), ready.attempts);
    let user_id = ready.user_id.as_ref().map(UserId::as_str);
    match sent {
        Ok(()) => {
            app.store.finish_mail(id.clone()).await?;
            tracing::info!(event = "mail_sent", kind, user_id, mail_id = %id, attempts);
            app.metrics.mail_sent();
        }
        Err(failure) if failure.is_final => {
            app.store.finish_mail(id.clone()).await?;
            tracing::warn!(event = "mail_given_up", kind, user_id, mail_id = %id, attempts, reason = %failure);
            app.metrics.mail_given_up();
        }
        Err(failure) => {
            app.store.put_off_mail(id.clone(), app.clock.now().plus(pause(attempts))).await?;
            tracing::warn!(event = "mail_failed", kind, user_id, mail_id = %id, attempts, reason = %failure);
            app.metrics.mail_failed();
        }
    }
    Ok(())
}

/// Sends one that was taken, and holds it as long as that takes.
async fn send(app: &App, id: &MailId, mail: Mail) -> Result<(), Failure> {
    let mut sending = pin!(app.mailer.send(mail));
    loop {
        tokio::select! {
            sent = &mut sending => return sent,
            () = time::sleep(RENEWAL) => {
                if let Err(error) = app.store.put_off_mail(id.clone(), app.clock.now().plus(LEASE)).await {
                    tracing::warn!(event = "outbox_not_read", %error);
                }
            }
        }
    }
}

/// How long after this many tries the next one is.
fn pause(attempts: i64) -> i64 {
    let doublings = attempts.clamp(1, 16) - 1;
    (SHORTEST << doublings).min(LONGEST)
}

fn stamp(app: &App, now: Time, purpose: Purpose, due: &Due, made: &Made) -> Option<Stamp> {
    Some(Stamp {
        purpose,
        link_hash: code::link_hash(&made.token)?,
        code_hash: code::code_hash(&app.secrets.current, purpose, &due.email_key, &made.code),
        link_expires_at: now.plus(ttl(purpose)),
        code_expires_at: now.plus(code::CODE),
    })
}

/// The mail as it is sent.
///
/// # Errors
/// [`Error::Internal`]
fn write(app: &App, now: Time, id: MailId, ready: &Ready, made: Made) -> Result<Mail, Error> {
    let issuer = &app.config.public_url;
    let (letter, page) = match ready.kind {
        MailKind::Verify => (Letter::Verify, Some("verify")),
        MailKind::VerifyTaken => (Letter::VerifyTaken, None),
        MailKind::Reset => (Letter::Reset, Some("reset")),
        MailKind::EmailChanged => (Letter::EmailChanged, None),
        MailKind::PasswordChanged => (Letter::PasswordChanged, None),
        MailKind::LoginAfterFailures => (Letter::LoginAfterFailures, None),
        MailKind::AccountDeleted => (Letter::AccountDeleted, None),
    };
    // Begun minutes count, so that none is said to be over.
    let minutes = |until: Time| u32::try_from((until.unix() - now.unix()).max(0).saturating_add(59) / 60).unwrap_or(0);
    let written = app.templates.letter(
        letter,
        &Values {
            username: ready.username.clone(),
            email: ready.to.clone(),
            link: page.map(|page| format!("{issuer}/{page}?token={}", made.token)),
            code: page.map(|_| made.code),
            link_minutes: minutes(ready.link_expires_at),
            code_minutes: minutes(ready.code_expires_at),
            issuer: issuer.clone(),
        },
    )?;
    let (kind, to) = (ready.kind, ready.to.clone());
    Ok(Mail { id, kind, to, at: now, subject: written.subject, text: written.text, html: written.html })
}

#[cfg(test)]
mod tests {
    use super::{LONGEST, pause};

    #[test]
    fn the_pauses_double_up_to_the_longest() {
        let pauses: Vec<i64> = (1..=8).map(pause).collect();
        assert_eq!(pauses, [30, 60, 120, 240, 480, 960, 1_800, 1_800]);
        assert_eq!((pause(0), pause(i64::MAX)), (30, LONGEST));
    }
}
