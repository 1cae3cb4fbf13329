//! A write-ahead log that is torn: cut anywhere, with a byte that flipped, or broken off while it was written back.
//! What is read from it is what had been acknowledged up to some moment, whole, and exactly up to the damage.

use std::{
    fs,
    path::{Path, PathBuf},
};

use hallpass::{
    auth::account,
    store::{Changes, Store},
};
use poem::http::Method;
use serde_json::json;
use sqlx::{Connection, Executor, SqliteConnection};
use tempfile::TempDir;

use super::{
    app::{CHEAP, PASSWORD, TestApp},
    database,
    dice::Dice,
    rounds,
};

const PAGE: usize = 4_096;
/// What stands before the frames, and before the page of each.
const HEAD: usize = 32;
const FRAME_HEAD: usize = 24;
const FRAME: usize = FRAME_HEAD + PAGE;

fn log_of(folder: &Path) -> PathBuf {
    folder.join("hallpass.db-wal")
}

/// What was written, one transaction after the other, and the files as they lay there.
struct History {
    base: Vec<u8>,
    log: Vec<u8>,
    /// Every row, before the first and after each.
    states: Vec<Vec<String>>,
    /// Where in the log each one ends.
    ends: Vec<usize>,
}

impl History {
    /// The state that is to be read when nothing counts from this byte of the log on.
    fn up_to(&self, byte: usize) -> &[String] {
        &self.states[self.ends.iter().filter(|end| **end <= byte).count()]
    }
}

/// The ends of the transactions in a log. Behind the last one may be frames of the log that was there before.
fn ends(log: &[u8]) -> Vec<usize> {
    let is_of_this_log = |frame: &[u8]| frame[8..16] == log[16..24];
    let frames = log[HEAD..].chunks_exact(FRAME).take_while(|frame| is_of_this_log(frame));
    // A frame that ends a transaction has the size of the database after it.
    let is_last = |frame: &[u8]| frame[4..8] != [0; 4];
    frames.enumerate().filter(|(_, frame)| is_last(frame)).map(|(n, _)| HEAD + (n + 1) * FRAME).collect()
}

/// Lives through all kinds of changes.
struct Life {
    app: TestApp,
    states: Vec<Vec<String>>,
}

impl Life {
    async fn begin() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = format!("sqlite://{}", folder.path().join("hallpass.db").display());
        let settings = [("DATABASE_URL", database.as_str())];
        let folder = TestApp::at(folder, &settings, CHEAP).await.close().await;
        // What was there before is in the file, and the log is empty.
        let app = TestApp::at(folder, &settings, CHEAP).await;
        Self { app, states: Vec::new() }
    }

    fn folder(&self) -> &Path {
        self.app.folder.path()
    }

    /// One more was acknowledged.
    async fn note(&mut self) {
        let state = database::dump(self.folder()).await;
        self.states.push(state);
    }

    /// Some accounts, each with what may become of it. Each change is one transaction.
    async fn live(&mut self, name: &str, accounts: usize) {
        for n in 0..accounts {
            let name = format!("{name}{n}");
            self.app.register(&name).await;
            self.note().await;
            let (first, second) = (self.app.open(&name).await, self.note().await);
            let () = second;
            let other = self.app.open(&name).await;
            self.note().await;
            let first = self.app.refresh(&first.refresh).await;
            self.note().await;
            // Somebody holds the new tokens.
            assert_eq!(self.app.verdict(&first.access).await, "ok");
            self.note().await;
            assert_eq!(self.app.delete("/sessions?except=current", &other.access).await.status, 204);
            self.note().await;
            let form = json!({"current_password": PASSWORD, "new_password": "eleven blue teapots"});
            let answer = self.app.call(Method::POST, "/password/change", &other.access, Some(&form)).await;
            assert_eq!(answer.status, 204);
            self.note().await;
            assert_eq!(self.app.call(Method::POST, "/logout", &other.access, None).await.status, 204);
            self.note().await;
            if n % 2 == 0 {
                let user = account::find(&self.app.app, &name).await.unwrap();
                self.app.change(self.app.app.clock.now(), &user, Changes::disabled(true)).await;
                self.note().await;
            }
        }
    }

    /// The history from here on.
    async fn record(&mut self, name: &str, accounts: usize) -> History {
        self.states.clear();
        self.note().await;
        let base = fs::read(self.folder().join("hallpass.db")).unwrap();
        self.live(name, accounts).await;
        let log = fs::read(log_of(self.folder())).unwrap();
        assert!(fs::read(self.folder().join("hallpass.db")).unwrap() == base, "nothing was written back meanwhile");
        let (states, ends) = (self.states.clone(), ends(&log));
        assert_eq!(states.len(), 1 + ends.len(), "one transaction each");
        History { base, log, states, ends }
    }

    /// All of the log is written back, and the next change begins it anew, before what it held.
    async fn write_back(&self) {
        let url = format!("sqlite://{}", self.folder().join("hallpass.db").display());
        let mut conn = SqliteConnection::connect(&url).await.unwrap();
        conn.execute("PRAGMA wal_checkpoint(RESTART)").await.unwrap();
        conn.close().await.unwrap();
    }
}

/// What the store finds in these files. It opens them, which is what is to be shown.
async fn found(database: &[u8], log: &[u8]) -> Vec<String> {
    let folder = lay(database, log);
    let store = Store::open(&folder.path().join("hallpass.db")).await.unwrap();
    let state = database::dump(folder.path()).await;
    assert_eq!(database::integrity(folder.path()).await, "ok");
    store.close().await;
    state
}

fn lay(database: &[u8], log: &[u8]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("hallpass.db"), database).unwrap();
    fs::write(log_of(folder.path()), log).unwrap();
    folder
}

/// Every frame's two boundaries and a byte within its head, some of them in the short form; and bytes by chance.
fn cuts(length: usize, dice: &mut Dice) -> Vec<usize> {
    let frames = (length - HEAD) / FRAME;
    let starts = (0..=frames).map(|n| HEAD + n * FRAME);
    let mut places: Vec<usize> = starts.flat_map(|at| [at, at + FRAME_HEAD / 2, at + FRAME_HEAD]).collect();
    places.extend([0, 1, HEAD - 1]);
    places.retain(|at| *at <= length);
    let by_chance = rounds(30);
    if by_chance < places.len() {
        places = (0..by_chance).map(|_| *dice.one_of(&places)).collect();
    }
    places.extend((0..by_chance).map(|_| dice.below(length)));
    places
}

async fn assert_prefixes(history: &History, dice: &mut Dice) {
    let History { base, log, .. } = history;
    let cuts = cuts(log.len(), dice);
    for cut in &cuts {
        assert_eq!(found(base, &log[..*cut]).await, history.up_to(*cut), "cut at {cut}");
    }
    let flips = rounds(30);
    let end = *history.ends.last().unwrap();
    for n in 0..flips {
        // Anywhere, or in the last transactions.
        let at = if n % 2 == 0 { dice.below(end) } else { end - 1 - dice.below(20 * FRAME) };
        let mut bytes = log.clone();
        bytes[at] ^= 1 << dice.below(8);
        let start = if at < HEAD { 0 } else { at - (at - HEAD) % FRAME };
        assert_eq!(found(base, &bytes).await, history.up_to(start), "flipped at {at}");
    }
    let transactions = history.ends.len();
    eprintln!("{transactions} transactions in {} bytes: {} cuts, {flips} flipped bits", log.len(), cuts.len());
}

#[tokio::test]
#[ignore = "takes a while; make faults runs it"]
async fn a_log_that_is_cut_or_damaged_is_read_as_far_as_it_is_whole() {
    let (mut life, mut dice) = (Life::begin().await, Dice::new(1));
    let history = life.record("john", 6).await;
    assert_prefixes(&history, &mut dice).await;
    // One that was begun anew, with the frames of before behind it.
    life.write_back().await;
    let again = life.record("jane", 3).await;
    assert!(*again.ends.last().unwrap() < again.log.len(), "there are some");
    assert_prefixes(&again, &mut dice).await;
}

/// Page by page: written, not written, or half.
#[tokio::test]
#[ignore = "takes a while; make faults runs it"]
async fn a_log_that_was_partly_written_back_is_written_back_again() {
    let (mut life, mut dice) = (Life::begin().await, Dice::new(2));
    let History { base, log, states, .. } = life.record("john", 6).await;
    life.write_back().await;
    let after = fs::read(life.folder().join("hallpass.db")).unwrap();
    assert!(after.len() > base.len());
    for _ in 0..rounds(20) {
        let length = base.len() + dice.below((after.len() - base.len()) / PAGE + 1) * PAGE;
        let mut torn = base.clone();
        torn.resize(length, 0);
        for page in (0..length).step_by(PAGE) {
            let written = match dice.below(3) {
                0 => 0,
                1 => PAGE,
                _ => dice.below(PAGE),
            };
            torn[page..page + written].copy_from_slice(&after[page..page + written]);
        }
        assert_eq!(found(&torn, &log).await, *states.last().unwrap());
    }
}
