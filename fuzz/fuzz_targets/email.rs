//! An address is plain ASCII, and reads as itself.
#![no_main]

use hallpass::model::Email;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(email) = Email::parse(text) else { return };
    assert_eq!(Email::parse(email.display()).unwrap(), email);
    assert_eq!(email.as_key(), email.display().to_ascii_lowercase());
    assert!(email.display().len() <= 254 && email.display().bytes().all(|byte| byte.is_ascii_graphic()));
    let (local, domain) = email.display().split_once('@').unwrap();
    assert!((1..=64).contains(&local.len()) && domain.contains('.') && !domain.contains('@'));
});
