//! Every setting, typed and checked. All that is wrong is found at once; secrets are never printed.

mod parse;
mod secret;

use std::{
    collections::BTreeMap,
    env::VarError,
    fmt,
    io::IsTerminal,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use ipnet::IpNet;
use lettre::message::Mailbox;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::model::{Algorithm, Cost};
use parse::Reader;

/// What the server runs with.
#[derive(Debug, Clone)]
pub struct Config {
    /// `SECRET_KEY`: signs tokens under HS256; every other key is derived from it.
    pub secret_key: SecretString,
    /// `SECRET_KEY_PREVIOUS`: what `SECRET_KEY` was before, while it is being replaced.
    pub secret_key_previous: Option<SecretString>,
    /// `ALGORITHM`
    pub algorithm: Algorithm,
    /// `KEY_ROTATION_DAYS`. None: by command alone.
    pub key_rotation: Option<Duration>,
    /// `ACCESS_TOKEN_EXPIRE_MINUTES`
    pub access_token_ttl: Duration,
    /// `REFRESH_TOKEN_EXPIRE_DAYS`: how long a session lives without a refresh.
    pub refresh_token_ttl: Duration,
    /// `SESSION_EXPIRE_DAYS`: how long it lives at most.
    pub session_ttl: Duration,
    /// `REFRESH_REUSE_SECONDS`. Zero: a refresh token is used once.
    pub refresh_reuse: Duration,
    /// `DATABASE_URL`, as a file.
    pub database: PathBuf,
    /// `HOST`
    pub host: IpAddr,
    /// `PORT`
    pub port: u16,
    /// `PUBLIC_URL`: the issuer, without a slash at its end.
    pub public_url: String,
    /// `AUDIENCE`
    pub audience: String,
    /// `CORS_ORIGINS`
    pub cors_origins: Vec<String>,
    /// `TRUSTED_PROXIES`
    pub trusted_proxies: Vec<IpNet>,
    /// `PASSWORD_MIN_LENGTH`, in code points.
    pub password_min_length: usize,
    /// `ARGON2_MEMORY_KIB`, `ARGON2_ITERATIONS`, `ARGON2_PARALLELISM`
    pub argon2: Cost,
    /// `HASH_THREADS`
    pub hash_threads: usize,
    /// `HASH_QUEUE`
    pub hash_queue: usize,
    /// `RATE_LIMITS`
    pub rate_limits: bool,
    /// `SMTP_URL`: where mail goes, in lettre's form; it may hold a password. None: no mail is sent.
    pub smtp_url: Option<SecretString>,
    /// `MAIL_FROM`
    pub mail_from: Option<Mailbox>,
    /// `MAIL_TEMPLATES`: a folder with the operator's own letters and pages.
    pub mail_templates: Option<PathBuf>,
    /// `AUDIT_DAYS`: how long the audit log keeps its rows.
    pub audit_kept: Duration,
    /// `DOCS`
    pub docs: bool,
    /// `METRICS_ADDR`: where metrics are served. None: nowhere.
    pub metrics: Option<SocketAddr>,
    /// `LOG`, `LOG_FORMAT`
    pub log: Log,
}

/// How much is logged, and in which form.
#[derive(Debug, Clone)]
pub struct Log {
    /// A level, or levels by target (`info,hallpass=debug`).
    pub filter: tracing_subscriber::filter::Targets,
    /// The filter as it was written.
    pub text: String,
    /// None: text on a terminal, JSON otherwise.
    pub format: Option<LogFormat>,
}

impl Log {
    /// Whether lines are JSON.
    pub fn is_json(&self) -> bool {
        self.format.map_or_else(|| !std::io::stderr().is_terminal(), |format| format == LogFormat::Json)
    }
}

/// The form of a line of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For programs: an object a line.
    Json,
}

/// A setting that cannot be used, and what it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The setting.
    pub name: String,
    /// What it takes. Never the value of a secret.
    pub detail: String,
}

/// All that is wrong with the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistakes(pub Vec<Mistake>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settings = if self.0.len() == 1 { "setting" } else { "settings" };
        write!(f, "{} {settings} cannot be used:", self.0.len())?;
        for Mistake { name, detail } in &self.0 {
            write!(f, "\n  {name}: {detail}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}

/// What stands for a secret.
const MASK: &str = "********";

/// In seconds.
const DAY: u64 = 24 * 60 * 60;

fn days(days: u32) -> Duration {
    Duration::from_secs(DAY * u64::from(days))
}

/// The settings by name.
pub type Values = BTreeMap<String, String>;

/// Every name that is read.
pub const NAMES: &[&str] = &[
    "SECRET_KEY",
    "SECRET_KEY_PREVIOUS",
    "ALGORITHM",
    "KEY_ROTATION_DAYS",
    "ACCESS_TOKEN_EXPIRE_MINUTES",
    "REFRESH_TOKEN_EXPIRE_DAYS",
    "SESSION_EXPIRE_DAYS",
    "REFRESH_REUSE_SECONDS",
    "DATABASE_URL",
    "HOST",
    "PORT",
    "PUBLIC_URL",
    "AUDIENCE",
    "CORS_ORIGINS",
    "TRUSTED_PROXIES",
    "PASSWORD_MIN_LENGTH",
    "ARGON2_MEMORY_KIB",
    "ARGON2_ITERATIONS",
    "ARGON2_PARALLELISM",
    "HASH_THREADS",
    "HASH_QUEUE",
    "RATE_LIMITS",
    "SMTP_URL",
    "MAIL_FROM",
    "MAIL_TEMPLATES",
    "AUDIT_DAYS",
    "DOCS",
    "METRICS_ADDR",
    "LOG",
    "LOG_FORMAT",
];

impl Config {
    /// Reads `.env` in the current folder, if there is one, and the environment, which goes before it.
    ///
    /// # Errors
    /// All that is wrong.
    pub fn load() -> Result<Self, Mistakes> {
        let path = std::path::Path::new(".env");
        // What it would say is not known, so nothing more can be judged.
        let mut values = parse::dotenv(path).map_err(|mistake| Mistakes(vec![mistake]))?;
        let mut mistakes = parse::misspelt(values.keys());
        match environment(NAMES) {
            Ok(environment) => values.extend(environment),
            Err(Mistakes(more)) => mistakes.extend(more),
        }
        match Self::from_values(&values) {
            Ok(config) if mistakes.is_empty() => Ok(config),
            Ok(_) => Err(Mistakes(mistakes)),
            Err(Mistakes(more)) => Err(Mistakes(mistakes.into_iter().chain(more).collect())),
        }
    }

    /// Reads settings by name. An empty value is one that is not there.
    ///
    /// # Errors
    /// All that is wrong.
    pub fn from_values(values: &Values) -> Result<Self, Mistakes> {
        let mut read = Reader::new(values);
        let secret_key = read.required("SECRET_KEY", "run `hallpass secret` to make one", secret::parse);
        let secret_key_previous = read.optional("SECRET_KEY_PREVIOUS", secret::parse);
        for name in ["SECRET_KEY", "SECRET_KEY_PREVIOUS"] {
            if values.get(name).is_some_and(|text| !text.trim().is_empty() && text.trim() != text) {
                // Whoever verifies with it would read another key.
                read.mistake(name, "has blanks at its ends");
            }
        }
        if let (Some(current), Some(previous)) = (&secret_key, &secret_key_previous)
            && current.expose_secret() == previous.expose_secret()
        {
            read.mistake("SECRET_KEY_PREVIOUS", "is SECRET_KEY; it takes what SECRET_KEY was before");
        }
        let algorithm = read.or("ALGORITHM", "HS256", |text| {
            Algorithm::named(text).ok_or_else(|| "takes HS256, EdDSA or ES256".to_owned())
        });
        let key_rotation_days = read.number("KEY_ROTATION_DAYS", 90_u32, 0..=3_650);
        let minutes = read.number("ACCESS_TOKEN_EXPIRE_MINUTES", 30_u32, 1..=1_440);
        let refresh_days = read.number("REFRESH_TOKEN_EXPIRE_DAYS", 14_u32, 1..=3_650);
        let session_days = read.number("SESSION_EXPIRE_DAYS", 30_u32, 1..=3_650);
        let reuse_seconds = read.number("REFRESH_REUSE_SECONDS", 10_u32, 0..=60);
        let database = read.or("DATABASE_URL", "sqlite://hallpass.db", parse::database);
        let host = read.or("HOST", "127.0.0.1", parse::host);
        let port = read.number("PORT", 8_000, 1..=u16::MAX);
        let public_url = match (read.optional("PUBLIC_URL", parse::public_url), host, port) {
            (Some(url), ..) => Some(url),
            (None, Some(host), _) if !host.is_loopback() && !read.has("PUBLIC_URL") => {
                read.mistake("PUBLIC_URL", "is required when HOST is not loopback; as in https://login.example.com");
                None
            }
            (None, Some(host), Some(port)) => Some(format!("http://{}", std::net::SocketAddr::new(host, port))),
            _ => None,
        };
        let audience = read.optional("AUDIENCE", |text| Ok(text.to_owned())).or_else(|| public_url.clone());
        let cors_origins = read.list("CORS_ORIGINS", parse::origin);
        let trusted_proxies = read.list("TRUSTED_PROXIES", parse::network);
        let password_min_length = read.number("PASSWORD_MIN_LENGTH", 15, 8..=64);
        let argon2 = parse::argon2(&mut read);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let hash_threads = read.number("HASH_THREADS", cores, 1..=1_024);
        let hash_queue = read.number("HASH_QUEUE", 32, 1..=65_536);
        let rate_limits = read.or("RATE_LIMITS", "on", parse::on_off);
        let smtp_url = read.optional("SMTP_URL", parse::smtp_url);
        let mail_from = read.optional("MAIL_FROM", parse::mailbox);
        if smtp_url.is_some() && !read.has("MAIL_FROM") {
            read.mistake("MAIL_FROM", "is required with SMTP_URL; as in 'Hallpass <login@example.com>'");
        }
        let mail_templates = read.optional("MAIL_TEMPLATES", parse::folder);
        let audit_days = read.number("AUDIT_DAYS", 90_u32, 1..=3_650);
        let docs = read.or("DOCS", "on", parse::on_off);
        let metrics = read.optional("METRICS_ADDR", parse::address).flatten();
        let log = parse::log(&mut read);

        let config = (|| {
            Some(Self {
                secret_key: secret_key?,
                secret_key_previous,
                algorithm: algorithm?,
                key_rotation: Some(days(key_rotation_days?)).filter(|every| !every.is_zero()),
                access_token_ttl: Duration::from_secs(60 * u64::from(minutes?)),
                refresh_token_ttl: days(refresh_days?),
                session_ttl: days(session_days?),
                refresh_reuse: Duration::from_secs(u64::from(reuse_seconds?)),
                database: database?,
                host: host?,
                port: port?,
                public_url: public_url?,
                audience: audience?,
                cors_origins: cors_origins?,
                trusted_proxies: trusted_proxies?,
                password_min_length: password_min_length?,
                argon2: argon2?,
                hash_threads: hash_threads?,
                hash_queue: hash_queue?,
                rate_limits: rate_limits?,
                smtp_url,
                mail_from,
                mail_templates,
                audit_kept: days(audit_days?),
                metrics,
                docs: docs?,
                log: log?,
            })
        })();
        match config {
            Some(config) if read.mistakes.is_empty() => Ok(config),
            _ => Err(Mistakes(read.mistakes)),
        }
    }

    /// Whether browsers and mails reach this server through TLS.
    pub fn is_https(&self) -> bool {
        Url::parse(&self.public_url).is_ok_and(|url| url.scheme() == "https")
    }

    /// Each setting's name and effective value, secrets masked.
    pub fn describe(&self) -> Vec<(&'static str, String)> {
        let list = |items: &[String]| items.join(",");
        let proxies: Vec<String> = self.trusted_proxies.iter().map(ToString::to_string).collect();
        let format = if self.log.is_json() { "json" } else { "text" };
        let previous = if self.secret_key_previous.is_some() { MASK } else { "" };
        let on_off = |is_on: bool| if is_on { "on" } else { "off" }.to_owned();
        let in_days = |time: Duration| (time.as_secs() / DAY).to_string();
        vec![
            ("SECRET_KEY", MASK.to_owned()),
            ("SECRET_KEY_PREVIOUS", previous.to_owned()),
            ("ALGORITHM", self.algorithm.name().to_owned()),
            ("KEY_ROTATION_DAYS", in_days(self.key_rotation.unwrap_or_default())),
            ("ACCESS_TOKEN_EXPIRE_MINUTES", (self.access_token_ttl.as_secs() / 60).to_string()),
            ("REFRESH_TOKEN_EXPIRE_DAYS", in_days(self.refresh_token_ttl)),
            ("SESSION_EXPIRE_DAYS", in_days(self.session_ttl)),
            ("REFRESH_REUSE_SECONDS", self.refresh_reuse.as_secs().to_string()),
            ("DATABASE_URL", format!("sqlite://{}", self.database.display())),
            ("HOST", self.host.to_string()),
            ("PORT", self.port.to_string()),
            ("PUBLIC_URL", self.public_url.clone()),
            ("AUDIENCE", self.audience.clone()),
            ("CORS_ORIGINS", list(&self.cors_origins)),
            ("TRUSTED_PROXIES", list(&proxies)),
            ("PASSWORD_MIN_LENGTH", self.password_min_length.to_string()),
            ("ARGON2_MEMORY_KIB", self.argon2.memory_kib.to_string()),
            ("ARGON2_ITERATIONS", self.argon2.iterations.to_string()),
            ("ARGON2_PARALLELISM", self.argon2.parallelism.to_string()),
            ("HASH_THREADS", self.hash_threads.to_string()),
            ("HASH_QUEUE", self.hash_queue.to_string()),
            ("RATE_LIMITS", on_off(self.rate_limits)),
            ("SMTP_URL", if self.smtp_url.is_some() { MASK } else { "" }.to_owned()),
            ("MAIL_FROM", self.mail_from.as_ref().map(ToString::to_string).unwrap_or_default()),
            ("MAIL_TEMPLATES", self.mail_templates.as_ref().map(|f| f.display().to_string()).unwrap_or_default()),
            ("AUDIT_DAYS", in_days(self.audit_kept)),
            ("DOCS", on_off(self.docs)),
            ("METRICS_ADDR", self.metrics.map(|address| address.to_string()).unwrap_or_default()),
            ("LOG", self.log.text.clone()),
            ("LOG_FORMAT", format.to_owned()),
        ]
    }
}

/// Those of these settings that are among the environment's variables. An empty one is not there: it hides nothing in
/// `.env`.
///
/// # Errors
/// Those that are not UTF-8.
pub fn environment(names: &[&str]) -> Result<Values, Mistakes> {
    let (mut values, mut mistakes) = (Values::new(), Vec::new());
    for name in names {
        match std::env::var(name) {
            Ok(value) if !value.trim().is_empty() => drop(values.insert((*name).to_owned(), value)),
            Ok(_) | Err(VarError::NotPresent) => {}
            Err(VarError::NotUnicode(_)) => {
                mistakes.push(Mistake { name: (*name).to_owned(), detail: "is not UTF-8".to_owned() });
            }
        }
    }
    if mistakes.is_empty() { Ok(values) } else { Err(Mistakes(mistakes)) }
}

#[cfg(test)]
mod tests;
