//! The ring of signing keys: which one signs, which ones verify, and until when.
//!
//! All of it follows from times that are stored, so that every process that reads the same rows comes to the same
//! answer in the same second, and a process that is killed leaves nothing half done.

use serde::Serialize;

use super::{
    keys::{Jwk, Key},
    secrets::Secrets,
};
use crate::model::{Algorithm, SecretId, StoredKey, Time};

/// How long a server may take to hear of a key, in seconds.
const HEARING: i64 = 5;

/// The keys of one moment of the database.
#[derive(Debug, Default)]
pub struct Ring {
    rows: Vec<StoredKey>,
    /// In the order in which they take over, without the revoked ones.
    entries: Vec<Entry>,
    /// The rows that should be keys and are none.
    broken: Vec<String>,
    /// The turns of keys that are gone, and when the last token that they may have signed has expired.
    gone: Vec<(i64, Time)>,
}

/// How far the clocks of two servers are apart at most, in seconds, as far as nobody minds.
const SKEW: i64 = 60;

/// A key and the times of one of its turns.
#[derive(Debug)]
pub struct Entry {
    /// The key.
    pub key: Key,
    position: i64,
    activates_at: Time,
    /// When the next one takes over.
    retires_at: Option<Time>,
    /// When the last token that it signed has expired.
    pub(super) forgotten_at: Option<Time>,
}

/// Where a key is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Published, and not signing yet.
    Pending,
    /// Signing.
    Active,
    /// Verifying what it signed.
    Retired,
    /// What it signed has expired.
    Expired,
    /// Nothing that it signed counts.
    Revoked,
    /// Its row is damaged, or no key of ours.
    Broken,
}

/// A public key, as it is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Its id.
    pub kid: String,
    /// What it verifies.
    pub algorithm: Algorithm,
    /// The key.
    pub jwk: Jwk,
}

impl Ring {
    /// Opens these rows, which stand in the order in which they take over. Keys that `before` has opened are not
    /// opened again; a private key that does not open counts for nothing.
    pub fn open(rows: Vec<StoredKey>, secrets: &Secrets, sealed_by: &SecretId, before: &Self) -> Self {
        let (mut keys, mut broken) = (Vec::new(), Vec::new());
        for row in &rows {
            let key = if row.algorithm() == Some(Algorithm::Hs256) {
                secrets.all().map(|secret| &secret.hs256).find(|key| key.kid == row.kid).cloned()
            } else {
                let opened =
                    before.entries.iter().find(|entry| entry.key.kid == row.kid).map(|entry| entry.key.clone());
                opened.or_else(|| Key::open(row, secrets.by_id(sealed_by)?))
            };
            // A revoked key has nothing to open; the HS256 key of a secret that is gone is gone.
            if key.is_none() && row.revoked_at.is_none() && row.algorithm() != Some(Algorithm::Hs256) {
                broken.push(row.kid.clone());
            } else {
                keys.push((row, key));
            }
        }
        let took_over = |row: &StoredKey| row.revoked_at.is_none_or(|at| at > row.activates_at);
        let entries = keys.iter().enumerate().filter_map(|(n, (row, key))| {
            let key = key.clone().filter(|_| row.revoked_at.is_none())?;
            let next = keys.iter().skip(n + 1).find(|(row, _)| took_over(row));
            let retires_at = next.map(|(row, _)| row.activates_at);
            let forgotten_at = retires_at.map(|at| at.plus(row.longest_ttl));
            Some(Entry { key, position: row.position, activates_at: row.activates_at, retires_at, forgotten_at })
        });
        let entries = entries.collect();
        // By the longest life of all: to delete a turn lets the one before it go on until the next, and that one's
        // tokens have expired by then, too.
        let longest = rows.iter().map(|row| row.longest_ttl).max().unwrap_or_default();
        let is_gone = |row: &StoredKey, key: &Option<Key>| row.revoked_at.is_some() || key.is_none();
        let gone = keys.iter().enumerate().filter(|(_, (row, key))| is_gone(row, key)).filter_map(|(n, (row, _))| {
            let ended_at = match row.revoked_at {
                // Its kid is that of its secret: without the row, the secret would make the same key again.
                Some(_) if row.algorithm() == Some(Algorithm::Hs256) => return None,
                Some(at) => at.max(row.activates_at),
                None => keys.iter().skip(n + 1).find(|(row, _)| took_over(row))?.0.activates_at,
            };
            Some((row.position, ended_at.plus(longest)))
        });
        let gone = gone.collect();
        Self { rows, entries, broken, gone }
    }

    /// Whether these are the rows that it was made of.
    pub fn is_of(&self, rows: &[StoredKey]) -> bool {
        self.rows == rows
    }

    /// The rows that should be keys and are none.
    pub fn broken(&self) -> &[String] {
        &self.broken
    }

    /// The key that signs now: the last one whose time has come, or the first one of all under a clock that is
    /// wrong.
    pub fn signing(&self, now: Time) -> Option<&Key> {
        self.active(now).map(|entry| &entry.key)
    }

    fn active(&self, now: Time) -> Option<&Entry> {
        self.entries.iter().rfind(|entry| entry.activates_at <= now).or_else(|| self.entries.first())
    }

    /// The last turn of the key with this id. A closed set in memory: an unknown id costs nothing.
    pub fn find(&self, kid: &str) -> Option<&Entry> {
        self.entries.iter().rfind(|entry| entry.key.kid == kid)
    }

    /// When the newest key of an algorithm takes over, or did.
    pub fn newest(&self, algorithm: Algorithm) -> Option<Time> {
        self.entries.iter().filter(|entry| entry.key.algorithm == algorithm).map(|entry| entry.activates_at).max()
    }

    /// Whether this key signs now.
    pub fn signs(&self, entry: &Entry, now: Time) -> bool {
        self.active(now).is_some_and(|active| active.key.kid == entry.key.kid)
    }

    /// The turns to come that were made later than now.
    pub fn ahead(&self, now: Time) -> impl Iterator<Item = &StoredKey> {
        let latest = now.plus(SKEW);
        let is_ahead = move |row: &&StoredKey| row.created_at > latest && row.activates_at > now;
        self.rows.iter().filter(is_ahead).filter(|row| row.revoked_at.is_none())
    }

    /// The turns to come that were made later than now, by their positions, and when they are to begin. The clock was
    /// ahead then, or is behind now; nobody knows any more when they were made, but before or after which others. What
    /// may sign (`may`) is the next one, `lead` seconds from now, or at once if what signs now may not; what may not,
    /// or was followed by what signs now, is over. If the time of none has come the first one has signed, and does.
    pub fn settled(&self, now: Time, lead: i64, may: impl Fn(&StoredKey) -> bool) -> Vec<(i64, Time)> {
        let ahead = self.ahead(now);
        let row = |entry: &Entry| self.rows.iter().find(|row| row.position == entry.position);
        let Some(active) = self.active(now).and_then(row) else { return Vec::new() };
        if active.activates_at > now {
            return ahead.filter(|row| row.position == active.position).map(|row| (row.position, now)).collect();
        }
        let begin = |row: &StoredKey| match (may(active), may(row)) {
            (true, true) if row.position > active.position && row.kid != active.kid => now.plus(lead),
            (false, true) => now,
            _ => active.activates_at.plus(-1),
        };
        ahead.map(|row| (row.position, begin(row))).collect()
    }

    /// The turns that are still to come, the next one first.
    pub fn pending(&self, now: Time) -> Vec<i64> {
        self.entries.iter().filter(|entry| entry.activates_at > now).map(|entry| entry.position).collect()
    }

    /// The turns that have not ended and know of no token that lives so long, in seconds.
    pub fn shorter(&self, now: Time, ttl: i64) -> Vec<i64> {
        let goes_on = |position: i64| {
            let entry = self.entries.iter().find(|entry| entry.position == position);
            entry.is_some_and(|entry| entry.retires_at.is_none_or(|at| at > now))
        };
        let short = self.rows.iter().filter(|row| row.longest_ttl < ttl).map(|row| row.position);
        short.filter(|position| goes_on(*position)).collect()
    }

    /// The public keys to publish: those that sign, will sign, or have signed what is not expired.
    pub fn published(&self, now: Time) -> Vec<Published> {
        let is_alive = |entry: &&Entry| entry.forgotten_at.is_none_or(|at| at > now) || self.signs(entry, now);
        let living = self.entries.iter().filter(is_alive);
        let publish = |entry: &Entry| {
            let (kid, jwk) = (entry.key.kid.clone(), entry.key.public.clone()?);
            Some(Published { kid, algorithm: entry.key.algorithm, jwk })
        };
        living.filter_map(publish).collect()
    }

    /// The longest life of a token that is still accepted, in seconds.
    pub fn longest_ttl(&self) -> i64 {
        self.rows.iter().map(|row| row.longest_ttl).max().unwrap_or(0)
    }

    /// The turns whose tokens had all expired so many seconds ago. Not those of a secret's key that was revoked.
    pub fn forgotten(&self, now: Time, since: i64) -> Vec<i64> {
        let before = now.plus(-since);
        let old = self.entries.iter().filter(|entry| !self.signs(entry, now));
        let old = old.filter_map(|entry| Some((entry.position, entry.forgotten_at?)));
        let old = old.chain(self.gone.iter().copied()).filter(|(_, at)| *at < before);
        old.map(|(position, _)| position).collect()
    }

    /// Every turn and where it is in its life. That of a key whose secret is gone has expired.
    pub fn states(&self, now: Time) -> Vec<(&StoredKey, State)> {
        let active = self.active(now).map(|entry| entry.position);
        let state = |row: &StoredKey| match self.entries.iter().find(|entry| entry.position == row.position) {
            _ if row.revoked_at.is_some() => State::Revoked,
            _ if self.broken.contains(&row.kid) => State::Broken,
            _ if active == Some(row.position) => State::Active,
            _ if row.activates_at > now => State::Pending,
            Some(entry) if entry.forgotten_at.is_some_and(|at| at > now) => State::Retired,
            _ => State::Expired,
        };
        self.rows.iter().map(|row| (row, state(row))).collect()
    }
}

impl Entry {
    /// Whether a token of this `iat` can be one of its own: once another key has taken over, it signs no more.
    pub fn may_have_signed(&self, iat: i64) -> bool {
        // A private key signs here alone, on a server that may not have heard of its follower yet. Of a secret nobody
        // knows who else holds it.
        let slack = if self.key.algorithm.has_public_key() { HEARING } else { 0 };
        self.retires_at.is_none_or(|at| iat <= at.plus(slack).unix())
    }
}
