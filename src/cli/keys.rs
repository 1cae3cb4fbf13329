use clap::Subcommand;

use super::{Failure, print};
use crate::{app::App, auth::rotation};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the signing keys.
    List {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Make the next key. It is published at once, and signs when those who cache the published keys have heard of it.
    Rotate {
        /// Seconds until it signs. Fewer, if nobody caches for longer.
        #[arg(long = "in", value_name = "SECONDS", default_value_t = rotation::LEAD,
              value_parser = clap::value_parser!(i64).range(rotation::LEAST_LEAD..=86_400))]
        lead: i64,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Revoke a key: every token that it signed is void at once, and the next key signs.
    Revoke {
        /// Its id.
        #[arg(allow_hyphen_values = true)]
        kid: String,
    },
}

pub(super) async fn run(app: &App, command: Command) -> Result<(), Failure> {
    let now = app.clock.now();
    match command {
        Command::List { json } => print::keys(&app.tokens.ring().states(now), json)?,
        Command::Rotate { lead, json } => {
            let new = rotation::rotate(app, now, lead).await?;
            let ring = app.tokens.ring();
            match ring.states(now).iter().rfind(|(key, _)| key.kid == new.kid) {
                Some(key) if json => print::key(key)?,
                _ => print::out(&format!("{} signs from {}", new.kid, new.activates_at))?,
            }
        }
        Command::Revoke { kid } => rotation::revoke(app, now, &kid).await?,
    }
    Ok(())
}
