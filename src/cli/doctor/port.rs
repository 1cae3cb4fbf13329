use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
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
            let who = match listeners(address.port()).as_slice() {
                [] => "a process that this user cannot see".to_owned(),
                [one] => format!("{} (process {})", one.name.escape_debug(), one.pid),
                some => {
                    let pids = some.iter().map(|one| one.pid.to_string()).collect::<Vec<_>>().join(", ");
                    format!("{PROGRAM} (one of the processes {pids})")
                }
            };
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

/// The process of the server that listens where this one would: those that may be it, where that cannot be told.
pub(super) fn servers(config: &Config) -> Vec<u32> {
    let found = listeners(config.port).into_iter();
    found.filter(|process| process.name == PROGRAM).map(|process| process.pid).collect()
}

/// How the system calls the program.
const PROGRAM: &str = env!("CARGO_PKG_NAME");

/// A process, and what it is called.
struct Process {
    pid: u32,
    name: String,
}

/// Which process listens on a port. Whose files we may see (proc(5)) is known by them; whose we may not, another user's
/// and that of a server that hides its memory, by whom the port belongs to and by its name. So there may be some.
fn listeners(port: u16) -> Vec<Process> {
    let sockets: Vec<Socket> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|file| fs::read_to_string(file).ok())
        .flat_map(|table| table.lines().filter_map(|line| socket(line, port)).collect::<Vec<_>>())
        .collect();
    let mut hidden = Vec::new();
    for (pid, path) in processes() {
        let Ok(name) = fs::read_to_string(path.join("comm")) else { continue };
        let process = Process { pid, name: name.trim().to_owned() };
        match files(&path) {
            Some(files) if sockets.iter().any(|socket| files.contains(&socket.file)) => return vec![process],
            None if pid != std::process::id()
                && process.name == PROGRAM
                && user(&path).is_some_and(|user| sockets.iter().any(|socket| socket.user == user)) =>
            {
                hidden.push(process);
            }
            _ => {}
        }
    }
    hidden
}

fn processes() -> impl Iterator<Item = (u32, PathBuf)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path())))
}

/// What a process has open. None: we may not see it.
fn files(process: &Path) -> Option<Vec<PathBuf>> {
    let entries = fs::read_dir(process.join("fd")).ok()?;
    let mut seen = Vec::new();
    for entry in entries {
        match fs::read_link(entry.ok()?.path()) {
            Ok(file) => seen.push(file),
            // It is closed meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(_) => return None,
        }
    }
    Some(seen)
}

/// Whose a process is: its folder belongs to root when it hides its memory, so it is read in its status, which all may.
fn user(process: &Path) -> Option<u32> {
    const EFFECTIVE: usize = 1;
    let status = fs::read_to_string(process.join("status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("Uid:"))?.split_whitespace().nth(EFFECTIVE)?.parse().ok()
}

#[derive(Debug, PartialEq, Eq)]
struct Socket {
    /// As a process's files name it.
    file: PathBuf,
    user: u32,
}

/// The socket of a line of `/proc/net/tcp`, if it listens on this port.
fn socket(line: &str, port: u16) -> Option<Socket> {
    const LISTENS: &str = "0A";
    let mut columns = line.split_whitespace().skip(1);
    let (local, state, user, inode) = (columns.next()?, columns.nth(1)?, columns.nth(3)?, columns.nth(1)?);
    let (_, found) = local.rsplit_once(':')?;
    let listens = state == LISTENS && u16::from_str_radix(found, 16) == Ok(port);
    listens.then(|| Some(Socket { file: format!("socket:[{inode}]").into(), user: user.parse().ok()? }))?
}

#[cfg(test)]
mod tests {
    use super::{Socket, socket};

    #[test]
    fn who_listens_is_read_from_a_line_of_the_table() {
        let line =
            "   0: 0100007F:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 26542 1 0 100";
        assert_eq!(socket(line, 8_000), Some(Socket { file: "socket:[26542]".into(), user: 1_000 }));
        assert_eq!(socket(line, 8_001), None);
        assert_eq!(socket(&line.replace(" 0A ", " 01 "), 8_000), None);
        assert_eq!(socket("  sl  local_address rem_address   st tx_queue", 8_000), None);
    }
}
