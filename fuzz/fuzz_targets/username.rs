//! Both forms of a name are stable, and hold what RFC 8265 lets them hold.
#![no_main]

use hallpass::model::Username;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(name) = Username::parse(text) else { return };
    assert_eq!(Username::parse(name.display()).unwrap(), name);
    assert_eq!(Username::key(name.as_key()).unwrap(), name.as_key());
    assert!((1..=64).contains(&name.as_key().chars().count()));
    for form in [name.display(), name.as_key()] {
        assert!(!form.chars().any(|c| c == '@' || c.is_control() || c.is_whitespace()));
    }
    let _ = name.is_reserved();
});
