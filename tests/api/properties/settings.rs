//! Settings.

use hallpass::config::{Config, NAMES};
use proptest::prelude::*;

use super::values;

proptest! {
    #[test]
    fn a_number_of_the_settings_is_in_its_range(
        which in 0..10_usize, number in prop_oneof![-5..200_i64, 0..5_000_000_i64, any::<i64>()],
    ) {
        let (name, range) = [
            ("KEY_ROTATION_DAYS", 0..=3_650),
            ("ACCESS_TOKEN_EXPIRE_MINUTES", 1..=1_440),
            ("REFRESH_TOKEN_EXPIRE_DAYS", 1..=3_650),
            ("SESSION_EXPIRE_DAYS", 1..=3_650),
            ("REFRESH_REUSE_SECONDS", 0..=60),
            ("PORT", 1..=65_535),
            ("PASSWORD_MIN_LENGTH", 8..=64),
            ("HASH_QUEUE", 1..=65_536),
            ("AUDIT_DAYS", 1..=3_650),
            ("ARGON2_PARALLELISM", 1..=64),
        ][which].clone();
        let read = Config::from_values(&values(&[(name, number.to_string())]));
        prop_assert_eq!(read.is_ok(), range.contains(&number), "{}={}", name, number);
        if let Ok(config) = read {
            prop_assert!(config.describe().contains(&(name, number.to_string())));
        }
    }

    #[test]
    fn settings_are_refused_by_name_and_without_their_secrets(
        given in prop::collection::vec((
            prop::sample::select(NAMES.to_vec()),
            "\\PC{0,40}|[0-9]{1,6}|on|off|[a-z]{1,6}://[a-z0-9.:@/?=-]{0,30}",
        ), 0..6),
    ) {
        let given: Vec<(&str, String)> = given;
        let values = values(&given);
        match Config::from_values(&values) {
            // What is shown of them means the same.
            Ok(config) => {
                let mut again = values.clone();
                let shown = config.describe();
                let plain = shown.iter().filter(|(_, value)| value != "********");
                again.extend(plain.map(|(name, value)| ((*name).to_owned(), value.clone())));
                prop_assert_eq!(Config::from_values(&again).unwrap().describe(), shown);
            }
            Err(mistakes) => {
                prop_assert!(!mistakes.0.is_empty());
                prop_assert!(mistakes.0.iter().all(|mistake| NAMES.contains(&mistake.name.as_str())));
                let told = mistakes.to_string();
                for name in ["SECRET_KEY", "SECRET_KEY_PREVIOUS", "SMTP_URL"] {
                    let value = values.get(name).map_or("", String::as_str);
                    prop_assert!(value.len() < 16 || !told.contains(value), "{}", told);
                }
            }
        }
    }
}
