//! What the forms of several schemes are written in.

use std::str::FromStr;

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

use super::Unusable;

/// A shorter tag would be met by chance; a longer one none of these schemes makes.
const TAG: std::ops::RangeInclusive<usize> = 16..=64;

const ANY_PADDING: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Base64 in any of its alphabets, padded or not: the standard one, the one of URLs, and passlib's, which writes `.`
/// for `+`.
pub(super) fn base64(text: &str) -> Result<Vec<u8>, Unusable> {
    let standard = |c| match c {
        '.' | '-' => '+',
        '_' => '/',
        other => other,
    };
    ANY_PADDING.decode(text.chars().map(standard).collect::<String>()).map_err(|_| Unusable::Damaged)
}

pub(super) fn hex(text: &str) -> Result<Vec<u8>, Unusable> {
    let digit = |c: u8| char::from(c).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let byte = |pair: &[u8]| match pair {
        [high, low] => Some(digit(*high)? * 16 + digit(*low)?),
        _ => None,
    };
    text.as_bytes().chunks(2).map(byte).collect::<Option<_>>().ok_or(Unusable::Damaged)
}

/// What the password's derivation has to come out as.
pub(super) fn tag(bytes: Vec<u8>) -> Result<Vec<u8>, Unusable> {
    if TAG.contains(&bytes.len()) { Ok(bytes) } else { Err(Unusable::Damaged) }
}

/// A number in digits alone: too great a one is a cost.
pub(super) fn number<T: FromStr>(text: &str) -> Result<T, Unusable> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Unusable::Damaged);
    }
    text.parse().map_err(|_| Unusable::TooDear)
}

/// The parts between `separator`, of which there are so many.
pub(super) fn split<const N: usize>(text: &str, separator: char) -> Result<[&str; N], Unusable> {
    text.split(separator).collect::<Vec<_>>().try_into().map_err(|_| Unusable::Damaged)
}

/// `a=1,b=2`, each name once.
pub(super) struct Named<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Named<'a> {
    pub(super) fn parse(text: &'a str) -> Result<Self, Unusable> {
        let pairs: Option<Vec<_>> = text.split(',').map(|pair| pair.split_once('=')).collect();
        Ok(Self(pairs.ok_or(Unusable::Damaged)?))
    }

    /// Takes the value of a name that may be missing.
    pub(super) fn maybe(&mut self, name: &str) -> Option<&'a str> {
        let at = self.0.iter().position(|(found, _)| *found == name)?;
        Some(self.0.swap_remove(at).1)
    }

    pub(super) fn take(&mut self, name: &str) -> Result<&'a str, Unusable> {
        self.maybe(name).ok_or(Unusable::Damaged)
    }

    /// Sees to it that nothing is left: a name that is not known could change what is computed.
    pub(super) fn end(self) -> Result<(), Unusable> {
        if self.0.is_empty() { Ok(()) } else { Err(Unusable::Damaged) }
    }
}
