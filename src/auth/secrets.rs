//! What is derived from `SECRET_KEY`. Each use but one has a key of its own, derived with its own label (HKDF, RFC
//! 5869); the one is HS256, whose key is the text itself, so that other services can verify with any JWT library.

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey},
    hkdf::{HKDF_SHA256, KeyType, Salt},
    hmac,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::keys::Key;
use crate::{config::Config, error::Error, model::SecretId};

/// The keys of `SECRET_KEY`, and of the one before it while it is being replaced.
#[derive(Debug)]
pub struct Secrets {
    /// Makes everything that is made now.
    pub current: Derived,
    /// Still understood.
    pub previous: Option<Derived>,
}

impl Secrets {
    /// Derives all that the settings' secrets are used for.
    ///
    /// # Errors
    /// [`Error::Internal`] if a key cannot be derived.
    pub fn derive(config: &Config) -> Result<Self, Error> {
        let previous = config.secret_key_previous.as_ref().map(Derived::from_secret).transpose()?;
        Ok(Self { current: Derived::from_secret(&config.secret_key)?, previous })
    }

    /// The current one first.
    pub fn all(&self) -> impl Iterator<Item = &Derived> {
        std::iter::once(&self.current).chain(&self.previous)
    }

    /// The one with this check value.
    pub fn by_id(&self, id: &SecretId) -> Option<&Derived> {
        self.all().find(|secret| secret.id == *id)
    }
}

/// The keys of one secret.
pub struct Derived {
    /// Its check value.
    pub id: SecretId,
    /// Its HS256 key.
    pub hs256: Key,
    pub(super) refresh: hmac::Key,
    pub(super) cursor: hmac::Key,
    /// Makes links and codes of mails.
    pub(super) mail: hmac::Key,
    /// Makes of a code what is kept of it.
    pub(super) code: hmac::Key,
    ring: RandomizedNonceKey,
}

impl Derived {
    fn from_secret(secret: &SecretString) -> Result<Self, Error> {
        let check = derive::<16>(secret, "hallpass/v1/key-check")?;
        // Not the thumbprint of RFC 7638: of a secret that would be its hash.
        let kid = URL_SAFE_NO_PAD.encode(derive::<12>(secret, "hallpass/v1/hs256-kid")?);
        let refresh = derive::<32>(secret, "hallpass/v1/refresh")?;
        let cursor = derive::<32>(secret, "hallpass/v1/cursor")?;
        let mail = derive::<32>(secret, "hallpass/v1/mail")?;
        let code = derive::<32>(secret, "hallpass/v1/code")?;
        let ring = derive::<32>(secret, "hallpass/v1/key-ring")?;
        Ok(Self {
            id: SecretId::from_text(URL_SAFE_NO_PAD.encode(check)),
            hs256: Key::hs256(kid, secret),
            refresh: hmac::Key::new(hmac::HMAC_SHA256, &*refresh),
            cursor: hmac::Key::new(hmac::HMAC_SHA256, &*cursor),
            mail: hmac::Key::new(hmac::HMAC_SHA256, &*mail),
            code: hmac::Key::new(hmac::HMAC_SHA256, &*code),
            ring: RandomizedNonceKey::new(&AES_256_GCM, &*ring).map_err(|_| Error::internal("no AES-256 key"))?,
        })
    }

    /// Encrypts a private key: AES-256-GCM under a fresh random nonce, which stands before the ciphertext and its
    /// tag. `about` is authenticated with it.
    ///
    /// # Errors
    /// [`Error::Internal`]
    pub fn seal(&self, private: &[u8], about: &str) -> Result<Vec<u8>, Error> {
        // Room for the tag: growing would leave a copy behind.
        let mut sealed = Vec::with_capacity(private.len() + AES_256_GCM.tag_len());
        sealed.extend_from_slice(private);
        let nonce = self
            .ring
            .seal_in_place_append_tag(Aad::from(about), &mut sealed)
            .map_err(|_| Error::internal("a private key was not encrypted"))?;
        Ok([nonce.as_ref().as_slice(), &sealed].concat())
    }

    /// Decrypts what [`seal`](Self::seal) made. None: damaged, or sealed under another secret or about another key.
    pub fn open(&self, sealed: &[u8], about: &str) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, sealed) = sealed.split_at_checked(12)?;
        let mut text = Zeroizing::new(sealed.to_vec());
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let length = self.ring.open_in_place(nonce, Aad::from(about), &mut text).ok()?.len();
        text.truncate(length);
        Some(text)
    }
}

impl std::fmt::Debug for Derived {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Derived").field("id", &self.id).finish_non_exhaustive()
    }
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

fn derive<const N: usize>(secret: &SecretString, label: &str) -> Result<Zeroizing<[u8; N]>, Error> {
    let failed = |_| Error::internal("HKDF failed");
    let mut out = Zeroizing::new([0; N]);
    let key = Salt::new(HKDF_SHA256, b"").extract(secret.expose_secret().as_bytes());
    key.expand(&[label.as_bytes()], Length(N)).and_then(|okm| okm.fill(&mut *out)).map_err(failed)?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use aws_lc_rs::{
        aead::{AES_256_GCM, RandomizedNonceKey},
        hmac,
    };

    use super::{Derived, derive};

    fn secret(text: &str) -> Derived {
        Derived::from_secret(&text.to_owned().into()).unwrap()
    }

    #[test]
    fn what_is_derived_belongs_to_its_secret_and_shows_nothing_of_it() {
        let (one, same) =
            (secret("0123456789abcdefghijklmnopqrstuvwxyz"), secret("0123456789abcdefghijklmnopqrstuvwxyz"));
        let other = secret("0123456789abcdefghijklmnopqrstuvwxyZ");
        assert_eq!((&one.id, &one.hs256.kid), (&same.id, &same.hs256.kid));
        assert!(one.id != other.id && one.hs256.kid != other.hs256.kid);
        assert!(!format!("{one:?} {:?}", one.hs256).contains("0123456789"));
    }

    #[test]
    fn no_key_is_that_of_another_use() {
        let text = "0123456789abcdefghijklmnopqrstuvwxyz";
        let one = secret(text);
        let of_text = hmac::Key::new(hmac::HMAC_SHA256, text.as_bytes());
        let keys = [&of_text, &one.refresh, &one.cursor, &one.mail, &one.code];
        let tags: HashSet<Vec<u8>> = keys.map(|key| hmac::sign(key, b"the same").as_ref().to_vec()).into();
        assert_eq!(tags.len(), keys.len());
        // The one for private keys signs nothing.
        for label in ["refresh", "cursor", "mail", "code", "key-check", "hs256-kid"] {
            let key = derive::<32>(&text.to_owned().into(), &format!("hallpass/v1/{label}")).unwrap();
            let ring = RandomizedNonceKey::new(&AES_256_GCM, &*key).unwrap();
            assert!(Derived { ring, ..secret(text) }.open(&one.seal(b"private", "").unwrap(), "").is_none(), "{label}");
        }
    }

    #[test]
    fn a_sealed_key_opens_under_its_secret_and_for_its_purpose_alone() {
        let one = secret("0123456789abcdefghijklmnopqrstuvwxyz");
        let (sealed, again) = (one.seal(b"private", "kid EdDSA").unwrap(), one.seal(b"private", "kid EdDSA").unwrap());
        assert_ne!(sealed, again, "a fresh nonce");
        assert!(!sealed.windows(7).any(|window| window == b"private"));
        assert_eq!(one.open(&sealed, "kid EdDSA").unwrap().as_slice(), b"private");
        assert!(one.open(&sealed, "kid ES256").is_none());
        assert!(secret("0123456789abcdefghijklmnopqrstuvwxyZ").open(&sealed, "kid EdDSA").is_none());
        for at in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[at] ^= 1;
            assert!(one.open(&damaged, "kid EdDSA").is_none(), "byte {at}");
            assert!(one.open(&sealed[..at], "kid EdDSA").is_none(), "cut at {at}");
        }
    }
}
