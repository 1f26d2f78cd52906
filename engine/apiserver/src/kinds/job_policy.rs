//! When a Job has failed or succeeded: by index, by what its pods ended with, by how many indexes are done.
//!
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/apis/batch/validation/validation.go

use serde_json::Value;

use super::checks::{Causes, indexed, is_set, items, non_negative, one_of, text};
use crate::status::Cause;

const PARALLEL_INDEXES_MAX: i64 = 100_000;
const RULES_MAX: usize = 20;
const EXIT_CODES_MAX: usize = 255;
const INDEXED_ONLY: &str = "requires indexed completion mode";

pub fn validate(out: &mut Causes, spec: &Value, path: &str) {
    let at = |field: &str| format!("{path}.{field}");
    non_negative(out, spec, path, &["backoffLimitPerIndex", "maxFailedIndexes"]);
    let is_indexed = spec["completionMode"] == "Indexed";
    if !spec["maxFailedIndexes"].is_null() && spec["backoffLimitPerIndex"].is_null() {
        out.push(Cause::required(at("backoffLimitPerIndex"), "when maxFailedIndexes is specified"));
    }
    if is_indexed {
        let completions = spec["completions"].as_i64();
        if let Some(parallel) = spec["parallelism"].as_i64().filter(|own| *own > PARALLEL_INDEXES_MAX) {
            let why = format!(
                "must be less than or equal to {PARALLEL_INDEXES_MAX} when completion mode is Indexed"
            );
            out.push(Cause::invalid(at("parallelism"), parallel, &why));
        }
        if let (Some(failed), Some(all)) = (spec["maxFailedIndexes"].as_i64(), completions)
            && failed > all
        {
            let why = "must be less than or equal to completions";
            out.push(Cause::invalid(at("maxFailedIndexes"), failed, why));
        }
    } else {
        for field in ["backoffLimitPerIndex", "maxFailedIndexes"] {
            if let Some(number) = spec[field].as_i64() {
                out.push(Cause::invalid(at(field), number, INDEXED_ONLY));
            }
        }
        if !spec["successPolicy"].is_null() {
            out.push(Cause::invalid(at("successPolicy"), spec["successPolicy"].clone(), INDEXED_ONLY));
        }
    }
    if !spec["podFailurePolicy"].is_null() {
        failure(out, spec, path);
    }
    if is_indexed && !spec["successPolicy"].is_null() {
        success(out, spec, &at("successPolicy"));
    }
}

/// A cause that shows no value.
fn bare(path: &str, why: &str) -> Cause {
    Cause::new("FieldValueInvalid", path, format!("Invalid value: {why}"))
}

fn failure(out: &mut Causes, spec: &Value, path: &str) {
    let policy = &spec["template"]["spec"]["restartPolicy"];
    if policy != "Never" {
        let why = "only \"Never\" is supported when podFailurePolicy is specified";
        out.push(Cause::invalid(format!("{path}.template.spec.restartPolicy"), policy.clone(), why));
    }
    let rules = &spec["podFailurePolicy"]["rules"];
    let at = format!("{path}.podFailurePolicy.rules");
    if items(rules).len() > RULES_MAX {
        out.push(Cause::too_many(at.as_str(), items(rules).len(), RULES_MAX));
    }
    for (at, rule) in indexed(rules, &at) {
        failure_rule(out, spec, rule, &at);
    }
}

fn failure_rule(out: &mut Causes, spec: &Value, rule: &Value, path: &str) {
    let at = format!("{path}.action");
    if !is_set(&rule["action"]) {
        out.push(Cause::required(
            at.as_str(),
            "valid values: \"Count\", \"FailIndex\", \"FailJob\", \"Ignore\"",
        ));
    }
    one_of(out, &rule["action"], &at, &["Count", "FailIndex", "FailJob", "Ignore"]);
    if rule["action"] == "FailIndex" && spec["backoffLimitPerIndex"].is_null() {
        out.push(Cause::invalid(at, "FailIndex", "requires the backoffLimitPerIndex to be set"));
    }
    match (!rule["onExitCodes"].is_null(), is_set(&rule["onPodConditions"])) {
        (true, true) => {
            out.push(bare(path, "specifying both OnExitCodes and OnPodConditions is not supported"))
        }
        (false, false) => {
            out.push(bare(path, "specifying one of OnExitCodes and OnPodConditions is required"))
        }
        (true, false) => exit_codes(out, &rule["onExitCodes"], &format!("{path}.onExitCodes")),
        (false, true) => {
            for (at, pattern) in indexed(&rule["onPodConditions"], &format!("{path}.onPodConditions")) {
                let at = format!("{at}.status");
                if is_set(&pattern["status"]) {
                    one_of(out, &pattern["status"], &at, &["False", "True", "Unknown"]);
                } else {
                    out.push(Cause::required(at, "valid values: \"False\", \"True\", \"Unknown\""));
                }
            }
        }
    }
}

fn exit_codes(out: &mut Causes, rule: &Value, path: &str) {
    let operator = format!("{path}.operator");
    if !is_set(&rule["operator"]) {
        out.push(Cause::required(operator.as_str(), "valid values: \"In\", \"NotIn\""));
    }
    one_of(out, &rule["operator"], &operator, &["In", "NotIn"]);
    let (values, at) = (items(&rule["values"]), format!("{path}.values"));
    if values.is_empty() {
        out.push(Cause::invalid(at.as_str(), rule["values"].clone(), "at least one value is required"));
    }
    if values.len() > EXIT_CODES_MAX {
        out.push(Cause::too_many(at.as_str(), values.len(), EXIT_CODES_MAX));
    }
    let numbers: Vec<i64> = values.iter().filter_map(Value::as_i64).collect();
    for (position, number) in numbers.iter().enumerate() {
        let at = format!("{at}[{position}]");
        if *number == 0 && rule["operator"] == "In" {
            out.push(Cause::invalid(at.as_str(), 0, "must not be 0 for the In operator"));
        }
        if numbers[..position].contains(number) {
            out.push(Cause::duplicate(at, *number));
        }
    }
    if !numbers.is_sorted() {
        out.push(Cause::invalid(at, rule["values"].clone(), "must be ordered"));
    }
}

fn success(out: &mut Causes, spec: &Value, path: &str) {
    let (rules, at) = (&spec["successPolicy"]["rules"], format!("{path}.rules"));
    if items(rules).is_empty() {
        out.push(Cause::required(
            at.as_str(),
            "at least one rules must be specified when the successPolicy is specified",
        ));
    }
    if items(rules).len() > RULES_MAX {
        out.push(Cause::too_many(at.as_str(), items(rules).len(), RULES_MAX));
    }
    for (at, rule) in indexed(rules, &at) {
        let (indexes, count) = (text(&rule["succeededIndexes"]), rule["succeededCount"].as_i64());
        if indexes.is_empty() && count.is_none() {
            out.push(Cause::required(
                at.as_str(),
                "at least one of succeededCount or succeededIndexes must be specified",
            ));
        }
        let all = spec["completions"].as_i64().unwrap_or_default();
        if let Some(count) = count {
            let at = format!("{at}.succeededCount");
            if count < 0 {
                out.push(Cause::invalid(at, count, super::checks::NON_NEGATIVE));
            } else if count > all {
                let why =
                    format!("must be less than or equal to {all} (the number of specified completions)");
                out.push(Cause::invalid(at, count, &why));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::checks::assert_cases, *};
    use serde_json::json;

    fn check(spec: &Value) -> Causes {
        let mut out = Vec::new();
        validate(&mut out, spec, "spec");
        out
    }

    #[test]
    fn policies_of_jobs_get_the_stock_causes() {
        let fails = |rule: Value| json!({"podFailurePolicy": {"rules": [rule]}});
        let codes = |operator: &str, values: Value| {
            fails(json!({"action": "FailJob", "onExitCodes": {"operator": operator, "values": values}}))
        };
        assert_cases(
            json!({"completionMode": "Indexed", "completions": 3, "template": {"spec": {"restartPolicy": "Never"}}}),
            check,
            &[
                (
                    json!({"completionMode": "NonIndexed", "backoffLimitPerIndex": 1}),
                    &["spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode"],
                ),
                (
                    json!({"maxFailedIndexes": 4}),
                    &[
                        "spec.backoffLimitPerIndex: Required value: when maxFailedIndexes is specified",
                        "spec.maxFailedIndexes: Invalid value: 4: must be less than or equal to completions",
                    ],
                ),
                (codes("In", json!([1, 2])), &[]),
                (
                    codes("In", json!([0, 5, 3])),
                    &[
                        "spec.podFailurePolicy.rules[0].onExitCodes.values[0]: Invalid value: 0: must not be 0 for the In operator",
                        "spec.podFailurePolicy.rules[0].onExitCodes.values: Invalid value: [0,5,3]: must be ordered",
                    ],
                ),
                (
                    fails(json!({"action": "Ignore"})),
                    &[
                        "spec.podFailurePolicy.rules[0]: Invalid value: specifying one of OnExitCodes and OnPodConditions is required",
                    ],
                ),
                (
                    fails(
                        json!({"action": "FailIndex", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}),
                    ),
                    &[
                        "spec.podFailurePolicy.rules[0].action: Invalid value: \"FailIndex\": requires the backoffLimitPerIndex to be set",
                    ],
                ),
                (
                    json!({"successPolicy": {"rules": [{"succeededCount": 5}]}}),
                    &[
                        "spec.successPolicy.rules[0].succeededCount: Invalid value: 5: must be less than or equal to 3 (the number of specified completions)",
                    ],
                ),
            ],
        );
    }
}
