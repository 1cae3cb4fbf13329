//! Keys. Each use of `SECRET_KEY` but one has a key of its own, derived with its own label (HKDF, RFC 5869);
//! the one is HS256, whose key is the text itself, so that other services can verify with any JWT library.

use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use secrecy::{ExposeSecret, SecretString};

use crate::error::Error;

/// The key that signs, and verifies, access tokens.
pub struct SigningKey {
    /// The key id: names the key in the header of a token, and tells nothing of it.
    pub kid: String,
    /// The one algorithm that this key is used with (RFC 8725, section 3.1).
    pub algorithm: Algorithm,
    /// Its name in a header (RFC 7518, section 3.1). Case counts.
    pub algorithm_name: &'static str,
    pub(super) encoding: EncodingKey,
    pub(super) decoding: DecodingKey,
}

impl SigningKey {
    /// The HS256 key of a `SECRET_KEY`.
    ///
    /// # Errors
    /// [`Error::Internal`] if a key cannot be derived.
    pub fn hs256(secret: &SecretString) -> Result<Self, Error> {
        let bytes = secret.expose_secret().as_bytes();
        Ok(Self {
            // Not the thumbprint of RFC 7638: of a secret that would be its hash.
            kid: URL_SAFE_NO_PAD.encode(derive::<12>(secret, "hallpass/v1/hs256-kid")?),
            algorithm: Algorithm::HS256,
            algorithm_name: "HS256",
            encoding: EncodingKey::from_secret(bytes),
            decoding: DecodingKey::from_secret(bytes),
        })
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey").field("kid", &self.kid).field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

fn derive<const N: usize>(secret: &SecretString, label: &str) -> Result<[u8; N], Error> {
    let failed = |_| Error::internal("HKDF failed");
    let mut out = [0; N];
    let key = Salt::new(HKDF_SHA256, b"").extract(secret.expose_secret().as_bytes());
    key.expand(&[label.as_bytes()], Length(N)).and_then(|okm| okm.fill(&mut out)).map_err(failed)?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::SigningKey;

    #[test]
    fn a_kid_belongs_to_its_secret_and_shows_nothing_of_it() {
        let key = |text: &str| SigningKey::hs256(&text.to_owned().into()).unwrap();
        let one = key("0123456789abcdefghijklmnopqrstuvwxyz");
        assert_eq!(one.kid, key("0123456789abcdefghijklmnopqrstuvwxyz").kid);
        assert_ne!(one.kid, key("0123456789abcdefghijklmnopqrstuvwxyZ").kid);
        assert!(!format!("{one:?}").contains("0123456789"));
    }
}
