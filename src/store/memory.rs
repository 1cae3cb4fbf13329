//! What each request asks, in memory: the accounts and the sessions that are in use.
//!
//! Read at first use, and forgotten when it is written: by this process before anybody is answered, by another one
//! within a third of a second. As long as it is not known whether another one wrote, memory is not asked.

use std::{
    hash::Hash,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use quick_cache::{
    Weighter,
    sync::{Cache, GuardResult},
};

use super::{Error, Store};
use crate::model::{Account, Named, Salt, SessionId, Standing, UserId};

/// How much the sessions may take, in bytes: about 1.7 million.
const SESSIONS: u64 = 256 * 1024 * 1024;

/// How much the accounts may take, in bytes: about 300,000.
const ACCOUNTS: u64 = 192 * 1024 * 1024;

/// How much the salts of sessions may take, in bytes: of about half a million.
const SALTS: u64 = 64 * 1024 * 1024;

/// What one takes beside its texts, in bytes: the value, its place in the cache, what the allocator adds. Measured.
const SESSION: u64 = 160;
const ACCOUNT: u64 = 512;
const SALT: u64 = 128;

/// How long after another process was last known not to have written memory is believed.
const TRUST: Duration = Duration::from_millis(300);

/// The 16 bytes of an id.
type Key = [u8; 16];

/// What this process remembers of the database.
#[derive(Debug)]
pub(super) struct Memory {
    accounts: Cache<Key, Arc<Account>, Size>,
    sessions: Cache<Key, Arc<Standing>, Each<SESSION>>,
    /// By session. It has the same one all its life.
    salts: Cache<Key, Salt, Each<SALT>>,
    begun: Instant,
    /// The last time that others are known not to have written what is remembered, in milliseconds since it began.
    heard: AtomicU64,
    /// Counts how often others have written.
    foreign: AtomicU64,
    /// Whether this process has written.
    has_written: AtomicBool,
}

/// How often others have written, when that was last known. Another number: they have written since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard(u64);

/// Whose state a piece of work has written, or may have.
#[derive(Debug, Default)]
pub(super) struct Touched {
    accounts: Vec<UserId>,
    sessions: Vec<SessionId>,
    ended: Vec<SessionId>,
    anything: bool,
}

impl Touched {
    /// None that is remembered.
    pub(super) fn nothing() -> Self {
        Self::default()
    }

    /// It cannot be told.
    pub(super) fn anything() -> Self {
        Self { anything: true, ..Self::default() }
    }

    /// An account.
    pub(super) fn account(id: UserId) -> Self {
        Self { accounts: vec![id], ..Self::default() }
    }

    /// Sessions.
    pub(super) fn sessions(ids: impl IntoIterator<Item = SessionId>) -> Self {
        Self { sessions: ids.into_iter().collect(), ..Self::default() }
    }

    /// Sessions that have ended, or are gone.
    pub(super) fn ended(ids: impl IntoIterator<Item = SessionId>) -> Self {
        Self { ended: ids.into_iter().collect(), ..Self::default() }
    }

    /// These and those.
    pub(super) fn and(mut self, other: Self) -> Self {
        self.add(other);
        self
    }

    pub(super) fn add(&mut self, mut other: Self) {
        self.accounts.append(&mut other.accounts);
        self.sessions.append(&mut other.sessions);
        self.ended.append(&mut other.ended);
        self.anything |= other.anything;
    }
}

#[derive(Debug, Clone)]
struct Size;

impl Weighter<Key, Arc<Account>> for Size {
    fn weight(&self, _: &Key, account: &Arc<Account>) -> u64 {
        let user = &account.user;
        let texts = [user.id.as_str(), &user.username, user.email.as_deref().unwrap_or_default(), user.roles.as_str()];
        // Once as they are, and once as they are shown.
        ACCOUNT + 2 * texts.iter().map(|text| text.len() as u64).sum::<u64>()
    }
}

/// All of one size.
#[derive(Debug, Clone)]
struct Each<const SIZE: u64>;

impl<T, const SIZE: u64> Weighter<Key, T> for Each<SIZE> {
    fn weight(&self, _: &Key, _: &T) -> u64 {
        SIZE
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            // The room is taken when it is needed.
            accounts: Cache::with_weighter(1_000, ACCOUNTS, Size),
            sessions: Cache::with_weighter(1_000, SESSIONS, Each),
            salts: Cache::with_weighter(1_000, SALTS, Each),
            begun: Instant::now(),
            heard: AtomicU64::new(0),
            foreign: AtomicU64::new(0),
            has_written: AtomicBool::new(false),
        }
    }
}

impl Memory {
    /// Notes when it was asked whether others have written since it was last asked, and the answer.
    pub(super) fn hear(&self, asked: Instant, has_changed: bool) {
        if has_changed {
            self.forget(&Touched::anything());
            self.foreign.fetch_add(1, Ordering::Release);
        }
        let asked = asked.saturating_duration_since(self.begun).as_millis();
        self.heard.store(u64::try_from(asked).unwrap_or(u64::MAX), Ordering::Release);
    }

    /// Forgets what a piece of work has written.
    pub(super) fn write(&self, touched: &Touched) {
        self.has_written.store(true, Ordering::Relaxed);
        self.forget(touched);
    }

    /// What is being read now, and may be of before, will not be remembered.
    fn forget(&self, touched: &Touched) {
        if touched.anything {
            self.accounts.clear();
            self.sessions.clear();
            self.salts.clear();
            return;
        }
        for key in touched.accounts.iter().filter_map(UserId::to_bytes) {
            self.accounts.remove(&key);
        }
        for key in touched.sessions.iter().filter_map(SessionId::to_bytes) {
            self.sessions.remove(&key);
        }
        for key in touched.ended.iter().filter_map(SessionId::to_bytes) {
            self.sessions.remove(&key);
            self.salts.remove(&key);
        }
    }

    /// How many sessions are remembered.
    pub(super) fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// How many accounts.
    pub(super) fn accounts(&self) -> usize {
        self.accounts.len()
    }

    /// How many salts.
    pub(super) fn salts(&self) -> usize {
        self.salts.len()
    }

    /// None while it is not known whether another process wrote. To ask costs a look at the clock.
    fn trusted(&self) -> Option<&Self> {
        let heard = self.begun + Duration::from_millis(self.heard.load(Ordering::Acquire));
        (heard.elapsed() < TRUST).then_some(self)
    }
}

impl Store {
    /// How far it is known now what others have written. None: it is not.
    pub fn heard(&self) -> Option<Heard> {
        self.memory.trusted().map(|memory| Heard(memory.foreign.load(Ordering::Acquire)))
    }

    /// Waits until what this process has written holds in every other one, too.
    pub async fn settle(&self) {
        if self.memory.has_written.load(Ordering::Relaxed) {
            tokio::time::sleep(TRUST).await;
        }
    }

    /// What the MACs of a session's refresh tokens cover.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn salt(&self, id: &SessionId) -> Result<Option<Salt>, Error> {
        let Some(key) = id.to_bytes() else { return Ok(None) };
        remember(self.memory.trusted().map(|memory| &memory.salts), key, || self.read_salt(id)).await
    }

    /// An account and a session of it, as they are now, as far as they are there. `heard` is of this moment.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn recognise(
        &self,
        named: &Named,
        heard: Option<Heard>,
    ) -> Result<(Option<Arc<Account>>, Option<Arc<Standing>>), Error> {
        let Some(owner) = named.account_key() else { return Ok((None, None)) };
        if heard.is_some()
            && let Some(session) = named.session_key().and_then(|key| self.memory.sessions.get(&key))
            && let Some(account) = self.memory.accounts.get(&owner)
        {
            return Ok((Some(account), Some(session).filter(|session| session.owner == owner)));
        }
        // By itself: it has room for queries, which are large.
        Box::pin(self.read_both(named, owner)).await
    }

    async fn read_both(
        &self,
        named: &Named,
        owner: Key,
    ) -> Result<(Option<Arc<Account>>, Option<Arc<Standing>>), Error> {
        let read = || self.read_account(&named.user_id);
        let account = remember(self.memory.trusted().map(|memory| &memory.accounts), owner, read).await?;
        let Some(key) = named.session_key() else { return Ok((account, None)) };
        // To read the account may have taken longer than memory is trusted.
        let read = || self.read_standing(&named.session_id);
        let standing = remember(self.memory.trusted().map(|memory| &memory.sessions), key, read).await?;
        Ok((account, standing.filter(|standing| standing.owner == owner)))
    }
}

/// What is remembered; or else what is read, which is then remembered, unless it was written meanwhile.
async fn remember<K, V, W, R>(
    cache: Option<&Cache<K, V, W>>,
    key: K,
    read: impl FnOnce() -> R,
) -> Result<Option<V>, Error>
where
    K: Hash + Eq + Clone,
    V: Clone,
    W: Weighter<K, V> + Clone,
    R: Future<Output = Result<Option<V>, Error>>,
{
    // Who comes while another reads does not wait for him, but reads, too. What a query is made of is large: it stands
    // by itself, so that who finds what he wants does not carry its room about.
    match cache.map(|cache| cache.get_value_or_guard(&key, Some(Duration::ZERO))) {
        Some(GuardResult::Value(value)) => Ok(Some(value)),
        Some(GuardResult::Guard(place)) => {
            let found = Box::pin(read()).await?;
            if let Some(value) = &found {
                // Refused if the place was taken away meanwhile.
                let _ = place.insert(value.clone());
            }
            Ok(found)
        }
        Some(GuardResult::Timeout) | None => Box::pin(read()).await,
    }
}

#[cfg(test)]
mod tests;
