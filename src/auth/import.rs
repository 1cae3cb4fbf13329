//! Accounts from somewhere else, a line of JSON each, and back.

use std::{
    collections::HashSet,
    hash::{BuildHasher, RandomState},
};

use serde::{Deserialize, Serialize};

use super::{admin, random};
use crate::{
    app::App,
    error::{Error, FieldError},
    json::{self, Defect, Misfit},
    model::{By, Credentials, Email, PasswordHash, Roles, Time, Username},
    store::{Arrival, Newcomer},
};

/// How far ahead another machine's clock may be, in seconds.
const CLOCK: i64 = 86_400;

/// How many accounts are read at once.
const PAGE: i64 = 500;

/// A line of an import or of an export. It has the hash, and so no debug form.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    username: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    email_verified: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    password_hash: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    roles: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    disabled: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    created_at: Option<String>,
}

/// A line as it was found.
#[derive(Debug, Clone, Copy)]
pub enum Line<'a> {
    /// Its bytes.
    Whole(&'a [u8]),
    /// It was longer than anything that is read.
    TooLong,
}

/// What became of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The account's name, if it could be read.
    pub username: Option<String>,
    /// In a word.
    pub status: Status,
    /// What is wrong with it. Holds nothing of the line.
    pub errors: Vec<FieldError>,
}

/// What became of a line, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// The account was made.
    Added,
    /// It would be, were this no rehearsal.
    WouldAdd,
    /// There was an account of this name, which stays as it is.
    Exists,
    /// It is no account that can be made.
    Invalid,
}

impl Status {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::WouldAdd => "would_add",
            Self::Exists => "exists",
            Self::Invalid => "invalid",
        }
    }
}

/// An import, line after line.
#[derive(Debug, Default)]
pub struct Import {
    /// Of a rehearsal, which names and proved addresses stood in earlier lines: a digest of each, 8 bytes.
    rehearsed: Option<HashSet<u64>>,
    hasher: RandomState,
    /// Where the audit log counts its accounts.
    row: Option<i64>,
}

impl Import {
    /// One that makes accounts.
    pub fn new() -> Self {
        Self::default()
    }

    /// One that says what would become of them.
    pub fn rehearsal() -> Self {
        Self { rehearsed: Some(HashSet::new()), ..Self::default() }
    }

    /// Takes some lines: their accounts are made in one transaction.
    ///
    /// # Errors
    /// [`Error::StorageUnavailable`]: none of these was made.
    pub async fn take(&mut self, app: &App, now: Time, lines: &[Line<'_>]) -> Result<Vec<Outcome>, Error> {
        let (mut newcomers, mut outcomes) = (Vec::with_capacity(lines.len()), Vec::with_capacity(lines.len()));
        for line in lines {
            let read = match line {
                Line::Whole(bytes) => read(app, now, bytes)?,
                Line::TooLong => Err(Outcome::invalid(None, vec![FieldError::new("", "is longer than 16 KiB")])),
            };
            // What becomes of a newcomer is not known yet.
            outcomes.push(match read {
                Ok(newcomer) => {
                    let username = Some(newcomer.username.display().to_owned());
                    newcomers.push(newcomer);
                    Outcome { username, status: Status::Added, errors: Vec::new() }
                }
                Err(invalid) => invalid,
            });
        }
        let arrivals = match &mut self.rehearsed {
            None => {
                let entry = By::operator().does("users_imported", now);
                let (arrivals, row) = app.store.import(newcomers, entry, self.row).await?;
                self.row = row;
                arrivals
            }
            Some(rehearsed) => {
                let foreseen = app.store.foresee(&newcomers).await?;
                newcomers
                    .iter()
                    .zip(foreseen)
                    .map(|(new, arrival)| rehearse(rehearsed, &self.hasher, new, arrival))
                    .collect()
            }
        };
        let awaiting = outcomes.iter_mut().filter(|outcome| outcome.status == Status::Added);
        for (outcome, arrival) in awaiting.zip(arrivals) {
            match arrival {
                Arrival::Added if self.rehearsed.is_some() => outcome.status = Status::WouldAdd,
                Arrival::Added => {}
                Arrival::NameTaken => outcome.status = Status::Exists,
                Arrival::AddressTaken => {
                    outcome.status = Status::Invalid;
                    outcome.errors.push(FieldError::new("/email", "another account has proved this address"));
                }
            }
        }
        Ok(outcomes)
    }
}

/// What would become of a newcomer once those before it were there.
fn rehearse(seen: &mut HashSet<u64>, hasher: &RandomState, new: &Newcomer, arrival: Arrival) -> Arrival {
    let name = hasher.hash_one((0, new.username.as_key()));
    let proved = new.email.as_ref().filter(|_| new.email_verified_at.is_some());
    let address = proved.map(|email| hasher.hash_one((1, email.as_key())));
    match arrival {
        Arrival::Added if seen.contains(&name) => Arrival::NameTaken,
        Arrival::Added if address.is_some_and(|address| seen.contains(&address)) => Arrival::AddressTaken,
        Arrival::Added => {
            seen.insert(name);
            seen.extend(address);
            Arrival::Added
        }
        taken => taken,
    }
}

impl Outcome {
    fn invalid(username: Option<String>, errors: Vec<FieldError>) -> Self {
        Self { username, status: Status::Invalid, errors }
    }
}

/// Reads a line. The rules are those of any account, but that reserved names are open, as to the operator they are, and
/// that nobody can see what a hashed password is worth.
fn read(app: &App, now: Time, line: &[u8]) -> Result<Result<Newcomer, Outcome>, Error> {
    let record: Record = match json::read(line) {
        Ok(record) => record,
        Err(misfit) => return Ok(Err(Outcome::invalid(None, vec![explain(misfit)]))),
    };
    let mut errors = Vec::new();
    let username = keep(&mut errors, "/username", Username::parse(&record.username));
    let email = record.email.as_deref().map(Email::parse).transpose();
    let email = keep(&mut errors, "/email", email).flatten();
    let is_verified = record.email_verified.unwrap_or(false);
    if is_verified && record.email.is_none() {
        errors.push(FieldError::new("/email_verified", "is true of no address"));
    }
    let password_hash = record.password_hash.map(PasswordHash::from_text);
    let checked = password_hash.as_ref().map_or(Ok(()), |hash| app.hasher.check(hash));
    keep(&mut errors, "/password_hash", checked);
    // In other words than the error's own, which has the name.
    let roles = match Roles::with(record.roles.iter().flatten().map(String::as_str)) {
        Err(_) => Err("has a name that no role can have"),
        Ok(_) if record.roles.iter().flatten().count() > admin::ROLES => {
            Err("has more roles than a token has room for")
        }
        Ok(roles) => Ok(roles),
    };
    let roles = keep(&mut errors, "/roles", roles);
    let is_past = |at: &Time| (0..=now.plus(CLOCK).unix()).contains(&at.unix());
    let created_at = match &record.created_at {
        None => Ok(now),
        Some(text) => Time::parse(text).filter(is_past).ok_or("must be a time that has been, as 2026-11-23T09:00:00Z"),
    };
    let created_at = keep(&mut errors, "/created_at", created_at);
    match (username, roles, created_at) {
        (Some(username), Some(roles), Some(created_at)) if errors.is_empty() => Ok(Ok(Newcomer {
            id: random::id(now)?,
            username,
            email,
            email_verified_at: is_verified.then_some(now),
            password_hash,
            roles,
            created_at,
            disabled_at: record.disabled.unwrap_or(false).then_some(now),
        })),
        (username, ..) => Ok(Err(Outcome::invalid(username.map(|name| name.display().to_owned()), errors))),
    }
}

/// The value, or what is wrong with it among the errors.
fn keep<T, E: std::fmt::Display>(errors: &mut Vec<FieldError>, pointer: &str, read: Result<T, E>) -> Option<T> {
    read.map_err(|why| errors.push(FieldError::new(pointer, why))).ok()
}

fn explain(misfit: Misfit) -> FieldError {
    let whole = |detail: &str| FieldError::new("", detail);
    match misfit {
        Misfit::Defect(Defect::Malformed) => whole("is not JSON in UTF-8"),
        Misfit::Defect(Defect::Twice) => whole("has a member twice"),
        Misfit::Defect(Defect::OutOfRange) => whole("has a number that is out of range"),
        Misfit::NoObject => whole("is not an object with the members of an account"),
        Misfit::Unknown => whole("has a member that is not known"),
        Misfit::Member(field) => field,
    }
}

/// An export, page after page, by name.
#[derive(Debug)]
pub struct Export {
    /// The last name that was read.
    key: String,
}

impl Export {
    /// Begins one. The audit log has it before anything is given away.
    ///
    /// # Errors
    /// [`Error::StorageUnavailable`]
    pub async fn begin(app: &App, now: Time) -> Result<Self, Error> {
        app.store.record(vec![By::operator().does("users_exported", now)]).await?;
        tracing::info!(event = "users_exported");
        Ok(Self { key: String::new() })
    }

    /// The next accounts. None are left: an empty page.
    ///
    /// # Errors
    /// [`Error::StorageUnavailable`]
    pub async fn next(&mut self, app: &App) -> Result<Vec<Record>, Error> {
        let page = app.store.credentials_after(&self.key, PAGE).await?;
        if let Some(last) = page.last() {
            self.key = Username::key(&last.user.username).map_err(Error::internal)?;
        }
        Ok(page.into_iter().map(Record::from).collect())
    }
}

impl From<Credentials> for Record {
    fn from(Credentials { user, password_hash }: Credentials) -> Self {
        let email_verified = user.email.as_ref().map(|_| user.email_verified_at.is_some());
        Self {
            username: user.username,
            email: user.email,
            email_verified,
            password_hash: password_hash.map(|hash| hash.as_str().to_owned()),
            roles: Some(user.roles.iter().map(str::to_owned).collect()),
            disabled: user.disabled_at.map(|_| true),
            created_at: Some(user.created_at.to_string()),
        }
    }
}
