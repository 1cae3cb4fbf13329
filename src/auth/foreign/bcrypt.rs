//! bcrypt (Provos and Mazières, 1999): `$2a$`, `$2b$` and `$2y$`, which are one today, and Django's two forms of it.
//! `$2x$` is a bug that others kept for its hashes.

use aws_lc_rs::{constant_time::verify_slices_are_equal, digest};
use base64::{
    Engine,
    alphabet::BCRYPT,
    engine::{GeneralPurpose, general_purpose::NO_PAD},
};
use zeroize::Zeroizing;

use super::Unusable;

/// The number of rounds is two to the power of this. 15 takes some seconds.
const COSTS: std::ops::RangeInclusive<u32> = 4..=15;

/// bcrypt knows no more of a password, in bytes.
const MOST: usize = 72;

/// What argon2 writes in the time of a round, in KiB.
const KIB_A_ROUND: u64 = 60;

/// Some libraries left bits in the last character that stand for nothing, and every other one passes over them.
const ENGINE: GeneralPurpose = GeneralPurpose::new(&BCRYPT, NO_PAD.with_decode_allow_trailing_bits(true));

pub(in super::super) struct Bcrypt {
    before: Before,
    cost: u32,
    salt: [u8; 16],
    tag: [u8; 23],
}

/// What is done to the password first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    Nothing,
    /// Django's `bcrypt_sha256`: SHA-256 in hexadecimal, so that no byte is cut off.
    Sha256,
}

impl Bcrypt {
    pub(super) fn parse(text: &str) -> Result<Self, Unusable> {
        let (before, rest) = match text.strip_prefix("bcrypt_sha256$") {
            Some(rest) => (Before::Sha256, rest),
            None => (Before::Nothing, text.strip_prefix("bcrypt$").unwrap_or(text)),
        };
        let versions = ["$2a$", "$2b$", "$2y$"];
        let Some(rest) = versions.iter().find_map(|version| rest.strip_prefix(version)) else {
            // Only what says that it is bcrypt is a bad one.
            return Err(if rest.len() < text.len() { Unusable::Damaged } else { Unusable::Scheme });
        };
        // Cut by bytes, which a text that is not ASCII may not be (RUSTSEC-2026-0199).
        let (Some(cost), Some("$"), Some(salt), Some(tag)) =
            (rest.get(..2), rest.get(2..3), rest.get(3..25), rest.get(25..))
        else {
            return Err(Unusable::Damaged);
        };
        let cost = super::text::number(cost)?;
        if !COSTS.contains(&cost) {
            return Err(if cost > *COSTS.end() { Unusable::TooDear } else { Unusable::Damaged });
        }
        Ok(Self { before, cost, salt: decode(salt)?, tag: decode(tag)? })
    }

    pub(super) fn matches(&self, password: &[u8]) -> bool {
        let mut key = Zeroizing::new(Vec::with_capacity(MOST + 1));
        match self.before {
            // In C the text would end there; and bcrypt repeats it with a NUL between, so that `a` and `a NUL a` are one.
            Before::Nothing if password.contains(&0) => return false,
            Before::Nothing => key.extend_from_slice(password.get(..MOST).unwrap_or(password)),
            Before::Sha256 => {
                let digest = digest::digest(&digest::SHA256, password);
                let digits = digest.as_ref().iter().flat_map(|byte| [byte >> 4, byte & 15]);
                key.extend(digits.map(|digit| if digit < 10 { b'0' + digit } else { b'a' + digit - 10 }));
            }
        }
        key.push(0);
        key.truncate(MOST);
        let tag = ::bcrypt::bcrypt(self.cost, self.salt, &key);
        verify_slices_are_equal(tag.get(..self.tag.len()).unwrap_or_default(), &self.tag).is_ok()
    }

    pub(super) fn work(&self) -> u64 {
        KIB_A_ROUND << self.cost
    }
}

fn decode<const N: usize>(text: &str) -> Result<[u8; N], Unusable> {
    ENGINE.decode(text).ok().and_then(|bytes| bytes.try_into().ok()).ok_or(Unusable::Damaged)
}
