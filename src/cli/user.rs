use std::{
    io::{self, BufRead, IsTerminal, Read, Write},
    path::PathBuf,
};

use clap::Subcommand;
use zeroize::Zeroizing;

use super::{Failure, import, print};
use crate::{
    app::App,
    auth::{
        account::{self, Addition},
        admin,
    },
    error::Error,
    model::{By, Roles, User},
    store::{Changes, LastAdmin, NewRoles},
};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make an account. The password is asked for on the terminal, or read from standard input.
    Add {
        /// The user name.
        name: String,
        /// An e-mail address, not verified.
        #[arg(long)]
        email: Option<String>,
        /// A role beside `user`; may be given several times.
        #[arg(long = "role", value_name = "ROLE")]
        roles: Vec<String>,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// List the accounts.
    List {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show an account.
    Show {
        /// The user name.
        name: String,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Refuse an account's logins and end its sessions.
    Disable {
        /// The user name.
        name: String,
        /// Even if it is the last admin that can log in.
        #[arg(long)]
        force: bool,
    },
    /// Accept its logins again.
    Enable {
        /// The user name.
        name: String,
    },
    /// Delete an account for good. Asks on a terminal, and never otherwise.
    Delete {
        /// The user name.
        name: String,
        /// Even if it is the last admin that can log in.
        #[arg(long)]
        force: bool,
    },
    /// Give an account another password, asked for on the terminal or read from standard input, and end its sessions.
    SetPassword {
        /// The user name.
        name: String,
    },
    /// Make the accounts of a file: JSON Lines, with the password hashes of the program that they come from.
    ///
    /// A line is an object: `username`, and if you have them `email`, `email_verified`, `password_hash`, `roles`,
    /// `disabled`, `created_at`. What became of each is printed. Accounts that exist stay as they are, so that an import that was
    /// broken off can be run again. Ends with 1 if a line was invalid. docs/MIGRATING.md says how to make such a file.
    Import(import::Arguments),
    /// Print every account WITH ITS PASSWORD HASH, as lines that `import` takes.
    ///
    /// Whoever reads them can try passwords at leisure: guard them as you guard the database.
    Export {
        /// Into a file that is made for it, readable by its owner alone.
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Give an account a role.
    Grant {
        /// The user name.
        name: String,
        /// The role.
        role: String,
    },
    /// Take a role from an account.
    Revoke {
        /// The user name.
        name: String,
        /// The role; `user` stays.
        role: String,
        /// Even if it is the last admin that can log in.
        #[arg(long)]
        force: bool,
    },
}

impl Command {
    /// The others have nothing to do without one, and a mistyped name should not make one.
    pub(super) fn makes_a_database(&self) -> bool {
        matches!(self, Self::Add { .. } | Self::Import(import::Arguments { dry_run: false, .. }))
    }
}

/// How many accounts are read at once.
const BATCH: i64 = 1_000;

pub(super) async fn run(app: &App, command: Command) -> Result<(), Failure> {
    let (now, by) = (app.clock.now(), By::operator());
    match command {
        Command::Add { name, email, roles, json } => {
            // Before the password is asked for.
            Roles::with(roles.iter().map(String::as_str))?;
            let form = Addition { username: name, password: Some(ask_password()?), email, roles };
            let user = account::add(app, app.clock.now(), &by, form).await.map_err(explain)?;
            print::user(&user, json)?;
        }
        Command::List { json } => list(app, json).await?,
        Command::Show { name, json } => print::user(&find(app, &name).await?, json)?,
        Command::Disable { name, force } => {
            let changes = Changes::disabled(true).with(last_admin(force));
            admin::change(app, now, &by, &find(app, &name).await?.id, changes).await.map_err(explain)?;
        }
        Command::Enable { name } => {
            let changes = Changes::disabled(false);
            admin::change(app, now, &by, &find(app, &name).await?.id, changes).await.map_err(explain)?;
        }
        Command::Delete { name, force } => {
            let user = find(app, &name).await?;
            if !confirm(&format!("Delete {} for good?", user.username))? {
                return Err("nothing was deleted".into());
            }
            admin::delete(app, app.clock.now(), &by, &user.id, last_admin(force)).await.map_err(explain)?;
        }
        Command::SetPassword { name } => {
            let user = find(app, &name).await?;
            let password = ask_password()?;
            // Asking took a while.
            account::set_password(app, app.clock.now(), &by, &user, password).await.map_err(explain)?;
        }
        Command::Import(arguments) => import::run(app, &arguments).await?,
        Command::Export { output } => import::export(app, output.as_deref()).await?,
        Command::Grant { name, role } => {
            let changes = Changes::roles(NewRoles::Add(Roles::one(&role)?));
            admin::change(app, now, &by, &find(app, &name).await?.id, changes).await.map_err(explain)?;
        }
        Command::Revoke { name, role, force } => {
            let changes = Changes::roles(NewRoles::Remove(Roles::one(&role)?)).with(last_admin(force));
            admin::change(app, now, &by, &find(app, &name).await?.id, changes).await.map_err(explain)?;
        }
    }
    Ok(())
}

fn last_admin(force: bool) -> LastAdmin {
    if force { LastAdmin::MayGo } else { LastAdmin::Stays }
}

/// Prints the accounts batch by batch: there may be a million.
async fn list(app: &App, json: bool) -> Result<(), Failure> {
    let mut rows = print::Rows::begin(json);
    let mut after: Option<String> = None;
    loop {
        let mut batch = app.store.users_named("", after.as_deref(), BATCH).await?;
        print::users(&mut rows, &batch)?;
        match batch.pop() {
            Some(last) => after = Some(last.key),
            None => return Ok(rows.end()?),
        }
    }
}

pub(super) async fn find(app: &App, name: &str) -> Result<User, Failure> {
    account::find(app, name).await.map_err(|error| match error {
        Error::UserNotFound => format!("there is no user {name:?}").into(),
        other => other.into(),
    })
}

/// Says what the operator can do about it.
fn explain(error: Error) -> Failure {
    match error {
        Error::Validation(errors) => {
            let lines: Vec<String> =
                errors.iter().map(|e| format!("{} {}", e.pointer.trim_start_matches('/'), e.detail)).collect();
            lines.join("; ").into()
        }
        Error::UsernameTaken => "there is a user of this name".into(),
        Error::EmailTaken => "another user has proved this address".into(),
        Error::LastAdmin => "this is the last admin that can log in: make another one first (hallpass user grant NAME \
                             admin), or insist with --force"
            .into(),
        other => other.into(),
    }
}

/// In bytes: more than any password has.
const LONGEST_LINE: usize = 8 * 1_024;

/// Twice on a terminal, so that a slip is found; otherwise the first line of standard input.
fn ask_password() -> Result<String, Failure> {
    if !io::stdin().is_terminal() {
        // At its full size from the start: growing would leave copies behind.
        let mut line = Zeroizing::new(String::with_capacity(LONGEST_LINE));
        io::stdin().lock().take(LONGEST_LINE as u64).read_line(&mut line)?;
        return Ok(line.trim_end_matches(['\r', '\n']).to_owned());
    }
    let first = rpassword::prompt_password("Password: ")?;
    let second = Zeroizing::new(rpassword::prompt_password("Once more: ")?);
    if first == *second { Ok(first) } else { Err("the two differ".into()) }
}

/// Asks on a terminal. Without one the command itself is the answer.
fn confirm(question: &str) -> io::Result<bool> {
    if !io::stdin().is_terminal() {
        return Ok(true);
    }
    write!(io::stderr(), "{question} [y/N] ")?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
