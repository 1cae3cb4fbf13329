use std::{
    hash::{Hash, Hasher},
    net::{IpAddr, Ipv6Addr},
};

use siphasher::sip::SipHasher13;

use crate::{auth::random, error::Error};

/// What stands for a name, an account or an address: a hash of it (SipHash-1-3) under a key that nobody knows. So
/// nobody can choose whose counter another one shares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Mark(u64);

impl Mark {
    /// Its cell in each of two rows of `1 << size` cells.
    pub(super) fn cells(self, size: u32) -> [usize; 2] {
        let mask = (1_u64 << size) - 1;
        [self.0, self.0 >> 32].map(|bits| usize::try_from(bits & mask).unwrap_or_default())
    }
}

#[cfg(test)]
impl Mark {
    pub(super) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }
}

/// What is counted.
#[derive(Hash)]
pub(super) enum Subject<'a> {
    /// What came from an address.
    Address(Network),
    /// What came from all the networks of a site.
    Site(Site),
    /// All there is.
    All,
    /// Mail to somebody, of one kind of mail: what asks for another does not use up this one.
    Recipient(&'static str, &'a str),
    /// What was tried on a name, whether it exists or not.
    Name(&'a str),
    /// The same from an address from which the account of this name has logged in.
    NameAt(&'a str, Network),
    /// What was tried on an account, by whichever name.
    Account(&'a str),
    /// The same from an address from which it has logged in.
    AccountAt(&'a str, Network),
    /// What was tried on an account by whoever holds a token of it.
    Own(&'a str),
}

/// Makes marks.
#[derive(Clone)]
pub(super) struct Marker(SipHasher13);

impl Marker {
    /// With a fresh key.
    ///
    /// # Errors
    /// [`Error::Internal`] if the system has no random bytes.
    pub(super) fn new() -> Result<Self, Error> {
        Ok(Self(SipHasher13::new_with_key(&random::bytes()?)))
    }

    pub(super) fn mark(&self, subject: &Subject) -> Mark {
        let mut hasher = self.0;
        subject.hash(&mut hasher);
        Mark(hasher.finish())
    }
}

/// Whom an address belongs to, as far as it tells: an IPv4 address, or 64 bits of an IPv6 one, which is what a
/// customer has at least (RFC 6177).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Network([u8; 16]);

impl From<IpAddr> for Network {
    fn from(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).octets(),
        })
    }
}

/// Where an IPv6 address is: its first 48 bits, which is what a customer has at most (RFC 6177).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Site(u128);

impl Site {
    /// None: an IPv4 address tells nothing of its kind.
    pub(super) fn of(address: IpAddr) -> Option<Self> {
        match address.to_canonical() {
            IpAddr::V4(_) => None,
            IpAddr::V6(address) => Some(Self(address.to_bits() >> 80)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, net::IpAddr};

    use super::{Marker, Network, Site, Subject};

    #[test]
    fn an_address_is_an_ipv4_one_or_64_bits_of_an_ipv6_one() {
        for (one, other, are_same) in [
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff", true),
            ("2001:db8:1:2::1", "2001:db8:1:3::1", false),
            ("::", "0.0.0.0", false),
        ] {
            let [one_network, other_network] = [one, other].map(|text| Network::from(text.parse::<IpAddr>().unwrap()));
            assert_eq!(one_network == other_network, are_same, "{one} {other}");
        }
    }

    #[test]
    fn a_site_is_48_bits_of_an_ipv6_address() {
        for (one, other, are_same) in [
            ("2001:db8:1:2::1", "2001:db8:1:ffff::1", true),
            ("2001:db8:1:2::1", "2001:db8:2:2::1", false),
            ("2001:db8:1::", "::1", false),
        ] {
            let [one_site, other_site] = [one, other].map(|text| Site::of(text.parse::<IpAddr>().unwrap()).unwrap());
            assert_eq!(one_site == other_site, are_same, "{one} {other}");
        }
        for address in ["192.0.2.1", "::ffff:192.0.2.1"] {
            assert_eq!(Site::of(address.parse().unwrap()), None, "{address}");
        }
    }

    #[test]
    fn marks_differ_by_what_is_marked_and_by_key() {
        let network = Network::from(IpAddr::from([127, 0, 0, 1]));
        let marker = Marker::new().unwrap();
        let subjects = [
            Subject::Address(network),
            Subject::Site(Site(0)),
            Subject::All,
            Subject::Recipient("reset", "john"),
            Subject::Name("john"),
            Subject::NameAt("john", network),
            Subject::Account("john"),
            Subject::AccountAt("john", network),
            Subject::Own("john"),
        ];
        let marks: HashSet<_> = subjects.iter().map(|subject| marker.mark(subject)).collect();
        assert_eq!(marks.len(), subjects.len());
        assert!(subjects.iter().all(|subject| marks.contains(&marker.mark(subject))));
        assert_ne!(Marker::new().unwrap().mark(&Subject::Name("john")), marker.mark(&Subject::Name("john")));
    }
}
