//! The vectors of Wycheproof, where tokens are verified.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{DecodingKey, EncodingKey};
use wycheproof::{TestResult, ecdsa, eddsa, mac};

use super::Key;
use crate::model::Algorithm;

/// A key that verifies, as a ring has them.
fn key(algorithm: Algorithm, decoding: DecodingKey) -> Key {
    let encoding = EncodingKey::from_secret(&[]);
    Key { kid: "kid".to_owned(), algorithm, public: None, encoding, decoding }
}

fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// How many signatures were to be accepted, and how many refused.
#[derive(Debug, Default, PartialEq, Eq)]
struct Judged {
    accepted: usize,
    refused: usize,
}

impl Judged {
    /// None of these vectors is called acceptable: were one, it would have to be judged here.
    fn judge(&mut self, key: &Key, message: &[u8], signature: &[u8], result: TestResult, what: &str) {
        let is_valid = match result {
            TestResult::Valid => true,
            TestResult::Invalid => false,
            TestResult::Acceptable => panic!("{what}: acceptable"),
        };
        assert_eq!(key.has_signed(message, &base64url(signature)), is_valid, "{what}");
        if is_valid {
            self.accepted += 1;
        } else {
            self.refused += 1;
        }
    }
}

#[test]
fn the_vectors_of_ed25519_hold() {
    let set = eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap();
    let mut judged = Judged::default();
    for group in &set.test_groups {
        let decoding = DecodingKey::from_ed_components(&base64url(&group.key.pk)).unwrap();
        let key = key(Algorithm::EdDsa, decoding);
        for test in &group.tests {
            judged.judge(&key, &test.msg, &test.sig, test.result, &format!("{} {}", test.tc_id, test.comment));
        }
    }
    assert_eq!(judged, Judged { accepted: 88, refused: 63 });
}

#[test]
fn the_vectors_of_ecdsa_on_p_256_hold() {
    let set = ecdsa::TestSet::load(ecdsa::TestName::EcdsaSecp256r1Sha256P1363).unwrap();
    let mut judged = Judged::default();
    for group in &set.test_groups {
        let (x, y) = group.key.key.strip_prefix(&[4]).unwrap().split_at(32);
        let decoding = DecodingKey::from_ec_components(&base64url(x), &base64url(y)).unwrap();
        let key = key(Algorithm::Es256, decoding);
        for test in &group.tests {
            judged.judge(&key, &test.msg, &test.sig, test.result, &format!("{} {}", test.tc_id, test.comment));
        }
    }
    assert_eq!(judged, Judged { accepted: 173, refused: 89 });
}

/// Those of ECDSA whose signatures are DER: RFC 7518, section 3.4, has no such form.
#[test]
fn no_signature_in_der_is_one() {
    let set = ecdsa::TestSet::load(ecdsa::TestName::EcdsaSecp256r1Sha256).unwrap();
    let mut judged = Judged::default();
    for group in &set.test_groups {
        let (x, y) = group.key.key.strip_prefix(&[4]).unwrap().split_at(32);
        let decoding = DecodingKey::from_ec_components(&base64url(x), &base64url(y)).unwrap();
        let key = key(Algorithm::Es256, decoding);
        for test in &group.tests {
            judged.judge(&key, &test.msg, &test.sig, TestResult::Invalid, &format!("{} {}", test.tc_id, test.comment));
        }
    }
    assert_eq!(judged, Judged { accepted: 0, refused: 484 });
}

/// A tag that was cut is right elsewhere, but not in a JWS (RFC 7518, section 3.2).
#[test]
fn the_vectors_of_hmac_with_sha_256_hold() {
    let set = mac::TestSet::load(mac::TestName::HmacSha256).unwrap();
    let mut judged = Judged::default();
    for group in &set.test_groups {
        for test in &group.tests {
            let key = key(Algorithm::Hs256, DecodingKey::from_secret(&test.key));
            let result = if group.tag_size == 256 { test.result } else { TestResult::Invalid };
            judged.judge(&key, &test.msg, &test.tag, result, &format!("{} {}", test.tc_id, test.comment));
        }
    }
    assert_eq!(judged, Judged { accepted: 33, refused: 141 });
}
