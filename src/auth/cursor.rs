//! Where a page of a list ended. Whoever asks for the next one brings it back; one that was made up is refused.

use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use super::secrets::Secrets;
use crate::error::{Error, FieldError};

/// How much of the MAC stands in it, in bytes.
const TAG: usize = 16;

/// The longest text that is looked at: more than any that was given out has.
const LONGEST: usize = 1_024;

/// A page of a list.
#[derive(Debug, Clone)]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// What to ask the next one with. None: it is the last one.
    pub next_cursor: Option<String>,
}

/// The cursor of a place in a list.
pub fn write(secrets: &Secrets, list: &str, place: &str) -> String {
    let tag = tag(&secrets.current.cursor, list, place);
    URL_SAFE_NO_PAD.encode([tag.as_ref().get(..TAG).unwrap_or_default(), place.as_bytes()].concat())
}

/// The place of a cursor of this list.
///
/// # Errors
/// [`Error::Validation`]: it is of another list, or of nobody.
pub fn read(secrets: &Secrets, list: &str, text: &str) -> Result<String, Error> {
    let refused =
        || Error::Validation(vec![FieldError::new("", "cursor must be the next_cursor of a page of this list")]);
    let bytes = if text.len() > LONGEST { None } else { URL_SAFE_NO_PAD.decode(text).ok() };
    let bytes = bytes.ok_or_else(refused)?;
    let (given, place) = bytes.split_at_checked(TAG).ok_or_else(refused)?;
    let place = std::str::from_utf8(place).map_err(|_| refused())?;
    let is_ours = |key| {
        let tag = tag(key, list, place);
        aws_lc_rs::constant_time::verify_slices_are_equal(tag.as_ref().get(..TAG).unwrap_or_default(), given).is_ok()
    };
    if secrets.all().any(|secret| is_ours(&secret.cursor)) { Ok(place.to_owned()) } else { Err(refused()) }
}

fn tag(key: &hmac::Key, list: &str, place: &str) -> hmac::Tag {
    let length = (list.len() as u64).to_be_bytes();
    hmac::sign(key, &[length.as_slice(), list.as_bytes(), place.as_bytes()].concat())
}
