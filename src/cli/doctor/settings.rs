use std::net::IpAddr;

use ipnet::IpNet;
use url::{Host, Url};

use super::{Finding, or_ok};
use crate::{
    cli::serve::may_others_read,
    config::{Config, Mistakes},
};

/// Each setting that cannot be used.
pub(super) fn mistakes(Mistakes(mistakes): &Mistakes) -> Vec<Finding> {
    let finding = |name: &str, detail: &str| {
        Finding::fail(
            "settings",
            format!("{name}: {detail}"),
            "change it in the environment or in .env; README has a table",
        )
    };
    mistakes.iter().map(|mistake| finding(&mistake.name, &mistake.detail)).collect()
}

/// What can be used, and may not be meant.
pub(super) fn check(config: &Config) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut warn = |text: &str, remedy: &str| found.push(Finding::warn("settings", text, remedy));
    if !config.rate_limits {
        warn("RATE_LIMITS is off: nobody is kept from guessing passwords", "take it out, unless a proxy does it");
    }
    if std::fs::metadata(".env").is_ok_and(|file| may_others_read(&file)) {
        warn(".env can be read by others, and SECRET_KEY with it", "chmod 600 .env");
    }
    or_ok(found, "settings", "all can be used; `hallpass config` shows them")
}

/// A network so large is no proxy's.
const WIDEST: (u8, u8) = (8, 32);

/// Addresses that do not go with each other.
pub(super) fn addresses(config: &Config) -> Vec<Finding> {
    const CHECK: &str = "addresses";
    let mut found = Vec::new();
    let url = Url::parse(&config.public_url).ok();
    let is_public = url.as_ref().and_then(Url::host).is_some_and(|host| !is_loopback(&host));
    let is_open = !config.host.is_loopback();
    for network in config.trusted_proxies.iter().filter(|network| is_wide(network)) {
        let text = format!("TRUSTED_PROXIES has {network}: anybody in it may claim any address");
        found.push(Finding::fail(CHECK, text, "name the proxy's own address"));
    }
    if config.is_https() && config.trusted_proxies.is_empty() {
        let text = "PUBLIC_URL is https, so there is a proxy, but TRUSTED_PROXIES is empty: all clients seem to have \
                    its address, and share its limits";
        found.push(Finding::warn(CHECK, text, "set TRUSTED_PROXIES to the proxy's address"));
    }
    if !config.is_https() && (is_public || is_open) {
        let text = format!("PUBLIC_URL is {}: passwords and tokens can be read on the way", config.public_url);
        found.push(Finding::warn(CHECK, text, "terminate TLS in front, and set PUBLIC_URL to the https address"));
    }
    if is_open && !is_public {
        let text = format!("HOST is {}, but PUBLIC_URL is on this machine: links and tokens name it", config.host);
        found.push(Finding::warn(CHECK, text, "set PUBLIC_URL to the address that clients use"));
    }
    if config.is_https() && config.host.is_unspecified() {
        let text = format!("HOST is {}: clients can go past the proxy, without TLS", config.host);
        found.push(Finding::warn(CHECK, text, "set HOST to the address that the proxy uses, or see to a firewall"));
    }
    if let Some(address) = config.metrics {
        if address.port() == config.port && (address.ip() == config.host || config.host.is_unspecified()) {
            let text = format!("METRICS_ADDR is {address}, where the server listens");
            found.push(Finding::fail(CHECK, text, "take another port"));
        } else if !address.ip().is_loopback() {
            let text = format!("METRICS_ADDR is {address}: whoever reaches it reads the metrics");
            found.push(Finding::warn(CHECK, text, "let only Prometheus reach it"));
        }
    }
    or_ok(found, CHECK, format!("{}:{} as {}", config.host, config.port, config.public_url))
}

fn is_wide(network: &IpNet) -> bool {
    let (v4, v6) = WIDEST;
    network.prefix_len() < if matches!(network, IpNet::V4(_)) { v4 } else { v6 }
        && !matches!(network.addr(), IpAddr::V6(address) if address.is_unique_local())
}

fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => *name == "localhost" || name.ends_with(".localhost"),
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    }
}
