//! Mail leaves here: through a server of SMTP, or into a mailbox in memory (the demo, and tests).
//!
//! The mail server is spoken to step by step, and not through lettre's own transport, which does not tell at which one it
//! failed: a server that refuses our password has said nothing of the recipient.

use std::{
    collections::VecDeque,
    fmt, io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use lettre::{
    Address, Message,
    message::{
        self, MultiPart,
        header::{HeaderName, HeaderValue},
    },
    transport::smtp::{
        self, SMTP_PORT, SUBMISSION_PORT, SUBMISSIONS_PORT,
        authentication::{Credentials, DEFAULT_MECHANISMS},
        client::{AsyncSmtpConnection, TlsParameters},
        commands::{Data, Mail as MailFrom, Rcpt},
        extension::ClientId,
    },
};
use percent_encoding::percent_decode_str;
use secrecy::ExposeSecret;
use tokio::{
    net::{TcpStream, lookup_host},
    time::timeout,
};
use url::{Host, Url};

use crate::{
    config::Config,
    error::Error,
    model::{MailId, MailKind, Time},
};

/// How long a server may take to be reached, to take a mail, and to part. Each worker of the outbox has a lease of more.
const CONNECTING: Duration = Duration::from_secs(15);
const SENDING: Duration = Duration::from_mins(2);
const PARTING: Duration = Duration::from_secs(5);

/// How many mails the mailbox keeps: the newest.
const KEPT: usize = 100;

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

    fn at(step: &'static str, error: &smtp::Error) -> Self {
        Self { status: error.status().map(u16::from), ..Self::later(step) }
    }

    /// Before the server has heard of the mail: what is said then names nobody.
    fn without_connection(step: &'static str, error: &smtp::Error) -> Self {
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

/// A server of SMTP.
pub struct Smtp {
    from: message::Mailbox,
    host: String,
    port: u16,
    security: Security,
    credentials: Option<Credentials>,
    hello: ClientId,
}

enum Security {
    /// To this machine alone.
    Plain,
    /// From the start.
    Tls(TlsParameters),
    /// After a few words, and never without.
    StartTls(TlsParameters),
}

impl fmt::Debug for Smtp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Smtp").field("host", &self.host).field("port", &self.port).finish_non_exhaustive()
    }
}

impl Smtp {
    /// Reads lettre's form of a URL.
    fn new(url: &str, from: message::Mailbox) -> Result<Self, Error> {
        let unusable = |_| Error::internal("SMTP_URL cannot be used");
        let url = Url::parse(url).map_err(unusable)?;
        let host = match url.host() {
            Some(Host::Domain(name)) => name.to_owned(),
            Some(Host::Ipv4(address)) => address.to_string(),
            Some(Host::Ipv6(address)) => address.to_string(),
            None => return Err(Error::internal("SMTP_URL names no server")),
        };
        let tls = || TlsParameters::new(host.clone()).map_err(Error::internal);
        let must_start = url.query_pairs().any(|(name, value)| name == "tls" && value == "required");
        let (security, port) = match url.scheme() {
            "smtps" => (Security::Tls(tls()?), SUBMISSIONS_PORT),
            "smtp" if must_start => (Security::StartTls(tls()?), SUBMISSION_PORT),
            _ => (Security::Plain, SMTP_PORT),
        };
        let decode = |text| percent_decode_str(text).decode_utf8().map(String::from).map_err(Error::internal);
        let credentials = match url.password() {
            Some(password) => Some(Credentials::new(decode(url.username())?, decode(password)?)),
            None => None,
        };
        // A path is what we say that we are.
        let hello = match url.path().trim_matches('/') {
            "" => ClientId::default(),
            name => ClientId::Domain(name.to_owned()),
        };
        Ok(Self { from, port: url.port().unwrap_or(port), host, security, credentials, hello })
    }

    async fn send(&self, message: &Message) -> Result<(), Failure> {
        let mut connection = self.connect().await?;
        let sent = transact(&mut connection, message).await;
        // Whether it was taken is known; the other side is told that this was all.
        tokio::spawn(async move { timeout(PARTING, connection.quit()).await });
        sent
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, Failure> {
        let server = (self.host.as_str(), self.port);
        let connected = if let Security::Tls(parameters) = &self.security {
            let wrapper = Some(parameters.clone());
            AsyncSmtpConnection::connect_tokio1(server, Some(CONNECTING), &self.hello, wrapper, None).await
        } else {
            let unreached = |error: io::Error| Failure { cause: Some(error.to_string()), ..Failure::later("connect") };
            let stream = reach(server).await.map_err(unreached)?;
            AsyncSmtpConnection::connect_with_transport(Box::new(stream), &self.hello).await
        };
        let mut connection = connected.map_err(|error| Failure::without_connection("connect", &error))?;
        if let Security::StartTls(parameters) = &self.security {
            let started = connection.starttls(parameters.clone(), &self.hello).await;
            started.map_err(|error| Failure::without_connection("starttls", &error))?;
        }
        if let Some(credentials) = &self.credentials {
            let known = connection.auth(DEFAULT_MECHANISMS, credentials).await;
            known.map_err(|error| Failure::at("auth", &error))?;
        }
        Ok(connection)
    }
}

/// Connects to the first address that answers. Without Nagle's algorithm: lettre writes the dot that ends a mail by
/// itself, and it would wait for 40 ms until the server has acknowledged the rest (RFC 1122, 4.2.3.2).
async fn reach(server: (&str, u16)) -> io::Result<TcpStream> {
    let mut last = io::ErrorKind::AddrNotAvailable.into();
    for address in lookup_host(server).await? {
        match timeout(CONNECTING, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Ok(Err(error)) => last = error,
            Err(_) => last = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(last)
}

/// Hands a message over. Only what the server says for good of the recipient or the message ends it.
async fn transact(connection: &mut AsyncSmtpConnection, message: &Message) -> Result<(), Failure> {
    let at = |step| move |error: smtp::Error| Failure::at(step, &error);
    let of_it =
        |step| move |error: smtp::Error| Failure { is_final: error.is_permanent(), ..Failure::at(step, &error) };
    let envelope = message.envelope();
    connection.command(MailFrom::new(envelope.from().cloned(), Vec::new())).await.map_err(at("sender"))?;
    for to in envelope.to() {
        connection.command(Rcpt::new(to.clone(), Vec::new())).await.map_err(of_it("recipient"))?;
    }
    connection.command(Data).await.map_err(of_it("data"))?;
    connection.message(&message.formatted()).await.map_err(of_it("message"))?;
    Ok(())
}

/// A mail that was kept.
#[derive(Debug, Clone)]
pub struct Kept {
    /// The mail.
    pub mail: Mail,
    /// As a server would have got it (RFC 5322).
    pub raw: Vec<u8>,
}

/// The newest mails, in memory.
pub struct Mailbox {
    from: message::Mailbox,
    mails: Mutex<VecDeque<Kept>>,
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mailbox(…)")
    }
}

impl Default for Mailbox {
    fn default() -> Self {
        let address = Address::new_dangerous("hallpass", "localhost");
        Self { from: message::Mailbox::new(Some("Hallpass".to_owned()), address), mails: Mutex::default() }
    }
}

impl Mailbox {
    fn keep(&self, mail: Mail, raw: Vec<u8>) {
        let mut mails = self.mails.lock().unwrap_or_else(PoisonError::into_inner);
        if mails.len() == KEPT {
            mails.pop_front();
        }
        mails.push_back(Kept { mail, raw });
    }

    /// What is in it, the oldest first.
    pub fn list(&self) -> Vec<Kept> {
        self.mails.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Takes out what is in it, the oldest first.
    pub fn take(&self) -> Vec<Kept> {
        self.mails.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Failure, Mail, Mailbox, Security, Smtp, compose};
    use crate::model::{MailId, MailKind, Time};

    fn smtp(url: &str) -> Smtp {
        Smtp::new(url, "Hallpass <login@example.com>".parse().unwrap()).unwrap()
    }

    #[test]
    fn a_url_is_read_as_lettre_reads_it() {
        for (url, host, port, tls, hello) in [
            ("smtps://u:p@mail.example.com", "mail.example.com", 465, "tls", None),
            ("smtp://mail.example.com?tls=required", "mail.example.com", 587, "starttls", None),
            (
                "smtp://mail.example.com:2525/me.example?tls=required",
                "mail.example.com",
                2525,
                "starttls",
                Some("me.example"),
            ),
            ("smtp://127.0.0.1:1025", "127.0.0.1", 1025, "plain", None),
            ("smtp://[::1]", "::1", 25, "plain", None),
        ] {
            let smtp = smtp(url);
            let security = match smtp.security {
                Security::Plain => "plain",
                Security::Tls(_) => "tls",
                Security::StartTls(_) => "starttls",
            };
            assert_eq!((smtp.host.as_str(), smtp.port, security), (host, port, tls), "{url}");
            if let Some(hello) = hello {
                assert_eq!(smtp.hello.to_string(), hello);
            }
        }
        let shown = format!("{:?}", smtp("smtps://user:p%40ss@mail.example.com"));
        assert!(!shown.contains("user") && !shown.contains("p@ss"), "{shown}");
    }

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

    #[test]
    fn the_mailbox_keeps_the_newest() {
        let mailbox = Mailbox::default();
        for n in 0..250 {
            let id: MailId = uuid::Uuid::from_u128(n).into();
            let [to, subject, text, html] = [(); 4].map(|()| n.to_string());
            let kind = MailKind::Reset;
            mailbox.keep(Mail { id, kind, to, at: Time::from_unix(0), subject, text, html }, Vec::new());
        }
        let kept = mailbox.list();
        assert_eq!((kept.len(), kept[0].mail.to.as_str(), kept[99].mail.to.as_str()), (100, "150", "249"));
        assert!(!format!("{:?}", kept[0]).contains("150"));
        assert_eq!((mailbox.take().len(), mailbox.list().len()), (100, 0));
    }
}
