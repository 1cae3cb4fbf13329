//! How many connections there may be, and how many from one place in the net.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use ipnet::IpNet;
use prometheus::{IntCounter, IntGauge};
use rustix::process::{Resource, getrlimit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::app::App;

/// The most connections at once. More wait in the system's backlog.
const CONNECTIONS: u64 = 4_096;

/// So many of the files that the process may open are for its database, its mails and its log.
const OWN_FILES: u64 = 64;

/// And so many of those are for who reads metrics.
const READERS: usize = 16;

/// One site may have one in so many of the places: who takes all that one may leaves the most of them.
const SHARES: usize = 4;

/// Of a site that is refused it is told so often, or it would be all that is seen in the log.
const TELLING: Duration = Duration::from_mins(1);

/// The places for connections.
pub struct Places {
    free: Arc<Semaphore>,
    /// None: one site may have all.
    shares: Option<Shares>,
    /// None: nobody wants to know.
    counts: Option<(IntGauge, IntCounter)>,
}

struct Shares {
    most: usize,
    /// Many clients come by these.
    proxies: Vec<IpNet>,
    taken: Mutex<HashMap<IpNet, Taken>>,
}

/// What a site has.
#[derive(Default)]
struct Taken {
    count: usize,
    /// When it was told of that it has all that it may.
    told_at: Option<Instant>,
}

/// An IPv4 address, or 48 bits of an IPv6 one, which is what a customer has at most (RFC 6177).
fn site(address: IpAddr) -> IpNet {
    let bits = if address.is_ipv4() { 32 } else { 48 };
    IpNet::new(address, bits).map_or(address.into(), |site| site.trunc())
}

impl Shares {
    /// Whose share it is, unless many clients come by this address.
    fn site(&self, address: IpAddr) -> Option<IpNet> {
        let is_proxy = self.proxies.iter().any(|proxies| proxies.contains(&address));
        (!is_proxy).then(|| site(address))
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<IpNet, Taken>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is one more for it.
    fn take(&self, site: IpNet) -> bool {
        let mut all = self.taken();
        let taken = all.entry(site).or_default();
        if taken.count < self.most {
            taken.count += 1;
            return true;
        }
        let now = Instant::now();
        if taken.told_at.is_none_or(|told_at| now.duration_since(told_at) > TELLING) {
            taken.told_at = Some(now);
            tracing::warn!(event = "connections_refused", %site, most = self.most);
        }
        false
    }

    fn give_back(&self, site: IpNet) {
        let mut all = self.taken();
        if let Some(taken) = all.get_mut(&site) {
            taken.count -= 1;
            if taken.count == 0 {
                all.remove(&site);
            }
        }
    }
}

impl Places {
    /// As many as the process may have open: each connection is a file.
    pub fn new() -> Self {
        let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let all = CONNECTIONS.min(files.saturating_sub(OWN_FILES)).max(1);
        Self::of(usize::try_from(all).unwrap_or(1), None)
    }

    /// The same for clients who may not all be kind, as they are counted.
    pub fn for_clients(app: &App) -> Self {
        let mut places = Self::new();
        if app.config.rate_limits {
            let most = places.free.available_permits().div_ceil(SHARES);
            places.shares = Some(Shares { most, proxies: app.config.trusted_proxies.clone(), taken: Mutex::default() });
        }
        let counts = || (app.metrics.connections().clone(), app.metrics.refused_connections().clone());
        places.counts = app.metrics.is_on().then(counts);
        places
    }

    /// The few of a listener beside the one for clients.
    pub fn for_readers() -> Self {
        Self::of(READERS, None)
    }

    fn of(all: usize, shares: Option<Shares>) -> Self {
        Self { free: Arc::new(Semaphore::new(all)), shares, counts: None }
    }

    /// Completes when there is one.
    pub(super) async fn free(&self) -> Option<OwnedSemaphorePermit> {
        self.free.clone().acquire_owned().await.ok()
    }

    /// Takes it for a client at this address, unless the share of its site is taken.
    pub(super) fn take(self: &Arc<Self>, free: Option<OwnedSemaphorePermit>, address: IpAddr) -> Option<Place> {
        let site = self.shares.as_ref().and_then(|shares| shares.site(address.to_canonical()));
        if let (Some(shares), Some(site)) = (&self.shares, site)
            && !shares.take(site)
        {
            self.counts.iter().for_each(|(_, refused)| refused.inc());
            return None;
        }
        self.counts.iter().for_each(|(open, _)| open.inc());
        Some(Place { _free: free, site, places: self.clone() })
    }
}

impl Default for Places {
    fn default() -> Self {
        Self::new()
    }
}

/// A place that is taken, until it is dropped.
pub(super) struct Place {
    _free: Option<OwnedSemaphorePermit>,
    /// None: it is nobody's share.
    site: Option<IpNet>,
    places: Arc<Places>,
}

impl Drop for Place {
    fn drop(&mut self) {
        if let (Some(shares), Some(site)) = (&self.places.shares, self.site) {
            shares.give_back(site);
        }
        self.places.counts.iter().for_each(|(open, _)| open.dec());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::{Place, Places, Shares};

    fn take(places: &Arc<Places>, address: &str) -> Option<Place> {
        let free = places.free.clone().try_acquire_owned().unwrap();
        places.take(Some(free), address.parse().unwrap())
    }

    #[test]
    fn a_site_has_its_share_and_a_proxy_what_there_is() {
        let proxies = vec!["192.0.2.0/24".parse().unwrap()];
        let shares = Shares { most: 2, proxies, taken: Mutex::default() };
        let places = Arc::new(Places::of(16, Some(shares)));
        let mut held = Vec::new();
        for (address, is_taken) in [
            ("198.51.100.1", true),
            ("::ffff:198.51.100.1", true),
            ("198.51.100.1", false),
            ("198.51.100.2", true),
            ("2001:db8:0:1::1", true),
            ("2001:db8:0:2::1", true),
            ("2001:db8:0:1::1", false),
            ("2001:db8:1:1::1", true),
            ("192.0.2.1", true),
            ("192.0.2.1", true),
            ("192.0.2.1", true),
            ("::ffff:192.0.2.1", true),
        ] {
            let place = take(&places, address);
            assert_eq!(place.is_some(), is_taken, "{address}");
            held.extend(place);
        }
        assert_eq!(places.free.available_permits(), 16 - held.len(), "who was refused holds nothing");
        drop(held);
        assert!(take(&places, "198.51.100.1").is_some());
        assert!(places.shares.as_ref().unwrap().taken().is_empty(), "nothing is remembered of who has left");
        assert_eq!(places.free.available_permits(), 16);
    }

    #[test]
    fn without_shares_one_site_may_have_all() {
        let places = Arc::new(Places::of(3, None));
        let held: Vec<_> = (0..3).map(|_| take(&places, "198.51.100.1").unwrap()).collect();
        assert_eq!(places.free.available_permits(), 0);
        drop(held);
    }
}
