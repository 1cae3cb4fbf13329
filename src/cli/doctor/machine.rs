use std::{fs, path::Path};

use rustix::process::{Resource, getrlimit};

use super::{Finding, port};
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
    let stat = rustix::fs::statvfs(folder).ok()?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let size = fs::metadata(&config.database).map_or(0, |file| file.len());
    Some(judge_room(free, size))
}

/// In bytes.
fn judge_room(free: u64, size: u64) -> Finding {
    const CHECK: &str = "room";
    let text = format!("{} MiB are free, the database has {} MiB", free / MIB, size / MIB);
    if free < LEAST_ROOM {
        Finding::fail(CHECK, text, "make room: writes are refused when there is none")
    } else if free < size.saturating_mul(2) {
        Finding::warn(CHECK, text, "make room: an upgrade keeps a copy of the database")
    } else {
        Finding::ok(CHECK, text)
    }
}

/// A server takes 4,096 connections, and needs some files for itself.
const FILES: u64 = 4_096 + 64;

fn files() -> Finding {
    const CHECK: &str = "files";
    // To which the server raises its own.
    match getrlimit(Resource::Nofile).maximum {
        Some(limit) if limit < FILES => {
            let text = format!("a process may have {limit} files open, so there are fewer connections than 4096");
            Finding::warn(CHECK, text, format!("ulimit -Hn {FILES} as root, or LimitNOFILE={FILES} for the service"))
        }
        Some(limit) => Finding::ok(CHECK, format!("a process may have {limit} open")),
        None => Finding::ok(CHECK, "a process may have any number open"),
    }
}

/// What a server takes beside hashing, in MiB: the program itself; accounts, sessions and tokens in use, at most; and
/// the limits, at most (docs/OPERATIONS.md).
const PROGRAM: u64 = 32;
const IN_USE: u64 = 576;
const LIMITS: u64 = 76;

fn memory(config: &Config) -> Option<Finding> {
    let threads = u64::try_from(config.hash_threads).ok()?;
    let servers = port::servers(config);
    let whose = if servers.is_empty() { "this command" } else { "the server" };
    let hashing = threads * u64::from(config.argon2.memory_kib) / 1024;
    let limits = if config.rate_limits { LIMITS } else { 0 };
    Some(judge_memory(threads, hashing, limits, total_memory(&servers)? / MIB, whose))
}

/// All in MiB. Whose limit it is, is told: another one counts for a service than for a command in a shell.
fn judge_memory(threads: u64, hashing: u64, limits: u64, total: u64, whose: &str) -> Finding {
    const CHECK: &str = "memory";
    let most = PROGRAM + IN_USE + limits + hashing;
    let text = format!(
        "of {total} MiB that {whose} may have, {threads} hash threads take {hashing} MiB, and what is kept in memory \
         {IN_USE} MiB at most, the limits {limits} MiB"
    );
    if hashing + PROGRAM > total {
        Finding::fail(CHECK, text, "lower HASH_THREADS or ARGON2_MEMORY_KIB")
    } else if hashing > total / 2 || most > total {
        let remedy = "give it more memory, or lower HASH_THREADS or ARGON2_MEMORY_KIB: with very many accounts and \
                      sessions in use it would be ended";
        Finding::warn(CHECK, text, remedy)
    } else {
        Finding::ok(CHECK, text)
    }
}

/// What a process may have, in bytes: the machine's, or the least that its group and the groups around it have. That of
/// the server, if one runs: a service has a group of its own, and so has a command in a shell. Of those that may be it,
/// the one that has the least.
fn total_memory(servers: &[u32]) -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo").ok()?;
    let line = machine.lines().find(|line| line.starts_with("MemTotal:"))?;
    let machine = line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024;
    let limit = |process: &str| {
        let groups = fs::read_to_string(format!("/proc/{process}/cgroup")).unwrap_or_default();
        group_memory(&groups, Path::new("/sys/fs/cgroup"))
    };
    let least =
        if servers.is_empty() { limit("self") } else { servers.iter().filter_map(|pid| limit(&pid.to_string())).min() };
    Some(least.map_or(machine, |limit| limit.min(machine)))
}

/// The least limit of these groups (cgroups(7), `/proc/PID/cgroup`) and of all above them, in bytes: version 2, whose
/// line begins with `0::`, and the memory controller of version 1.
fn group_memory(groups: &str, mounted: &Path) -> Option<u64> {
    let limits = groups.lines().filter_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        let (root, file) = match controllers {
            "" => (mounted.to_owned(), "memory.max"),
            some if some.split(',').any(|name| name == "memory") => (mounted.join("memory"), "memory.limit_in_bytes"),
            _ => return None,
        };
        // In a container the path may be one of the machine's, which is not there: then what is mounted counts.
        let group = Path::new(path.trim_start_matches('/'));
        let limit = |group: &Path| fs::read_to_string(root.join(group).join(file)).ok()?.trim().parse::<u64>().ok();
        group.ancestors().filter_map(limit).min()
    });
    limits.min()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{MIB, group_memory, judge_memory, judge_room};

    #[test]
    fn the_least_limit_of_a_group_and_of_those_around_it_counts() {
        let folder = tempfile::tempdir().unwrap();
        for (file, limit) in [
            ("memory.max", "max\n"),
            ("system.slice/memory.max", "3000\n"),
            ("system.slice/hallpass.service/memory.max", "4000\n"),
            ("system.slice/free.service/memory.max", "max\n"),
            ("user.slice/memory.max", "max\n"),
            ("memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("memory/docker/memory.limit_in_bytes", "5000\n"),
        ] {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, limit).unwrap();
        }
        for (groups, limit) in [
            ("0::/system.slice/hallpass.service\n", Some(3_000)),
            ("0::/system.slice/free.service\n", Some(3_000)),
            ("0::/user.slice\n", None),
            ("0::/\n", None),
            ("0::/system.slice/gone.service\n", Some(3_000)),
            ("12:cpu,cpuacct:/docker\n5:memory:/docker\n", Some(5_000)),
            ("5:memory:/docker\n0::/system.slice\n", Some(3_000)),
            ("5:memory:/of-the-machine\n", Some(9_223_372_036_854_771_712)),
            ("12:cpu:/docker\n", None),
            ("no line of it\n", None),
            ("", None),
        ] {
            assert_eq!(group_memory(groups, folder.path()), limit, "{groups}");
        }
    }

    #[test]
    fn memory_and_room_are_judged_by_what_may_be_taken() {
        for (threads, hashing, limits, total, word) in [
            (2, 38, 76, 4_096, "Ok"),
            (2, 38, 76, 722, "Ok"),
            (2, 38, 76, 721, "Warn"),
            (2, 38, 0, 721, "Ok"),
            (2, 38, 76, 70, "Warn"),
            (2, 38, 76, 69, "Fail"),
            (64, 4_096, 76, 8_000, "Warn"),
        ] {
            let found = judge_memory(threads, hashing, limits, total, "the server");
            assert_eq!(format!("{:?}", found.state), word, "{found:?}");
        }
        for (free, size, word) in [(64, 0, "Ok"), (63, 0, "Fail"), (200, 100, "Ok"), (199, 100, "Warn")] {
            let found = judge_room(free * MIB, size * MIB);
            assert_eq!(format!("{:?}", found.state), word, "{found:?}");
        }
    }
}
