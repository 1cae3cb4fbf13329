use std::time::Duration;

use lettre::{AsyncSmtpTransport, Tokio1Executor};
use secrecy::ExposeSecret;

use super::Finding;
use crate::{config::Config, templates::Templates};

/// How long the mail server may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whether the mail server lets us in. Sends nothing.
pub(super) async fn check(config: &Config) -> Vec<Finding> {
    const CHECK: &str = "mail";
    let Some(url) = &config.smtp_url else {
        let text = "SMTP_URL is not set: no mail is sent, and nobody gets back in without an admin";
        return vec![Finding::warn(CHECK, text, "set SMTP_URL and MAIL_FROM")];
    };
    let remedy = "see to the address, the TLS and the password in SMTP_URL, and that the server can be reached";
    let Ok(builder) = AsyncSmtpTransport::<Tokio1Executor>::from_url(url.expose_secret()) else {
        return vec![Finding::fail(CHECK, "SMTP_URL cannot be used", remedy)];
    };
    let transport: AsyncSmtpTransport<Tokio1Executor> = builder.timeout(Some(PATIENCE)).build();
    let tried = tokio::time::timeout(2 * PATIENCE, transport.test_connection()).await;
    vec![match tried {
        Ok(Ok(true)) => Finding::ok(CHECK, "the mail server lets us in; nothing was sent"),
        Ok(Ok(false)) => Finding::fail(CHECK, "the mail server closes the connection", remedy),
        Ok(Err(error)) => Finding::fail(CHECK, format!("the mail server cannot be used: {}", story(&error)), remedy),
        Err(_) => Finding::fail(CHECK, "the mail server does not answer", remedy),
    }]
}

/// Whether what the operator wrote can be used.
pub(super) fn templates(config: &Config) -> Finding {
    const CHECK: &str = "templates";
    match (Templates::load(config.mail_templates.as_deref()), &config.mail_templates) {
        (Err(error), _) => Finding::fail(CHECK, error.to_string(), "mend it, or take MAIL_TEMPLATES out"),
        (Ok(_), Some(folder)) => Finding::ok(CHECK, format!("those of {} can be used", folder.display())),
        (Ok(_), None) => Finding::ok(CHECK, "those that are built in"),
    }
}

/// On one line, without what a terminal obeys: a server may say anything.
fn story(error: &lettre::transport::smtp::Error) -> String {
    super::super::story(error).escape_debug().to_string()
}
