//! What ended, for services that verify access tokens by themselves.
//!
//! An entry names a session or an account by a digest of its id: whoever holds a token can match it, nobody else
//! learns an id.

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

/// What ended within one life of an access token.
#[derive(Debug, Clone, Default)]
pub struct List {
    /// When it was read. Whoever asks for what is newer asks from here.
    pub as_of: Time,
    /// The sessions.
    pub sessions: Vec<Entry>,
    /// The accounts.
    pub subjects: Vec<Entry>,
}

/// The list of the current second: however many ask, the database is asked once.
#[derive(Debug, Default)]
pub struct Revocations(Mutex<Option<List>>);

/// What ended since a moment (and up to a minute before it); without, within one life of an access token.
///
/// # Errors
/// [`Error::StorageUnavailable`]: it cannot be known.
pub async fn list(app: &App, now: Time, since: Option<Time>) -> Result<List, Error> {
    let mut cached = app.revocations.0.lock().await;
    let list = match &*cached {
        Some(list) if list.as_of == now => list,
        _ => cached.insert(read(app, now).await?),
    };
    let since = since.map_or(Time::from_unix(i64::MIN), |since| since.plus(-OVERLAP));
    let select = |entries: &[Entry]| entries.iter().filter(|entry| entry.at >= since).cloned().collect();
    Ok(List { as_of: list.as_of, sessions: select(&list.sessions), subjects: select(&list.subjects) })
}

async fn read(app: &App, now: Time) -> Result<List, Error> {
    let longest = app.tokens.ring().longest_ttl();
    let found = app.store.revocations(now.plus(-longest)).await?;
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
