//! Making accounts, and looking after them.

use super::{
    admin,
    hasher::Verdict,
    outbox,
    password::{InvalidPassword, Password, TypedPassword},
    random,
};
use crate::{
    app::App,
    error::{Error, FieldError},
    model::{By, Client, Email, Entry, MailKind, PasswordHash, Principal, Roles, Time, User, UserId, Username},
    store::{Deletion, Insertion, NewUser},
};

/// What somebody types to register. The password is wiped when it has been read.
pub struct Registration {
    /// The user name.
    pub username: String,
    /// The password.
    pub password: String,
    /// An address, which proves nothing yet and reserves nothing.
    pub email: Option<String>,
}

/// What an operator says of a new account.
#[derive(Default)]
pub struct Addition {
    /// The user name, which may be a reserved one.
    pub username: String,
    /// The password. None: it cannot log in until it is given one.
    pub password: Option<String>,
    /// An address, which proves nothing.
    pub email: Option<String>,
    /// What it may do.
    pub roles: Vec<String>,
}

/// Makes an account for whoever asks, and mails a link and a code to the address that it claims, if there is one.
///
/// # Errors
/// [`Error::Validation`] with all that is wrong, [`Error::TooManyAttempts`], [`Error::UsernameTaken`],
/// [`Error::Overloaded`], [`Error::StorageUnavailable`]
pub async fn register(app: &App, now: Time, client: Client, form: Registration) -> Result<User, Error> {
    let Registration { username, password, email } = form;
    let form = Addition { username, password: Some(password), email, roles: Vec::new() };
    let new = check(app, form, Reserved::Refused)?;
    if !app.hasher.has_room() {
        return Err(Error::Overloaded);
    }
    // Before it is told whether the name is taken.
    app.limits.register(app.clock.tick(), client)?;
    let id: UserId = random::id(now)?;
    let entry = By::user(id.clone(), client).does("register", now);
    let user = create(app, id, new, Some(client), entry).await?;
    tracing::info!(event = "register", user_id = %user.id, address = %client.address);
    Ok(user)
}

/// Makes an account for an operator, who may use the reserved names and give roles.
///
/// # Errors
/// As [`register`], and [`Error::EmailTaken`].
pub async fn add(app: &App, now: Time, by: &By, form: Addition) -> Result<User, Error> {
    let new = check(app, form, Reserved::Open)?;
    let user = create(app, random::id(now)?, new, None, by.does("user_added", now)).await?;
    tracing::info!(event = "user_added", user_id = %user.id, by = by.name());
    Ok(user)
}

/// The account of this name, in any spelling of it.
///
/// # Errors
/// [`Error::UserNotFound`], [`Error::StorageUnavailable`]
pub async fn find(app: &App, name: &str) -> Result<User, Error> {
    let key = Username::key(name).map_err(|_| Error::UserNotFound)?;
    let found = app.store.credentials(Some(&key), None).await?;
    Ok(found.ok_or(Error::UserNotFound)?.user)
}

/// Gives an account the password that the operator wants it to have, and ends its sessions. Its proved address is told.
///
/// # Errors
/// [`Error::Validation`], [`Error::UserNotFound`], [`Error::StorageUnavailable`]
pub async fn set_password(app: &App, now: Time, by: &By, user: &User, password: String) -> Result<(), Error> {
    let password = choose_for(app, user, password, "/password")?;
    let hash = app.hasher.hash(password).await?;
    let (entry, notice) = (by.does("password_set", now), outbox::notice(app, now)?);
    if !app.store.set_password(user.id.clone(), hash, notice, entry).await? {
        return Err(Error::UserNotFound);
    }
    tracing::info!(event = "password_set", user_id = %user.id, by = by.name());
    Ok(())
}

/// Gives the caller another password. The current one is needed; every other session ends, this one stays.
///
/// # Errors
/// [`Error::Validation`], [`Error::WrongPassword`], [`Error::SessionEnded`] if it ended meanwhile,
/// [`Error::TooManyAttempts`], [`Error::Overloaded`], [`Error::StorageUnavailable`]
pub async fn change_password(
    app: &App,
    now: Time,
    client: Client,
    caller: &Principal,
    current: String,
    new: String,
) -> Result<(), Error> {
    let (user, session_id) = (caller.user(), caller.session_id());
    let new = choose_for(app, user, new, "/new_password")?;
    let verified = verify_own(app, now, client, caller, current).await?;
    let hash = app.hasher.hash(new).await?;
    let (entry, notice) = (caller.by(client).does("password_changed", now), outbox::notice(app, now)?);
    if !app.store.change_password(user.id.clone(), verified, hash, session_id.clone(), notice, entry).await? {
        return Err(Error::SessionEnded);
    }
    tracing::info!(event = "password_changed", user_id = %user.id, %session_id);
    Ok(())
}

/// Deletes the caller's account for good. The password is needed, and its proved address is told.
///
/// # Errors
/// [`Error::WrongPassword`], [`Error::LastAdmin`], [`Error::SessionEnded`] if it ended meanwhile,
/// [`Error::TooManyAttempts`], [`Error::Overloaded`], [`Error::StorageUnavailable`]
pub async fn delete_own(
    app: &App,
    now: Time,
    client: Client,
    caller: &Principal,
    password: String,
) -> Result<(), Error> {
    let (user, session_id, by) = (caller.user(), caller.session_id(), caller.by(client));
    let verified = verify_own(app, now, client, caller, password).await?;
    let (entry, notice) = (by.does("user_deleted", now), outbox::notice(app, now)?);
    match app.store.delete_own(user.id.clone(), verified, session_id.clone(), notice, entry).await? {
        Deletion::Done => {
            tracing::info!(event = "user_deleted", user_id = %user.id, by = by.name());
            Ok(())
        }
        Deletion::LastAdmin => Err(Error::LastAdmin),
        Deletion::Changed => Err(Error::SessionEnded),
    }
}

/// The hash that the caller's password matches.
///
/// # Errors
/// [`Error::UserNotFound`], [`Error::WrongPassword`], [`Error::Overloaded`], [`Error::StorageUnavailable`]
pub(super) async fn verify_own(
    app: &App,
    now: Time,
    client: Client,
    caller: &Principal,
    password: String,
) -> Result<PasswordHash, Error> {
    if !app.hasher.has_room() {
        return Err(Error::Overloaded);
    }
    let attempt = app.limits.own_password(app.clock.tick(), now, client, &caller.user().id)?;
    match compare_own(app, now, client, caller, password).await {
        Ok(stored) => {
            attempt.passed(caller.user());
            Ok(stored)
        }
        Err(why) => {
            attempt.failed(&why);
            Err(why)
        }
    }
}

async fn compare_own(
    app: &App,
    now: Time,
    client: Client,
    caller: &Principal,
    password: String,
) -> Result<PasswordHash, Error> {
    let user = caller.user();
    let stored = app.store.credentials_by_id(&user.id).await?.ok_or(Error::UserNotFound)?.password_hash;
    let verdict = app.hasher.verify(TypedPassword::read(password), stored.clone(), false).await?;
    if let (Verdict::Match { .. }, Some(stored)) = (verdict, stored) {
        return Ok(stored);
    }
    tracing::warn!(event = "wrong_password", user_id = %user.id, address = %client.address);
    app.refusals.note(caller.by(client).does("wrong_password", now).on(&user.id).refused("password"));
    Err(Error::WrongPassword)
}

struct Checked {
    username: Username,
    password: Option<Password>,
    email: Option<Email>,
    roles: Roles,
}

/// Whether the reserved names may be taken.
#[derive(Clone, Copy, PartialEq)]
enum Reserved {
    Refused,
    Open,
}

fn check(app: &App, form: Addition, reserved: Reserved) -> Result<Checked, Error> {
    let username = match Username::parse(&form.username) {
        Ok(username) if username.is_reserved() && reserved == Reserved::Refused => {
            Err(FieldError::new("/username", "is reserved"))
        }
        parsed => parsed.map_err(|why| FieldError::new("/username", why)),
    };
    let email = form.email.as_deref().map(Email::parse).transpose().map_err(|why| FieldError::new("/email", why));
    let key = Username::key(&form.username).unwrap_or_default();
    let names = [&form.username, &key, form.email.as_ref().unwrap_or(&key)].map(String::as_str);
    let password = form.password.map(|password| choose(app, password, names)).transpose();
    let password = password.map_err(|why| FieldError::new("/password", why));
    let roles = admin::roles(&form.roles);
    match (username, password, email, roles) {
        (Ok(username), Ok(password), Ok(email), Ok(roles)) => Ok(Checked { username, password, email, roles }),
        (username, password, email, roles) => {
            let all = [username.err(), password.err(), email.err(), roles.err()];
            Err(Error::Validation(all.into_iter().flatten().collect()))
        }
    }
}

fn choose<'a>(app: &App, text: String, names: impl IntoIterator<Item = &'a str>) -> Result<Password, InvalidPassword> {
    let password = Password::parse(text)?;
    check_names(app, &password, names)?;
    Ok(password)
}

fn check_names<'a>(
    app: &App,
    password: &Password,
    names: impl IntoIterator<Item = &'a str>,
) -> Result<(), InvalidPassword> {
    // The name, the address, and what stands before and behind its `@`.
    let names = names.into_iter().flat_map(|name| std::iter::once(name).chain(name.split('@')));
    app.password_policy.check(password, names)
}

fn invalid(pointer: &str, why: InvalidPassword) -> Error {
    Error::Validation(vec![FieldError::new(pointer, why)])
}

/// A password that this account may have.
fn choose_for(app: &App, user: &User, text: String, pointer: &str) -> Result<Password, Error> {
    let password = choose_for_somebody(app, text, pointer)?;
    check_for(app, user, &password, pointer)?;
    Ok(password)
}

/// A password that some account may have.
///
/// # Errors
/// [`Error::Validation`]
pub(super) fn choose_for_somebody(app: &App, text: String, pointer: &str) -> Result<Password, Error> {
    choose(app, text, []).map_err(|why| invalid(pointer, why))
}

/// Whether this account may have it.
///
/// # Errors
/// [`Error::Validation`]
pub(super) fn check_for(app: &App, user: &User, password: &Password, pointer: &str) -> Result<(), Error> {
    let names = [Some(user.username.as_str()), user.email.as_deref()];
    check_names(app, password, names.into_iter().flatten()).map_err(|why| invalid(pointer, why))
}

/// Makes it. Whoever registers is mailed a link and a code.
async fn create(app: &App, id: UserId, new: Checked, who: Option<Client>, entry: Entry) -> Result<User, Error> {
    // Refused before the hash is paid for. The insert decides.
    if app.store.credentials(Some(new.username.as_key()), None).await?.is_some() {
        return Err(Error::UsernameTaken);
    }
    let Checked { username, password, email, roles } = new;
    // Somebody may have proved it. That is found out when the mail is sent, and told to nobody else.
    let mail = match (who, &email) {
        (Some(client), Some(email)) => {
            outbox::new(app, entry.at, client, MailKind::Verify, Some(id.clone()), email.clone())?
        }
        _ => None,
    };
    let password_hash = match password {
        Some(password) => Some(app.hasher.hash(password).await?),
        None => None,
    };
    let (tells_of_email, created_at) = (who.is_none(), entry.at);
    let new = NewUser { id, username, email, tells_of_email, mail, password_hash, roles, created_at };
    match app.store.insert_user(new, entry).await? {
        Insertion::Done(user) => Ok(user),
        Insertion::UsernameTaken => Err(Error::UsernameTaken),
        Insertion::EmailTaken => Err(Error::EmailTaken),
    }
}
