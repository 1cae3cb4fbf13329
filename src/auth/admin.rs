//! What operators do with the accounts of others: admins over HTTP, and the command line.

use super::{
    cursor::{self, Page},
    outbox,
};
use crate::{
    app::App,
    error::{Error, FieldError},
    model::{Audited, By, Email, Roles, Time, User, UserId, Username},
    store::{Changed, Changes, Found, LastAdmin, NewRoles, Removal, Search},
};

/// The most roles of an account: they stand in each of its tokens, and a request's head has room for so many.
pub(super) const ROLES: usize = 32;

/// Which part of a list of accounts.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// What their name or address begins with. None: all.
    pub text: Option<String>,
    /// How many.
    pub limit: u32,
    /// Where the page before ended.
    pub cursor: Option<String>,
}

/// Where a page of accounts ended: those found by name come first, then those found by address.
enum Place {
    Name(String),
    Address(String, UserId),
}

impl Place {
    fn read(text: &str) -> Option<Self> {
        match text.split_at_checked(1)? {
            ("n", name) => Some(Self::Name(name.to_owned())),
            // An id has no blank.
            ("a", rest) => {
                let (id, address) = rest.split_once(' ')?;
                Some(Self::Address(address.to_owned(), UserId::from_text(id.to_owned())))
            }
            _ => None,
        }
    }

    fn write(&self) -> String {
        match self {
            Self::Name(name) => format!("n{name}"),
            Self::Address(address, id) => format!("a{id} {address}"),
        }
    }
}

/// A page of the accounts whose name, or else whose address, begins with a text, in that order. Each stands on one
/// page, whatever is added or deleted meanwhile.
///
/// # Errors
/// [`Error::Validation`], [`Error::StorageUnavailable`]
pub async fn users(app: &App, query: Query) -> Result<Page<User>, Error> {
    let Query { text, limit, cursor } = query;
    let text = text.unwrap_or_default();
    let list = format!("users {text}");
    let place = match cursor {
        Some(cursor) => {
            let place = Place::read(&cursor::read(&app.secrets, &list, &cursor)?);
            Some(place.ok_or_else(|| Error::internal("a cursor of ours names no place"))?)
        }
        None => None,
    };
    // One more, to know whether there is another page.
    let wanted = i64::from(limit) + 1;
    // No name has what cannot be in one.
    let name = if text.is_empty() { Some(String::new()) } else { Username::key(&text).ok() };
    let mut found: Vec<(Found, bool)> = Vec::new();
    if let (Some(name), None | Some(Place::Name(_))) = (&name, &place) {
        let after = if let Some(Place::Name(after)) = &place { Some(after.as_str()) } else { None };
        found.extend(app.store.users_named(name, after, wanted).await?.into_iter().map(|one| (one, true)));
    }
    let missing = wanted - i64::try_from(found.len()).map_err(Error::internal)?;
    if missing > 0 && !text.is_empty() {
        let after = if let Some(Place::Address(address, id)) = &place { Some((address.as_str(), id)) } else { None };
        let address = text.to_ascii_lowercase();
        let more = app.store.users_addressed(&address, name.as_deref(), after, missing).await?;
        found.extend(more.into_iter().map(|one| (one, false)));
    }
    let is_last = i64::try_from(found.len()).map_err(Error::internal)? < wanted;
    found.truncate(usize::try_from(limit).map_err(Error::internal)?);
    let end = found.last().filter(|_| !is_last).map(|(one, is_by_name)| {
        let key = one.key.clone();
        if *is_by_name { Place::Name(key) } else { Place::Address(key, one.user.id.clone()) }
    });
    let next_cursor = end.map(|place| cursor::write(&app.secrets, &list, &place.write()));
    Ok(Page { items: found.into_iter().map(|(one, _)| one.user).collect(), next_cursor })
}

/// An account.
///
/// # Errors
/// [`Error::NotFound`], [`Error::StorageUnavailable`]
pub async fn user(app: &App, id: &UserId) -> Result<User, Error> {
    Ok(app.store.credentials_by_id(id).await?.ok_or(Error::NotFound)?.user)
}

/// Changes an account: all of it, or nothing. It holds from the next request on. A proved address that it loses is
/// told.
///
/// # Errors
/// [`Error::NotFound`], [`Error::LastAdmin`], [`Error::EmailTaken`], [`Error::StorageUnavailable`]
pub async fn change(app: &App, now: Time, by: &By, id: &UserId, changes: Changes) -> Result<User, Error> {
    let notice = if changes.email.is_some() { outbox::notice(app, now)? } else { None };
    match app.store.change_user(id.clone(), changes, notice, by.clone(), now).await? {
        Changed::Done(user, events) => {
            for event in events {
                tracing::info!(event, user_id = %id, by = by.name());
            }
            Ok(user)
        }
        Changed::Gone => Err(Error::NotFound),
        Changed::LastAdmin => Err(Error::LastAdmin),
        Changed::EmailTaken => Err(Error::EmailTaken),
    }
}

/// Deletes an account for good. Its proved address is told.
///
/// # Errors
/// [`Error::NotFound`], [`Error::LastAdmin`], [`Error::StorageUnavailable`]
pub async fn delete(app: &App, now: Time, by: &By, id: &UserId, last_admin: LastAdmin) -> Result<(), Error> {
    let notice = outbox::notice(app, now)?;
    match app.store.delete_user(id.clone(), last_admin, notice, by.does("user_deleted", now)).await? {
        Removal::Done => tracing::info!(event = "user_deleted", user_id = %id, by = by.name()),
        Removal::Gone => return Err(Error::NotFound),
        Removal::LastAdmin => return Err(Error::LastAdmin),
    }
    Ok(())
}

/// What somebody typed to change an account.
#[derive(Debug, Clone, Default)]
pub struct Form {
    /// Whether it may not log in.
    pub disabled: Option<bool>,
    /// All of its roles; it has `user` in any case.
    pub roles: Option<Vec<String>>,
    /// Its address, which proves nothing; or none.
    pub email: Option<Option<String>>,
}

impl Form {
    /// The changes.
    ///
    /// # Errors
    /// [`Error::Validation`] with all that is wrong.
    pub fn check(self) -> Result<Changes, Error> {
        let Self { disabled, roles, email } = self;
        let roles = roles.as_deref().map(self::roles).transpose();
        let email = email.map(|email| email.as_deref().map(address).transpose()).transpose();
        match (roles, email) {
            (Ok(roles), Ok(email)) => {
                Ok(Changes { disabled, roles: roles.map(NewRoles::Set), email, ..Changes::default() })
            }
            (roles, email) => Err(Error::Validation([roles.err(), email.err()].into_iter().flatten().collect())),
        }
    }
}

/// The roles of these names.
///
/// # Errors
/// What is wrong with the first that cannot be one.
pub fn roles(names: &[String]) -> Result<Roles, FieldError> {
    if names.len() > ROLES {
        return Err(FieldError::new("/roles", format!("must have at most {ROLES} roles")));
    }
    let bad = |name: &String| Roles::one(name).is_err();
    if let Some(at) = names.iter().position(bad) {
        let detail = "must be a lower-case letter, then up to 31 lower-case letters, digits, `_` or `-`";
        return Err(FieldError::new(format!("/roles/{at}"), detail));
    }
    Roles::with(names.iter().map(String::as_str)).map_err(|why| FieldError::new("/roles", why))
}

fn address(text: &str) -> Result<Email, FieldError> {
    Email::parse(text).map_err(|why| FieldError::new("/email", why))
}

/// Which part of the audit log.
#[derive(Debug, Clone, Default)]
pub struct AuditQuery {
    /// Of this account or key.
    pub target: Option<String>,
    /// Of this event.
    pub event: Option<String>,
    /// How many rows.
    pub limit: u32,
    /// Where the page before ended.
    pub cursor: Option<String>,
}

/// A page of the audit log, the newest row first.
///
/// # Errors
/// [`Error::Validation`], [`Error::StorageUnavailable`]
pub async fn audit(app: &App, now: Time, query: AuditQuery) -> Result<Page<Audited>, Error> {
    let AuditQuery { target, event, limit, cursor } = query;
    let none = String::new();
    let list = format!("audit {} {}", event.as_ref().unwrap_or(&none), target.as_ref().unwrap_or(&none));
    let before = cursor.map(|cursor| cursor::read(&app.secrets, &list, &cursor)).transpose()?;
    let before = before.map(|place| place.parse().map_err(Error::internal)).transpose()?;
    // What waits is read, too.
    if let Err(error) = super::audit::record(app, now).await {
        tracing::warn!(event = "refusals_not_recorded", %error);
    }
    let mut items = app.store.audit(Search { target, event, before }, i64::from(limit) + 1).await?;
    let wanted = usize::try_from(limit).map_err(Error::internal)?;
    let is_last = items.len() <= wanted;
    items.truncate(wanted);
    let end = items.last().filter(|_| !is_last);
    let next_cursor = end.map(|row| cursor::write(&app.secrets, &list, &row.id.to_string()));
    Ok(Page { items, next_cursor })
}
