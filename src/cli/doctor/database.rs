use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use super::{Finding, or_ok};
use crate::{
    auth::{
        ring::{Ring, State},
        secrets::Secrets,
    },
    config::Config,
    model::{Algorithm, Time},
    store::{self, Examined, OpenError},
};

/// Looks at the file and at what is in it. Answers when something was last noted there, too.
pub(super) async fn check(config: &Config, now: Time) -> (Option<Time>, Vec<Finding>) {
    let path = &config.database;
    if !path.exists() {
        let text = format!("there is none at {}", path.display());
        let remedy = "`hallpass serve` makes it; if there should be one, set DATABASE_URL to it";
        return (None, vec![Finding::warn("database", text, remedy)]);
    }
    let mut found = permissions(path);
    match store::examine(path, now).await {
        Err(error) => {
            found.push(refused(&error));
            (None, found)
        }
        Ok(examined) => {
            found.extend(inside(&examined));
            if examined.pending.is_empty() && examined.damage.is_none() {
                found.extend(keys(config, &examined, now));
            }
            (examined.newest, found)
        }
    }
}

fn permissions(path: &Path) -> Vec<Finding> {
    const CHECK: &str = "permissions";
    let mut found = Vec::new();
    let beside = |suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    for file in ["", "-wal", "-shm"].map(beside) {
        let Ok(metadata) = fs::metadata(&file) else { continue };
        let mode = metadata.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            let (text, remedy) =
                (format!("{} has mode {mode:o}", file.display()), format!("chmod 600 {}", file.display()));
            found.push(Finding::fail(CHECK, text, remedy));
        }
        let me = rustix::process::geteuid().as_raw();
        if metadata.uid() != me && me != 0 {
            let text = format!("{} belongs to user {}, and this is user {me}", file.display(), metadata.uid());
            found.push(Finding::fail(CHECK, text, "run everything as the user that the server runs as"));
        } else if metadata.uid() != me {
            let text = format!(
                "{} belongs to user {}: what root makes beside it, it cannot use",
                file.display(),
                metadata.uid()
            );
            found.push(Finding::warn(CHECK, text, "run commands as the user that the server runs as"));
        }
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match fs::metadata(folder).map(|metadata| metadata.permissions().mode()) {
        // Others may make files there, but not replace ours (the sticky bit).
        Ok(mode) if mode & 0o022 != 0 && mode & 0o1000 == 0 => {
            let text = format!("others can replace what is in {}", folder.display());
            found.push(Finding::fail(CHECK, text, format!("chmod go-w {}", folder.display())));
        }
        _ => {}
    }
    or_ok(found, CHECK, "the database is for its owner alone")
}

fn refused(error: &OpenError) -> Finding {
    let remedy = match error {
        OpenError::Unreadable { .. } => {
            "stop the server, put the file aside, and restore a backup (OPERATIONS: Restoring)"
        }
        OpenError::Foreign { .. } => "set DATABASE_URL to Hallpass's own file",
        OpenError::Schema { .. } => "run the version that wrote it, or a newer one",
        OpenError::Full { .. } => "make room",
        OpenError::NoLog { .. } => "move the database to a local disk",
        _ => "see to it that this user can read and write it, and that nobody keeps it locked",
    };
    Finding::fail("database", error.to_string(), remedy)
}

fn inside(examined: &Examined) -> Vec<Finding> {
    let mut found = Vec::new();
    if let Some(damage) = &examined.damage {
        let remedy = "stop the server, keep the file, and restore a backup (OPERATIONS: Restoring)";
        found.push(Finding::fail("database", format!("it is damaged: {damage}"), remedy));
    } else {
        found.push(Finding::ok("database", format!("whole, {} accounts", examined.users)));
    }
    found.push(if examined.pending.is_empty() {
        Finding::ok("schema", "that of this version")
    } else {
        let text = format!("{} migrations are to be applied", examined.pending.len());
        Finding::warn("schema", text, "stop the old server; the next start keeps a copy and applies them")
    });
    found
}

fn keys(config: &Config, examined: &Examined, now: Time) -> Vec<Finding> {
    const CHECK: &str = "keys";
    let secrets = match Secrets::derive(config) {
        Ok(secrets) => secrets,
        Err(error) => return vec![Finding::fail(CHECK, error.to_string(), "report it: this is a bug")],
    };
    let Some(noted) = &examined.secret else {
        return vec![Finding::ok(CHECK, "none yet: the first start makes them")];
    };
    if secrets.by_id(noted).is_none() {
        let remedy = "put the right one back; to replace it, set SECRET_KEY_PREVIOUS to the one before";
        return vec![Finding::fail(CHECK, "SECRET_KEY is not the one that this database is used with", remedy)];
    }
    let mut found = Vec::new();
    if *noted != secrets.current.id {
        let remedy = "start the server with these settings: it encrypts the keys anew";
        found.push(Finding::warn(CHECK, "SECRET_KEY is a new one, which no server has taken over", remedy));
    } else if secrets.previous.is_some() && examined.on_other_secrets == 0 {
        let text = "SECRET_KEY_PREVIOUS is set, and no session needs it any more";
        found.push(Finding::warn(CHECK, text, "take it out, a day after the last session went over"));
    }
    let ring = Ring::open(examined.keys.clone(), &secrets, noted, &Ring::default());
    found.extend(ring.broken().iter().map(|kid| {
        let text = format!("the signing key {kid} cannot be read");
        Finding::fail(CHECK, text, format!("restore a backup, or run `hallpass keys revoke {kid}`"))
    }));
    let states = ring.states(now);
    let is_revoked = |kid: &str| states.iter().any(|(key, state)| key.kid == kid && *state == State::Revoked);
    if config.algorithm == Algorithm::Hs256 && is_revoked(&secrets.current.hs256.kid) {
        let remedy = "replace SECRET_KEY, or set ALGORITHM to EdDSA or ES256";
        found.push(Finding::fail(CHECK, "the HS256 key of this SECRET_KEY was revoked", remedy));
    }
    found.extend(age(config, &ring, now));
    let signing = ring
        .signing(now)
        .map_or_else(|| "none signs yet".to_owned(), |key| format!("{} signs with {}", key.kid, key.algorithm.name()));
    or_ok(found, CHECK, signing)
}

/// In seconds: a server looks once a minute.
const LATE: i64 = 60 * 60;

/// Whether the keys are changed when their time has come.
fn age(config: &Config, ring: &Ring, now: Time) -> Option<Finding> {
    let signing = ring.signing(now)?;
    if signing.algorithm != config.algorithm {
        let text = format!("{} signs, and ALGORITHM is {}", signing.algorithm.name(), config.algorithm.name());
        return Some(Finding::warn("keys", text, "start the server with these settings: it switches the key"));
    }
    if let Some(key) = ring.ahead(now).next() {
        let text = format!("the key {} was made at {}, which is later than now", key.kid, key.created_at);
        let remedy = "set the clock right; a server then gives the key its turn within a minute";
        return Some(Finding::warn("keys", text, remedy));
    }
    let every = i64::try_from(config.key_rotation?.as_secs()).ok()?;
    let due = ring.newest(config.algorithm)?.plus(every);
    if !config.algorithm.has_public_key() || due.plus(LATE) > now {
        return None;
    }
    let text = format!("the signing key came of age at {due}, and no other follows it");
    Some(Finding::warn("keys", text, "start the server, which rotates it, or run `hallpass keys rotate`"))
}
