//! Argon2 (RFC 9106) in memory that is kept from hash to hash.

use argon2::{
    Algorithm, Argon2, Block, Params, Version,
    password_hash::phc::{self, Output, ParamsString, Salt},
};

use crate::{
    error::Error,
    model::{Cost, PasswordHash},
};

/// Room for so many blocks of 1 KiB is asked for at least. Above 32 MiB, glibc maps memory for each request and gives
/// it back when it is freed; below, it keeps what it was given once (mallopt(3), `M_MMAP_THRESHOLD`). Room that is
/// not used is not resident.
const OWN_MAPPING: usize = 33 * 1024;

/// The tag's and the salt's length in bytes (RFC 9106, section 4: 256 and 128 bits).
pub(super) const TAG: usize = 32;
pub(super) const SALT: usize = 16;

/// What a thread keeps from hash to hash.
#[derive(Default)]
pub(super) struct Memory {
    pub(super) blocks: Vec<Block>,
    /// All that was spent, in KiB that argon2 writes: what time goes by.
    pub(super) spent: u64,
}

impl Memory {
    /// Gives back what is more than this: a dear hash that was imported would keep its 256 MiB on each thread for as
    /// long as the thread has work.
    pub(super) fn shrink(&mut self, most: usize) {
        if self.blocks.len() > most {
            self.blocks = Vec::new();
        }
    }
}

pub(super) fn params(cost: Cost, tag: usize) -> Option<Params> {
    Params::new(cost.memory_kib, cost.iterations, cost.parallelism, Some(tag)).ok()
}

/// # Errors
/// As [`fill`].
pub(super) fn derive(cost: Cost, password: &[u8], salt: &[u8], memory: &mut Memory) -> Result<[u8; TAG], Error> {
    let mut tag = [0; TAG];
    fill(Algorithm::Argon2id, Version::V0x13, cost, password, salt, &mut tag, memory)?;
    Ok(tag)
}

/// # Errors
/// [`Error::Overloaded`] if there is not enough memory now: nothing was compared, so nothing is known.
pub(super) fn fill(
    algorithm: Algorithm,
    version: Version,
    cost: Cost,
    password: &[u8],
    salt: &[u8],
    tag: &mut [u8],
    memory: &mut Memory,
) -> Result<(), Error> {
    let params = params(cost, tag.len()).ok_or_else(|| Error::internal("argon2 does not take these parameters"))?;
    let count = params.block_count();
    let blocks = &mut memory.blocks;
    if blocks.len() < count {
        *blocks = Vec::new();
        blocks.try_reserve_exact(count.max(OWN_MAPPING)).map_err(|_| Error::Overloaded)?;
        // Argon2 jumps about: with pages of 2 MiB it waits less for their addresses. Where the system has none, the
        // advice is ignored.
        kevy_madvise::advise_hugepage(blocks.as_ptr().cast(), blocks.capacity() * Block::SIZE);
        blocks.resize(count, Block::new());
    }
    let argon2 = Argon2::new(algorithm, version, params);
    let blocks = blocks.get_mut(..count).unwrap_or_default();
    argon2.hash_password_into_with_memory(password, salt, tag, blocks).map_err(Error::internal)?;
    memory.spent += cost.work();
    Ok(())
}

pub(super) fn encode(cost: Cost, salt: &[u8], tag: &[u8]) -> Option<PasswordHash> {
    let hash = phc::PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(&params(cost, TAG)?).ok()?,
        salt: Some(Salt::new(salt).ok()?),
        hash: Some(Output::new(tag).ok()?),
    };
    Some(PasswordHash::from_text(hash.to_string()))
}
