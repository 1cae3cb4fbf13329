//! Whether a text is JSON is what serde_json says of it; no name stands twice in what passes.
#![no_main]

use hallpass::json::{Defect, Shape, check};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    let read = serde_json::from_slice::<Value>(data);
    match check(data) {
        Ok(shape) => assert_eq!(shape == Shape::Object, read.unwrap().is_object()),
        // It stops at the second of two names, and does not see what comes behind.
        Err(Defect::Twice) => {}
        Err(Defect::Malformed | Defect::OutOfRange) => assert!(read.is_err()),
    }
});
