//! Firebase's scrypt (github.com/firebase/scrypt): what scrypt derives from the password encrypts the project's signer
//! key, and the hash is that.
//!
//! `$fbscrypt$v=1,n=14,r=8,p=1,ss=<separator>,sk=<signer key>$<salt>$<hash>`, the form that Supabase gave it, with what
//! the project's parameters and the exported account say in Base64. The signer key stands in each hash, so that a hash
//! needs nothing beside it: it is gone with the first login of the last account.

use aws_lc_rs::{
    cipher::{AES_256, DecryptingKey, DecryptionContext, UnboundCipherKey},
    constant_time::verify_slices_are_equal,
    iv::FixedLength,
};
use zeroize::Zeroizing;

use super::{
    Unusable,
    scrypt::Cost,
    text::{Named, base64, number, split, tag},
};
use crate::error::Error;

pub(in super::super) struct Firebase {
    cost: Cost,
    /// The account's and the separator.
    salt: Vec<u8>,
    signer_key: Zeroizing<Vec<u8>>,
    hash: Vec<u8>,
}

impl Firebase {
    pub(super) fn parse(text: &str) -> Result<Self, Unusable> {
        let rest = text.strip_prefix("$fbscrypt$").ok_or(Unusable::Scheme)?;
        let [params, salt, hash] = split(rest, '$')?;
        let mut params = Named::parse(params)?;
        if params.take("v")? != "1" {
            return Err(Unusable::Scheme);
        }
        let (log_n, r) = (number(params.take("n")?)?, number(params.take("r")?)?);
        let cost = Cost::bounded(log_n, r, number(params.maybe("p").unwrap_or("1"))?)?;
        let mut salt = base64(salt)?;
        salt.extend(base64(params.maybe("ss").unwrap_or_default())?);
        let signer_key = Zeroizing::new(tag(base64(params.take("sk")?)?)?);
        params.end()?;
        let hash = tag(base64(hash)?)?;
        if hash.len() != signer_key.len() {
            return Err(Unusable::Damaged);
        }
        Ok(Self { cost, salt, signer_key, hash })
    }

    pub(super) fn matches(&self, password: &[u8]) -> Result<bool, Error> {
        let mut key = Zeroizing::new([0; 32]);
        self.cost.derive(password, &self.salt, key.as_mut_slice())?;
        let key = UnboundCipherKey::new(&AES_256, key.as_slice()).map_err(Error::internal)?;
        // AES-256-CTR from zero: to decrypt the hash is to encrypt the key.
        let cipher = DecryptingKey::ctr(key).map_err(Error::internal)?;
        let mut hash = Zeroizing::new(self.hash.clone());
        let zero = DecryptionContext::Iv128(FixedLength::from([0; 16]));
        let opened = cipher.decrypt(&mut hash, zero).map_err(Error::internal)?;
        Ok(verify_slices_are_equal(opened, &self.signer_key).is_ok())
    }

    pub(super) fn memory_kib(&self) -> u64 {
        self.cost.memory_kib()
    }

    pub(super) fn work(&self) -> u64 {
        self.cost.work()
    }
}
