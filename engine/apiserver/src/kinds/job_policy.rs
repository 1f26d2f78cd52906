//! When a Job has failed or succeeded: by index, by what its pods ended with, by how many indexes are done.
//!
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/apis/batch/validation/validation.go

use serde_json::{Value, json};

use super::checks::{Causes, add, indexed, is_set, items, non_negative, one_of, text, untagged};
use crate::{
    metadata::qualified_name_problems,
    status::{Cause, quote},
};

const PARALLEL_INDEXES_MAX: i64 = 100_000;
const FAILED_INDEXES_MAX: i64 = 100_000;
/// From this many completions on, what follows is limited.
const MANY_COMPLETIONS: i64 = 100_000;
const MANY_MAX: i64 = 10_000;
const RULES_MAX: usize = 20;
const PATTERNS_MAX: usize = 20;
const INDEXES_MAX_BYTES: usize = 64 * 1024;
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
        limits(out, spec, path);
    } else {
        for field in ["backoffLimitPerIndex", "maxFailedIndexes"] {
            if let Some(number) = spec[field].as_i64() {
                out.push(Cause::invalid(at(field), number, INDEXED_ONLY));
            }
        }
        if !spec["successPolicy"].is_null() {
            let rules = items(&spec["successPolicy"]["rules"]).iter();
            let rules: Value =
                rules.map(|rule| untagged(rule, "SucceededIndexes? SucceededCount?")).collect();
            out.push(Cause::invalid(at("successPolicy"), json!({"Rules": rules}), INDEXED_ONLY));
        }
    }
    if !spec["podFailurePolicy"].is_null() {
        failure(out, spec, path);
    }
    if is_indexed && !spec["successPolicy"].is_null() {
        success(out, spec, &at("successPolicy"));
    }
}

/// How many indexes at once, and how many may fail.
fn limits(out: &mut Causes, spec: &Value, path: &str) {
    let number = |field: &str| spec[field].as_i64();
    let mut above = |field: &str, most: i64, why: String| {
        if let Some(own) = number(field).filter(|own| *own > most) {
            out.push(Cause::invalid(format!("{path}.{field}"), own, &why));
        }
    };
    let rule = |most: i64| format!("must be less than or equal to {most}");
    let when = " when completion mode is Indexed";
    above("parallelism", PARALLEL_INDEXES_MAX, rule(PARALLEL_INDEXES_MAX) + when);
    if let Some(all) = number("completions") {
        above("maxFailedIndexes", all, "must be less than or equal to completions".into());
    }
    above("maxFailedIndexes", FAILED_INDEXES_MAX, rule(FAILED_INDEXES_MAX));
    let many = number("completions").is_some_and(|all| all > MANY_COMPLETIONS);
    if many && number("backoffLimitPerIndex").is_some() {
        let when =
            format!(" when completions are above {MANY_COMPLETIONS} and used with backoff limit per index");
        above("parallelism", MANY_MAX, rule(MANY_MAX) + &when);
        above("maxFailedIndexes", MANY_MAX, rule(MANY_MAX) + &when);
        if number("maxFailedIndexes").is_none() {
            let why = format!("must be specified when completions is above {MANY_COMPLETIONS}");
            out.push(Cause::required(format!("{path}.maxFailedIndexes"), &why));
        }
    }
}

fn failure(out: &mut Causes, spec: &Value, path: &str) {
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
            "valid values: [\"Count\" \"FailIndex\" \"FailJob\" \"Ignore\"]",
        ));
    }
    one_of(out, &rule["action"], &at, &["Count", "FailIndex", "FailJob", "Ignore"]);
    if rule["action"] == "FailIndex" && spec["backoffLimitPerIndex"].is_null() {
        out.push(Cause::invalid(at, "FailIndex", "requires the backoffLimitPerIndex to be set"));
    }
    let (codes, conditions) = (&rule["onExitCodes"], &rule["onPodConditions"]);
    if !codes.is_null() {
        exit_codes(out, spec, codes, &format!("{path}.onExitCodes"));
    }
    pod_conditions(out, conditions, &format!("{path}.onPodConditions"));
    match (!codes.is_null(), is_set(conditions)) {
        (true, true) => out.push(Cause::invalid_unshown(
            path,
            "specifying both OnExitCodes and OnPodConditions is not supported",
        )),
        (false, false) => out.push(Cause::invalid_unshown(
            path,
            "specifying one of OnExitCodes and OnPodConditions is required",
        )),
        _ => {}
    }
}

fn pod_conditions(out: &mut Causes, patterns: &Value, path: &str) {
    let count = items(patterns).len();
    if count > PATTERNS_MAX {
        out.push(Cause::too_many(path, count, PATTERNS_MAX));
    }
    for (at, pattern) in indexed(patterns, path) {
        let kind = text(&pattern["type"]);
        add(out, &format!("{at}.type"), kind, qualified_name_problems(kind));
        let at = format!("{at}.status");
        if is_set(&pattern["status"]) {
            one_of(out, &pattern["status"], &at, &["False", "True", "Unknown"]);
        } else {
            out.push(Cause::required(at, "valid values: [\"False\" \"True\" \"Unknown\"]"));
        }
    }
}

fn exit_codes(out: &mut Causes, spec: &Value, rule: &Value, path: &str) {
    let operator = format!("{path}.operator");
    if !is_set(&rule["operator"]) {
        out.push(Cause::required(operator.as_str(), "valid values: [\"In\" \"NotIn\"]"));
    } else {
        one_of(out, &rule["operator"], &operator, &["In", "NotIn"]);
    }
    if let Some(name) = rule["containerName"].as_str() {
        let pod = &spec["template"]["spec"];
        let mut all = items(&pod["containers"]).iter().chain(items(&pod["initContainers"]));
        if !all.any(|own| own["name"] == name) {
            let why = "must be one of the container or initContainer names in the pod template";
            out.push(Cause::invalid(format!("{path}.containerName"), name, why));
        }
    }
    let (values, at) = (items(&rule["values"]), format!("{path}.values"));
    if values.is_empty() {
        out.push(Cause::invalid(at.as_str(), rule["values"].clone(), "at least one value is required"));
    } else if values.len() > EXIT_CODES_MAX {
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
        let (indexes, count) = (rule["succeededIndexes"].as_str(), rule["succeededCount"].as_i64());
        if indexes.is_none() && count.is_none() {
            out.push(Cause::required(
                at.as_str(),
                "at least one of succeededCount or succeededIndexes must be specified",
            ));
        }
        let all = spec["completions"].as_i64().unwrap_or_default();
        let named = indexes.map(|own| succeeded_indexes(out, own, all, &format!("{at}.succeededIndexes")));
        let Some(count) = count else { continue };
        let at = format!("{at}.succeededCount");
        if count < 0 {
            out.push(Cause::invalid(at.as_str(), count, super::checks::NON_NEGATIVE));
        }
        let limits = [
            (Some(all), "the number of specified completions"),
            (named, "the number of indexes in the specified succeededIndexes field"),
        ];
        for (most, what) in limits {
            if let Some(most) = most.filter(|most| count > *most) {
                let why = format!("must be less than or equal to {most} ({what})");
                out.push(Cause::invalid(at.as_str(), count, &why));
            }
        }
    }
}

/// How many indexes `1,3-5` names; none, when it cannot be read.
fn succeeded_indexes(out: &mut Causes, indexes: &str, completions: i64, path: &str) -> i64 {
    if indexes.len() > INDEXES_MAX_BYTES {
        out.push(Cause::too_long(path, INDEXES_MAX_BYTES));
    }
    count_indexes(indexes, completions).unwrap_or_else(|why| {
        out.push(Cause::invalid(path, indexes, &format!("error parsing succeededIndexes: {why}")));
        0
    })
}

/// The intervals of `1,3-5` that can be read.
pub fn intervals(indexes: &str, completions: i64) -> Vec<(i64, i64)> {
    let of = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.parse().ok()?, last.parse().ok()?);
        (first <= last && last < completions).then_some((first, last))
    };
    indexes.split(',').filter_map(of).collect()
}

pub fn count_indexes(indexes: &str, completions: i64) -> Result<i64, String> {
    let (mut total, mut last) = (0, None);
    for part in indexes.split(',').filter(|_| !indexes.is_empty()) {
        let ends: Vec<&str> = part.split('-').collect();
        if ends.len() > 2 {
            return Err(format!(
                "the fragment {} violates the requirement that an index interval can have at most two parts separated by '-'",
                quote(part)
            ));
        }
        let mut numbers = Vec::new();
        for end in &ends {
            let number: i64 = end
                .parse()
                .map_err(|_| format!("cannot convert string to integer for index: {}", quote(end)))?;
            if number >= completions {
                return Err(format!("too large index: {}", quote(end)));
            }
            numbers.push(number);
        }
        let (first, end) = (numbers[0], numbers[numbers.len() - 1]);
        let before = last.filter(|last| *last >= first).map(|last| (last, first));
        let falling = (numbers.len() == 2 && first >= end).then_some((first, end));
        if let Some((previous, current)) = falling.or(before) {
            return Err(format!("non-increasing order, previous: {previous}, current: {current}"));
        }
        total += end - first + 1;
        last = Some(end);
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::{super::checks::assert_cases, *};

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
                (
                    json!({"successPolicy": {"rules": [{"succeededIndexes": "0,2", "succeededCount": 3}]}}),
                    &[
                        "spec.successPolicy.rules[0].succeededCount: Invalid value: 3: must be less than or equal to 2 (the number of indexes in the specified succeededIndexes field)",
                    ],
                ),
                (
                    json!({"successPolicy": {"rules": [{"succeededIndexes": "2-1"}]}}),
                    &[
                        "spec.successPolicy.rules[0].succeededIndexes: Invalid value: \"2-1\": error parsing succeededIndexes: non-increasing order, previous: 2, current: 1",
                    ],
                ),
                (
                    json!({"successPolicy": {"rules": [{"succeededIndexes": "x"}]}}),
                    &[
                        "spec.successPolicy.rules[0].succeededIndexes: Invalid value: \"x\": error parsing succeededIndexes: cannot convert string to integer for index: \"x\"",
                    ],
                ),
                (
                    fails(
                        json!({"action": "FailJob", "onExitCodes": {"containerName": "c", "operator": "In", "values": [1]}}),
                    ),
                    &[
                        "spec.podFailurePolicy.rules[0].onExitCodes.containerName: Invalid value: \"c\": must be one of the container or initContainer names in the pod template",
                    ],
                ),
                (
                    fails(json!({"onPodConditions": [{"type": "a"}]})),
                    &[
                        "spec.podFailurePolicy.rules[0].action: Required value: valid values: [\"Count\" \"FailIndex\" \"FailJob\" \"Ignore\"]",
                        "spec.podFailurePolicy.rules[0].onPodConditions[0].status: Required value: valid values: [\"False\" \"True\" \"Unknown\"]",
                    ],
                ),
                (
                    json!({"completions": 100001, "backoffLimitPerIndex": 1, "parallelism": 20000}),
                    &[
                        "spec.parallelism: Invalid value: 20000: must be less than or equal to 10000 when completions are above 100000 and used with backoff limit per index",
                        "spec.maxFailedIndexes: Required value: must be specified when completions is above 100000",
                    ],
                ),
            ],
        );
    }
}
