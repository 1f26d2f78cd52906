//! The limits of numbers.
//!
//! Kept true: what an integer's format cannot hold is said of the value and of each limit, without naming a field.
//! Source: https://github.com/kubernetes/kube-openapi/blob/master/pkg/validation/validate/validator.go (`numberValidator`)

use super::{Found, types};
use crate::custom::{FieldError, is_true};
use serde_json::{Number, Value};
use std::cmp::Ordering;

pub(super) fn check(schema: &Value, number: &Number, path: &str) -> Found {
    let mut found = Found { held: 1, ..Found::default() };
    fits(schema, number, "Checked", path, &mut found);
    let complain = |found: &mut Found, why: String| {
        found.errors.push(FieldError::invalid(path, Value::Number(number.clone()), why));
    };
    if let Some(factor) = schema["multipleOf"].as_number() {
        let native = fits(schema, factor, "MultipleOf", path, &mut found);
        if let Some(whole) = number.as_i64().filter(|_| native) {
            let factor = truncated(factor);
            if factor <= 0 {
                complain(&mut found, not_positive(path, &factor.to_string()));
            } else if whole % factor != 0 {
                complain(&mut found, format!("{path} in body should be a multiple of {factor}"));
            }
        } else if let (Some(factor), Some(number)) = (factor.as_f64(), number.as_f64()) {
            if factor <= 0.0 {
                complain(&mut found, not_positive(path, &go_float(factor)));
            } else if !is_whole(number / factor) {
                complain(&mut found, format!("{path} in body should be a multiple of {}", go_float(factor)));
            }
        }
    }
    for (field, exclusive, prefix, wrong, less) in [
        ("minimum", "exclusiveMinimum", "Minimum boundary", Ordering::Less, "greater than"),
        ("maximum", "exclusiveMaximum", "Maximum boundary", Ordering::Greater, "less than"),
    ] {
        let Some(limit) = schema[field].as_number() else { continue };
        let native = fits(schema, limit, prefix, path, &mut found);
        let (order, shown) = match number.as_i64().filter(|_| native) {
            Some(whole) => (Some(whole.cmp(&truncated(limit))), truncated(limit).to_string()),
            None => {
                let limit = limit.as_f64().unwrap_or_default();
                (number.as_f64().and_then(|number| number.partial_cmp(&limit)), go_float(limit))
            }
        };
        let is_exclusive = is_true(schema, exclusive);
        if order == Some(wrong) || is_exclusive && order == Some(Ordering::Equal) {
            let or_equal = if is_exclusive { "" } else { " or equal to" };
            complain(&mut found, format!("{path} in body should be {less}{or_equal} {shown}"));
        }
    }
    found
}

/// But for what floats lose.
fn is_whole(float: f64) -> bool {
    const CLOSE: f64 = 1e-9;
    let round = float.round();
    (float - round).abs() <= CLOSE * round.abs()
}

fn not_positive(path: &str, factor: &str) -> String {
    format!("factor MultipleOf declared for {path} must be positive: {factor}")
}

/// Whether the schema's type and format can hold `number`; what cannot be held is told.
fn fits(schema: &Value, number: &Number, what: &str, path: &str, found: &mut Found) -> bool {
    let format = types::format(schema).unwrap_or_default();
    let fits = match (types::names(schema), format) {
        (["integer"], "int32") => whole(number).is_some_and(|whole| i32::try_from(whole).is_ok()),
        (["integer"], _) => whole(number).is_some(),
        (["number"], "float") => number.as_f64().is_some_and(|float| float.abs() <= f64::from(f32::MAX)),
        _ => true,
    };
    if !fits {
        let format =
            if format.is_empty() { "(default format)".into() } else { format!("with format {format}") };
        let kind = types::names(schema)[0];
        let why = format!("{what} value must be of type {kind} {format} in {path}");
        found.errors.push(FieldError::invalid("", "", why));
    }
    fits
}

fn whole(number: &Number) -> Option<i64> {
    number.as_i64().or_else(|| number.as_f64()?.to_string().parse().ok())
}

fn truncated(number: &Number) -> i64 {
    #[expect(clippy::cast_possible_truncation, reason = "as Go converts it")]
    number.as_i64().unwrap_or_else(|| number.as_f64().unwrap_or_default() as i64)
}

/// As Go's `%v` prints it.
fn go_float(float: f64) -> String {
    let text = format!("{float:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    match exponent.parse::<i32>() {
        Ok(exponent) if !(-4..6).contains(&exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.abs())
        }
        _ => float.to_string(),
    }
}
