//! The command line.
//!
//! What a command prints goes to standard output, what it has to say to standard error. It ends with 0, with
//! 1 if it failed, and with 2 if its words are off.

mod audit;
mod backup;
mod demo;
mod doctor;
mod import;
mod keys;
mod lines;
mod print;
mod serve;
mod session;
mod user;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};
use rustix::process::{Resource, Rlimit, setrlimit};
use tokio::runtime::Runtime;

use crate::{
    api,
    app::App,
    auth::random,
    clock::Clock,
    config::{Config, Mistakes},
    log,
};
use print::{complain, out};

/// Why a command failed. Said on standard error.
type Failure = Box<dyn std::error::Error>;

/// A self-hosted authentication server: one binary, one SQLite file.
///
/// Settings come from the environment and from `.env` in the current folder; `hallpass config` shows them.
#[derive(Debug, Parser)]
#[command(name = "hallpass", version)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve (also without a command).
    Serve,
    /// Serve a seeded demo on loopback; nothing to set up.
    Demo(Demo),
    /// Print a fresh `SECRET_KEY`.
    Secret,
    /// Print the effective settings, secrets masked.
    Config {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Look after accounts.
    #[command(subcommand)]
    User(user::Command),
    /// Look after sessions.
    #[command(subcommand)]
    Session(session::Command),
    /// Look after the keys that sign access tokens.
    #[command(subcommand)]
    Keys(keys::Command),
    /// Print what was done and refused, the newest first.
    Audit(audit::Command),
    /// Copy the database, beside a server that may be running, and verify the copy.
    Backup {
        /// A file that is not there yet.
        file: PathBuf,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Look for what is wrong, and say what to do. Changes nothing.
    Doctor {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print the OpenAPI document.
    Openapi,
}

#[derive(Debug, Args)]
struct Demo {
    /// Where the demo keeps its files.
    #[arg(long, default_value = "hallpass-demo")]
    dir: PathBuf,
    /// Where it listens.
    #[arg(long, default_value_t = 8_000, value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,
    /// Begin anew: delete what an earlier demo left in the folder.
    #[arg(long)]
    reset: bool,
}

/// Runs the command that the arguments name.
pub fn main() -> ExitCode {
    leave_no_core();
    match run(Cli::parse().command.unwrap_or(Command::Serve)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            complain(&story(failure.as_ref()));
            ExitCode::FAILURE
        }
    }
}

/// A core file would hold keys and passwords, and so would the memory of a process that its user's others may read.
/// Where the system has no such thing, there is nothing to be done.
fn leave_no_core() {
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
}

/// What went wrong, and why.
fn story(failure: &dyn std::error::Error) -> String {
    let mut story = failure.to_string();
    let mut cause = failure.source();
    while let Some(why) = cause {
        let why_text = why.to_string();
        // Some errors tell their cause already.
        if !story.contains(&why_text) {
            story = format!("{story}: {why_text}");
        }
        cause = why.source();
    }
    story
}

fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Serve => {
            let (config, log) = load()?;
            Runtime::new()?.block_on(serve::run(config, &log))
        }
        Command::Demo(Demo { dir, port, reset }) => {
            let demo = demo::Demo::new(dir, port, reset)?;
            let _log = log::start(&demo.log()?);
            Runtime::new()?.block_on(demo.run())
        }
        Command::Secret => Ok(out(&random::secret()?)?),
        Command::Config { json } => Ok(print::settings(&Config::load()?, json)?),
        Command::User(command) => {
            let may_make_one = command.makes_a_database();
            on_the_database(may_make_one, async |app| user::run(app, command).await)
        }
        Command::Session(command) => on_the_database(false, async |app| session::run(app, command).await),
        Command::Keys(command) => on_the_database(false, async |app| keys::run(app, command).await),
        Command::Audit(command) => on_the_database(false, async |app| audit::run(app, command).await),
        Command::Backup { file, json } => {
            let (config, _log) = load()?;
            is_there(&config)?;
            Runtime::new()?.block_on(backup::run(&config, &file, json))
        }
        Command::Doctor { json } => Runtime::new()?.block_on(doctor::run(json)),
        Command::Openapi => Ok(out(&api::spec())?),
    }
}

/// Runs a command on the database, beside a server that may be running on it.
fn on_the_database(may_make_one: bool, run: impl AsyncFnOnce(&App) -> Result<(), Failure>) -> Result<(), Failure> {
    let (config, _log) = load()?;
    if !may_make_one {
        is_there(&config)?;
    }
    Runtime::new()?.block_on(async {
        let app = App::build_for_command(config, Clock::System).await?;
        let done = run(&app).await;
        // When the command has ended, what it did holds.
        app.store.settle().await;
        app.store.close().await;
        done
    })
}

fn is_there(config: &Config) -> Result<(), Failure> {
    if config.database.exists() {
        return Ok(());
    }
    Err(format!("there is no database {}", config.database.display()).into())
}

/// The settings, and from here on a log.
fn load() -> Result<(Config, log::Running), Mistakes> {
    let config = Config::load()?;
    let running = log::start(&config.log);
    Ok((config, running))
}
