//! One-time codes: what a mail carries to prove something, and what is kept of it.
//!
//! A mail carries a link with a token of 256 bits, and a code of 8 digits for who reads it on another device. Both are
//! made of the mail's id under a key derived from `SECRET_KEY`, so a mail that is sent again carries the same, and the
//! database holds neither: of the token a hash, of the code a MAC under another key, as 10^8 hashes are soon tried.

use aws_lc_rs::{digest, hmac};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use super::secrets::{Derived, Secrets};
use crate::{
    error::{Error, FieldError},
    model::{CodeHash, Email, LinkHash, MailId, Presented, Purpose},
};

/// How long the link of a mail counts that is to prove an address, in seconds.
pub const VERIFY: i64 = 24 * 60 * 60;

/// How long the link of a mail counts that is to choose another password, in seconds.
pub const RESET: i64 = 30 * 60;

/// How long the code beside a link counts, in seconds.
pub const CODE: i64 = 10 * 60;

/// The digits of a code.
const DIGITS: usize = 8;

/// What somebody shows who reads the mail of an address.
pub enum Proof {
    /// The token of its link.
    Link(String),
    /// The address, and the code that was mailed to it.
    Code {
        /// The address.
        email: String,
        /// The code.
        code: String,
    },
}

impl std::fmt::Debug for Proof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Proof(…)")
    }
}

impl Proof {
    /// What the store looks for.
    ///
    /// # Errors
    /// [`Error::InvalidCode`] if it is nothing that is ever mailed, [`Error::Validation`] if the address is none.
    pub(super) fn present(self, secrets: &Secrets, purpose: Purpose) -> Result<Presented, Error> {
        match self {
            Self::Link(token) => Ok(Presented::Link(link_hash(&token).ok_or(Error::InvalidCode)?)),
            Self::Code { email, code } => {
                let email =
                    Email::parse(&email).map_err(|why| Error::Validation(vec![FieldError::new("/email", why)]))?;
                // As people copy it.
                let code: Zeroizing<String> =
                    Zeroizing::new(code.chars().filter(|c| !matches!(c, ' ' | '-')).collect());
                if code.len() != DIGITS || !code.bytes().all(|digit| digit.is_ascii_digit()) {
                    return Err(Error::InvalidCode);
                }
                let hash = |secret| code_hash(secret, purpose, email.as_key(), &code);
                let current = hash(&secrets.current);
                let previous = secrets.previous.as_ref().map_or_else(|| current.clone(), hash);
                Ok(Presented::Code { email_key: email.as_key().to_owned(), current, previous })
            }
        }
    }
}

/// The token and the code of a mail. Never printed.
pub(super) struct Made {
    pub(super) token: String,
    pub(super) code: String,
}

impl Made {
    /// Those of the mail with this id: the same each time.
    pub(super) fn of(secret: &Derived, id: &MailId) -> Self {
        let bytes = |what: &str| hmac::sign(&secret.mail, format!("{what}/{id}").as_bytes());
        let (token, code) = (bytes("link"), bytes("code"));
        // 2^64 is so much more than 10^8 that no code is likelier than another.
        let number = code.as_ref().first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes)) % 100_000_000;
        Self { token: URL_SAFE_NO_PAD.encode(token), code: format!("{number:08}") }
    }
}

/// What is kept of a link's token. None: it is no token.
pub(super) fn link_hash(token: &str) -> Option<LinkHash> {
    // Padding, other alphabets and stray bits are refused: a token has one spelling.
    let mut bytes = [0; 32];
    let length = URL_SAFE_NO_PAD.decode_slice(token, &mut bytes).ok()?;
    (length == bytes.len()).then(|| LinkHash::from_bytes(digest::digest(&digest::SHA256, &bytes).as_ref()))
}

/// What is kept of a code. It covers what the code is good for, so that the database can look for it, and compare, in one
/// statement; whoever guesses cannot know how near the MAC of his guess comes to another.
pub(super) fn code_hash(secret: &Derived, purpose: Purpose, email_key: &str, code: &str) -> CodeHash {
    let covered = Zeroizing::new(format!("{}/{code}/{email_key}", purpose.name()));
    CodeHash::from_bytes(hmac::sign(&secret.code, covered.as_bytes()).as_ref())
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    use proptest::prelude::*;

    use super::{Made, Proof, Secrets, code_hash, link_hash};
    use crate::{
        config::{Config, Values},
        error::Error,
        model::{MailId, Presented, Purpose},
    };

    fn secrets(key: &str, previous: Option<&str>) -> Secrets {
        let mut values: Values = [("SECRET_KEY".to_owned(), key.to_owned())].into();
        values.extend(previous.map(|key| ("SECRET_KEY_PREVIOUS".to_owned(), key.to_owned())));
        Secrets::derive(&Config::from_values(&values).unwrap()).unwrap()
    }

    const ONE: &str = "k2v8QmZ4yPz1TgXh7NwRcB5sJd9LfAe3UuYoWi6Mx0E";
    const TWO: &str = "m2v8QmZ4yPz1TgXh7NwRcB5sJd9LfAe3UuYoWi6Mx0E";

    fn id(n: u8) -> MailId {
        uuid::Uuid::from_bytes([n; 16]).into()
    }

    #[test]
    fn a_mail_has_one_token_and_one_code_under_one_secret() {
        let (one, two) = (secrets(ONE, None), secrets(TWO, None));
        let (a, same) = (Made::of(&one.current, &id(1)), Made::of(&one.current, &id(1)));
        assert_eq!((&a.token, &a.code), (&same.token, &same.code));
        for other in [Made::of(&one.current, &id(2)), Made::of(&two.current, &id(1))] {
            assert!(a.token != other.token && a.code != other.code);
        }
        assert_eq!(a.token.len(), 43, "256 bits");
        // All of the same length, and no digit is rarer at the front.
        let mut first = [0; 10];
        for n in 0..=255 {
            let code = Made::of(&one.current, &id(n)).code;
            assert!(code.len() == 8 && code.bytes().all(|digit| digit.is_ascii_digit()), "{code}");
            first[usize::from(code.as_bytes()[0] - b'0')] += 1;
        }
        assert!(first.iter().all(|count| (8..=45).contains(count)), "{first:?}");
    }

    #[test]
    fn a_token_has_one_spelling() {
        let token = Made::of(&secrets(ONE, None).current, &id(1)).token;
        assert!(link_hash(&token).is_some());
        let mut stray = token.clone();
        let last = stray.pop().unwrap();
        stray.push(if last == 'A' { 'B' } else { char::from(last as u8 + 1) });
        assert_ne!(link_hash(&stray), link_hash(&token));
        for text in ["", "x", &token[1..], &format!("{token}="), &format!("{token}A"), &format!(" {token}")] {
            assert_eq!(link_hash(text), None, "{text}");
        }
    }

    #[test]
    fn a_code_is_kept_for_one_purpose_address_and_secret() {
        let (one, two) = (secrets(ONE, None), secrets(TWO, None));
        let kept = code_hash(&one.current, Purpose::Verify, "a@b.example", "01234567");
        assert_eq!(kept, code_hash(&one.current, Purpose::Verify, "a@b.example", "01234567"));
        for other in [
            code_hash(&one.current, Purpose::Reset, "a@b.example", "01234567"),
            code_hash(&one.current, Purpose::Verify, "b@b.example", "01234567"),
            code_hash(&one.current, Purpose::Verify, "a@b.example", "01234568"),
            code_hash(&two.current, Purpose::Verify, "a@b.example", "01234567"),
        ] {
            assert_ne!(kept, other);
        }
    }

    #[test]
    fn a_code_is_read_as_people_copy_it_and_under_the_secret_before() {
        let (one, both) = (secrets(ONE, None), secrets(TWO, Some(ONE)));
        let kept = code_hash(&one.current, Purpose::Reset, "a@b.example", "01234567");
        for code in ["01234567", "0123 4567", " 0123-4567 "] {
            let proof = Proof::Code { email: "A@b.example".to_owned(), code: code.to_owned() };
            assert!(!format!("{proof:?}").contains("0123"));
            let Presented::Code { email_key, current, previous } = proof.present(&both, Purpose::Reset).unwrap() else {
                panic!("a code");
            };
            assert_eq!((email_key.as_str(), &previous), ("a@b.example", &kept));
            assert_ne!(current, kept);
        }
        for code in ["", "1234567", "012345678", "0123456x", "\u{661}1234567", "0123456\u{660}"] {
            let proof = Proof::Code { email: "a@b.example".to_owned(), code: code.to_owned() };
            assert!(matches!(proof.present(&one, Purpose::Reset), Err(Error::InvalidCode)), "{code}");
        }
    }

    proptest! {
        /// Eight digits, wherever blanks and hyphens stand among them.
        #[test]
        fn a_code_is_eight_digits(text in "[0-9 -]{0,12}|\\PC{0,12}|[0-9\\x{660}-\\x{669}]{8}") {
            let digits: String = text.chars().filter(|c| ![' ', '-'].contains(c)).collect();
            let is_code = digits.chars().count() == 8 && digits.chars().all(|c| c.is_ascii_digit());
            let proof = Proof::Code { email: "a@b.example".to_owned(), code: text };
            match proof.present(&secrets(ONE, None), Purpose::Reset) {
                Ok(Presented::Code { current, .. }) => {
                    prop_assert!(is_code);
                    let kept = code_hash(&secrets(ONE, None).current, Purpose::Reset, "a@b.example", &digits);
                    prop_assert_eq!(current, kept);
                }
                Err(Error::InvalidCode) => prop_assert!(!is_code),
                _ => prop_assert!(false),
            }
        }

        /// 32 bytes, in the one spelling that they have.
        #[test]
        fn the_token_of_a_link_is_32_bytes(
            bytes in prop::collection::vec(any::<u8>(), 30..35), text in "[A-Za-z0-9_=+/-]{40,45}",
        ) {
            let token = URL_SAFE_NO_PAD.encode(&bytes);
            prop_assert_eq!(link_hash(&token).is_some(), bytes.len() == 32);
            let is_one = |bytes: Vec<u8>| bytes.len() == 32 && URL_SAFE_NO_PAD.encode(bytes) == text;
            prop_assert_eq!(link_hash(&text).is_some(), URL_SAFE_NO_PAD.decode(&text).is_ok_and(is_one));
        }
    }
}
