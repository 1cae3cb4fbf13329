//! PBKDF2 (RFC 8018), as Django, Werkzeug and passlib write it, and as PHC string.

use std::num::NonZeroU32;

use aws_lc_rs::pbkdf2;

use super::{
    Unusable,
    text::{Named, base64, hex, number, split, tag},
};

/// The most iterations, of all blocks of the tag together; of SHA-512, half of that. Django asks for 1.2 million, OWASP for 1.4 of SHA-1.
const ITERATIONS: u64 = 4_000_000;

/// After so many iterations, argon2 has written 1 KiB.
const ITERATIONS_A_KIB: u64 = 3;

pub(in super::super) struct Pbkdf2 {
    digest: Digest,
    iterations: NonZeroU32,
    salt: Vec<u8>,
    tag: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Digest {
    Sha1,
    Sha256,
    Sha512,
}

impl Digest {
    /// By the name that all forms have for it, but for passlib's, which has none for SHA-1.
    fn named(name: &str) -> Result<Self, Unusable> {
        match name {
            "sha1" => Ok(Self::Sha1),
            "sha256" => Ok(Self::Sha256),
            "sha512" => Ok(Self::Sha512),
            _ => Err(Unusable::Scheme),
        }
    }

    fn algorithm(self) -> pbkdf2::Algorithm {
        match self {
            Self::Sha1 => pbkdf2::PBKDF2_HMAC_SHA1,
            Self::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
            Self::Sha512 => pbkdf2::PBKDF2_HMAC_SHA512,
        }
    }

    /// How many iterations of SHA-256 take as long as one.
    fn weight(self) -> u64 {
        match self {
            Self::Sha1 | Self::Sha256 => 1,
            Self::Sha512 => 2,
        }
    }

    /// In bytes.
    fn len(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }
}

impl Pbkdf2 {
    pub(super) fn parse(text: &str) -> Result<Self, Unusable> {
        if let Some(rest) = text.strip_prefix("pbkdf2_") {
            let [digest, iterations, salt, hash] = split(rest, '$')?;
            Self::bounded(Digest::named(digest)?, iterations, salt.into(), base64(hash)?)
        } else if let Some(rest) = text.strip_prefix("pbkdf2:") {
            let [method, salt, hash] = split(rest, '$')?;
            let [digest, iterations] = split(method, ':')?;
            Self::bounded(Digest::named(digest)?, iterations, salt.into(), hex(hash)?)
        } else if let Some(rest) = text.strip_prefix("$pbkdf2") {
            let [digest, params, salt, hash] = split(rest, '$')?;
            let digest = match digest.strip_prefix('-') {
                Some(name) => Digest::named(name)?,
                None if digest.is_empty() => Digest::Sha1,
                None => return Err(Unusable::Scheme),
            };
            let hash = base64(hash)?;
            // passlib writes the number alone.
            let mut named = if params.contains('=') { Some(Named::parse(params)?) } else { None };
            let iterations = match &mut named {
                Some(named) => named.take("i")?,
                None => params,
            };
            if let Some(mut named) = named {
                if named.maybe("l").is_some_and(|length| number(length) != Ok(hash.len())) {
                    return Err(Unusable::Damaged);
                }
                named.end()?;
            }
            Self::bounded(digest, iterations, base64(salt)?, hash)
        } else {
            Err(Unusable::Scheme)
        }
    }

    fn bounded(digest: Digest, iterations: &str, salt: Vec<u8>, hash: Vec<u8>) -> Result<Self, Unusable> {
        let iterations: NonZeroU32 = NonZeroU32::new(number(iterations)?).ok_or(Unusable::Damaged)?;
        let read = Self { digest, iterations, salt, tag: tag(hash)? };
        if read.iterations() > ITERATIONS { Err(Unusable::TooDear) } else { Ok(read) }
    }

    /// Of SHA-256, in all.
    fn iterations(&self) -> u64 {
        let blocks = self.tag.len().div_ceil(self.digest.len()) as u64;
        u64::from(self.iterations.get()) * blocks * self.digest.weight()
    }

    pub(super) fn matches(&self, password: &[u8]) -> bool {
        pbkdf2::verify(self.digest.algorithm(), self.iterations, &self.salt, password, &self.tag).is_ok()
    }

    pub(super) fn work(&self) -> u64 {
        self.iterations() / ITERATIONS_A_KIB
    }
}
