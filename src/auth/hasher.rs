//! Argon2id (RFC 9106) on threads of its own, and what other programs hashed with.
//!
//! A hash takes tens of milliseconds and megabytes, so there is one thread a core, each keeping its memory
//! (a fresh allocation a call costs a quarter more), and a short queue before them. When the queue is full
//! the caller is told at once; who hung up while waiting is not hashed for.
//!
//! The threads yield to those that answer requests: who is logged in does not notice how many log in.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    thread,
    time::{Duration, Instant},
};

use argon2::{
    Algorithm, Argon2, Block, Params, Version,
    password_hash::phc::{self, Output, ParamsString, Salt},
};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use tokio::sync::oneshot;
use zeroize::Zeroizing;

use super::{
    foreign::{Foreign, Unusable},
    metrics::Notes,
    password::{Password, TypedPassword},
    random,
};
use crate::{
    error::Error,
    model::{Cost, PasswordHash},
};

/// After so long without work a thread gives its memory back.
const IDLE: Duration = Duration::from_secs(10);

/// Room for so many blocks of 1 KiB is asked for at least. Above 32 MiB, glibc maps memory for each request and gives
/// it back when it is freed; below, it keeps what it was given once (mallopt(3), `M_MMAP_THRESHOLD`). Room that is
/// not used is not resident.
const OWN_MAPPING: usize = 33 * 1024;

/// A hash thread takes what the others leave of a core (setpriority(2), «nice»): all of it, or where they want it all,
/// a seventieth. At 10, a tenth of their weight, the 99th percentile of those who were logged in was some times as long
/// in a storm of logins as before it; at 19 as long.
#[cfg(target_os = "linux")]
const NICE: i32 = 19;

/// The tag's and the salt's length in bytes (RFC 9106, section 4: 256 and 128 bits).
const TAG: usize = 32;
const SALT: usize = 16;

/// What others may have made. A shorter one would be met by chance.
const SHORTEST_TAG: usize = 16;
const LONGEST_TAG: usize = 64;

/// The most that is spent on a hash out of the database, whose parameters are data: 256 MiB, 16 passes,
/// 16 lanes, or what the settings say if that is more.
const CEILING: Cost = Cost { memory_kib: 256 * 1024, iterations: 16, parallelism: 16 };

fn params(cost: Cost, tag: usize) -> Option<Params> {
    Params::new(cost.memory_kib, cost.iterations, cost.parallelism, Some(tag)).ok()
}

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

/// What a thread keeps from hash to hash.
#[derive(Default)]
struct Memory {
    blocks: Vec<Block>,
    /// All that was spent, in KiB that argon2 writes: what time goes by.
    spent: u64,
}

impl Memory {
    /// Gives back what is more than this: a dear hash that was imported would keep its 256 MiB on each thread for as
    /// long as the thread has work.
    fn shrink(&mut self, most: usize) {
        if self.blocks.len() > most {
            self.blocks = Vec::new();
        }
    }
}

type Job = Box<dyn FnOnce(&mut Memory) + Send>;

/// The hashing threads. They end when the last clone is dropped.
#[derive(Debug, Clone)]
pub struct Hasher {
    queue: Sender<Job>,
    cost: Cost,
    ceiling: Cost,
    /// Of no password.
    decoy: PasswordHash,
    notes: Notes,
    pub(super) threads: usize,
}

impl Hasher {
    /// Starts the threads.
    ///
    /// # Errors
    /// [`Error::Internal`] if argon2 does not take `cost`, or the system gives no thread.
    pub fn start(cost: Cost, threads: usize, queue: usize) -> Result<Self, Error> {
        let own = params(cost, TAG).ok_or_else(|| Error::internal("argon2 does not take these parameters"))?;
        let own = own.block_count();
        let (sender, receiver) = bounded(queue);
        let notes = Notes::default();
        for n in 0..threads {
            let jobs = receiver.clone();
            thread::Builder::new()
                .name(format!("hash-{n}"))
                .spawn(move || work(&jobs, own))
                .map_err(Error::internal)?;
        }
        let decoy = encode(cost, &random::bytes::<16>()?, &random::bytes::<TAG>()?);
        let decoy = decoy.ok_or_else(|| Error::internal("no PHC string"))?;
        Ok(Self { queue: sender, cost, ceiling: cost.max(CEILING), decoy, notes, threads })
    }

    pub(super) fn notes(&self) -> &Notes {
        &self.notes
    }

    /// How many wait.
    pub(super) fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Whether one more would be taken now.
    pub fn has_room(&self) -> bool {
        !self.queue.is_full()
    }

    /// Hashes a password with a fresh salt.
    ///
    /// # Errors
    /// [`Error::Overloaded`]
    pub async fn hash(&self, password: Password) -> Result<PasswordHash, Error> {
        let (cost, salt) = (self.cost, random::bytes::<SALT>()?);
        let tag = self.run(move |memory| derive(cost, password.as_bytes(), &salt, memory)).await??;
        encode(cost, &salt, &tag).ok_or_else(|| Error::internal("no PHC string"))
    }

    /// Compares a password with a stored hash, of ours or of another program. Where there is none, or no usable one, or
    /// no text that could be a password, the same work is done and the answer is no: time tells nobody which accounts
    /// exist. Nor does it tell the right password of an account that may not log in (`barred`).
    ///
    /// # Errors
    /// [`Error::Overloaded`]
    pub async fn verify(
        &self,
        typed: TypedPassword,
        stored: Option<PasswordHash>,
        barred: bool,
    ) -> Result<Verdict, Error> {
        let (today, ceiling) = (self.cost, self.ceiling);
        // To read a hash takes time, too.
        let stored = stored.unwrap_or_else(|| self.decoy.clone());
        self.run(move |memory| verify(today, ceiling, &typed, Some(&stored), barred, memory)).await?
    }

    /// Whether a password could be compared with this hash.
    ///
    /// # Errors
    /// [`Unusable`]
    pub fn check(&self, hash: &PasswordHash) -> Result<(), Unusable> {
        Stored::parse(hash.as_str(), self.ceiling).map(drop)
    }

    async fn run<T: Send + 'static>(&self, task: impl FnOnce(&mut Memory) -> T + Send + 'static) -> Result<T, Error> {
        let (answer, result) = oneshot::channel();
        let (notes, queued) = (self.notes.clone(), Instant::now());
        let job: Job = Box::new(move |memory| {
            if !answer.is_closed() {
                let _work = notes.begin(queued);
                // Who hangs up during the work does not read the answer.
                let _ = answer.send(task(memory));
            }
        });
        self.queue.try_send(job).map_err(|_| Error::Overloaded)?;
        result.await.map_err(|_| Error::internal("a hashing thread dropped its work"))
    }
}

/// Hashes what comes, and keeps the memory for hashes of `own` blocks.
fn work(jobs: &Receiver<Job>, own: usize) {
    // Of this thread alone, which is how Linux does it. Refused, it hashes all the same.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::setpriority_process(None, NICE);
    let mut memory = Memory::default();
    loop {
        match jobs.recv_timeout(IDLE) {
            // A panic costs one caller its answer, not the server a thread.
            Ok(job) => {
                drop(catch_unwind(AssertUnwindSafe(|| job(&mut memory))));
                memory.shrink(own);
            }
            Err(RecvTimeoutError::Timeout) => memory.blocks = Vec::new(),
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn verify(
    today: Cost,
    ceiling: Cost,
    typed: &TypedPassword,
    stored: Option<&PasswordHash>,
    barred: bool,
    memory: &mut Memory,
) -> Result<Verdict, Error> {
    let stored = stored.map(|hash| Stored::parse(hash.as_str(), ceiling));
    let Some(Ok(stored)) = stored else {
        // The work of a mismatch, on nothing.
        spend(today.work(), today, memory)?;
        return Ok(if stored.is_some() { Verdict::Unusable } else { Verdict::Mismatch });
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
enum Stored {
    Argon2(Known),
    Foreign(Foreign),
}

impl Stored {
    fn parse(text: &str, ceiling: Cost) -> Result<Self, Unusable> {
        // Django puts the name before it.
        match text.strip_prefix("argon2$argon2").or(text.strip_prefix("$argon2")) {
            Some(rest) => Known::parse(&format!("$argon2{rest}"), ceiling).map(Self::Argon2),
            None => Foreign::parse(text).map(Self::Foreign),
        }
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
struct Known {
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

/// # Errors
/// As [`fill`].
fn derive(cost: Cost, password: &[u8], salt: &[u8], memory: &mut Memory) -> Result<[u8; TAG], Error> {
    let mut tag = [0; TAG];
    fill(Algorithm::Argon2id, Version::V0x13, cost, password, salt, &mut tag, memory)?;
    Ok(tag)
}

/// # Errors
/// [`Error::Overloaded`] if there is not enough memory now: nothing was compared, so nothing is known.
fn fill(
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

fn encode(cost: Cost, salt: &[u8], tag: &[u8]) -> Option<PasswordHash> {
    let hash = phc::PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(&params(cost, TAG)?).ok()?,
        salt: Some(Salt::new(salt).ok()?),
        hash: Some(Output::new(tag).ok()?),
    };
    Some(PasswordHash::from_text(hash.to_string()))
}

#[cfg(test)]
mod tests;
