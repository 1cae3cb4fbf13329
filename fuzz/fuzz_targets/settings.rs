//! `NAME=value` lines: settings are taken or refused by name, and what is shown of them can be read again.
#![no_main]

use hallpass::config::{Config, NAMES, Values};
use hallpass_fuzz::SECRET_KEY;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let mut values: Values = text
        .lines()
        .filter_map(|line| line.split_once('='))
        .filter(|(name, _)| NAMES.contains(name))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    values.entry("SECRET_KEY".to_owned()).or_insert_with(|| SECRET_KEY.to_owned());
    match Config::from_values(&values) {
        Ok(config) => {
            let shown = config.describe();
            let mut again = values.clone();
            let is_plain = |(_, value): &&(&str, String)| value != "********";
            again.extend(shown.iter().filter(is_plain).map(|(name, value)| ((*name).to_owned(), value.clone())));
            assert_eq!(Config::from_values(&again).unwrap().describe(), shown);
        }
        Err(mistakes) => {
            assert!(!mistakes.0.is_empty() && mistakes.0.iter().all(|mistake| NAMES.contains(&mistake.name.as_str())));
            let told = mistakes.to_string();
            for name in ["SECRET_KEY", "SECRET_KEY_PREVIOUS", "SMTP_URL"] {
                assert!(values.get(name).is_none_or(|value| value.len() < 24 || !told.contains(value.as_str())));
            }
        }
    }
});
