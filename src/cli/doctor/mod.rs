//! Looks at what an operator can get wrong, and says what to do about it. It changes nothing, and works beside a
//! running server and without one.

mod database;
mod machine;
mod mail;
mod port;
mod settings;

use serde::Serialize;

use super::{Failure, print};
use crate::{clock::Clock, config::Config};

/// How grave it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    Warn,
    Fail,
}

/// A line of the report.
#[derive(Debug, Serialize)]
struct Finding {
    check: &'static str,
    state: State,
    /// What was found.
    found: String,
    /// What to do, unless all is well.
    remedy: Option<String>,
}

impl Finding {
    fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, state: State::Ok, found: found.into(), remedy: None }
    }

    fn warn(check: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check, state: State::Warn, found: found.into(), remedy: Some(remedy.into()) }
    }

    fn fail(check: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check, state: State::Fail, found: found.into(), remedy: Some(remedy.into()) }
    }
}

/// All is well, unless something was found.
fn or_ok(findings: Vec<Finding>, check: &'static str, found: impl Into<String>) -> Vec<Finding> {
    if findings.is_empty() { vec![Finding::ok(check, found)] } else { findings }
}

/// Examines everything and prints a line each.
///
/// # Errors
/// Something has to be done before it can serve.
pub(super) async fn run(as_json: bool) -> Result<(), Failure> {
    let findings = examine().await;
    if as_json {
        print::json(&findings)?;
    } else {
        for Finding { check, state, found, remedy } in &findings {
            let state = format!("{state:?}").to_lowercase();
            let remedy = remedy.as_ref().map(|remedy| format!(" -> {remedy}")).unwrap_or_default();
            print::out(&format!("{state:<4}  {check:<11}  {found}{remedy}"))?;
        }
    }
    let count = |state| findings.iter().filter(|finding| finding.state == state).count();
    match count(State::Fail) {
        0 => Ok(()),
        failed => Err(format!("{failed} to be mended, {} to be looked at", count(State::Warn)).into()),
    }
}

async fn examine() -> Vec<Finding> {
    let now = Clock::System.now();
    let mut findings = Vec::new();
    match Config::load() {
        Err(mistakes) => {
            findings.extend(settings::mistakes(&mistakes));
            findings.extend(machine::clock(now, None));
        }
        Ok(config) => {
            findings.extend(settings::check(&config));
            findings.extend(settings::addresses(&config));
            findings.extend(port::check(&config).await);
            let (newest, found) = database::check(&config, now).await;
            findings.extend(found);
            findings.extend(machine::clock(now, newest));
            findings.extend(machine::check(&config));
            findings.push(mail::templates(&config));
            findings.extend(mail::check(&config).await);
        }
    }
    findings
}
