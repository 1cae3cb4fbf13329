//! Argon2id (RFC 9106) on threads of its own, and what other programs hashed with.
//!
//! A hash takes tens of milliseconds and megabytes, so there is one thread a core, each keeping its memory
//! (a fresh allocation a call costs a quarter more), and a short queue before them. When the queue is full
//! the caller is told at once; who hung up while waiting is not hashed for.
//!
//! A comparison that is much dearer, which an import may have brought, waits for a thread that takes only such ones:
//! however many there are, the others have theirs. No more memory than one of them needs is taken for them.
//!
//! The threads yield to those that answer requests: who is logged in does not notice how many log in.

mod argon;
mod stored;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    thread,
    time::{Duration, Instant},
};

use argon::{Memory, SALT, TAG, derive, encode, params};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use stored::{CEILING, Stored, verify};
use tokio::sync::oneshot;

use super::{
    foreign::Unusable,
    metrics::Notes,
    password::{Password, TypedPassword},
    random,
};
use crate::{
    error::Error,
    model::{Cost, PasswordHash},
};

pub use stored::Verdict;

/// After so long without work a thread gives its memory back.
const IDLE: Duration = Duration::from_secs(10);

/// How long somebody waits at most: with the ten seconds of a body and the three of a lock less than a request may take,
/// so that he is told that nothing was judged.
pub(super) const PATIENCE: Duration = Duration::from_secs(16);

/// A hash thread takes what the others leave of a core (setpriority(2), «nice»): all of it, or where they want it all,
/// a seventieth. At 10, a tenth of their weight, the 99th percentile of those who were logged in was some times as long
/// in a storm of logins as before it; at 19 as long.
#[cfg(target_os = "linux")]
const NICE: i32 = 19;

type Job = Box<dyn FnOnce(&mut Memory) + Send>;

/// The hashing threads. They end when the last clone is dropped.
#[derive(Debug, Clone)]
pub struct Hasher {
    queue: Sender<Job>,
    /// Of what is dear, for the one thread that takes it.
    dear: Sender<Job>,
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
        let start = |name, jobs| thread::Builder::new().name(name).spawn(move || work(&jobs, own));
        let (sender, jobs) = bounded(queue);
        for n in 0..threads {
            start(format!("hash-{n}"), jobs.clone()).map_err(Error::internal)?;
        }
        let (dear, jobs) = bounded(queue);
        start("hash-dear".to_owned(), jobs).map_err(Error::internal)?;
        let decoy = encode(cost, &random::bytes::<16>()?, &random::bytes::<TAG>()?);
        let decoy = decoy.ok_or_else(|| Error::internal("no PHC string"))?;
        let (ceiling, notes) = (cost.max(CEILING), Notes::default());
        Ok(Self { queue: sender, dear, cost, ceiling, decoy, notes, threads })
    }

    pub(super) fn notes(&self) -> &Notes {
        &self.notes
    }

    /// How many wait.
    pub(super) fn queued(&self) -> usize {
        self.queue.len() + self.dear.len()
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
        let tag = self.run(&self.queue, move |memory| derive(cost, password.as_bytes(), &salt, memory)).await??;
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
        let today = self.cost;
        // To read a hash takes time, too.
        let stored = Stored::parse(stored.as_ref().unwrap_or(&self.decoy).as_str(), self.ceiling);
        let is_dear = stored.as_ref().is_ok_and(|stored| stored.is_dear(today, typed.spellings().count()));
        let queue = if is_dear { &self.dear } else { &self.queue };
        self.run(queue, move |memory| verify(today, &typed, stored, barred, memory)).await?
    }

    /// Whether a password could be compared with this hash.
    ///
    /// # Errors
    /// [`Unusable`]
    pub fn check(&self, hash: &PasswordHash) -> Result<(), Unusable> {
        Stored::parse(hash.as_str(), self.ceiling).map(drop)
    }

    async fn run<T: Send + 'static>(
        &self,
        queue: &Sender<Job>,
        task: impl FnOnce(&mut Memory) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let (answer, result) = oneshot::channel();
        let (notes, queued) = (self.notes.clone(), Instant::now());
        let job: Job = Box::new(move |memory| {
            if !answer.is_closed() {
                let _work = notes.begin(queued);
                // Who hangs up during the work does not read the answer.
                let _ = answer.send(task(memory));
            }
        });
        queue.try_send(job).map_err(|_| Error::Overloaded)?;
        let result = tokio::time::timeout(PATIENCE, result).await.map_err(|_| Error::Overloaded)?;
        result.map_err(|_| Error::internal("a hashing thread dropped its work"))
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
#[cfg(test)]
mod tests;
