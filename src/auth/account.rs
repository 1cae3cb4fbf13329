//! Making accounts, and looking after them.

use super::{
    hasher::Verdict,
    password::{InvalidPassword, Password},
    random,
};
use crate::{
    app::App,
    error::{Error, FieldError},
    model::{By, Client, Email, Entry, PasswordHash, Principal, Roles, Time, User, UserId, Username},
    store::{Change, Deletion, NewUser},
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

/// Makes an account for whoever asks.
///
/// # Errors
/// [`Error::Validation`] with all that is wrong, [`Error::UsernameTaken`], [`Error::Overloaded`],
/// [`Error::StorageUnavailable`]
pub async fn register(app: &App, now: Time, client: Client, form: Registration) -> Result<User, Error> {
    let new = check(app, form, Reserved::Refused)?;
    let id: UserId = random::id(now)?;
    let entry = By::user(id.clone(), client).does("register", now);
    let user = create(app, id, new, Roles::default(), entry).await?;
    tracing::info!(event = "register", user_id = %user.id, address = %client.address);
    Ok(user)
}

/// Makes an account for an operator, who may use the reserved names and give roles.
///
/// # Errors
/// As [`register`].
pub async fn add(app: &App, now: Time, by: &By, form: Registration, roles: Roles) -> Result<User, Error> {
    let new = check(app, form, Reserved::Open)?;
    let user = create(app, random::id(now)?, new, roles, by.does("user_added", now)).await?;
    tracing::info!(event = "user_added", user_id = %user.id, by = actor(by));
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

/// Gives an account the password that the operator wants it to have, and ends its sessions.
///
/// # Errors
/// [`Error::Validation`], [`Error::UserNotFound`], [`Error::StorageUnavailable`]
pub async fn set_password(app: &App, now: Time, by: &By, user: &User, password: String) -> Result<(), Error> {
    let password = choose_for(app, user, password, "/password")?;
    let hash = app.hasher.hash(password).await?;
    let entry = by.does("password_set", now);
    done(app.store.set_password(user.id.clone(), hash, entry).await?, "password_set", by, user)
}

/// Refuses an account's logins and ends its sessions, from the next request on.
///
/// # Errors
/// [`Error::UserNotFound`], [`Error::StorageUnavailable`]
pub async fn disable(app: &App, now: Time, by: &By, user: &User) -> Result<(), Error> {
    let entry = by.does("user_disabled", now);
    changed(app.store.disable_user(user.id.clone(), entry).await?, "user_disabled", by, user)
}

/// Accepts its logins again. What ended stays ended.
///
/// # Errors
/// As [`disable`].
pub async fn enable(app: &App, now: Time, by: &By, user: &User) -> Result<(), Error> {
    let entry = by.does("user_enabled", now);
    changed(app.store.enable_user(user.id.clone(), entry).await?, "user_enabled", by, user)
}

/// Deletes an account for good.
///
/// # Errors
/// As [`disable`].
pub async fn delete(app: &App, now: Time, by: &By, user: &User) -> Result<(), Error> {
    let entry = by.does("user_deleted", now);
    done(app.store.delete_user(user.id.clone(), entry).await?, "user_deleted", by, user)
}

/// Gives an account the roles that `change` makes of those that it has.
///
/// # Errors
/// As [`disable`].
pub async fn change_roles(
    app: &App,
    now: Time,
    by: &By,
    user: &User,
    change: impl Fn(&Roles) -> Roles,
) -> Result<(), Error> {
    loop {
        let before = app.store.credentials_by_id(&user.id).await?.ok_or(Error::UserNotFound)?.user.roles;
        let after = change(&before);
        if after == before {
            return Ok(());
        }
        // Somebody else may have changed them meanwhile.
        if app.store.set_roles(user.id.clone(), before, after, by.does("roles_set", now)).await? {
            return done(true, "roles_set", by, user);
        }
    }
}

/// Gives the caller another password. The current one is needed; every other session ends, this one stays.
///
/// # Errors
/// [`Error::Validation`], [`Error::WrongPassword`], [`Error::SessionEnded`] if it ended meanwhile,
/// [`Error::Overloaded`], [`Error::StorageUnavailable`]
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
    let entry = caller.by(client).does("password_changed", now);
    if !app.store.change_password(user.id.clone(), verified, hash, session_id.clone(), entry).await? {
        return Err(Error::SessionEnded);
    }
    tracing::info!(event = "password_changed", user_id = %user.id, %session_id);
    Ok(())
}

/// Deletes the caller's account for good. The password is needed.
///
/// # Errors
/// [`Error::WrongPassword`], [`Error::LastAdmin`], [`Error::SessionEnded`] if it ended meanwhile,
/// [`Error::Overloaded`], [`Error::StorageUnavailable`]
pub async fn delete_own(
    app: &App,
    now: Time,
    client: Client,
    caller: &Principal,
    password: String,
) -> Result<(), Error> {
    let (user, session_id, by) = (caller.user(), caller.session_id(), caller.by(client));
    let verified = verify_own(app, now, client, caller, password).await?;
    let entry = by.does("user_deleted", now);
    match app.store.delete_own(user.id.clone(), verified, session_id.clone(), entry).await? {
        Deletion::Done => done(true, "user_deleted", &by, user),
        Deletion::LastAdmin => Err(Error::LastAdmin),
        Deletion::Changed => Err(Error::SessionEnded),
    }
}

/// The hash that the caller's password matches.
async fn verify_own(
    app: &App,
    now: Time,
    client: Client,
    caller: &Principal,
    password: String,
) -> Result<PasswordHash, Error> {
    let user = caller.user();
    let stored = app.store.credentials_by_id(&user.id).await?.ok_or(Error::UserNotFound)?.password_hash;
    let verdict = app.hasher.verify(Password::parse(password).ok(), stored.clone(), false).await?;
    if let (Verdict::Match { .. }, Some(stored)) = (verdict, stored) {
        return Ok(stored);
    }
    tracing::warn!(event = "wrong_password", user_id = %user.id, address = %client.address);
    app.refusals.note(caller.by(client).does("wrong_password", now).on(&user.id).refused("password"));
    Err(Error::WrongPassword)
}

/// Tells of a change, unless somebody deleted the account meanwhile.
fn done(is_there: bool, event: &'static str, by: &By, user: &User) -> Result<(), Error> {
    changed(if is_there { Change::Done } else { Change::Gone }, event, by, user)
}

/// The same of one that may have been made before.
fn changed(change: Change, event: &'static str, by: &By, user: &User) -> Result<(), Error> {
    match change {
        Change::Done => tracing::info!(event, user_id = %user.id, by = actor(by)),
        Change::Same => {}
        Change::Gone => return Err(Error::UserNotFound),
    }
    Ok(())
}

/// Who did it, for the log.
fn actor(by: &By) -> Option<&str> {
    by.actor.as_ref().map(UserId::as_str)
}

struct Checked {
    username: Username,
    password: Password,
    email: Option<Email>,
}

/// Whether the reserved names may be taken.
#[derive(Clone, Copy, PartialEq)]
enum Reserved {
    Refused,
    Open,
}

fn check(app: &App, form: Registration, reserved: Reserved) -> Result<Checked, Error> {
    let username = match Username::parse(&form.username) {
        Ok(username) if username.is_reserved() && reserved == Reserved::Refused => {
            Err(FieldError::new("/username", "is reserved"))
        }
        parsed => parsed.map_err(|why| FieldError::new("/username", why)),
    };
    let email = form.email.as_deref().map(Email::parse).transpose().map_err(|why| FieldError::new("/email", why));
    let key = Username::key(&form.username).unwrap_or_default();
    let names = [&form.username, &key, form.email.as_ref().unwrap_or(&key)].map(String::as_str);
    let password = choose(app, form.password, names).map_err(|why| FieldError::new("/password", why));
    match (username, password, email) {
        (Ok(username), Ok(password), Ok(email)) => Ok(Checked { username, password, email }),
        (username, password, email) => {
            Err(Error::Validation([username.err(), password.err(), email.err()].into_iter().flatten().collect()))
        }
    }
}

fn choose<'a>(app: &App, text: String, names: impl IntoIterator<Item = &'a str>) -> Result<Password, InvalidPassword> {
    let password = Password::parse(text)?;
    // The name, the address, and what stands before its `@`.
    let names = names.into_iter().flat_map(|name| [Some(name), name.split('@').next()]).flatten();
    app.password_policy.check(&password, names)?;
    Ok(password)
}

/// A password that this account may have.
fn choose_for(app: &App, user: &User, text: String, pointer: &str) -> Result<Password, Error> {
    let names = [Some(user.username.as_str()), user.email.as_deref()];
    choose(app, text, names.into_iter().flatten()).map_err(|why| Error::Validation(vec![FieldError::new(pointer, why)]))
}

async fn create(app: &App, id: UserId, new: Checked, roles: Roles, entry: Entry) -> Result<User, Error> {
    // Refused before the hash is paid for. The insert decides.
    if app.store.credentials(Some(new.username.as_key()), None).await?.is_some() {
        return Err(Error::UsernameTaken);
    }
    let password_hash = app.hasher.hash(new.password).await?;
    let new = NewUser { id, username: new.username, email: new.email, password_hash, roles, created_at: entry.at };
    app.store.insert_user(new, entry).await?.ok_or(Error::UsernameTaken)
}
