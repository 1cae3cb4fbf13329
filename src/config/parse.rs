use std::{
    collections::HashSet,
    fmt::Display,
    io::ErrorKind,
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    path::{Path, PathBuf},
    str::FromStr,
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use lettre::{AsyncSmtpTransport, Tokio1Executor, message::Mailbox};
use secrecy::SecretString;
use tracing_subscriber::filter::{LevelFilter, Targets};
use url::{Host, Url};

use super::{Log, LogFormat, Mistake, NAMES, Values};
use crate::model::Cost;

/// Reads settings one after the other and keeps what is wrong with them.
pub(super) struct Reader<'a> {
    values: &'a Values,
    pub(super) mistakes: Vec<Mistake>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(values: &'a Values) -> Self {
        Self { values, mistakes: Vec::new() }
    }

    fn get(&self, name: &str) -> Option<&'a str> {
        self.values.get(name).map(|text| text.trim()).filter(|text| !text.is_empty())
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    pub(super) fn mistake(&mut self, name: &str, detail: impl Into<String>) {
        self.mistakes.push(Mistake { name: name.to_owned(), detail: detail.into() });
    }

    fn parsed<T>(&mut self, name: &str, text: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        parse(text).map_err(|detail| self.mistake(name, detail)).ok()
    }

    pub(super) fn optional<T>(&mut self, name: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let text = self.get(name)?;
        self.parsed(name, text, parse)
    }

    pub(super) fn required<T>(
        &mut self,
        name: &str,
        how: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        if !self.has(name) {
            self.mistake(name, format!("is required; {how}"));
        }
        self.optional(name, parse)
    }

    pub(super) fn or<T>(
        &mut self,
        name: &str,
        default: &'a str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = self.get(name).unwrap_or(default);
        self.parsed(name, text, parse)
    }

    pub(super) fn number<T>(&mut self, name: &str, default: T, range: RangeInclusive<T>) -> Option<T>
    where
        T: FromStr + PartialOrd + Display,
    {
        let Some(text) = self.get(name) else { return Some(default) };
        let number = text.parse().ok().filter(|number| range.contains(number));
        if number.is_none() {
            self.mistake(name, format!("takes a whole number from {} to {}", range.start(), range.end()));
        }
        number
    }

    /// Items between commas.
    pub(super) fn list<T>(&mut self, name: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<Vec<T>> {
        let items = self.get(name).unwrap_or_default().split(',').map(str::trim).filter(|item| !item.is_empty());
        let parsed: Result<Vec<T>, String> = items.map(parse).collect();
        parsed.map_err(|detail| self.mistake(name, detail)).ok()
    }
}

/// The variables of a `.env` file; none if there is no file. They stay out of the environment of this process
/// and its children.
pub(super) fn dotenv(path: &Path) -> Result<Values, Mistake> {
    let mistake = |detail: &str| Mistake { name: ".env".to_owned(), detail: detail.to_owned() };
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Values::new()),
        Err(_) => return Err(mistake("cannot be read")),
    };
    // A `$` outside single quotes would be replaced, and the key be another than the one that is written there.
    let is_replaced = |line: &str| {
        line.split_once('=').is_some_and(|(name, value)| {
            let name = name.trim().trim_start_matches("export ").trim_start();
            name.starts_with("SECRET_KEY") && value.contains('$') && !value.trim_start().starts_with('\'')
        })
    };
    if text.lines().any(is_replaced) {
        return Err(mistake("has a SECRET_KEY with a $; put it between single quotes"));
    }
    // Its error would print the line, and with it the secret.
    dotenvy::from_read_iter(text.as_bytes()).collect::<Result<_, _>>().map_err(|_| {
        mistake("has a line that is not NAME=value (a value with blanks or signs goes between single quotes)")
    })
}

/// Names in `.env` that are nearly those of settings: whoever wrote them meant something by them.
pub(super) fn misspelt<'a>(names: impl Iterator<Item = &'a String>) -> Vec<Mistake> {
    let known: HashSet<&str> = NAMES.iter().copied().collect();
    names
        .filter(|name| !known.contains(name.as_str()))
        .filter_map(|name| {
            let upper = name.to_ascii_uppercase();
            // Near a short name are those of other programs.
            let far = |known: &str| match known.len() {
                0..6 => 0,
                6..15 => 2,
                _ => 3,
            };
            let near = |known: &&&str| strsim::osa_distance(known, &upper) <= far(known);
            let meant = NAMES.iter().find(near)?;
            Some(Mistake { name: name.clone(), detail: format!("is no setting; did you mean {meant}?") })
        })
        .collect()
}

pub(super) fn database(text: &str) -> Result<PathBuf, String> {
    const TAKES: &str = "takes sqlite:// and the name of a file, as in sqlite://hallpass.db";
    let file = text.strip_prefix("sqlite://").or_else(|| text.strip_prefix("sqlite:")).ok_or(TAKES)?;
    if file.is_empty() || file.contains([':', '?', '#']) || file.ends_with('/') {
        return Err(TAKES.to_owned());
    }
    Ok(PathBuf::from(file))
}

pub(super) fn host(text: &str) -> Result<IpAddr, String> {
    let text = if text == "localhost" { "127.0.0.1" } else { text };
    text.trim_matches(['[', ']']).parse().map_err(|_| "takes an IP address, as in 127.0.0.1 or ::".to_owned())
}

pub(super) fn public_url(text: &str) -> Result<String, String> {
    const TAKES: &str =
        "takes an http or https address without user, query or fragment, as in https://login.example.com";
    let url = Url::parse(text).map_err(|_| TAKES)?;
    let is_plain = matches!(url.scheme(), "http" | "https")
        && url.has_host()
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    if is_plain { Ok(url.as_str().trim_end_matches('/').to_owned()) } else { Err(TAKES.to_owned()) }
}

pub(super) fn origin(text: &str) -> Result<String, String> {
    const TAKES: &str = "takes exact origins between commas, as in https://app.example.com,http://localhost:5173";
    let url = Url::parse(text).map_err(|_| TAKES)?;
    // What a browser sends as Origin: no path, no default port, host in ASCII.
    let origin = url.origin().ascii_serialization();
    if matches!(url.scheme(), "http" | "https") && text.trim_end_matches('/').eq_ignore_ascii_case(&origin) {
        Ok(origin)
    } else {
        Err(TAKES.to_owned())
    }
}

pub(super) fn network(text: &str) -> Result<IpNet, String> {
    let address = || text.parse::<IpAddr>().map(IpNet::from);
    text.parse()
        .or_else(|_| address())
        .map(unmapped)
        .map_err(|_| "takes addresses or networks between commas, as in 10.0.0.0/8,::1".to_owned())
}

/// What is said of IPv4 in the words of IPv6: addresses are compared in their own.
fn unmapped(network: IpNet) -> IpNet {
    let mapped = |network: Ipv6Net| {
        let length = network.prefix_len().checked_sub(96)?;
        Ipv4Net::new(network.addr().to_ipv4_mapped()?, length).ok()
    };
    match network {
        IpNet::V6(network) => mapped(network).map_or(IpNet::V6(network), IpNet::V4),
        v4 @ IpNet::V4(_) => v4,
    }
}

/// lettre's forms. A connection that is not encrypted goes to this machine alone, and none falls back to that.
pub(super) fn smtp_url(text: &str) -> Result<SecretString, String> {
    const TAKES: &str = "takes smtps://USER:PASSWORD@HOST, smtp://USER:PASSWORD@HOST?tls=required, or smtp:// with a \
                         loopback address";
    let url = Url::parse(text).map_err(|_| TAKES)?;
    let tls = url.query_pairs().find(|(name, _)| name == "tls").map(|(_, value)| value.into_owned());
    let is_loopback = match url.host() {
        // A scheme that the standard of URLs does not know: an address is read as a name.
        Some(Host::Domain(name)) => {
            name == "localhost" || name.parse().is_ok_and(|address: IpAddr| address.is_loopback())
        }
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => return Err(TAKES.to_owned()),
    };
    match (url.scheme(), tls.as_deref()) {
        ("smtps", None) | ("smtp", Some("required")) => {}
        ("smtp", None) if is_loopback => {}
        _ => return Err(TAKES.to_owned()),
    }
    AsyncSmtpTransport::<Tokio1Executor>::from_url(text).map_err(|_| TAKES)?;
    Ok(text.to_owned().into())
}

pub(super) fn mailbox(text: &str) -> Result<Mailbox, String> {
    text.parse().map_err(|_| "takes an address, as in 'Hallpass <login@example.com>'".to_owned())
}

pub(super) fn folder(text: &str) -> Result<PathBuf, String> {
    let folder = PathBuf::from(text);
    if folder.is_dir() { Ok(folder) } else { Err("takes a folder that is there".to_owned()) }
}

pub(super) fn address(text: &str) -> Result<Option<SocketAddr>, String> {
    if text == "off" {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| "takes off, or an address and a port, as in 127.0.0.1:9100".to_owned())
}

pub(super) fn on_off(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("takes on or off".to_owned()),
    }
}

/// The cost of a hash, never below OWASP's floor (Password Storage Cheat Sheet: equal in strength, memory
/// traded for time).
pub(super) fn argon2(read: &mut Reader<'_>) -> Option<Cost> {
    const FLOOR: [(u32, u32); 5] = [(47_104, 1), (19_456, 2), (12_288, 3), (9_216, 4), (7_168, 5)];
    let memory_kib = read.number("ARGON2_MEMORY_KIB", 19_456, 7_168..=4_194_304);
    let iterations = read.number("ARGON2_ITERATIONS", 2, 1..=100);
    let parallelism = read.number("ARGON2_PARALLELISM", 1, 1..=64);
    let cost = Cost { memory_kib: memory_kib?, iterations: iterations?, parallelism: parallelism? };
    if FLOOR.iter().any(|(memory, passes)| cost.memory_kib >= *memory && cost.iterations >= *passes) {
        return Some(cost);
    }
    let pairs: Vec<String> = FLOOR.iter().map(|(memory, passes)| format!("{memory} with {passes}")).collect();
    read.mistake(
        "ARGON2_MEMORY_KIB",
        format!("is too little for this ARGON2_ITERATIONS; take at least one of {}", pairs.join(", ")),
    );
    None
}

pub(super) fn log(read: &mut Reader<'_>) -> Option<Log> {
    let log = read.or("LOG", "info", |text| match targets(text) {
        Some(filter) => Ok((filter, text.to_owned())),
        None => {
            Err("takes off, error, warn, info, debug or trace, also by target, as in info,hallpass=debug".to_owned())
        }
    });
    let format = read.optional("LOG_FORMAT", |text| match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("takes text or json".to_owned()),
    });
    let (filter, text) = log?;
    Some(Log { filter, text, format })
}

fn targets(text: &str) -> Option<Targets> {
    // `Targets` itself takes a bare word that is no level for a target, all of which is to be logged.
    let is_clear = |part: &str| part.contains('=') || part.trim().parse::<LevelFilter>().is_ok();
    text.split(',').all(is_clear).then(|| text.parse().ok())?
}
