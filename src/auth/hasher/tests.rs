use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::Duration,
};

use crossbeam_channel::Sender;

use super::{Hasher, Job, Memory, Stored, Verdict};
use crate::{
    auth::{
        foreign::Unusable,
        password::{Password, TypedPassword},
    },
    error::Error,
    model::{Cost, PasswordHash},
};

const CHEAP: Cost = Cost { memory_kib: 64, iterations: 1, parallelism: 1 };

fn password(text: &str) -> Password {
    Password::parse(text.to_owned()).unwrap()
}

fn read(hash: &PasswordHash) -> Result<Stored, Unusable> {
    Stored::parse(hash.as_str(), super::CEILING)
}

fn typed(text: &str) -> TypedPassword {
    TypedPassword::read(text.to_owned())
}

#[tokio::test]
async fn a_hash_matches_its_password_alone() {
    let hasher = Hasher::start(CHEAP, 1, 8).unwrap();
    let hash = hasher.hash(password("right")).await.unwrap();
    assert!(hash.as_str().starts_with("$argon2id$v=19$m=64,t=1,p=1$"));
    assert_ne!(hash, hasher.hash(password("right")).await.unwrap(), "every hash has its own salt");
    for (text, verdict) in
        [("right", Verdict::Match { outdated: false }), ("wrong", Verdict::Mismatch), ("Right", Verdict::Mismatch)]
    {
        assert_eq!(hasher.verify(typed(text), Some(hash.clone()), false).await.unwrap(), verdict);
    }
    assert_eq!(hasher.verify(typed(""), Some(hash), false).await.unwrap(), Verdict::Mismatch);
    assert_eq!(hasher.verify(typed("right"), None, false).await.unwrap(), Verdict::Mismatch);
}

#[tokio::test]
async fn a_hash_of_another_cost_matches_and_is_outdated() {
    let old = Hasher::start(CHEAP, 1, 8).unwrap();
    let new = Hasher::start(Cost { iterations: 2, ..CHEAP }, 1, 8).unwrap();
    let hash = old.hash(password("right")).await.unwrap();
    let verdict = new.verify(typed("right"), Some(hash.clone()), false).await.unwrap();
    assert_eq!(verdict, Verdict::Match { outdated: true });
    let dear = new.hash(password("right")).await.unwrap();
    let verdict = old.verify(typed("right"), Some(dear), false).await.unwrap();
    assert_eq!(verdict, Verdict::Match { outdated: true }, "or time would tell it from one that does not exist");
    assert_eq!(new.verify(typed("wrong"), Some(hash), false).await.unwrap(), Verdict::Mismatch);
}

#[tokio::test]
async fn a_damaged_foreign_or_too_dear_hash_matches_nothing() {
    let hasher = Hasher::start(CHEAP, 1, 8).unwrap();
    let tail = "c2FsdHNhbHRzYWx0c2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    for stored in [
        String::new(),
        "x".to_owned(),
        "é".repeat(60),
        format!("$argon2id$v=19$m=4294967295,t=1,p=1${tail}"),
        format!("$argon2id$v=19$m=64,t=4294967295,p=1${tail}"),
        format!("$argon2id$v=19$m=262144,t=1,p=4000${tail}"),
        format!("$argon2x$v=19$m=64,t=1,p=1${tail}"),
        format!("$argon2id$v=17$m=64,t=1,p=1${tail}"),
        format!("$argon2id$v=19$m=64,t=1,p=1,keyid=AAAA${tail}"),
        format!("argon2$argon2id$v=19$m=4294967295,t=1,p=1${tail}"),
        "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHRzYWx0c2FsdA$AAAA".to_owned(),
        format!("$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHRzYWx0c2FsdA${}", "A".repeat(20)),
        format!("$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbA${}", "A".repeat(43)),
        "$2b$12$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ0123".to_owned(),
    ] {
        let verdict = hasher.verify(typed("right"), Some(PasswordHash::from_text(stored.clone())), false).await;
        assert_eq!(verdict.unwrap(), Verdict::Unusable, "{stored}");
    }
    // The shortest salt and tag, and the longest tag.
    for (salt, tag) in [("c2FsdHNhbHQ", 43), ("c2FsdHNhbHRzYWx0c2FsdA", 22), ("c2FsdHNhbHRzYWx0c2FsdA", 86)] {
        let stored = format!("$argon2id$v=19$m=64,t=1,p=1${salt}${}", "A".repeat(tag));
        let verdict = hasher.verify(typed("right"), Some(PasswordHash::from_text(stored.clone())), false).await;
        assert_eq!(verdict.unwrap(), Verdict::Mismatch, "{stored}");
    }
}

#[test]
fn every_mismatch_costs_what_a_hash_of_today_costs() {
    let today = Cost { memory_kib: 4_096, iterations: 4, ..CHEAP };
    let (salt, password) = ([7; 16], password("right"));
    let stored = |cost| {
        let tag = super::derive(cost, password.as_bytes(), &salt, &mut Memory::default()).unwrap();
        super::encode(cost, &salt, &tag).unwrap()
    };
    let (right, wrong, none) = (typed("right"), typed("wrong"), typed(""));
    let foreign = PasswordHash::from_text("$2b$04$l5LLPa5SZ9MF6GVFhQ6mtOWFTezfAQAlfMtWKzBB2dldThESTGjbS".to_owned());
    let unusable = PasswordHash::from_text("x".to_owned());
    // A thread's, which has hashed before.
    let mut memory = Memory::default();
    for (what, typed, stored) in [
        ("no text that is a password", &none, stored(today)),
        ("the right password, barred", &right, stored(today)),
        ("the right password of cheaper days, barred", &right, stored(CHEAP)),
        ("an unusable hash", &wrong, unusable),
        ("a wrong password", &wrong, stored(today)),
        ("a wrong password in two spellings", &typed("e\u{301}"), stored(today)),
        ("a hash of cheaper days", &wrong, stored(CHEAP)),
        ("a hash of cheaper days, two spellings", &typed("e\u{301}"), stored(CHEAP)),
        ("another program's hash", &wrong, foreign.clone()),
        ("another program's hash, two spellings", &typed("e\u{301}"), foreign.clone()),
        ("another program's hash, barred", &typed("correct horse \u{e9}"), foreign),
    ] {
        let before = memory.spent;
        let verdict = super::verify(today, typed, read(&stored), true, &mut memory).unwrap();
        assert!(!matches!(verdict, Verdict::Match { .. }), "{what}");
        assert_eq!(memory.spent - before, today.work(), "{what}");
    }
}

#[test]
fn what_is_missing_may_be_less_than_argon2_takes() {
    let today = Cost { memory_kib: 4_096, iterations: 1, parallelism: 4 };
    for missing in [1, 2, 11, 12, 31, 32, 33] {
        let cost = Cost { memory_kib: today.memory_kib - missing, ..today };
        let tag = super::derive(cost, b"right", &[7; 16], &mut Memory::default()).unwrap();
        let stored = read(&super::encode(cost, &[7; 16], &tag).unwrap());
        let mut memory = Memory::default();
        let verdict = super::verify(today, &typed("wrong"), stored, false, &mut memory);
        assert_eq!(verdict.unwrap(), Verdict::Mismatch, "{missing}");
        assert_eq!(today.work() - memory.spent, if missing < 32 { missing.into() } else { 0 }, "{missing}");
    }
}

#[tokio::test]
async fn a_thread_keeps_no_more_memory_than_a_hash_of_today_takes() {
    let hasher = Hasher::start(CHEAP, 1, 8).unwrap();
    let dear = Hasher::start(Cost { memory_kib: 4_096, ..CHEAP }, 1, 8).unwrap().hash(password("right")).await.unwrap();
    let kept = async || hasher.run(&hasher.queue, |memory| memory.blocks.len()).await.unwrap();
    hasher.hash(password("right")).await.unwrap();
    assert_eq!(kept().await, 64, "what the next one needs is kept");
    for typed in [typed("right"), typed("wrong")] {
        hasher.verify(typed, Some(dear.clone()), false).await.unwrap();
        assert!(kept().await <= 64);
    }
}

#[tokio::test]
async fn no_more_hashes_run_at_once_than_there_are_threads() {
    let hasher = Hasher::start(CHEAP, 2, 64).unwrap();
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let jobs = (0..20).map(|_| {
        let (running, most) = (running.clone(), most.clone());
        hasher.run(&hasher.queue, move |_| {
            most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(5));
            running.fetch_sub(1, Ordering::SeqCst);
        })
    });
    futures_util::future::join_all(jobs).await;
    assert_eq!(most.load(Ordering::SeqCst), 2);
}

#[test]
fn the_ceiling_lies_above_every_cost_that_is_in_use() {
    let text = "$argon2id$v=19$m=262144,t=16,p=16$c2FsdHNhbHRzYWx0c2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    assert!(Stored::parse(text, super::CEILING).is_ok());
}

/// Holds a thread up until what this answers is dropped.
async fn hold(hasher: &Hasher, queue: fn(&Hasher) -> &Sender<Job>) -> mpsc::Sender<()> {
    let (go, gone) = mpsc::channel::<()>();
    let (begun, begins) = tokio::sync::oneshot::channel();
    let hasher = hasher.clone();
    tokio::spawn(async move {
        let work = move |_: &mut Memory| {
            begun.send(()).unwrap();
            let _ = gone.recv();
        };
        hasher.run(queue(&hasher), work).await
    });
    begins.await.unwrap();
    go
}

/// One thread that is held up, and a queue of one.
async fn held() -> (Hasher, mpsc::Sender<()>) {
    let hasher = Hasher::start(CHEAP, 1, 1).unwrap();
    let go = hold(&hasher, |hasher| &hasher.queue).await;
    (hasher, go)
}

/// 16 times what one of [`CHEAP`] costs.
async fn dear() -> PasswordHash {
    Hasher::start(Cost { iterations: 16, ..CHEAP }, 1, 1).unwrap().hash(password("right")).await.unwrap()
}

#[tokio::test]
async fn dear_hashes_wait_for_each_other_and_nobody_waits_for_them() {
    let (hasher, dear) = (Hasher::start(CHEAP, 1, 1).unwrap(), dear().await);
    let go = hold(&hasher, |hasher| &hasher.dear).await;
    let login = async |hash: &PasswordHash| hasher.verify(typed("right"), Some(hash.clone()), false).await;
    let waiting = login(&dear);
    tokio::pin!(waiting);
    assert!(futures_util::poll!(&mut waiting).is_pending());
    assert!(matches!(login(&dear).await, Err(Error::Overloaded)), "there is room for one");
    assert!(hasher.has_room());
    let ours = hasher.hash(password("right")).await.unwrap();
    assert_eq!(login(&ours).await.unwrap(), Verdict::Match { outdated: false });
    drop(go);
    assert_eq!(waiting.await.unwrap(), Verdict::Match { outdated: true });

    let _held = hold(&hasher, |hasher| &hasher.queue).await;
    assert_eq!(login(&dear).await.unwrap(), Verdict::Match { outdated: true }, "on a thread of its own");
}

#[test]
fn what_programs_make_by_themselves_is_not_dear() {
    let today = Cost { memory_kib: 19 * 1024, iterations: 2, parallelism: 1 };
    let salt = "l5LLPa5SZ9MF6GVFhQ6mtOWFTezfAQAlfMtWKzBB2dldThESTGjbS";
    let ours = "c2FsdHNhbHRzYWx0c2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let tag = "HpSbrkBrDWDAB9HrNXHZggikF+GO3Q6ksWrO0IeZG4M=";
    for (text, is_dear) in [
        (format!("$2b$12${salt}"), false),
        (format!("$2b$13${salt}"), false),
        (format!("$2b$14${salt}"), true),
        (format!("pbkdf2_sha256$1000000$saltsaltsalt${tag}"), false),
        (format!("pbkdf2_sha256$4000000$saltsaltsalt${tag}"), true),
        ("$scrypt$ln=16,r=8,p=1$uhfC2JvTeg+h9J7TWus9pw$BAefOAIEztUpCFyWohyTCzZg4RtRD945gniNH8Nq92Q".to_owned(), false),
        ("$scrypt$ln=17,r=8,p=1$uhfC2JvTeg+h9J7TWus9pw$BAefOAIEztUpCFyWohyTCzZg4RtRD945gniNH8Nq92Q".to_owned(), true),
        (format!("$argon2id$v=19$m=65536,t=3,p=4${ours}"), false),
        (format!("$argon2id$v=19$m=262144,t=1,p=4${ours}"), true),
    ] {
        let stored = read(&PasswordHash::from_text(text.clone())).unwrap_or_else(|why| panic!("{text} {why}"));
        assert_eq!(stored.is_dear(today, 1), is_dear, "{text}");
    }
}

#[tokio::test]
async fn a_full_queue_refuses_at_once() {
    let (hasher, go) = held().await;
    assert!(hasher.has_room() && hasher.queued() == 0);
    let waiting = {
        let hasher = hasher.clone();
        tokio::spawn(async move { hasher.hash(password("a")).await })
    };
    while !hasher.queue.is_full() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(!hasher.has_room() && hasher.queued() == 1);
    assert!(matches!(hasher.hash(password("b")).await, Err(Error::Overloaded)));
    drop(go);
    assert!(waiting.await.unwrap().is_ok());
}

#[tokio::test]
async fn who_hung_up_is_not_hashed_for() {
    let (hasher, go) = held().await;
    let (ran, runs) = mpsc::channel();
    let gone = {
        let hasher = hasher.clone();
        tokio::spawn(async move { hasher.run(&hasher.queue, move |_| ran.send(())).await })
    };
    while !hasher.queue.is_full() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    gone.abort();
    assert!(gone.await.unwrap_err().is_cancelled());
    drop(go);
    // The next job comes after the abandoned one, on the same thread.
    while hasher.run(&hasher.queue, |_| ()).await.is_err() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(runs.try_recv().is_err());
}

#[tokio::test]
async fn a_panic_costs_one_answer_and_no_thread() {
    let hasher = Hasher::start(CHEAP, 1, 8).unwrap();
    let result = hasher.run(&hasher.queue, |_| -> () { panic!("provoked") }).await;
    assert!(matches!(result, Err(Error::Internal(_))));
    assert!(hasher.hash(password("a")).await.is_ok());
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_hash_thread_yields_and_no_other_thread_does() {
    let nice = || rustix::process::getpriority_process(None).unwrap();
    let before = nice();
    let hasher = Hasher::start(CHEAP, 1, 8).unwrap();
    assert_eq!(hasher.run(&hasher.queue, move |_| nice()).await.unwrap(), super::NICE);
    assert_eq!(nice(), before);
}
