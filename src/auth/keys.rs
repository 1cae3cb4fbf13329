//! Keys that sign access tokens: made, sealed, opened, and shown to others (RFC 7517).

use aws_lc_rs::{
    digest::{SHA256, digest},
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{DecodingKey, EncodingKey, crypto};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde_json::json;
use zeroize::Zeroizing;

use super::secrets::Derived;
use crate::{
    error::Error,
    model::{Algorithm, StoredKey, Time},
    store::NewKey,
};

/// A key that signs, and verifies, access tokens.
#[derive(Clone)]
pub struct Key {
    /// The key id: names the key in the header of a token, and tells nothing of it.
    pub kid: String,
    /// The one algorithm that this key is used with (RFC 8725, section 3.1).
    pub algorithm: Algorithm,
    /// The public half; none for HS256.
    pub public: Option<Jwk>,
    pub(super) encoding: EncodingKey,
    decoding: DecodingKey,
}

/// A public key (RFC 7517, section 4).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Jwk {
    /// `OKP` (RFC 8037) or `EC` (RFC 7518).
    pub kty: &'static str,
    /// `Ed25519` or `P-256`.
    pub crv: &'static str,
    /// The point, or its first coordinate.
    pub x: String,
    /// The second coordinate, on P-256.
    pub y: Option<String>,
}

impl Jwk {
    /// The thumbprint (RFC 7638): a digest of the required members, in the order of their names.
    pub fn thumbprint(&self) -> String {
        let Self { kty, crv, x, y } = self;
        let members = match y {
            Some(y) => json!({"crv": crv, "kty": kty, "x": x, "y": y}),
            None => json!({"crv": crv, "kty": kty, "x": x}),
        };
        URL_SAFE_NO_PAD.encode(digest(&SHA256, members.to_string().as_bytes()))
    }
}

impl Key {
    pub(super) fn hs256(kid: String, secret: &SecretString) -> Self {
        let bytes = secret.expose_secret().as_bytes();
        let (encoding, decoding) = (EncodingKey::from_secret(bytes), DecodingKey::from_secret(bytes));
        Self { kid, algorithm: Algorithm::Hs256, public: None, encoding, decoding }
    }

    /// The key of a private half (PKCS #8, RFC 5958), its public half derived from it. None: it is none.
    fn from_pkcs8(algorithm: Algorithm, private: &[u8]) -> Option<Self> {
        let base64url = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let (public, encoding, decoding) = match algorithm {
            Algorithm::Hs256 => return None,
            Algorithm::EdDsa => {
                let pair = Ed25519KeyPair::from_pkcs8(private).ok()?;
                let x = base64url(pair.public_key().as_ref());
                let decoding = DecodingKey::from_ed_components(&x).ok()?;
                (Jwk { kty: "OKP", crv: "Ed25519", x, y: None }, EncodingKey::from_ed_der(private), decoding)
            }
            Algorithm::Es256 => {
                let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, private).ok()?;
                // Uncompressed (SEC 1, section 2.3.3): 4, then both coordinates.
                let (x, y) = pair.public_key().as_ref().strip_prefix(&[4])?.split_at_checked(32)?;
                let (x, y) = (base64url(x), base64url(y));
                let decoding = DecodingKey::from_ec_components(&x, &y).ok()?;
                (Jwk { kty: "EC", crv: "P-256", x, y: Some(y) }, EncodingKey::from_ec_der(private), decoding)
            }
        };
        Some(Self { kid: public.thumbprint(), algorithm, public: Some(public), encoding, decoding })
    }

    /// The key of a row. The public half comes out of the encrypted private one, so that who can write the database
    /// can plant none. None: it does not open, or is not the key that it is called.
    pub(super) fn open(row: &StoredKey, secret: &Derived) -> Option<Self> {
        let algorithm = row.algorithm()?;
        let private = secret.open(row.sealed.as_deref()?, &about(&row.kid, algorithm))?;
        Self::from_pkcs8(algorithm, &private)
    }

    /// Whether it signed these bytes. The signature is that of a JWS: base64url, unpadded.
    pub(super) fn has_signed(&self, message: &[u8], signature: &str) -> bool {
        crypto::verify(signature, message, &self.decoding, jws(self.algorithm)).is_ok_and(|is_signed| is_signed)
    }
}

/// The name that jsonwebtoken has for it.
pub(super) const fn jws(algorithm: Algorithm) -> jsonwebtoken::Algorithm {
    match algorithm {
        Algorithm::Hs256 => jsonwebtoken::Algorithm::HS256,
        Algorithm::EdDsa => jsonwebtoken::Algorithm::EdDSA,
        Algorithm::Es256 => jsonwebtoken::Algorithm::ES256,
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key").field("kid", &self.kid).field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

/// What a private key is sealed with: it is not another key's, nor for another algorithm.
pub(super) fn about(kid: &str, algorithm: Algorithm) -> String {
    format!("{kid} {}", algorithm.name())
}

/// A fresh key, sealed. Of HS256 there is the one of the secret.
///
/// # Errors
/// [`Error::Internal`]
pub fn make(secret: &Derived, algorithm: Algorithm, now: Time, activates_at: Time, ttl: i64) -> Result<NewKey, Error> {
    let failed = |_| Error::internal("no key was made");
    let private: Zeroizing<Vec<u8>> = match algorithm {
        Algorithm::Hs256 => Zeroizing::default(),
        Algorithm::EdDsa => {
            let pair = Ed25519KeyPair::generate().map_err(failed)?;
            Zeroizing::new(pair.to_pkcs8().map_err(failed)?.as_ref().to_vec())
        }
        Algorithm::Es256 => {
            let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(failed)?;
            Zeroizing::new(pair.to_pkcs8v1().map_err(failed)?.as_ref().to_vec())
        }
    };
    let (kid, sealed) = if algorithm == Algorithm::Hs256 {
        (secret.hs256.kid.clone(), None)
    } else {
        let key = Key::from_pkcs8(algorithm, &private).ok_or_else(|| Error::internal("a fresh key is none"))?;
        let sealed = secret.seal(&private, &about(&key.kid, algorithm))?;
        (key.kid, Some(sealed))
    };
    Ok(NewKey {
        kid,
        algorithm: algorithm.name(),
        sealed,
        secret_id: secret.id.clone(),
        created_at: now,
        activates_at,
        longest_ttl: ttl,
    })
}

#[cfg(test)]
mod vectors;

#[cfg(test)]
mod tests {
    use super::Jwk;

    #[test]
    fn a_thumbprint_is_that_of_rfc_8037() {
        // Appendix A.3.
        let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo".to_owned();
        let jwk = Jwk { kty: "OKP", crv: "Ed25519", x, y: None };
        assert_eq!(jwk.thumbprint(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }
}
