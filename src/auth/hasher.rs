//! Argon2id (RFC 9106) on threads of its own.
//!
//! A hash takes tens of milliseconds and megabytes, so there is one thread a core, each keeping its memory
//! (a fresh allocation a call costs a quarter more), and a short queue before them. When the queue is full
//! the caller is told at once; who hung up while waiting is not hashed for.
//!
//! The threads yield to those that answer requests: who is logged in does not notice how many log in.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    thread,
    time::Duration,
};

use argon2::{
    Algorithm, Argon2, Block, Params, Version,
    password_hash::phc::{self, Output, ParamsString, Salt},
};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use tokio::sync::oneshot;

use super::{password::Password, random};
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

/// The tag's length in bytes (RFC 9106, section 4: 256 bits).
const TAG: usize = 32;

/// The most that is spent on a hash out of the database, whose parameters are data: 256 MiB, 16 passes,
/// 16 lanes, or what the settings say if that is more.
const CEILING: Cost = Cost { memory_kib: 256 * 1024, iterations: 16, parallelism: 16 };

fn params(cost: Cost) -> Option<Params> {
    Params::new(cost.memory_kib, cost.iterations, cost.parallelism, Some(TAG)).ok()
}

/// What a verification found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The password is the right one.
    Match {
        /// The stored hash was made at another cost than today's and should be made anew.
        outdated: bool,
    },
    /// It is the right one, of an account that may not log in.
    Barred,
    /// It is not, or there was nothing to compare it with.
    Mismatch,
    /// The stored hash is damaged, foreign, or dearer than is allowed.
    Unusable,
}

/// What a thread keeps from hash to hash.
#[derive(Default)]
struct Memory {
    blocks: Vec<Block>,
    /// All that was spent, in KiB written: what time goes by.
    spent: u64,
}

type Job = Box<dyn FnOnce(&mut Memory) + Send>;

/// The hashing threads. They end when the last clone is dropped.
#[derive(Debug, Clone)]
pub struct Hasher {
    queue: Sender<Job>,
    cost: Cost,
    ceiling: Cost,
}

impl Hasher {
    /// Starts the threads.
    ///
    /// # Errors
    /// [`Error::Internal`] if argon2 does not take `cost`, or the system gives no thread.
    pub fn start(cost: Cost, threads: usize, queue: usize) -> Result<Self, Error> {
        params(cost).ok_or_else(|| Error::internal("argon2 does not take these parameters"))?;
        let (sender, receiver) = bounded(queue);
        for n in 0..threads {
            let jobs = receiver.clone();
            thread::Builder::new().name(format!("hash-{n}")).spawn(move || work(&jobs)).map_err(Error::internal)?;
        }
        Ok(Self { queue: sender, cost, ceiling: cost.max(CEILING) })
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
        let (cost, salt) = (self.cost, random::bytes::<16>()?);
        let tag = self.run(move |memory| derive(cost, password.as_bytes(), &salt, memory)).await??;
        encode(cost, &salt, &tag).ok_or_else(|| Error::internal("no PHC string"))
    }

    /// Compares a password with a stored hash. Where there is none, or no usable one, or no text that could be
    /// a password, the same work is done and the answer is no: time tells nobody which accounts exist. Nor does
    /// it tell the right password of an account that may not log in (`barred`).
    ///
    /// # Errors
    /// [`Error::Overloaded`]
    pub async fn verify(
        &self,
        password: Option<Password>,
        stored: Option<PasswordHash>,
        barred: bool,
    ) -> Result<Verdict, Error> {
        let (today, ceiling) = (self.cost, self.ceiling);
        self.run(move |memory| verify(today, ceiling, password.as_ref(), stored.as_ref(), barred, memory)).await?
    }

    async fn run<T: Send + 'static>(&self, task: impl FnOnce(&mut Memory) -> T + Send + 'static) -> Result<T, Error> {
        let (answer, result) = oneshot::channel();
        let job: Job = Box::new(move |memory| {
            if !answer.is_closed() {
                // Who hangs up during the work does not read the answer.
                let _ = answer.send(task(memory));
            }
        });
        self.queue.try_send(job).map_err(|_| Error::Overloaded)?;
        result.await.map_err(|_| Error::internal("a hashing thread dropped its work"))
    }
}

fn work(jobs: &Receiver<Job>) {
    // Of this thread alone, which is how Linux does it. Refused, it hashes all the same.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::setpriority_process(None, NICE);
    let mut memory = Memory::default();
    loop {
        match jobs.recv_timeout(IDLE) {
            // A panic costs one caller its answer, not the server a thread.
            Ok(job) => drop(catch_unwind(AssertUnwindSafe(|| job(&mut memory)))),
            Err(RecvTimeoutError::Timeout) => memory.blocks = Vec::new(),
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn verify(
    today: Cost,
    ceiling: Cost,
    password: Option<&Password>,
    stored: Option<&PasswordHash>,
    barred: bool,
    memory: &mut Memory,
) -> Result<Verdict, Error> {
    let known = stored.map(|hash| Known::parse(hash.as_str(), ceiling));
    let (Some(Some(known)), Some(password)) = (&known, password) else {
        // The work of a mismatch, on nothing.
        spend(today.work(), today, memory)?;
        return Ok(if matches!(known, Some(None)) { Verdict::Unusable } else { Verdict::Mismatch });
    };
    let tag = derive(known.cost, password.as_bytes(), &known.salt, memory)?;
    let is_right = verify_slices_are_equal(&tag, &known.tag).is_ok();
    if is_right && !barred {
        return Ok(Verdict::Match { outdated: known.cost != today });
    }
    // A hash of cheaper days is refused no sooner than one of today, or an account that does not exist.
    spend(today.work().saturating_sub(known.cost.work()), today, memory)?;
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
struct Known {
    cost: Cost,
    salt: Vec<u8>,
    tag: [u8; TAG],
}

impl Known {
    fn parse(text: &str, ceiling: Cost) -> Option<Self> {
        let hash = phc::PasswordHash::new(text).ok()?;
        let is_argon2id = hash.algorithm == Algorithm::Argon2id.ident();
        if !is_argon2id || hash.version != Some(Version::V0x13.into()) {
            return None;
        }
        let params = Params::try_from(&hash).ok()?;
        let cost = Cost { memory_kib: params.m_cost(), iterations: params.t_cost(), parallelism: params.p_cost() };
        if !cost.within(ceiling) {
            return None;
        }
        let tag = hash.hash?.as_bytes().try_into().ok()?;
        Some(Self { cost, salt: hash.salt?.to_vec(), tag })
    }
}

/// # Errors
/// [`Error::Overloaded`] if there is not enough memory now: nothing was compared, so nothing is known.
fn derive(cost: Cost, password: &[u8], salt: &[u8], memory: &mut Memory) -> Result<[u8; TAG], Error> {
    let params = params(cost).ok_or_else(|| Error::internal("argon2 does not take these parameters"))?;
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
    let mut tag = [0; TAG];
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let blocks = blocks.get_mut(..count).unwrap_or_default();
    argon2.hash_password_into_with_memory(password, salt, &mut tag, blocks).map_err(Error::internal)?;
    memory.spent += cost.work();
    Ok(tag)
}

fn encode(cost: Cost, salt: &[u8], tag: &[u8]) -> Option<PasswordHash> {
    let hash = phc::PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(&params(cost)?).ok()?,
        salt: Some(Salt::new(salt).ok()?),
        hash: Some(Output::new(tag).ok()?),
    };
    Some(PasswordHash::from_text(hash.to_string()))
}

#[cfg(test)]
mod tests;
