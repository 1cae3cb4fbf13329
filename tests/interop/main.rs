//! Tokens of Hallpass in the hands of others, and of others in the hands of Hallpass: `PyJWT`, npm `jose` and
//! `jsonwebtoken`, through the examples that the README shows.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may")]
#![expect(clippy::print_stdout, reason = "a test shows what it counted")]

#[path = "../process/program.rs"]
#[allow(dead_code, reason = "each test program uses its own part")]
mod program;

mod minted;
mod offline;
mod rotation;
mod service;

use std::path::{Path, PathBuf};

/// Where `make tools` puts Python and its packages.
fn python() -> PathBuf {
    in_repository("target/tools/venv/bin/python")
}

fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
