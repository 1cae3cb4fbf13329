//! Mail on its way: requests put it into a table, and a worker sends what is in there.
//!
//! So no request waits for the mail server, or fails with it, and whether an address is known is found out where nobody
//! can measure it. What is sent is marked before and deleted after: if a server is killed in between, it is sent once more.

use std::{
    collections::{HashMap, HashSet},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    task::{self, JoinSet},
    time,
};

use super::{
    code::{self, Made},
    random,
};
use crate::{
    app::App,
    error::Error,
    mail::{Failure, Mail},
    model::{Client, Email, MailId, MailKind, Purpose, Tick, Time, UserId},
    store::{Asked, Due, NewMail, Notice, Ready, Stamp, Take},
    templates::{Letter, Values},
};

/// How often the table is looked at. In its own time, not when a request comes: else the work for a known address would
/// slow the request that comes next, and time would tell.
const LOOK: Duration = Duration::from_millis(500);

/// One mail after the other is sent, so that a kill comes between one and its answer at most. If one takes longer than
/// this, the next one does not wait for it.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where more than so many are due, it waits no longer than this: one after the other, a flood of what strangers ask for
/// would keep the others back until their links are over.
const CROWD: usize = 20;
const HURRY: Duration = Duration::from_millis(200);

/// The most mails that are sent at once for all that.
const AT_ONCE: usize = 8;

/// How many are looked for: some go to addresses that one is being sent to.
const WINDOW: i64 = 64;

/// How long one is nobody else's, in seconds, and how often that is said again as long as it is being sent. So what a
/// server was sending that was killed is soon sent by another one, and what a living one is sending is not.
const LEASE: i64 = 30;
const RENEWAL: Duration = Duration::from_secs(10);

/// How long after a try that failed it is tried again, in seconds: twice as long each time, up to the longest.
const SHORTEST: i64 = 30;
const LONGEST: i64 = 30 * 60;

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

/// Sends what is due, for as long as it is polled. A panic is a bug, and costs one try.
pub async fn run(app: Arc<App>) {
    if !app.mailer.sends() {
        return std::future::pending().await;
    }
    let mut ticks = time::interval(LOOK);
    ticks.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
    let mut sending = Sending::default();
    loop {
        // With some left over, one that is done makes room for the next.
        tokio::select! {
            _ = ticks.tick() => sending.has_failed = false,
            () = sending.one_done(), if sending.is_awaited() || app.mailing.is_ending() => {}
            () = time::sleep(HURRY / 4), if sending.is_hurried() => {}
        }
        if let Err(error) = sending.fill(&app).await {
            tracing::warn!(event = "outbox_not_read", %error);
        }
        app.mailing.under_way.store(sending.tasks.len(), Ordering::Relaxed);
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

/// How far the sending is, for who ends the server.
#[derive(Debug, Default)]
pub struct Progress {
    under_way: AtomicUsize,
    is_ending: AtomicBool,
}

impl Progress {
    fn is_ending(&self) -> bool {
        self.is_ending.load(Ordering::Relaxed)
    }
}

/// Begins no more, and waits until what is being sent is, while [`run`] is polled.
pub async fn finish(app: &App) {
    app.mailing.is_ending.store(true, Ordering::Relaxed);
    while app.mailing.under_way.load(Ordering::Relaxed) > 0 {
        time::sleep(Duration::from_millis(10)).await;
    }
}

/// What is being sent.
#[derive(Default)]
struct Sending {
    tasks: JoinSet<Result<(), Error>>,
    /// The address that each task sends to, and since when. One at a time goes to each, so that the last that arrives is
    /// the one that counts.
    mails: HashMap<task::Id, (String, Tick)>,
    /// Whether others wait for one of them to be done.
    has_more: bool,
    /// Whether so many do that it is not one after the other.
    is_crowded: bool,
    /// Whether the database could not be used: the next look is when it is time.
    has_failed: bool,
}

impl Sending {
    /// Whether there is nobody whom the next one would have to wait for.
    fn is_open(&self, tick: Tick) -> bool {
        let patience = if self.is_crowded { HURRY } else { PATIENCE };
        let is_late = |begun: &Tick| u128::from(tick.millis_since(*begun)) >= patience.as_millis();
        self.mails.len() < AT_ONCE && self.mails.values().all(|(_, begun)| is_late(begun))
    }

    fn is_awaited(&self) -> bool {
        self.has_more && !self.has_failed
    }

    fn is_hurried(&self) -> bool {
        self.is_crowded && !self.has_failed && self.mails.len() < AT_ONCE
    }

    /// Waits until one is.
    async fn one_done(&mut self) {
        match self.tasks.join_next_with_id().await {
            Some(done) => self.note(done),
            None => std::future::pending().await,
        }
    }

    fn begin(&mut self, email_key: String, tick: Tick, send: impl Future<Output = Result<(), Error>> + Send + 'static) {
        let id = self.tasks.spawn(send).id();
        self.mails.insert(id, (email_key, tick));
    }

    fn note(&mut self, done: Result<(task::Id, Result<(), Error>), task::JoinError>) {
        match done {
            Ok((id, delivered)) => {
                self.mails.remove(&id);
                if let Err(error) = delivered {
                    tracing::warn!(event = "outbox_not_read", %error);
                    self.has_failed = true;
                }
            }
            Err(error) => {
                tracing::error!(event = "upkeep_failed", %error);
                // It is tried again when its lease is over.
                self.mails.remove(&error.id());
            }
        }
    }

    /// Begins as many as there is room for.
    async fn fill(&mut self, app: &Arc<App>) -> Result<(), Error> {
        while let Some(done) = self.tasks.try_join_next_with_id() {
            self.note(done);
        }
        self.is_crowded = false;
        if app.mailing.is_ending() {
            return Ok(());
        }
        let due = app.store.due_mails(app.clock.now(), WINDOW).await?;
        let mut taken: HashSet<String> = self.mails.values().map(|(email_key, _)| email_key.clone()).collect();
        self.has_more = false;
        self.is_crowded = due.len() > CROWD;
        for mail in due {
            let tick = app.clock.tick();
            if !self.is_open(tick) || !taken.insert(mail.email_key.clone()) {
                self.has_more = true;
            } else {
                let app = app.clone();
                self.begin(mail.email_key.clone(), tick, async move { deliver(&app, mail).await });
            }
        }
        Ok(())
    }
}

/// Sends one, if it is still to be sent, and notes what came of it.
async fn deliver(app: &App, due: Due) -> Result<(), Error> {
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
    use std::future::{pending, ready};

    use super::{AT_ONCE, LONGEST, Sending, pause};
    use crate::model::Tick;

    #[tokio::test]
    async fn where_few_wait_the_next_one_begins_after_five_seconds_and_where_many_do_soon() {
        let at = Tick::from_millis;
        for (is_crowded, patience) in [(false, 5_000), (true, 200)] {
            let mut sending = Sending { is_crowded, ..Sending::default() };
            for n in 0..AT_ONCE as u64 {
                assert!(sending.is_open(at(n * patience)), "{n}");
                sending.begin(n.to_string(), at(n * patience), pending());
                assert!(!sending.is_open(at((n + 1) * patience - 1)), "{n}");
            }
            assert!(!sending.is_open(at(u64::MAX)) && !sending.is_hurried(), "no more than that");
        }
    }

    #[tokio::test]
    async fn a_panic_gives_back_its_place_and_its_address_and_no_other() {
        let mut sending = Sending::default();
        let at = Tick::from_millis(0);
        sending.begin("hangs".to_owned(), at, pending());
        sending.begin("panics".to_owned(), at, async { panic!("a bug") });
        sending.one_done().await;
        let left = |sending: &Sending| sending.mails.values().map(|(key, _)| key.clone()).collect::<Vec<_>>();
        assert_eq!(left(&sending), ["hangs"]);
        sending.begin("is sent".to_owned(), at, ready(Ok(())));
        sending.one_done().await;
        assert_eq!(left(&sending), ["hangs"]);
    }

    #[test]
    fn the_pauses_double_up_to_the_longest() {
        let pauses: Vec<i64> = (1..=8).map(pause).collect();
        assert_eq!(pauses, [30, 60, 120, 240, 480, 960, 1_800, 1_800]);
        assert_eq!((pause(0), pause(i64::MAX)), (30, LONGEST));
    }
}
