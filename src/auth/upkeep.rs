//! What a server does by itself, beside answering.

use std::{sync::Arc, time::Duration};

use tokio::{task::JoinSet, time::MissedTickBehavior};

use super::{audit, limits, outbox, rotation, session};
use crate::{app::App, error::Error, model::Time};

/// How often the ring is read again: what a command changes holds within a second.
const HEARING: Duration = Duration::from_millis(400);

/// How often it is written down which sessions were used.
const USES: Duration = Duration::from_secs(4);

/// How often it is written down what was refused.
const REFUSALS: Duration = Duration::from_secs(1);

/// How often the mails that wait are counted.
const MEASURING: Duration = Duration::from_secs(5);

/// How often keys are rotated that have come of age, and what is old is deleted.
const ROUND: Duration = Duration::from_mins(1);

/// How many sessions or rows of the audit log are deleted in one transaction, and how long others may write before the next.
const BATCH: i64 = 500;
const PAUSE: Duration = Duration::from_millis(50);

/// An hour more than the longest life of an access token, in seconds: so long, an ended session may be asked for.
const KEPT: i64 = 25 * 60 * 60;

/// Does it for as long as it is polled. Each part has a task of its own: hearing of keys waits for nothing else. A
/// panic is a bug, and ends one run of its part, not the server.
pub async fn run(app: Arc<App>) {
    let hear = |app: Arc<App>, _| async move { report("signing_keys_not_read", rotation::keep(&app).await) };
    let write = |app: Arc<App>, _| async move { report("uses_not_recorded", session::record_uses(&app).await) };
    let note = |app: Arc<App>, now| async move { report("refusals_not_recorded", audit::record(&app, now).await) };
    let tidy = |app: Arc<App>, now| async move { round(&app, now).await };
    let recall = async { report("known_addresses_not_read", limits::recall(&app, app.clock.now()).await) };
    let measure = |app: Arc<App>, now| async move { report("outbox_not_read", outbox::measure(&app, now).await) };
    tokio::join!(
        recall,
        again_and_again(&app, HEARING, hear),
        again_and_again(&app, USES, write),
        again_and_again(&app, REFUSALS, note),
        again_and_again(&app, ROUND, tidy),
        again_and_again(&app, MEASURING, measure),
        outbox::run(app.clone()),
    );
}

async fn again_and_again<F, W>(app: &Arc<App>, every: Duration, work: F)
where
    F: Fn(Arc<App>, Time) -> W,
    W: Future<Output = ()> + Send + 'static,
{
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // A set ends its tasks when it is dropped.
        let mut task = JoinSet::new();
        task.spawn(work(app.clone(), app.clock.now()));
        if let Some(Err(error)) = task.join_next().await {
            tracing::error!(event = "upkeep_failed", %error);
        }
    }
}

/// Rotates the key that has come of age, and deletes and forgets what nobody can ask for any more.
pub async fn round(app: &App, now: Time) {
    if let Err(error) = rotation::rotate_if_due(app, now).await {
        tracing::error!(event = "signing_key_not_rotated", %error);
    }
    report("signing_keys_not_deleted", rotation::forget(app, now).await);
    app.tokens.forget_expired(now);
    report("sessions_not_deleted", purge(app, now.plus(-KEPT)).await);
    report("audit_not_deleted", purge_audit(app, now).await);
    report("codes_not_deleted", outbox::forget(app, now).await);
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

async fn purge_audit(app: &App, now: Time) -> Result<(), Error> {
    let kept = i64::try_from(app.config.audit_kept.as_secs()).map_err(Error::internal)?;
    while app.store.purge_audit(now.plus(-kept), BATCH).await? == BATCH.unsigned_abs() {
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

/// What failed now is tried again soon.
fn report(event: &'static str, done: Result<(), Error>) {
    if let Err(error) = done {
        tracing::warn!(event, %error);
    }
}
