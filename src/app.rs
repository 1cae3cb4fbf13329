//! What the server is made of.

use crate::{
    auth::{
        audit::Refusals,
        hasher::Hasher,
        limits::Limits,
        outbox::Progress,
        password::Policy,
        revocation::Revocations,
        rotation::{self, Duty, KeyError},
        secrets::Secrets,
        session::Uses,
        token::Tokens,
    },
    clock::Clock,
    config::Config,
    error::Error,
    mail::Mailer,
    metrics::Metrics,
    store::{OpenError, Store},
    templates::{TemplateError, Templates},
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
    /// What is derived from `SECRET_KEY`.
    pub secrets: Secrets,
    /// Issues and verifies access tokens.
    pub tokens: Tokens,
    /// When sessions were last used.
    pub uses: Uses,
    /// What ended.
    pub revocations: Revocations,
    /// What was refused.
    pub refusals: Refusals,
    /// How often something may be tried.
    pub limits: Limits,
    /// Where mail goes.
    pub mailer: Mailer,
    /// How far the sending of it is.
    pub mailing: Progress,
    /// Letters and pages.
    pub templates: Templates,
    /// What is counted.
    pub metrics: Metrics,
    /// Tells the time.
    pub clock: Clock,
}

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The database.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The keys.
    #[error("cannot start: {0}")]
    Keys(#[from] KeyError),
    /// The operator's templates.
    #[error("cannot start: {0}")]
    Templates(#[from] TemplateError),
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
        // What starting needs is large, and over soon.
        let app = Box::pin(Self::assemble(config, clock, Duty::Serve)).await?;
        app.tokens.self_test(app.clock.now())?;
        Ok(app)
    }

    /// The same for a command beside a server, or before the first one: it changes no key unless that is what it is
    /// for.
    ///
    /// # Errors
    /// [`BuildError`]
    pub async fn build_for_command(config: Config, clock: Clock) -> Result<Self, BuildError> {
        Box::pin(Self::assemble(config, clock, Duty::Command)).await
    }

    async fn assemble(config: Config, clock: Clock, duty: Duty) -> Result<Self, BuildError> {
        let secrets = Secrets::derive(&config)?;
        let (mailer, templates) = (Mailer::new(&config)?, templates(&config, duty)?);
        let store = Store::open(&config.database).await?;
        let hasher = Hasher::start(config.argon2, config.hash_threads, config.hash_queue)?;
        let ring = rotation::prepare(&store, &secrets, &config, clock.now(), duty).await?;
        let lifetime = rotation::lifetime(&config)?;
        let tokens = Tokens::new(ring, config.public_url.clone(), config.audience.clone(), lifetime);
        let metrics = Metrics::new(&config, &clock)?;
        metrics.measure(&store, &hasher, &tokens)?;
        let password_policy = Policy::new(&config);
        let (uses, revocations, refusals) = (Uses::default(), Revocations::default(), Refusals::default());
        let limits = Limits::new(config.rate_limits, clock.tick())?;
        let mailing = Progress::default();
        Ok(Self {
            config,
            store,
            hasher,
            password_policy,
            secrets,
            tokens,
            uses,
            revocations,
            refusals,
            limits,
            mailer,
            mailing,
            templates,
            metrics,
            clock,
        })
    }
}

/// What stops a server must not keep anybody from disabling an account.
fn templates(config: &Config, duty: Duty) -> Result<Templates, TemplateError> {
    match (Templates::load(config.mail_templates.as_deref()), duty) {
        (Err(error), Duty::Command) => {
            tracing::warn!(event = "templates_not_used", %error);
            Templates::load(None)
        }
        (loaded, _) => loaded,
    }
}
