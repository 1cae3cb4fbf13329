use super::{Algorithm, Time};

/// A signing key as it is stored.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredKey {
    /// The key id: the RFC 7638 thumbprint of its public half, or for HS256 a value derived from the secret.
    pub kid: String,
    /// What it is used with: the name of an [`Algorithm`].
    pub algorithm: String,
    /// The private key, encrypted. None: HS256, or revoked.
    pub sealed: Option<Vec<u8>>,
    /// When it was made.
    pub created_at: Time,
    /// When it takes over.
    pub activates_at: Time,
    /// Tells apart keys that take over in the same second.
    pub position: i64,
    /// The longest life of the tokens that it signs, in seconds.
    pub longest_ttl: i64,
    /// Since when nothing that it signed counts.
    pub revoked_at: Option<Time>,
}

impl StoredKey {
    /// The algorithm, if it is one that this version knows.
    pub fn algorithm(&self) -> Option<Algorithm> {
        Algorithm::named(&self.algorithm)
    }
}

impl std::fmt::Debug for StoredKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoredKey").field("kid", &self.kid).field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}
