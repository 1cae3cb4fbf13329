//! Passwords: what a text must be to be one (RFC 8265 `OpaqueString`), and which are good enough for a new
//! account (NIST SP 800-63B-4, section 3.1.1).

use precis_core::{
    DerivedPropertyValue, FreeformClass, StringClass,
    profile::{Profile, Rules},
};
use precis_profiles::OpaqueString;
use unicode_normalization::char::is_public_assigned;
use url::Url;
use zeroize::Zeroizing;

use super::common;
use crate::config::Config;

/// The longest password, in code points and in bytes, so that hashing one costs the same as hashing another.
const MAX_CODE_POINTS: usize = 256;
const MAX_BYTES: usize = 1_024;

/// The longest text that is looked at, in bytes.
const LONGEST_TYPED: usize = 4 * MAX_BYTES;

/// A text that can be a password, in the one spelling that is hashed. Wiped from memory when dropped, and
/// never printed.
#[derive(Clone)]
pub struct Password(Zeroizing<String>);

/// What somebody typed for a password that an account has already.
///
/// Ours are hashed in one spelling. Other programs hashed what was typed, and took what is refused here: so that their
/// hashes can be met, what was typed is kept beside it.
#[derive(Clone)]
pub struct TypedPassword {
    password: Option<Password>,
    /// If it is another text than that.
    raw: Option<Zeroizing<String>>,
}

impl TypedPassword {
    /// Takes any text.
    pub fn read(text: String) -> Self {
        let raw = Zeroizing::new(text);
        let password = Password::parse(raw.as_str().to_owned()).ok();
        let is_other = password.as_ref().is_none_or(|password| password.0 != raw);
        // Nobody's password is the empty one, and nothing that is hashed is long.
        let is_text = !raw.is_empty() && raw.len() <= LONGEST_TYPED;
        Self { password, raw: (is_other && is_text).then_some(raw) }
    }

    /// What it is as a password of ours.
    pub fn password(&self) -> Option<&Password> {
        self.password.as_ref()
    }

    /// The texts that another program may have hashed.
    pub(super) fn spellings(&self) -> impl Iterator<Item = &[u8]> {
        let password = self.password.iter().map(Password::as_bytes);
        password.chain(self.raw.iter().map(|raw| raw.as_bytes()))
    }
}

impl std::fmt::Debug for TypedPassword {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TypedPassword(…)")
    }
}

/// Why a text is no password, or not a good one. It never holds the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPassword {
    /// Over 256 code points or 1,024 bytes.
    #[error("must have at most 256 characters and 1,024 bytes")]
    TooLong,
    /// Fewer code points than the setting asks for.
    #[error("must have at least {0} characters")]
    TooShort(usize),
    /// Empty, or with a character that `OpaqueString` leaves out.
    #[error("must not be empty, nor have control or invisible characters")]
    Character,
    /// Blanks alone.
    #[error("must have more than blanks")]
    Blank,
    /// Among the passwords that are tried first.
    #[error("is among the most common passwords")]
    Common,
    /// The user name, the address or a part of it, the product's or the host's name; or little more than these.
    #[error("must not be the user name, the e-mail address or the name of this service")]
    Guessable,
}

/// What a new password must be.
#[derive(Debug, Clone)]
pub struct Policy {
    /// The fewest code points.
    min_length: usize,
    /// What everybody here would think of.
    words: Vec<String>,
}

/// The shortest word that counts where it is a part, in bytes: shorter ones stand in many others.
const SHORTEST_PART: usize = 4;

impl Password {
    /// Reads what somebody typed.
    ///
    /// # Errors
    /// No account can have this password.
    pub fn parse(text: String) -> Result<Self, InvalidPassword> {
        let text = Zeroizing::new(text);
        // Decomposed, a letter may be several code points; what is longer still is not worth the work below.
        if text.len() > LONGEST_TYPED {
            return Err(InvalidPassword::TooLong);
        }
        // One that spells differently the second time (U+0387 becomes a middle dot, which stands between two
        // `l` alone) could be set, but not typed on every keyboard.
        let is_stable = |spelt: &Zeroizing<String>| spell(spelt).as_ref() == Some(spelt);
        let spelt = spell(&text).filter(is_stable).ok_or(InvalidPassword::Character)?;
        if spelt.len() > MAX_BYTES || spelt.chars().nth(MAX_CODE_POINTS).is_some() {
            return Err(InvalidPassword::TooLong);
        }
        Ok(Self(spelt))
    }

    /// The bytes to hash.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// `OpaqueString` (RFC 8265, section 4.2): non-ASCII spaces become spaces, then NFC; controls and characters
/// that nobody sees are refused.
///
/// The registry's tables are of Unicode 6.3 and know no character that came later. Those that have come since
/// stand as they are: their normal form does not change any more either (Unicode's stability policy), and
/// people type emoji.
fn spell(text: &str) -> Option<Zeroizing<String>> {
    let class = FreeformClass::default();
    let is_later =
        |c: &char| class.get_value_from_char(*c) == DerivedPropertyValue::Unassigned && is_public_assigned(*c);
    let known: Zeroizing<String> = Zeroizing::new(text.chars().map(|c| if is_later(&c) { 'x' } else { c }).collect());
    let profile = OpaqueString::new();
    profile.enforce(known.as_str()).ok()?;
    let mapped = Zeroizing::new(profile.additional_mapping_rule(text).ok()?.into_owned());
    Some(Zeroizing::new(profile.normalization_rule(mapped.as_str()).ok()?.into_owned()))
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password(…)")
    }
}

impl Policy {
    /// As the settings say.
    pub fn new(config: &Config) -> Self {
        let url = Url::parse(&config.public_url).ok();
        let host = url.as_ref().and_then(Url::host_str).map(str::to_lowercase);
        Self {
            min_length: config.password_min_length,
            words: std::iter::once("hallpass".to_owned()).chain(host).collect(),
        }
    }

    /// Whether this password may be chosen by who has these names.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn check<'a>(
        &self,
        password: &Password,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Result<(), InvalidPassword> {
        let text = password.0.as_str();
        if text.chars().count() < self.min_length {
            return Err(InvalidPassword::TooShort(self.min_length));
        }
        if text.chars().all(char::is_whitespace) {
            return Err(InvalidPassword::Blank);
        }
        let folded = Zeroizing::new(text.to_lowercase());
        if common::is_common(&folded) {
            return Err(InvalidPassword::Common);
        }
        let words: Vec<String> = names.into_iter().map(str::to_lowercase).chain(self.words.iter().cloned()).collect();
        if words.iter().any(|word| common::is_made_of(&folded, word)) || is_mostly(&folded, &words) {
            return Err(InvalidPassword::Guessable);
        }
        Ok(())
    }
}

/// Whether more than half of a text is one or another of some words.
fn is_mostly(text: &str, words: &[String]) -> bool {
    let mut is_word = vec![false; text.len()];
    for word in words.iter().filter(|word| word.len() >= SHORTEST_PART) {
        for (at, _) in text.match_indices(word) {
            is_word.iter_mut().skip(at).take(word.len()).for_each(|byte| *byte = true);
        }
    }
    2 * is_word.iter().filter(|byte| **byte).count() > text.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{InvalidPassword, Password, Policy, TypedPassword};

    fn parse(text: &str) -> Result<Password, InvalidPassword> {
        Password::parse(text.to_owned())
    }

    fn check(text: &str) -> Result<(), InvalidPassword> {
        let words = ["hallpass", "login.example.com"].map(str::to_owned).into();
        let names = ["johndoe", "jo", "jane.doe.smith@example.org", "jane.doe.smith", "example.org"];
        Policy { min_length: 15, words }.check(&parse(text)?, names)
    }

    fn same(a: &str, b: &str) -> bool {
        parse(a).unwrap().as_bytes() == parse(b).unwrap().as_bytes()
    }

    #[test]
    fn spellings_of_one_password_are_equal_and_others_are_not() {
        assert!(same("caf\u{e9}", "cafe\u{301}"));
        assert!(same("a\u{a0}b", "a b"));
        assert!(!same("Pass", "pass"));
        assert!(!same(" pass ", "pass"));
        assert!(!same("\u{ff21}", "A"));
        assert!(!same("\u{fb01}", "fi"));
    }

    #[test]
    fn length_is_counted_in_code_points() {
        assert!(check(&"\u{1f600}".repeat(14)).is_err() && check(&"\u{1f600}".repeat(15)).is_ok());
        for (text, verdict) in [
            ("fourteen chars", Err(InvalidPassword::TooShort(15))),
            ("exactly fifteen", Ok(())),
            ("", Err(InvalidPassword::Character)),
        ] {
            assert_eq!(check(text), verdict, "{text}");
        }
        assert!(parse(&"\u{1f600}\u{1f601}".repeat(32)).is_ok());
        assert!(parse(&"x".repeat(256)).is_ok());
        assert!(same(&"\u{e9}".repeat(256), &"e\u{301}".repeat(256)));
        // 1,024 bytes, and what is 1,536 as it may be typed.
        assert!(parse(&"\u{1f600}".repeat(256)).is_ok());
        assert!(same(&"\u{390}".repeat(256), &"\u{3b9}\u{308}\u{301}".repeat(256)));
        // U+1D160 is three code points after NFC.
        for text in ["x".repeat(257), "e\u{301}".repeat(257), "\u{1d160}".repeat(256), "x".repeat(5_000)] {
            assert_eq!(parse(&text).unwrap_err(), InvalidPassword::TooLong);
        }
        // The bound itself: what is longer is not looked at.
        for (length, why) in [(4_096, InvalidPassword::Character), (4_097, InvalidPassword::TooLong)] {
            assert_eq!(parse(&"\0".repeat(length)).unwrap_err(), why, "{length}");
        }
    }

    #[test]
    fn nothing_is_asked_of_the_composition() {
        for text in [
            "onlylowercaseletters",
            "johndoe likes lanterns",
            "hallpass of johndoe is eleven teapots",
            "jojojo jojo jojo",
            // Half of it.
            "hallpass lantern",
            "839201746583920",
            "ONLY UPPERCASE HERE",
            "\u{1f600}\u{1f680}\u{1f9ca}\u{1f40c}\u{1f335}\u{1f341}\u{1f30b}\u{1f3b2}\u{1f52d}\u{1f56f}\u{1f9f5}\u{1fa81}\u{1f6f6}\u{1f9ed}\u{1f409}",
        ] {
            assert_eq!(check(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn what_everybody_would_guess_is_refused() {
        use InvalidPassword::{Blank, Character, Common, Guessable};
        for (text, why) in [
            ("               ", Blank),
            ("abcdefghijklmno\0AAA", Character),
            ("zero\u{200b}width lanterns", Character),
            ("unassigned \u{378} lanterns", Character),
            ("greek dot \u{387} lanterns", Character),
            ("noncharacter \u{ffff} lanterns", Character),
            ("passwordpassword", Common),
            ("PasswordPassword", Common),
            ("123456789012345", Common),
            ("qwertyuiopasdfghjkl", Common),
            ("aaaaaaaaaaaaaaaaaaaa", Common),
            ("jane.doe.smith@example.org", Guessable),
            ("johndoejohndoejohndoe", Guessable),
            ("hallpasshallpass", Guessable),
            ("hallpass1234567", Guessable),
            ("Johndoe-JohnDoe-2026", Guessable),
            ("example.orgexample.org", Guessable),
            ("my login.example.com", Guessable),
            ("jane.doe.smith@hallpass", Guessable),
            ("jane.doe.smith lanterns!!!", Guessable),
        ] {
            assert_eq!(check(text), Err(why), "{text}");
        }
    }

    #[test]
    fn the_debug_form_holds_no_password() {
        assert_eq!(format!("{:?}", parse("exactly fifteen").unwrap()), "Password(…)");
        assert_eq!(format!("{:?}", TypedPassword::read("exactly fifteen".to_owned())), "TypedPassword(…)");
    }

    #[test]
    fn what_was_typed_is_kept_if_it_is_another_text() {
        let long = "x".repeat(4_097);
        for (text, spellings) in [
            ("plain", &["plain"][..]),
            ("cafe\u{301}", &["caf\u{e9}", "cafe\u{301}"]),
            ("a\u{a0}b", &["a b", "a\u{a0}b"]),
            ("zero\u{200b}width", &["zero\u{200b}width"]),
            ("nul\0", &["nul\0"]),
            ("", &[]),
            (&long, &[]),
        ] {
            let typed = TypedPassword::read(text.to_owned());
            let found: Vec<&str> = typed.spellings().map(|bytes| std::str::from_utf8(bytes).unwrap()).collect();
            assert_eq!(found, spellings, "{text:.20?}");
        }
    }

    proptest! {
        #[test]
        fn a_parsed_password_parses_to_itself(text in "\\PC{1,40}") {
            if let Ok(once) = parse(&text) {
                let again = parse(std::str::from_utf8(once.as_bytes()).unwrap()).unwrap();
                prop_assert_eq!(again.as_bytes(), once.as_bytes());
            }
        }
    }
}
