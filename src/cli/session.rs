use clap::{Args, Subcommand};

use super::{Failure, print, user};
use crate::{
    app::App,
    auth::session,
    model::{By, SessionId},
};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the sessions that are alive.
    List {
        /// Those of one account.
        #[arg(long, value_name = "NAME")]
        user: Option<String>,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// End sessions: their tokens are void from the next request on.
    End(Which),
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(super) struct Which {
    /// The session of this id.
    id: Option<String>,
    /// Those of one account.
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Every one: everybody has to log in again.
    #[arg(long)]
    all: bool,
}

pub(super) async fn run(app: &App, command: Command) -> Result<(), Failure> {
    let now = app.clock.now();
    match command {
        Command::List { user, json } => {
            let sessions = match user {
                None => app.store.living_sessions(now).await?,
                Some(name) => {
                    let user = user::find(app, &name).await?;
                    let sessions = app.store.sessions_of(&user.id, now).await?;
                    sessions.into_iter().map(|session| (session, user.username.clone())).collect()
                }
            };
            print::sessions(&sessions, &app.secrets.current.id, json)?;
        }
        Command::End(Which { id: Some(id), .. }) => {
            if !session::end_any(app, now, SessionId::from_text(id)).await? {
                return Err("there is no such session, or it has ended".into());
            }
        }
        Command::End(Which { user: Some(name), .. }) => {
            let user = user::find(app, &name).await?;
            session::end_all_of(app, now, &By::operator(), &user.id, None).await?;
        }
        Command::End(Which { .. }) => session::end_every(app, now).await?,
    }
    Ok(())
}
