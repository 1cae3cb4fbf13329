//! The passwords that are tried first (OWASP ASVS 6.2.4), lower-cased, of eight characters and more.
//!
//! `common-passwords.txt` holds the most frequent entries of three public lists: «10 million passwords» of Mark
//! Burnett, RockYou, and the 20,000 of Royce Williams that Django ships. docs/SECURITY.md says how many of each.

use std::sync::LazyLock;

/// Sorted by bytes, as the file is.
static LIST: LazyLock<Vec<&str>> = LazyLock::new(|| include_str!("common-passwords.txt").lines().collect());

/// Whether a lower-cased password is on the list, or one on the list written several times.
pub fn is_common(folded: &str) -> bool {
    let is_listed = |text: &str| LIST.binary_search(&text).is_ok();
    (1..=folded.len() / 8)
        .filter(|times| folded.len().is_multiple_of(*times))
        .filter_map(|times| folded.get(..folded.len() / times))
        .any(|unit| is_listed(unit) && is_made_of(folded, unit))
}

/// Whether a text is a unit, once or several times.
pub fn is_made_of(text: &str, unit: &str) -> bool {
    !unit.is_empty()
        && text.len().is_multiple_of(unit.len())
        && text.as_bytes().chunks(unit.len()).all(|chunk| chunk == unit.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::{LIST, is_common, is_made_of};

    #[test]
    fn the_list_is_sorted_and_long_enough() {
        assert!(LIST.is_sorted());
        assert!(LIST.iter().all(|entry| entry.chars().count() >= 8 && entry.to_lowercase() == **entry));
        assert!(LIST.iter().filter(|entry| entry.chars().count() >= 15).count() >= 3_000);
    }

    #[test]
    fn a_common_password_is_found_alone_and_repeated() {
        for text in ["password", "passwordpassword", "passwordpasswordpassword", "123456789012345"] {
            assert!(is_common(text), "{text}");
        }
        for text in ["correct horse battery staple", "", "demo-password-only"] {
            assert!(!is_common(text), "{text}");
        }
    }

    #[test]
    fn a_unit_is_found_in_whole_repetitions_alone() {
        assert!(is_made_of("abab", "ab") && is_made_of("ab", "ab"));
        assert!(!is_made_of("aba", "ab") && !is_made_of("ab", "") && !is_made_of("xab", "ab"));
    }
}
