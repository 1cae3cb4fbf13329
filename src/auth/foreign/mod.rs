//! Password hashes that other programs made. They stand in `users.password_hash` as they came, and their owner's first
//! login makes them argon2id.
//!
//! What a database or an import holds is data: each scheme has its ceilings, of time and of memory, and what lies above
//! them is not computed. Argon2 of others is read in `hasher/stored.rs`, which has the memory for it.

mod bcrypt;
mod firebase;
mod pbkdf2;
mod scrypt;
mod text;

use self::{bcrypt::Bcrypt, firebase::Firebase, pbkdf2::Pbkdf2, scrypt::Scrypt};
use crate::error::Error;

/// In bytes: more than any form here has.
const LONGEST: usize = 1_024;

/// A stored hash, taken apart and bounded.
pub(super) enum Foreign {
    Bcrypt(Bcrypt),
    Firebase(Firebase),
    Pbkdf2(Pbkdf2),
    Scrypt(Scrypt),
}

/// Why no password is compared with a stored hash. It never holds the hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// No form that is known.
    #[error("is no password hash of a known scheme")]
    Scheme,
    /// Of a known scheme, and not whole.
    #[error("is a damaged password hash")]
    Damaged,
    /// Above the ceilings.
    #[error("is a password hash that costs more than is allowed")]
    TooDear,
}

/// [`Unusable::Scheme`]: the hash is of another family.
type Parse = fn(&str) -> Result<Foreign, Unusable>;

impl Foreign {
    /// Reads what another program stored.
    pub(super) fn parse(text: &str) -> Result<Self, Unusable> {
        let families: [Parse; 4] = [
            |text| Bcrypt::parse(text).map(Self::Bcrypt),
            |text| Firebase::parse(text).map(Self::Firebase),
            |text| Pbkdf2::parse(text).map(Self::Pbkdf2),
            |text| Scrypt::parse(text).map(Self::Scrypt),
        ];
        if text.len() > LONGEST {
            return Err(Unusable::Damaged);
        }
        let mut read = families.iter().map(|parse| parse(text));
        read.find(|read| !matches!(read, Err(Unusable::Scheme))).unwrap_or(Err(Unusable::Scheme))
    }

    /// Whether this is the password.
    ///
    /// # Errors
    /// [`Error::Overloaded`] if there is not enough memory now.
    pub(super) fn matches(&self, password: &[u8]) -> Result<bool, Error> {
        match self {
            Self::Bcrypt(hash) => Ok(hash.matches(password)),
            Self::Firebase(hash) => hash.matches(password),
            Self::Pbkdf2(hash) => Ok(hash.matches(password)),
            Self::Scrypt(hash) => hash.matches(password),
        }
    }

    /// How many KiB of memory a comparison takes, where that is much.
    pub(super) fn memory_kib(&self) -> u64 {
        match self {
            Self::Bcrypt(_) | Self::Pbkdf2(_) => 0,
            Self::Firebase(hash) => hash.memory_kib(),
            Self::Scrypt(hash) => hash.memory_kib(),
        }
    }

    /// About how many KiB argon2 writes in the time that a comparison takes; rather fewer, so that what is added to it
    /// makes nobody's refusal quicker than that of a name that does not exist.
    pub(super) fn work(&self) -> u64 {
        match self {
            Self::Bcrypt(hash) => hash.work(),
            Self::Firebase(hash) => hash.work(),
            Self::Pbkdf2(hash) => hash.work(),
            Self::Scrypt(hash) => hash.work(),
        }
    }
}

#[cfg(test)]
mod tests;
