//! JSON of strangers.

use std::{collections::HashSet, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error as _, MapAccess, SeqAccess, Visitor},
};
use serde_path_to_error::Segment;

use crate::error::FieldError;

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

/// Why it is not what was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Misfit {
    /// It is not read at all.
    Defect(Defect),
    /// JSON, but no object.
    NoObject,
    /// An object with a member that is not known.
    Unknown,
    /// An object with a member of another type, or without one that it needs. Holds nothing of what was read.
    Member(FieldError),
}

/// Reads an object.
///
/// # Errors
/// [`Misfit`]
pub fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Misfit> {
    match check(bytes) {
        Ok(Shape::Object) => {}
        // serde reads an array as a struct, member by member.
        Ok(Shape::Other) => return Err(Misfit::NoObject),
        Err(defect) => return Err(Misfit::Defect(defect)),
    }
    let mut json = serde_json::Deserializer::from_slice(bytes);
    serde_path_to_error::deserialize(&mut json)
        .map_err(|error| explain(pointer(error.path()), &error.inner().to_string()))
}

/// Says in our own words what serde found: its text names types of this program, and may hold the value.
fn explain(pointer: String, text: &str) -> Misfit {
    if let Some(name) = text.strip_prefix("missing field `").and_then(|rest| rest.split('`').next()) {
        return Misfit::Member(FieldError::new(format!("/{name}"), "is required"));
    }
    if text.starts_with("unknown field") {
        return Misfit::Unknown;
    }
    let wanted =
        ["a string", "a boolean", "a sequence"].into_iter().find(|kind| text.contains(&format!("expected {kind}")));
    let detail = match wanted {
        Some("a sequence") => "must be an array",
        Some("a boolean") => "must be true or false",
        Some(_) => "must be a string",
        None => return Misfit::NoObject,
    };
    Misfit::Member(FieldError::new(pointer, detail))
}

/// RFC 6901. The names are those of our own types: what they do not know is refused before it is entered.
fn pointer(path: &serde_path_to_error::Path) -> String {
    let step = |segment: &Segment| match segment {
        Segment::Seq { index } => format!("/{index}"),
        Segment::Map { key } => format!("/{key}"),
        Segment::Enum { .. } | Segment::Unknown => String::new(),
    };
    path.iter().map(step).collect()
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
