//! What ended, for services that verify access tokens by themselves.
//!
//! An entry names a session or an account by a digest of its id: whoever holds a token can match it, nobody else
//! learns an id.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use tokio::sync::Mutex;

use crate::{app::App, error::Error, model::Time};

/// How many characters of the digest there are: 132 bits.
const DIGEST: usize = 22;

/// A time is that of the request, which may have waited before it was written: longer than no answer may take, in
/// seconds. Who asks for what is newer is told so much of what is older, too.
const OVERLAP: i64 = 60;

/// How long others may keep the list, in seconds.
pub const CACHE_LIFE: i64 = 1;

/// Something that ended: the digest of its id, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The first 22 characters of base64url(SHA-256(id as text)).
    pub hash: String,
    /// A session: when it was ended. An account: the first second whose tokens count again.
    pub at: Time,
}

/// What ended within one life of an access token, in the order of time.
#[derive(Debug, Clone, Default)]
pub struct List {
    /// When it was read. Whoever asks for what is newer asks from here.
    pub as_of: Time,
    sessions: Vec<Entry>,
    subjects: Vec<Entry>,
}

/// The list of the current second: however many ask, the database is asked once.
#[derive(Debug, Default)]
pub struct Revocations(Mutex<Option<Arc<List>>>);

impl List {
    /// The sessions that ended at this moment or after it.
    pub fn sessions(&self, from: Option<Time>) -> &[Entry] {
        newer(&self.sessions, from)
    }

    /// The accounts, likewise.
    pub fn subjects(&self, from: Option<Time>) -> &[Entry] {
        newer(&self.subjects, from)
    }

    /// From where on the list is told to who asks for what is newer than `since`: more than was asked, from 1, 2, 4, 8,
    /// … minutes ago, so that a dozen different answers have to be made, whatever is asked. None: from its beginning, as
    /// also for who asks from ahead of us: our clock was set back, and he has not heard of what ended since.
    pub fn from(&self, since: Option<Time>) -> Option<Time> {
        let minute = |at: Time| at.unix().div_euclid(60);
        let (now, asked) = (minute(self.as_of), minute(since?.plus(-OVERLAP)));
        if asked > now {
            return None;
        }
        let back = u64::try_from(now.saturating_sub(asked)).ok()?.next_power_of_two().cast_signed();
        let from = now.saturating_sub(back).saturating_mul(60);
        let first = [self.sessions.first(), self.subjects.first()].into_iter().flatten().map(|entry| entry.at).min();
        Some(Time::from_unix(from)).filter(|from| first.is_some_and(|first| first < *from))
    }
}

fn newer(entries: &[Entry], from: Option<Time>) -> &[Entry] {
    let first = entries.partition_point(|entry| from.is_some_and(|from| entry.at < from));
    entries.get(first..).unwrap_or_default()
}

/// What ended within one life of an access token.
///
/// # Errors
/// [`Error::StorageUnavailable`]: it cannot be known.
pub async fn list(app: &App, now: Time) -> Result<Arc<List>, Error> {
    let mut cached = app.revocations.0.lock().await;
    match &*cached {
        // Who waited meanwhile may have come in the second before.
        Some(list) if list.as_of == now || list.as_of == now.plus(1) => Ok(list.clone()),
        _ => Ok(cached.insert(Arc::new(read(app, now).await?)).clone()),
    }
}

async fn read(app: &App, now: Time) -> Result<List, Error> {
    // A token can be as much younger than the end of its session as that waited before it was written.
    let oldest = now.plus(-app.tokens.ring().longest_ttl() - OVERLAP);
    let found = app.store.revocations(oldest).await?;
    let entry = |id: &str, at| Entry { hash: hash(id), at };
    Ok(List {
        as_of: now,
        sessions: found.sessions.iter().map(|(id, at)| entry(id.as_str(), *at)).collect(),
        subjects: found.subjects.iter().map(|(id, at)| entry(id.as_str(), *at)).collect(),
    })
}

fn hash(id: &str) -> String {
    let mut hash = URL_SAFE_NO_PAD.encode(digest(&SHA256, id.as_bytes()));
    hash.truncate(DIGEST);
    hash
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{Entry, List};
    use crate::model::Time;

    #[test]
    fn whatever_is_asked_few_lists_are_written_and_none_leaves_out_what_was_asked() {
        let now = 1_800_000_017;
        let entry = |at| Entry { hash: String::new(), at: Time::from_unix(at) };
        let list = List {
            as_of: Time::from_unix(now),
            sessions: (now - 86_400..=now).step_by(10).map(entry).collect(),
            subjects: Vec::new(),
        };
        let mut beginnings = HashSet::new();
        for since in (-200_000..200_000).step_by(7).map(|ago| now - ago).chain([0, i64::MIN, i64::MAX]) {
            let from = list.from(Some(Time::from_unix(since)));
            beginnings.insert(from);
            let first = list.sessions(from).first().map_or(i64::MAX, |entry| entry.at.unix());
            let newer = list.sessions.iter().find(|entry| entry.at.unix() >= since.saturating_sub(60));
            assert!(newer.is_none_or(|newer| first <= newer.at.unix()), "{since}");
        }
        assert!(beginnings.len() < 16, "{}", beginnings.len());
        assert!(list.from(Some(Time::from_unix(now + 60))).is_some(), "who is ahead by less than a minute");
        assert_eq!(list.sessions(Some(Time::from_unix(now - 10))).len(), 2, "the moment that is asked for counts");
        let minute_ago = list.from(Some(Time::from_unix(now - 1))).unwrap();
        assert!(list.sessions(Some(minute_ago)).len() < 30, "who asks often is told little");
    }
}
