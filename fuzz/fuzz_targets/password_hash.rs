//! Hashes of other programs are taken or refused; none panics, and none is computed.
#![no_main]

use std::sync::LazyLock;

use hallpass::{
    auth::hasher::Hasher,
    model::{Cost, PasswordHash},
};
use libfuzzer_sys::fuzz_target;

static HASHER: LazyLock<Hasher> =
    LazyLock::new(|| Hasher::start(Cost { memory_kib: 64, iterations: 1, parallelism: 1 }, 1, 1).unwrap());

fuzz_target!(|text: &str| {
    let verdict = HASHER.check(&PasswordHash::from_text(text.to_owned()));
    assert!(text.len() <= 1_024 || verdict.is_err());
});
