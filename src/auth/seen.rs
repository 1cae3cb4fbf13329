//! Access tokens whose signature has been verified, so that it need not be each time.
//!
//! They are found by a digest of their exact bytes. Another spelling of a token is another token; who knows a `jti`
//! and changes what stands beside it finds nothing. That a key has signed these bytes is all that is remembered:
//! whether the key, the token, the session and the account still count is asked at each use.

use std::sync::Arc;

use aws_lc_rs::digest::{self, SHA256, SHA256_OUTPUT_LEN};
use quick_cache::{Weighter, sync::Cache};

use super::token::Verified;
use crate::{error::Error, model::Time};

/// How much they may take, in bytes: about 150,000 tokens.
const TOKENS: u64 = 64 * 1024 * 1024;

/// What one takes beside its texts, in bytes: the value, its place in the cache, what the allocator adds.
const TOKEN: usize = 320;

pub(super) type Digest = [u8; SHA256_OUTPUT_LEN];

/// What was verified.
#[derive(Debug, Clone)]
pub(super) struct Seen(Arc<Cache<Digest, Arc<Verified>, Size>>);

#[derive(Debug, Clone)]
struct Size;

impl Weighter<Digest, Arc<Verified>> for Size {
    fn weight(&self, _: &Digest, verified: &Arc<Verified>) -> u64 {
        let Verified { named, kid, .. } = &**verified;
        (TOKEN + named.user_id.as_str().len() + named.session_id.as_str().len() + kid.len()) as u64
    }
}

impl Default for Seen {
    fn default() -> Self {
        // The room is taken when it is needed.
        Self(Arc::new(Cache::with_weighter(1_000, TOKENS, Size)))
    }
}

impl Seen {
    /// What the token of this digest says, if it was seen before.
    pub(super) fn find(&self, digest: &Digest) -> Option<Arc<Verified>> {
        self.0.get(digest)
    }

    /// How many are remembered.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// Remembers a token, unless others are more in use.
    pub(super) fn remember(&self, digest: Digest, verified: &Arc<Verified>) {
        self.0.insert(digest, verified.clone());
    }

    /// Forgets those that have expired. With a clock that is set back they are verified again.
    pub(super) fn forget_expired(&self, now: Time) {
        self.0.retain(|_, verified| verified.expires_at > now);
    }
}

/// What a token is found by.
///
/// # Errors
/// [`Error::Internal`] if SHA-256 has another length.
pub(super) fn digest(token: &str) -> Result<Digest, Error> {
    digest::digest(&SHA256, token.as_bytes()).as_ref().try_into().map_err(Error::internal)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Seen, TOKEN, TOKENS, Verified, digest};
    use crate::{
        auth::random,
        model::{Named, Time},
    };

    #[test]
    fn what_was_seen_is_found_again_by_its_own_text_until_there_are_too_many() {
        let now = Time::from_unix(1_000_000);
        let (user_id, session_id) = (random::id(now).unwrap(), random::id(now).unwrap());
        let verified = Arc::new(Verified::of(Named::new(user_id, session_id), "a key's name"));
        let seen = Seen::default();
        let digests = |range: std::ops::Range<u32>| range.map(|n| digest(&n.to_string()).unwrap());
        digests(0..10_000).for_each(|digest| seen.remember(digest, &verified));
        assert!(
            digests(0..10_000).all(|digest| seen.find(&digest).is_some_and(|found| Arc::ptr_eq(&found, &verified)))
        );
        assert!(seen.find(&digest("another").unwrap()).is_none());
        digests(10_000..200_000).for_each(|digest| seen.remember(digest, &verified));
        // Two ids of 36 characters, and the key's name.
        assert_eq!(seen.0.weight(), seen.count() as u64 * (TOKEN as u64 + 36 + 36 + 12));
        assert!(seen.0.weight() <= TOKENS);
    }
}
