//! Numbers as they come back from Go's JSON where no type says what they are.
//!
//! Kept true: a whole number without an exponent in Go's text is an integer here, and what no int64 holds is a float.
//! Source: https://pkg.go.dev/encoding/json#Marshal (floats), https://github.com/kubernetes-sigs/json (integers)

use serde_json::{Number, Value};

/// From there on Go prints an exponent.
const EXPONENT_FROM: f64 = 1e21;

/// Every number in `value`, however deep.
pub fn whole_numbers(value: &mut Value) {
    match value {
        Value::Number(number) if !number.is_i64() => {
            if let Some(other) = whole(number) {
                *number = other;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(whole_numbers),
        Value::Object(fields) => fields.values_mut().for_each(whole_numbers),
        _ => {}
    }
}

fn whole(number: &Number) -> Option<Number> {
    let float = number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() < EXPONENT_FROM)?;
    // The shortest digits that mean this float, as Go prints them: not always its exact value.
    match float.to_string().parse::<i64>() {
        Ok(whole) => Some(whole.into()),
        Err(_) if number.is_u64() => Number::from_f64(float),
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_what_go_reads_and_prints() {
        for (given, expected) in [
            ("5.0", "5"),
            ("-0.0", "0"),
            ("1e3", "1000"),
            ("0.5", "0.5"),
            ("9007199254740993", "9007199254740993"),
            ("1234567890123456789.0", "1234567890123456800"),
            ("18446744073709551615", "1.8446744073709552e+19"),
            ("1e21", "1e+21"),
            ("[{\"a\":-2.0}]", "[{\"a\":-2}]"),
        ] {
            let mut value: Value = serde_json::from_str(given).expect("JSON");
            whole_numbers(&mut value);
            assert_eq!(value.to_string(), expected, "{given}");
        }
    }
}
