//! A cursor that nobody gave out is refused; one that was is read in its list alone.
#![no_main]

use std::sync::LazyLock;

use hallpass::auth::{cursor, secrets::Secrets};
use hallpass_fuzz::secrets;
use libfuzzer_sys::fuzz_target;

static SECRETS: LazyLock<Secrets> = LazyLock::new(secrets);

fuzz_target!(|text: &str| {
    assert!(cursor::read(&SECRETS, "users", text).is_err());
    let given = cursor::write(&SECRETS, "users", text);
    assert!(cursor::read(&SECRETS, "audit", &given).is_err());
    match cursor::read(&SECRETS, "users", &given) {
        Ok(place) => assert_eq!(place, text),
        Err(_) => assert!(given.len() > 1_024),
    }
});
