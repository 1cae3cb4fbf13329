//! JSON of strangers.

use hallpass::json::{self, Defect, Shape};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::any_json;

proptest! {
    #[test]
    fn json_is_read_as_serde_json_reads_it(value in any_json()) {
        let text = value.to_string();
        let shape = if value.is_object() { Shape::Object } else { Shape::Other };
        prop_assert_eq!(json::check(text.as_bytes()), Ok(shape));
        prop_assert_eq!(json::check(format!(" \t\r\n{text}\n ").as_bytes()), Ok(shape));
        match json::read::<Map<String, Value>>(text.as_bytes()) {
            Ok(read) => prop_assert_eq!(Value::Object(read), value),
            Err(_) => prop_assert!(!value.is_object()),
        }
    }

    #[test]
    fn a_member_that_stands_twice_is_found_wherever_it_is(
        value in any_json(), name in "\\PC{0,6}", depth in 0..20_usize,
    ) {
        let (name, mut text) = (json!(name).to_string(), value.to_string());
        text = format!("{{{name}:{text},\"\u{1f511}\":0,{name}:{text}}}");
        prop_assume!(name != "\"\u{1f511}\"");
        for level in 0..depth {
            text = if level % 2 == 0 { format!("[0,{text}]") } else { format!(r#"{{"x":{text}}}"#) };
        }
        prop_assert_eq!(json::check(text.as_bytes()), Err(Defect::Twice));
    }

    #[test]
    fn what_is_no_json_is_none_here(text in "[\\[\\]{}:,\"0-9a-z\\\\ .eE+-]{0,24}") {
        let read = serde_json::from_str::<Value>(&text);
        match json::check(text.as_bytes()) {
            Ok(shape) => prop_assert_eq!(shape == Shape::Object, read.unwrap().is_object()),
            Err(Defect::Twice) => {}
            Err(Defect::Malformed | Defect::OutOfRange) => prop_assert!(read.is_err(), "{}", text),
        }
    }
}
