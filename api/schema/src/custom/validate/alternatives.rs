//! `anyOf`, `oneOf`, `allOf` and `not`.
//!
//! Kept true: where no alternative fits, the errors of the one that fits best are told, the first of equals.
//! Source: https://github.com/kubernetes/kube-openapi/blob/master/pkg/validation/validate/schema_props.go

use super::{Checker, Found};
use crate::custom::FieldError;
use serde_json::Value;

impl Checker<'_> {
    pub(super) fn alternatives(&self, schema: &Value, value: &Value, path: &str) -> Found {
        let mut found = Found { held: 1, ..Found::default() };
        let of = |field: &str| -> Vec<Found> {
            let all = schema[field].as_array().into_iter().flatten();
            all.map(|one| self.check(one, value, None, path)).collect()
        };
        // No field of its own: the whole is wrong.
        let complain = |found: &mut Found, what: &str| {
            found.errors.push(FieldError::invalid("", "", format!("{path:?} must {what}")));
        };
        let any = of("anyOf");
        if !any.is_empty() {
            if !any.iter().any(|one| one.errors.is_empty()) {
                complain(&mut found, "validate at least one schema (anyOf)");
            }
            found.add(best(any));
        }
        let one = of("oneOf");
        let fitting = one.iter().filter(|one| one.errors.is_empty()).count();
        if fitting == 1 || fitting == 0 && !one.is_empty() {
            if fitting == 0 {
                complain(&mut found, "validate one and only one schema (oneOf). Found none valid");
            }
            found.add(best(one));
        } else if fitting > 1 {
            let what =
                format!("validate one and only one schema (oneOf). Found {fitting} valid alternatives");
            complain(&mut found, &what);
        }
        let all = of("allOf");
        let (count, fitting) = (all.len(), all.iter().filter(|one| one.errors.is_empty()).count());
        for one in all {
            found.add(one);
        }
        if fitting < count {
            let none = if fitting == 0 { ". None validated" } else { "" };
            complain(&mut found, &format!("validate all the schemas (allOf){none}"));
        }
        if schema["not"].is_object() && self.check(&schema["not"], value, None, path).errors.is_empty() {
            complain(&mut found, "not validate the schema (not)");
        }
        found
    }
}

/// The first that fits, or the one that fits best.
fn best(all: Vec<Found>) -> Found {
    all.into_iter()
        .reduce(|best, one| {
            let is_better = one.errors.is_empty() || one.held > best.held;
            if !best.errors.is_empty() && is_better { one } else { best }
        })
        .unwrap_or_default()
}
