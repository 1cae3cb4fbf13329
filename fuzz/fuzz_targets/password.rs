//! A password has one spelling, within its bounds.
#![no_main]

use std::sync::LazyLock;

use hallpass::{
    auth::password::{Password, Policy, TypedPassword},
    config::Config,
};
use hallpass_fuzz::values;
use libfuzzer_sys::fuzz_target;

static POLICY: LazyLock<Policy> = LazyLock::new(|| Policy::new(&Config::from_values(&values()).unwrap()));

fuzz_target!(|text: &str| {
    let _ = TypedPassword::read(text.to_owned());
    let Ok(password) = Password::parse(text.to_owned()) else { return };
    let spelt = std::str::from_utf8(password.as_bytes()).unwrap().to_owned();
    assert_eq!(Password::parse(spelt.clone()).unwrap().as_bytes(), password.as_bytes());
    assert!(spelt.len() <= 1_024 && (1..=256).contains(&spelt.chars().count()));
    assert!(!spelt.chars().any(char::is_control));
    let verdict = POLICY.check(&password, ["johndoe", "jane@example.org"]);
    assert!(verdict.is_err() || spelt.chars().count() >= 15);
});
