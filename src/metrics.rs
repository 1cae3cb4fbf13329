//! What is counted, for Prometheus. The rules count by the methods of [`Metrics`]; what the hash threads, the store and
//! the router measure by themselves is gathered here, too. No label says who: no names, no ids, no addresses.
//!
//! Without `METRICS_ADDR` nobody gathers it, and what each request would cost is not counted.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder, core::Collector};

use crate::{auth::hasher::Hasher, auth::token::Tokens, clock::Clock, config::Config, error::Error, store::Store};

mod process;

/// What becomes of a login.
const LOGINS: &[&str] = &["accepted", "password", "unknown", "disabled", "hash", "changed", "throttled", "overloaded"];

/// What becomes of a refresh.
const REFRESHES: &[&str] = &["rotated", "retried", "reused", "malformed", "unknown", "forged", "ended", "throttled"];

/// What becomes of a mail: it was taken by the mail server, is to be tried again, was given up, or was one too many.
const MAILS: &[&str] = &["sent", "failed", "given_up", "throttled"];

/// What is counted.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    is_on: bool,
    logins: Labelled,
    refreshes: Labelled,
    mails: Labelled,
    mails_waiting: IntGauge,
    oldest_mail: IntGauge,
    connections: IntGauge,
    refused_connections: IntCounter,
    process: process::Process,
}

impl Metrics {
    /// Begins to count.
    ///
    /// # Errors
    /// [`Error::Internal`] if two are of one name.
    pub fn new(config: &Config, clock: &Clock) -> Result<Self, Error> {
        let registry = Registry::new();
        let logins = Labelled::new("hallpass_logins_total", "Logins, by what became of them.", "outcome", LOGINS);
        let refreshes =
            Labelled::new("hallpass_refreshes_total", "Refreshes, by what became of them.", "outcome", REFRESHES);
        let mails =
            Labelled::new("hallpass_mails_total", "Mails, each time something became of them.", "outcome", MAILS);
        let gauge = |name, help| IntGauge::new(name, help).map_err(Error::internal);
        let refused = "Connections that were closed, since their site had its share of them.";
        let metrics = Self {
            refused_connections: IntCounter::new("hallpass_http_connections_refused_total", refused)
                .map_err(Error::internal)?,
            logins: logins?,
            refreshes: refreshes?,
            mails: mails?,
            mails_waiting: gauge("hallpass_mails_waiting", "Mails that are to be sent.")?,
            oldest_mail: gauge("hallpass_mails_oldest_seconds", "How long the oldest of them has waited.")?,
            connections: gauge("hallpass_http_connections", "Open connections of clients.")?,
            process: process::Process::new(clock.now())?,
            is_on: config.metrics.is_some(),
            registry,
        };
        let build = Opts::new("hallpass_build_info", "The version.").const_label("version", env!("CARGO_PKG_VERSION"));
        let build = IntGauge::with_opts(build).map_err(Error::internal)?;
        build.set(1);
        metrics.register([Box::new(build) as Box<dyn Collector>])?;
        metrics.register(
            [&metrics.logins, &metrics.refreshes, &metrics.mails].map(|counters| Box::new(counters.all.clone()) as _),
        )?;
        metrics.register(
            [&metrics.mails_waiting, &metrics.oldest_mail, &metrics.connections]
                .map(|gauge| Box::new(gauge.clone()) as _),
        )?;
        metrics.register([Box::new(metrics.refused_connections.clone()) as _])?;
        metrics.register(metrics.process.collectors())?;
        Ok(metrics)
    }

    /// Has the parts measure themselves, if somebody gathers it.
    ///
    /// # Errors
    /// [`Error::Internal`] if two are of one name.
    pub fn measure(&self, store: &Store, hasher: &Hasher, tokens: &Tokens) -> Result<(), Error> {
        if !self.is_on {
            return Ok(());
        }
        self.register(store.measure().map_err(Error::internal)?)?;
        self.register(hasher.measure().map_err(Error::internal)?)?;
        self.register(tokens.measure().map_err(Error::internal)?)
    }

    /// Whether somebody gathers it.
    pub fn is_on(&self) -> bool {
        self.is_on
    }

    /// Takes in what somebody else counts.
    ///
    /// # Errors
    /// [`Error::Internal`] if there is one of its name.
    pub fn register(&self, collectors: impl IntoIterator<Item = Box<dyn Collector>>) -> Result<(), Error> {
        collectors.into_iter().try_for_each(|collector| self.registry.register(collector).map_err(Error::internal))
    }

    /// All of it, in Prometheus's text format, version 0.0.4.
    ///
    /// # Errors
    /// [`Error::Internal`]
    pub fn text(&self) -> Result<String, Error> {
        self.process.read();
        TextEncoder::new().encode_to_string(&self.registry.gather()).map_err(Error::internal)
    }

    /// Open connections of clients.
    pub fn connections(&self) -> &IntGauge {
        &self.connections
    }

    /// Connections that were closed, since their site had its share of them.
    pub fn refused_connections(&self) -> &IntCounter {
        &self.refused_connections
    }

    /// A login ended so: `accepted`, or the reason that the log has.
    pub fn login(&self, outcome: &str) {
        self.logins.count(outcome);
    }

    /// A refresh ended so: `rotated`, `retried`, `reused`, or the reason that the log has.
    pub fn refresh(&self, outcome: &str) {
        self.refreshes.count(outcome);
    }

    /// The mail server has taken a mail.
    pub fn mail_sent(&self) {
        self.mails.count("sent");
    }

    /// A mail could not be sent, and will be tried again.
    pub fn mail_failed(&self) {
        self.mails.count("failed");
    }

    /// A mail could not be sent, and will not be tried again.
    pub fn mail_given_up(&self) {
        self.mails.count("given_up");
    }

    /// A mail was asked for that is one too many.
    pub fn mail_throttled(&self) {
        self.mails.count("throttled");
    }

    /// So many mails are to be sent, and the oldest has waited for so many seconds (none: 0).
    pub fn mails_waiting(&self, count: i64, oldest_seconds: i64) {
        self.mails_waiting.set(count);
        self.oldest_mail.set(oldest_seconds);
    }
}

/// A counter for each value of a label, found without a lock. All are there from the start, at 0, so that the first
/// one of a kind is seen as one more.
#[derive(Debug)]
struct Labelled {
    all: IntCounterVec,
    each: Vec<(&'static str, IntCounter)>,
}

impl Labelled {
    fn new(name: &str, help: &str, label: &str, values: &[&'static str]) -> Result<Self, Error> {
        let all = IntCounterVec::new(Opts::new(name, help), &[label]).map_err(Error::internal)?;
        let each = values.iter().map(|value| (*value, all.with_label_values(&[*value]))).collect();
        Ok(Self { all, each })
    }

    fn count(&self, value: &str) {
        if let Some((_, counter)) = self.each.iter().find(|(known, _)| *known == value) {
            counter.inc();
        }
    }
}
