use precis_core::profile::{PrecisFastInvocation, stabilize};
use precis_profiles::{UsernameCaseMapped, UsernameCasePreserved};
use unicode_security::{MixedScript, skeleton};

/// The longest user name, in code points.
const MAX_CODE_POINTS: usize = 64;

/// U+2060, which nobody sees and no user name can hold (RFC 8264, section 9.13). Letters put it into names, so that no
/// mail reader makes a link of them.
pub const WORD_JOINER: char = '\u{2060}';

/// A user name in its two forms (RFC 8265, section 3): the one that is shown keeps its case, the one that is
/// compared does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Username {
    display: String,
    key: String,
}

/// Why a text is no user name. It never holds the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// Empty, or over 64 code points.
    #[error("must have 1 to 64 characters")]
    Length,
    /// A blank, a control, an `@`, or another code point that RFC 8265 leaves out.
    #[error("has a character that a user name cannot have")]
    Character,
    /// Letters of several scripts, as look-alikes of other names have (UTS 39, section 5.1).
    #[error("must not mix scripts")]
    MixedScripts,
}

impl Username {
    /// The name of a new account.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let key = Self::key(text)?;
        let display = stabilize(text, |s| UsernameCasePreserved::enforce(s)).map_err(|_| InvalidName::Character)?;
        if !display.is_single_script() {
            return Err(InvalidName::MixedScripts);
        }
        Ok(Self { display: display.into_owned(), key })
    }

    /// The form under which `text` would be found (`UsernameCaseMapped`).
    ///
    /// # Errors
    /// No account can have this name.
    pub fn key(text: &str) -> Result<String, InvalidName> {
        // Decomposed, a letter may be several code points; what is longer still is not worth the work below.
        if text.is_empty() || text.chars().nth(4 * MAX_CODE_POINTS).is_some() {
            return Err(InvalidName::Length);
        }
        let key = stabilize(text, |s| UsernameCaseMapped::enforce(s)).map_err(|_| InvalidName::Character)?;
        // Full-width `＠` is an `@` only after the mapping.
        if key.contains('@') {
            return Err(InvalidName::Character);
        }
        if key.chars().nth(MAX_CODE_POINTS).is_some() {
            return Err(InvalidName::Length);
        }
        Ok(key.into_owned())
    }

    /// As the person writes it.
    pub fn display(&self) -> &str {
        &self.display
    }

    /// As it is compared.
    pub fn as_key(&self) -> &str {
        &self.key
    }

    /// Whether people could take the holder for the operator or the product, also by a name that only looks like
    /// that (UTS 39, section 4: confusable letters have one skeleton): refused to those who register
    /// themselves, open to whoever runs the server.
    pub fn is_reserved(&self) -> bool {
        RESERVED.iter().any(|reserved| skeleton(reserved).eq(skeleton(&self.key)))
    }
}

const RESERVED: &[&str] = &[
    "abuse",
    "account",
    "accounts",
    "admin",
    "administrator",
    "anonymous",
    "api",
    "audit",
    "auth",
    "daemon",
    "docs",
    "everyone",
    "guest",
    "hallpass",
    "help",
    "hostmaster",
    "info",
    "login",
    "logout",
    "mail",
    "me",
    "moderator",
    "nobody",
    "noc",
    "noreply",
    "null",
    "official",
    "openapi",
    "operator",
    "owner",
    "postmaster",
    "protected",
    "register",
    "root",
    "security",
    "self",
    "service",
    "sessions",
    "staff",
    "support",
    "sysadmin",
    "system",
    "undefined",
    "user",
    "users",
    "webmaster",
    "well-known",
    "www",
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{InvalidName, RESERVED, Username};

    #[test]
    fn spellings_of_one_name_share_a_key() {
        for name in ["alice", "Alice", "ALICE", "Ａlice", "ａｌｉｃｅ"] {
            assert_eq!(Username::parse(name).unwrap().as_key(), "alice", "{name}");
        }
        assert_eq!(Username::parse("Ａlice").unwrap().display(), "Alice");
        assert_eq!(Username::key("e\u{301}ve").unwrap(), Username::key("\u{c9}VE").unwrap());
    }

    #[test]
    fn what_cannot_be_a_name_is_refused() {
        use InvalidName::{Character, Length, MixedScripts};
        let long = "a".repeat(65);
        for (name, why) in [
            ("", Length),
            (long.as_str(), Length),
            ("john doe", Character),
            (" john", Character),
            ("a@b.example", Character),
            ("a\u{ff20}b", Character),
            ("nul\0", Character),
            ("zero\u{200b}width", Character),
            ("join\u{200d}er", Character),
            ("turn\u{202e}ed", Character),
            ("soft\u{ad}hyphen", Character),
            ("\u{feff}bom", Character),
            ("private\u{e000}", Character),
            ("line\nfeed", Character),
            ("\u{430}dmin", MixedScripts),
            ("p\u{3b1}ul", MixedScripts),
        ] {
            assert_eq!(Username::parse(name), Err(why), "{name:?}");
        }
    }

    #[test]
    fn a_name_is_measured_after_its_mapping() {
        for (name, is_name) in [("e\u{301}".repeat(64), true), ("e\u{301}".repeat(65), false)] {
            assert_eq!(Username::parse(&name).is_ok(), is_name);
        }
    }

    #[test]
    fn names_of_many_languages_are_accepted() {
        for name in [
            "a",
            "j.doe+1_2-3",
            "Zoë",
            "Иван",
            "Ἀλέξανδρος",
            "山田太郎",
            "김철수",
            "يوسف",
            "x'; DROP TABLE users--".replace(' ', "").as_str(),
        ] {
            assert!(Username::parse(name).is_ok(), "{name}");
        }
        assert!(Username::parse(&"a".repeat(64)).is_ok());
    }

    #[test]
    fn the_case_mapping_knows_no_locale() {
        let key = |s| Username::key(s).unwrap();
        assert_eq!(key("I"), key("i"));
        assert_ne!(key("\u{131}"), key("i"));
        assert_ne!(key("\u{df}"), key("ss"));
        assert_eq!(key("\u{1e9e}"), key("\u{df}"));
        // Lower-casing is done letter by letter, so a capital sigma never becomes a final one.
        assert_eq!(key("\u{3a3}\u{3a3}"), key("\u{3c3}\u{3c3}"));
    }

    #[test]
    fn the_reserved_names_are_found_in_any_case_and_by_their_looks() {
        assert!(RESERVED.is_sorted());
        for name in ["admin", "ADMIN", "adm\u{131}n", "\u{430}\u{440}\u{456}"] {
            assert!(Username::parse(name).unwrap().is_reserved(), "{name}");
        }
        for name in ["johndoe", "administrate", "Иван"] {
            assert!(!Username::parse(name).unwrap().is_reserved(), "{name}");
        }
    }

    proptest! {
        #[test]
        fn both_forms_are_stable(text in "\\PC{1,20}") {
            if let Ok(name) = Username::parse(&text) {
                let again = Username::parse(name.display()).unwrap();
                prop_assert_eq!(&again, &name);
                prop_assert_eq!(Username::key(name.as_key()).unwrap(), name.as_key());
                prop_assert!(name.as_key().chars().count() <= 64);
            }
        }
    }
}
