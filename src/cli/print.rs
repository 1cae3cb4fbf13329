use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use serde::Serialize;

use crate::{config::Config, model::User};

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

pub(super) fn users(users: &[User], as_json: bool) -> io::Result<()> {
    let rows: Vec<Row<'_>> = users.iter().map(Row::from).collect();
    if as_json {
        return json(&rows);
    }
    let width = rows.iter().map(|row| row.username.chars().count()).max().unwrap_or(0);
    rows.iter().try_for_each(|row| {
        let state = if row.disabled_at.is_some() { "disabled" } else { "enabled" };
        out(&format!("{}  {:<width$}  {state:<8}  {}", row.id, row.username, row.roles.join(" ")))
    })
}
