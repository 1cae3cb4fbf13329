//! Mail on its way: requests put it into a table, and a worker sends what is in there.
//!
//! So no request waits for the mail server, or fails with it, and whether an address is known is found out where nobody
//! can measure it. What is sent is marked before and deleted after: if a server is killed in between, it is sent once more.

mod deliver;
mod worker;

pub use worker::{Progress, finish, run};

use self::deliver::{LONGEST, deliver};
use super::{code, random};
use crate::{
    app::App,
    error::Error,
    model::{Client, Email, MailKind, Purpose, Time, UserId},
    store::{Asked, NewMail, Notice},
};

/// How many are looked for: some go to addresses that one is being sent to.
const WINDOW: i64 = 64;

/// How long somebody who is told of a change is worth telling, in seconds.
const NOTICE: i64 = 24 * 60 * 60;

/// A mail that somebody asks for, to be put into the table. None: no mail is sent here, or he has asked for too many.
/// Others may have asked for too many, to this address or at all: then as much is written, and none is sent. He is told
/// neither, nor does time tell it.
///
/// # Errors
/// [`Error::Internal`]
pub(super) fn new(
    app: &App,
    now: Time,
    client: Client,
    kind: MailKind,
    user_id: Option<UserId>,
    email: Email,
) -> Result<Option<Asked>, Error> {
    let tick = app.clock.tick();
    if !app.mailer.sends() {
        return Ok(None);
    }
    if !app.limits.mail_from(tick, client) {
        app.metrics.mail_throttled();
        return Ok(None);
    }
    if !app.limits.mail_to(tick, kind, email.as_key()) || !app.limits.mail(tick) {
        app.metrics.mail_throttled();
        return Ok(Some(Asked::TooMany));
    }
    let expires_at = now.plus(kind.purpose().map_or(NOTICE, ttl));
    Ok(Some(Asked::Mail(NewMail { id: random::id(now)?, kind, user_id, email, created_at: now, expires_at })))
}

/// What tells of a change. None: no mail is sent here.
///
/// # Errors
/// [`Error::Internal`]
pub(super) fn notice(app: &App, now: Time) -> Result<Option<Notice>, Error> {
    if !app.mailer.sends() {
        return Ok(None);
    }
    Ok(Some(Notice { id: random::id(now)?, created_at: now, expires_at: now.plus(NOTICE) }))
}

/// Has a mail sent to whoever has this address, if anybody has.
///
/// # Errors
/// [`Error::StorageUnavailable`]
pub(super) async fn ask(app: &App, now: Time, client: Client, kind: MailKind, email: Email) -> Result<(), Error> {
    if let Some(mail) = new(app, now, client, kind, None, email)? {
        app.store.ask_mail(mail).await?;
    }
    Ok(())
}

fn ttl(purpose: Purpose) -> i64 {
    match purpose {
        Purpose::Verify => code::VERIFY,
        Purpose::Reset => code::RESET,
    }
}

/// Sends all that is due now, one after the other, and answers when that is done.
///
/// # Errors
/// [`Error::StorageUnavailable`]
pub async fn drain(app: &App) -> Result<(), Error> {
    loop {
        let due = app.store.due_mails(app.clock.now(), WINDOW).await?;
        if due.is_empty() {
            return Ok(());
        }
        for mail in due {
            deliver(app, mail).await?;
        }
    }
}

/// Deletes codes that do not count any more, and mails that nobody sends.
///
/// # Errors
/// [`Error::StorageUnavailable`]
pub async fn forget(app: &App, now: Time) -> Result<(), Error> {
    app.store.purge_codes(now).await?;
    // Where mail is sent, it is given up before.
    app.store.purge_mails(now.plus(-LONGEST)).await?;
    Ok(())
}

/// Tells Prometheus how many wait.
///
/// # Errors
/// [`Error::StorageUnavailable`]
pub async fn measure(app: &App, now: Time) -> Result<(), Error> {
    if app.metrics.is_on() {
        let (count, oldest) = app.store.waiting_mails().await?;
        app.metrics.mails_waiting(count, oldest.map_or(0, |oldest| (now.unix() - oldest.unix()).max(0)));
    }
    Ok(())
}
