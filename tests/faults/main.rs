//! What a server withstands: SIGKILL, a torn log, system calls that fail, a clock that jumps.
//!
//! The short form is a test like any other. `HALLPASS_ROUNDS=1000` makes the long one: as many kills, as many cuts at
//! random bytes, and half as many places at which a system call fails.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may")]
#![expect(clippy::print_stderr, reason = "figures are what it is for")]

#[path = "../api/answer.rs"]
#[allow(dead_code, reason = "each test program uses its own part")]
mod answer;
#[path = "../api/app.rs"]
#[allow(dead_code, reason = "each test program uses its own part")]
mod app;
mod calls;
mod client;
mod clock;
mod commands;
#[path = "../process/database.rs"]
#[allow(dead_code, reason = "each test program uses its own part")]
mod database;
mod dice;
#[path = "../api/forge.rs"]
#[allow(dead_code, reason = "each test program uses its own part")]
mod forge;
mod kill;
mod outage;
#[path = "../process/program.rs"]
#[allow(dead_code, reason = "each test program uses its own part")]
mod program;
mod start;
mod strace;
mod torn;

/// The long form, if it is wanted, and else what is done each time.
fn rounds(short: usize) -> usize {
    std::env::var("HALLPASS_ROUNDS").map_or(short, |rounds| rounds.parse().unwrap())
}

/// For every server here: passwords are not what this is about.
const SETTINGS: [(&str, &str); 5] = [
    ("ALGORITHM", "EdDSA"),
    ("ARGON2_MEMORY_KIB", "7168"),
    ("ARGON2_ITERATIONS", "5"),
    ("ACCESS_TOKEN_EXPIRE_MINUTES", "1440"),
    ("LOG", "error"),
];
