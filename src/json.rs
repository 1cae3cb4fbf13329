//! JSON of strangers, before anything reads it.

use std::{collections::HashSet, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, SeqAccess, Visitor},
};

/// What stands outermost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// An object.
    Object,
    /// Anything else.
    Other,
}

/// Why it is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Defect {
    /// Not JSON, not UTF-8, or too deep.
    Malformed,
    /// An object has a name twice. Parsers disagree on which one counts (RFC 8259, section 4).
    Twice,
    /// A number that nothing here can hold, as `1e400`.
    OutOfRange,
}

/// Reads it through, to any depth that serde takes.
///
/// # Errors
/// [`Defect`]
pub fn check(bytes: &[u8]) -> Result<Shape, Defect> {
    match serde_json::from_slice::<Unique>(bytes) {
        // Blanks may stand before it, and nothing else.
        Ok(Unique) if bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{') => Ok(Shape::Object),
        Ok(Unique) => Ok(Shape::Other),
        // `Unique` takes any JSON, so the one thing that it refuses by itself is a name given twice.
        Err(error) if error.is_data() => Err(Defect::Twice),
        // serde_json counts it among the errors of syntax.
        Err(error) if error.to_string().starts_with("number out of range") => Err(Defect::OutOfRange),
        Err(_) => Err(Defect::Malformed),
    }
}

/// Any JSON in which no object has a name twice. Parsers disagree on which one counts (RFC 8259, section 4).
struct Unique;

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Unique {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self, A::Error> {
        let mut names = HashSet::new();
        while let Some(name) = map.next_key::<String>()? {
            if !names.insert(name) {
                return Err(A::Error::custom("twice"));
            }
            map.next_value::<Self>()?;
        }
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self, A::Error> {
        while seq.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }
    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }
    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }
    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }
    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }
    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::{Defect, Shape, check};

    #[test]
    fn the_shape_or_the_defect_is_told() {
        let deep = "[".repeat(10_000);
        for (text, verdict) in [
            (r#" {"a": [1, -2, 3.5, true, null, "x", {"a": {}}]}"#, Ok(Shape::Object)),
            ("[{}]", Ok(Shape::Other)),
            ("null", Ok(Shape::Other)),
            ("", Err(Defect::Malformed)),
            ("{} {}", Err(Defect::Malformed)),
            (deep.as_str(), Err(Defect::Malformed)),
            ("\u{feff}{}", Err(Defect::Malformed)),
            (r#"{"a": 1, "a": 1}"#, Err(Defect::Twice)),
            (r#"[{"x": {"a": 1, "\u0061": 2}}]"#, Err(Defect::Twice)),
            ("[1e400]", Err(Defect::OutOfRange)),
        ] {
            assert_eq!(check(text.as_bytes()), verdict, "{text:.40}");
        }
    }
}
