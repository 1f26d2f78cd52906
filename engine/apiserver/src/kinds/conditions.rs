//! `metav1.Condition`, where the stock server checks it: policies, budgets, StorageVersionMigrations.
//!
//! Source: https://github.com/kubernetes/apimachinery/blob/master/pkg/apis/meta/v1/validation/validation.go
//! (`ValidateConditions`)

use std::collections::BTreeSet;

use serde_json::Value;

use super::checks::{Causes, add, indexed, text};
use crate::{metadata::qualified_name_problems, status::Cause};

const STATUSES: [&str; 3] = ["False", "True", "Unknown"];
const REASON_MAX_BYTES: usize = 1024;
const MESSAGE_MAX_BYTES: usize = 32 * 1024;
const REASON: &str = "a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric characters or '_,:', and must end with an alphanumeric character or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName',  or 'ReasonA,ReasonB',  or 'ReasonA:ReasonB', regex used for validation is '[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?')";

pub fn conditions(out: &mut Causes, list: &Value, path: &str) {
    let mut seen = BTreeSet::new();
    for (at, condition) in indexed(list, path) {
        let kind = text(&condition["type"]);
        if !seen.insert(kind) {
            out.push(Cause::duplicate(format!("{at}.type"), kind));
        }
        add(out, &format!("{at}.type"), kind, qualified_name_problems(kind));
        let status = &condition["status"];
        if !STATUSES.contains(&text(status)) {
            out.push(Cause::not_supported(format!("{at}.status"), text(status), &STATUSES));
        }
        if let Some(number) = condition["observedGeneration"].as_i64().filter(|number| *number < 0) {
            let why = "must be greater than or equal to zero";
            out.push(Cause::invalid(format!("{at}.observedGeneration"), number, why));
        }
        if condition["lastTransitionTime"].is_null() {
            out.push(Cause::required(format!("{at}.lastTransitionTime"), ""));
        }
        reason(out, text(&condition["reason"]), &format!("{at}.reason"));
        if text(&condition["message"]).len() > MESSAGE_MAX_BYTES {
            out.push(Cause::too_long(format!("{at}.message"), MESSAGE_MAX_BYTES));
        }
    }
}

fn reason(out: &mut Causes, given: &str, path: &str) {
    if given.is_empty() {
        return out.push(Cause::required(path, ""));
    }
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let fits = given.starts_with(|c: char| c.is_ascii_alphabetic())
        && given.ends_with(is_word)
        && given.chars().all(|c| is_word(c) || ",:".contains(c));
    if !fits {
        out.push(Cause::invalid(path, given, REASON));
    }
    if given.len() > REASON_MAX_BYTES {
        out.push(Cause::too_long(path, REASON_MAX_BYTES));
    }
}

#[cfg(test)]
mod tests {
    use super::{super::checks::assert_cases, *};
    use serde_json::json;

    #[test]
    fn conditions_get_the_stock_causes() {
        let one = |patch: Value| {
            let mut own = json!({"type": "Ready", "status": "True", "reason": "AsAsked", "lastTransitionTime": "2026-01-01T00:00:00Z"});
            coracle_schema::json_merge_patch(&mut own, &patch);
            json!([own])
        };
        let bad_reason = format!("c[0].reason: Invalid value: \"no reason\": {REASON}");
        assert_cases(
            one(json!({})),
            |list| {
                let mut out = Vec::new();
                conditions(&mut out, list, "c");
                out
            },
            &[
                (json!([one(json!({}))[0], one(json!({}))[0]]), &["c[1].type: Duplicate value: \"Ready\""]),
                (
                    one(json!({"status": "Maybe"})),
                    &[
                        "c[0].status: Unsupported value: \"Maybe\": supported values: \"False\", \"True\", \"Unknown\"",
                    ],
                ),
                (
                    one(json!({"observedGeneration": -1})),
                    &["c[0].observedGeneration: Invalid value: -1: must be greater than or equal to zero"],
                ),
                (one(json!({"lastTransitionTime": null})), &["c[0].lastTransitionTime: Required value"]),
                (one(json!({"reason": null})), &["c[0].reason: Required value"]),
                (one(json!({"reason": "no reason"})), &[bad_reason.as_str()]),
                (
                    one(json!({"message": "x".repeat(32 * 1024 + 1)})),
                    &["c[0].message: Too long: may not be more than 32768 bytes"],
                ),
            ],
        );
    }
}
