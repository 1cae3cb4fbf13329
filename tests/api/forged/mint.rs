//! The keys of a server, in the hands of a test: what only their holder can sign, and what anybody can.

use aws_lc_rs::{
    hmac,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair},
};
use serde_json::{Value, json};

use crate::{
    app::{Pair, SECRET_KEY, TestApp},
    forge::{base64url, change, claims, parts},
};

/// What signs.
pub enum Key {
    Secret(Vec<u8>),
    Ed(Ed25519KeyPair),
    Ec(EcdsaKeyPair),
}

impl Key {
    pub fn ed(seed: u8) -> Self {
        Self::Ed(Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap())
    }

    pub fn ec() -> Self {
        Self::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    pub fn secret(bytes: impl AsRef<[u8]>) -> Self {
        Self::Secret(bytes.as_ref().to_vec())
    }

    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Secret(bytes) => hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, bytes), message).as_ref().to_vec(),
            Self::Ed(pair) => pair.sign(message).as_ref().to_vec(),
            Self::Ec(pair) => pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec(),
        }
    }

    /// The public half: an Ed25519 point, or both coordinates of one on P-256. Of a secret there is none.
    pub fn public(&self) -> Vec<u8> {
        match self {
            Self::Secret(_) => Vec::new(),
            Self::Ed(pair) => pair.public_key().as_ref().to_vec(),
            Self::Ec(pair) => pair.public_key().as_ref()[1..].to_vec(),
        }
    }

    pub fn jwk(&self) -> Value {
        let public = self.public();
        match self {
            Self::Secret(bytes) => json!({"kty": "oct", "k": base64url(bytes)}),
            Self::Ed(_) => json!({"kty": "OKP", "crv": "Ed25519", "x": base64url(public)}),
            Self::Ec(_) => {
                json!({"kty": "EC", "crv": "P-256", "x": base64url(&public[..32]), "y": base64url(&public[32..])})
            }
        }
    }

    /// `SubjectPublicKeyInfo` (RFC 5280), as a certificate has it.
    pub fn der(&self) -> Vec<u8> {
        let ed: &[u8] = &[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
        let ec: &[u8] = &[
            0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48,
            0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04,
        ];
        match self {
            Self::Secret(bytes) => bytes.clone(),
            Self::Ed(_) => [ed, &self.public()].concat(),
            Self::Ec(_) => [ec, &self.public()].concat(),
        }
    }

    pub fn alg(&self) -> &'static str {
        match self {
            Self::Secret(_) => "HS256",
            Self::Ed(_) => "EdDSA",
            Self::Ec(_) => "ES256",
        }
    }
}

/// What there is to forge with.
pub struct Mint {
    pub key: Key,
    pub kid: String,
    /// John's, who is an admin.
    pub john: Pair,
    /// Of a session that was ended.
    pub ended: Pair,
    pub bob: Pair,
    pub bob_id: String,
    /// A header and claims that are right.
    pub header: Value,
    pub claims: Value,
    /// Those of an HS256 key that signs nothing here, unless it is the one that does.
    pub hs256_kid: String,
}

impl Mint {
    pub async fn new(app: &TestApp) -> Self {
        app.register("john").await;
        app.register("bob").await;
        app.sql("UPDATE users SET roles = 'user admin' WHERE username_key = 'john'").await;
        let (john, ended, bob) = (app.open("john").await, app.open("john").await, app.open("bob").await);
        assert_eq!(app.call(poem::http::Method::POST, "/logout", &ended.access, None).await.status, 204);
        let (header, kid) = (parts(&john.access).0, super::super::keys::header(&john.access, "kid"));
        let alg = header["alg"].as_str().unwrap();
        let key = if alg == "HS256" { Key::secret(SECRET_KEY) } else { unseal(app, &kid, alg).await };
        assert_eq!(key.alg(), alg);
        let bob_id = parts(&bob.access).1["sub"].as_str().unwrap().to_owned();
        let hs256_kid = app.app.secrets.current.hs256.kid.clone();
        Self { key, kid, claims: claims(&john.access), header, john, ended, bob, bob_id, hs256_kid }
    }

    /// Parts as they stand, signed by the key.
    pub fn sign_text(&self, header: &str, payload: &str) -> String {
        let message = format!("{header}.{payload}");
        format!("{message}.{}", base64url(self.key.sign(message.as_bytes())))
    }

    pub fn sign(&self, header: impl AsRef<[u8]>, claims: impl AsRef<[u8]>) -> String {
        self.sign_text(&base64url(header), &base64url(claims))
    }

    /// The right claims under this header, signed by this key.
    pub fn sign_by(&self, key: &Key, header: &Value) -> String {
        let message = format!("{}.{}", base64url(header.to_string()), base64url(self.claims.to_string()));
        format!("{message}.{}", base64url(key.sign(message.as_bytes())))
    }

    /// Well signed, with a member of the header that is another.
    pub fn header(&self, name: &str, value: Option<Value>) -> String {
        self.sign(change(&self.header, name, value).to_string(), self.claims.to_string())
    }

    /// Well signed, with a claim that is another.
    pub fn claim(&self, name: &str, value: Option<Value>) -> String {
        self.sign(self.header.to_string(), change(&self.claims, name, value).to_string())
    }

    /// The three parts of a token that is right.
    pub fn parts(&self) -> (String, String, String) {
        let mut parts = self.john.access.split('.').map(str::to_owned);
        (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap())
    }

    /// A token that is right, but for its signature.
    pub fn signature(&self, bytes: impl AsRef<[u8]>) -> String {
        let (header, payload, _) = self.parts();
        format!("{header}.{payload}.{}", base64url(bytes))
    }

    /// The bytes of the signature of a token that is right.
    pub fn right(&self) -> Vec<u8> {
        use base64::Engine;
        base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(self.parts().2).unwrap()
    }
}

/// The private key, out of the database.
async fn unseal(app: &TestApp, kid: &str, alg: &str) -> Key {
    let sealed = app.text("SELECT HEX(sealed) FROM signing_keys").await;
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    let sealed: Vec<u8> = sealed.as_bytes().chunks(2).map(byte).collect();
    let private = app.app.secrets.current.open(&sealed, &format!("{kid} {alg}")).unwrap();
    match alg {
        "EdDSA" => Key::Ed(Ed25519KeyPair::from_pkcs8(&private).unwrap()),
        _ => Key::Ec(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &private).unwrap()),
    }
}
