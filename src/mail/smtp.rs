//! A mail server, spoken to step by step, and not through lettre's own transport, which does not tell at which one it
//! failed: a server that refuses our password has said nothing of the recipient.

use std::{fmt, io, net::SocketAddr, time::Duration};

use lettre::{
    Message,
    message::Mailbox,
    transport::smtp::{
        self, SMTP_PORT, SUBMISSION_PORT, SUBMISSIONS_PORT,
        authentication::{Credentials, DEFAULT_MECHANISMS},
        client::{AsyncSmtpConnection, TlsParameters},
        commands::{Data, Mail as MailFrom, Rcpt},
        extension::ClientId,
    },
};
use percent_encoding::percent_decode_str;
use tokio::{
    net::{TcpStream, lookup_host},
    time::{Instant, timeout},
};
use url::{Host, Url};

use super::{Failure, spoken::Spoken};
use crate::error::Error;

/// How long a server may take to be reached, and to part.
const CONNECTING: Duration = Duration::from_secs(15);
const PARTING: Duration = Duration::from_secs(5);

/// A server of SMTP.
pub struct Smtp {
    pub(super) from: Mailbox,
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
    pub(super) fn new(url: &str, from: Mailbox) -> Result<Self, Error> {
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

    pub(super) async fn send(&self, message: &Message) -> Result<(), Failure> {
        let mut connection = self.connect().await?;
        let sent = transact(&mut connection, message).await;
        // Whether it was taken is known; the other side is told that this was all.
        tokio::spawn(async move { timeout(PARTING, connection.quit()).await });
        sent
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, Failure> {
        let unreached = |error: io::Error| Failure { cause: Some(error.to_string()), ..Failure::later("connect") };
        let (addresses, each) = find((self.host.as_str(), self.port)).await.map_err(unreached)?;
        let connected = if let Security::Tls(parameters) = &self.security {
            // Over a connection of lettre's own, whose options cannot be set: it has Nagle's algorithm. lettre takes one
            // of ours for STARTTLS only, and does not show what it verifies a certificate with.
            let wrapper = Some(parameters.clone());
            AsyncSmtpConnection::connect_tokio1(&*addresses, Some(each), &self.hello, wrapper, None).await
        } else {
            let stream = Spoken::new(reach(&addresses, each).await.map_err(unreached)?);
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

/// Where a server is, and how long each of its addresses may take, so that all of them are tried in time.
async fn find(server: (&str, u16)) -> io::Result<(Vec<SocketAddr>, Duration)> {
    let begun = Instant::now();
    let addresses: Vec<SocketAddr> = timeout(CONNECTING, lookup_host(server)).await??.collect();
    let left = CONNECTING.saturating_sub(begun.elapsed());
    let each = left / u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
    Ok((addresses, each))
}

/// Connects to the first address that answers. Without Nagle's algorithm: lettre writes the dot that ends a mail by
/// itself, and it would wait for 40 ms until the server has acknowledged the rest (RFC 1122, 4.2.3.2).
async fn reach(addresses: &[SocketAddr], each: Duration) -> io::Result<TcpStream> {
    let mut last = io::ErrorKind::AddrNotAvailable.into();
    for address in addresses {
        match timeout(each, TcpStream::connect(address)).await {
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

#[cfg(test)]
mod tests {
    use std::{
        net::{Ipv4Addr, SocketAddr},
        time::Duration,
    };

    use super::{CONNECTING, Security, Smtp, find, reach};

    fn smtp(url: &str) -> Smtp {
        Smtp::new(url, "Hallpass <login@example.com>".parse().unwrap()).unwrap()
    }

    #[tokio::test]
    async fn every_address_of_a_server_is_tried_in_its_part_of_the_time() {
        for host in ["127.0.0.1", "localhost"] {
            let (addresses, each) = find((host, 25)).await.unwrap();
            let all: Duration = addresses.iter().map(|_| each).sum();
            assert!(!all.is_zero() && all <= CONNECTING, "{host}");
        }
        let server = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let there = server.local_addr().unwrap();
        let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let stream = reach(&[nowhere, there], CONNECTING).await.unwrap();
        assert!(stream.peer_addr().unwrap() == there && stream.nodelay().unwrap());
        assert!(reach(&[nowhere], CONNECTING).await.is_err() && reach(&[], CONNECTING).await.is_err());
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
}
