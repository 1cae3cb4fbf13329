//! Names, addresses, passwords.

use hallpass::{
    auth::password::{Password, Policy},
    model::{Email, Username},
};
use proptest::prelude::*;

use super::config;

proptest! {
    #[test]
    fn a_name_in_ascii_is_one_if_it_is_visible_and_no_address(text in "[ -~]{0,70}") {
        let is_name = (1..=64).contains(&text.len()) && !text.contains([' ', '@']);
        let read = Username::parse(&text);
        prop_assert_eq!(read.is_ok(), is_name, "{:?}", read);
        if let Ok(name) = read {
            prop_assert_eq!((name.display(), name.as_key().to_owned()), (text.as_str(), text.to_ascii_lowercase()));
        }
    }

    #[test]
    fn a_name_has_no_blank_no_control_and_no_at(text in "\\PC{1,12}|[\\x00-\\x{2ff}]{1,12}") {
        if let Ok(name) = Username::parse(&text) {
            for form in [name.display(), name.as_key()] {
                prop_assert!(!form.chars().any(|c| c == '@' || c.is_control() || c.is_whitespace()), "{:?}", form);
                prop_assert!((1..=64).contains(&form.chars().count()));
            }
            prop_assert_eq!(Username::key(&text).unwrap(), name.as_key());
        }
    }

    #[test]
    fn a_plain_address_is_taken_as_it_is(
        local in "[a-zA-Z0-9!#$%&'*+/=?^_`{|}~]{1,20}(\\.[a-z0-9]{1,8}){0,2}",
        domain in "([a-z0-9]{1,10}\\.){1,3}[a-z]{2,8}",
    ) {
        let text = format!("{local}@{domain}");
        let email = Email::parse(&text).unwrap();
        prop_assert_eq!((email.display(), email.as_key().to_owned()), (text.as_str(), text.to_ascii_lowercase()));
    }

    #[test]
    fn what_is_taken_for_an_address_fits_a_line_of_smtp(
        text in "\\PC{0,10}@\\PC{0,10}|[\\x00-\\x{ff}]{0,8}@[a-z.\\x00-\\x{ff}]{0,12}\\.org",
    ) {
        if let Ok(email) = Email::parse(&text) {
            let shown = email.display();
            let is_plain = |b: u8| b.is_ascii_graphic() && !b"<>,;:\"()[]\\".contains(&b);
            prop_assert!(shown.len() <= 254 && shown.bytes().all(is_plain), "{}", shown);
            prop_assert_eq!(shown.matches('@').count(), 1);
            prop_assert_eq!(email.as_key(), shown.to_ascii_lowercase());
        }
    }

    #[test]
    fn a_password_in_ascii_is_hashed_as_it_is(text in "[ -~]{0,300}") {
        match Password::parse(text.clone()) {
            Ok(password) => {
                prop_assert_eq!(password.as_bytes(), text.as_bytes());
                prop_assert!((1..=256).contains(&text.len()));
                let verdict = Policy::new(&config()).check(&password, ["johndoe"]);
                prop_assert!(verdict.is_err() || text.len() >= 15);
            }
            Err(_) => prop_assert!(text.is_empty() || text.len() > 256),
        }
    }

    #[test]
    fn a_password_is_bounded_and_shows_on_a_screen(text in "\\PC{0,300}|[\\x00-\\x{24f}]{0,20}") {
        if let Ok(password) = Password::parse(text) {
            let spelt = std::str::from_utf8(password.as_bytes()).unwrap();
            prop_assert!(spelt.len() <= 1_024 && (1..=256).contains(&spelt.chars().count()));
            prop_assert!(!spelt.chars().any(char::is_control));
        }
    }
}
