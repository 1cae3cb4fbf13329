//! What is stored of a password, by us or by another program, and whether it is of the one that was typed.

use argon2::{Algorithm, Params, Version, password_hash::phc};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use zeroize::Zeroizing;

use super::argon::{Memory, SALT, TAG, derive, fill};
use crate::{
    auth::{
        foreign::{Foreign, Unusable},
        password::TypedPassword,
    },
    error::Error,
    model::Cost,
};

/// What others may have made. A shorter one would be met by chance.
const SHORTEST_TAG: usize = 16;
const LONGEST_TAG: usize = 64;

/// The most that is spent on a hash out of the database, whose parameters are data: 256 MiB, 16 passes,
/// 16 lanes, or what the settings say if that is more.
pub(super) const CEILING: Cost = Cost { memory_kib: 256 * 1024, iterations: 16, parallelism: 16 };

/// So many times the work, or more than so many times the memory, of a hash of today is dear. By default that is a third
/// of a second, or 76 MiB: what programs ask for by themselves is less.
const DEAR_WORK: u64 = 16;
const DEAR_MEMORY: u64 = 4;

/// What a verification found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The password is the right one.
    Match {
        /// The stored hash was made at another cost than today's, or by another program, and should be made anew.
        outdated: bool,
    },
    /// It is the right one, of an account that may not log in.
    Barred,
    /// It is not, or there was nothing to compare it with.
    Mismatch,
    /// The stored hash is damaged, of no known scheme, or dearer than is allowed.
    Unusable,
}

/// Compares a password with what is stored, if it could be read.
///
/// # Errors
/// As [`fill`].
pub(super) fn verify(
    today: Cost,
    typed: &TypedPassword,
    stored: Result<Stored, Unusable>,
    barred: bool,
    memory: &mut Memory,
) -> Result<Verdict, Error> {
    let Ok(stored) = stored else {
        // The work of a mismatch, on nothing.
        spend(today.work(), today, memory)?;
        return Ok(Verdict::Unusable);
    };
    let (before, outdated) = (memory.spent, !stored.is_of(today));
    let is_right = stored.matches(typed, outdated, memory)?;
    if is_right && !barred {
        return Ok(Verdict::Match { outdated });
    }
    // A hash of cheaper days is refused no sooner than one of today, or an account that does not exist.
    spend(today.work().saturating_sub(memory.spent - before), today, memory)?;
    Ok(if is_right { Verdict::Barred } else { Verdict::Mismatch })
}

/// Spends about the time that argon2 takes to write so many KiB.
fn spend(work: u64, today: Cost, memory: &mut Memory) -> Result<(), Error> {
    let least = u64::from(Params::MIN_M_COST) * u64::from(today.parallelism);
    let memory_kib = work / u64::from(today.iterations);
    if memory_kib >= least {
        let cost = Cost { memory_kib: u32::try_from(memory_kib).unwrap_or(u32::MAX), ..today };
        std::hint::black_box(derive(cost, b"nobody", &[0; 16], memory)?);
    }
    Ok(())
}

/// A stored hash, taken apart and bounded.
pub(super) enum Stored {
    Argon2(Known),
    Foreign(Foreign),
}

impl Stored {
    pub(super) fn parse(text: &str, ceiling: Cost) -> Result<Self, Unusable> {
        // Django puts the name before it.
        match text.strip_prefix("argon2$argon2").or(text.strip_prefix("$argon2")) {
            Some(rest) => Known::parse(&format!("$argon2{rest}"), ceiling).map(Self::Argon2),
            None => Foreign::parse(text).map(Self::Foreign),
        }
    }

    /// Whether to compare it with so many spellings costs so much more than a hash of today that others must not wait
    /// for it.
    pub(super) fn is_dear(&self, today: Cost, spellings: usize) -> bool {
        let (work, memory) = match self {
            Self::Argon2(known) => (known.cost.work(), known.cost.memory_kib.into()),
            Self::Foreign(foreign) => (foreign.work(), foreign.memory_kib()),
        };
        let work = work.saturating_mul(spellings as u64);
        !self.is_of(today) && work >= DEAR_WORK * today.work() || memory > DEAR_MEMORY * u64::from(today.memory_kib)
    }

    /// Whether it is what is made today.
    fn is_of(&self, today: Cost) -> bool {
        matches!(self, Self::Argon2(known) if known.is_of(today))
    }

    /// Ours is compared in the one spelling; one that others may have made also as it was typed.
    fn matches(&self, typed: &TypedPassword, is_of_others: bool, memory: &mut Memory) -> Result<bool, Error> {
        if !is_of_others {
            return typed.password().map_or(Ok(false), |password| self.matches_bytes(password.as_bytes(), memory));
        }
        // All of them, whichever is right: of an account that is barred, time would tell.
        typed.spellings().try_fold(false, |is_right, spelling| Ok(self.matches_bytes(spelling, memory)? || is_right))
    }

    fn matches_bytes(&self, password: &[u8], memory: &mut Memory) -> Result<bool, Error> {
        match self {
            Self::Argon2(known) => known.matches(password, memory),
            Self::Foreign(foreign) => {
                memory.spent += foreign.work();
                foreign.matches(password)
            }
        }
    }
}

/// An argon2 hash: ours, or another program's.
pub(super) struct Known {
    algorithm: Algorithm,
    version: Version,
    cost: Cost,
    salt: Vec<u8>,
    tag: Vec<u8>,
}

impl Known {
    fn parse(text: &str, ceiling: Cost) -> Result<Self, Unusable> {
        let hash = phc::PasswordHash::new(text).map_err(|_| Unusable::Damaged)?;
        let algorithm = Algorithm::try_from(hash.algorithm.as_str()).map_err(|_| Unusable::Scheme)?;
        // The first version did not write it.
        let version = hash.version.unwrap_or(Version::V0x10.into());
        let version = Version::try_from(version).map_err(|_| Unusable::Scheme)?;
        let params = Params::try_from(&hash).map_err(|_| Unusable::Damaged)?;
        // A hash with a key or data beside it needs what is not in it.
        if !params.keyid().is_empty() || !params.data().is_empty() {
            return Err(Unusable::Scheme);
        }
        let cost = Cost { memory_kib: params.m_cost(), iterations: params.t_cost(), parallelism: params.p_cost() };
        if !cost.within(ceiling) {
            return Err(Unusable::TooDear);
        }
        let (Some(salt), Some(tag)) = (hash.salt, hash.hash) else { return Err(Unusable::Damaged) };
        if salt.len() < argon2::MIN_SALT_LEN || !(SHORTEST_TAG..=LONGEST_TAG).contains(&tag.len()) {
            return Err(Unusable::Damaged);
        }
        Ok(Self { algorithm, version, cost, salt: salt.to_vec(), tag: tag.as_bytes().to_vec() })
    }

    fn is_of(&self, today: Cost) -> bool {
        (self.algorithm, self.version) == (Algorithm::Argon2id, Version::V0x13)
            && self.cost == today
            && self.tag.len() == TAG
            && self.salt.len() >= SALT
    }

    fn matches(&self, password: &[u8], memory: &mut Memory) -> Result<bool, Error> {
        let mut tag = Zeroizing::new(vec![0; self.tag.len()]);
        fill(self.algorithm, self.version, self.cost, password, &self.salt, &mut tag, memory)?;
        Ok(verify_slices_are_equal(&tag, &self.tag).is_ok())
    }
}
