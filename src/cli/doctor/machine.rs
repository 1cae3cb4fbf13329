use std::{fs, path::Path};

use rustix::process::{Resource, getrlimit};

use super::Finding;
use crate::{clock, config::Config, model::Time};

/// How far the clock may be behind what was noted, in seconds: two servers need not agree.
const BEHIND: i64 = 120;

pub(super) fn clock(now: Time, newest: Option<Time>) -> Vec<Finding> {
    const CHECK: &str = "clock";
    const REMEDY: &str = "set it, and let something keep it (chrony, systemd-timesyncd)";
    vec![match newest {
        _ if clock::is_absurd(now) => {
            Finding::fail(CHECK, format!("it says {now}, before this program was made"), REMEDY)
        }
        Some(newest) if now.plus(BEHIND) < newest => {
            Finding::fail(CHECK, format!("it says {now}, and something was noted at {newest}"), REMEDY)
        }
        _ => Finding::ok(CHECK, now.to_string()),
    }]
}

pub(super) fn check(config: &Config) -> Vec<Finding> {
    let folder = config.database.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut found = Vec::new();
    found.extend(disk(folder));
    found.extend(room(config, folder));
    found.push(files());
    found.extend(memory(config));
    found
}

/// What statfs(2) calls those that are on another machine, or gone when this one starts anew.
#[cfg(target_os = "linux")]
const NETWORKS: [(u64, &str); 9] = [
    (0x6969, "NFS"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB"),
    (0x517b, "SMB"),
    (0x0102_1997, "9P"),
    (0x00c3_6400, "Ceph"),
    (0x0bd0_0bd0, "Lustre"),
    (0x5346_414f, "AFS"),
    (0x0116_1970, "GFS2"),
];
#[cfg(target_os = "linux")]
const TMPFS: u64 = 0x0102_1994;
#[cfg(target_os = "linux")]
const FUSE: u64 = 0x6573_5546;

#[cfg(target_os = "linux")]
fn disk(folder: &Path) -> Option<Finding> {
    const CHECK: &str = "disk";
    let kind = rustix::fs::statfs(folder).ok()?.f_type;
    let kind = kind.cast_unsigned() & 0xffff_ffff;
    let at = folder.display();
    Some(if let Some((_, name)) = NETWORKS.iter().find(|(known, _)| *known == kind) {
        let text = format!("{at} is on {name}: a write-ahead log needs memory that the processes share");
        Finding::fail(CHECK, text, "move the database to a local disk")
    } else if kind == TMPFS {
        Finding::warn(
            CHECK,
            format!("{at} is in memory, and gone when the machine starts anew"),
            "move the database to a disk",
        )
    } else if kind == FUSE {
        Finding::warn(CHECK, format!("{at} is on FUSE, which may be a network"), "see to it that it is a local disk")
    } else {
        Finding::ok(CHECK, format!("{at} is on a local disk"))
    })
}

#[cfg(not(target_os = "linux"))]
fn disk(_: &Path) -> Option<Finding> {
    None
}

const MIB: u64 = 1024 * 1024;

/// Below this the server soon answers 503, in bytes.
const LEAST_ROOM: u64 = 64 * MIB;

fn room(config: &Config, folder: &Path) -> Option<Finding> {
    const CHECK: &str = "room";
    let stat = rustix::fs::statvfs(folder).ok()?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let size = fs::metadata(&config.database).map_or(0, |file| file.len());
    let text = format!("{} MiB are free, the database has {} MiB", free / MIB, size / MIB);
    Some(if free < LEAST_ROOM {
        Finding::fail(CHECK, text, "make room: writes are refused when there is none")
    } else if free < size.saturating_mul(2) {
        Finding::warn(CHECK, text, "make room: an upgrade keeps a copy of the database")
    } else {
        Finding::ok(CHECK, text)
    })
}

/// A server takes 4,096 connections, and needs some files for itself.
const FILES: u64 = 4_096 + 64;

fn files() -> Finding {
    const CHECK: &str = "files";
    match getrlimit(Resource::Nofile).current {
        Some(limit) if limit < FILES => {
            let text = format!("a process may have {limit} files open, so there are fewer connections than 4096");
            Finding::warn(CHECK, text, format!("ulimit -n {FILES}, or LimitNOFILE={FILES} for the service"))
        }
        Some(limit) => Finding::ok(CHECK, format!("a process may have {limit} open")),
        None => Finding::ok(CHECK, "a process may have any number open"),
    }
}

fn memory(config: &Config) -> Option<Finding> {
    const CHECK: &str = "memory";
    let total = total_memory()? / MIB;
    let threads = u64::try_from(config.hash_threads).ok()?;
    let hashing = threads * u64::from(config.argon2.memory_kib) / 1024;
    let text = format!("{threads} hash threads take {hashing} MiB of {total} MiB");
    let remedy = "lower HASH_THREADS or ARGON2_MEMORY_KIB";
    Some(if hashing > total {
        Finding::fail(CHECK, text, remedy)
    } else if hashing > total / 2 {
        Finding::warn(CHECK, text, remedy)
    } else {
        Finding::ok(CHECK, text)
    })
}

/// What this process may have, in bytes: the machine's, or its group's (cgroups, version 2 and 1).
fn total_memory() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo").ok()?;
    let line = machine.lines().find(|line| line.starts_with("MemTotal:"))?;
    let machine = line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024;
    let groups = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    let limit = groups.iter().find_map(|file| fs::read_to_string(file).ok()?.trim().parse::<u64>().ok());
    Some(limit.map_or(machine, |limit| limit.min(machine)))
}
