use std::collections::HashSet;

use secrecy::SecretString;

/// RFC 7518, section 3.2: a key of the hash's size or more, in bytes.
const MIN_BYTES: usize = 32;

/// More adds nothing.
const MAX_BYTES: usize = 1_024;

/// Random text of 32 letters has far more different ones than this.
const MIN_DIFFERENT: usize = 8;

/// Letters and digits of keys that stand in tutorials, samples and documentation.
const SAMPLES: &[&str] = &[
    // FastAPI's tutorial, «OAuth2 with Password (and hashing), Bearer with JWT tokens».
    "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",
    // jwt.io
    "astringsecretatleast256bitslong",
    "astringsecretatleast512bitslongwhichisverylong",
    // RFC 7515, appendix A.1
    "ayM1SysPpbyDfgZld3umj1qzKObwVMkoqQEstJQLrT1gH0qBJyEhJ7KkijqbmZpApjhvZljhvZljh0qBQn0j",
    "abcdefghijklmnopqrstuvwxyz0123456789",
    "0123456789abcdefghijklmnopqrstuvwxyz",
    "0123456789abcdef0123456789abcdef",
    "supersecretjwttokenwithatleast32characterslong",
];

/// How such keys begin.
const SAMPLE_STARTS: &[&str] =
    &["yoursecretkey", "your256bitsecret", "changeme", "changethis", "replacethis", "replaceme", "pastetheoutput"];

/// Takes a key that can be a secret.
pub(super) fn parse(text: &str) -> Result<SecretString, String> {
    let how = "run `hallpass secret` to make one";
    if text.len() < MIN_BYTES {
        return Err(format!("takes at least {MIN_BYTES} bytes; {how}"));
    }
    if text.len() > MAX_BYTES {
        return Err(format!("takes at most {MAX_BYTES} bytes; {how}"));
    }
    if is_repetitive(text) {
        return Err(format!("repeats itself; {how}"));
    }
    let plain: String = text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    let is_sample = SAMPLES.iter().any(|sample| sample.eq_ignore_ascii_case(&plain));
    if is_sample || SAMPLE_STARTS.iter().any(|start| plain.starts_with(start)) {
        return Err(format!("is a sample that everybody knows; {how}"));
    }
    Ok(SecretString::from(text))
}

/// Few different characters, or one piece several times over.
fn is_repetitive(text: &str) -> bool {
    let bytes = text.as_bytes();
    let different = bytes.iter().collect::<HashSet<_>>().len();
    different < MIN_DIFFERENT
        || (1..=bytes.len() / 2).any(|period| bytes.iter().zip(bytes.iter().skip(period)).all(|(a, b)| a == b))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn a_random_key_is_taken_and_a_weak_one_is_not() {
        for good in [
            "VzAQ0qJq7m5c2b8HhM4yQeT1xR6kWn3pLfUaSdGvBtY",
            "f3a91c07b2de4865a0c1d7f29be83456",
            "This is a long sentence nobody else has.",
        ] {
            assert!(parse(good).is_ok(), "{good}");
        }
        for bad in [
            "short",
            &"f3a91c07b2de4865a0c1d7f29be83456".repeat(33),
            "f3a91c07b2de4865a0c1d7f29be8345",
            &"a".repeat(64),
            &"abcd".repeat(16),
            &"f3a91c07b2de4865".repeat(2),
            "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",
            "your-256-bit-secret-your-256-bit-secret!",
            "CHANGE_ME_CHANGE_ME_please_do_change_me",
            "0123456789abcdefghijklmnopqrstuvwxyz",
        ] {
            let refusal = parse(bad).unwrap_err();
            assert!(refusal.contains("hallpass secret") && !refusal.contains(bad), "{bad}");
        }
    }
}
