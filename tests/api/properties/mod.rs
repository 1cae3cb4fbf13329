//! What is true of whatever a parser reads, be it right or nearly so.

mod json;
mod names;
mod settings;
mod texts;
mod token;

use hallpass::{
    auth::secrets::Secrets,
    config::{Config, Values},
};
use proptest::prelude::*;
use serde_json::Value;

use super::{
    app::{SECRET_KEY, START, TestApp},
    forge,
};

/// Settings, beside those that there must be.
fn values(settings: &[(&str, String)]) -> Values {
    let mut values: Values = [("SECRET_KEY".to_owned(), SECRET_KEY.to_owned())].into();
    values.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    values
}

fn config() -> Config {
    Config::from_values(&values(&[])).unwrap()
}

fn secrets() -> Secrets {
    Secrets::derive(&config()).unwrap()
}

/// Runs a property that needs what takes a runtime to make.
fn check<S: Strategy>(cases: u32, strategy: &S, test: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    // `PROPTEST_CASES` may ask for more.
    let config = ProptestConfig::with_cases(cases.max(ProptestConfig::default().cases));
    let mut runner = proptest::test_runner::TestRunner::new(config);
    runner.run(strategy, test).unwrap();
}

/// Any JSON.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        // Of those that binary fractions hold: serde_json reads others to the last digit but one.
        any::<i32>().prop_map(|n| Value::from(f64::from(n) / 4.0)),
        "\\PC{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec(("\\PC{0,6}", inner), 0..4).prop_map(|pairs| pairs.into_iter().collect()),
        ]
    })
}
