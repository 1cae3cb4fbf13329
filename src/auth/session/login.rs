use tokio::time::{Instant, timeout_at};

use super::{Opened, opened};
use crate::{
    app::App,
    auth::{
        hasher::{PATIENCE, Verdict},
        limits::Attempt,
        outbox,
        password::TypedPassword,
        random,
    },
    error::Error,
    model::{By, Client, Credentials, Email, Entry, MailKind, Salt, Time, User, UserId, Username, WORD_JOINER},
    store::{Begun, NewSession, Notice},
};

/// The most sessions of an account. One more ends the oldest.
const MOST: i64 = 50;

/// The most code points that are kept of what a client calls itself.
const USER_AGENT: usize = 256;

/// What somebody sends to log in. The password is wiped when it has been read.
pub struct Login {
    /// A user name or a verified address.
    pub name: String,
    /// The password.
    pub password: String,
    /// What the client calls itself.
    pub user_agent: Option<String>,
}

/// Checks a name (or verified address) and a password, and opens a session.
///
/// Whatever refuses it, the work and the answer are the same.
///
/// # Errors
/// [`Error::InvalidCredentials`], [`Error::TooManyAttempts`], [`Error::Overloaded`], [`Error::StorageUnavailable`]
pub async fn login(app: &App, now: Time, client: Client, login: Login) -> Result<Opened, Error> {
    // What cannot be hashed is neither counted nor looked up: in a storm most of the work is to refuse.
    if !app.hasher.has_room() {
        app.metrics.login("overloaded");
        return Err(Error::Overloaded);
    }
    let name = Typed::new(login.name);
    let attempt = app.limits.login(app.clock.tick(), now, client, name.key());
    let mut attempt = attempt.inspect_err(|_| app.metrics.login("throttled"))?;
    match enter(app, now, client, &name, (login.password, login.user_agent), &mut attempt).await {
        Ok((opened, user)) => {
            attempt.succeeded(&user);
            Ok(opened)
        }
        Err(why) => {
            attempt.failed(&why);
            if matches!(why, Error::Overloaded) {
                app.metrics.login("overloaded");
            }
            Err(why)
        }
    }
}

async fn enter(
    app: &App,
    now: Time,
    client: Client,
    name: &Typed,
    (password, user_agent): (String, Option<String>),
    attempt: &mut Attempt<'_>,
) -> Result<(Opened, User), Error> {
    let found = name.find(app).await?;
    let is_throttled = !attempt.identify(name.key(), found.as_ref().map(|found| &found.user.id));
    let (typed, patience_ends) = (TypedPassword::read(password), Instant::now() + PATIENCE);
    let mut visitor = Visitor { app, now, client, typed, patience_ends, user_agent, is_throttled, attempt };
    if let Some(entered) = visitor.enter(found.as_ref()).await? {
        return Ok(entered);
    }
    // His hash was made anew by another login, or his password was changed: what holds now is looked at once.
    let again = name.find(app).await?.filter(|again| found.is_some_and(|found| found.user.id == again.user.id));
    visitor.enter(again.as_ref()).await?.ok_or_else(|| visitor.refuse(again.as_ref(), "changed"))
}

/// Somebody with a password.
struct Visitor<'a, 'b> {
    app: &'a App,
    now: Time,
    client: Client,
    typed: TypedPassword,
    /// One hash may follow another: together they take no longer than one may.
    patience_ends: Instant,
    user_agent: Option<String>,
    is_throttled: bool,
    attempt: &'a mut Attempt<'b>,
}

impl Visitor<'_, '_> {
    /// None: the account has changed since it was found.
    async fn enter(&mut self, found: Option<&Credentials>) -> Result<Option<(Opened, User)>, Error> {
        let Self { app, now, client, ref typed, patience_ends, .. } = *self;
        let stored = found.and_then(|found| found.password_hash.clone());
        // The account's state is judged with the hash, and told by nothing: sooner, time would tell.
        let barred = self.is_throttled || found.is_some_and(|found| found.user.disabled_at.is_some());
        let verdict = app.hasher.verify(typed.clone(), stored.clone(), barred);
        let verdict = timeout_at(patience_ends, verdict).await.unwrap_or(Err(Error::Overloaded))?;
        let outdated = match verdict {
            _ if self.is_throttled => return Err(self.refuse(found, "throttled")),
            Verdict::Match { outdated } => outdated,
            Verdict::Barred => return Err(self.refuse(found, "disabled")),
            Verdict::Mismatch => return Err(self.refuse(found, if found.is_some() { "password" } else { "unknown" })),
            Verdict::Unusable => {
                tracing::error!(event = "password_hash_unusable", user_id = found.map(|found| found.user.id.as_str()));
                return Err(self.refuse(found, "hash"));
            }
        };
        let (Some(account), Some(stored)) = (found, stored) else { return Err(self.refuse(found, "unknown")) };
        let stronger = match typed.password() {
            // A login does not fail because its hash could not be renewed: the next one will try again.
            Some(password) if outdated => {
                timeout_at(patience_ends, app.hasher.hash(password.clone())).await.ok().and_then(Result::ok)
            }
            // What another program took for a password and nobody can choose here stays in its hash.
            _ => None,
        };
        let new = begin(app, now, client, account.user.id.clone(), self.user_agent.clone())?;
        let (id, salt) = (new.id.clone(), new.salt.clone());
        let by = By::user(new.user_id.clone(), client);
        let is_doubtful = self.attempt.is_doubtful();
        let notice = if is_doubtful { doubtful(app, now, &account.user)? } else { None };
        let begun = app.store.open_session(new, stored, stronger, notice, by).await?;
        let Some(Begun { current, displaced }) = begun else { return Ok(None) };
        app.metrics.login("accepted");
        tracing::info!(event = "login", user_id = %current.user_id, session_id = %id, address = %client.address);
        if is_doubtful {
            tracing::warn!(event = "login_after_failures", user_id = %current.user_id);
        }
        for session_id in &displaced {
            tracing::info!(event = "session_displaced", user_id = %current.user_id, %session_id);
        }
        Ok(Some((opened(app, now, &id, &current, &salt)?, account.user.clone())))
    }

    /// Notes why, and answers what is the same for all of them.
    fn refuse(&self, found: Option<&Credentials>, reason: &'static str) -> Error {
        // Not the name: people type their password into that field.
        let user_id = found.map(|found| found.user.id.as_str());
        self.app.metrics.login(reason);
        tracing::warn!(event = "login_failed", reason, user_id, address = %self.client.address);
        let entry = By::client(self.client).does("login_failed", self.now).refused(reason);
        self.app.refusals.note(Entry { target: user_id.map(str::to_owned), ..entry });
        Error::InvalidCredentials
    }
}

/// What tells the owner of a login that may be somebody else's. Of many, he is told of some.
fn doubtful(app: &App, now: Time, user: &User) -> Result<Option<Notice>, Error> {
    if app.limits.mail_to(app.clock.tick(), MailKind::LoginAfterFailures, user.id.as_str()) {
        outbox::notice(app, now)
    } else {
        Ok(None)
    }
}

/// What somebody typed into the field of the name. With an `@` it is an address, otherwise a user name: neither can be
/// the other. What can be neither is counted and looked for all the same, and not found.
struct Typed {
    text: String,
    username: Option<String>,
    email: Option<Email>,
}

impl Typed {
    fn new(mut text: String) -> Self {
        // Copied from a letter, where it keeps the name from being a link.
        text.retain(|c| c != WORD_JOINER);
        Self { username: Username::key(&text).ok(), email: Email::parse(&text).ok(), text }
    }

    /// The same for every spelling of it.
    fn key(&self) -> &str {
        self.username.as_deref().or(self.email.as_ref().map(Email::as_key)).unwrap_or(&self.text)
    }

    async fn find(&self, app: &App) -> Result<Option<Credentials>, Error> {
        Ok(app.store.credentials(self.username.as_deref(), self.email.as_ref().map(Email::as_key)).await?)
    }
}

/// A session as it begins.
fn begin(
    app: &App,
    now: Time,
    client: Client,
    user_id: UserId,
    user_agent: Option<String>,
) -> Result<NewSession, Error> {
    let after = |time: std::time::Duration| i64::try_from(time.as_secs()).map(|s| now.plus(s)).map_err(Error::internal);
    let expires_at = after(app.config.session_ttl)?;
    Ok(NewSession {
        id: random::id(now)?,
        user_id,
        salt: Salt::from_bytes(random::bytes()?),
        secret_id: app.secrets.current.id.clone(),
        created_at: now,
        refresh_expires_at: after(app.config.refresh_token_ttl)?.min(expires_at),
        expires_at,
        ip: client.address.to_string(),
        user_agent: user_agent.map(|text| text.chars().take(USER_AGENT).collect()),
        others: MOST - 1,
    })
}
