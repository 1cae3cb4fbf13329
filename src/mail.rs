//! Mail leaves here: through a server of SMTP, or into a mailbox in memory (the demo, and tests).

mod mailbox;
mod smtp;
mod spoken;

use std::{fmt, sync::Arc, time::Duration};

use lettre::{
    Address, Message,
    message::{
        self, MultiPart,
        header::{HeaderName, HeaderValue},
    },
};
use secrecy::ExposeSecret;
use tokio::time::timeout;

pub use mailbox::{Kept, Mailbox};
pub use smtp::Smtp;

use crate::{
    config::Config,
    error::Error,
    model::{MailId, MailKind, Time},
};

/// How long a server may take for a mail. A mail that is being sent is held for as long.
const SENDING: Duration = Duration::from_mins(2);

/// A mail, written.
#[derive(Clone)]
pub struct Mail {
    /// Its id. It stands in its `Message-ID`: who gets it twice has it once.
    pub id: MailId,
    /// What it is about.
    pub kind: MailKind,
    /// To whom: one address.
    pub to: String,
    /// When it was written.
    pub at: Time,
    /// One line.
    pub subject: String,
    /// The part for those who read text.
    pub text: String,
    /// The same in HTML.
    pub html: String,
}

/// It holds links and codes.
impl fmt::Debug for Mail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mail").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Where mail goes.
#[derive(Debug)]
pub enum Mailer {
    /// To a server.
    Smtp(Box<Smtp>),
    /// Nowhere: it is kept. For the demo and for tests; no setting leads here.
    Mailbox(Arc<Mailbox>),
    /// There is none.
    None,
}

/// Why a mail was not sent: at which step, and what the server answered. No text of the server's, which may hold the
/// address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{step}{}{}", text(" ", .status.as_ref()), text(": ", .cause.as_ref()))]
pub struct Failure {
    /// The step.
    pub step: &'static str,
    /// The server's answer.
    pub status: Option<u16>,
    /// Why there is no connection, if it was that.
    pub cause: Option<String>,
    /// Whether another try is in vain.
    pub is_final: bool,
}

/// What there is, after a sign.
fn text(sign: &str, shown: Option<&impl fmt::Display>) -> String {
    shown.map(|shown| format!("{sign}{shown}")).unwrap_or_default()
}

impl Failure {
    /// At this step, and later it may work.
    pub const fn later(step: &'static str) -> Self {
        Self { step, status: None, cause: None, is_final: false }
    }

    fn at(step: &'static str, error: &lettre::transport::smtp::Error) -> Self {
        Self { status: error.status().map(u16::from), ..Self::later(step) }
    }

    /// Before the server has heard of the mail: what is said then names nobody.
    fn without_connection(step: &'static str, error: &lettre::transport::smtp::Error) -> Self {
        let status = error.status().map(u16::from);
        let cause = match (status, std::error::Error::source(error)) {
            (None, Some(cause)) => Some(cause.to_string()),
            _ => None,
        };
        Self { status, cause, ..Self::later(step) }
    }
}

impl Mailer {
    /// As the settings say.
    ///
    /// # Errors
    /// [`Error::Internal`] if the URL cannot be used, which the settings have checked, or TLS cannot.
    pub fn new(config: &Config) -> Result<Self, Error> {
        match (&config.smtp_url, &config.mail_from) {
            (Some(url), Some(from)) => Ok(Self::Smtp(Box::new(Smtp::new(url.expose_secret(), from.clone())?))),
            _ => Ok(Self::None),
        }
    }

    /// Whether it goes anywhere.
    pub const fn sends(&self) -> bool {
        !matches!(self, Self::None)
    }

    /// Sends a mail.
    ///
    /// # Errors
    /// [`Failure`]
    pub async fn send(&self, mail: Mail) -> Result<(), Failure> {
        match self {
            Self::Smtp(smtp) => {
                let message = compose(&smtp.from, &mail)?;
                timeout(SENDING, smtp.send(&message)).await.unwrap_or(Err(Failure::later("timeout")))
            }
            Self::Mailbox(mailbox) => {
                let raw = compose(&mailbox.from, &mail)?.formatted();
                mailbox.keep(mail, raw);
                Ok(())
            }
            Self::None => Err(Failure::later("no server")),
        }
    }
}

/// Puts it together. lettre's types write the headers: what they are made of can neither end a line nor add one.
fn compose(from: &message::Mailbox, mail: &Mail) -> Result<Message, Failure> {
    let unusable = Failure { is_final: true, ..Failure::later("address") };
    let to: Address = mail.to.parse().map_err(|_| unusable)?;
    let id = format!("<{}@{}>", mail.id, from.email.domain());
    let at = Duration::from_secs(u64::try_from(mail.at.unix()).unwrap_or(0));
    // RFC 3834: so that no robot answers.
    let automatic = HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned());
    Message::builder()
        .from(from.clone())
        .to(message::Mailbox::new(None, to))
        .subject(mail.subject.as_str())
        .date(std::time::UNIX_EPOCH + at)
        .message_id(Some(id))
        .raw_header(automatic)
        .multipart(MultiPart::alternative_plain_html(mail.text.clone(), mail.html.clone()))
        .map_err(|_| Failure::later("message"))
}

#[cfg(test)]
mod tests {
    use super::{Failure, Mail, Mailbox, compose};
    use crate::model::{MailId, MailKind, Time};

    #[test]
    fn nothing_in_a_mail_becomes_a_header() {
        let id: MailId = uuid::Uuid::from_bytes([7; 16]).into();
        let mail = Mail {
            id,
            kind: MailKind::Verify,
            to: "jane@example.org".to_owned(),
            at: Time::from_unix(1_795_424_400),
            subject: "x\r\nBcc: v@v.example\r\n\r\nbody".to_owned(),
            text: "plain\r\n.\r\nMAIL FROM:<x@x.example>\r\n caf\u{e9}".to_owned(),
            html: format!("<p>{}</p>", "long ".repeat(400)),
        };
        let mailbox = Mailbox::default();
        let raw = String::from_utf8(compose(&mailbox.from, &mail).unwrap().formatted()).unwrap();
        let (head, _) = raw.split_once("\r\n\r\n").unwrap();
        let names: Vec<&str> = head
            .split("\r\n")
            .filter(|line| !line.starts_with([' ', '\t']))
            .map(|line| line.split(':').next().unwrap())
            .collect();
        let expected =
            ["From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type"];
        let (mut names, mut expected) = (names, expected);
        names.sort_unstable();
        expected.sort_unstable();
        assert_eq!(names, expected, "{head}");
        assert!(head.contains("Auto-Submitted: auto-generated"), "{head}");
        assert!(head.contains("Date: Mon, 23 Nov 2026 09:00:00"), "{head}");
        assert!(head.contains("Message-ID: <07070707-0707-0707-0707-070707070707@localhost>"), "{head}");
        // RFC 5321: no server need take more, nor what is not ASCII.
        assert!(raw.is_ascii() && raw.split("\r\n").all(|line| line.len() <= 998));
        for to in ["a@b.example\r\nBcc: c@d.example", "a@b.example, c@d.example", "<a@b.example>", "x"] {
            let failure = compose(&mailbox.from, &Mail { to: to.to_owned(), ..mail.clone() }).unwrap_err();
            assert!(failure.is_final, "{to}");
        }
    }

    #[test]
    fn a_failure_tells_the_step_and_the_status() {
        let failure = Failure { status: Some(550), is_final: true, ..Failure::later("recipient") };
        assert_eq!(failure.to_string(), "recipient 550");
        let failure = Failure { cause: Some("refused".to_owned()), ..Failure::later("connect") };
        assert_eq!(failure.to_string(), "connect: refused");
    }
}
