//! What a server does by itself, beside answering.

use std::{sync::Arc, time::Duration};

use tokio::task::JoinSet;

use super::{rotation, session};
use crate::{app::App, error::Error, model::Time};

/// How often the ring is read again: what a command changes holds within a second.
const HEARING: Duration = Duration::from_millis(400);

/// How many hearings there are between two times of writing down which sessions were used: 4 s.
const USES: u64 = 10;

/// How many there are between two rounds: 60 s.
const ROUND: u64 = 150;

/// How many sessions are deleted in one transaction, and how long others may write before the next.
const BATCH: i64 = 500;
const PAUSE: Duration = Duration::from_millis(50);

/// The longest life of an access token, in seconds: so long an ended session may still be asked for.
const KEPT: i64 = 24 * 60 * 60;

/// Does it for as long as it is polled. A panic is a bug, and ends one run of it, not the server.
pub async fn run(app: Arc<App>) {
    loop {
        // A set ends its tasks when it is dropped.
        let mut tasks = JoinSet::new();
        tasks.spawn(work(app.clone()));
        tasks.join_next().await;
        tracing::error!(event = "upkeep_failed");
        tokio::time::sleep(HEARING).await;
    }
}

async fn work(app: Arc<App>) {
    let mut hearings = tokio::time::interval(HEARING);
    hearings.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for n in 1_u64.. {
        hearings.tick().await;
        let now = app.clock.now();
        report("signing_keys_not_read", rotation::reload(&app).await);
        if n % USES == 0 {
            report("uses_not_recorded", session::record_uses(&app).await);
        }
        if n % ROUND == 1 {
            round(&app, now).await;
        }
    }
}

/// Rotates the key that has come of age, and deletes what nobody can ask for any more.
pub async fn round(app: &App, now: Time) {
    if let Err(error) = rotation::rotate_if_due(app, now).await {
        tracing::error!(event = "signing_key_not_rotated", %error);
    }
    report("signing_keys_not_deleted", rotation::forget(app, now).await);
    report("sessions_not_deleted", purge(app, now.plus(-KEPT)).await);
}

async fn purge(app: &App, before: Time) -> Result<(), Error> {
    app.store.purge_cutoffs(before).await?;
    let mut purged = 0;
    loop {
        let batch = app.store.purge_sessions(before, BATCH).await?;
        purged += batch;
        if batch < BATCH.unsigned_abs() {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    if purged > 0 {
        tracing::info!(event = "sessions_deleted", count = purged);
    }
    Ok(())
}

/// What failed now is tried again soon.
fn report(event: &'static str, done: Result<(), Error>) {
    if let Err(error) = done {
        tracing::warn!(event, %error);
    }
}
