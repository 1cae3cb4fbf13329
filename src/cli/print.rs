use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use serde::Serialize;

use crate::{
    auth::ring::State,
    config::Config,
    model::{Audited, SecretId, Session, StoredKey, User, UserId},
    store::Found,
};

/// Prints a line of data.
pub(super) fn out(line: &str) -> io::Result<()> {
    match writeln!(io::stdout().lock(), "{line}") {
        // `hallpass … | head` is no failure.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => done,
    }
}

/// Says something to whoever sits at the terminal.
pub(super) fn complain(text: &str) {
    // Who closed standard error does not want to hear it.
    let _ = writeln!(io::stderr().lock(), "hallpass: {text}");
}

pub(super) fn json(data: &impl Serialize) -> io::Result<()> {
    out(&serde_json::to_string_pretty(data)?)
}

pub(super) fn settings(config: &Config, as_json: bool) -> io::Result<()> {
    let settings = config.describe();
    if as_json {
        return json(&settings.into_iter().collect::<BTreeMap<_, _>>());
    }
    settings.iter().try_for_each(|(name, value)| out(&format!("{name}={value}")))
}

/// An account as the operator sees it.
#[derive(Serialize)]
struct Row<'a> {
    id: &'a str,
    username: &'a str,
    email: Option<&'a str>,
    email_verified: bool,
    roles: Vec<&'a str>,
    created_at: String,
    disabled_at: Option<String>,
    last_login_at: Option<String>,
}

impl<'a> From<&'a User> for Row<'a> {
    fn from(user: &'a User) -> Self {
        Self {
            id: user.id.as_str(),
            username: &user.username,
            email: user.email.as_deref(),
            email_verified: user.email_verified_at.is_some(),
            roles: user.roles.iter().collect(),
            created_at: user.created_at.to_string(),
            disabled_at: user.disabled_at.map(|at| at.to_string()),
            last_login_at: user.last_login_at.map(|at| at.to_string()),
        }
    }
}

pub(super) fn user(user: &User, as_json: bool) -> io::Result<()> {
    let row = Row::from(user);
    if as_json {
        return json(&row);
    }
    let dash = |text: Option<&str>| text.unwrap_or("-").to_owned();
    for (name, value) in [
        ("id", row.id.to_owned()),
        ("username", row.username.to_owned()),
        ("email", dash(row.email) + if row.email_verified { " (verified)" } else { "" }),
        ("roles", row.roles.join(" ")),
        ("created_at", row.created_at),
        ("disabled_at", dash(row.disabled_at.as_deref())),
        ("last_login_at", dash(row.last_login_at.as_deref())),
    ] {
        out(&format!("{name:<14} {value}"))?;
    }
    Ok(())
}

/// Rows that are printed as they come: lines, or one JSON array.
pub(super) struct Rows {
    as_json: bool,
    count: u64,
}

impl Rows {
    pub(super) fn begin(as_json: bool) -> Self {
        Self { as_json, count: 0 }
    }

    fn row(&mut self, data: &impl Serialize, line: impl FnOnce() -> String) -> io::Result<()> {
        self.count += 1;
        if !self.as_json {
            return out(&line());
        }
        let before = if self.count == 1 { '[' } else { ',' };
        out(&format!("{before}{}", serde_json::to_string(data)?))
    }

    pub(super) fn end(self) -> io::Result<()> {
        match (self.as_json, self.count) {
            (true, 0) => out("[]"),
            (true, _) => out("]"),
            (false, _) => Ok(()),
        }
    }
}

pub(super) fn users(rows: &mut Rows, users: &[Found]) -> io::Result<()> {
    let width = users.iter().map(|found| found.user.username.chars().count()).max().unwrap_or(0);
    users.iter().map(|found| Row::from(&found.user)).try_for_each(|row| {
        rows.row(&row, || {
            let state = if row.disabled_at.is_some() { "disabled" } else { "enabled" };
            format!("{}  {:<width$}  {state:<8}  {}", row.id, row.username, row.roles.join(" "))
        })
    })
}

/// A row of the audit log as the operator sees it.
#[derive(Serialize)]
struct AuditRow<'a> {
    id: i64,
    at: String,
    event: &'a str,
    actor: Option<&'a str>,
    target: Option<&'a str>,
    address: Option<&'a str>,
    request_id: Option<&'a str>,
    outcome: &'a str,
    count: i64,
    detail: Option<&'a str>,
}

pub(super) fn audited(rows: &mut Rows, row: &Audited) -> io::Result<()> {
    let row = AuditRow {
        id: row.id,
        at: row.at.to_string(),
        event: &row.event,
        actor: row.actor.as_ref().map(UserId::as_str),
        target: row.target.as_deref(),
        address: row.address.as_deref(),
        request_id: row.request_id.as_deref(),
        outcome: &row.outcome,
        count: row.count,
        detail: row.detail.as_deref(),
    };
    rows.row(&row, || {
        let AuditRow { at, event, outcome, count, .. } = &row;
        let (actor, target) = (row.actor.unwrap_or("-"), row.target.unwrap_or("-"));
        let (address, detail) = (row.address.unwrap_or("-"), row.detail.unwrap_or_default());
        let line =
            format!("{at}  {event:<21}  {outcome:<8}  {count:>3}  {actor:<36}  {target:<36}  {address:<15}  {detail}");
        line.trim_end().to_owned()
    })
}

/// A session as the operator sees it.
#[derive(Serialize)]
struct SessionRow<'a> {
    id: &'a str,
    username: &'a str,
    created_at: String,
    last_used_at: String,
    refresh_expires_at: String,
    expires_at: String,
    ip: &'a str,
    user_agent: Option<&'a str>,
    /// Whether its refresh token was made with the `SECRET_KEY` before.
    on_previous_secret: bool,
}

impl<'a> SessionRow<'a> {
    fn new(session: &'a Session, username: &'a str, current: &SecretId) -> Self {
        Self {
            id: session.id.as_str(),
            username,
            created_at: session.created_at.to_string(),
            last_used_at: session.last_used_at.to_string(),
            refresh_expires_at: session.refresh_expires_at.to_string(),
            expires_at: session.expires_at.to_string(),
            ip: &session.ip,
            user_agent: session.user_agent.as_deref(),
            on_previous_secret: session.secret_id != *current,
        }
    }
}

pub(super) fn sessions(sessions: &[(Session, String)], current: &SecretId, as_json: bool) -> io::Result<()> {
    let rows: Vec<SessionRow<'_>> =
        sessions.iter().map(|(session, username)| SessionRow::new(session, username, current)).collect();
    if as_json {
        return json(&rows);
    }
    let width = rows.iter().map(|row| row.username.chars().count()).max().unwrap_or(0);
    for row in &rows {
        // What a client calls itself may hold what a terminal obeys.
        let user_agent = row.user_agent.unwrap_or("-").escape_debug().to_string();
        let SessionRow { id, username, last_used_at, ip, .. } = row;
        out(&format!("{id}  {username:<width$}  {last_used_at}  {ip}  {user_agent}"))?;
    }
    let previous = rows.iter().filter(|row| row.on_previous_secret).count();
    if previous > 0 {
        complain(&format!("{previous} of {} still hold a refresh token of SECRET_KEY_PREVIOUS", rows.len()));
    }
    Ok(())
}

/// A signing key as the operator sees it.
#[derive(Serialize)]
struct KeyRow<'a> {
    kid: &'a str,
    algorithm: &'a str,
    state: State,
    created_at: String,
    activates_at: String,
    revoked_at: Option<String>,
}

impl<'a> From<&'a (&'a StoredKey, State)> for KeyRow<'a> {
    fn from((key, state): &'a (&'a StoredKey, State)) -> Self {
        Self {
            kid: &key.kid,
            algorithm: &key.algorithm,
            state: *state,
            created_at: key.created_at.to_string(),
            activates_at: key.activates_at.to_string(),
            revoked_at: key.revoked_at.map(|at| at.to_string()),
        }
    }
}

pub(super) fn key(key: &(&StoredKey, State)) -> io::Result<()> {
    json(&KeyRow::from(key))
}

pub(super) fn keys(keys: &[(&StoredKey, State)], as_json: bool) -> io::Result<()> {
    let rows: Vec<KeyRow<'_>> = keys.iter().map(KeyRow::from).collect();
    if as_json {
        return json(&rows);
    }
    rows.iter().try_for_each(|KeyRow { kid, algorithm, state, activates_at, .. }| {
        let state = format!("{state:?}").to_lowercase();
        out(&format!("{kid:<43}  {algorithm}  {state:<7}  signs from {activates_at}"))
    })
}
