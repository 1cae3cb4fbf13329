//! What is known of a request before anybody looks at what it asks for.

use std::{net::IpAddr, sync::Arc};

use ipnet::IpNet;
use poem::{
    FromRequest, Request, RequestBody, Result,
    http::{HeaderMap, header},
};

use super::problem::Problem;
use crate::{
    app::App,
    error::{Error, FieldError},
    model::{Client, Time},
};

/// The parts of the server, the moment, and the client. One per request: the clock is read once.
#[derive(Debug, Clone)]
pub struct Context {
    /// The parts of the server.
    pub app: Arc<App>,
    /// When the request came.
    pub now: Time,
    /// From where.
    pub client: Client,
}

impl Context {
    /// The context that `edge` gave this request.
    ///
    /// # Errors
    /// The router was called without its edge.
    pub fn of(request: &Request) -> Result<&Self, Problem> {
        request.data::<Self>().ok_or_else(Problem::internal)
    }
}

impl<'a> FromRequest<'a> for Context {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> Result<Self> {
        Ok(Self::of(request)?.clone())
    }
}

/// What the client calls itself.
pub struct UserAgent(pub Option<String>);

impl<'a> FromRequest<'a> for UserAgent {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> Result<Self> {
        let value = request.headers().get(header::USER_AGENT);
        Ok(Self(value.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())))
    }
}

/// The names in the query, as often as they stand there.
pub struct QueryNames(Vec<String>);

impl<'a> FromRequest<'a> for QueryNames {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> Result<Self> {
        let query = request.uri().query().unwrap_or_default();
        Ok(Self(url::form_urlencoded::parse(query.as_bytes()).map(|(name, _)| name.into_owned()).collect()))
    }
}

impl QueryNames {
    /// Sees to it that there are none but these, once each.
    ///
    /// # Errors
    /// [`Error::Validation`]
    pub fn only(&self, known: &[&str]) -> Result<(), Error> {
        let QueryNames(names) = self;
        let is_one = |name: &String| known.contains(&name.as_str()) && names.iter().filter(|n| *n == name).count() == 1;
        if names.iter().all(is_one) {
            return Ok(());
        }
        let detail = format!("the query takes {} alone, once", known.join(", "));
        Err(Error::Validation(vec![FieldError::new("", detail)]))
    }
}

/// The address of the client: the socket's, unless that is a trusted proxy; then the last one in
/// `X-Forwarded-For` that is none. Further left stands what the client itself may have written.
pub fn client_address(peer: Option<IpAddr>, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |address: &IpAddr| trusted.iter().any(|network| network.contains(address));
    // No socket: a test inside the process.
    let mut address = peer.map_or(IpAddr::from([127, 0, 0, 1]), |peer| peer.to_canonical());
    if !is_trusted(&address) {
        return address;
    }
    let chain = headers.get_all("x-forwarded-for").iter().rev();
    // As bytes: what a client writes into it that is no text spoils its own hop, and not those that proxies added.
    let mut hops = chain.flat_map(|value| value.as_bytes().rsplit(|byte| *byte == b','));
    while is_trusted(&address) {
        match hops.next().map(parse_hop) {
            Some(Some(hop)) => address = hop,
            // The chain ends, or somebody wrote nonsense into it: the last address that is sure.
            Some(None) | None => break,
        }
    }
    address
}

/// `192.0.2.1`, `192.0.2.1:5000`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:5000`
fn parse_hop(hop: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(hop).ok()?.trim();
    if let Some(bare) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return bare.parse().ok().map(|address: std::net::Ipv6Addr| IpAddr::from(address).to_canonical());
    }
    let address = text.parse().or_else(|_| text.parse().map(|socket: std::net::SocketAddr| socket.ip()));
    address.ok().map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use poem::http::{HeaderMap, HeaderValue};
    use proptest::prelude::*;

    use super::{client_address, parse_hop};

    #[test]
    fn the_chain_is_read_from_the_right_and_from_trusted_proxies_alone() {
        let trusted = ["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
        for (peer, chain, address) in [
            ("192.0.2.1", &[][..], "192.0.2.1"),
            ("192.0.2.1", &["198.51.100.7"], "192.0.2.1"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.7"], "198.51.100.7"),
            ("10.0.0.1", &["203.0.113.9, 198.51.100.7"], "198.51.100.7"),
            ("10.0.0.1", &["203.0.113.9", "198.51.100.7, 10.2.3.4"], "198.51.100.7"),
            ("10.0.0.1", &["10.9.9.9"], "10.9.9.9"),
            ("10.0.0.1", &["198.51.100.7, nonsense"], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.7, \u{e9}"], "10.0.0.1"),
            ("10.0.0.1", &["\u{e9}, 198.51.100.7"], "198.51.100.7"),
            ("10.0.0.1", &["198.51.100.7:4711"], "198.51.100.7"),
            ("::1", &["[2001:db8::5]:4711"], "2001:db8::5"),
            ("::1", &["[2001:db8::5]"], "2001:db8::5"),
            ("10.0.0.1", &["198.51.100.7, [198.51.100.8]"], "10.0.0.1"),
            ("::ffff:10.0.0.1", &["::ffff:198.51.100.7"], "198.51.100.7"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("x-real-ip", "203.0.113.66".parse().unwrap());
            headers.insert("forwarded", "for=203.0.113.66".parse().unwrap());
            for value in chain {
                headers.append("x-forwarded-for", HeaderValue::from_bytes(value.as_bytes()).unwrap());
            }
            let found = client_address(Some(peer.parse().unwrap()), &headers, &trusted);
            assert_eq!(found.to_string(), address, "{peer} {chain:?}");
        }
    }

    fn chain(values: &[String]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("x-forwarded-for", HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        headers
    }

    proptest! {
        /// Whatever stands in the chain, it moves no client that no trusted proxy speaks for; and what a client writes
        /// into it stands to the left of its own address, and counts for nothing.
        #[test]
        fn a_client_does_not_choose_its_address(
            peer: IpAddr, client: IpAddr,
            written in "[ -~\\x{80}-\\x{ff}]{0,40}", proxies in prop::collection::vec(0..=255_u8, 0..4),
        ) {
            let trusted = ["10.0.0.0/8".parse().unwrap()];
            let is_ten = |address: std::net::Ipv4Addr| address.octets()[0] == 10;
            let is_trusted = |address: &IpAddr| matches!(address.to_canonical(), IpAddr::V4(v4) if is_ten(v4));
            prop_assume!(!is_trusted(&peer) && !is_trusted(&client));
            let alone = client_address(Some(peer), &chain(&[written.clone(), client.to_string()]), &trusted);
            prop_assert_eq!(alone, peer.to_canonical());

            let hops = proxies.iter().fold(String::new(), |hops, last| format!("{hops}, 10.1.2.{last}"));
            let proxy = Some(IpAddr::from([10, 0, 0, 1]));
            let one_line = chain(&[format!("{written},{client}{hops}")]);
            prop_assert_eq!(client_address(proxy, &one_line, &trusted), client.to_canonical());
            let lines = chain(&[written, format!("{client}{hops}")]);
            prop_assert_eq!(client_address(proxy, &lines, &trusted), client.to_canonical());
        }

        /// Nonsense moves nobody further than the last proxy before it.
        #[test]
        fn what_is_no_address_ends_the_chain(nonsense in "[ -+--~]{0,20}", last: u8) {
            prop_assume!(parse_hop(nonsense.as_bytes()).is_none());
            let (trusted, proxy) = (["10.0.0.0/8".parse().unwrap()], IpAddr::from([10, 9, 9, last]));
            let headers = chain(&[format!("203.0.113.9, {nonsense}, {proxy}")]);
            prop_assert_eq!(client_address(Some(IpAddr::from([10, 0, 0, 1])), &headers, &trusted), proxy);
        }

        #[test]
        fn a_hop_reads_as_it_is_written(address: IpAddr, port: u16) {
            prop_assert_eq!(parse_hop(address.to_string().as_bytes()), Some(address.to_canonical()));
            let socket = std::net::SocketAddr::new(address, port);
            prop_assert_eq!(parse_hop(socket.to_string().as_bytes()), Some(address.to_canonical()));
        }
    }
}
