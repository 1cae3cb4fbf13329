/// How access tokens are signed (RFC 7518, section 3.1; RFC 8037).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// HMAC with SHA-256, under `SECRET_KEY`.
    Hs256,
    /// Ed25519.
    EdDsa,
    /// ECDSA on P-256 with SHA-256.
    Es256,
}

impl Algorithm {
    const ALL: [Self; 3] = [Self::Hs256, Self::EdDsa, Self::Es256];

    /// The one of this name. Case counts.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    /// Its name in a header.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
        }
    }

    /// Whether there is a public key to publish.
    pub const fn has_public_key(self) -> bool {
        !matches!(self, Self::Hs256)
    }
}
