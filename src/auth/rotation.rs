//! How the ring changes: at the start, by the clock, and by command.

use super::{
    keys,
    ring::Ring,
    secrets::{Derived, Secrets},
};
use crate::{
    app::App,
    config::Config,
    error::Error,
    model::{Algorithm, By, StoredKey, Time},
    store::{Follower, NewKey, Resealed, Revoked, Store},
};

/// How long others may keep the published keys, in seconds.
pub const CACHE_LIFE: i64 = 300;

/// How long a key is published before it signs, in seconds: two cache lives, and the ten minutes for which npm
/// `jose` keeps a set unless it is told otherwise.
pub const LEAD: i64 = 600;

/// The least of it: what every server on this database needs to hear of the key.
pub const LEAST_LEAD: i64 = 2;

/// How long a key is remembered after its tokens have expired, in seconds: they are told from forged ones.
const MEMORY: i64 = 24 * 60 * 60;

/// Whether a process serves, and so may change the ring, or runs one command beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duty {
    /// It serves.
    Serve,
    /// It runs a command.
    Command,
}

/// Why the keys cannot be used. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The database was used with another secret.
    #[error(
        "SECRET_KEY is not the one that this database is used with. Put the right one back; to replace it, set \
         SECRET_KEY_PREVIOUS to the one before. Nothing was changed"
    )]
    WrongSecret,
    /// A private key does not decrypt.
    #[error("the signing key {0} cannot be read: its row is damaged or was changed; restore a backup")]
    Broken(String),
    /// `ALGORITHM` is HS256, and this secret's HS256 key was revoked.
    #[error("the HS256 key of this SECRET_KEY was revoked: replace SECRET_KEY, or set ALGORITHM to EdDSA or ES256")]
    Hs256Revoked,
    /// Two processes replaced the secret at once, or the ring changed meanwhile.
    #[error("the keys were changed by another process meanwhile; start again")]
    Changed,
    /// The database, or a bug.
    #[error(transparent)]
    Other(#[from] Error),
}

impl From<crate::store::Error> for KeyError {
    fn from(error: crate::store::Error) -> Self {
        Self::Other(error.into())
    }
}

/// Checks the secret, replaces the one before if that is what the settings say, and sees to it that a key of the
/// settings' algorithm signs.
///
/// # Errors
/// [`KeyError`]
pub async fn prepare(
    store: &Store,
    secrets: &Secrets,
    config: &Config,
    now: Time,
    duty: Duty,
) -> Result<Ring, KeyError> {
    let before = store.secret().await?;
    let is_first = before.is_none();
    let noted = match (before, duty) {
        (Some(noted), _) => noted,
        (None, Duty::Serve) => store.adopt_secret(secrets.current.id.clone(), now).await?,
        // A command makes nothing with it, and may have been given the wrong one.
        (None, Duty::Command) => secrets.current.id.clone(),
    };
    let sealing = secrets.by_id(&noted).ok_or(KeyError::WrongSecret)?;
    let rows = store.signing_keys().await?;
    let ring = Ring::open(rows.clone(), secrets, &noted, &Ring::default());
    if duty == Duty::Command {
        return Ok(ring);
    }
    if rows.is_empty() && !is_first {
        tracing::warn!(event = "signing_keys_missing", "none is left: tokens of one that was deleted are refused");
    }
    if let Some(kid) = ring.broken().first() {
        return Err(KeyError::Broken(kid.clone()));
    }
    // Before anything is changed.
    let hs256 = &secrets.current.hs256.kid;
    if config.algorithm == Algorithm::Hs256 && rows.iter().any(|row| row.kid == *hs256 && row.revoked_at.is_some()) {
        return Err(KeyError::Hs256Revoked);
    }
    if noted != secrets.current.id {
        replace(store, sealing, &secrets.current, &rows, now).await?;
        tracing::warn!(event = "secret_replaced");
    }
    let ring = if settle(store, &ring, secrets, config, now).await? {
        Ring::open(store.signing_keys().await?, secrets, &secrets.current.id, &ring)
    } else {
        ring
    };
    let ttl = lifetime(config)?;
    let is_ready = ring.signing(now).is_some_and(|key| may_sign(secrets, config, Some(key.algorithm), &key.kid));
    if is_ready {
        store.lengthen_keys(ring.shorter(now, ttl), ttl).await?;
    } else {
        let new = keys::make(&secrets.current, config.algorithm, now, now, ttl)?;
        let kid = new.kid.clone();
        if !store.switch_key(new, By::operator().does("signing_key_switched", now)).await? {
            return Err(KeyError::Changed);
        }
        tracing::info!(event = "signing_key_switched", kid, algorithm = config.algorithm.name());
    }
    Ok(Ring::open(store.signing_keys().await?, secrets, &secrets.current.id, &ring))
}

/// Whether it is a key that the settings ask for.
fn may_sign(secrets: &Secrets, config: &Config, algorithm: Option<Algorithm>, kid: &str) -> bool {
    algorithm == Some(config.algorithm) && (config.algorithm.has_public_key() || kid == secrets.current.hs256.kid)
}

/// Gives what was made while the clock was ahead the turns that it should have. Whether there was such a thing.
async fn settle(store: &Store, ring: &Ring, secrets: &Secrets, config: &Config, now: Time) -> Result<bool, Error> {
    let turns = ring.settled(now, LEAD, |row| may_sign(secrets, config, row.algorithm(), &row.kid));
    if turns.is_empty() {
        return Ok(false);
    }
    for (position, begins_at) in &turns {
        tracing::warn!(event = "signing_key_settled", position, %begins_at, "it was made later than now");
    }
    store.settle_keys(turns, now).await?;
    Ok(true)
}

/// Encrypts every private key anew, in one transaction.
async fn replace(
    store: &Store,
    previous: &Derived,
    current: &Derived,
    rows: &[StoredKey],
    now: Time,
) -> Result<(), KeyError> {
    let mut sealed = Vec::new();
    let mut rows: Vec<&StoredKey> = rows.iter().collect();
    rows.sort_by_key(|row| row.position);
    for row in rows {
        let (Some(old), Some(algorithm)) = (&row.sealed, row.algorithm()) else { continue };
        let about = keys::about(&row.kid, algorithm);
        let private = previous.open(old, &about).ok_or_else(|| KeyError::Broken(row.kid.clone()))?;
        let new = current.seal(&private, &about)?;
        sealed.push(Resealed { position: row.position, old: old.clone(), new });
    }
    let entry = By::operator().does("secret_replaced", now);
    if store.replace_secret(previous.id.clone(), current.id.clone(), sealed, entry).await? {
        return Ok(());
    }
    Err(KeyError::Changed)
}

/// The life of an access token, in seconds.
///
/// # Errors
/// [`Error::Internal`] if there are more than an `i64` counts.
pub fn lifetime(config: &Config) -> Result<i64, Error> {
    i64::try_from(config.access_token_ttl.as_secs()).map_err(Error::internal)
}

/// Reads the ring again, if it has changed. What one process writes, every other one hears of so.
///
/// # Errors
/// [`Error::StorageUnavailable`]: the ring stays as it was.
pub async fn reload(app: &App) -> Result<(), Error> {
    let reading = app.tokens.begin_reading();
    // Asked first: what is written while the rows are read is heard of.
    let heard = app.store.heard();
    let rows = app.store.signing_keys().await?;
    let ring = app.tokens.ring();
    if ring.is_of(&rows) {
        app.tokens.set_ring(reading, ring, heard);
        return Ok(());
    }
    // Somebody may have deleted it.
    let noted = app.store.secret().await?.unwrap_or_else(|| app.secrets.current.id.clone());
    if app.secrets.by_id(&noted).is_none() {
        tracing::error!(event = "secret_replaced_elsewhere", "this process has the old SECRET_KEY: start it again");
    }
    let ring = Ring::open(rows, &app.secrets, &noted, &ring);
    for kid in ring.broken() {
        tracing::error!(event = "signing_key_broken", kid);
    }
    let signing = ring.signing(app.clock.now()).map(|key| key.kid.as_str());
    tracing::info!(event = "signing_keys_read", signing);
    app.tokens.set_ring(reading, ring.into(), heard);
    Ok(())
}

/// The same, some times a second. And a command may have made a key without knowing how long this server's tokens live.
///
/// # Errors
/// [`Error::StorageUnavailable`]
pub async fn keep(app: &App) -> Result<(), Error> {
    reload(app).await?;
    let ttl = lifetime(&app.config)?;
    let short = app.tokens.ring().shorter(app.clock.now(), ttl);
    Ok(app.store.lengthen_keys(short, ttl).await?)
}

/// What a command on keys came to nothing for.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Under HS256 the key is the secret.
    #[error(
        "ALGORITHM is HS256, whose key is SECRET_KEY itself: to rotate it, replace SECRET_KEY (with \
         SECRET_KEY_PREVIOUS); to have keys that rotate, set ALGORITHM to EdDSA or ES256"
    )]
    Hs256,
    /// The server signs with another algorithm.
    #[error("the server does not sign with ALGORITHM yet: start it with this setting, which switches the key")]
    NotSwitched,
    /// The key to be revoked is all there is.
    #[error(
        "this key signs, and HS256 has no other: replace SECRET_KEY (with SECRET_KEY_PREVIOUS), or set ALGORITHM to \
         EdDSA or ES256, and start the server; then revoke it"
    )]
    Hs256Signs,
    /// No key has this id.
    #[error("there is no such key")]
    Unknown,
    /// It was revoked before.
    #[error("it was revoked before")]
    Before,
    /// Another process changed the ring or the secret meanwhile.
    #[error("the keys were changed by another process meanwhile; try again")]
    Changed,
    /// The database, or a bug.
    #[error(transparent)]
    Other(#[from] Error),
}

/// Makes the next key: published from now on, signing in `lead` seconds. The first key of all signs at once.
///
/// # Errors
/// [`Refused`]
pub async fn rotate(app: &App, now: Time, lead: i64) -> Result<NewKey, Refused> {
    let new = next(app, now, lead.max(LEAST_LEAD)).await?;
    let entry = By::operator().does("signing_key_added", now);
    if !app.store.add_key(new.clone(), None, entry).await.map_err(Error::from)? {
        return Err(Refused::Changed);
    }
    tracing::info!(event = "signing_key_added", kid = new.kid, activates_at = %new.activates_at);
    reload(app).await?;
    Ok(new)
}

/// The same by the clock: when the newest key has come of age, or will within the time that the next one needs.
///
/// # Errors
/// [`Refused::Other`]
pub async fn rotate_if_due(app: &App, now: Time) -> Result<(), Refused> {
    if settle(&app.store, &app.tokens.ring(), &app.secrets, &app.config, now).await? {
        reload(app).await?;
    }
    let Some(every) = app.config.key_rotation else { return Ok(()) };
    let every = i64::try_from(every.as_secs()).map_err(Error::internal)?;
    let newest = app.tokens.ring().newest(app.config.algorithm);
    let due_before = now.plus(LEAD - every);
    if !app.config.algorithm.has_public_key() || newest.is_some_and(|at| at > due_before) {
        return Ok(());
    }
    let new = next(app, now, LEAD).await?;
    let (kid, activates_at) = (new.kid.clone(), new.activates_at);
    let entry = By::operator().does("signing_key_added", now);
    // Another server may have come first.
    if app.store.add_key(new, Some(due_before), entry).await.map_err(Error::from)? {
        tracing::info!(event = "signing_key_added", kid, %activates_at);
    }
    Ok(reload(app).await?)
}

async fn next(app: &App, now: Time, lead: i64) -> Result<NewKey, Refused> {
    let algorithm = app.config.algorithm;
    if !algorithm.has_public_key() {
        return Err(Refused::Hs256);
    }
    let sealing = sealing(app, now).await?;
    let activates_at = match app.tokens.ring().signing(now) {
        Some(key) if key.algorithm != algorithm => return Err(Refused::NotSwitched),
        Some(_) => now.plus(lead),
        None => now,
    };
    Ok(keys::make(sealing, algorithm, now, activates_at, lifetime(&app.config)?)?)
}

/// The secret under which this database's private keys are encrypted.
async fn sealing(app: &App, now: Time) -> Result<&Derived, Refused> {
    let noted = app.store.adopt_secret(app.secrets.current.id.clone(), now).await.map_err(Error::from)?;
    app.secrets.by_id(&noted).ok_or(Refused::Changed)
}

/// Revokes a key: what it signed counts no more, from now on. If it is the one that signs, the next one takes over.
///
/// # Errors
/// [`Refused`]
pub async fn revoke(app: &App, now: Time, kid: &str) -> Result<(), Refused> {
    reload(app).await?;
    let ring = app.tokens.ring();
    let algorithm = ring.signing(now).map_or(app.config.algorithm, |key| key.algorithm);
    let next = if algorithm.has_public_key() {
        let spare = keys::make(sealing(app, now).await?, algorithm, now, now, lifetime(&app.config)?)?;
        Some(Follower { pending: ring.pending(now), spare })
    } else {
        None
    };
    let entry = By::operator().does("signing_key_revoked", now);
    match app.store.revoke_key(kid.to_owned(), next, entry).await.map_err(Error::from)? {
        Revoked::Done => tracing::warn!(event = "signing_key_revoked", kid),
        Revoked::Before => return Err(Refused::Before),
        Revoked::Unknown => return Err(Refused::Unknown),
        Revoked::Signs => return Err(Refused::Hs256Signs),
        Revoked::Changed => return Err(Refused::Changed),
    }
    Ok(reload(app).await?)
}

/// Forgets keys whose tokens expired long ago.
///
/// # Errors
/// [`Error::StorageUnavailable`]
pub async fn forget(app: &App, now: Time) -> Result<(), Error> {
    let old = app.tokens.ring().forgotten(now, MEMORY);
    if old.is_empty() {
        return Ok(());
    }
    app.store.delete_keys(old).await?;
    reload(app).await
}
