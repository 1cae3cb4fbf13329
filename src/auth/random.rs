//! The one place where random bytes come from: the system's generator, through aws-lc.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use uuid::Uuid;

use crate::{error::Error, model::Time};

/// Random bytes.
///
/// # Errors
/// [`Error::Internal`] if the system has none to give. Nothing may be made up instead.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn bytes<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Error::internal("no random bytes"))?;
    Ok(bytes)
}

/// A name of 128 random bits that nobody has used: 22 characters of base64url.
///
/// # Errors
/// As [`bytes`].
pub fn name() -> Result<String, Error> {
    Ok(URL_SAFE_NO_PAD.encode(bytes::<16>()?))
}

/// A `SECRET_KEY` of 256 random bits: 43 characters of `[A-Za-z0-9_-]`.
///
/// # Errors
/// As [`bytes`].
pub fn secret() -> Result<String, Error> {
    Ok(URL_SAFE_NO_PAD.encode(bytes::<32>()?))
}

/// A UUIDv7 (RFC 9562): the moment in its first 48 bits, so that new rows stand together, and 74 random bits.
///
/// # Errors
/// As [`bytes`].
pub fn id<T: From<Uuid>>(now: Time) -> Result<T, Error> {
    let millis = u64::try_from(now.unix()).unwrap_or(0).saturating_mul(1_000);
    Ok(uuid::Builder::from_unix_timestamp_millis(millis, &bytes()?).into_uuid().into())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    /// Of a fair coin, 12.8 million throws of which differ from one half by more than this once in 10^15 tests.
    const FAR: u32 = 8 * 1_789;

    #[test]
    fn no_name_comes_twice_and_no_bit_is_more_often_one_than_the_others() {
        assert!((0..1_000).all(|_| super::name().unwrap().len() == 22));
        let secrets: HashSet<String> = (0..1_000).map(|_| super::secret().unwrap()).collect();
        assert!(secrets.len() == 1_000 && secrets.iter().all(|secret| secret.len() == 43));
        let all: HashSet<[u8; 16]> = (0..1_000_000).map(|_| super::bytes().unwrap()).collect();
        assert_eq!(all.len(), 1_000_000);

        let mut ones = [0_u32; 128];
        for bytes in all.iter().take(100_000) {
            for (bit, ones) in ones.iter_mut().enumerate() {
                *ones += u32::from(bytes[bit / 8] >> (bit % 8) & 1);
            }
        }
        assert!(ones.iter().sum::<u32>().abs_diff(6_400_000) < FAR, "{ones:?}");
        // By itself each bit: eight times the deviation of 100,000 throws, which is 158.
        assert!(ones.iter().all(|ones| ones.abs_diff(50_000) < 8 * 158), "{ones:?}");
    }
}
