//! What the server is made of.

use crate::{
    auth::{hasher::Hasher, keys::SigningKey, password::Policy, token::Tokens},
    clock::Clock,
    config::Config,
    error::Error,
    store::{OpenError, Store},
};

/// The parts, shared by every request.
#[derive(Debug)]
pub struct App {
    /// The settings.
    pub config: Config,
    /// The database.
    pub store: Store,
    /// The hashing threads.
    pub hasher: Hasher,
    /// What a new password must be.
    pub password_policy: Policy,
    /// Issues and verifies access tokens.
    pub tokens: Tokens,
    /// Tells the time.
    pub clock: Clock,
}

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The database.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A part that did not work when it was tried.
    #[error("cannot start: {0}")]
    Part(#[from] Error),
}

impl App {
    /// Opens the database, starts the hashing threads, and tries out the signing key.
    ///
    /// # Errors
    /// [`BuildError`]
    pub async fn build(config: Config, clock: Clock) -> Result<Self, BuildError> {
        let store = Store::open(&config.database).await?;
        let hasher = Hasher::start(config.argon2, config.hash_threads, config.hash_queue)?;
        let lifetime = i64::try_from(config.access_token_ttl.as_secs()).map_err(Error::internal)?;
        let key = SigningKey::hs256(&config.secret_key)?;
        let tokens = Tokens::new(key, config.public_url.clone(), config.audience.clone(), lifetime);
        tokens.self_test()?;
        let password_policy = Policy { min_length: config.password_min_length };
        Ok(Self { config, store, hasher, password_policy, tokens, clock })
    }
}
