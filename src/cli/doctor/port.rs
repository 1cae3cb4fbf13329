use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use super::Finding;
use crate::config::Config;

/// How long who listens there may take to say who he is.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the health check and the metrics are asked, and what Hallpass's own answers have that others' have not.
const HEALTH: (&str, &str) = ("/livez", "x-request-id:");
const METRICS: (&str, &str) = ("/metrics", "hallpass_build_info");

/// Whether the server can listen where it is told to. A moment long it is listened there.
pub(super) async fn check(config: &Config) -> Vec<Finding> {
    let mut found = vec![try_address("HOST and PORT", SocketAddr::new(config.host, config.port), HEALTH).await];
    if let Some(address) = config.metrics {
        found.push(try_address("METRICS_ADDR", address, METRICS).await);
    }
    found
}

async fn try_address(setting: &str, address: SocketAddr, question: (&str, &str)) -> Finding {
    const CHECK: &str = "port";
    let Err(error) = TcpListener::bind(address).await else {
        return Finding::ok(CHECK, format!("{address} is free"));
    };
    match error.kind() {
        io::ErrorKind::AddrInUse if is_hallpass(address, question).await => {
            Finding::ok(CHECK, format!("Hallpass listens on {address}"))
        }
        io::ErrorKind::AddrInUse => {
            let who = listener(address.port()).map_or_else(
                || "somebody else's process".to_owned(),
                |(pid, name)| format!("{} (process {pid})", name.escape_debug()),
            );
            let remedy = format!("stop it, or change {setting}");
            Finding::fail(CHECK, format!("{who} listens on {address}"), remedy)
        }
        io::ErrorKind::AddrNotAvailable => {
            let text = format!("{address} is no address of this machine");
            Finding::fail(CHECK, text, format!("set {setting} to one, or to 0.0.0.0 for all"))
        }
        io::ErrorKind::PermissionDenied => {
            let text = format!("this user may not listen on {address}");
            let remedy = format!("change {setting} to a port from 1024 on, or give the service CAP_NET_BIND_SERVICE");
            Finding::fail(CHECK, text, remedy)
        }
        _ => Finding::fail(CHECK, format!("cannot listen on {address}: {error}"), format!("change {setting}")),
    }
}

async fn is_hallpass(address: SocketAddr, (path, sign): (&str, &str)) -> bool {
    let address = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), address.port()),
        IpAddr::V6(ip) if ip.is_unspecified() => SocketAddr::new(Ipv6Addr::LOCALHOST.into(), address.port()),
        _ => address,
    };
    let ask = async {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        // Whoever it is, he may say a lot.
        stream.take(256 * 1_024).read_to_end(&mut answer).await?;
        Ok::<_, io::Error>(String::from_utf8_lossy(&answer).into_owned())
    };
    let answer = timeout(PATIENCE, ask).await;
    matches!(answer, Ok(Ok(answer)) if answer.starts_with("HTTP/1.1 200 ") && answer.contains(sign))
}

/// The process of the server that listens where this one would.
pub(super) fn server(config: &Config) -> Option<u32> {
    listener(config.port).filter(|(_, name)| name == env!("CARGO_PKG_NAME")).map(|(pid, _)| pid)
}

/// Which process listens on a port, and what it is called. Those of other users only root sees (proc(5)).
fn listener(port: u16) -> Option<(u32, String)> {
    let sockets: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|file| fs::read_to_string(file).ok())
        .flat_map(|table| table.lines().filter_map(|line| socket(line, port)).collect::<Vec<_>>())
        .collect();
    let processes = fs::read_dir("/proc").ok()?.flatten();
    processes.filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path()))).find_map(
        |(pid, path): (u32, _)| {
            let has = fs::read_dir(path.join("fd")).ok()?.flatten().any(|file| {
                let is_it = |link: &Path| sockets.iter().any(|socket| link.as_os_str() == socket.as_str());
                fs::read_link(file.path()).is_ok_and(|link| is_it(&link))
            });
            has.then(|| Some((pid, fs::read_to_string(path.join("comm")).ok()?.trim().to_owned())))?
        },
    )
}

/// The socket of a line of `/proc/net/tcp`, as a process's files name it, if it listens on this port.
fn socket(line: &str, port: u16) -> Option<String> {
    const LISTENS: &str = "0A";
    let mut columns = line.split_whitespace().skip(1);
    let (local, state, inode) = (columns.next()?, columns.nth(1)?, columns.nth(5)?);
    let (_, found) = local.rsplit_once(':')?;
    (state == LISTENS && u16::from_str_radix(found, 16) == Ok(port)).then(|| format!("socket:[{inode}]"))
}
